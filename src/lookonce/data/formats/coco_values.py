"""Values of COCO files as other programs write them -> the values that COCO's format describes.

Numbers as text, whole numbers with a point, null for a flag, a size of -1, a polygon or mask without its box. What
cannot be understood is left as it is, so that the reader names it.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

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


def _box_of(segmentation: Any) -> list[float] | None:
    """[left, top, width, height] of polygons [[x, y, x, y, ...], ...] or of a mask; None if it is neither."""
    try:
        if isinstance(segmentation, dict):
            return _box_of_mask(segmentation)
        points = np.concatenate([np.asarray(polygon, dtype=np.float64).reshape(-1, 2) for polygon in segmentation])
    except (TypeError, ValueError, KeyError, OverflowError, IndexError):
        return None
    if not len(points):
        return None
    left, top = points.min(axis=0).tolist()
    right, bottom = points.max(axis=0).tolist()
    return [left, top, right - left, bottom - top]


def _box_of_mask(mask: Item) -> list[float] | None:
    """The box of a run-length encoded mask, as pycocotools' `toBbox`; None for an empty mask.

    The runs are of zeros and ones in turn, down the columns of an image of `size` [height, width].
    """
    height = int(mask["size"][0])
    counts = mask["counts"]
    runs = _runs_of_text(counts) if isinstance(counts, str) else np.asarray(counts, dtype=np.int64)
    ends = np.cumsum(runs)
    starts, ends = (ends - runs)[1::2], ends[1::2]
    starts, ends = starts[ends > starts], ends[ends > starts]
    if not len(starts) or height < 1:
        return None
    first, last = starts // height, (ends - 1) // height  # columns
    if (first != last).any():
        top, bottom = 0, height
    else:
        top, bottom = int((starts % height).min()), int(((ends - 1) % height).max()) + 1
    left = int(first.min())
    return [float(left), float(top), float(last.max() + 1 - left), float(bottom - top)]


def _runs_of_text(text: str) -> NDArray[np.int64]:
    """COCO's compressed runs: 5 bits a character, the lowest first; from the fourth run on, the difference to the run
    two before. Source: pycocotools `maskApi.c`, rleFrString."""
    runs: list[int] = []
    value = shift = 0
    for character in text.encode("ascii"):
        bits = character - 48
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            value -= (bits & 0x10) << 1 << (shift - 5)  # the sign
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    return np.array(runs, dtype=np.int64)
