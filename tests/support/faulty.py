"""Commands of lookonce in processes of their own, which start at once, and which a fault meets on the way.

The processes are forks of one that has imported everything and done nothing, for a fresh one needs seconds.
"""

import errno
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import pytest

# Of a run of a second: three epochs of three batches, of a network that Darknet's files can hold.
SETTINGS = {"epochs": 3, "batch_size": 2, "image_size": 64, "width": 0.0625, "device": "cpu", "log_interval": 1}
SETTINGS |= {"dialect": "darknet", "normalize": "unit"}
PRELOADED = ["torch", "lookonce.workflows.train", "lookonce.evaluation.evaluate", "hotcoco"]
CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree"}
KILLED = 9
Act = Callable[[], None]


class Killed(BaseException):
    """Stands for SIGKILL in a process that goes on: every later change of files raises it again."""


def kill() -> NoReturn:
    """The process ends without any clean-up."""
    os._exit(KILLED)


def raise_killed() -> NoReturn:
    raise Killed


def fill() -> NoReturn:
    """The disk is full, for this and for all that follows."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class Watch:
    """Counts the changes of files in a folder; before the `at`-th (from 1), and before each that follows, `act` is
    called. Python takes no audit hook away, so one hook serves all watches of a process."""

    current: "Watch | None" = None
    is_hooked = False

    def __init__(self, folder: Path, at: int, act: Act) -> None:
        self.folder, self.at, self.act, self.count = str(folder), at, act, 0

    def __enter__(self) -> "Watch":
        if not Watch.is_hooked:
            sys.addaudithook(_see)
            Watch.is_hooked = True
        Watch.current = self
        return self

    def __exit__(self, *_: object) -> None:
        Watch.current = None


def _see(event: str, arguments: tuple[Any, ...]) -> None:
    watch = Watch.current
    if watch is None or (event != "open" and event not in CHANGES):
        return
    is_writing = event in CHANGES or (isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR))
    if is_writing and str(arguments[0]).startswith(watch.folder):
        watch.count += 1
        if watch.count >= watch.at:
            watch.act()


def command(
    *tokens: str, log: Path, watched: Path | None = None, at: int = 0, act: Act = kill, memory: int = 0
) -> BaseProcess:
    """Start `lookonce TOKENS`; its exit status is the process's. watched, at, act: as of `Watch`; None watches nothing.
    log: file that its output is added to. memory: bytes of address space that it may add (RLIMIT_AS); 0: no limit."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_run, args=(tokens, log, watched, at, act, memory))
    process.start()
    return process


def _run(tokens: tuple[str, ...], log: Path, watched: Path | None, at: int, act: Act, memory: int) -> NoReturn:
    import torch

    from lookonce.cli.main import main

    torch.set_num_threads(1)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    if memory:
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + memory, resource.RLIM_INFINITY))
    watch = Watch(watched or Path("nothing"), at, act)
    with nullcontext() if watched is None else watch:
        status = main(list(tokens))
    print(f"status {status}, {watch.count} changes", flush=True)
    sys.stderr.flush()
    os._exit(status)


def become_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@contextmanager
def nobody_waits(seconds: int = 8) -> Iterator[None]:
    """Fails if the block, of the main thread, takes longer, as the opening of a FIFO does, which waits for a writer."""

    def waited(_number: int, _frame: FrameType | None) -> NoReturn:
        pytest.fail(f"it waits for {seconds} seconds")

    before = signal.signal(signal.SIGALRM, waited)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
