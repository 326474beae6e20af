"""Create ML's JSON: a list of images, whose boxes are a centre and a size in pixels.

Source: https://developer.apple.com/documentation/createml/building-an-object-detector-data-source"""

from pathlib import Path
from typing import Any

from lookonce.data.findings import Finding, Report
from lookonce.data.formats.records import LabelledBox, LabelledImage, read_json


def parse_createml(path: Path, report: Report) -> list[LabelledImage]:
    content = read_json(path, "a Create ML file")
    images = []
    for number, item in enumerate(content if isinstance(content, list) else [], start=1):
        place = f"{path} image {number}"
        try:
            name = str(item.get("image") or item["imagefilename"])
            written = item.get("annotations", item.get("annotation")) or []
            boxes = tuple(_box(one, f"{place} box {row}") for row, one in enumerate(written, start=1))
        except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
            message = f"{place}: {str(item)[:90]}; expected image and annotations with label and coordinates"
            report(Finding(name="malformed-entry", file=str(path), message=message))
            continue
        images.append(LabelledImage(file=path, name=name, boxes=boxes))
    return images


def _box(written: dict[str, Any], place: str) -> LabelledBox:
    x, y, width, height = (float(written["coordinates"][key]) for key in ("x", "y", "width", "height"))
    corners = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    name = str(written["label"]).strip()
    if not name:
        raise ValueError
    return LabelledBox(name=name, box_xyxy=corners, place=place)
