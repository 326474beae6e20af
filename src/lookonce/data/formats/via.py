"""VGG Image Annotator: its project or exported JSON, or its CSV. A region becomes its bounding box.

Source: the files that VIA 1 and 2 write, https://www.robots.ox.ac.uk/~vgg/software/via/
"""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lookonce.data.findings import Report
from lookonce.data.formats.records import ONLY_CLASS, LabelledBox, LabelledImage, entry_of
from lookonce.data.formats.shapes import Box, around, of_centre, of_size
from lookonce.errors import DataError
from lookonce.parsed import parse_json
from lookonce.storage import read_text_file

# The attribute of a region that is its class, if there are several; VIA's users name it themselves.
_CLASS_ATTRIBUTES = ("class", "label", "name", "category", "type")


def parse_via(path: Path, report: Report) -> list[LabelledImage]:
    """The images of the file, each with its rectangles, polygons, circles and ellipses."""
    try:
        text = read_text_file(path)
        regions = list(_of_csv(text) if path.suffix.lower() != ".json" else _of_json(parse_json(text)))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, csv.Error) as error:
        raise DataError.at(path, f"cannot be read ({error!r}); expected a file of VIA") from error
    boxes: dict[str, list[LabelledBox]] = {}
    number = 0
    for name, shape, attributes in regions:
        boxes.setdefault(name, [])
        number += bool(shape)
        place = f"{path} region {number} of {name!r}"
        with entry_of(path, place, (shape, attributes), "a shape in pixels and one attribute, its class", report):
            if shape and (box := _box(shape)) is not None:
                boxes[name].append(LabelledBox(name=_class(attributes), box_xyxy=box, place=place))
    return [LabelledImage(file=path, name=name, boxes=tuple(found)) for name, found in boxes.items()]


def _of_json(content: Any) -> Iterator[tuple[str, Any, Any]]:
    """(file name, shape, attributes) of each region; (file name, {}, {}) of an image without regions."""
    for image in content.get("_via_img_metadata", content).values():
        regions = image["regions"]
        name = str(image["filename"])
        yield name, {}, {}
        for region in regions.values() if isinstance(regions, dict) else regions:  # VIA 1 numbers them
            yield name, region["shape_attributes"], region["region_attributes"]


def _of_csv(text: str) -> Iterator[tuple[str, Any, Any]]:
    for row in csv.DictReader(io.StringIO(text)):
        yield (
            row.get("#filename") or row["filename"],
            parse_json(row["region_shape_attributes"]),
            parse_json(row["region_attributes"]),
        )


def _box(shape: dict[str, Any]) -> Box | None:
    """xyxy in pixels; None for points and lines, which have no area."""
    kind = shape["name"]
    if kind == "rect":
        return of_size(*(float(shape[key]) for key in ("x", "y", "width", "height")))
    if kind == "polygon":
        return around(zip(shape["all_points_x"], shape["all_points_y"], strict=True))
    if kind in {"circle", "ellipse"}:
        half_width, half_height = (float(shape["r" if kind == "circle" else key]) for key in ("rx", "ry"))
        return of_centre(float(shape["cx"]), float(shape["cy"]), 2 * half_width, 2 * half_height)
    return None


def _class(attributes: dict[str, Any]) -> str:
    """The class of a region. ValueError if none, or not exactly one, of its attributes can be it."""
    if not attributes:
        return ONLY_CLASS
    known = [key for key in attributes if key.lower() in _CLASS_ATTRIBUTES] or list(attributes)
    value = attributes[known[0]]
    chosen = [key for key, is_set in value.items() if is_set] if isinstance(value, dict) else [str(value).strip()]
    if len(known) > 1 or len(chosen) != 1 or not chosen[0]:
        raise ValueError
    return chosen[0]
