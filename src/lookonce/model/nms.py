"""Non-maximum suppression (NMS) in numpy: decoded boxes -> detections.

The reference for the same steps in exported graphs and in C++.
"""

import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import area_xyxy
from lookonce.detections import Detections

MOST_CANDIDATES = 2000  # boxes that NMS takes
BLOCK = 128  # boxes that are compared with each other at once: of 64, 128 and 256 the fastest for 500 to 2,000 boxes


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
    order = _highest(candidates, pre_nms_top)
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


def _highest(scores: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Indices of the `count` highest scores, highest first; ties keep the input's order."""
    if len(scores) <= count:
        return np.argsort(-scores, kind="stable")
    # An untrained network has 200,000 candidates at 0.001: to find the lowest that counts is faster than to sort all.
    rows = np.flatnonzero(scores >= np.partition(scores, -count)[-count])
    return np.asarray(rows[np.argsort(-scores[rows], kind="stable")[:count]])


def _suppress(
    boxes_xyxy: NDArray[np.float32], groups: NDArray[np.int64], iou_threshold: float, max_detections: int
) -> NDArray[np.int64]:
    """Indices of the kept boxes, at most max_detections; boxes_xyxy and groups are sorted by falling score.

    A box is suppressed by boxes of its own group only."""
    order = np.argsort(groups, kind="stable")  # by group, then highest score first
    table = _Boxes(boxes_xyxy[order], groups[order])
    kept = np.zeros(len(order), np.bool_)
    for start in range(0, len(order), BLOCK):
        block = np.arange(start, min(start + BLOCK, len(order)))
        # Only the group of the block's first box can have boxes in earlier blocks.
        first = int(table.groups.searchsorted(table.groups[start]))
        before = first + np.flatnonzero(kept[first:start])
        if len(before) >= max_detections:  # the rest of its group comes too late
            block = block[table.groups[block] != table.groups[start]]
        elif len(before):
            block = block[~table.overlap(before, block, iou_threshold).any(axis=0)]
        kept[block] = _first_come(np.triu(table.overlap(block, block, iou_threshold), 1))
    return np.sort(order[kept])[:max_detections]


class _Boxes:
    """N boxes with a group each, side by side by their sides, which numpy compares fastest."""

    def __init__(self, boxes_xyxy: NDArray[np.float32], groups: NDArray[np.int64]) -> None:
        self.groups = groups
        self._sides = np.ascontiguousarray(boxes_xyxy.T)  # (4, N) left, top, right, bottom
        self._areas = area_xyxy(boxes_xyxy)

    def overlap(self, rows: NDArray[np.int64], columns: NDArray[np.int64], iou_threshold: float) -> NDArray[np.bool_]:
        """(R, C) whether two boxes are of one group and their IoU exceeds the threshold."""
        left, top, right, bottom = self._sides[:, rows, None]
        other_left, other_top, other_right, other_bottom = self._sides[:, None, columns]
        width = np.maximum(np.minimum(right, other_right) - np.maximum(left, other_left), 0)
        overlap = width * np.maximum(np.minimum(bottom, other_bottom) - np.maximum(top, other_top), 0)
        exceeds = overlap > iou_threshold * (self._areas[rows, None] + self._areas[columns] - overlap)
        return np.asarray(exceeds & (self.groups[rows, None] == self.groups[columns]))


def _first_come(suppresses: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(N, N) whether box i suppresses box j > i, if i is kept -> (N,) which are kept.

    Each round settles at least one more box, and all of them after the longest chain of suppressions: 1 to 6 rounds for
    8 images at 640 pixels with COCO weights.
    """
    kept: NDArray[np.bool_] = np.ones(len(suppresses), np.bool_)
    while True:
        remaining = np.logical_not(suppresses[kept].any(axis=0))
        if np.array_equal(remaining, kept):
            return kept
        kept = remaining
