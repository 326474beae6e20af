"""What the document's scripts say before they start anything; what they do: tests/integration/test_document.py."""

import re
import subprocess
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("run_standalone_train.sh", "train"),
        ("run_standalone_train_gpu.sh", "train"),
        ("run_distribute_train.sh", "train_parallel0"),
        ("run_distribute_train_gpu.sh", "train_parallel7"),
        ("run_eval.sh", "eval"),
        ("run_eval_gpu.sh", "eval"),
        ("run_infer_310.sh", "acc.log"),
    ],
)
def test_a_script_says_what_it_takes_and_overwrites_nothing(name: str, folder: str, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir()

    def run(*arguments: str) -> tuple[int, str]:
        command = ["sh", str(SCRIPTS / name), *arguments]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stderr

    status, usage = run()
    assert status == 2
    assert re.match(r"run_\w+\.sh [A-Z]+", usage)
    status, told = run("a", "b", "c")
    assert status == 1
    assert folder in told
    assert "earlier run" in told
    assert [path.name for path in tmp_path.iterdir()] == [folder]
    assert not list((tmp_path / folder).iterdir())
