"""CVAT for images 1.1: one XML file for all images.

Source: https://docs.cvat.ai/docs/manual/advanced/formats/format-cvat/"""

import math
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from lookonce.data.annotations import shortest
from lookonce.data.dataset import Dataset
from lookonce.data.findings import Report
from lookonce.data.formats.records import LabelledBox, LabelledImage, entry_of, read_xml, size_wh
from lookonce.data.formats.shapes import Box, around, of_centre, of_size
from lookonce.data.listing import split_in

EXPECTED = "CVAT annotations"


def parse_cvat(path: Path, report: Report) -> list[LabelledImage]:
    """Boxes, polygons, masks and ellipses of every image; points and lines have no box."""
    images = []
    for element in read_xml(path, EXPECTED).iterfind("image"):
        boxes = []
        for number, shape in enumerate(element, start=1):
            place = f"{path} image {element.get('name')!r} {shape.tag} {number}"
            with entry_of(path, place, shape.attrib, "label and numbers in pixels", report):
                if box := _box(shape):
                    boxes.append(LabelledBox(name=shape.attrib["label"].strip(), box_xyxy=box, place=place))
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
    labels = read_xml(path, EXPECTED).iterfind("meta//labels/label")
    return list(filter(None, dict.fromkeys((label.findtext("name") or "").strip() for label in labels)))


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


def _box(shape: ET.Element) -> Box | None:
    def numbers(*keys: str) -> list[float]:
        return [float(shape.attrib[key]) for key in keys]

    if shape.tag == "box":
        left, top, right, bottom = numbers("xtl", "ytl", "xbr", "ybr")
        angle = math.radians(float(shape.get("rotation", 0)))
        if not angle:
            return left, top, right, bottom
        cosine, sine, width, height = abs(math.cos(angle)), abs(math.sin(angle)), right - left, bottom - top
        around_wh = (width * cosine + height * sine, width * sine + height * cosine)  # it rotates about its centre
        return of_centre((left + right) / 2, (top + bottom) / 2, *around_wh)
    if shape.tag == "polygon":
        return around(point.split(",") for point in shape.attrib["points"].split(";"))
    if shape.tag == "mask":
        return of_size(*numbers("left", "top", "width", "height"))
    if shape.tag == "ellipse":
        x, y, rx, ry = numbers("cx", "cy", "rx", "ry")
        return of_centre(x, y, 2 * rx, 2 * ry)
    return None
