"""Box formats and their arithmetic, in numpy.

A box is four numbers in the last axis; the name of every variable says which four:
`xyxy` left, top, right, bottom; `xywh` left, top, width, height (COCO); `cxcywh` centre, width, height.
Coordinates are continuous: the left edge of the first pixel is 0, the right edge of the last is the image's width,
so a width is right - left, without the +1 of VOC's integer corners.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def xyxy_to_xywh(boxes_xyxy: Floats) -> Floats:
    """(..., 4) xyxy -> (..., 4) xywh, same dtype."""
    return np.concatenate([boxes_xyxy[..., :2], boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]], axis=-1)


def xywh_to_xyxy(boxes_xywh: Floats) -> Floats:
    """(..., 4) xywh -> (..., 4) xyxy, same dtype."""
    return np.concatenate([boxes_xywh[..., :2], boxes_xywh[..., :2] + boxes_xywh[..., 2:]], axis=-1)


def xyxy_to_cxcywh(boxes_xyxy: Floats) -> Floats:
    """(..., 4) xyxy -> (..., 4) cxcywh, same dtype."""
    top_left, bottom_right = boxes_xyxy[..., :2], boxes_xyxy[..., 2:]
    return np.concatenate([(top_left + bottom_right) / 2, bottom_right - top_left], axis=-1)


def cxcywh_to_xyxy(boxes_cxcywh: Floats) -> Floats:
    """(..., 4) cxcywh -> (..., 4) xyxy, same dtype."""
    centers, halves = boxes_cxcywh[..., :2], boxes_cxcywh[..., 2:] / 2
    return np.concatenate([centers - halves, centers + halves], axis=-1)


def clip_xyxy(boxes_xyxy: Floats, width: float, height: float) -> Floats:
    """Clip boxes (..., 4) to an image of width x height pixels; a box wholly outside gets area 0."""
    limits = np.array([width, height, width, height], dtype=boxes_xyxy.dtype)
    return np.clip(boxes_xyxy, 0, limits)


def area_xyxy(boxes_xyxy: Floats) -> Floats:
    """(..., 4) -> (...) areas; a box whose corners are swapped has area 0."""
    wh = np.maximum(boxes_xyxy[..., 2:] - boxes_xyxy[..., :2], 0)
    return np.asarray(wh[..., 0] * wh[..., 1])


def pairwise_overlap_xyxy(boxes_a: Floats, boxes_b: Floats) -> Floats:
    """(N, 4), (M, 4) -> (N, M) areas of the intersections."""
    top_left = np.maximum(boxes_a[:, None, :2], boxes_b[None, :, :2])
    bottom_right = np.minimum(boxes_a[:, None, 2:], boxes_b[None, :, 2:])
    wh = np.maximum(bottom_right - top_left, 0)  # (N, M, 2)
    return np.asarray(wh[..., 0] * wh[..., 1])


def pairwise_iou_xyxy(boxes_a: Floats, boxes_b: Floats) -> Floats:
    """(N, 4), (M, 4) -> (N, M) intersection over union in 0..1; 0 where both boxes have no area."""
    overlap = pairwise_overlap_xyxy(boxes_a, boxes_b)
    union = area_xyxy(boxes_a)[:, None] + area_xyxy(boxes_b)[None, :] - overlap
    return np.asarray(np.divide(overlap, union, out=np.zeros_like(overlap), where=union > 0))
