"""AP50 by object size, position in the image, overlap with other objects, and crowding.

Objects outside a group count neither as missed nor as matched. A false positive counts in the group that its own box
belongs to, as in COCO's areas, so every false positive counts in exactly one group of each grouping.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import pairwise_iou_xyxy, xywh_to_xyxy
from lookonce.data.dataset import Dataset
from lookonce.evaluation.error_types import average_precision
from lookonce.evaluation.matching import ClosePairs, Matches, image_rows_of_boxes
from lookonce.evaluation.results import Results

BORDER_PIXELS = 2.0
LEAST_OVERLAP = 0.1


@dataclass(frozen=True, kw_only=True)
class GroupScore:
    """num_objects excludes crowds. AP50 and recall at IoU 0.5: means over the classes, 0..1; -1 without objects."""

    name: str
    num_objects: int
    AP50: float
    recall: float


@dataclass(frozen=True, kw_only=True)
class Boxes:
    """K detections or objects: boxes_xyxy (K, 4) and areas (K,) in pixels, size of the image (K, 2), largest IoU with
    an object other than its own (K,), number of objects in the image (K,)."""

    boxes_xyxy: NDArray[np.float64]
    areas: NDArray[np.float64]
    image_wh: NDArray[np.float64]
    neighbour_iou: NDArray[np.float64]
    image_objects: NDArray[np.int64]


@dataclass(frozen=True)
class Grouping:
    """title: heading in the report. names: of the groups. of: boxes -> (K,) index into names of each box's group."""

    title: str
    names: tuple[str, ...]
    of: Callable[[Boxes], NDArray[np.int64]]


def _by_position(boxes: Boxes) -> NDArray[np.int64]:
    corners, size = boxes.boxes_xyxy, boxes.image_wh
    cut = (corners[:, :2] <= BORDER_PIXELS).any(axis=1) | (corners[:, 2:] >= size - BORDER_PIXELS).any(axis=1)
    centers = (corners[:, :2] + corners[:, 2:]) / 2 / size
    middle = (np.abs(centers - 0.5) <= 1 / 6).all(axis=1)
    return np.where(cut, 2, np.where(middle, 0, 1))


GROUPINGS: dict[str, Grouping] = {
    "size": Grouping(
        "Size",
        ("under 16 × 16 pixels", "up to 32 × 32", "up to 96 × 96", "larger"),
        lambda boxes: np.searchsorted([16.0**2, 32.0**2, 96.0**2], boxes.areas, side="right"),
    ),
    "position": Grouping(
        "Position in the image", ("middle third", "outside the middle", "at the border"), _by_position
    ),
    "neighbours": Grouping(
        "Overlap with another object",
        ("IoU under 0.1", "0.1 to 0.3", "over 0.3"),
        lambda boxes: np.searchsorted([LEAST_OVERLAP, 0.3], boxes.neighbour_iou, side="right"),
    ),
    "crowding": Grouping(
        "Objects per image",
        ("up to 3", "4 to 10", "11 and more"),
        lambda boxes: np.searchsorted([4, 11], boxes.image_objects, side="right"),
    ),
}


def score_groups(
    dataset: Dataset, results: Results, matches: Matches, overlaps: ClosePairs
) -> dict[str, list[GroupScore]]:
    """Scores of each group, by the names of GROUPINGS. overlaps: pairs with an IoU of at least LEAST_OVERLAP."""
    objects, detections = _objects(dataset), _detections(dataset, results, matches, overlaps)
    return {
        key: [
            _score(name, dataset, matches, objects_in == number, detections_in == number)
            for number, name in enumerate(grouping.names)
        ]
        for key, grouping in GROUPINGS.items()
        for objects_in, detections_in in [(grouping.of(objects), grouping.of(detections))]
    }


def _score(
    name: str,
    dataset: Dataset,
    matches: Matches,
    objects: NDArray[np.bool_],
    detections: NDArray[np.bool_],
) -> GroupScore:
    """objects (M,), detections (D,): whether each belongs to the group."""
    found, right = matches.found[0], matches.right[0]
    own = right & objects[found] if len(objects) else right
    keep = own | (~right & ~matches.ignored[0] & detections)
    labels, own = matches.labels[keep], own[keep]
    counts = np.bincount(dataset.labels[objects & ~dataset.crowd], minlength=len(dataset.class_names))
    edges = np.searchsorted(labels, np.arange(len(counts) + 1))
    of_classes = [(own[edges[label] : edges[label + 1]], int(counts[label])) for label in np.flatnonzero(counts)]
    return GroupScore(
        name=name,
        num_objects=int(counts.sum()),
        AP50=float(np.mean([average_precision(*one) for one in of_classes])) if of_classes else -1.0,
        recall=float(np.mean([true.sum() / number for true, number in of_classes])) if of_classes else -1.0,
    )


def _objects(dataset: Dataset) -> Boxes:
    images = dataset.image_rows
    single = np.bincount(images[~dataset.crowd], minlength=len(dataset))
    return Boxes(
        boxes_xyxy=dataset.boxes_xyxy,
        areas=dataset.areas,
        image_wh=dataset.image_sizes_wh[images].astype(np.float64),
        neighbour_iou=_largest_overlap_with_another(dataset),
        image_objects=single[images],
    )


def _largest_overlap_with_another(dataset: Dataset) -> NDArray[np.float64]:
    """(M,) largest IoU with another object of the image, without crowds; 0 for a single object."""
    largest = np.zeros(len(dataset.labels))
    for image in np.flatnonzero(dataset.box_counts > 1).tolist():
        boxes = dataset.rows(image)
        rows = np.flatnonzero(~dataset.crowd[boxes]) + boxes.start
        if len(rows) > 1:
            corners = dataset.boxes_xyxy[rows]
            ious = np.array(pairwise_iou_xyxy(corners, corners))
            np.fill_diagonal(ious, 0)
            largest[rows] = ious.max(axis=1)
    return largest


def _detections(dataset: Dataset, results: Results, matches: Matches, overlaps: ClosePairs) -> Boxes:
    boxes_xywh = results.boxes_xywh[matches.rows]
    order = np.argsort(dataset.image_ids, kind="stable")
    counts = np.bincount(image_rows_of_boxes(dataset)[~dataset.crowd], minlength=len(dataset))
    return Boxes(
        boxes_xyxy=np.asarray(xywh_to_xyxy(boxes_xywh), np.float64),
        areas=boxes_xywh[:, 2] * boxes_xywh[:, 3],
        image_wh=dataset.image_sizes_wh[order][matches.images].astype(np.float64),
        neighbour_iou=_second_overlap(overlaps, len(matches.rows)),
        image_objects=counts[matches.images],
    )


def _second_overlap(overlaps: ClosePairs, num_detections: int) -> NDArray[np.float64]:
    """(D,) the second largest IoU with an object; 0 where fewer than two overlap."""
    second = np.zeros(num_detections)
    order = np.lexsort((-overlaps.ious, overlaps.detections))
    detections = overlaps.detections[order]
    places = np.flatnonzero((np.diff(detections) == 0) & (np.diff(detections, prepend=-1)[:-1] != 0)) + 1
    second[detections[places]] = overlaps.ious[order][places]
    return second
