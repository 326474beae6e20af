"""CVAT for images 1.1: one XML file for all images.

Source: https://docs.cvat.ai/docs/manual/advanced/formats/format-cvat/"""

import math
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from lookonce.data.annotations import shortest
from lookonce.data.dataset import Dataset
from lookonce.data.findings import Finding, Report
from lookonce.data.formats.records import LabelledBox, LabelledImage, size_wh
from lookonce.data.listing import split_in
from lookonce.errors import DataError
from lookonce.storage import read_regular_file


def parse_cvat(path: Path, report: Report) -> list[LabelledImage]:
    """Boxes, polygons, masks and ellipses of every image; points and lines have no box."""
    images = []
    for element in _root(path).iterfind("image"):
        boxes = []
        for number, shape in enumerate(element, start=1):
            place = f"{path} image {element.get('name')!r} {shape.tag} {number}"
            try:
                if box := _box(shape):
                    boxes.append(LabelledBox(name=shape.attrib["label"].strip(), box_xyxy=box, place=place))
            except (KeyError, ValueError, OverflowError) as error:
                message = f"{place}: {error} is missing or no number; expected label and numbers in pixels"
                report(Finding(name="malformed-entry", file=str(path), message=message))
        images.append(
            LabelledImage(
                file=path,
                name=element.get("name") or "",
                boxes=tuple(boxes),
                size_wh=size_wh(element.get("width"), element.get("height")),
                split=split_in(element.get("subset") or "") or "",
            )
        )
    return images


def cvat_classes(path: Path) -> list[str]:
    """The labels that the task declares, in its order."""
    try:
        names = [(label.findtext("name") or "").strip() for label in _root(path).iterfind("meta//labels/label")]
    except DataError:
        return []
    return list(filter(None, dict.fromkeys(names)))


def write_cvat(folder: Path, datasets: Sequence[Dataset]) -> None:
    """annotations_SPLIT.xml for each split: a task of CVAT with the images of that split."""
    for dataset in datasets:
        root = ET.Element("annotations")
        ET.SubElement(root, "version").text = "1.1"
        labels = ET.SubElement(ET.SubElement(ET.SubElement(root, "meta"), "task"), "labels")
        for name in dataset.class_names:
            ET.SubElement(ET.SubElement(labels, "label"), "name").text = name
        for index, path in enumerate(dataset.image_paths):
            width, height = map(str, dataset.image_sizes_wh[index].tolist())
            image = ET.SubElement(
                root, "image", id=str(index), name=path.name, subset=dataset.split, width=width, height=height
            )
            rows = dataset.rows(index)
            for label, box in zip(dataset.labels[rows], dataset.boxes_xyxy[rows], strict=True):
                corners = dict(zip(("xtl", "ytl", "xbr", "ybr"), map(shortest, box), strict=True))
                name = dataset.class_names[label]
                ET.SubElement(
                    image, "box", {"label": name, "source": "auto", "occluded": "0", **corners, "z_order": "0"}
                )
        ET.indent(root)
        ET.ElementTree(root).write(folder / f"annotations_{dataset.split}.xml", encoding="utf-8", xml_declaration=True)


def _root(path: Path) -> ET.Element:
    try:
        return ET.fromstring(read_regular_file(path))
    except (ET.ParseError, OSError, ValueError) as error:
        raise DataError.at(path, f"cannot be read as XML ({error}); expected CVAT annotations") from error


def _box(shape: ET.Element) -> tuple[float, float, float, float] | None:
    values = shape.attrib
    if shape.tag == "box":
        left, top, right, bottom = (float(values[key]) for key in ("xtl", "ytl", "xbr", "ybr"))
        return _rotated(left, top, right, bottom, float(values.get("rotation", 0)))
    if shape.tag == "polygon":
        xs, ys = zip(*(map(float, point.split(",")) for point in values["points"].split(";")), strict=True)
        return min(xs), min(ys), max(xs), max(ys)
    if shape.tag == "mask":
        left, top, width, height = (float(values[key]) for key in ("left", "top", "width", "height"))
        return left, top, left + width, top + height
    if shape.tag == "ellipse":
        x, y, rx, ry = (float(values[key]) for key in ("cx", "cy", "rx", "ry"))
        return x - rx, y - ry, x + rx, y + ry
    return None


def _rotated(left: float, top: float, right: float, bottom: float, degrees: float) -> tuple[float, float, float, float]:
    """The box around a box that is rotated about its centre."""
    if not degrees:
        return left, top, right, bottom
    cosine, sine = abs(math.cos(math.radians(degrees))), abs(math.sin(math.radians(degrees)))
    x, y, width, height = (left + right) / 2, (top + bottom) / 2, right - left, bottom - top
    half_width, half_height = (width * cosine + height * sine) / 2, (width * sine + height * cosine) / 2
    return x - half_width, y - half_height, x + half_width, y + half_height
