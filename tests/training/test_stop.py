import signal
import subprocess
import sys
import threading

from lookonce.training.stop import stop_on_signals


def test_the_first_signal_asks_and_the_old_handler_comes_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as request:
        assert not request.asked
        signal.raise_signal(signal.SIGTERM)
        assert request.asked
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_second_signal_ends_the_process_at_once() -> None:
    program = (
        "import signal\nfrom lookonce.training.stop import stop_on_signals\n"
        "with stop_on_signals():\n    signal.raise_signal(signal.SIGINT)\n    signal.raise_signal(signal.SIGINT)\n"
        "print('still here')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode == -signal.SIGINT
    assert done.stdout == b""


def test_outside_the_main_thread_nobody_listens() -> None:
    seen = []

    def work() -> None:
        with stop_on_signals() as request:
            seen.append(request.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [False]
