"""Pascal VOC: Annotations/*.xml, JPEGImages/, ImageSets/Main/*.txt -> Annotations.

Corners are read as written: xmin 48, xmax 195 is a box 147 pixels wide. The VOC challenge defined one-based pixels,
both inside the box, but labelling programs write the same corners as in COCO and YOLO files of the same images; see
CORNER_SHIFT.

`difficult` objects become crowd boxes. The image of `a.xml` is JPEGImages/a.*; <filename> in the XML is used only if
that is not unique, because it is wrong in renamed copies. Images keep the order of their list.

Classes, in this order of preference: labels.txt or classes.txt in the root, one name a line; the categories of a COCO
file in annotations/, if it has every name; the names in the XML files of all lists, sorted.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from lookonce.data.annotations import Annotations, leaves_folder, shortest
from lookonce.data.dataset import Dataset
from lookonce.data.findings import Finding, Report
from lookonce.data.formats.coco import load_coco_json, read_categories
from lookonce.data.headers import header_sizes_wh
from lookonce.data.images import IMAGE_SUFFIXES
from lookonce.data.splits import DataSource, in_order, listed
from lookonce.errors import DataError

# Added to xmin and ymin when reading. VOC's own convention would be -1: see above.
CORNER_SHIFT = 0.0
NAMES_FILES = ("labels.txt", "classes.txt")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_CLASS_LIST_LINE = re.compile(r"\S+\s+(-1|0|1)")  # aeroplane_train.txt: which images have the class


@dataclass(frozen=True, kw_only=True)
class VocObject:
    name: str
    box_xyxy: tuple[float, float, float, float]
    difficult: bool
    number: int  # 1.. within its file


@dataclass(frozen=True, kw_only=True)
class VocImage:
    """One XML file. `size_wh` is (0, 0) if the file has no size."""

    xml: Path
    file_name: str
    size_wh: tuple[int, int]
    objects: tuple[VocObject, ...]


def list_splits(root: Path) -> dict[str, Path]:
    """Split name -> its list of images, in ImageSets/Main; the lists of single classes are ignored."""
    folder = root / "ImageSets" / "Main"
    if not folder.is_dir():
        folder = root / "ImageSets"
    return {path.stem: path for path in sorted(folder.glob("*.txt")) if not _is_class_list(path)}


def _is_class_list(path: Path) -> bool:
    if "_" not in path.stem:  # images may be called "holiday 1", which looks like a line of a class list
        return False
    lines = read_list(path)
    return bool(lines) and all(_CLASS_LIST_LINE.fullmatch(line) for line in lines[:50])


def read_list(path: Path) -> list[str]:
    """The non-empty lines of a text file, stripped."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as UTF-8 text: {error}", path=path) from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def class_names_of(root: Path, images: Sequence[VocImage]) -> tuple[str, ...]:
    """The classes of a VOC root; the module docstring states the order of preference."""
    for file in NAMES_FILES:
        if (root / file).is_file():
            return checked_names(read_list(root / file), root / file)
    found = {item.name for image in images for item in image.objects}
    return _names_from_coco_beside(root, found) or tuple(sorted(found))


def checked_names(names: Sequence[str], path: Path) -> tuple[str, ...]:
    """The names as a tuple. DataError if there are none, or one occurs twice."""
    if not names:
        raise DataError(f"{path}: has no class names; expected one a line", path=path)
    twice = [name for name in dict.fromkeys(names) if list(names).count(name) > 1]
    if twice:
        raise DataError(f"{path}: class {twice[0]!r} occurs twice; expected every name once", path=path, value=twice[0])
    return tuple(names)


def _names_from_coco_beside(root: Path, found: set[str]) -> tuple[str, ...]:
    """The categories of the smallest COCO file in annotations/ that has all names; () if none has."""
    for path in sorted(root.glob("annotations/*.json"), key=lambda path: path.stat().st_size):
        try:
            names, _ = read_categories(load_coco_json(path), path)
        except DataError:
            continue
        if found <= set(names):
            return names
    return ()


