"""Values of COCO files as other programs write them -> the values that COCO's format describes.

Numbers as text, whole numbers with a point, null for a flag, a size of -1, a polygon without its box. What
cannot be understood is left as it is, so that the reader names it.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

Item = dict[str, Any]


def image_values(item: Any) -> Any:
    """An image with an integer id where possible, and without a size that is none: the file itself then says it."""
    if not isinstance(item, dict):
        return item
    item = _changed(item, {"id": _whole})
    for key in ("width", "height"):
        size = _whole(item.get(key))
        if type(size) is int and 0 < size < 2**31:
            item[key] = size
        else:
            item.pop(key, None)
    return item


def annotation_values(item: Any) -> Any:
    """An annotation with its ids, box, flag and area as numbers; the box of its polygons where it has none."""
    if not isinstance(item, dict):
        return item
    item = _changed(item, {"image_id": _whole, "category_id": _whole, "iscrowd": _flag, "area": _number})
    if isinstance(item.get("bbox"), list):
        item["bbox"] = list(map(_number, item["bbox"]))
    if not item.get("bbox") and (box := _box_of(item.get("segmentation"))) is not None:
        item["bbox"] = box
    return item


def category_values(item: Any) -> Any:
    """A category with an integer id where possible; a name that is a number is text."""
    if isinstance(item, dict):
        return _changed(item, {"id": _whole, "name": lambda name: str(name) if type(name) in (int, float) else name})
    return item


def _changed(item: Item, changes: dict[str, Callable[[Any], Any]]) -> Item:
    return item | {key: change(item[key]) for key, change in changes.items() if key in item}


def _whole(value: Any) -> Any:
    """7.0, "7" and "7.0" are 7; everything else stays."""
    if type(value) is str and value.strip().lstrip("-").isdecimal():
        return int(value) if len(value) < 1000 else value  # Python refuses to convert thousands of digits
    number = _number(value)
    return int(number) if type(number) is float and number.is_integer() else value


def _number(value: Any) -> Any:
    """Text that is a number as that number; integers beyond float64 as infinity; everything else stays."""
    if type(value) is str:
        try:
            return float(value)
        except ValueError:
            return value
    if type(value) is int and abs(value) > 2**1023:
        return math.inf if value > 0 else -math.inf
    return value


def _flag(value: Any) -> Any:
    return 0 if value is None or value == "" else int(value) if isinstance(value, bool) else _whole(value)


def _box_of(polygons: Any) -> list[float] | None:
    """[left, top, width, height] of polygons [[x, y, x, y, ...], ...]; None if it is none, such as a mask."""
    try:
        points = np.concatenate([np.asarray(polygon, dtype=np.float64).reshape(-1, 2) for polygon in polygons])
        (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    except (TypeError, ValueError, OverflowError):
        return None
    return [left, top, right - left, bottom - top]
