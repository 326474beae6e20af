"""LabelMe JSON, one file an image: https://github.com/wkentaro/labelme. A shape becomes its bounding box."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lookonce.data.dataset import Dataset
from lookonce.data.findings import Finding, Report
from lookonce.data.formats.names import write_names
from lookonce.data.formats.records import LabelledBox, LabelledImage, read_json, size_wh
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
        try:
            boxes += _boxes(shape, f"{path} shape {number}", report)
        except (KeyError, TypeError, ValueError, OverflowError):
            message = f"{path} shape {number}: {str(shape)[:60]}; expected label, points [[x, y], ...] and shape_type"
            report(Finding(name="malformed-entry", file=str(path), message=message))
    name = content.get("imagePath")
    return [
        LabelledImage(
            file=path,
            name=name if isinstance(name, str) and name else path.with_suffix(".jpg").name,
            boxes=tuple(boxes),
            size_wh=size_wh(content.get("imageWidth"), content.get("imageHeight")),
        )
    ]


def _boxes(shape: dict[str, Any], place: str, report: Report) -> list[LabelledBox]:
    kind, label = shape.get("shape_type") or "polygon", shape["label"]
    xs, ys = zip(*((float(x), float(y)) for x, y in shape["points"]), strict=True)
    if not isinstance(label, str) or not label.strip():
        raise ValueError
    if kind in _NOT_AREAS:
        message = f"{place}: {kind} of {label!r} has no area and is left out"
        report(Finding(name="box-without-area", file=place.partition(" shape ")[0], message=message))
        return []
    if kind == "circle":  # its centre and a point on it
        radius = math.hypot(xs[1] - xs[0], ys[1] - ys[0])
        xs, ys = (xs[0] - radius, xs[0] + radius), (ys[0] - radius, ys[0] + radius)
    return [LabelledBox(name=label.strip(), box_xyxy=(min(xs), min(ys), max(xs), max(ys)), place=place)]


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
