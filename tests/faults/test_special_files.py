"""FIFOs, sockets and devices where a file is expected: whoever opens one may wait for ever, or read without end."""

import os
import shutil
import socket
from contextlib import suppress
from pathlib import Path

import pytest
from faulty import become_fifo, nobody_waits
from label_layouts import LAYOUTS, Build, Source

from lookonce.cli.main import main
from lookonce.data.source import open_data
from lookonce.errors import LookonceError
from lookonce.exit_codes import ExitCode


@pytest.mark.slow
@pytest.mark.parametrize("build", LAYOUTS, ids=lambda build: build.__name__)
def test_annotations_and_lists(build: Build, data: Path, tmp_path: Path) -> None:
    """One file of each kind."""
    (tmp_path / "made").mkdir()
    root = build(tmp_path / "made", Source(data))
    files = {file.suffix: file for file in (tmp_path / "made").rglob("*") if file.is_file()}
    for file in files.values():
        content = file.read_bytes()
        become_fifo(file)
        with nobody_waits(), suppress(LookonceError):
            source = open_data(root)
            for split in source.splits:
                source.split(split)
        file.unlink()
        file.write_bytes(content)


FAST = [
    *("check FIFO.jpg", "check FIFO.json", "predict FIFO.txt --weights RUN", "predict IMAGES --weights FIFO.onnx"),
    *(
        "predict IMAGES --weights RUN --names FIFO.txt",
        "eval --data DATA --results FIFO.json",
        "config --file FIFO.yaml",
    ),
]
SLOW = [
    *("check FIFO.yaml", "check FIFO.csv", "check FIFO.data", "check FIFO.txt", "anchors FIFO.json"),
    *("predict FIFO.jpg --weights RUN", "predict FIFO.mp4 --weights RUN", "predict IMAGES --weights FIFO"),
    *(f"predict IMAGES --weights FIFO.{kind}" for kind in ("ckpt", "weights", "pt", "mindir", "pt2", "tflite", "pte")),
    *("convert FIFO.cfg FIFO.weights --output OUT", "convert FIFO.pt --output OUT"),
    *("eval --data DATA --weights RUN --against FIFO.json", "export RUN --images FIFO.png --output OUT.onnx"),
    *("train --file FIFO.yaml --data DATA", "train --weights FIFO.onnx --data DATA", "diagnose FIFO", "info FIFO.onnx"),
    *("convert RUN --to darknet --names FIFO.txt --output OUT", "report RUN --evaluation FIFO", "bench FIFO.onnx"),
    *("verify RUN FIFO.onnx --data DATA", "page FIFO.onnx --output OUT", "export FIFO --output OUT.onnx"),
]


@pytest.mark.parametrize("line", [*FAST, *(pytest.param(line, marks=pytest.mark.slow) for line in SLOW)])
def test_what_is_typed(line: str, run: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A FIFO, in place of any file."""
    names = {"DATA": data, "RUN": run, "IMAGES": data / "val2017", "OUT": tmp_path / "out"}
    fifo = next(word for word in line.split() if word.startswith("FIFO"))
    for word in line.split():
        if word.startswith("FIFO"):
            os.mkfifo(tmp_path / word)
    words = [str(tmp_path / word) if word.startswith("FIFO") else str(names.get(word, word)) for word in line.split()]
    words = [word.replace("OUT", str(names["OUT"])) if word.startswith("OUT") else word for word in words]
    with nobody_waits():
        status = main(words)
    assert status in {ExitCode.FAILED, ExitCode.WRONG_USE}
    assert fifo in capfd.readouterr().err


def test_sockets_and_devices_are_refused_too(run: Path, data: Path, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "s.jpg"))
    (tmp_path / "d.jpg").symlink_to("/dev/zero")
    (tmp_path / "d.json").symlink_to("/dev/zero")
    for name in ("s.jpg", "d.jpg", "d.json"):
        assert main(["check", str(tmp_path / name)]) == ExitCode.FAILED
    shutil.copytree(data / "val2017", tmp_path / "images")
    os.mkfifo(tmp_path / "images" / "a.jpg")
    output = tmp_path / "out"
    status = main(["predict", str(tmp_path / "images"), f"--weights={run}", f"--output={output}"])
    assert status == ExitCode.SUCCEEDED  # a folder's images are its files
