"""Pictures in tar archives, in the WebDataset convention: read by their place in the archive, without unpacking.

A folder of shards holds `train-000000.tar` and so on, COCO files whose `file_name` is `train-000000.tar/picture.jpg`,
and `shards.json`, which says where in its archive each picture lies. So the order of an epoch is the order of the
loose files, whichever machine, rank or worker reads it, and a run goes on in the middle of a shard. Each picture has a
`.json` with its boxes beside it in the archive, for programs that read shards from front to back.

Where the archives lie in object storage, only the two kinds of JSON are fetched; pictures come one by one, by range.
"""

import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lookonce.data.dataset import Dataset
from lookonce.errors import DataError
from lookonce.remote.objects import Location, ObjectStore
from lookonce.remote.store import open_store

INDEX = "shards.json"
REMOTE = ".shards-at"  # beside the index: the address of the archives
SUFFIX = ".tar"
SHARD_BYTES = 256 << 20
BLOCK = 512  # of a tar archive


@dataclass(frozen=True, kw_only=True)
class Shards:
    """places: archive -> picture -> (first byte, number of bytes). location: of the archives, if not in folder."""

    folder: Path
    places: Mapping[str, Mapping[str, tuple[int, int]]]
    location: Location | None
    store: ObjectStore

    def read(self, archive: str, name: str) -> bytes:
        """The bytes of one picture. OSError as for a file that cannot be read."""
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
            raise OSError(5, f"{archive} ends after {len(content)} of its {length} bytes; copy the archive again")
        return content


def is_in_shard(path: Path) -> bool:
    """Whether a picture's path leads into an archive: FOLDER/train-000000.tar/picture.jpg."""
    return path.parent.suffix == SUFFIX


def read_from_shard(path: Path) -> bytes:
    """The bytes of the picture at such a path."""
    return open_shards(path.parent.parent).read(path.parent.name, path.name)


def names_in_shard(archive: Path) -> set[str]:
    """The pictures of an archive; none where the folder has no index, or the archive is not there."""
    if not (archive.parent / INDEX).is_file():
        return set()
    shards = open_shards(archive.parent)
    is_here = shards.location is not None or archive.is_file()
    return set(shards.places.get(archive.name, ())) if is_here else set()


@lru_cache(maxsize=16)
def open_shards(folder: Path) -> Shards:
    """The index of a folder. DataError where it cannot be read."""
    try:
        content = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        places = {
            archive: {name: (int(start), int(length)) for name, (start, length) in images.items()}
            for archive, images in content["archives"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{folder / INDEX}: cannot be read ({error}); expected the index that `lookonce convert-data --to shards` "
            "writes",
            path=folder / INDEX,
        ) from error
    remote = folder / REMOTE
    location = Location.parse(remote.read_text(encoding="utf-8")) if remote.is_file() else None
    return Shards(folder=folder, places=places, location=location, store=open_store())


def write_archives(
    dataset: Dataset,
    names: Sequence[str],
    folder: Path,
    *,
    shard_bytes: int = SHARD_BYTES,
    on_image: Callable[[], None] = lambda: None,
) -> dict[str, dict[str, tuple[int, int]]]:
    """The pictures of a split -> FOLDER/SPLIT-000000.tar and so on, in the data set's order; where each one lies.

    names: what each picture is called in its archive, all of them different. An archive is full at shard_bytes. The
    same data set makes the same bytes: times and owners are left out.
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
    """shards.json of a folder whose archives `write_archives` has written."""
    (folder / INDEX).write_text(json.dumps({"archives": places}), encoding="utf-8")


def read_file(path: Path) -> bytes:
    """The bytes of a picture, loose or in an archive."""
    return read_from_shard(path) if is_in_shard(path) else path.read_bytes()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> tuple[int, int]:
    """(first byte, number of bytes) in the archive."""
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))
    padded = -(-len(content) // BLOCK) * BLOCK
    return tar.offset - padded, len(content)


def _described(dataset: Dataset, row: int) -> bytes:
    """The boxes of one picture, for readers that know nothing but the archive."""
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
