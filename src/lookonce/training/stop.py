"""Stopping politely: the first signal asks, the second one insists."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

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
def stop_on_signals() -> Iterator[StopRequest]:
    """For the length of the block Ctrl-C or SIGTERM only sets the request; the same again ends the process at once.

    Only a main thread can listen to signals: elsewhere the request is there, and nobody sets it.
    """
    request = StopRequest()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        request.ask()
        signal.signal(number, signal.SIG_DFL)  # so the next one is not ours

    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, on_signal) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
