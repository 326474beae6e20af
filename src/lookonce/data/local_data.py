"""Bring a data set to this machine: from a folder, a zip file or object storage, as files or as shards."""

from pathlib import Path

from lookonce.data.shards import INDEX, REMOTE
from lookonce.remote.local_copy import CACHE, unpacked
from lookonce.remote.objects import Entry, Location, is_remote
from lookonce.remote.stage_in import cache_name, stage_in
from lookonce.remote.store import open_store
from lookonce.storage import write_file


def local_data(place: str | Path, cache: Path = CACHE) -> Path:
    """Local path of a data set. Objects are downloaded once and a .zip is unpacked once, both into `cache`. Of shards
    only the index and annotations are downloaded; each image is fetched when it is read."""
    if not is_remote(place):
        return unpacked(Path(place), cache)
    location = Location.parse(str(place))
    folder = cache / cache_name(location)
    found = stage_in(location, folder, open_store(), choose=_without_archives)
    if not (folder / INDEX).is_file():
        return unpacked(found, cache)
    write_file(folder / REMOTE, str(location))
    return folder


def _without_archives(entries: list[Entry]) -> list[Entry]:
    are_shards = any(entry.name == INDEX for entry in entries)
    return [entry for entry in entries if entry.name.endswith(".json")] if are_shards else entries
