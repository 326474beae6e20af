"""Shards: images in tar archives, in the WebDataset convention, read by their byte range without unpacking.

A folder of shards contains `train-000000.tar` and so on, COCO files whose `file_name` is `train-000000.tar/image.jpg`,
and `shards.json`, the index with each image's byte range. So an epoch has the same order as with loose files, on every
machine, rank and worker, and a run resumes within a shard. In the archive each image is followed by a `.json` with its
boxes, for programs that read shards sequentially.

If the archives are in object storage, only the index and the COCO files are downloaded; images are fetched one by one,
by byte range.
"""

import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lookonce.data.dataset import Dataset
from lookonce.data.stored import not_brought, read_stored
from lookonce.errors import DataError
from lookonce.parsed import parse_json
from lookonce.remote.objects import Location, ObjectStore
from lookonce.remote.stage_in import is_brought
from lookonce.remote.store import open_store
from lookonce.storage import read_regular_file

INDEX = "shards.json"
REMOTE = ".shards-at"  # beside the index: the address of the archives
SUFFIX = ".tar"
SHARD_BYTES = 256 << 20
BLOCK = 512  # of a tar archive
BYTES = range(1 << 50)  # first bytes and lengths of images in an archive


@dataclass(frozen=True, kw_only=True)
class Shards:
    """places: archive -> image -> (first byte, number of bytes). location: of the archives, if not in `folder`."""

    folder: Path
    places: Mapping[str, Mapping[str, tuple[int, int]]]
    location: Location | None
    store: ObjectStore

    def read(self, archive: str, name: str) -> bytes:
        """The bytes of one image. OSError, as for a file, if it cannot be read."""
        try:
            start, length = self.places[archive][name]
        except KeyError:
            raise FileNotFoundError(2, f"{INDEX} of {self.folder} does not list it") from None
        if self.location is not None:
            content = self.store.read(self.location / archive, start, length)
        else:
            with (self.folder / archive).open("rb") as file:
                file.seek(start)
                content = file.read(length)
        if len(content) != length:
            raise OSError(
                5, f"{archive} is truncated: {len(content)} of the {length} bytes of {name}; copy the archive again"
            )
        return content


def is_in_shard(path: Path) -> bool:
    """Whether an image's path points into an archive: FOLDER/train-000000.tar/image.jpg."""
    return path.parent.suffix == SUFFIX


def names_in_shard(archive: Path) -> set[str]:
    """Names of the images in an archive; empty if the folder has no index or the archive does not exist."""
    if not (archive.parent / INDEX).is_file():
        return set()
    shards = open_shards(archive.parent)
    is_here = shards.location is not None or archive.is_file()
    return set(shards.places.get(archive.name, ())) if is_here else set()


@lru_cache(maxsize=16)
def open_shards(folder: Path) -> Shards:
    """The shards of a folder, by its index. DataError if the index cannot be read."""
    try:
        content = parse_json(read_regular_file(folder / INDEX))
        places = {
            archive: {name: (int(start), int(length)) for name, (start, length) in images.items()}
            for archive, images in content["archives"].items()
        }
        if not all(number in BYTES for images in places.values() for place in images.values() for number in place):
            raise ValueError("a place that is no range of bytes")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        problem = f"cannot be read ({error}); expected the index that `lookonce convert-data --to shards` writes"
        raise DataError.at(folder / INDEX, problem) from error
    remote = folder / REMOTE
    address = remote.read_text(encoding="utf-8", errors="replace") if remote.is_file() else None
    location = None if address is None else Location.parse(address)
    if location is not None and not is_brought(folder, location):
        if not all((folder / archive).is_file() for archive in places):
            raise not_brought(folder, location)
        location = None
    return Shards(folder=folder, places=places, location=location, store=open_store())


def write_archives(
    dataset: Dataset,
    names: Sequence[str],
    folder: Path,
    *,
    shard_bytes: int = SHARD_BYTES,
    on_image: Callable[[], None] = lambda: None,
) -> dict[str, dict[str, tuple[int, int]]]:
    """Write the images of a split into FOLDER/SPLIT-000000.tar and so on, in the data set's order.

    names: the unique name of each image in its archive. shard_bytes: size at which the next archive begins. Returns
    archive -> name -> (first byte, number of bytes). The same data set gives the same bytes: no times, no user names.
    """
    places: dict[str, dict[str, tuple[int, int]]] = {}
    row = 0
    while row < len(dataset):
        archive = f"{dataset.split}-{len(places):06d}{SUFFIX}"
        here = places[archive] = {}
        with tarfile.open(folder / archive, "w", format=tarfile.PAX_FORMAT) as tar:
            while row < len(dataset) and (not here or tar.offset < shard_bytes):
                name = names[row]
                here[name] = _add(tar, name, read_file(dataset.image_paths[row]))
                _add(tar, f"{name.rpartition('.')[0]}.json", _described(dataset, row))
                on_image()
                row += 1
    return places


def write_index(folder: Path, places: Mapping[str, Mapping[str, tuple[int, int]]]) -> None:
    """Write shards.json for the archives of `write_archives`."""
    (folder / INDEX).write_text(json.dumps({"archives": places}), encoding="utf-8")


def read_file(path: Path) -> bytes:
    """The bytes of an image file, loose, in an archive or in object storage."""
    if is_in_shard(path):
        return open_shards(path.parent.parent).read(path.parent.name, path.name)
    try:
        return read_regular_file(path)
    except FileNotFoundError:
        return read_stored(path)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> tuple[int, int]:
    """Append a file; returns (first byte, number of bytes) in the archive."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
    padded = -(-len(content) // BLOCK) * BLOCK
    return tar.offset - padded, len(content)


def _described(dataset: Dataset, row: int) -> bytes:
    """The boxes of one image as JSON, for programs that read only the archive."""
    rows = dataset.rows(row)
    width, height = dataset.image_sizes_wh[row].tolist()
    content = {
        "image_id": int(dataset.image_ids[row]),
        "width": width,
        "height": height,
        "boxes_xyxy": dataset.boxes_xyxy[rows].tolist(),
        "labels": dataset.labels[rows].tolist(),
        "classes": [dataset.class_names[label] for label in dataset.labels[rows]],
        "crowd": dataset.crowd[rows].tolist(),
    }
    return json.dumps(content).encode()
