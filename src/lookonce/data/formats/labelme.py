"""LabelMe JSON, one file an image: https://github.com/wkentaro/labelme. A shape becomes its bounding box."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lookonce.data.dataset import Dataset
from lookonce.data.findings import Finding, Report
from lookonce.data.formats.names import write_names
from lookonce.data.formats.records import LabelledBox, LabelledImage, entry_of, read_json, size_wh
from lookonce.data.formats.shapes import around, of_centre
from lookonce.errors import DataError
from lookonce.shown import to_json

# Shapes without an area; they have no box.
_NOT_AREAS = frozenset({"point", "points", "line", "linestrip"})


def parse_labelme(path: Path, report: Report) -> list[LabelledImage]:
    """The one image of the file, under its imagePath."""
    content = read_json(path, "a LabelMe file")
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list):
        raise DataError.at(path, "has no list shapes; expected a LabelMe file")
    boxes = []
    for number, shape in enumerate(shapes, start=1):
        place = f"{path} shape {number}"
        with entry_of(path, place, shape, "label, points [[x, y], ...] and shape_type", report):
            boxes += _boxes(shape, path, place, report)
    name = content.get("imagePath")
    return [
        LabelledImage(
            file=path,
            name=name if isinstance(name, str) and name else path.with_suffix(".jpg").name,
            boxes=tuple(boxes),
            size_wh=size_wh(content.get("imageWidth"), content.get("imageHeight")),
        )
    ]


def _boxes(shape: dict[str, Any], path: Path, place: str, report: Report) -> list[LabelledBox]:
    kind, label = shape.get("shape_type") or "polygon", shape["label"].strip()
    box = around(shape["points"])
    if kind == "circle":  # its centre and a point on it
        center, edge = shape["points"][:2]
        radius = math.dist(center, edge)
        box = of_centre(center[0], center[1], 2 * radius, 2 * radius)
    labelled = LabelledBox(name=label, box_xyxy=box, place=place)
    if kind not in _NOT_AREAS:
        return [labelled]
    message = f"{place}: {kind} of {label!r} has no area and is left out"
    report(Finding(name="box-without-area", file=str(path), message=message))
    return []


def write_labelme(folder: Path, datasets: Sequence[Dataset]) -> None:
    """A JSON file beside each image, and the list of classes."""
    for dataset in datasets:
        for index, path in enumerate(dataset.image_paths):
            rows, (width, height) = dataset.rows(index), dataset.image_sizes_wh[index].tolist()
            shapes = [
                {
                    "label": dataset.class_names[label],
                    "points": [box[:2], box[2:]],
                    "group_id": None,
                    "shape_type": "rectangle",
                    "flags": {},
                }
                for label, box in zip(dataset.labels[rows], dataset.boxes_xyxy[rows].tolist(), strict=True)
            ]
            content = {
                "version": "5.5.0",
                "flags": {},
                "shapes": shapes,
                "imagePath": path.name,
                "imageData": None,
                "imageHeight": height,
                "imageWidth": width,
            }
            path.with_suffix(".json").write_text(to_json(content), encoding="utf-8")
    write_names(folder, datasets[0].class_names)
