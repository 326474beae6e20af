"""Detect boxes written in another convention than they were read in (xywh as xyxy, pixels as fractions, ...).

This is the commonest reason why a network learns nothing: such boxes parse and train, but lie in the wrong place.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]

# A box is valid if it has an area and extends outside by at most this fraction of the image's side.
OUTSIDE_PART = 0.01
# Maximum fraction of invalid boxes in correct annotations (labelling errors).
MOST_SLIPS = 0.02


@dataclass(frozen=True, kw_only=True)
class BoxConvention:
    """One convention. undo: boxes as read (M, 4) xyxy, image sizes (M, 2) -> boxes (M, 4) under this convention.

    words: completes "the numbers are ..."; remedy: how to correct the annotations.
    """

    words: str
    remedy: str
    undo: Callable[[Boxes, Boxes], Boxes]


def _corners_as_size(boxes: Boxes, _: Boxes) -> Boxes:
    """Read as left, top, width, height; written as left, top, right, bottom."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def _size_as_corners(boxes: Boxes, _: Boxes) -> Boxes:
    """Read as left, top, right, bottom; written as left, top, width, height."""
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _centre_as_corner(boxes: Boxes, _: Boxes) -> Boxes:
    """Read as left, top, width, height; written as centre x, centre y, width, height."""
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    return np.concatenate([boxes[:, :2] - half, boxes[:, :2] + half], axis=1)


def _fractions_as_pixels(boxes: Boxes, sizes_wh: Boxes) -> Boxes:
    return np.asarray(boxes * np.concatenate([sizes_wh, sizes_wh], axis=1))


def _pixels_as_fractions(boxes: Boxes, sizes_wh: Boxes) -> Boxes:
    return np.asarray(boxes / np.concatenate([sizes_wh, sizes_wh], axis=1))


BOX_CONVENTIONS = (
    BoxConvention(
        words="left, top, width, height that were read as left, top, right, bottom (xywh read as xyxy)",
        remedy="write xmax = xmin + width and ymax = ymin + height into the annotations",
        undo=_size_as_corners,
    ),
    BoxConvention(
        words="left, top, right, bottom that were read as left, top, width, height (xyxy read as xywh)",
        remedy="COCO's bbox is [left, top, width, height]: subtract left and top from the last two numbers",
        undo=_corners_as_size,
    ),
    BoxConvention(
        words="pixels that were read as fractions of the image",
        remedy="YOLO boxes are fractions: divide by the image's width and height",
        undo=_pixels_as_fractions,
    ),
    BoxConvention(
        words="centre x, centre y, width, height that were read as left, top, width, height (cxcywh read as xywh)",
        remedy="COCO's bbox starts with left and top: subtract half of width and height from the first two numbers",
        undo=_centre_as_corner,
    ),
)
NORMALISED = BoxConvention(
    words="fractions of the image (normalised, 0 to 1) that were read as pixels",
    remedy="multiply by the image's width and height, or use a format whose boxes are fractions (YOLO)",
    undo=_fractions_as_pixels,
)


def sound_share(boxes_xyxy: Boxes, sizes_wh: Boxes) -> float:
    """(M, 4), (M, 2) pixels -> fraction (0..1) of the boxes that are valid (see OUTSIDE_PART); 1 for no boxes."""
    if not len(boxes_xyxy):
        return 1.0
    slack = sizes_wh * OUTSIDE_PART
    sound = (boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(axis=1)
    sound &= (boxes_xyxy[:, :2] >= -slack).all(axis=1) & (boxes_xyxy[:, 2:] <= sizes_wh + slack).all(axis=1)
    return float(sound.mean())


def likely_convention(boxes_xyxy: Boxes, sizes_wh: Boxes) -> BoxConvention | None:
    """The convention under which nearly all boxes are valid, if they are not valid as read; else None.

    Fractions read as pixels are valid boxes smaller than a pixel; no labelled object is that small.
    """
    finite = np.isfinite(boxes_xyxy).all(axis=1) & sizes_wh.all(axis=1)
    boxes, sizes = boxes_xyxy[finite], sizes_wh[finite].astype(np.float64)
    if not len(boxes):
        return None
    if np.quantile(np.abs(boxes).max(axis=1), 0.99) <= 1 + OUTSIDE_PART:
        return NORMALISED
    if sound_share(boxes, sizes) >= 1 - 5 * MOST_SLIPS:
        return None
    shares = [sound_share(convention.undo(boxes, sizes), sizes) for convention in BOX_CONVENTIONS]
    best = int(np.argmax(shares))
    return BOX_CONVENTIONS[best] if shares[best] >= 1 - MOST_SLIPS else None
