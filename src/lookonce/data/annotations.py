"""Annotations as read from a file, and `assemble`, which turns those of every format into a Dataset by one rule set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import area_xyxy
from lookonce.data.dataset import Dataset, UnfoundBoxes, offsets_of
from lookonce.data.findings import Finding, Report

Mask = NDArray[np.bool_]
Written = Literal["xyxy", "xywh", "cxcywh"]

# Coordinates within 1e-9 px of a multiple of 0.001 are snapped to it: a corner stored as a width (COCO) or as a
# fraction of the image (YOLO) then reads back bit for bit.
SNAP_GRID = 1000.0
SNAP_PIXELS = 1e-9
# Six decimals, as in most YOLO files, move an edge of a 10,000 pixel image by this much.
OUTSIDE_PIXELS = 0.01
# Pixels instead of fractions are a common error; a box may extend outside, but not by half an image.
LOWEST_FRACTION, HIGHEST_FRACTION = -0.5, 1.5


@dataclass(frozen=True, kw_only=True)
class Annotations:
    """N images and M boxes as written: not clipped, not sorted, possibly not finite. Units: see Dataset."""

    split: str
    origin: Path  # the file or folder that lists the images
    image_paths: Sequence[Path]  # N
    image_ids: NDArray[np.int64]  # (N,)
    image_sizes_wh: NDArray[np.int32]  # (N, 2) upright
    image_rows: NDArray[np.int64]  # (M,) 0..N-1
    boxes_xyxy: NDArray[np.float64]  # (M, 4)
    labels: NDArray[np.int64]  # (M,)
    crowd: NDArray[np.bool_]  # (M,)
    areas: NDArray[np.float64]  # (M,) NaN where the annotation has none
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    own_ids: Sequence[int | str] = ()  # see Dataset
    place: Callable[[int], str]  # box row -> where the box is written, such as "dog.txt line 3"
    written: Written = "xyxy"  # the numbers of a box in the file; cxcywh are fractions of the image, the others pixels

    @property
    def box_sizes_wh(self) -> NDArray[np.float64]:
        """(M, 2) size of each box's image."""
        return self.image_sizes_wh[self.image_rows].astype(np.float64)


def without_ids(num_images: int, num_boxes: int, class_names: tuple[str, ...]) -> dict[str, Any]:
    """The fields of a format that has neither ids nor areas: images and classes are numbered from 1."""
    return {
        "image_ids": np.arange(1, num_images + 1, dtype=np.int64),
        "areas": np.full(num_boxes, np.nan),
        "class_names": class_names,
        "category_ids": tuple(range(1, len(class_names) + 1)),
    }


def assemble(found: Annotations, report: Report) -> Dataset:
    """Keep the finite boxes with an area, clip them to their image and sort them by image; report every change.

    Boxes without an area inside their image are kept apart, as `never_found`.
    """
    if not len(found.image_paths):
        message = f"{found.origin}: split {found.split!r} is empty; expected at least one image"
        report(Finding(name="empty-split", file=str(found.origin), message=message))
    sizes = found.box_sizes_wh
    known = sizes.all(axis=1)  # an image without a size was reported when its header was read
    finite = np.asarray(np.isfinite(found.boxes_xyxy).all(axis=1))
    _report_boxes(found, ~finite, "box-not-finite", "is not finite; expected four numbers", report)
    finite &= known
    if found.written == "cxcywh":
        finite &= _fractions(found, sizes, finite, report)
    boxes = snap(found.boxes_xyxy)
    clipped = np.clip(boxes, 0, np.concatenate([sizes, sizes], axis=1))
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    is_empty = np.asarray(np.isfinite(boxes).all(axis=1) & ~has_area)
    _report_boxes(found, is_empty, "box-without-area", "has no area and is not learned", report)
    keep = finite & has_area
    keep &= _inside(found, boxes, clipped, sizes, keep, report)
    order = np.flatnonzero(keep)
    order = order[np.argsort(found.image_rows[order], kind="stable")]
    kept_boxes = clipped[order]
    areas = found.areas[order]
    counts = np.bincount(found.image_rows[order], minlength=len(found.image_paths))
    return Dataset(
        split=found.split,
        image_paths=found.image_paths,
        image_ids=found.image_ids,
        image_sizes_wh=found.image_sizes_wh,
        box_offsets=offsets_of(counts),
        boxes_xyxy=kept_boxes,
        labels=found.labels[order],
        crowd=found.crowd[order],
        areas=np.where(np.isfinite(areas), areas, area_xyxy(kept_boxes)),
        class_names=found.class_names,
        category_ids=found.category_ids,
        own_ids=found.own_ids,
        never_found=_never_found(found, boxes, np.flatnonzero(finite & ~keep)),
    )


