"""`lookonce convert-data`: a copy of a data set in another format, with its pictures. The original stays untouched."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from lookonce.data.dataset import Dataset
from lookonce.data.formats.coco import write_coco
from lookonce.data.formats.voc import write_voc
from lookonce.data.formats.yolo import write_yolo
from lookonce.data.source import SPLITS, DataSource, open_data
from lookonce.errors import DataError

Format = Literal["coco", "voc", "yolo"]
_PICTURE_FOLDER: dict[str, str] = {"coco": "{split}", "voc": "JPEGImages", "yolo": "images/{split}"}


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What was written, as it reads back. `largest_difference` is that of any corner, in pixels; 0 is bit for bit."""

    folder: Path
    format: str
    pictures: dict[str, int]  # split -> count
    boxes: dict[str, int]
    crowd_left_out: int  # YOLO has no mark for them
    largest_difference: float


def convert_data(
    source: str | Path,
    destination: Path,
    *,
    to: Format,
    images: Path | None = None,
    splits: Sequence[str] | None = None,
    pictures: Literal["copy", "link"] = "copy",
) -> Conversion:
    """Copy labelled pictures into another format. The copy is read back and compared before it appears.

    Boxes without an area are left out and boxes that reach outside are clipped, as in training.

    Parameters
    ----------
    source
        Labelled pictures: a COCO, VOC or YOLO data set, or an annotation JSON together with --images.
    destination
        Folder to make; it must be new or empty.
    to
        Format of the copy.
    images
        Folder of the pictures of an annotation JSON.
    splits
        Parts to copy; without it train, val and test, as far as they are there.
    pictures
        copy, or link: hard links need no space, but share their bytes with the originals.
    """
    if to not in _PICTURE_FOLDER:
        raise DataError(f"format {to!r} is unknown; expected one of {', '.join(_PICTURE_FOLDER)}")
    if destination.exists() and not (destination.is_dir() and not any(destination.iterdir())):
        raise DataError(f"{destination}: exists and is not empty; name a new folder")
    opened = open_data(source, images)
    datasets = [opened.split(split) for split in splits or _usual_splits(opened)]
    destination.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{destination.name}-", dir=destination.parent) as temporary:
        folder = Path(temporary) / "data"
        folder.mkdir()
        _place_pictures(datasets, folder, to, pictures)
        _write_annotations(datasets, folder, to)
        difference = _compare(datasets, open_data(folder), to)
        folder.replace(destination)
    return Conversion(
        folder=destination,
        format=to,
        pictures={dataset.split: len(dataset) for dataset in datasets},
        boxes={dataset.split: len(_kept_rows(dataset, to)) for dataset in datasets},
        crowd_left_out=sum(int(dataset.crowd.sum()) for dataset in datasets) if to == "yolo" else 0,
        largest_difference=difference,
    )


def as_text(conversion: Conversion) -> Iterator[str]:
    """Lines for a terminal."""
    for split, count in conversion.pictures.items():
        yield f"{split}: {count} pictures, {conversion.boxes[split]} boxes"
    if conversion.crowd_left_out:
        yield f"{conversion.crowd_left_out} crowd boxes left out: {conversion.format} files cannot mark them"
    exact = conversion.largest_difference == 0
    difference = "bit for bit" if exact else f"within {conversion.largest_difference:.1g} pixels"
    yield f"{conversion.folder}: {conversion.format}; its boxes read back {difference}"


def _usual_splits(source: DataSource) -> list[str]:
    """train, val and test; lists such as VOC's trainval only repeat their pictures."""
    return [split for split in source.splits if split in SPLITS] or list(source.splits)


def _place_pictures(datasets: Sequence[Dataset], folder: Path, to: str, pictures: str) -> None:
    """Copies or links every picture under its own name."""
    placed: dict[Path, Path] = {}
    for dataset in datasets:
        target_folder = folder / _PICTURE_FOLDER[to].format(split=dataset.split)
        target_folder.mkdir(parents=True, exist_ok=True)
        for path in dataset.image_paths:
            target = target_folder / path.name
            key = target if to == "coco" else target.with_suffix("")  # the other two name annotations by the stem
            if placed.setdefault(key, path) != path:
                raise DataError(f"{placed[key]} and {path}: would have the same name in {to} format; rename one")
            if not target.exists():
                _place(path, target, pictures)


def _place(path: Path, target: Path, pictures: str) -> None:
    if pictures == "copy":
        shutil.copyfile(path, target)
        return
    try:
        os.link(path.resolve(), target)
    except OSError as error:
        raise DataError(f"{path}: cannot be hard-linked into {target.parent} ({error}); copy the pictures") from error


def _write_annotations(datasets: Sequence[Dataset], folder: Path, to: str) -> None:
    if to == "coco":
        (folder / "annotations").mkdir()
        for dataset in datasets:
            write_coco(folder / "annotations" / f"instances_{dataset.split}.json", dataset)
    elif to == "voc":
        write_voc(folder, datasets)
    else:
        write_yolo(folder, datasets)


def _kept_rows(dataset: Dataset, to: str) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.flatnonzero(~dataset.crowd) if to == "yolo" else np.arange(len(dataset.labels))


def _compare(datasets: Sequence[Dataset], copy: DataSource, to: str) -> float:
    """The largest difference of any corner; DataError when anything else differs, or a corner by a billionth pixel."""
    largest = 0.0
    for dataset in datasets:
        again = copy.split(dataset.split)
        rows = _kept_rows(dataset, to)
        same = [path.name for path in again.image_paths] == [path.name for path in dataset.image_paths]
        same &= again.class_names == dataset.class_names and np.array_equal(again.labels, dataset.labels[rows])
        same &= np.array_equal(again.image_sizes_wh, dataset.image_sizes_wh)
        if not same:
            raise DataError(
                f"split {dataset.split!r} does not read back as it was written to {to}: names, sizes or labels "
                "differ; do the sizes in the annotations fit the pictures? See: lookonce check"
            )
        if len(rows):
            largest = max(largest, float(np.abs(again.boxes_xyxy - dataset.boxes_xyxy[rows]).max()))
    if largest > 1e-9:
        raise DataError(f"boxes differ by {largest:g} pixels after reading them back from {to}; expected at most 1e-9")
    return largest
