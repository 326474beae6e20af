"""Non-maximum suppression (NMS) in numpy: decoded boxes -> detections.

The reference for the same steps in exported graphs and in C++.
"""

import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import area_xyxy
from lookonce.detections import Detections

MOST_CANDIDATES = 2000  # boxes that NMS takes


def select_detections(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    *,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
    multi_label: bool = True,
    agnostic: bool = False,
    pre_nms_top: int = MOST_CANDIDATES,
) -> Detections:
    """boxes_xyxy (N, 4), scores (N, C) in 0..1 -> at most max_detections detections, highest score first.

    Every (box, class) pair with a score over score_threshold is a candidate; without multi_label only each box's best
    class (the first of equal ones). NMS gets the pre_nms_top candidates with the highest scores, which bounds its time
    at low thresholds and does not change the best few hundred. A box is suppressed if its IoU with a kept box of
    higher score exceeds iou_threshold: one of its own class or, with agnostic, of any. Ties keep the input's order.
    """
    rows, labels = np.nonzero(scores > score_threshold)
    if not multi_label:
        is_best = scores.argmax(axis=1)[rows] == labels
        rows, labels = rows[is_best], labels[is_best]
    candidates = scores[rows, labels]
    order = np.argsort(-candidates, kind="stable")[:pre_nms_top]
    rows, labels, candidates = rows[order], labels[order], candidates[order]
    groups = np.zeros_like(labels) if agnostic else labels
    keep = _suppress(boxes_xyxy[rows], groups, iou_threshold, max_detections)
    return Detections(
        boxes_xyxy=boxes_xyxy[rows[keep]].astype(np.float32, copy=False),
        scores=candidates[keep].astype(np.float32, copy=False),
        labels=labels[keep].astype(np.int64, copy=False),
    )


def suppress_any_class(found: Detections, iou_threshold: float, max_detections: int) -> Detections:
    """Class-agnostic NMS over detections in the order of falling score."""
    return found.select(_suppress(found.boxes_xyxy, np.zeros_like(found.labels), iou_threshold, max_detections))


def _suppress(
    boxes_xyxy: NDArray[np.float32], groups: NDArray[np.int64], iou_threshold: float, max_detections: int
) -> NDArray[np.int64]:
    """Indices of the kept boxes, at most max_detections; boxes_xyxy and groups are sorted by falling score.

    A box is suppressed by boxes of its own group only."""
    areas = area_xyxy(boxes_xyxy)
    alive = np.ones(len(boxes_xyxy), np.bool_)
    kept: list[int] = []
    for index in range(len(boxes_xyxy)):
        if not alive[index]:
            continue
        kept.append(index)
        if len(kept) == max_detections:
            break
        rest = np.flatnonzero(alive[index + 1 :] & (groups[index + 1 :] == groups[index])) + index + 1
        top_left = np.maximum(boxes_xyxy[rest, :2], boxes_xyxy[index, :2])
        bottom_right = np.minimum(boxes_xyxy[rest, 2:], boxes_xyxy[index, 2:])
        overlap = np.prod(np.maximum(bottom_right - top_left, 0), axis=1)
        union = areas[rest] + areas[index] - overlap
        alive[rest[overlap > iou_threshold * union]] = False
    return np.array(kept, np.int64)
