"""Stop signals (Ctrl-C, SIGTERM, SIGHUP): the first requests a stop, the second ends the process at once."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], None]
NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows has no SIGHUP
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))


class StopRequest:
    """Whether a stop was requested, by a signal or by calling `ask`."""

    def __init__(self) -> None:
        self.asked = False

    def ask(self) -> None:
        self.asked = True


@contextmanager
def stop_on_signals(request: StopRequest, *, insist_after: float = 0.0) -> Iterator[None]:
    """Inside the block the first Ctrl-C, SIGTERM or SIGHUP only sets the request; a second one ends it at once.

    insist_after: a second signal within this many seconds of the first counts as the same one. Each of several ranks
    may get it twice: from the system that ends all processes of a job (a batch system, systemd), and from torchrun,
    which forwards the signal. Only the main thread can handle signals; in another thread signals set no request.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    first: list[float] = []

    def on_signal(number: int, _frame: FrameType | None) -> None:
        request.ask()
        first.append(time.monotonic())
        if time.monotonic() - first[0] >= insist_after:
            signal.signal(number, signal.SIG_DFL)  # the next signal gets the default handler
            if len(first) > 1:
                signal.raise_signal(number)

    with signals_handled_by(on_signal):
        yield


@contextmanager
def signals_handled_by(handler: Handler) -> Iterator[None]:
    """Inside the block `handler` handles the stop signals; call it in the main thread only.

    `nohup` has SIGHUP ignored: it stays so.
    """
    hang_up = getattr(signal, "SIGHUP", None)
    ignored = {hang_up} if hang_up and signal.getsignal(hang_up) is signal.SIG_IGN else set()
    before = {number: signal.signal(number, handler) for number in SIGNALS if number not in ignored}
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)
