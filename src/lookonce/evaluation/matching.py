"""COCO's matching of detections with ground truth, kept for each detection so that it can be counted repeatedly.

Source: pycocotools `cocoeval.py`, evaluateImg, with all areas and the 100 best detections of each image and class.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import Floats, xyxy_to_xywh
from lookonce.data.dataset import Dataset
from lookonce.evaluation.coco import IOU_THRESHOLDS, MAX_DETECTIONS, ascending_places
from lookonce.evaluation.results import Results, check_results

_THRESHOLDS = IOU_THRESHOLDS[:, None]  # (T, 1)


@dataclass(frozen=True, kw_only=True)
class Matches:
    """D detections, sorted by class, then highest score first, and their objects at each of T = 10 IoU thresholds.

    Images are numbered 0..N-1 in ascending order of their ids, objects by their row in the data set. `found` is the row
    of the object that a detection matches, -1 for none. A detection that matches a crowd is `ignored`: neither a true
    nor a false positive.
    """

    num_images: int
    class_names: tuple[str, ...]  # C
    rows: NDArray[np.int64]  # (D,) in the results
    images: NDArray[np.int64]  # (D,)
    labels: NDArray[np.int64]  # (D,) ascending
    scores: NDArray[np.float64]  # (D,)
    found: NDArray[np.int64]  # (T, D)
    ignored: NDArray[np.bool_]  # (T, D)
    object_images: NDArray[np.int64]  # (M,) of the objects that are not crowds
    object_labels: NDArray[np.int64]  # (M,)

    @property
    def right(self) -> NDArray[np.bool_]:
        """(T, D) true positives: detections that match an object."""
        return (self.found >= 0) & ~self.ignored


def match(dataset: Dataset, results: Results) -> Matches:
    """Assigns each detection at most one object of its class and image; higher scores choose first."""
    check_results(results, dataset)
    images = image_rows_of_detections(dataset, results)
    order = _best_of_each(images, results.labels, results.scores)
    keys = images[order] * len(dataset.class_names) + results.labels[order]
    object_images = image_rows_of_boxes(dataset)
    object_keys = object_images * len(dataset.class_names) + dataset.labels
    objects = np.lexsort((dataset.crowd, object_keys))  # crowds last, as pycocotools sorts them
    close = close_pairs(results.boxes_xywh[order], keys, dataset, objects, object_keys[objects])
    found = _match_close(close, keys, dataset.crowd)
    ignored = np.where(found >= 0, dataset.crowd[found] if dataset.crowd.size else False, False)
    final = np.lexsort((-results.scores[order], results.labels[order]))  # stable: ties by image, then as given
    counted = ~dataset.crowd
    return Matches(
        num_images=len(dataset),
        class_names=dataset.class_names,
        rows=order[final],
        images=images[order][final],
        labels=results.labels[order][final],
        scores=results.scores[order][final],
        found=found[:, final],
        ignored=ignored[:, final],
        object_images=object_images[counted],
        object_labels=dataset.labels[counted],
    )


def _best_of_each(
    images: NDArray[np.int64], labels: NDArray[np.int64], scores: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Rows sorted by image, class and descending score, without those after the 100th of an image and class."""
    order = np.lexsort((-scores, labels, images))
    same_pair = (np.diff(images[order]) == 0) & (np.diff(labels[order]) == 0)
    starts = np.flatnonzero(np.concatenate([[True], ~same_pair])) if len(order) else np.zeros(0, np.int64)
    places = np.arange(len(order)) - np.repeat(starts, np.diff([*starts, len(order)]))
    return np.asarray(order[places < MAX_DETECTIONS[-1]], dtype=np.int64)


