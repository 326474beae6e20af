"""Where things lie: what a user names may be on this machine or in object storage (s3://, obs://)."""

from pathlib import Path

from lookonce.data.shards import INDEX, REMOTE
from lookonce.remote.objects import Location, ObjectStore, is_remote
from lookonce.remote.stage_in import cache_name, stage_in, unpack_once
from lookonce.storage import write_file

CACHE = Path(".lookonce-cache")  # in the folder where the command runs: nothing is written to HOME


def local_data(place: str | Path, cache: Path = CACHE) -> Path:
    """A data set on this machine. Objects are fetched once, a .zip is unpacked once; of shards only their index is
    fetched, and their pictures come when they are asked for."""
    if not is_remote(place):
        return unpacked(Path(place), cache)
    location, store = Location.parse(str(place)), ObjectStore()
    folder = cache / cache_name(location)
    names = {entry.name for entry in store.entries(location)}
    if INDEX not in names:
        return unpacked(stage_in(location, folder, store), cache)
    stage_in(location, folder, store, wanted=lambda name: name.endswith(".json"))
    write_file(folder / REMOTE, str(location))
    return folder


def local_file(place: str | Path, cache: Path = CACHE) -> Path:
    """A file or folder (weights, annotations, pictures) on this machine; objects are fetched once."""
    if not is_remote(place):
        return Path(place)
    location = Location.parse(str(place))
    return stage_in(location, cache / cache_name(location), ObjectStore())


def unpacked(path: Path, cache: Path = CACHE) -> Path:
    """A .zip -> the folder with what it holds (of a zip with a single folder in it, that folder)."""
    if path.suffix.lower() != ".zip" or not path.is_file():
        return path
    folder = unpack_once(path, cache / f"{path.stem}-unpacked")
    inside = [child for child in folder.iterdir() if not child.name.startswith((".", "__MACOSX"))]
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else folder