def read_voc_images(annotations_dir: Path, stems: Sequence[str], origin: Path, report: Report) -> list[VocImage]:
    """The XML file of each listed image; invalid objects and files are reported and left out."""
    images = []
    for stem in stems:
        path = annotations_dir / f"{stem}.xml"
        if leaves_folder(stem):
            message = (
                f"{origin}: {stem!r} points outside the data set's folder; expected a file name without its suffix"
            )
            report(Finding(name="path-outside-folder", file=str(origin), message=message))
            continue
        try:
            root = ET.fromstring(path.read_bytes())
        except FileNotFoundError:
            message = f"{path}: no such annotation file, though {origin} lists {stem!r}"
            report(Finding(name="missing-annotation", file=str(path), message=message))
        except (ET.ParseError, OSError, ValueError) as error:
            message = f"{path}: cannot be read as XML ({error}); expected a VOC annotation"
            report(Finding(name="unreadable-annotation", file=str(path), message=message))
        else:
            images.append(_read_image(root, path, report))
    return images


def _read_image(root: ET.Element, path: Path, report: Report) -> VocImage:
    objects = []
    for number, element in enumerate(root.iterfind("object"), start=1):
        try:
            objects.append(_read_object(element, number, path))
        except DataError as error:
            report(Finding(name="malformed-entry", file=str(path), message=str(error)))
    file_name = (root.findtext("filename") or "").strip()
    return VocImage(xml=path, file_name=file_name, size_wh=_size_wh(root), objects=tuple(objects))


def _size_wh(root: ET.Element) -> tuple[int, int]:
    try:
        width, height = int(root.findtext("size/width") or 0), int(root.findtext("size/height") or 0)
    except ValueError:
        return 0, 0
    return (width, height) if width > 0 and height > 0 else (0, 0)


def _read_object(element: ET.Element, number: int, path: Path) -> VocObject:
    name = (element.findtext("name") or "").strip()
    place = f"{path} object {number}"
    if not name:
        raise DataError(f"{place}: has no <name>; expected a class", path=path)
    left, top, right, bottom = (_corner(element, tag, f"{place} ({name})") for tag in _CORNERS)
    difficult = (element.findtext("difficult") or "0").strip() not in {"0", ""}
    box = (left + CORNER_SHIFT, top + CORNER_SHIFT, right, bottom)
    return VocObject(name=name, box_xyxy=box, difficult=difficult, number=number)


def _corner(element: ET.Element, tag: str, place: str) -> float:
    text = element.findtext(f"bndbox/{tag}")
    try:
        return float(text or "")
    except ValueError:
        seen = "missing" if text is None else repr(text)
        raise DataError(f"{place}: {tag} is {seen}; expected a number of pixels", path=place) from None


def voc_annotations(
    images: Sequence[VocImage],
    images_dir: Path,
    class_names: tuple[str, ...],
    split: str,
    origin: Path,
    report: Report,
) -> Annotations:
    """Flat arrays of the given XML files. origin: the list that names them."""
    labels_by_name = {name: label for label, name in enumerate(class_names)}
    image_paths = _image_paths(images, images_dir)
    rows, objects = [], []
    for row, image in enumerate(images):
        for item in image.objects:
            if item.name in labels_by_name:
                rows.append(row)
                objects.append(item)
            else:
                message = f"{image.xml} object {item.number}: unknown class {item.name!r}; expected one of "
                message += f"{listed(class_names)}"
                report(Finding(name="unknown-class", file=str(image.xml), message=message))
    sizes = np.array([image.size_wh for image in images], dtype=np.int32).reshape(-1, 2)
    unknown = np.flatnonzero((sizes == 0).any(axis=1))
    sizes[unknown] = header_sizes_wh([image_paths[row] for row in unknown], report)
    return Annotations(
        split=split,
        origin=origin,
        image_paths=image_paths,
        image_ids=np.arange(1, len(images) + 1, dtype=np.int64),
        image_sizes_wh=sizes,
        image_rows=np.array(rows, dtype=np.int64),
        boxes_xyxy=np.array([item.box_xyxy for item in objects], dtype=np.float64).reshape(-1, 4),
        labels=np.array([labels_by_name[item.name] for item in objects], dtype=np.int64),
        crowd=np.array([item.difficult for item in objects], dtype=np.bool_),
        areas=np.full(len(objects), math.nan),
        class_names=class_names,
        category_ids=tuple(range(1, len(class_names) + 1)),
        place=lambda row: f"{images[rows[row]].xml} object {objects[row].number}",
    )


