"""Stage-in: downloads objects to a local folder, once for all processes and restarts."""

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

from lookonce.cores import NUM_FETCHERS
from lookonce.log import get_logger, progress_bar, progress_of
from lookonce.ordered import ordered_map
from lookonce.parsed import parse_json
from lookonce.remote.archives import unzip
from lookonce.remote.objects import Entry, Location, ObjectStore, RemoteError, agrees, require_inside
from lookonce.storage import require_space, work_lock, write_file

MARKER = ".staged.json"
UNPACKED = ".unzipped"
# JSON object: each folder that this command, or the one that started this rank, brought here from object storage, with
# its address there. In any other folder, which may be a stranger's, a file could name whatever the user's credentials
# open.
BROUGHT = "LOOKONCE_BROUGHT"


def stage_in(location: Location, folder: Path, store: ObjectStore, *, entries: list[Entry] | None = None) -> Path:
    """Downloads all objects at or below `location` to `folder`; returns `folder`, or the file if it is a single object.

    entries: those to download, where the caller has listed them. Files that an earlier call downloaded, even one that
    was killed, are not downloaded again. A second process waits for the first. Raises DataError for names that leave
    the folder.
    """
    mark_as_brought(folder, location)
    with work_lock(folder):
        entries = require_entries(location, store.entries(location) if entries is None else entries)
        known = _etags(folder)
        missing = [entry for entry in entries if not _is_here(entry, folder / entry.name, known.get(entry.name))]
        if missing:
            folder.mkdir(parents=True, exist_ok=True)
            total = sum(entry.size for entry in missing)
            require_space(folder, total, f"the download from {location}")
            amount = f"{len(missing):,} of {len(entries):,} objects, {total / 1e6:,.1f} MB"
            get_logger().info(f"downloading {amount} from {location} to {folder}")
            _fetch(missing, folder, store, total)
            etags = known | {entry.name: entry.etag for entry in entries}
            write_file(folder / MARKER, json.dumps(etags, indent=0))
    is_one = len(entries) == 1 and entries[0].location == location
    return folder / entries[0].name if is_one else folder


def mark_as_brought(folder: Path, location: Location) -> None:
    os.environ[BROUGHT] = json.dumps(_brought() | {str(folder.resolve()): str(location)})


def is_brought(folder: Path, location: Location) -> bool:
    """Whether this command has named `location`, and `folder` stands for it."""
    return _brought().get(str(folder.resolve())) == str(location)


def brought_from(location: Location) -> Path | None:
    """The folder to which this command, or the one that started this rank, has brought `location`."""
    folders = (Path(folder) for folder, address in reversed(_brought().items()) if address == str(location))
    return next((folder for folder in folders if folder.is_dir()), None)


def _brought() -> dict[str, str]:
    places: dict[str, str] = json.loads(os.environ.get(BROUGHT, "{}"))
    return places


def require_entries(location: Location, entries: list[Entry]) -> list[Entry]:
    """The entries of a listing. RemoteError without any; DataError for a name that leaves the folder."""
    if not entries:
        raise RemoteError.at(
            str(location), "no object has this key or is below it; check bucket and key of the address"
        )
    for entry in entries:
        require_inside(entry)
    return entries


def unpack_once(archive: Path, folder: Path) -> Path:
    """Unpacks an archive into `folder` once, in one process of the machine; returns `folder`."""
    mark = folder.with_name(f".{folder.name}{UNPACKED}")
    with work_lock(folder):
        identity = f"{archive.stat().st_size} {archive.stat().st_mtime_ns}"
        if folder.exists() and mark.is_file() and mark.read_text(encoding="utf-8") == identity:
            return folder
        if not folder.exists():  # else `unzip` refuses
            write_file(mark, identity)  # first: a kill leaves no folder without its mark
        get_logger().info(f"unpacking {archive} to {folder}")
        with progress_of(f"unpacking {archive.name}", "files") as on_progress:
            unzip(archive, folder, on_progress)
    return folder


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

        with ThreadPoolExecutor(NUM_FETCHERS, thread_name_prefix="lookonce-fetch") as pool:
            for _ in ordered_map(pool, fetch, missing, ahead=NUM_FETCHERS):
                pass  # the first error cancels those not yet begun


def _etags(folder: Path) -> dict[str, str]:
    """ETag of each file that earlier calls have downloaded."""
    try:
        known: dict[str, str] = parse_json((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known


def cache_name(location: Location) -> str:
    """The cache folder's name for a location: readable, and unique by a digest."""
    digest = hashlib.sha256(str(location).encode()).hexdigest()[:8]
    return f"{location.key.rpartition('/')[2] or location.bucket}-{digest}"
