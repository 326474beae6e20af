"""A lock between processes of a machine: one does the work, the others wait for it."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

from lookonce.errors import LookonceError
from lookonce.parsed import parse_json

BEAT_SECONDS = 5.0
# A lock that its holder has not touched for this long is stale. We watch it for that time by our own monotonic clock:
# the clocks of two hosts differ, and either may jump.
STALE_SECONDS = 60.0


@contextmanager
def work_lock(path: Path, *, patience_seconds: float = 6 * 3600) -> Iterator[None]:
    """Holds the lock file until the block ends; waits while another process holds it.

    The file records the holder's process id, host and start time. A lock whose process has ended (same host) or that
    is not touched for a minute is taken over.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    started = seen_at = time.monotonic()
    seen = None
    while not _taken(path):
        now, touched, owner = time.monotonic(), _touched(path), _owner(path)
        if touched != seen:
            seen, seen_at = touched, now
        # No owner: its process was killed between creating and filling the file.
        if _has_ended(owner) or now - seen_at > (STALE_SECONDS if owner else BEAT_SECONDS):
            path.unlink(missing_ok=True)
        elif now - started > patience_seconds:
            raise LookonceError(
                f"{path}: held for too long by {path.read_text(encoding='utf-8')}; delete it if that process has ended",
                path=path,
            )
        else:
            time.sleep(0.2)
    done = Event()
    beat = Thread(target=_keep_alive, args=(path, done), name="lookonce-lock", daemon=True)
    beat.start()
    try:
        yield
    finally:
        done.set()
        beat.join()
        path.unlink(missing_ok=True)


def _taken(path: Path) -> bool:
    owner = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    try:
        with path.open("x", encoding="utf-8") as file:
            json.dump(owner, file)
    except FileExistsError:
        return False
    return True


def _touched(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return None


def _owner(path: Path) -> tuple[int, str] | None:
    """(process id, host) of the holder."""
    try:
        owner = parse_json(path.read_bytes())
        return int(owner["pid"]), str(owner["host"])
    except (OSError, LookupError, TypeError, ValueError):
        return None


def _has_ended(owner: tuple[int, str] | None) -> bool:
    return owner is not None and owner[1] == socket.gethostname() and not _runs(owner[0])


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):  # OverflowError: no number of a process
        return False
    except PermissionError:
        return True
    return True


def _keep_alive(path: Path, done: Event) -> None:
    while not done.wait(BEAT_SECONDS):
        with suppress(FileNotFoundError):
            os.utime(path)  # `touch` would create the file again
