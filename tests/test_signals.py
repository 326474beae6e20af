import signal
import subprocess
import sys
import threading

from lookonce.signals import StopRequest, stop_on_signals


def test_the_first_signal_asks_and_the_old_handler_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    request = StopRequest()
    with stop_on_signals(request):
        assert not request.asked
        signal.raise_signal(signal.SIGTERM)
        assert request.asked
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_second_signal_ends_the_process_at_once() -> None:
    program = (
        "import signal\nfrom lookonce.signals import StopRequest, stop_on_signals\n"
        "with stop_on_signals(StopRequest()):\n"
        "    signal.raise_signal(signal.SIGINT)\n    signal.raise_signal(signal.SIGINT)\n"
        "print('still here')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == -signal.SIGINT
    assert done.stdout == b""


def test_outside_the_main_thread_nobody_listens() -> None:
    seen = []
    before = signal.getsignal(signal.SIGTERM)

    def work() -> None:
        with stop_on_signals(StopRequest()):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]


def test_signals_that_come_together_are_one() -> None:
    """Of several ranks each may get it twice; one that comes later insists."""
    program = (
        "import signal, time\nfrom lookonce.signals import StopRequest, stop_on_signals\n"
        "with stop_on_signals(StopRequest(), insist_after=0.2):\n    signal.raise_signal(signal.SIGTERM)\n"
        "    signal.raise_signal(signal.SIGTERM)\n    print('still here', flush=True)\n    time.sleep(0.3)\n"
        "    signal.raise_signal(signal.SIGTERM)\n    print('too late')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, b"still here\n")


def test_a_hang_up_asks_as_well_unless_nohup_has_it_ignored() -> None:
    asked, before = [], signal.getsignal(signal.SIGHUP)
    for handler in (signal.SIG_DFL, signal.SIG_IGN):
        request = StopRequest()
        signal.signal(signal.SIGHUP, handler)
        try:
            with stop_on_signals(request):
                signal.raise_signal(signal.SIGHUP)
        finally:
            signal.signal(signal.SIGHUP, before)
        asked.append(request.asked)
    assert asked == [True, False]
