"""The startup files of the model zoo, where lookonce or its packages are not installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lookonce.cli import main as main_module
from lookonce.cli.startup import startup

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("name", ["train.py", "eval.py", "export.py"])
def test_without_the_packages_a_startup_file_names_the_missing_one_and_this_python(name: str) -> None:
    command = [sys.executable, "-S", str(ROOT / name), "--help"]  # -S: without site-packages
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{name}: No module named")
    assert sys.executable in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_processes_that_a_startup_file_starts_find_lookonce(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in a code directory into which nothing was installed: no site-packages, another current folder."""
    monkeypatch.setenv("PYTHONPATH", "first")
    monkeypatch.setattr(sys, "argv", ["train.py", "--help"])
    monkeypatch.setattr(main_module, "main", lambda *_, **__: 0)
    assert startup("train", str(tmp_path / "train.py")) == 0
    assert os.environ["PYTHONPATH"].split(os.pathsep)[0] == "first"
    child = subprocess.run([sys.executable, "-S", "-c", "import lookonce"], cwd=tmp_path, check=False)
    assert child.returncode == 0
