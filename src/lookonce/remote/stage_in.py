"""Stage-in: downloads objects to a local folder, once for all processes and restarts."""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from lookonce.log import get_logger, progress_bar, progress_of
from lookonce.parsed import parse_json
from lookonce.remote.archives import unzip
from lookonce.remote.lock import work_lock
from lookonce.remote.objects import Entry, Location, ObjectStore, RemoteError, agrees, require_inside
from lookonce.storage import require_space, write_file

PARALLEL = 16
MARKER = ".staged.json"
UNPACKED = ".unzipped"


def stage_in(location: Location, folder: Path, store: ObjectStore, *, entries: list[Entry] | None = None) -> Path:
    """Downloads all objects at or below `location` to `folder`; returns `folder`, or the file if it is a single object.

    entries: those to download, where the caller has listed them. Files that an earlier call downloaded, even one that
    was killed, are not downloaded again. A second process waits for the first. Raises DataError for names that leave
    the folder.
    """
    with work_lock(folder.with_name(f".{folder.name}.lock")):
        entries = require_entries(location, store.entries(location) if entries is None else entries)
        missing = _missing(entries, folder)
        if missing:
            folder.mkdir(parents=True, exist_ok=True)
            total = sum(entry.size for entry in missing)
            require_space(folder, total, f"the download from {location}")
            amount = f"{len(missing):,} of {len(entries):,} objects, {total / 1e6:,.1f} MB"
            get_logger().info(f"downloading {amount} from {location} to {folder}")
            _fetch(missing, folder, store, total)
            _remember(entries, folder)
    is_one = len(entries) == 1 and entries[0].location == location
    return folder / entries[0].name if is_one else folder


def require_entries(location: Location, entries: list[Entry]) -> list[Entry]:
    """The entries of a listing. RemoteError without any; DataError for a name that leaves the folder."""
    if not entries:
        raise RemoteError(
            f"{location}: no object has this key or is below it; check bucket and key of the address",
            path=str(location),
        )
    for entry in entries:
        require_inside(entry)
    return entries


def unpack_once(archive: Path, folder: Path) -> Path:
    """Unpacks an archive into `folder` once, in one process of the machine; returns `folder`."""
    mark = folder.with_name(f".{folder.name}{UNPACKED}")
    with work_lock(folder.with_name(f".{folder.name}.lock")):
        identity = f"{archive.stat().st_size} {archive.stat().st_mtime_ns}"
        if folder.exists() and mark.is_file() and mark.read_text(encoding="utf-8") == identity:
            return folder
        get_logger().info(f"unpacking {archive} to {folder}")
        with progress_of(f"unpacking {archive.name}", "files") as on_progress:
            unzip(archive, folder, on_progress)
        write_file(mark, identity)
    return folder


def _missing(entries: Sequence[Entry], folder: Path) -> list[Entry]:
    """The entries without an up-to-date local file. The marker file holds the ETag of each downloaded file."""
    known = _remembered(folder)
    return [entry for entry in entries if not _is_here(entry, folder / entry.name, known.get(entry.name))]


def _is_here(entry: Entry, path: Path, known_etag: str | None) -> bool:
    if not path.is_file() or path.stat().st_size != entry.size:
        return False
    return known_etag == entry.etag or (known_etag is None and agrees(path, entry.size, entry.etag))


def _fetch(missing: Sequence[Entry], folder: Path, store: ObjectStore, total: int) -> None:
    lock = Lock()
    done = 0
    with progress_bar("downloading", total >> 20) as advance:

        def count(num_bytes: int) -> None:
            nonlocal done
            with lock:
                done += num_bytes
                advance(done >> 20, "MiB")

        def fetch(entry: Entry) -> None:
            store.download(entry, folder / entry.name, count)

        _in_parallel(fetch, missing)


def _in_parallel(work: Callable[[Entry], None], entries: Sequence[Entry]) -> None:
    """Stops at the first error; entries not yet begun are cancelled."""
    with ThreadPoolExecutor(PARALLEL, thread_name_prefix="lookonce-fetch") as pool:
        try:
            for _ in pool.map(work, entries):
                pass
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _remember(entries: Sequence[Entry], folder: Path) -> None:
    """Adds the ETags to those of earlier calls."""
    known = _remembered(folder) | {entry.name: entry.etag for entry in entries}
    write_file(folder / MARKER, json.dumps(known, indent=0))


def _remembered(folder: Path) -> dict[str, str]:
    try:
        known: dict[str, str] = parse_json((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known


def cache_name(location: Location) -> str:
    """The cache folder's name for a location: readable, and unique by a digest."""
    digest = hashlib.sha256(str(location).encode()).hexdigest()[:8]
    return f"{location.key.rpartition('/')[2] or location.bucket}-{digest}"
