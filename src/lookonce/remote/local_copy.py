"""Local copies of files and folders that a user names by path or by address (s3://, obs://)."""

from dataclasses import replace
from pathlib import Path

from lookonce.remote.objects import Location, is_remote
from lookonce.remote.stage_in import cache_name, stage_in, unpack_once
from lookonce.remote.stage_out import CURRENT, fetch_run
from lookonce.remote.store import open_store
from lookonce.storage import work_lock

DARKNETS = (".cfg", ".weights")  # each needs the other
CACHE = Path(".lookonce-cache")  # in the folder where the command runs: nothing is written to HOME


def local_file(place: str | Path, cache: Path = CACHE) -> Path:
    """The local path of a file or folder; objects are downloaded once, and again if they have changed."""
    if not is_remote(place):
        return Path(place)
    location, store = Location.parse(str(place)), open_store()
    folder = cache / cache_name(location)
    if any(entry.name.rpartition("/")[2] == CURRENT for entry in store.entries(location)):
        with work_lock(folder):
            fetch_run(location, folder, store)
        return folder
    return stage_in(location, folder, store)


def local_weights(place: str | Path, cache: Path = CACHE) -> Path:
    """`local_file`; for Darknet or MindSpore weights, also downloads the files of the same name beside them."""
    found = local_file(place, cache)
    if not is_remote(place) or found.suffix not in {".ckpt", *DARKNETS}:
        return found
    location, store = Location.parse(str(place)), open_store()
    stem = location.key.removesuffix(found.suffix)
    for key in (f"{location.key}.json", f"{stem}.names", *(stem + suffix for suffix in DARKNETS)):
        beside = replace(location, key=key)
        if key != location.key and any(entry.location == beside for entry in store.entries(beside)):
            stage_in(beside, found.parent, store)
    return found


def unpacked(path: Path, cache: Path = CACHE) -> Path:
    """Unpacks a .zip; returns its folder, or the single folder inside it. Other paths are returned as they are."""
    if path.suffix.lower() != ".zip" or not path.is_file():
        return path
    folder = unpack_once(path, cache / f"{path.stem}-unpacked")
    inside = [child for child in folder.iterdir() if not child.name.startswith((".", "__MACOSX"))]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder
