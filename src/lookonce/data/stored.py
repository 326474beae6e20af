"""Images of a data set that `eval` leaves in object storage: listed once, and fetched when they are read.

A folder on this machine has the annotations, empty folders for the images, and a marker that names them.
"""

import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lookonce.errors import DataError
from lookonce.parsed import parse_json
from lookonce.remote.objects import Location, ObjectStore, UnreadableObject
from lookonce.remote.stage_in import is_brought, mark_as_brought
from lookonce.remote.store import open_store
from lookonce.storage import write_file

MARKER = ".images-at.json"
MAX_BYTES = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Stored:
    """names: folder below `location` -> names of the images in it."""

    location: Location
    names: dict[str, set[str]]
    store: ObjectStore


def not_brought(folder: Path, location: Location) -> DataError:
    problem = f"its images are in object storage, which is read only if the command names it; name {location} instead"
    return DataError.at(folder, problem)


def keep_in_store(folder: Path, location: Location, names: Iterable[str]) -> None:
    """Make `folder` stand for the images `names` below `location`."""
    names = sorted(names)
    for below in {name.rpartition("/")[0] for name in names}:
        (folder / below).mkdir(parents=True, exist_ok=True)
    write_file(folder / MARKER, json.dumps({"location": str(location), "names": names}))
    mark_as_brought(folder, location)


def stored_below(folder: Path) -> list[str]:
    """The images that are stored below a folder that `keep_in_store` made, relative to it; [] for other folders."""
    if not (folder / MARKER).is_file():
        return []
    return [f"{below}/{name}".lstrip("/") for below, names in _opened(folder).names.items() for name in names]


def stored_in(folder: Path) -> set[str]:
    """Names of the images that are stored for this folder; empty if it is no folder of a stored data set."""
    found = _found(folder)
    return set() if found is None else found[0].names.get(found[1], set())


def is_stored(path: Path) -> bool:
    return path.name in stored_in(path.parent) and not path.exists()


def read_stored(path: Path) -> bytes:
    """The bytes of an image for which `is_stored` is true. OSError, as for a file, if it cannot be read."""
    found = _found(path)
    if found is None:
        raise FileNotFoundError(2, "No such file or directory", str(path))
    stored, name = found
    try:
        return stored.store.get(stored.location / name, MAX_BYTES)
    except UnreadableObject as error:
        raise FileNotFoundError(2, str(error), str(path)) from error


def _found(path: Path) -> tuple[Stored, str] | None:
    """The stored data set around a path, and the path relative to it."""
    for folder in (path, *path.parents):
        if (folder / MARKER).is_file():
            below = path.relative_to(folder).as_posix()
            return _opened(folder), "" if below == "." else below
    return None


def _opened(folder: Path) -> Stored:
    stored = _read(folder / MARKER, (folder / MARKER).stat().st_mtime_ns)
    if not is_brought(folder, stored.location):
        raise not_brought(folder, stored.location)
    return stored


@lru_cache(maxsize=16)
def _read(marker: Path, _changed_at: int) -> Stored:
    names: dict[str, set[str]] = defaultdict(set)
    try:
        content = parse_json(marker.read_text(encoding="utf-8"))
        location = Location.parse(content["location"])
        for name in content["names"]:
            below, _, own = name.rpartition("/")
            names[below].add(own)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"cannot be read ({error}); remove its folder, which is downloaded again"
        raise DataError.at(marker, problem) from error
    return Stored(location=location, names=dict(names), store=open_store())
