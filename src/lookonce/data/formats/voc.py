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
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

from lookonce.data.annotations import Annotations, leaves_folder, shortest
from lookonce.data.dataset import Dataset
from lookonce.data.findings import Finding, Report, ignore
from lookonce.data.formats.coco import read_coco_names
from lookonce.data.formats.names import NAMES_FILES, checked_names, read_list, write_names
from lookonce.data.formats.records import LabelledBox, LabelledImage, annotations_of, read_xml, size_wh
from lookonce.data.images import IMAGE_SUFFIXES
from lookonce.data.listing import Listing
from lookonce.data.splits import DataSource, in_order
from lookonce.errors import DataError
from lookonce.parsed import are_numbers

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
    lists = {path.stem: path for path in sorted(folder.glob("*.txt"))}
    for name, path in tuple(lists.items()):
        # Only with a `_`: images may be called "holiday 1", which looks like a line of a class list.
        lines = read_list(path)[:50] if "_" in name else []
        if lines and all(map(_CLASS_LIST_LINE.fullmatch, lines)):
            del lists[name]
    return lists


def class_names_of(root: Path, images: Sequence[LabelledImage]) -> tuple[str, ...]:
    """The classes of a VOC root; the module docstring states the order of preference."""
    for file in NAMES_FILES:
        if (root / file).is_file():
            return checked_names(read_list(root / file), root / file)
    found = {box.name for image in images for box in image.boxes}
    for path in sorted(root.glob("annotations/*.json"), key=lambda path: path.stat().st_size):
        with suppress(DataError):
            names = read_coco_names(path)
            if found <= set(names):
                return names
    return tuple(sorted(found))


def read_voc_images(annotations_dir: Path, stems: Sequence[str], origin: Path, report: Report) -> list[LabelledImage]:
    """The XML file of each listed image; invalid objects and files are reported and left out."""
    images = []
    for stem in stems:
        path = annotations_dir / f"{stem}.xml"
        if leaves_folder(stem):
            problem = f"{stem!r} points outside the data set's folder; expected a file name without its suffix"
            report(Finding.at("path-outside-folder", origin, problem))
            continue
        try:
            root = read_xml(path, "a VOC annotation")
        except DataError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                problem = f"no such annotation file, though {origin} lists {stem!r}"
                report(Finding.at("missing-annotation", path, problem))
            else:
                report(Finding(name="unreadable-annotation", file=str(path), message=str(error)))
        else:
            images.append(_read_image(root, path, report))
    return images


def parse_voc(path: Path, report: Report) -> list[LabelledImage]:
    """The one image of an XML file, under the name of the file."""
    return [replace(_read_image(read_xml(path, "a VOC annotation"), path, report), name="")]


def _read_image(root: ET.Element, path: Path, report: Report) -> LabelledImage:
    """The image under its <filename>; invalid objects are reported and left out."""
    boxes = []
    for number, element in enumerate(root.iterfind("object"), start=1):
        try:
            boxes.append(_read_object(element, number, path))
        except DataError as error:
            report(Finding(name="malformed-entry", file=str(path), message=str(error)))
    name = (root.findtext("filename") or "").strip()
    size = size_wh(root.findtext("size/width"), root.findtext("size/height"))
    return LabelledImage(file=path, name=name, boxes=tuple(boxes), size_wh=size)


def _read_object(element: ET.Element, number: int, path: Path) -> LabelledBox:
    name = (element.findtext("name") or "").strip()
    place = f"{path} object {number}"
    if not name:
        raise DataError(f"{place}: has no <name>; expected a class", path=path)
    corners: list[float] = []
    for tag in _CORNERS:
        text = element.findtext(f"bndbox/{tag}")
        if text is None or not are_numbers([text]):
            seen = "missing" if text is None else repr(text)
            raise DataError(f"{place} ({name}): {tag} is {seen}; expected a number of pixels", path=path)
        corners.append(float(text))
    word = (element.findtext("difficult") or "").strip()
    if word.lower() not in _DIFFICULT | _NOT_DIFFICULT:
        raise DataError(f"{place} ({name}): difficult is {word!r}; expected 0 or 1", path=path, value=word)
    box = (corners[0] + CORNER_SHIFT, corners[1] + CORNER_SHIFT, corners[2], corners[3])
    return LabelledBox(name=name, box_xyxy=box, crowd=word.lower() in _DIFFICULT, place=place)


def image_paths_of(images: Sequence[LabelledImage], annotations_dir: Path, images_dir: Path) -> list[Path]:
    """Path of each image, in the subfolder of its XML file; for a missing image STEM.jpg, which does not exist."""
    by_stem: dict[Path, dict[str, list[str]]] = {}
    paths = []
    for image in images:
        folder = images_dir / image.file.parent.relative_to(annotations_dir)
        if folder not in by_stem:
            by_stem[folder] = {}
            for path in sorted(folder.iterdir()) if folder.is_dir() else ():
                if path.suffix.lower() in IMAGE_SUFFIXES:
                    by_stem[folder].setdefault(path.stem, []).append(path.name)
        names = by_stem[folder].get(image.file.stem, [])
        fallback = names[0] if names else f"{image.file.stem}.jpg"
        paths.append(folder / (image.name if image.name in names else fallback))
    return paths


def find_voc(listing: Listing) -> list[Path]:
    """The two folders that identify VOC, [] unless both exist."""
    folders = [listing.root / "Annotations", listing.root / "ImageSets"]
    return folders if all(folder.exists() for folder in folders) else []


def open_voc(listing: Listing, _folders: list[Path], _needs_images: bool) -> DataSource:
    """A folder with Annotations/, ImageSets/Main/*.txt and JPEGImages/."""
    root, annotations = listing.root, listing.root / "Annotations"
    lists = list_splits(root)
    if not lists:
        raise DataError.at(root / "ImageSets" / "Main", "has no image lists; expected train.txt and val.txt")
    names: tuple[str, ...] = ()  # once known

    def read(split: str, report: Report) -> Annotations:
        nonlocal names
        stems = read_list(lists[split])
        images = read_voc_images(annotations, stems, lists[split], report)
        if not names:  # the problems of other splits are reported when they are read
            rest = dict.fromkeys(stem for file in lists.values() for stem in read_list(file)).keys() - set(stems)
            names = class_names_of(root, [*images, *read_voc_images(annotations, sorted(rest), root, ignore)])
        if not names:
            raise DataError.at(root, "has no classes; expected at least one object in the listed XML files")
        paths = image_paths_of(images, annotations, root / "JPEGImages")
        return annotations_of(images, paths, names, split, lists[split], report)

    return DataSource(root, "voc", in_order(lists), read)


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
