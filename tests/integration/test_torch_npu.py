"""The real torch-npu, in its own environment (`./run torch-npu -c 1` makes it), on a machine without Ascend's CANN."""

import os
import re
import subprocess
from pathlib import Path

import pytest

from lookonce.data.synthetic import SceneOptions, write_synthetic

PYTHON = Path(__file__).resolve().parents[2] / ".venv-torch-npu" / "bin" / "python"
TINY = ("--epochs=1", "--batch-size=2", "--image-size=64", "--width=0.0625")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="no torch-npu here: `./run torch-npu -c 1` makes its environment"),
    pytest.mark.skipif(Path("/usr/local/Ascend").exists(), reason="these are about a machine without CANN"),
]


def lookonce(*words: object, **environment: str) -> tuple[int, str]:
    command = [str(PYTHON), "-m", "lookonce", *map(str, words)]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = SceneOptions(sides=(64, 96), smallest=16)
    return write_synthetic(tmp_path_factory.mktemp("data") / "coco", train=4, val=2, options=options)


@pytest.mark.parametrize("device", ["--device=npu", "--device-target=Ascend", "--device=cpu"])
def test_without_cann_nothing_trains_and_one_line_says_what_to_do(device: str, data: Path, tmp_path: Path) -> None:
    status, told = lookonce("train", "--data", data, "--runs", tmp_path, device, *TINY)
    assert status == 1
    assert told.startswith("lookonce: torch-npu ")
    assert "CANN" in told
    assert told.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_the_doctor_says_the_same() -> None:
    status, told = lookonce("doctor")
    assert status == 1
    assert re.search(r"-> torch-npu .*CANN", told)


def test_with_torch_npu_kept_out_the_cpu_trains_and_npu_is_refused(data: Path, tmp_path: Path) -> None:
    switch = {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    status, told = lookonce("train", "--data", data, "--runs", tmp_path, "--device=cpu", *TINY, **switch)
    assert (status, "finished;" in told) == (0, True), told
    status, told = lookonce("train", "--data", data, "--runs", tmp_path, "--device=npu", *TINY, **switch)
    assert status == 2
    assert "unset TORCH_DEVICE_BACKEND_AUTOLOAD" in told
