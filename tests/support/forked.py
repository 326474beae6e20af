"""What a function returns in a fork of this process."""

import warnings
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any


def in_a_fork(function: Callable[[], Any], *, timeout_seconds: float = 60) -> Any:
    """The result, which must be picklable. TimeoutError if the fork waits for what only its parent has."""
    context = get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(function()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Python warns of forks of a process with threads
        child.start()
    try:
        if not receiver.poll(timeout_seconds):
            raise TimeoutError("a fork did not answer")
        return receiver.recv()
    finally:
        child.kill()
        child.join()
