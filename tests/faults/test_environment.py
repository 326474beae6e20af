"""Machines without a network, a home, root's rights, many descriptors, UTF-8, or a clock that only advances."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from faulty import SETTINGS

from lookonce.storage import sha256_file

OPTIONS = [f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()]
# Before a command: no network; 64 descriptors; not root.
WRAPPERS = {
    "no network": ["unshare", "--net", "--map-root-user"],
    "64 descriptors": ["prlimit", "--nofile=64"],
    "another user": ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
    "C locale": ["env", "LC_ALL=C"],
}
# All verbs in one process, for starting one takes longer than most of them.
PROGRAM = """
import os, sys
from lookonce.cli.main import main

assert os.environ.get("LC_ALL") != "C" or sys.stdout.encoding == "ascii"

for line in sys.argv[1:]:
    status = main(line.split("|"))
    assert status == 0, (line, status)
print("all ended well")
"""


def works_here(wrapper: list[str]) -> bool:
    return shutil.which(wrapper[0]) is not None and subprocess.run([*wrapper, "true"], check=False).returncode == 0


def told(wrapper: list[str], *lines: str, cwd: Path, **environment: str) -> str:
    """What a process says that runs each line, a command with `|` between its words."""
    own = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    done = subprocess.run(
        [*wrapper, sys.executable, "-I", "-X", "utf8=0", "-c", PROGRAM, *lines],
        env=own | {"OMP_NUM_THREADS": "1"} | environment,  # no HOME
        cwd=cwd,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-3000:]
    return done.stdout.decode(errors="replace") + done.stderr.decode(errors="replace")


@pytest.mark.slow
@pytest.mark.parametrize("name", WRAPPERS)
def test_every_verb_does_its_work(name: str, data: Path, tmp_path: Path) -> None:
    if not works_here(WRAPPERS[name]):
        pytest.skip(f"{WRAPPERS[name][0]} is not permitted here")
    if name == "another user":
        tmp_path = Path(tempfile.mkdtemp(prefix="lookonce-test-"))  # pytest's own folder is closed to others
    shutil.copytree(data, tmp_path / "data")
    if name == "another user":
        for path in (tmp_path, *tmp_path.rglob("*")):
            os.chown(path, 65534, 65534)
        if subprocess.run([*WRAPPERS[name], sys.executable, "-c", "import lookonce"], check=False).returncode:
            pytest.skip("the other user cannot reach this environment")
    text = told(
        WRAPPERS[name],
        "|".join(["train", "--data=data", "--run=life", *OPTIONS]),
        "eval|--weights=runs/life|--data=data|--output=evaluation",
        "predict|data/val2017|--weights=runs/life|--output=predicted",
        "export|runs/life|--to=onnx|--output=life.onnx",
        "predict|data/val2017|--weights=life.onnx|--output=predicted-onnx",
        "convert|runs/life|--to=darknet|--output=darknet/life",
        "report|runs/life",
        "check|data|--json=check.json",
        "doctor",
        cwd=tmp_path,
    )
    assert "all ended well" in text
    assert not [path for path in tmp_path.rglob("*") if path.name.startswith((".cache", ".config"))]
    if name == "another user":
        shutil.rmtree(tmp_path)


def test_a_terminal_without_utf8_gets_every_line(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "猫ü")
    text = told(WRAPPERS["C locale"], "check|猫ü|--no-advice", cwd=tmp_path)
    assert text.isascii()
    assert "all ended well" in text


def test_a_clock_that_jumps_by_a_year_changes_nothing(
    quick: Any, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, calls = time.time, iter(range(10**9))
    jumps = (0, 365 * 86_400, -365 * 86_400)
    monkeypatch.setattr(time, "time", lambda: before() + jumps[next(calls) % 3])
    run = quick(tmp_path).run
    for name in ("model.safetensors", "training.safetensors"):
        assert sha256_file(run.last / name) == sha256_file(finished / "checkpoints" / "last" / name)
    assert all(0 <= row["seconds"] < 600 for row in run.metrics())
