"""What the rows of YOLO label files hold: boxes, polygons, oriented boxes, or boxes with keypoints.

A row of 5 numbers is a class and a box. Longer rows do not say what they are: `kpt_shape` of the data.yaml does, or
else the rows of all splits together.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lookonce.parsed import are_numbers

_BOX = 5  # class, centre x, centre y, width, height
_ORIENTED = 9  # class and four corners
_VISIBILITY = frozenset({0.0, 1.0, 2.0})  # COCO's v of a keypoint x, y, v
# Of the corners' extent: how far two corners of a hand-drawn oriented box may be from a parallelogram's. Read so, boxes
# with two keypoints x, y are off by about their extent.
_SKEW = 0.1
_RAREST = 20  # rows to one that is unlike them

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True, kw_only=True)
class RowKind:
    """length: numbers in a row with keypoints, 0 for boxes and polygons. doubt: what a person should confirm."""

    length: int = 0
    doubt: str = ""

    @property
    def has_keypoints(self) -> bool:
        return self.length > 0

    def takes(self, count: int) -> bool:
        """Whether a row may have `count` numbers."""
        return count == _BOX or (count == self.length if self.has_keypoints else count >= 7 and count % 2 == 1)

    @property
    def expected(self) -> str:
        if self.has_keypoints:
            return f"{self.length} (class x y width height and the keypoints), see kpt_shape"
        return f"{_BOX} (class x y width height, or a class and the points of a polygon)"


def choose_row_kind(rows: Rows, kpt_shape: tuple[int, int] | None, other_rows: Callable[[], Rows] = list) -> RowKind:
    """rows: the words of every row of a split. other_rows: those of the other splits, read only if they decide."""
    if kpt_shape:
        return RowKind(length=_BOX + kpt_shape[0] * kpt_shape[1])
    long_rows = [row for row in rows if len(row) != _BOX]
    if len(set(map(len, long_rows))) == 1:
        long_rows += [row for row in other_rows() if len(row) != _BOX]
    lengths = set(map(len, long_rows))
    if len(lengths) != 1:
        return RowKind()
    length = lengths.pop()
    visibilities = [word for row in long_rows for word in row[_BOX + 2 :: 3]]
    has_visibility = are_numbers(visibilities) and set(map(float, visibilities)) <= _VISIBILITY
    if length > _BOX + 2 and (length - _BOX) % 3 == 0 and has_visibility:
        return RowKind(length=length)
    are_closed = all(row[1:3] == row[-2:] for row in long_rows)  # the last point of a polygon is its first
    if len(long_rows) < 2 or length < _BOX + 2 or length % 2 == 0 or are_closed:
        return RowKind()
    if length == _ORIENTED and sum(map(_is_oriented_box, long_rows)) * 2 > len(long_rows):
        return RowKind()
    return RowKind(
        doubt=f"all {len(long_rows)} rows that are no boxes have {length} numbers and are read as polygons; if they "
        f"are boxes with keypoints, write kpt_shape: [{(length - _BOX) // 2}, 2] into the data.yaml"
    )


def joined_rows(rows: Rows) -> list[int]:
    """Places of rows that have the length of boxes without the line ends between them, if at most a twentieth have it.

    The class of the next box then follows the last number without a space: N boxes have 4 N + 1 words.
    """
    joined = [place for place, row in enumerate(rows) if len(row) > _BOX and len(row) % 4 == 1]
    return joined if _RAREST * len(joined) <= len(rows) else []


def _is_oriented_box(row: Sequence[str]) -> bool:
    """Whether four corners are about those of a rectangle: the diagonals have the same middle."""
    if not are_numbers(row[1:]):
        return False
    x1, y1, x2, y2, x3, y3, x4, y4 = map(float, row[1:])
    extent = max(max(x1, x2, x3, x4) - min(x1, x2, x3, x4), max(y1, y2, y3, y4) - min(y1, y2, y3, y4))
    return max(abs(x1 + x3 - x2 - x4), abs(y1 + y3 - y2 - y4)) <= _SKEW * extent
