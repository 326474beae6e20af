"""Annotations as one record an image, of any file format -> Annotations; the class list is that of all splits."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

from lookonce.data.annotations import Annotations, without_ids
from lookonce.data.findings import Finding, Report, ignore
from lookonce.data.formats.shapes import Box
from lookonce.data.headers import stated_or_header_sizes_wh
from lookonce.data.images import IMAGE_SUFFIXES
from lookonce.data.listing import Listing, locate_images
from lookonce.data.splits import in_order
from lookonce.errors import DataError
from lookonce.parsed import parse_json
from lookonce.settings.names import few
from lookonce.storage import read_regular_file

LARGEST_SIDE = 1 << 30
ONLY_CLASS = "object"  # of boxes whose file has no column or attribute for a class


@dataclass(frozen=True, kw_only=True)
class LabelledBox:
    """xyxy in pixels, or in fractions of the image where the record says so. place: where it is written.

    ValueError without a name.
    """

    name: str
    box_xyxy: Box
    place: str
    crowd: bool = False

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("a box without a class")


@dataclass(frozen=True, kw_only=True)
class LabelledImage:
    """One image of an annotation file. name: its path as written, or its stem; "" for the stem of the file itself.
    size_wh is (0, 0) if not stated."""

    file: Path
    name: str
    boxes: tuple[LabelledBox, ...]
    size_wh: tuple[int, int] = (0, 0)
    fractions: bool = False
    split: str = ""  # where the file states it


# file, report -> its images; invalid entries are reported and left out. DataError: the file is not of the format.
ParseFile = Callable[[Path, Report], list[LabelledImage]]


def size_wh(width: object, height: object) -> tuple[int, int]:
    """Two numbers or texts -> pixels, (0, 0) unless both are whole numbers above 0."""
    try:
        sides = [float(str(side)) for side in (width, height)]
    except ValueError:
        return 0, 0
    if not all(side.is_integer() and 0 < side <= LARGEST_SIDE for side in sides):
        return 0, 0
    return int(sides[0]), int(sides[1])


def read_json(path: Path, expected: str) -> Any:
    """The content of an annotation file; DataError if it cannot be read. expected: "a LabelMe file"."""
    try:
        return parse_json(read_regular_file(path))
    except (OSError, ValueError) as error:
        raise DataError.at(path, f"cannot be read as JSON ({error}); expected {expected}") from error


def read_xml(path: Path, expected: str) -> ET.Element:
    """The root of an annotation file; DataError if it cannot be read. expected: "CVAT annotations"."""
    try:
        content = read_regular_file(path)
        root = ET.fromstring(content) if content.strip() else None
    except (ET.ParseError, OSError, ValueError) as error:
        raise DataError.at(path, f"cannot be read as XML ({error}); expected {expected}") from error
    if root is None:
        raise DataError.at(path, f"is empty; expected {expected}")
    return root


@contextmanager
def entry_of(path: Path, place: str, written: object, expected: str, report: Report) -> Iterator[None]:
    """Inside the block an entry of a file is read. One that is not as expected is reported, and the block ends."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError, OverflowError):
        message = f"{place}: {str(written)[:90]}; expected {expected}"
        report(Finding(name="malformed-entry", file=str(path), message=message))


def list_of(value: object) -> list[Any]:
    """A list of JSON, [] for anything else."""
    return value if isinstance(value, list) else []


def annotations_of(
    images: Sequence[LabelledImage],
    image_paths: Sequence[Path],
    class_names: tuple[str, ...],
    split: str,
    origin: Path,
    report: Report,
) -> Annotations:
    """Flat arrays of the records of one split. origin: the file or folder that lists them."""
    labels_by_name = {name: label for label, name in enumerate(class_names)}
    rows, boxes = [], []
    for row, image in enumerate(images):
        for box in image.boxes:
            if box.name in labels_by_name:
                rows.append(row)
                boxes.append(box)
            else:
                message = f"{box.place}: unknown class {box.name!r}; expected one of {few(class_names)}"
                report(Finding(name="unknown-class", file=str(image.file), message=message))
    sizes = stated_or_header_sizes_wh([image.size_wh for image in images], image_paths, report)
    image_rows = np.array(rows, dtype=np.int64)
    boxes_xyxy = np.array([box.box_xyxy for box in boxes], dtype=np.float64).reshape(-1, 4)
    fractions = np.array([image.fractions for image in images], dtype=np.bool_)[image_rows]
    boxes_xyxy[fractions] *= np.tile(sizes[image_rows[fractions]], 2)
    return Annotations(
        split=split,
        origin=origin,
        image_paths=image_paths,
        image_sizes_wh=sizes,
        image_rows=image_rows,
        boxes_xyxy=boxes_xyxy,
        labels=np.array([labels_by_name[box.name] for box in boxes], dtype=np.int64),
        crowd=np.array([box.crowd for box in boxes], dtype=np.bool_),
        **without_ids(len(images), len(boxes), class_names),
        place=lambda row: boxes[row].place,
    )


