"""The box around a shape, as annotation files write shapes; numbers may be text."""

from collections.abc import Iterable, Sequence
from typing import Any

Box = tuple[float, float, float, float]  # left, top, right, bottom


def of_size(left: float, top: float, width: float, height: float) -> Box:
    return left, top, left + width, top + height


def of_centre(x: float, y: float, width: float, height: float) -> Box:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def around(points: Iterable[Sequence[Any]]) -> Box:
    """The box around points (x, y)."""
    xs, ys = zip(*((float(x), float(y)) for x, y in points), strict=True)
    return min(xs), min(ys), max(xs), max(ys)