def _never_found(found: Annotations, boxes: NDArray[np.float64], rows: NDArray[np.int64]) -> UnfoundBoxes | None:
    """The boxes `rows` as written, of all (M, 4) `boxes`; None without rows."""
    if not len(rows):
        return None
    wh = np.maximum(boxes[rows, 2:] - boxes[rows, :2], 0)
    areas = found.areas[rows]
    return UnfoundBoxes(
        image_rows=found.image_rows[rows],
        boxes_xyxy=boxes[rows],
        labels=found.labels[rows],
        crowd=found.crowd[rows],
        areas=np.where(np.isfinite(areas), areas, wh.prod(axis=1)),
    )


def snap(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Snap coordinates within SNAP_PIXELS of a multiple of 0.001 pixel to it; all others stay bit for bit."""
    with np.errstate(invalid="ignore", over="ignore"):
        near = np.rint(boxes * SNAP_GRID) / SNAP_GRID
        return np.where(np.abs(boxes - near) < SNAP_PIXELS, near, boxes) + 0.0  # -0.0 becomes 0.0


def _fractions(found: Annotations, sizes: NDArray[np.float64], keep: Mask, report: Report) -> Mask:
    """(M,) boxes whose numbers can be fractions of the image; reports those of `keep` that cannot."""
    boxes = found.boxes_xyxy / np.maximum(np.tile(sizes, 2), 1)
    written = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
    with np.errstate(invalid="ignore"):
        fractions = (written >= LOWEST_FRACTION).all(axis=1) & (written <= HIGHEST_FRACTION).all(axis=1)
    for row in np.flatnonzero(keep & ~fractions):
        worst = max(written[row].tolist(), key=abs)
        place = found.place(int(row))
        message = f"{place}: {worst:g} is not a fraction of the image; expected 0..1, not pixels"
        report(Finding(name="not-a-fraction", file=place.rpartition(" line ")[0], message=message))
    return np.asarray(fractions)


def _inside(
    found: Annotations,
    boxes: NDArray[np.float64],
    clipped: NDArray[np.float64],
    sizes: NDArray[np.float64],
    keep: Mask,
    report: Report,
) -> Mask:
    """(M,) boxes with a part inside their image; reports every box of `keep` that extends outside."""
    visible = (clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1])
    with np.errstate(invalid="ignore"):
        outside = (np.abs(boxes - clipped) > OUTSIDE_PIXELS).any(axis=1) & keep
    for row in np.flatnonzero(outside | (keep & ~visible)):
        does, fate = ("extends", "clipped") if visible[row] else ("lies", "left out")
        where = f"{does} outside the {sizes[row, 0]:g}x{sizes[row, 1]:g} image and is {fate}"
        report(_of_box(found, int(row), "box-outside", where))
    return visible


def _report_boxes(found: Annotations, chosen: Mask, name: str, problem: str, report: Report) -> None:
    for row in np.flatnonzero(chosen).tolist():
        report(_of_box(found, row, name, problem))


def _of_box(found: Annotations, row: int, name: str, problem: str) -> Finding:
    image = str(found.image_paths[int(found.image_rows[row])])
    left, top, right, bottom = found.boxes_xyxy[row].tolist()
    box = (left, top, right, bottom) if np.isfinite(found.boxes_xyxy[row]).all() else None
    message = f"{found.place(row)}: box {numbers_of(found.boxes_xyxy[row])} {problem}"
    return Finding(name=name, file=image, message=message, box_xyxy=box)


def numbers_of(box: NDArray[np.float64]) -> str:
    """A box in a message: "(1, 2.5, 10, 20)". To a hundredth of a pixel: fractions of a size leave 36.9999 of 37."""
    return "(" + ", ".join(f"{round(float(value), 2):.9g}" for value in box) + ")"


def leaves_folder(file_name: str) -> bool:
    """Whether an image's file name, relative to the image folder, points outside it."""
    if ".." not in file_name and ":" not in file_name and file_name[:1] not in {"/", "\\"}:
        return False
    path = PureWindowsPath(file_name)  # takes both kinds of slash
    return bool(path.anchor) or ".." in path.parts


def shortest(value: float) -> str:
    """The fewest digits that read back as the same float64; whole numbers without a point."""
    number = float(value)
    return str(int(number)) if number.is_integer() else repr(number)
