"""Stopping politely: the first signal asks, the second one insists."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], None]
SIGNALS = (signal.SIGINT, signal.SIGTERM)
# EX_TEMPFAIL of sysexits.h: not done, but nothing is wrong; start the same run again with --resume.
EXIT_STOPPED = 75


class StopRequest:
    """Whether somebody asked the run to stop, by a signal or by calling `ask`."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self) -> None:
        self.asked = True


@contextmanager
def stop_on_signals(request: StopRequest, *, insist_after: float = 0.0) -> Iterator[None]:
    """For the length of the block Ctrl-C or SIGTERM only sets the request; the same again ends the process at once.

    insist_after: seconds within which a second signal still means the first. Of several ranks each may get it twice:
    from whoever ends all processes of a job (a batch system, systemd), and from torchrun, which gets it too and passes
    it on. Only a main thread can listen to signals: elsewhere nobody sets the request.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first: list[float] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        request.ask()
        first.append(time.monotonic())
        if time.monotonic() - first[0] >= insist_after:
            signal.signal(number, signal.SIG_DFL)  # so the next one is not ours
            if len(first) > 1:
                signal.raise_signal(number)

    with signals_handled_by(on_signal):
        yield


@contextmanager
def signals_handled_by(handler: Handler) -> Iterator[None]:
    """Ctrl-C and SIGTERM go to `handler` for the length of the block; in a main thread only."""
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
