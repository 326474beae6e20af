"""Pascal VOC: Annotations/*.xml, JPEGImages/, ImageSets/Main/*.txt -> Annotations.

Corners are read as written: xmin 48, xmax 195 is a box 147 pixels wide. The VOC challenge defined one-based pixels,
both inside the box, but labelling programs write the same corners as in COCO and YOLO files of the same images; see
CORNER_SHIFT.

`difficult` objects become crowd boxes. The image of `b/a.xml` is JPEGImages/b/a.*; <filename> in the XML is used only
if that is not unique, because it is wrong in renamed copies. Images keep the order of their list.

Classes, in this order of preference: labels.txt or classes.txt in the root, one name a line; the categories of a COCO
file in annotations/, if it has every name; the names in the XML files of all lists, sorted.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

from lookonce.data.annotations import Annotations, leaves_folder, shortest
from lookonce.data.dataset import Dataset
from lookonce.data.findings import Finding, Report, ignore
from lookonce.data.formats.coco import read_coco_names
from lookonce.data.formats.names import NAMES_FILES, checked_names, read_list, write_names
from lookonce.data.formats.records import LabelledBox, LabelledImage, annotations_of, size_wh
from lookonce.data.images import IMAGE_SUFFIXES
from lookonce.data.splits import DataSource, in_order
from lookonce.errors import DataError
from lookonce.storage import read_regular_file

# Added to xmin and ymin when reading. VOC's own convention would be -1: see above.
CORNER_SHIFT = 0.0
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_CLASS_LIST_LINE = re.compile(r"\S+\s+(-1|0|1)")  # aeroplane_train.txt: which images have the class


# Words for `difficult` that programs write; any other word is an error.
_DIFFICULT = frozenset({"1", "1.0", "true", "yes"})
_NOT_DIFFICULT = frozenset({"", "0", "0.0", "false", "no", "none", "unspecified"})


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


def class_names_of(root: Path, images: Sequence[LabelledImage]) -> tuple[str, ...]:
    """The classes of a VOC root; the module docstring states the order of preference."""
    for file in NAMES_FILES:
        if (root / file).is_file():
            return checked_names(read_list(root / file), root / file)
    found = {box.name for image in images for box in image.boxes}
    return _names_from_coco_beside(root, found) or tuple(sorted(found))


def _names_from_coco_beside(root: Path, found: set[str]) -> tuple[str, ...]:
    """The categories of the smallest COCO file in annotations/ that has all names; () if none has."""
    for path in sorted(root.glob("annotations/*.json"), key=lambda path: path.stat().st_size):
        try:
            names = read_coco_names(path)
        except DataError:
            continue
        if found <= set(names):
            return names
    return ()


def read_voc_images(annotations_dir: Path, stems: Sequence[str], origin: Path, report: Report) -> list[LabelledImage]:
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
            root = ET.fromstring(read_regular_file(path))
        except FileNotFoundError:
            message = f"{path}: no such annotation file, though {origin} lists {stem!r}"
            report(Finding(name="missing-annotation", file=str(path), message=message))
        except (ET.ParseError, OSError, ValueError) as error:
            message = f"{path}: cannot be read as XML ({error}); expected a VOC annotation"
            report(Finding(name="unreadable-annotation", file=str(path), message=message))
        else:
            images.append(_read_image(root, path, report))
    return images


def _read_image(root: ET.Element, path: Path, report: Report) -> LabelledImage:
    boxes = []
    for number, element in enumerate(root.iterfind("object"), start=1):
        try:
            boxes.append(_read_object(element, number, path))
        except DataError as error:
            report(Finding(name="malformed-entry", file=str(path), message=str(error)))
    file_name = (root.findtext("filename") or "").strip()
    size = size_wh(root.findtext("size/width"), root.findtext("size/height"))
    return LabelledImage(file=path, name=file_name, boxes=tuple(boxes), size_wh=size)


def parse_voc(path: Path, root: Path, report: Report) -> list[LabelledImage]:
    """The one image of an XML file in the folder `root`, under its path there without suffix."""
    try:
        element = ET.fromstring(read_regular_file(path))
    except (ET.ParseError, OSError, ValueError) as error:
        raise DataError.at(path, f"cannot be read as XML ({error}); expected a VOC annotation") from error
    image = _read_image(element, path, report)
    return [replace(image, name=path.relative_to(root).with_suffix("").as_posix())]


def _read_object(element: ET.Element, number: int, path: Path) -> LabelledBox:
    name = (element.findtext("name") or "").strip()
    place = f"{path} object {number}"
    if not name:
        raise DataError(f"{place}: has no <name>; expected a class", path=path)
    left, top, right, bottom = (_corner(element, tag, f"{place} ({name})") for tag in _CORNERS)
    word = (element.findtext("difficult") or "").strip()
    if word.lower() not in _DIFFICULT | _NOT_DIFFICULT:
        raise DataError(f"{place} ({name}): difficult is {word!r}; expected 0 or 1", path=path, value=word)
    box = (left + CORNER_SHIFT, top + CORNER_SHIFT, right, bottom)
    return LabelledBox(name=name, box_xyxy=box, crowd=word.lower() in _DIFFICULT, place=place)


def _corner(element: ET.Element, tag: str, place: str) -> float:
    text = element.findtext(f"bndbox/{tag}")
    try:
        return float(text or "")
    except ValueError:
        seen = "missing" if text is None else repr(text)
        raise DataError.at(place, f"{tag} is {seen}; expected a number of pixels") from None


def image_paths_of(images: Sequence[LabelledImage], annotations_dir: Path, images_dir: Path) -> list[Path]:
    """Path of each image, in the subfolder of its XML file; for a missing image STEM.jpg, which does not exist."""
    by_stem: dict[Path, dict[str, list[str]]] = {}
    paths = []
    for image in images:
        folder = images_dir / image.file.parent.relative_to(annotations_dir)
        if folder not in by_stem:
            by_stem[folder] = _images_by_stem(folder)
        names = by_stem[folder].get(image.file.stem, [])
        fallback = names[0] if names else f"{image.file.stem}.jpg"
        paths.append(folder / (image.name if image.name in names else fallback))
    return paths


def _images_by_stem(folder: Path) -> dict[str, list[str]]:
    by_stem: dict[str, list[str]] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix.lower() in IMAGE_SUFFIXES:
            by_stem.setdefault(path.stem, []).append(path.name)
    return by_stem


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


class _VocReader:
    """Reads the XML files of all lists once, to collect the classes; later only those of the requested split."""

    def __init__(self, root: Path, lists: Mapping[str, Path]) -> None:
        self._root = root
        self._lists = lists
        self._class_names: tuple[str, ...] = ()

    def read(self, split: str, report: Report) -> Annotations:
        file = self._lists[split]
        images = read_voc_images(self._root / "Annotations", read_list(file), file, report)
        names = self._classes(split, images)
        paths = image_paths_of(images, self._root / "Annotations", self._root / "JPEGImages")
        return annotations_of(images, paths, names, split, file, report)

    def _classes(self, split: str, images: list[LabelledImage]) -> tuple[str, ...]:
        if not self._class_names:
            everything = list(images)
            known = set(read_list(self._lists[split]))
            for other, file in self._lists.items():
                new = [stem for stem in read_list(file) if stem not in known]
                known.update(new)
                if other != split:  # its problems are reported when that split is read
                    everything += read_voc_images(self._root / "Annotations", new, file, ignore)
            self._class_names = class_names_of(self._root, everything)
        if not self._class_names:
            raise DataError.at(self._root, "has no classes; expected at least one object in the listed XML files")
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
    write_names(folder, datasets[0].class_names)


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
