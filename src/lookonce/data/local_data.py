"""Bring a data set to this machine: a folder, a zip file, objects; images of shards, and those of `eval`, may stay."""

from pathlib import Path, PurePosixPath

from lookonce.data.images import IMAGE_SUFFIXES
from lookonce.data.shards import INDEX, REMOTE
from lookonce.data.stored import keep_in_store
from lookonce.remote.local_copy import CACHE, unpacked
from lookonce.remote.objects import Entry, Location, is_remote
from lookonce.remote.stage_in import brought_from, cache_name, require_entries, stage_in
from lookonce.remote.store import open_store
from lookonce.storage import write_file

DOCUMENTS = frozenset({"", ".md", ".rst", ".pdf", ".html"})  # suffixes of files that are no annotations


def local_data(place: str | Path, cache: Path | None = None, *, streamed: bool = False) -> Path:
    """Local path of a data set. Objects are downloaded once and a .zip is unpacked once, both into `cache`. Of shards
    only the index and annotations are downloaded; each image is fetched when it is read. cache: by default where this
    command has brought these objects already, else .lookonce-cache.

    streamed: likewise for images beside COCO annotations, and for images alone. Other formats list the files of their
    images, or read their headers, so they are downloaded.
    """
    if not is_remote(place):
        return unpacked(Path(place), cache or CACHE)
    location, store = Location.parse(str(place)), open_store()
    folder = (cache is None and brought_from(location)) or (cache or CACHE) / cache_name(location)
    entries = require_entries(location, store.entries(location))
    are_shards = any(entry.name == INDEX for entry in entries)
    if streamed and not are_shards and (images := _beside_coco(entries)):
        if annotations := [one for one in entries if one.name.endswith(".json")]:
            stage_in(location, folder, store, entries=annotations)
        keep_in_store(folder, location, images)
        return folder
    needed = [entry for entry in entries if entry.name.endswith(".json")] if are_shards else entries
    found = stage_in(location, folder, store, entries=needed)
    if not (folder / INDEX).is_file():
        return unpacked(found, folder.parent)
    write_file(folder / REMOTE, str(location))
    return folder


def _beside_coco(entries: list[Entry]) -> set[str]:
    """Names of the images of a data set whose only other files are JSON; empty for other data sets."""
    suffixes = {one.name: PurePosixPath(one.name).suffix.lower() for one in entries}
    images = {name for name, suffix in suffixes.items() if suffix in IMAGE_SUFFIXES}
    others = {suffix for name, suffix in suffixes.items() if name not in images} - DOCUMENTS
    return images if others <= {".json"} else set()
