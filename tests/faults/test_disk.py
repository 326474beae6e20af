"""Full and read-only disks, real ones: a small file system in memory, which only root can mount."""

import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from faulty import SETTINGS

from lookonce.cli.main import main
from lookonce.weights.darknet import to_darknet
from lookonce.weights.load import open_checkpoint

OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]

Command = Callable[[Path, Path, Path], list[str]]
# Verb -> its command, given the run, the data and the folder for all that it writes.
FAST: dict[str, Command] = {
    "train": lambda run, data, disk: ["train", f"--data={data}", f"--runs={disk}", *OPTIONS],
    "eval": lambda run, data, disk: ["eval", f"--weights={run}", f"--data={data}", f"--output={disk / 'e'}"],
    "predict": lambda run, data, disk: [
        *("predict", str(data / "val2017"), f"--weights={run}", f"--output={disk / 'p'}"),
        "--save=images,crops,json,jsonl,csv,yolo",
    ],
    "convert": lambda run, data, disk: ["convert", f"{run}/net.cfg", f"{run}/net.weights", f"--output={disk / 'c'}"],
    "convert-data": lambda run, data, disk: ["convert-data", str(data), str(disk / "d"), "--to=voc"],
    "report": lambda run, data, disk: ["report", str(run), f"--output={disk / 'r.html'}", "--num-images=0"],
}
SLOW: dict[str, Command] = {
    "check": lambda run, data, disk: ["check", str(data), f"--json={disk / 'c.json'}", f"--html={disk / 'c.html'}"],
    "job": lambda run, data, disk: [
        *("job", f"--data_url={data}", f"--output_path={disk / 'o'}", f"--data_path={disk / 'i'}", "--run=job"),
        *OPTIONS,
    ],
    "export": lambda run, data, disk: ["export", str(run), "--to=onnx", f"--output={disk / 'x.onnx'}"],
}
COMMANDS = FAST | SLOW


def verbs(*fast: str) -> list[Any]:
    """All verbs; those not named are slow tests."""
    return [verb if verb in fast else pytest.param(verb, marks=pytest.mark.slow) for verb in COMMANDS]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system in memory is not permitted here (it needs root)")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def run_with_cfg(run: Path) -> Path:
    """The run, with its weights also in Darknet's files."""
    checkpoint = open_checkpoint(run)
    for suffix, content in to_darknet(checkpoint.record, checkpoint.state, "net").items():
        (run / f"net{suffix}").write_bytes(content)
    return run


def fill(disk: Path, free: int) -> None:
    """Leave `free` bytes."""
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 65_536)
        except OSError:
            file.truncate(file.tell() - free)


def written(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"filler"}


@pytest.mark.parametrize(
    "free", [0, pytest.param(8192, marks=pytest.mark.slow), pytest.param(65_536, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("verb", verbs(*FAST))
def test_a_full_disk_ends_in_a_sentence(
    verb: str, free: int, run_with_cfg: Path, data: Path, disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(disk, free)
    status = main(COMMANDS[verb](run_with_cfg, data, disk))
    message = capsys.readouterr().err
    assert "Traceback" not in message
    if status == 0:
        assert free  # small results fit
        return
    assert status == 1
    assert f"lookonce: {disk}" in message
    assert "free" in message
    for name in ("e/metrics.json", "p/detections.json", "p/results.json", "c/COMPLETE", "d/VOC2012", "x.onnx"):
        assert not (disk / name).exists()


@pytest.mark.parametrize("verb", verbs("train", "predict"))
def test_a_read_only_disk_ends_in_a_sentence(
    verb: str, run_with_cfg: Path, data: Path, disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    assert main(COMMANDS[verb](run_with_cfg, data, disk)) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert "permission" in message
    assert str(disk) in message


@pytest.mark.parametrize("verb", verbs("predict"))
def test_data_weights_and_home_may_be_read_only(
    verb: str, run_with_cfg: Path, data: Path, disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(data, disk / "data")
    shutil.copytree(run_with_cfg, disk / "run")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    monkeypatch.setenv("HOME", str(disk))
    monkeypatch.chdir(disk)
    (tmp_path / "out").mkdir()
    run = run_with_cfg if verb == "report" else disk / "run"  # a report writes plots into the run
    assert main(COMMANDS[verb](run, disk / "data", tmp_path / "out")) == 0
    assert written(tmp_path / "out")


@pytest.mark.parametrize("free", [0, 65_536])
def test_a_full_disk_for_temporary_files_ends_in_a_sentence(
    free: int,
    run: Path,
    tmp_path: Path,
    disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fill(disk, free)
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    assert main(["convert", str(run), "--to=darknet", f"--output={tmp_path / 'net'}"]) == 1
    assert "TMPDIR" in capsys.readouterr().err
    assert not list(tmp_path.glob("net*"))


def test_no_folder_for_temporary_files_ends_in_a_sentence(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    assert main(["convert", str(run), "--to=darknet", f"--output={tmp_path / 'net'}"]) == 1
    assert "TMPDIR" in capsys.readouterr().err
