"""Address space that is used up (RLIMIT_AS): one sentence with what to reduce, and checkpoints that stay whole."""

import shutil
from pathlib import Path

import pytest
from faulty import SETTINGS, command

from lookonce.exit_codes import ExitCode
from lookonce.weights.checkpoint import fault_of

MIB = 1 << 20
LARGE = SETTINGS | {"image_size": 1024, "batch_size": 64, "width": 1}
OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in LARGE.items()]
LINES = {
    "train": ["train", "--data=DATA", "--resume=RUN"],
    "train large": ["train", "--data=DATA", "--runs=OUT", *OPTIONS],
    "eval": ["eval", "--data=DATA", "--weights=RUN", "--image-size=2048", "--output=OUT"],
    "predict": ["predict", "DATA/val2017", "--weights=RUN", "--output=OUT", "--tile=32"],
    "export": ["export", "RUN", "--to=onnx", "--image-size=4096", "--output=OUT.onnx"],
    "check": ["check", "DATA"],
}


@pytest.mark.slow
@pytest.mark.parametrize("mib", [1, 16, 64, 256])
@pytest.mark.parametrize("name", LINES)
def test_used_up_memory_ends_in_a_sentence(name: str, mib: int, run: Path, data: Path, tmp_path: Path) -> None:
    places = {"DATA": data, "RUN": run, "OUT": tmp_path / "out"}
    tokens = LINES[name]
    for word, place in places.items():
        tokens = [token.replace(word, str(place)) for token in tokens]
    process = command(*tokens, log=tmp_path / "log.txt", memory=mib * MIB)
    process.join(120)
    log = (tmp_path / "log.txt").read_text()
    assert process.exitcode in {0, ExitCode.FAILED}, log
    assert "Traceback" not in log
    if process.exitcode:
        assert "memory" in log
    for checkpoint in (run / "checkpoints").iterdir():
        assert fault_of(checkpoint) is None
    shutil.rmtree(run)
