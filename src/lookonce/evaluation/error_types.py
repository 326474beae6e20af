"""The six error types of TIDE at IoU 0.5, each with the AP50 that repairing it alone would add; the confusion matrix.

Source: Bolya et al. 2020, "TIDE: A General Toolbox for Identifying Object Detection Errors".
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lookonce.data.dataset import Dataset
from lookonce.evaluation.curves import precision_at_recall
from lookonce.evaluation.matching import (
    ClosePairs,
    Matches,
    close_pairs,
    image_rows_of_boxes,
    image_rows_of_detections,
    match,
    overlapping_pairs,
    runs_of_equal,
)
from lookonce.evaluation.results import Results

ErrorKind = Literal["class", "localisation", "both", "duplicate", "background", "undetected"]
# A false positive has the first type that fits: "localisation", its IoU with an object of its class is 0.1 to 0.5;
# "class", its IoU with an object of another class is 0.5 or more; "duplicate", a higher-scoring detection has matched
# its object; "background", its IoU with every object is at most 0.1; "both", all others. "undetected" are unmatched
# objects that no localisation or class error points at, whatever the score (TIDE's "missed"; here an object is missed
# if no detection of its class that reaches a threshold matches it).
KINDS: tuple[ErrorKind, ...] = ("class", "localisation", "both", "duplicate", "background", "undetected")
CLASS, LOCALISATION, BOTH, DUPLICATE, BACKGROUND = range(5)
FOREGROUND_IOU = 0.5
BACKGROUND_IOU = 0.1


@dataclass(frozen=True, kw_only=True)
class ErrorSplit:
    """The errors at IoU 0.5 of D detections against M ground-truth boxes.

    kinds: index into KINDS of each detection, in the order of the results; -1 for true positives, detections on a crowd
    and those after the 100th of an image and class. objects: row in the data set that a class, localisation or
    duplicate error points at, else -1. gains: AP50 (0..1) that repairing one type alone would add; they do not add up.
    """

    kinds: NDArray[np.int64]  # (D,)
    objects: NDArray[np.int64]  # (D,)
    undetected: NDArray[np.bool_]  # (M,)
    AP50: float
    gains: dict[ErrorKind, float]

    def counts(self) -> dict[ErrorKind, int]:
        wrong = {kind: int((self.kinds == number).sum()) for number, kind in enumerate(KINDS)}
        return wrong | {"undetected": int(self.undetected.sum())}


def split_errors(
    dataset: Dataset, results: Results, matches: Matches | None = None, overlaps: ClosePairs | None = None
) -> ErrorSplit:
    """Assigns each error its type, and computes AP50 with each type repaired.

    matches, overlaps: `match` and `overlapping_pairs` (from BACKGROUND_IOU) of the same two, if already computed.
    """
    matches = match(dataset, results) if matches is None else matches
    if overlaps is None:
        overlaps = overlapping_pairs(dataset, results, matches, iou_threshold=BACKGROUND_IOU)
    used = np.zeros(len(dataset.labels), np.bool_)
    used[matches.found[0][matches.right[0]]] = True
    kinds, objects = _classify(overlaps, matches, dataset.labels, used)
    pointed_at = objects[np.isin(kinds, (CLASS, LOCALISATION))]
    undetected = ~used & ~dataset.crowd
    undetected[pointed_at] = False
    repair = _Repair(dataset, matches, kinds, objects, used)
    ap50 = repair.average_precision()
    repaired = [repair.without(kind) for kind in (CLASS, LOCALISATION, BOTH, DUPLICATE, BACKGROUND)]
    fewer = np.bincount(dataset.labels[undetected], minlength=repair.num_classes)
    repaired.append(repair.average_precision(fewer=fewer))
    gains = {kind: value - ap50 for kind, value in zip(KINDS, repaired, strict=True)}
    in_order = np.full((2, len(results)), -1, np.int64)
    in_order[:, matches.rows] = kinds, objects
    return ErrorSplit(kinds=in_order[0], objects=in_order[1], undetected=undetected, AP50=ap50, gains=gains)


def _classify(
    overlaps: ClosePairs, matches: Matches, true_labels: NDArray[np.int64], used: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(D,) types and (D,) rows of their objects, in the order of the matches; -1 where there is none."""
    same_class = matches.labels[overlaps.detections] == true_labels[overlaps.objects]  # (P,)
    num_detections = len(matches.rows)
    own, own_object = _closest(overlaps, same_class, num_detections)
    other, other_object = _closest(overlaps, ~same_class, num_detections)
    taken, taken_object = _closest(overlaps, same_class & used[overlaps.objects], num_detections)
    conditions = [
        (own >= BACKGROUND_IOU) & (own < FOREGROUND_IOU),
        other >= FOREGROUND_IOU,
        taken >= FOREGROUND_IOU,
        np.maximum(own, other) <= BACKGROUND_IOU,
    ]
    wrong = ~matches.right[0] & ~matches.ignored[0]
    kinds = np.select(conditions, [LOCALISATION, CLASS, DUPLICATE, BACKGROUND], BOTH)
    objects = np.select(conditions[:3], [own_object, other_object, taken_object], -1)
    return np.where(wrong, kinds, -1), np.where(wrong, objects, -1)


