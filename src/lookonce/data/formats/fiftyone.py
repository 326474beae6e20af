"""FiftyOne's own JSON: `labels.json` of an image detection data set, `samples.json` of a whole data set.

Source: https://docs.voxel51.com/user_guide/export_datasets.html"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lookonce.data.findings import Report
from lookonce.data.formats.records import LabelledBox, LabelledImage, entry_of, list_of, read_json
from lookonce.data.formats.shapes import of_size
from lookonce.errors import DataError

USUAL_FIELD = "ground_truth"


def parse_fiftyone(path: Path, report: Report) -> list[LabelledImage]:
    """Boxes are left, top, width, height in fractions of the image. DataError if several fields hold boxes and none
    is `ground_truth`."""
    content = read_json(path, "a FiftyOne file")
    try:
        classes, entries = content.get("classes"), list(_entries(content, path))
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError.at(path, f"cannot be read ({error}); expected a FiftyOne file") from error
    images = []
    for name, written in entries:
        boxes = []
        for row, one in enumerate(written, start=1):
            place = f"{path} {name} box {row}"
            with entry_of(path, place, one, "label and bounding_box", report):
                label, attributes = one["label"], one.get("attributes") or {}
                if isinstance(label, int) and label < 0:
                    raise ValueError
                boxes.append(
                    LabelledBox(
                        name=str(classes[label] if isinstance(label, int) and classes else label).strip(),
                        box_xyxy=of_size(*map(float, one["bounding_box"])),
                        place=place,
                        crowd=bool(one.get("iscrowd") or attributes.get("iscrowd")),
                    )
                )
        images.append(LabelledImage(file=path, name=name, boxes=tuple(boxes), fractions=True))
    return images


def fiftyone_classes(path: Path) -> list[str]:
    content = read_json(path, "a FiftyOne file")
    return list(map(str, list_of(content.get("classes")))) if isinstance(content, dict) else []


def _entries(content: dict[str, Any], path: Path) -> Iterator[tuple[str, list[Any]]]:
    """The name of each image, and what is written of its boxes."""
    if "samples" not in content:
        for name, boxes in content["labels"].items():
            yield str(name), list(boxes or [])
        return
    fields = {
        name
        for sample in content["samples"]
        for name, value in sample.items()
        if isinstance(value, dict) and value.get("_cls") == "Detections"
    }
    if len(fields) > 1 and USUAL_FIELD not in fields:
        raise DataError.at(
            path,
            f"has boxes in the fields {', '.join(sorted(fields))}; expected one field, or {USUAL_FIELD}; export one: "
            "dataset.export(label_field=...)",
        )
    field = USUAL_FIELD if USUAL_FIELD in fields else next(iter(fields), USUAL_FIELD)
    for sample in content["samples"]:
        yield str(sample["filepath"]), list((sample.get(field) or {}).get("detections") or [])
