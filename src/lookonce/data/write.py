"""Write a data set from memory to disk: copy or link the images, write the annotations, read both back and compare.

The new folder appears only when it is complete. The original files are not changed.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from lookonce.data.dataset import Dataset
from lookonce.data.formats.coco import write_coco
from lookonce.data.formats.cvat import write_cvat
from lookonce.data.formats.label_studio import write_label_studio
from lookonce.data.formats.labelme import write_labelme
from lookonce.data.formats.voc import write_voc
from lookonce.data.formats.yolo import write_yolo
from lookonce.data.selection import take_boxes
from lookonce.data.shards import is_in_shard, read_file, write_archives, write_index
from lookonce.data.source import open_data
from lookonce.data.splits import DataSource
from lookonce.errors import DataError
from lookonce.layout import InNotebooks
from lookonce.log import quiet
from lookonce.storage import is_free, os_errors_explained

Format = Literal["coco", "voc", "yolo", "labelme", "cvat", "label-studio", "shards"]
Placing = Literal["copy", "link"]
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Writing:
    """write(folder, splits) writes annotations; image_folder is below that folder; marks_crowd: with crowd boxes."""

    write: Callable[[Path, Sequence[Dataset]], None]
    image_folder: str = "{split}"
    marks_crowd: bool = False


def _write_coco(folder: Path, datasets: Sequence[Dataset]) -> None:
    (folder / "annotations").mkdir()
    for dataset in datasets:
        write_coco(folder / "annotations" / f"instances_{dataset.split}.json", dataset)


FORMATS: dict[str, _Writing] = {
    "coco": _Writing(_write_coco, marks_crowd=True),
    "voc": _Writing(write_voc, "JPEGImages", marks_crowd=True),
    "yolo": _Writing(write_yolo, "images/{split}"),
    "labelme": _Writing(write_labelme),
    "cvat": _Writing(write_cvat),
    "label-studio": _Writing(write_label_studio),
    "shards": _Writing(_write_coco, marks_crowd=True),
}


@dataclass(frozen=True, kw_only=True)
class Copy(InNotebooks):
    """Summary of a written data set. `largest_difference`: of any corner after reading back, in pixels; 0: bit for bit.

    renamed: original path of each image with a new file name -> that name.
    """

    folder: Path
    format: str
    images: dict[str, int]  # split -> count
    boxes: dict[str, int]
    crowd_left_out: int  # of a format without a flag for crowd boxes
    largest_difference: float
    renamed: Mapping[Path, str]

    def __str__(self) -> str:
        counts = (f"{split} {count:,} images, {self.boxes[split]:,} boxes" for split, count in self.images.items())
        return f"{self.folder} ({self.format}): {'; '.join(counts)}"


def own_format(source_format: str) -> Format:
    """The format in which a data set is, if it can be written, else COCO."""
    return cast("Format", source_format) if source_format in FORMATS else "coco"


def require_format(to: str) -> None:
    if to not in FORMATS:
        raise DataError(f"unknown format {to!r}; expected one of {', '.join(FORMATS)}", value=to)


def require_new(folder: Path) -> None:
    """DataError unless `folder` does not exist or is an empty folder."""
    if not is_free(folder):
        raise DataError.at(folder, "exists and is not empty; expected a new or empty folder; choose another")


def write_data(
    datasets: Sequence[Dataset],
    folder: Path,
    *,
    to: Format,
    placing: Placing = "copy",
    new_names: Mapping[Path, str] | None = None,
    notes: Mapping[str, str] | None = None,
    scores: NDArray[np.float32] | None = None,
    on_progress: OnProgress | None = None,
) -> Copy:
    """Write the splits, which must have the same classes, into a new or empty folder.

    placing: copy the images, or make hard links. new_names: image -> new file name. notes: additional text files,
    name -> content. scores: of the boxes of the only data set, for the format that holds them (label-studio).
    on_progress(done, total) counts images.
    """
    require_format(to)
    require_new(folder)
    with os_errors_explained(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
            new = Path(temporary) / "data"
            new.mkdir()
            targets = _targets(datasets, to, new_names or {})
            if to == "shards":
                placed = _pack_images(datasets, targets, new, on_progress)
            else:
                _place_images(targets, new, placing, on_progress)
                placed = [
                    replace(dataset, image_paths=[new / targets[dataset.split, path] for path in dataset.image_paths])
                    for dataset in datasets
                ]
            if to == "labelme":  # has no list of images, so they are read in the order of their files
                orders = [np.argsort([f"{path.stem}.json" for path in one.image_paths]) for one in placed]
                placed = [one.take(order) for one, order in zip(placed, orders, strict=True)]
            without = placed if FORMATS[to].marks_crowd else [take_boxes(one, ~one.crowd) for one in placed]
            if to == "label-studio":  # the only format that has scores
                write_label_studio(new, without, scores=scores)
            else:
                FORMATS[to].write(new, without)
            with quiet():  # its paths are temporary
                difference = _compare(placed, open_data(new), to)
            for name, text in (notes or {}).items():
                (new / name).write_text(text, encoding="utf-8")
            new.replace(folder)
    return Copy(
        folder=folder,
        format=to,
        images={dataset.split: len(dataset) for dataset in datasets},
        boxes={dataset.split: len(_kept_rows(dataset, to)) for dataset in datasets},
        crowd_left_out=0 if FORMATS[to].marks_crowd else sum(int(dataset.crowd.sum()) for dataset in datasets),
        largest_difference=difference,
        renamed={path: target.name for (_, path), target in targets.items() if target.name != path.name},
    )


_BYTE = re.compile("[\udc80-\udcff]")  # how Python shows a byte of a file name that is not UTF-8 (PEP 383)
Targets = dict[tuple[str, Path], Path]  # (split, original path) -> path relative to the new folder


def _targets(datasets: Sequence[Dataset], to: str, new_names: Mapping[Path, str]) -> Targets:
    """Images keep their names, except bytes that are not UTF-8 and become `%E9`, as no other program reads them in an
    annotation file; of two names in a folder that are equal or differ only by case, one gets a number."""
    targets: Targets = {}
    taken: dict[str, Path] = {}
    for dataset in datasets:
        folder = Path(FORMATS[to].image_folder.format(split=dataset.split))
        for path in dataset.image_paths:
            if (dataset.split, path) not in targets:
                name = _BYTE.sub(lambda byte: f"%{ord(byte[0]) & 0xFF:02X}", new_names.get(path, path.name))
                targets[dataset.split, path] = _free_name(path, folder / name, to, taken)
    return targets


def _free_name(path: Path, wanted: Path, to: str, taken: dict[str, Path]) -> Path:
    """`wanted`, or with -2, -3, ... before the suffix. The same image in two splits may be one file (VOC)."""
    name, number = wanted, 1
    while True:
        key = str(name if to == "coco" else name.with_suffix("")).casefold()  # the other formats need a unique stem
        if taken.setdefault(key, path) == path:
            return name
        number += 1
        name = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")


def _place_images(targets: Targets, folder: Path, placing: str, on_progress: OnProgress | None) -> None:
    for done, ((_, path), target) in enumerate(targets.items(), start=1):
        place = folder / target
        place.parent.mkdir(parents=True, exist_ok=True)
        if not place.exists():
            _place(path, place, placing)
        if on_progress:
            on_progress(done, len(targets))


def _pack_images(
    datasets: Sequence[Dataset], targets: Targets, folder: Path, on_progress: OnProgress | None
) -> list[Dataset]:
    """Write the images into tar archives, and their index; returns the data sets with the new image paths."""
    total, done = sum(map(len, datasets)), 0

    def count() -> None:
        nonlocal done
        done += 1
        if on_progress:
            on_progress(done, total)

    packed: list[Dataset] = []
    places: dict[str, dict[str, tuple[int, int]]] = {}
    for dataset in datasets:
        names = [targets[dataset.split, path].name for path in dataset.image_paths]
        written = write_archives(dataset, names, folder, on_image=count)
        places |= written
        paths = [folder / archive / name for archive, images in written.items() for name in images]
        packed.append(replace(dataset, image_paths=paths))
    write_index(folder, places)
    return packed


def _place(path: Path, target: Path, placing: str) -> None:
    if is_in_shard(path):
        target.write_bytes(read_file(path))
        return
    if placing == "copy":
        try:
            shutil.copyfile(path, target)
        except OSError as error:
            if error.filename == str(path) and error.filename2 is None:  # with both names either may be the cause
                raise DataError.at(path, f"cannot be read: {error.strerror}; run: lookonce check") from error
            raise
        return
    try:
        os.link(path.resolve(), target)
    except OSError as error:
        raise DataError.at(
            path, f"cannot be hard-linked into {target.parent} ({error}); copy the images instead"
        ) from error


def _kept_rows(dataset: Dataset, to: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.arange(len(dataset.labels)) if FORMATS[to].marks_crowd else np.flatnonzero(~dataset.crowd)


def _compare(datasets: Sequence[Dataset], copy: DataSource, to: str) -> float:
    """The largest difference of any corner, in pixels; DataError if it exceeds 1e-9, or if anything else differs."""
    largest = 0.0
    for dataset in datasets:
        again = copy.split(dataset.split)
        rows = _kept_rows(dataset, to)
        same = [path.name for path in again.image_paths] == [path.name for path in dataset.image_paths]
        same &= again.class_names == dataset.class_names and np.array_equal(again.labels, dataset.labels[rows])
        same &= np.array_equal(again.image_sizes_wh, dataset.image_sizes_wh)
        if not same:
            raise DataError(
                f"split {dataset.split!r}: reads back from {to} with other names, sizes or labels; expected those that "
                "were written; do the annotated sizes match the images? `lookonce check DATA` tells",
                setting="split",
                value=dataset.split,
            )
        if len(rows):
            largest = max(largest, float(np.abs(again.boxes_xyxy - dataset.boxes_xyxy[rows]).max()))
    if largest > 1e-9:
        raise DataError(f"boxes read back from {to} differ by {largest:g} pixels; expected at most 1e-9")
    return largest
