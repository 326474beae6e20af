"""Datumaro's own JSON, one file for each split.

Source: https://open-edge-platform.github.io/datumaro/latest/docs/data-formats/formats/datumaro.html"""

from pathlib import Path
from typing import Any

from lookonce.data.findings import Finding, Report
from lookonce.data.formats.records import LabelledBox, LabelledImage, read_json, size_wh
from lookonce.errors import DataError

# Keys with the numbers of each type of annotation that has an area.
_NUMBERS = {"bbox": "bbox", "polygon": "points"}


def parse_datumaro(path: Path, report: Report) -> list[LabelledImage]:
    """Boxes and polygons of every item; other annotations have no box."""
    content = _content(path)
    names = _names(content)
    images = []
    for number, item in enumerate(_list(content.get("items")), start=1):
        place = f"{path} item {number}"
        media = item.get("image") if isinstance(item, dict) else None
        if not isinstance(media, dict) or not isinstance(media.get("path"), str):
            message = f"{place}: {str(item)[:60]}; expected an image with its path"
            report(Finding(name="malformed-entry", file=str(path), message=message))
            continue
        height, width = (*_list(media.get("size")), None, None)[:2]
        boxes = []
        for written in _list(item.get("annotations")):
            try:
                boxes += _boxes(written, names, place)
            except (AttributeError, KeyError, TypeError, ValueError, OverflowError, IndexError):
                message = f"{place}: {str(written)[:60]}; expected type, label_id and numbers in pixels"
                report(Finding(name="malformed-entry", file=str(path), message=message))
        images.append(LabelledImage(file=path, name=media["path"], boxes=tuple(boxes), size_wh=size_wh(width, height)))
    return images


def datumaro_classes(path: Path) -> list[str]:
    """The label categories, in their order."""
    try:
        return _names(_content(path))
    except DataError:
        return []


def _boxes(written: dict[str, Any], names: list[str], place: str) -> list[LabelledBox]:
    key = _NUMBERS.get(written["type"])
    if key is None:
        return []
    numbers = [float(number) for number in written[key]]
    label = written["label_id"]
    if type(label) is not int or label < 0:
        raise ValueError
    if key == "bbox":
        left, top, width, height = numbers
        corners = (left, top, left + width, top + height)
    else:
        corners = (min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2]))
    crowd = bool((written.get("attributes") or {}).get("is_crowd"))
    return [LabelledBox(name=names[label], box_xyxy=corners, place=place, crowd=crowd)]


def _content(path: Path) -> dict[str, Any]:
    content = read_json(path, "a datumaro file")
    if not isinstance(content, dict):
        raise DataError.at(path, f"is a JSON {type(content).__name__}; expected a datumaro file")
    return content


def _names(content: dict[str, Any]) -> list[str]:
    try:
        return [str(label["name"]) for label in content["categories"]["label"]["labels"]]
    except (KeyError, TypeError):
        return []


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