def runs_of_equal(values: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Begin and end (exclusive) of each run of equal values."""
    if values.size:
        edges = [0, *(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
        yield from pairwise(edges)


def image_rows_of_detections(dataset: Dataset, results: Results) -> NDArray[np.int64]:
    """(D,) for each detection, the position of its image in the ascending order of the ids."""
    return np.asarray(np.searchsorted(np.sort(dataset.image_ids), results.image_ids), np.int64)


def image_rows_of_boxes(dataset: Dataset) -> NDArray[np.int64]:
    """(M,) for each box, the position of its image in the ascending order of the ids."""
    return ascending_places(dataset.image_ids)[dataset.image_rows]


@dataclass(frozen=True, kw_only=True)
class ClosePairs:
    """P pairs of a detection and an object above an IoU threshold, ordered by detection, then by object as given."""

    detections: NDArray[np.int64]  # (P,) ascending
    objects: NDArray[np.int64]  # (P,) rows in the data set
    ious: NDArray[np.float64]  # (P,)


PAIRS_AT_ONCE = 500_000


def close_pairs(
    boxes_xywh: NDArray[np.float64],
    keys: NDArray[np.int64],
    dataset: Dataset,
    objects: NDArray[np.int64],
    object_keys: NDArray[np.int64],
    *,
    iou_threshold: float = IOU_THRESHOLDS[0],
) -> ClosePairs:
    """Pairs of D detections and G objects with the same key and an IoU of at least iou_threshold.

    boxes_xywh (D, 4) with keys (D,); objects (G,) rows in the data set with object_keys (G,), ascending.
    """
    begins, ends = (np.searchsorted(object_keys, keys, side=side) for side in ("left", "right"))
    truth_xywh = xyxy_to_xywh(dataset.boxes_xyxy)
    before = np.concatenate([[0], np.cumsum(ends - begins)])  # (D + 1,) pairs before each detection
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
    first = 0
    while first < len(keys):
        last = max(int(np.searchsorted(before, before[first] + PAIRS_AT_ONCE, side="right")) - 1, first + 1)
        counts = np.diff(before[first : last + 1])
        rows = np.repeat(np.arange(first, last), counts)
        places = np.arange(len(rows)) - np.repeat(before[first:last] - before[first] - begins[first:last], counts)
        pairs = objects[places]
        ious = elementwise_iou(boxes_xywh[rows], truth_xywh[pairs], dataset.crowd[pairs])
        close = ious >= iou_threshold
        parts.append((rows[close], pairs[close], ious[close]))
        first = last
    empty = np.zeros(0, np.int64)
    columns = list(zip(*parts, strict=True)) or [(empty,), (empty,), (np.zeros(0),)]
    return ClosePairs(
        detections=np.concatenate(columns[0]), objects=np.concatenate(columns[1]), ious=np.concatenate(columns[2])
    )


def overlapping_pairs(dataset: Dataset, results: Results, matches: Matches, *, iou_threshold: float) -> ClosePairs:
    """Pairs of detections, numbered as in the matches, with objects of any class in their image, without crowds."""
    object_images = image_rows_of_boxes(dataset)
    objects = np.flatnonzero(~dataset.crowd)
    objects = objects[np.argsort(object_images[objects], kind="stable")]
    return close_pairs(
        results.boxes_xywh[matches.rows],
        matches.images,
        dataset,
        objects,
        object_images[objects],
        iou_threshold=iou_threshold,
    )


def _match_close(close: ClosePairs, keys: NDArray[np.int64], crowd: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(T, D) rows of the objects that D detections match; those of an image and class come highest score first."""
    found = np.full((len(IOU_THRESHOLDS), len(keys)), -1, np.int64)
    # If a detection overlaps several objects, or a crowd, its image and class are matched one detection at a time.
    contested = crowd[close.objects]
    contested[1:] |= close.detections[1:] == close.detections[:-1]
    run = np.cumsum(np.diff(keys[close.detections], prepend=-1) != 0)  # (P,) 1, 1, 2 ...
    in_turn = np.isin(run, run[contested])
    _match_apart(found, close, ~in_turn)
    places = np.flatnonzero(in_turn)
    for begin, end in runs_of_equal(run[places]):
        _match_run(found, close, places[begin:end], crowd)
    return found


def _match_apart(found: NDArray[np.int64], close: ClosePairs, chosen: NDArray[np.bool_]) -> None:
    """Where every detection overlaps one object only, the first detection above the threshold gets the object."""
    for row, threshold in enumerate(IOU_THRESHOLDS):
        fits = np.flatnonzero(chosen & (close.ious >= threshold))
        _, first = np.unique(close.objects[fits], return_index=True)
        winners = fits[first]
        found[row, close.detections[winners]] = close.objects[winners]


def _match_run(
    found: NDArray[np.int64], close: ClosePairs, places: NDArray[np.int64], crowd: NDArray[np.bool_]
) -> None:
    """Matches one image and class; `places` are the indices of its close pairs."""
    detections, rows = np.unique(close.detections[places], return_inverse=True)
    objects = np.unique(close.objects[places])
    objects = objects[np.argsort(crowd[objects], kind="stable")]
    ious = np.zeros((len(detections), len(objects)))
    ious[rows, (close.objects[places][:, None] == objects).argmax(axis=1)] = close.ious[places]
    columns = match_in_turn(ious, crowd[objects])
    found[:, detections] = np.where(columns >= 0, objects[columns], -1)


def match_in_turn(ious: NDArray[np.floating], crowd: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(D, G), (G,) crowds last -> (T, D) columns: each detection in turn takes the free object with the highest IoU."""
    columns = np.full((len(IOU_THRESHOLDS), len(ious)), -1, np.int64)
    num_single = int((~crowd).sum())
    free = np.ones((len(columns), len(crowd)), np.bool_)  # (T, G)
    for row in range(len(ious)):
        possible = free & (ious[row] >= _THRESHOLDS)  # (T, G)
        chosen = _last_best(np.where(possible[:, :num_single], ious[row, :num_single], -1.0))
        taken = np.flatnonzero(chosen >= 0)
        free[taken, chosen[taken]] = False
        # A detection matches a crowd only if no single object is left. Any number of detections can match a crowd.
        crowds = _last_best(np.where(possible[:, num_single:], ious[row, num_single:], -1.0))
        columns[:, row] = np.where((chosen < 0) & (crowds >= 0), crowds + num_single, chosen)
    return columns


def _last_best(values: NDArray[np.floating]) -> NDArray[np.int64]:
    """(T, G) -> (T,) column of the largest value, the last of equal ones; -1 where none is above -1."""
    if values.shape[1] == 0:
        return np.full(len(values), -1, np.int64)
    columns = values.shape[1] - 1 - values[:, ::-1].argmax(axis=1)
    return np.where(values.max(axis=1) > -1, columns, -1)


def elementwise_iou(boxes_xywh: Floats, objects_xywh: Floats, crowd: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(..., 4), (..., 4), (...) -> (...): IoU of each box with its object, against a crowd the fraction of the box that
    lies inside it; shapes broadcast.

    Source: pycocotools `maskApi.c`, bbIou, in its order of operations.
    """
    left_top = np.maximum(boxes_xywh[..., :2], objects_xywh[..., :2])
    right_bottom = np.minimum(boxes_xywh[..., :2] + boxes_xywh[..., 2:], objects_xywh[..., :2] + objects_xywh[..., 2:])
    overlap = np.maximum(right_bottom - left_top, 0).prod(axis=-1)
    areas = boxes_xywh[..., 2] * boxes_xywh[..., 3]
    union = np.where(crowd, areas, areas + objects_xywh[..., 2] * objects_xywh[..., 3] - overlap)
    return np.asarray(np.divide(overlap, union, out=np.zeros_like(overlap), where=overlap > 0))
