import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from raised import raises

from lookonce import distributed, hang_watchdog
from lookonce.hang_watchdog import HangWatchdog


class Words(dict[str, bytes]):
    """A store in memory."""

    def set(self, key: str, value: str) -> None:
        self[key] = value.encode()

    def get(self, key: str) -> bytes:  # type: ignore[override]
        return self[key]


def test_the_watch_knows_who_came_to_fewer_meetings() -> None:
    store = Words()
    first, second, third = (HangWatchdog(store, rank, 3, timeout_seconds=60) for rank in range(3))  # type: ignore[arg-type]
    for watch in (first, third):
        watch.arrive()
        watch._publish()
    assert list(first.late()) == [1]
    assert first.late()[1] == f"process {os.getpid()} on {socket.gethostname()}"
    assert second.late() == {}


def hang() -> None:
    distributed.barrier()
    if distributed.rank() == 1:
        time.sleep(2)
    distributed.barrier()


def test_a_rank_that_hangs_is_named_and_those_who_wait_end(
    in_ranks: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(HangWatchdog, "start", start_sooner)
    with raises(RuntimeError, " ended "):
        in_ranks(3, hang, timeout_seconds=10)
    said = capfd.readouterr().err
    assert re.search(r"rank 0: rank 1 \(process \d+ on \S+\) .* 0\.5 s", said)
    assert "2 of 3 ranks" in said
    assert said.count("rank 0: rank 1 ") == 1


def hang_alone(end: str) -> None:
    """Rank 1 ends; the others hang where no error reaches them, as in a call on an accelerator."""
    distributed.barrier()
    if distributed.rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL) if end == "died" else sys.exit(3)
    time.sleep(60)


@pytest.mark.parametrize("end", ["died", "failed"])
def test_survivors_that_hang_outside_of_a_collective_name_the_lost_rank_and_end(
    end: str, in_ranks: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hang_watchdog, "GRACE_SECONDS", 0.2)
    with raises(RuntimeError, " ended "):
        in_ranks(3, hang_alone, end, timeout_seconds=10)
    said = capfd.readouterr().err
    assert re.search(rf"rank 0: rank 1 \(process \d+ on \S+: {end}\)", said)
    assert said.count("lookonce: rank ") == 1


def test_a_silent_rank_is_lost_and_one_that_was_done_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Words()
    watches = [HangWatchdog(store, rank, 3, timeout_seconds=60) for rank in range(3)]  # type: ignore[arg-type]
    watches[2].end("done")
    assert watches[0].lost() == {}
    monkeypatch.setattr(hang_watchdog, "SILENT_SECONDS", -1.0)
    assert list(watches[0].lost()) == [1]
    watches[1].end("failed")
    assert watches[0].lost() == {1: f"process {os.getpid()} on {socket.gethostname()}: failed"}


def start_sooner(watch: HangWatchdog) -> None:
    watch.timeout_seconds = 0.5
    threading.Thread(target=watch._run, daemon=True).start()
