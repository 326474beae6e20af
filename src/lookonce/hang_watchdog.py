"""HangWatchdog: names the rank that died, failed or hangs, and ends the processes that would wait for it."""

import json
import math
import os
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, Protocol

from lookonce.errors import first_line

# Another thread can hold Python's lock for some seconds, as json does while it reads annotations: only longer silence
# is a sign of a frozen process or a lost node. A process of the same machine is looked up instead.
SILENT_SECONDS = 30.0
# Between noticing that a rank is lost and ending this process, which gloo's own error may end in order.
GRACE_SECONDS = 5.0


class Store(Protocol):
    """What is used of torch.distributed's Store, which all ranks share."""

    def set(self, key: str, value: str, /) -> None: ...
    def get(self, key: str, /) -> bytes: ...


class HangWatchdog:
    """Names the rank that died, failed or hangs, and ends the processes of the ranks that would wait for it.

    A thread of each rank publishes, in the shared store, the number of its collectives and a heartbeat. It reads those
    of the others, because with NCCL and HCCL a collective, or the next call on the device, hangs where gloo raises.
    The lowest rank left writes the cause to stderr, and all of them exit, since a waiting backend cannot be
    interrupted.

    A rank is lost once its process has ended without saying that it was done, or is silent for SILENT_SECONDS. A rank
    that has waited `timeout_seconds` gives up on those with fewer collectives: a slow rank looks like one that hangs.
    """

    def __init__(self, store: Store, own_rank: int, num_ranks: int, timeout_seconds: float) -> None:
        self.store = store
        self.rank = own_rank
        self.num_ranks = num_ranks
        self.timeout_seconds = timeout_seconds
        self._collectives = self._beat = 0
        self._state = "works"  # then "done", or "failed"
        self._machine = _machine()
        self._heard: dict[int, tuple[int, float]] = {}  # rank -> its last heartbeat, and when it was a new one
        self._done = set[int]()  # the ranks that said so
        self._since = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lookonce-watch", daemon=True)
        self._publish()

    def arrive(self) -> None:
        """Count a collective that this rank enters."""
        self._collectives += 1
        self._since = time.monotonic()

    def start(self) -> None:
        self._thread.start()

    def end(self, state: str) -> None:
        """Stop watching, and tell the others why: "done", or "failed" if this rank ends with an error of its own."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(GRACE_SECONDS)  # it would publish the state from before
        self._state = state
        with suppress(RuntimeError):  # the store has ended with its server
            self._publish()

    def late(self) -> dict[int, str]:
        """Rank -> its process and host, of the ranks that have entered fewer collectives than this one."""
        published = {other: self._published(other) for other in range(self.num_ranks)}
        return {other: life["process"] for other, life in published.items() if life["collectives"] < self._collectives}

    def lost(self) -> dict[int, str]:
        """Rank -> its process and host and what became of it, of the ranks that will enter no collective again."""
        found, now = {}, time.monotonic()
        for other in set(range(self.num_ranks)) - {self.rank}:
            life = self._published(other)
            beat, since = self._heard.get(other, (-1, now))
            if life["beat"] != beat:
                self._heard[other] = beat, since = life["beat"], now
            if life["state"] == "done":
                self._done.add(other)
            elif life["state"] == "failed":
                found[other] = f"{life['process']}: failed"
            elif life["machine"] == self._machine != "" and not _is_running(life["pid"]):
                found[other] = f"{life['process']}: died"
            elif now - since > SILENT_SECONDS:
                found[other] = f"{life['process']}: no heartbeat for {now - since:.0f} s"
        return found

    def lost_within(self, seconds: float) -> dict[int, str]:
        """The lost ranks as soon as there is one; none after that time, or before all ranks have begun to watch."""
        if not self._thread.is_alive():
            return {}
        deadline = time.monotonic() + seconds
        with suppress(RuntimeError):
            while not (found := self.lost()) and time.monotonic() < deadline:
                time.sleep(0.1)
            return found
        return {}

    def _published(self, other: int) -> dict[str, Any]:
        life: dict[str, Any] = json.loads(self.store.get(f"life/{other}"))
        return life

    def _publish(self) -> None:
        self._beat += 1
        life = {
            "collectives": self._collectives,
            "beat": self._beat,
            "state": self._state,
            "machine": self._machine,
            "pid": os.getpid(),
            "process": f"process {os.getpid()} on {socket.gethostname()}",
        }
        self.store.set(f"life/{self.rank}", json.dumps(life))

    def _run(self) -> None:
        noticed = math.inf
        try:
            while not self._over.wait(min(1.0, self.timeout_seconds / 4)):
                self._publish()
                now = time.monotonic()
                if lost := self.lost():
                    noticed = min(noticed, now)
                    if now - noticed > GRACE_SECONDS:
                        self._give_up(lost, f"{names_of(lost)}; a log of its own says why")
                elif now - self._since > self.timeout_seconds and (late := self.late()):
                    self._give_up(
                        late,
                        f"{names_of(late)} did not enter collective {self._collectives} within "
                        f"{self.timeout_seconds:g} s (rank_timeout); if it is only slow, raise rank_timeout",
                    )
        except RuntimeError as error:
            if noticed < math.inf:  # a survivor that served the store has named the lost rank
                os._exit(1)
            # The store ended with the process that served it, rank 0 or torchrun, or its node is lost.
            if not self._over.wait(SILENT_SECONDS) and 0 not in self._done:
                self._exit(f"lost rank 0 or torchrun of its node, and now exits ({first_line(error)})")

    def _give_up(self, missing: dict[int, str], cause: str) -> None:
        first, *others = [other for other in range(self.num_ranks) if other not in missing]
        if self.rank in others:
            self._await_end(first)
            os._exit(1)
        self._exit(f"{cause}; {1 + len(others)} of {self.num_ranks} ranks waited and now exit")

    def _await_end(self, other: int) -> None:
        """Wait until that rank has ended, for GRACE_SECONDS at most: it names the cause, but if this rank ended sooner,
        a broken connection would reach it first, and it would take this rank for the lost one."""
        deadline = time.monotonic() + GRACE_SECONDS
        with suppress(RuntimeError):  # the store ends with its server
            life = self._published(other)
            while time.monotonic() < deadline and (life["machine"] != self._machine or _is_running(life["pid"])):
                time.sleep(0.02)

    def _exit(self, message: str) -> NoReturn:
        sys.stderr.write(f"lookonce: rank {self.rank}: {message}\n")
        sys.stderr.flush()
        os._exit(1)


def names_of(ranks: dict[int, str]) -> str:
    return "; ".join(f"rank {other} ({what})" for other, what in ranks.items())


def _machine() -> str:
    """What is the same for processes that see each other's numbers: the boot and the PID namespace; "" if unknown."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _is_running(pid: int) -> bool:
    """Whether a process of this machine has not ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