def _closest(
    overlaps: ClosePairs, chosen: NDArray[np.bool_], num_detections: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(D,) largest IoU of each detection among the chosen pairs (P,), and (D,) its object; -1 where there is none."""
    ious, objects = np.full(num_detections, -1.0), np.full(num_detections, -1, np.int64)
    places = np.flatnonzero(chosen)
    places = places[np.lexsort((-overlaps.ious[places], overlaps.detections[places]))]
    detections, first = np.unique(overlaps.detections[places], return_index=True)
    ious[detections], objects[detections] = overlaps.ious[places[first]], overlaps.objects[places[first]]
    return ious, objects


class _Repair:
    """AP50 of the matches after one type of error is repaired."""

    def __init__(
        self,
        dataset: Dataset,
        matches: Matches,
        kinds: NDArray[np.int64],
        objects: NDArray[np.int64],
        used: NDArray[np.bool_],
    ) -> None:
        self.num_classes = len(dataset.class_names)
        self._num_objects = np.bincount(matches.object_labels, minlength=self.num_classes)
        self._kinds = kinds
        self._right = matches.right[0]
        self._ignored = matches.ignored[0]
        self._labels = matches.labels
        self._scores = matches.scores
        self._true_labels = np.where(objects >= 0, dataset.labels[objects] if len(dataset.labels) else 0, -1)
        self._becomes_right = _best_of_free_objects(kinds, objects, matches.scores, used)

    def without(self, kind: int) -> float:
        """AP50 with the best class or localisation error of each unmatched object corrected, other errors removed."""
        of_kind = self._kinds == kind
        corrected = of_kind & self._becomes_right
        labels = np.where(corrected, self._true_labels, self._labels)
        return self._score(labels, self._right | corrected, keep=~of_kind | corrected)

    def average_precision(self, fewer: NDArray[np.int64] | None = None) -> float:
        """AP50 of the matches as they are; fewer (C,): objects of each class that do not count."""
        return self._score(self._labels, self._right, keep=np.ones_like(self._right), fewer=fewer)

    def _score(
        self,
        labels: NDArray[np.int64],
        right: NDArray[np.bool_],
        *,
        keep: NDArray[np.bool_],
        fewer: NDArray[np.int64] | None = None,
    ) -> float:
        keep = keep & ~self._ignored
        order = np.lexsort((-self._scores[keep], labels[keep]))
        labels, right = labels[keep][order], right[keep][order]
        edges = np.searchsorted(labels, np.arange(self.num_classes + 1))
        left = self._num_objects if fewer is None else self._num_objects - fewer
        values = [
            average_precision(right[edges[label] : edges[label + 1]], int(left[label])) if left[label] else 1.0
            for label in np.flatnonzero(self._num_objects)
        ]
        return float(np.mean(values)) if values else -1.0


def _best_of_free_objects(
    kinds: NDArray[np.int64], objects: NDArray[np.int64], scores: NDArray[np.float64], used: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """(D,) whether a detection is the highest-scoring class or localisation error of an unmatched object."""
    chance = np.isin(kinds, (CLASS, LOCALISATION))
    rows = np.flatnonzero(chance)
    rows = rows[~used[objects[rows]]]
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    _, first = np.unique(objects[rows], return_index=True)
    best = np.zeros(len(kinds), np.bool_)
    best[rows[first]] = True
    return best


def average_precision(right: NDArray[np.bool_], num_objects: int) -> float:
    """COCO's AP of one class at one IoU: right (D,) highest score first, num_objects at least 1 -> 0..1."""
    return float(precision_at_recall(right, num_objects).mean())


def confusion_matrix(dataset: Dataset, results: Results, *, score_threshold: float = 0.25) -> NDArray[np.int64]:
    """(C + 1, C + 1) counts. Row: class of the ground truth; column: class of the detection; the last is background.

    Detections that score at least score_threshold take, highest score first, the free object with the highest IoU, if
    it is at least 0.5: first objects of their own class, then any. So the diagonal holds the true positives
    of that threshold, and the other columns of a row sum to the missed objects of the class. Detections on a crowd
    without an object do not count.
    """
    shown = results.select(results.scores >= score_threshold)
    images = image_rows_of_detections(dataset, shown)
    order = np.lexsort((-shown.scores, images))
    object_images = image_rows_of_boxes(dataset)
    objects = np.argsort(object_images, kind="stable")
    close = close_pairs(shown.boxes_xywh[order], images[order], dataset, objects, object_images[objects])
    labels = shown.labels[order]
    free = ~dataset.crowd
    chosen = np.full(len(order), -1, np.int64)
    for pairs in (labels[close.detections] == dataset.labels[close.objects], np.ones(len(close.ious), np.bool_)):
        _choose(chosen, free, close, pairs & (chosen[close.detections] < 0))
    excused = np.zeros(len(order), np.bool_)
    excused[close.detections[dataset.crowd[close.objects]]] = True
    nothing = len(dataset.class_names)
    matrix = np.zeros((nothing + 1, nothing + 1), np.int64)
    right = chosen >= 0
    np.add.at(matrix, (dataset.labels[chosen[right]], labels[right]), 1)
    matrix[nothing] += np.bincount(labels[~right & ~excused], minlength=nothing + 1)
    missed = ~dataset.crowd
    missed[chosen[right]] = False
    matrix[:, nothing] += np.bincount(dataset.labels[missed], minlength=nothing + 1)
    return matrix


def _choose(chosen: NDArray[np.int64], free: NDArray[np.bool_], close: ClosePairs, possible: NDArray[np.bool_]) -> None:
    """Each detection in turn takes the closest free object among its possible pairs (P,); writes both (D,), (M,)."""
    places = np.flatnonzero(possible)
    for begin, end in runs_of_equal(close.detections[places]):
        pairs = places[begin:end]
        objects = close.objects[pairs]
        best = int(np.where(free[objects], close.ious[pairs], -1.0).argmax())
        if free[objects[best]]:
            chosen[close.detections[pairs[0]]] = objects[best]
            free[objects[best]] = False
