"""A lock between processes of a machine: one does the work, the others wait for it."""

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

from lookonce.errors import LookonceError

BEAT_SECONDS = 5.0
STALE_SECONDS = 60.0  # a lock on a shared disk that its holder has not touched for this long is stale


@contextmanager
def work_lock(path: Path, *, patience_seconds: float = 6 * 3600) -> Iterator[None]:
    """Holds the lock file until the block ends; waits while another process holds it.

    The file records the holder's process id, host and start time. A lock whose process has ended (same host) or that
    has not been touched for a minute (another host) is taken over.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    while not _taken(path):
        if _is_abandoned(path):
            path.unlink(missing_ok=True)
        elif time.monotonic() - started > patience_seconds:
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


def _is_abandoned(path: Path) -> bool:
    try:
        age = time.time() - path.stat().st_mtime
        owner = json.loads(path.read_text(encoding="utf-8"))
        pid, host = int(owner["pid"]), str(owner["host"])
    except FileNotFoundError:
        return False
    except (ValueError, KeyError, TypeError):
        return age > BEAT_SECONDS  # killed between making and filling it
    return not _runs(pid) if host == socket.gethostname() else age > STALE_SECONDS


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _keep_alive(path: Path, done: Event) -> None:
    while not done.wait(BEAT_SECONDS):
        path.touch()
