"""Which detection found which object: COCO's matching, kept per detection so that it can be counted anew.

Source: pycocotools `cocoeval.py`, evaluateImg, with all areas and the 100 best detections of a picture and class.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import Floats, xyxy_to_xywh
from lookonce.data.dataset import Dataset
from lookonce.evaluation.coco import IOU_THRESHOLDS, MAX_DETECTIONS
from lookonce.evaluation.results import Results, check_results

_THRESHOLDS = IOU_THRESHOLDS[:, None]  # (T, 1)


@dataclass(frozen=True, kw_only=True)
class Matches:
    """D detections, sorted by class, then best score first, and what they found at each of T = 10 IoU thresholds.

    Pictures are numbered 0..N-1 in ascending order of their ids, objects by their row in the data set. `found` is the
    row of the object that a detection found, -1 where it found none; a detection that found a crowd is neither right
    nor wrong (`ignored`).
    """

    num_pictures: int
    class_names: tuple[str, ...]  # C
    rows: NDArray[np.int64]  # (D,) in the results
    pictures: NDArray[np.int64]  # (D,)
    labels: NDArray[np.int64]  # (D,) ascending
    scores: NDArray[np.float64]  # (D,)
    found: NDArray[np.int64]  # (T, D)
    ignored: NDArray[np.bool_]  # (T, D)
    object_pictures: NDArray[np.int64]  # (M,) of the objects that are no crowd
    object_labels: NDArray[np.int64]  # (M,)

    @property
    def right(self) -> NDArray[np.bool_]:
        """(T, D) detections that found an object."""
        return (self.found >= 0) & ~self.ignored


def match(dataset: Dataset, results: Results) -> Matches:
    """Gives each detection at most one object of its class and picture, better scores choosing first."""
    check_results(results, dataset)
    picture_order = np.argsort(dataset.image_ids, kind="stable")  # rank -> index in the data set
    pictures = np.searchsorted(dataset.image_ids, results.image_ids, sorter=picture_order)
    order = _best_of_each(pictures, results.labels, results.scores)
    found = np.full((len(IOU_THRESHOLDS), len(order)), -1, np.int64)
    for begin, end in runs_of_equal(pictures[order] * len(dataset.class_names) + results.labels[order]):
        rows = order[begin:end]
        objects = _rows_of(dataset, int(picture_order[pictures[rows[0]]]), int(results.labels[rows[0]]))
        if objects.size:
            found[:, begin:end] = _match_pair(results.boxes_xywh[rows], dataset, objects)
    ignored = np.where(found >= 0, dataset.crowd[found] if dataset.crowd.size else False, False)
    final = np.lexsort((-results.scores[order], results.labels[order]))  # stable: ties by picture, then as given
    ranks = np.empty_like(picture_order)
    ranks[picture_order] = np.arange(len(picture_order))
    counted = ~dataset.crowd
    return Matches(
        num_pictures=len(dataset),
        class_names=dataset.class_names,
        rows=order[final],
        pictures=pictures[order][final],
        labels=results.labels[order][final],
        scores=results.scores[order][final],
        found=found[:, final],
        ignored=ignored[:, final],
        object_pictures=np.repeat(ranks, np.diff(dataset.box_offsets))[counted],
        object_labels=dataset.labels[counted],
    )


def _best_of_each(
    pictures: NDArray[np.int64], labels: NDArray[np.int64], scores: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Rows sorted by picture, class and falling score, without those after the 100th of their picture and class."""
    order = np.lexsort((-scores, labels, pictures))
    keep = np.ones(len(order), np.bool_)
    same_pair = (np.diff(pictures[order]) == 0) & (np.diff(labels[order]) == 0)
    starts = np.flatnonzero(np.concatenate([[True], ~same_pair])) if len(order) else np.zeros(0, np.int64)
    places = np.arange(len(order)) - np.repeat(starts, np.diff([*starts, len(order)]))
    keep = places < MAX_DETECTIONS[-1]
    return np.asarray(order[keep], dtype=np.int64)


