"""Commands of lookonce in processes of their own, which start at once, and which a fault meets on the way.

The processes are forks of one that has imported everything and done nothing, for a fresh one needs seconds.
"""

import errno
import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, NoReturn

# Of a run of a second: three epochs of three batches, of a network that Darknet's files can hold.
SETTINGS = {"epochs": 3, "batch_size": 2, "image_size": 64, "width": 0.0625, "device": "cpu", "log_interval": 1}
SETTINGS |= {"dialect": "darknet", "normalize": "unit"}
PRELOADED = ["torch", "torch._dynamo", "lookonce.workflows.train", "lookonce.evaluation.evaluate", "hotcoco"]
CHANGES = {"os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree"}
KILLED = 9
Act = Callable[[], None]


def kill() -> NoReturn:
    """The process ends without any clean-up."""
    os._exit(KILLED)


def fill() -> NoReturn:
    """The disk is full, for this and for all that follows."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def command(*tokens: str, log: Path, watched: Path | None = None, at: int = 0, act: Act = kill) -> BaseProcess:
    """Start `lookonce TOKENS`; its exit status is the process's. Before the `at`-th change (from 1) of files in
    `watched`, and before each that follows, `act` is called. log: file that its output is added to."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    process = context.Process(target=_run, args=(tokens, log, watched, at, act))
    process.start()
    return process


def _run(tokens: tuple[str, ...], log: Path, watched: Path | None, at: int, act: Act) -> NoReturn:
    import torch

    from lookonce.cli.main import main

    torch.set_num_threads(1)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    count = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        is_writing = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (is_writing or event in CHANGES) and str(arguments[0]).startswith(str(watched)):
            count += 1
            if count >= at:
                act()

    if watched is not None:
        sys.addaudithook(watch)
    status = main(list(tokens))
    print(f"status {status}, {count} changes", flush=True)
    sys.stderr.flush()
    os._exit(status)
