"""Commands of lookonce that tests start, signal and wait for."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start("train", ...) -> a `lookonce` process, its words in .log; none is left at the test's end."""
    processes: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, program: tuple[str, ...] = ("-m", "lookonce")) -> subprocess.Popen[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        path = tmp_path / f"{len(processes)}.log"
        with path.open("w") as log:
            process = subprocess.Popen(
                [sys.executable, *program, *arguments], env=environment, stdout=log, stderr=log, text=True
            )
        process.log = path  # type: ignore[attr-defined]
        processes.append(process)
        return process

    yield begin
    for process in processes:
        process.kill()
        process.wait()


def said(process: Any) -> str:
    return str(process.log.read_text())


def ends(process: Any, status: int, seconds: float = 300) -> None:
    assert process.wait(seconds) == status, said(process)


def wait_for(path: Path, text: str, seconds: float = 300) -> None:
    give_up = time.monotonic() + seconds
    while not (path.is_file() and re.search(text, path.read_text())):
        assert time.monotonic() < give_up, f"{path} never said {text!r}"
        time.sleep(0.005)


def workers_of(process: Any) -> list[int]:
    """Process numbers of the ranks that a launcher has started, in Linux's way; the oldest first."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(child) for child in children.read_text().split()]


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def all_gone(pids: list[int], seconds: float = 10) -> bool:
    give_up = time.monotonic() + seconds
    while any(map(is_there, pids)):
        if time.monotonic() > give_up:
            return False
        time.sleep(0.01)
    return True
