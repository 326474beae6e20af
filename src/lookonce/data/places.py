"""Where a data set lies: on this machine, in a zip file, or in object storage, as files or as shards."""

from pathlib import Path

from lookonce.data.shards import INDEX, REMOTE
from lookonce.remote.objects import Location, ObjectStore, is_remote
from lookonce.remote.places import CACHE, unpacked
from lookonce.remote.stage_in import cache_name, stage_in
from lookonce.storage import write_file


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