def _image_paths(images: Sequence[VocImage], images_dir: Path) -> list[Path]:
    """Path of each image; for a missing image the path STEM.jpg, which does not exist."""
    by_stem: dict[str, list[str]] = {}
    if images_dir.is_dir():
        for path in sorted(images_dir.iterdir()):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                by_stem.setdefault(path.stem, []).append(path.name)
    paths = []
    for image in images:
        names = by_stem.get(image.xml.stem, [])
        fallback = names[0] if names else f"{image.xml.stem}.jpg"
        paths.append(images_dir / (image.file_name if image.file_name in names else fallback))
    return paths


def find_voc(root: Path) -> list[Path]:
    """The two folders that identify VOC, [] unless both exist."""
    folders = [root / "Annotations", root / "ImageSets"]
    return folders if all(folder.exists() for folder in folders) else []


def open_voc(root: Path, _folders: list[Path], _needs_images: bool) -> DataSource:
    """A folder with Annotations/, ImageSets/Main/*.txt and JPEGImages/."""
    lists = list_splits(root)
    if not lists:
        raise DataError(
            f"{root / 'ImageSets' / 'Main'}: has no image lists; expected train.txt and val.txt",
            path=root / "ImageSets" / "Main",
        )
    reader = _VocReader(root, lists)
    return DataSource(root, "voc", in_order(lists), reader.read)


def _ignore(_: Finding) -> None: ...


class _VocReader:
    """Reads the XML files of all lists once, to collect the classes; later only those of the requested split."""

    def __init__(self, root: Path, lists: Mapping[str, Path]) -> None:
        self._root = root
        self._lists = lists
        self._class_names: tuple[str, ...] = ()

    def read(self, split: str, report: Report) -> Annotations:
        images = self._images(split, report)
        names = self._classes(split, images)
        return voc_annotations(images, self._root / "JPEGImages", names, split, self._lists[split], report)

    def _images(self, split: str, report: Report) -> list[VocImage]:
        file = self._lists[split]
        return read_voc_images(self._root / "Annotations", read_list(file), file, report)

    def _classes(self, split: str, images: list[VocImage]) -> tuple[str, ...]:
        if not self._class_names:
            everything = list(images)
            known = set(read_list(self._lists[split]))
            for other, file in self._lists.items():
                new = [stem for stem in read_list(file) if stem not in known]
                known.update(new)
                if other != split:  # its problems are reported when that split is read
                    everything += read_voc_images(self._root / "Annotations", new, file, _ignore)
            self._class_names = class_names_of(self._root, everything)
        if not self._class_names:
            raise DataError(
                f"{self._root}: has no classes; expected at least one object in the listed XML files", path=self._root
            )
        return self._class_names


def write_voc(folder: Path, datasets: Sequence[Dataset]) -> None:
    """Write Annotations/, ImageSets/Main/ and labels.txt for splits whose images are in JPEGImages/."""
    (folder / "Annotations").mkdir()
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    for dataset in datasets:
        for index, path in enumerate(dataset.image_paths):
            (folder / "Annotations" / f"{path.stem}.xml").write_text(_image_xml(dataset, index), encoding="utf-8")
        lines = "".join(f"{path.stem}\n" for path in dataset.image_paths)
        (folder / "ImageSets" / "Main" / f"{dataset.split}.txt").write_text(lines, encoding="utf-8")
    names = "".join(f"{name}\n" for name in datasets[0].class_names)
    (folder / NAMES_FILES[0]).write_text(names, encoding="utf-8")


def _image_xml(dataset: Dataset, index: int) -> str:
    root = ET.Element("annotation")
    ET.SubElement(root, "folder").text = "JPEGImages"
    ET.SubElement(root, "filename").text = dataset.image_paths[index].name
    size = ET.SubElement(root, "size")
    for tag, pixels in zip(("width", "height"), dataset.image_sizes_wh[index], strict=True):
        ET.SubElement(size, tag).text = str(pixels)
    ET.SubElement(size, "depth").text = "3"
    rows = dataset.rows(index)
    for box, label, crowd in zip(dataset.boxes_xyxy[rows], dataset.labels[rows], dataset.crowd[rows], strict=True):
        element = ET.SubElement(root, "object")
        ET.SubElement(element, "name").text = dataset.class_names[label]
        ET.SubElement(element, "difficult").text = str(int(crowd))
        corners = ET.SubElement(element, "bndbox")
        for tag, value, shift in zip(_CORNERS, box, (CORNER_SHIFT, CORNER_SHIFT, 0.0, 0.0), strict=True):
            ET.SubElement(corners, tag).text = shortest(value - shift)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"
