"""A run that was interrupted, whatever way, ends with the bits of one that was not."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from raised import raises

from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.errors import DataError, SettingsError, WeightsError
from lookonce.training.trainer import TrainResult
from lookonce.workflows import build
from lookonce.workflows.train import train

SETTINGS = {"epochs": 3, "batch_size": 2, "image_size": 64, "width": 0.0625, "log_interval": 1, "device": "cpu"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = SceneOptions(sides=(64, 96), smallest=16, max_things=3)
    return write_synthetic(tmp_path_factory.mktemp("scenes") / "table", train=5, val=2, options=options)


def quick(data: Path, runs: Path, /, **flags: Any) -> TrainResult:
    return train(**{"data": str(data), "runs": str(runs), **SETTINGS, **flags})


def arrays_of(run: Path) -> list[str]:
    """SHA-256 of the averaged weights, and of all that training goes on from."""
    names = ("model.safetensors", "training.safetensors")
    return [hashlib.sha256((run / "checkpoints" / "last" / name).read_bytes()).hexdigest() for name in names]


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    torch.set_num_threads(1)
    return quick(data, tmp_path_factory.mktemp("straight"))


def stop_in_evaluation(patch: pytest.MonkeyPatch) -> None:
    """Whoever evaluates, asks this process to stop."""
    original = build.make_evaluate

    def make_evaluate(*arguments: Any) -> Any:
        evaluate = original(*arguments)
        assert evaluate is not None

        def stop_and_evaluate(*more: Any) -> Any:
            signal.raise_signal(signal.SIGTERM)
            return evaluate(*more)

        return stop_and_evaluate

    patch.setattr(build, "make_evaluate", make_evaluate)


@pytest.fixture(scope="module")
def interrupted(data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    """A run that was stopped after its first epoch, before its evaluation; not to be changed."""
    with pytest.MonkeyPatch.context() as patch:
        stop_in_evaluation(patch)
        return quick(data, tmp_path_factory.mktemp("interrupted"))


@pytest.fixture
def stopped(interrupted: TrainResult, tmp_path: Path) -> Path:
    """A copy of its folder."""
    return Path(shutil.copytree(interrupted.run.path, tmp_path / "runs" / interrupted.run.path.name))


def test_a_stopped_run_says_how_to_go_on(interrupted: TrainResult) -> None:
    assert (interrupted.stopped, interrupted.exit_code) == (True, 75)
    assert "lookonce train --resume" in interrupted.run.log.read_text()


def test_resume_needs_no_other_argument(stopped: Path, straight: TrainResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(stopped.parent.parent)  # the newest run of ./runs
    result = train(resume=True)
    assert result.run.path.resolve() == stopped
    assert arrays_of(stopped) == arrays_of(straight.run.path)
    assert [row["AP"] for row in result.run.metrics()] == [row["AP"] for row in straight.run.metrics()]
    assert "epoch 1, batch 3" in result.run.log.read_text()


def test_resume_takes_a_checkpoint(stopped: Path, straight: TrainResult) -> None:
    train(resume=str(stopped / "checkpoints/last"), workers=0, log_interval=5)  # speed may change
    assert arrays_of(stopped) == arrays_of(straight.run.path)


def test_a_setting_that_would_train_another_network_is_refused(stopped: Path, straight: TrainResult) -> None:
    with raises(SettingsError, "0.004", setting="lr", value=0.5):
        train(resume=str(stopped), lr=0.5)
    with raises(SettingsError, setting="file", value="other.yaml"):
        train(resume=str(stopped), file="other.yaml")
    train(resume=str(stopped), epochs="3")  # the same again is no change
    train(resume=str(stopped))
    log = (stopped / "log.txt").read_text()
    assert log.count(", resumed at epoch") == 1
    assert log.count(", complete already") == 1
    assert arrays_of(stopped) == arrays_of(straight.run.path)


def test_changed_annotations_are_refused(stopped: Path, data: Path, tmp_path: Path) -> None:
    annotations = data / "annotations" / "instances_train2017.json"
    original = annotations.read_text()
    content = json.loads(original)
    content["annotations"].pop()
    annotations.write_text(json.dumps(content))
    try:
        with raises(DataError, "SHA-256", path=stopped):
            train(resume=str(stopped))
    finally:
        annotations.write_text(original)


def test_data_may_move_but_not_change(stopped: Path, data: Path, tmp_path: Path) -> None:
    other = write_synthetic(tmp_path / "other", train=5, val=2, seed=1, options=SceneOptions(sides=(64, 96)))
    with raises(DataError, path=stopped):
        train(run=stopped.name, runs=str(stopped.parent), data=str(other))
    moved = shutil.copytree(data, tmp_path / "moved")
    assert train(run=stopped.name, runs=str(stopped.parent), data=str(moved)).exit_code == 0


def test_a_damaged_checkpoint_is_not_resumed(stopped: Path) -> None:
    path = stopped / "checkpoints" / "last" / "training.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with raises(WeightsError, "SHA-256", path="training.safetensors"):
        train(resume=str(stopped))


def test_nothing_to_resume_is_an_error(tmp_path: Path) -> None:
    with raises(WeightsError, path=tmp_path):
        train(resume=True, runs=str(tmp_path))


def command(*arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "lookonce.cli.main", "train", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stderr=subprocess.DEVNULL,
    )


def wait_for(path: Path, text: str) -> None:
    """Until the file holds the text; five minutes at most, for machines that do much else."""
    for _ in range(30_000):
        if path.is_file() and text in path.read_text():
            return
        time.sleep(0.01)
    pytest.fail(f"{path} never said {text!r}")


@pytest.mark.slow
@pytest.mark.parametrize(("kill", "status"), [(signal.SIGTERM, 75), (signal.SIGKILL, -9)])
def test_a_killed_process_resumed_by_another_ends_with_the_same_bits(
    kill: signal.Signals, status: int, data: Path, straight: TrainResult, tmp_path: Path
) -> None:
    settings = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]
    process = command(f"--data={data}", f"--runs={tmp_path}", *settings)
    wait_for(tmp_path / "table-1" / "log.txt", "epoch[1], iter[3]")
    process.send_signal(kill)
    asked = time.monotonic()
    assert process.wait() == status
    assert time.monotonic() - asked < 10
    assert command("--resume", f"--runs={tmp_path}").wait() == 0
    assert arrays_of(tmp_path / "table-1") == arrays_of(straight.run.path)
