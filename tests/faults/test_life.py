"""Whatever happens to a run during its life, it ends with the bits of an undisturbed one."""

import re
import shutil
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from faulty import KILLED, SETTINGS, Act, Killed, Watch, command, fill, kill, raise_killed
from raised import raises

from lookonce.errors import WeightsError
from lookonce.storage import StorageError, find_published, sha256_file
from lookonce.training.run_folder import name_run_folder
from lookonce.weights.checkpoint import fault_of
from lookonce.workflows.train import train

OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]


class Life:
    """A run, started and resumed by `goes_on` until it has ended."""

    def __init__(self, data: Path, folder: Path) -> None:
        self.runs, self.log = folder / "runs", folder / "log.txt"
        self.tokens = ["train", f"--data={data}", f"--runs={self.runs}", "--run=life", *OPTIONS]
        self.last = self.runs / "life" / "checkpoints" / "last"

    def goes_on(self, **fault):
        return command(*self.tokens, log=self.log, **fault)

    def ends(self) -> int:
        """The exit status of a part of the life in which nothing happens."""
        process = self.goes_on()
        process.join()
        return process.exitcode

    @property
    def hashes(self) -> list[str]:
        return hashes_of(self.last)


def hashes_of(checkpoint: Path) -> list[str]:
    return [sha256_file(checkpoint / name) for name in ("model.safetensors", "training.safetensors")]


def flip_a_bit(checkpoint: Path, generator: np.random.Generator) -> tuple[Path, bytes]:
    """Of one file of a checkpoint; the file and its content before."""
    files = sorted(checkpoint.glob("*.*"))
    path = files[int(generator.integers(len(files)))]
    content = path.read_bytes()
    place = int(generator.integers(len(content)))
    flipped = bytes([content[place] ^ 1 << int(generator.integers(8))])
    path.write_bytes(content[:place] + flipped + content[place + 1 :])
    return path, content


@pytest.fixture(scope="module")
def undisturbed(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], int, float]:
    """SHA-256 of the weights and of the training state at the end, changes of files on the way, seconds."""
    life = Life(data, tmp_path_factory.mktemp("undisturbed"))
    life.ends()  # the first start waits for the imports
    started = time.monotonic()
    life = Life(data, tmp_path_factory.mktemp("undisturbed"))
    process = life.goes_on(watched=life.runs, at=10**6)
    process.join()
    assert process.exitcode == 0
    changes = re.search(r"(\d+) changes", life.log.read_text())
    return life.hashes, int(changes[1]), time.monotonic() - started


@pytest.mark.slow
def test_25_kills_of_one_command_line_at_random_moments(data: Path, tmp_path: Path, undisturbed) -> None:
    hashes, _, seconds = undisturbed
    life, generator = Life(data, tmp_path), np.random.default_rng(0)
    killed = rounds = 0
    while killed < 25:
        process = life.goes_on()
        process.join(seconds * generator.uniform(0.05, 1))
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        rounds += 1
        if process.exitcode == 0:  # it has ended: another life
            assert life.hashes == hashes
            life = Life(data, tmp_path / str(rounds))
            life.runs.parent.mkdir()
    assert life.ends() == 0
    assert life.hashes == hashes


@pytest.mark.slow
def test_kills_and_full_disks_of_processes_change_no_bit(data: Path, tmp_path: Path, undisturbed) -> None:
    hashes, changes, _ = undisturbed
    generator = np.random.default_rng(1)
    for number in range(8):
        life = Life(data, tmp_path / str(number))
        life.runs.mkdir(parents=True)
        for act in (kill, fill):
            process = life.goes_on(watched=life.runs, at=int(generator.integers(1, changes)), act=act)
            process.join()
            assert process.exitcode in ({KILLED, 0} if act is kill else {1, 0}), life.log.read_text()
        assert life.ends() == 0, life.log.read_text()
        assert life.hashes == hashes, number
        assert "Traceback" not in life.log.read_text()


QUICK = SETTINGS | {"epochs": 2, "image_size": 32, "save_steps": 1}


def goes_on(data: Path, runs: Path, act: Act = raise_killed, at: int = 10**6) -> Watch:
    """Train, in this process, until the fault or to the end."""
    torch.set_num_threads(1)
    with Watch(runs, at, act) as watch:
        train(data=str(data), runs=str(runs), run="life", **QUICK)
    return watch


@pytest.mark.parametrize("faults", [3, pytest.param(1000, marks=pytest.mark.slow)])
def test_faults_at_random_positions_of_a_life_change_no_bit(faults: int, data: Path, tmp_path: Path) -> None:
    """Kills, full disks and flipped bits; of the two saves of a run, one is damaged at a time."""
    changes = goes_on(data, tmp_path / "undisturbed").count
    hashes = hashes_of(tmp_path / "undisturbed" / "life" / "checkpoints" / "last")
    generator, number, done = np.random.default_rng(2), 0, Counter()
    while done.total() < faults:
        number += 1
        runs = tmp_path / str(number)
        checkpoints = runs / "life" / "checkpoints"
        for _ in range(int(generator.integers(1, 6))):  # faults of this life
            act = (raise_killed, fill)[int(generator.integers(2))]
            with suppress(Killed, StorageError):
                goes_on(data, runs, act, int(generator.integers(1, changes)))
            done[act.__name__] += 1
            saves = [save for name in ("last", ".previous") if (save := find_published(checkpoints / name))]
            if list(map(fault_of, saves)) == [None, None] and generator.random() < 0.5:
                flip_a_bit(saves[int(generator.integers(2))], generator)
                done["flip"] += 1
        goes_on(data, runs)
        assert hashes_of(checkpoints / "last") == hashes, (number, done)
        shutil.rmtree(runs)


def test_a_damaged_last_is_refused_where_no_save_is_before_it(run: Path) -> None:
    shutil.rmtree(run / "checkpoints" / ".previous")
    path, _ = flip_a_bit(run / "checkpoints" / "last", np.random.default_rng(0))
    with raises(WeightsError, path=path):
        train(resume=str(run))


def test_a_damaged_last_falls_back_to_the_save_before_it(run: Path) -> None:
    last = run / "checkpoints" / "last"
    hashes = hashes_of(last)
    path, content = flip_a_bit(last, np.random.default_rng(0))
    assert train(resume=str(run)).exit_code == 0
    assert str(path) in (run / "log.txt").read_text()
    assert path.read_bytes() == content
    assert hashes_of(last) == hashes


@pytest.mark.parametrize("left", [".settings.yaml.0a1b2c3d.new", "val.txt"])
def test_a_start_that_was_killed_before_its_settings_were_written_is_started_again(left: str, tmp_path: Path) -> None:
    (tmp_path / "life").mkdir()
    (tmp_path / "life" / left).write_text("half")
    run = name_run_folder(tmp_path, "life", begun_with="val.txt")
    assert not list(run.path.iterdir())
    (run.path / "notes.txt").write_text("mine")
    with raises(WeightsError, path=run.path):
        name_run_folder(tmp_path, "life", begun_with="val.txt")
