"""Datumaro's own JSON, one file for each split.

Source: https://open-edge-platform.github.io/datumaro/latest/docs/data-formats/formats/datumaro.html"""

from pathlib import Path
from typing import Any

from lookonce.data.findings import Report
from lookonce.data.formats.records import LabelledBox, LabelledImage, entry_of, list_of, read_json, size_wh
from lookonce.data.formats.shapes import around, of_size
from lookonce.errors import DataError


def parse_datumaro(path: Path, report: Report) -> list[LabelledImage]:
    """Boxes and polygons of every item; other annotations have no box."""
    content = read_json(path, "a datumaro file")
    if not isinstance(content, dict):
        raise DataError.at(path, f"is a JSON {type(content).__name__}; expected a datumaro file")
    names = _names(content)
    images = []
    for number, item in enumerate(list_of(content.get("items")), start=1):
        place = f"{path} item {number}"
        with entry_of(path, place, item, "an image with its path", report):
            media, boxes = item["image"], list[LabelledBox]()
            height, width = (*list_of(media.get("size")), None, None)[:2]
            name = Path(media["path"]).as_posix()  # TypeError for what is no text
            for written in list_of(item.get("annotations")):
                with entry_of(path, place, written, "type, label_id and numbers in pixels", report):
                    boxes += _boxes(written, names, place)
            images.append(LabelledImage(file=path, name=name, boxes=tuple(boxes), size_wh=size_wh(width, height)))
    return images


def datumaro_classes(path: Path) -> list[str]:
    return _names(read_json(path, "a datumaro file"))


def _boxes(written: dict[str, Any], names: list[str], place: str) -> list[LabelledBox]:
    if written["type"] == "bbox":
        box = of_size(*map(float, written["bbox"]))
    elif written["type"] == "polygon":
        points = written["points"]
        box = around(zip(points[::2], points[1::2], strict=True))
    else:
        return []
    label = written["label_id"]
    if type(label) is not int or label < 0:
        raise ValueError
    crowd = bool((written.get("attributes") or {}).get("is_crowd"))
    return [LabelledBox(name=names[label], box_xyxy=box, place=place, crowd=crowd)]


def _names(content: dict[str, Any]) -> list[str]:
    try:
        return [str(label["name"]) for label in content["categories"]["label"]["labels"]]
    except (KeyError, TypeError):
        return []
