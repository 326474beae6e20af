"""Whatever happens to a run during its life, it ends with the bits of an undisturbed one."""

import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from faulty import KILLED, SETTINGS, command, fill, kill

from lookonce.storage import sha256_file

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

    def survives_a_flipped_bit(self, generator: np.random.Generator) -> None:
        """A bit of the last checkpoint flips: it is refused, and the run goes on once it is put right; or the run goes
        on from the save before."""
        files = sorted(path for path in self.last.glob("*.*") if path.name != "manifest.json")
        if not files:
            return
        path = files[int(generator.integers(len(files)))]
        content = path.read_bytes()
        place = int(generator.integers(len(content)))
        path.write_bytes(
            content[:place] + bytes([content[place] ^ 1 << int(generator.integers(8))]) + content[place + 1 :]
        )
        if self.ends():
            path.write_bytes(content)

    @property
    def hashes(self) -> list[str]:
        return [sha256_file(self.last / name) for name in ("model.safetensors", "training.safetensors")]


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
@pytest.mark.parametrize("lives", [20])
def test_kills_full_disks_and_flipped_bits_change_no_bit(lives: int, data: Path, tmp_path: Path, undisturbed) -> None:
    hashes, changes, _ = undisturbed
    generator = np.random.default_rng(1)
    for number in range(lives):  # each with one to three faults
        life = Life(data, tmp_path / str(number))
        life.runs.mkdir(parents=True)
        for _ in range(int(generator.integers(1, 4))):
            act = (kill, fill)[int(generator.integers(2))]
            process = life.goes_on(watched=life.runs, at=int(generator.integers(1, changes)), act=act)
            process.join()
            assert process.exitcode in ({KILLED, 0} if act is kill else {1, 0}), life.log.read_text()
            if generator.random() < 0.3:
                life.survives_a_flipped_bit(generator)
        assert life.ends() == 0, life.log.read_text()
        assert life.hashes == hashes, number
        assert "Traceback" not in life.log.read_text()
