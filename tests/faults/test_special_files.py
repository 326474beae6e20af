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


COMMANDS = [
    *("check FIFO.jpg", "check FIFO.json", "check FIFO.yaml", "check FIFO.csv", "check FIFO.data", "check FIFO.txt"),
    *("predict FIFO.jpg --weights RUN", "predict FIFO.txt --weights RUN", "predict FIFO.mp4 --weights RUN"),
    *(
        f"predict IMAGES --weights FIFO{end}"
        for end in (".onnx", ".ckpt", ".weights", ".cfg", ".pt", ".xml", ".mindir")
    ),
    *(f"predict IMAGES --weights FIFO{end}" for end in (".tflite", ".pte", ".pt2", ".ncnn.param", ".safetensors", "")),
    *("convert FIFO.cfg FIFO.weights --output OUT", "convert FIFO.pt --pickle --output OUT"),
    *("eval --data DATA --results FIFO.json", "eval --data DATA --weights RUN --against FIFO.json"),
    *("config --file FIFO.yaml", "train --file FIFO.yaml --data DATA", "train --weights FIFO.onnx --data DATA"),
    *("predict IMAGES --weights RUN --names FIFO.txt", "convert RUN --to darknet --names FIFO.txt --output OUT"),
    *("info FIFO.onnx", "report RUN --evaluation FIFO", "diagnose FIFO", "job data_url=DATA config_path=FIFO.yaml"),
    *("export RUN --images FIFO.png --output OUT.onnx", "export FIFO --output OUT.onnx", "bench FIFO.onnx"),
    *("verify RUN FIFO.onnx --data DATA", "page FIFO.onnx --output OUT", "anchors FIFO.json"),
]


@pytest.mark.parametrize("line", COMMANDS)
def test_what_is_typed(line: str, run: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A FIFO, in place of any file."""
    names = {"DATA": data, "RUN": run, "IMAGES": data / "val2017", "OUT": tmp_path / "out"}
    fifo = next(word for word in line.split() if word.startswith("FIFO"))
    for word in line.split():
        if word.startswith("FIFO"):
            os.mkfifo(tmp_path / word)
    words = [str(tmp_path / word) if word.startswith("FIFO") else str(names.get(word, word)) for word in line.split()]
    words = [word.replace("OUT", str(names["OUT"])) if word.startswith("OUT") else word for word in words]
    words = [word.replace("=DATA", f"={data}").replace("=FIFO", f"={tmp_path}/FIFO") for word in words]
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