def runs_of_equal(values: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Begin and end of each run of equal neighbours."""
    if values.size:
        edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
        yield from pairwise(edges)


def _rows_of(dataset: Dataset, picture: int, label: int) -> NDArray[np.int64]:
    """The picture's boxes of one class, crowds last, as pycocotools sorts them."""
    boxes = dataset.rows(picture)
    rows = np.flatnonzero(dataset.labels[boxes] == label) + boxes.start
    return np.asarray(rows[np.argsort(dataset.crowd[rows], kind="stable")])


def _match_pair(boxes_xywh: NDArray[np.float64], dataset: Dataset, objects: NDArray[np.int64]) -> NDArray[np.int64]:
    """(T, D) rows of the objects found by the D detections, best first, of one picture and class."""
    crowd = dataset.crowd[objects]
    ious = coco_iou(boxes_xywh, xyxy_to_xywh(dataset.boxes_xyxy[objects]), crowd)  # (D, G)
    close = ious >= IOU_THRESHOLDS[0]
    columns = _match_apart(ious) if not crowd.any() and (close.sum(axis=1) < 2).all() else _match_in_turn(ious, crowd)
    return np.where(columns >= 0, objects[columns], -1)


def _match_apart(ious: NDArray[np.float64]) -> NDArray[np.int64]:
    """(D, G) -> (T, D) columns where no detection can choose between objects: the first that fits has the object."""
    columns = np.full((len(IOU_THRESHOLDS), len(ious)), -1, np.int64)
    fits = ious >= _THRESHOLDS[:, :, None]  # (T, D, G)
    threshold, column = np.nonzero(fits.any(axis=1))
    columns[threshold, fits.argmax(axis=1)[threshold, column]] = column
    return columns


def _match_in_turn(ious: NDArray[np.float64], crowd: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(D, G), (G,) crowds last -> (T, D) columns: each detection in turn takes the closest object that is left."""
    columns = np.full((len(IOU_THRESHOLDS), len(ious)), -1, np.int64)
    num_single = int((~crowd).sum())
    free = np.ones((len(columns), len(crowd)), np.bool_)  # (T, G)
    for row in np.flatnonzero((ious >= IOU_THRESHOLDS[0]).any(axis=1)):
        possible = free & (ious[row] >= _THRESHOLDS)  # (T, G)
        chosen = _last_best(np.where(possible[:, :num_single], ious[row, :num_single], -1.0))
        taken = np.flatnonzero(chosen >= 0)
        free[taken, chosen[taken]] = False
        # A crowd only where no single object is left; it can be found any number of times.
        crowds = _last_best(np.where(possible[:, num_single:], ious[row, num_single:], -1.0))
        columns[:, row] = np.where((chosen < 0) & (crowds >= 0), crowds + num_single, chosen)
    return columns


def _last_best(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """(T, G) -> (T,) column of the largest value, of equals the last; -1 where none is above -1."""
    if values.shape[1] == 0:
        return np.full(len(values), -1, np.int64)
    columns = values.shape[1] - 1 - values[:, ::-1].argmax(axis=1)
    return np.where(values.max(axis=1) > -1, columns, -1)


def coco_iou(boxes_xywh: Floats, objects_xywh: Floats, crowd: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(D, 4), (G, 4), (G,) -> (D, G); against a crowd, the part of the detection that lies inside it.

    Source: pycocotools `maskApi.c`, bbIou, in its order of operations.
    """
    left_top = np.maximum(boxes_xywh[:, None, :2], objects_xywh[None, :, :2])
    right_bottom = np.minimum(
        boxes_xywh[:, None, :2] + boxes_xywh[:, None, 2:], objects_xywh[None, :, :2] + objects_xywh[None, :, 2:]
    )
    overlap = np.maximum(right_bottom - left_top, 0).prod(axis=2)  # (D, G)
    areas = (boxes_xywh[:, 2] * boxes_xywh[:, 3])[:, None]
    union = np.where(crowd, areas, areas + objects_xywh[:, 2] * objects_xywh[:, 3] - overlap)
    return np.asarray(np.divide(overlap, union, out=np.zeros_like(overlap), where=overlap > 0))
