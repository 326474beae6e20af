"""Detect boxes written in another convention than they were read in (xywh as xyxy, pixels as fractions, ...).

This is the commonest reason why a network learns nothing: such boxes parse and train, but lie in the wrong place.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import cxcywh_to_xyxy, xywh_to_xyxy, xyxy_to_cxcywh, xyxy_to_xywh
from lookonce.data.annotations import Annotations, Written
from lookonce.shown import percent

Boxes = NDArray[np.floating]

# A box is valid if it has an area and extends outside by at most this fraction of the image's side.
OUTSIDE_PART = 0.01
# Maximum fraction of invalid boxes in correct annotations (labelling errors).
MOST_SLIPS = 0.02


# No labelled object is smaller; pixels divided by the image's size are.
_SMALLEST_SIDE = 1.0


@dataclass(frozen=True, kw_only=True)
class BoxConvention:
    """One convention. name: as `convert-data --boxes` takes it; words: completes "the numbers are ...".

    read_as: how the format that was read writes boxes; None: every format in pixels. undo: boxes as read (M, 4) xyxy,
    image sizes (M, 2) -> boxes (M, 4) under this convention.
    """

    name: str
    words: str
    read_as: Written | None
    undo: Callable[[Boxes, Boxes], Boxes]

    @property
    def remedy(self) -> str:
        return f"rewrite them: lookonce convert-data SRC DST --boxes {self.name}"


def _as_fractions(boxes: Boxes, sizes_wh: Boxes) -> Boxes:
    return np.asarray(boxes / np.maximum(np.tile(sizes_wh, 2), 1))


_CONVENTIONS = (
    BoxConvention(
        name="xywh-as-xyxy",
        words="left, top, width, height that were read as left, top, right, bottom (xywh read as xyxy)",
        read_as="xyxy",
        undo=lambda boxes, _: xywh_to_xyxy(boxes),
    ),
    BoxConvention(
        name="xyxy-as-xywh",
        words="left, top, right, bottom that were read as left, top, width, height (xyxy read as xywh)",
        read_as="xywh",
        undo=lambda boxes, _: xyxy_to_xywh(boxes),
    ),
    BoxConvention(
        name="centres",
        words="centre x, centre y, width, height that were read as left, top, width, height (cxcywh read as xywh)",
        read_as="xywh",
        undo=lambda boxes, _: cxcywh_to_xyxy(xyxy_to_xywh(boxes)),
    ),
    BoxConvention(
        name="corners",
        words="left, top, right, bottom that were read as centre x, centre y, width, height (xyxy read as cxcywh)",
        read_as="cxcywh",
        undo=lambda boxes, _: xyxy_to_cxcywh(boxes),
    ),
    BoxConvention(
        name="top-left",
        words="left, top, width, height that were read as centre x, centre y, width, height (xywh read as cxcywh)",
        read_as="cxcywh",
        undo=lambda boxes, _: xywh_to_xyxy(xyxy_to_cxcywh(boxes)),
    ),
    BoxConvention(
        name="pixels",
        words="pixels that were read as fractions of the image",
        read_as="cxcywh",
        undo=_as_fractions,
    ),
    BoxConvention(
        name="pixel-corners",
        words="left, top, right, bottom in pixels that were read as centre and size in fractions of the image",
        read_as="cxcywh",
        undo=lambda boxes, sizes_wh: xyxy_to_cxcywh(_as_fractions(boxes, sizes_wh)),
    ),
    BoxConvention(
        name="fractions",
        words="fractions of the image (normalised, 0 to 1) that were read as pixels",
        read_as=None,
        undo=lambda boxes, sizes_wh: boxes * np.tile(sizes_wh, 2),
    ),
)
BOX_CONVENTIONS = {convention.name: convention for convention in _CONVENTIONS}
NORMALISED = BOX_CONVENTIONS["fractions"]


def sound_share(boxes_xyxy: Boxes, sizes_wh: Boxes) -> float:
    """(M, 4), (M, 2) pixels -> fraction (0..1) of the boxes that are valid (see OUTSIDE_PART); 1 for no boxes."""
    if not len(boxes_xyxy):
        return 1.0
    slack = sizes_wh * OUTSIDE_PART
    sound = (boxes_xyxy[:, 2:] > boxes_xyxy[:, :2]).all(axis=1)
    sound &= (boxes_xyxy[:, :2] >= -slack).all(axis=1) & (boxes_xyxy[:, 2:] <= sizes_wh + slack).all(axis=1)
    return float(sound.mean())


def likely_convention(boxes_xyxy: Boxes, sizes_wh: Boxes, written: Written) -> BoxConvention | None:
    """Boxes as read (M, 4), sizes of their images (M, 2), how the format writes boxes -> the convention under
    which nearly all boxes are valid, if they are not valid as read; else None.

    Fractions read as pixels are valid boxes smaller than a pixel; no labelled object is that small.
    """
    finite = np.isfinite(boxes_xyxy).all(axis=1) & sizes_wh.all(axis=1)
    boxes, sizes = boxes_xyxy[finite], sizes_wh[finite].astype(np.float64)
    if not len(boxes):
        return None
    if written != "cxcywh" and np.quantile(np.abs(boxes).max(axis=1), 0.99) <= 1 + OUTSIDE_PART:
        return NORMALISED
    if sound_share(boxes, sizes) >= 1 - 5 * MOST_SLIPS:
        return None
    conventions = [convention for convention in BOX_CONVENTIONS.values() if convention.read_as == written]
    shares = []
    for convention in conventions:
        corrected = convention.undo(boxes, sizes)
        large = float(((corrected[:, 2:] - corrected[:, :2]) >= _SMALLEST_SIDE).all(axis=1).mean())
        shares.append(min(large, sound_share(corrected, sizes)))
    best = int(np.argmax(shares))
    return conventions[best] if shares[best] >= 1 - MOST_SLIPS else None


def convention_evidence(found: Annotations, convention: BoxConvention) -> str:
    """The shares of valid boxes as read and under `convention`, and the first box."""
    sizes = found.box_sizes_wh
    known = np.isfinite(found.boxes_xyxy).all(axis=1) & sizes.all(axis=1)
    as_read = sound_share(found.boxes_xyxy[known], sizes[known])
    corrected = sound_share(convention.undo(found.boxes_xyxy[known], sizes[known]), sizes[known])
    first = int(known.argmax())
    example = ", ".join(f"{value:.4g}" for value in found.boxes_xyxy[first])
    return (
        f"split {found.split!r}: {percent(as_read)} of {len(sizes):,} boxes have an area inside their image as "
        f"read, {percent(corrected)} if the numbers are {convention.words}. The first box, {found.place(first)}, "
        f"becomes the corners ({example}) in an image of {sizes[first, 0]:g}x{sizes[first, 1]:g} pixels"
    )