class RecordReader:
    """Reads the files of one split, and those of the others for the classes.

    classes_of(names in all files) -> the class list, in order.
    """

    def __init__(
        self,
        root: Path,
        files: Sequence[tuple[Path, str]],
        parse: ParseFile,
        classes_of: Callable[[set[str]], tuple[str, ...]],
    ) -> None:
        """root: the folder of the images. files: with the split of each, "" where its images state it."""
        self._root = root
        self._files = files
        self._parse = parse
        self._classes_of = classes_of
        self._class_names: tuple[str, ...] = ()
        self._splits: list[str] = []

    def read(self, split: str, report: Report) -> Annotations:
        images = self._images(split, report)
        origin = self._files[0][0] if len(self._files) == 1 else self._root
        names = [image.name for image in images]
        stems = not any(name.lower().endswith(tuple(IMAGE_SUFFIXES)) for name in names)
        located = locate_images(names, self._root, split, origin, report, stems=stems)
        for image, path in zip(images, located, strict=True):
            if path is None:
                problem = f"{image.name!r} points outside {self._root}, and no image in it has that name"
                report(Finding.at("path-outside-folder", image.file, problem))
        paths = [path for path in located if path is not None]
        images = [image for image, path in zip(images, located, strict=True) if path is not None]
        if len(self.splits()) == 1:
            # Images beside the annotated ones.
            known, folders = set(paths), {path.parent for path in paths}
            listing = Listing(self._root)
            unread = {Path(file).stem: file for file in listing.with_suffix(self._files[0][0].suffix.lower())}
            for path in (self._root / file for file in listing.images):
                if path.parent in folders and path not in known:
                    file = unread.get(path.stem)
                    is_empty = file is not None and not (self._root / file).stat().st_size
                    why = f"is not used: {file} is empty" if is_empty else "has no annotation and is not used"
                    report(Finding.at("image-without-annotation", path, why))
        if not self._class_names:
            others = [image for other in self.splits() if other != split for image in self._images(other, ignore)]
            self._class_names = self._classes_of({box.name for image in (*images, *others) for box in image.boxes})
        if not self._class_names:
            raise DataError.at(
                self._root, f"has no classes; expected at least one labelled object in {self._files[0][0]}"
            )
        return annotations_of(images, paths, self._class_names, split, origin, report)

    def splits(self) -> list[str]:
        """Names of the splits; reads the files that state them."""
        if not self._splits:
            names = {split for _, split in self._files if split}
            for file, split in self._files:
                if not split:
                    names |= {image.split or "train" for image in self._parse_or_report(file, ignore)}
            self._splits = in_order(dict.fromkeys(names or {"train"}))
        return self._splits

    def _images(self, split: str, report: Report) -> list[LabelledImage]:
        found: dict[str, LabelledImage] = {}
        for file, own in self._files:
            if own not in {"", split}:
                continue
            for image in self._parse_or_report(file, report):
                if own or (image.split or "train") == split:
                    first = found.get(image.name)
                    found[image.name] = replace(image, boxes=first.boxes + image.boxes) if first else image
        return list(found.values())

    def _parse_or_report(self, file: Path, report: Report) -> list[LabelledImage]:
        try:
            images = self._parse(file, report)
        except DataError as error:
            report(Finding(name="unreadable-annotation", file=str(file), message=str(error)))
            return []
        own_name = file.relative_to(self._root).with_suffix("").as_posix() if file.is_relative_to(self._root) else ""
        return [replace(image, name=image.name or own_name) for image in images]
