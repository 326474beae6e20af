"""Anchors fitted to a data set: k-means with the IoU of sizes; and measures of how well anchors fit objects.

Source: Redmon & Farhadi 2017 (YOLO9000), section 2, "dimension clusters"; with medians instead of means, so that a few
wrongly large labels have no effect.
"""

import numpy as np
from numpy.typing import NDArray

from lookonce.data.dataset import Dataset

Sizes = NDArray[np.float64]

RESTARTS = 20
ITERATIONS = 50
# More sizes do not change six anchors noticeably, and cost time.
MOST_SIZES = 20_000
# In the Ultralytics dialect a box is at most (2 sigmoid)**2 < 4 times its anchor, and a box below a quarter of it
# trains badly; YOLOv5 uses the same ratio to decide which anchors match an object.
MOST_STRETCH = 4.0
# Objects for an anchor with sides under half a stride can share a cell, which predicts one object per anchor only.
FLOOR_PER_STRIDE = 0.5
ANCHOR_STRIDES = np.array([16.0, 16.0, 16.0, 32.0, 32.0, 32.0])  # of six anchors, small ones first


def size_overlaps(sizes_a: Sizes, sizes_b: Sizes) -> Sizes:
    """(N, 2), (A, 2) widths and heights -> (N, A) IoU of boxes with the same centre."""
    overlap = np.minimum(sizes_a[:, None], sizes_b[None]).prod(-1)
    return np.asarray(overlap / (sizes_a.prod(1)[:, None] + sizes_b.prod(1)[None] - overlap))


def mean_best_overlap(sizes_wh: Sizes, anchors_wh: Sizes) -> float:
    """Fit of the anchors, 0..1: mean over the sizes of the IoU with the best anchor."""
    return float(size_overlaps(sizes_wh, anchors_wh).max(1).mean())


def within_reach(sizes_wh: Sizes, anchors_wh: Sizes) -> NDArray[np.bool_]:
    """(N, 2), (A, 2) -> (N, A): whether both sides are within a factor of MOST_STRETCH of the anchor's sides."""
    ratios = sizes_wh[:, None] / anchors_wh[None]
    return np.asarray(np.maximum(ratios, 1 / ratios).max(-1) < MOST_STRETCH)


def best_possible_recall(sizes_wh: Sizes, anchors_wh: Sizes) -> float:
    """Fraction of the sizes, 0..1, that at least one anchor can match (`within_reach`)."""
    return float(within_reach(sizes_wh, anchors_wh).any(1).mean())


def crowded_share(boxes_xyxy: Sizes, image_rows: NDArray[np.int64], anchors_wh: Sizes, strides: Sizes) -> float:
    """Fraction of the objects, 0..1, whose cell and best anchor another object of the same image already occupies.

    boxes_xyxy (N, 4) pixels of the network's input; image_rows (N,) index of each box's image; strides (A,) of the
    anchors' heads. Objects with the same image, cell and anchor compete for one prediction.
    """
    best = size_overlaps(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], anchors_wh).argmax(1)
    centers = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    cells = (centers / strides[best][:, None]).astype(np.int64)
    slots = np.column_stack([image_rows, best, cells])
    return float(1 - len(np.unique(slots, axis=0)) / max(len(slots), 1))


def with_floor(anchors_wh: Sizes, strides: Sizes) -> Sizes:
    """(A, 2) anchors, sides raised to FLOOR_PER_STRIDE * their head's stride (A,); sorted by stride, then area."""
    raised = np.maximum(anchors_wh, FLOOR_PER_STRIDE * strides[:, None])
    return np.asarray(raised[np.lexsort([raised.prod(1), strides])])


def fit_anchors(sizes_wh: Sizes, num_anchors: int = 6, *, seed: int = 0, restarts: int = RESTARTS) -> Sizes:
    """(N, 2) widths and heights > 0 -> (num_anchors, 2) anchors, smallest area first; the best of `restarts` fits.

    A pure function of its arguments. With fewer distinct sizes than anchors, some anchors are equal.
    """
    generator = np.random.default_rng([seed, num_anchors])
    if len(sizes_wh) > MOST_SIZES:
        sizes_wh = sizes_wh[generator.choice(len(sizes_wh), MOST_SIZES, replace=False)]
    fits = [_k_means(sizes_wh, num_anchors, generator) for _ in range(restarts)]
    best = max(fits, key=lambda anchors: mean_best_overlap(sizes_wh, anchors))
    return np.asarray(best[best.prod(1).argsort(kind="stable")])


def _k_means(sizes_wh: Sizes, num_anchors: int, generator: np.random.Generator) -> Sizes:
    anchors = sizes_wh[generator.choice(len(sizes_wh), num_anchors, replace=len(sizes_wh) < num_anchors)]
    for _ in range(ITERATIONS):
        nearest = size_overlaps(sizes_wh, anchors).argmax(1)
        groups = [sizes_wh[nearest == index] for index in range(num_anchors)]
        moved = np.stack([np.median(g, 0) if len(g) else old for g, old in zip(groups, anchors, strict=True)])
        if np.array_equal(moved, anchors):
            break
        anchors = moved
    return np.asarray(anchors)


def boxes_at_input(
    dataset: Dataset, size_hw: tuple[int, int], resize_mode: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(N, 4) xyxy of the boxes without crowd, in pixels of the network input, and (N,) rows of their images.

    size_hw: height and width of the input in pixels. resize_mode: letterbox (centred) or stretch.
    """
    boxes, rows = all_boxes_at_input(dataset, size_hw, resize_mode)
    return boxes[~dataset.crowd], rows[~dataset.crowd]


def all_boxes_at_input(
    dataset: Dataset, size_hw: tuple[int, int], resize_mode: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The same of all boxes, in the order of the data set, crowd regions among them."""
    scales = _scales(dataset, size_hw, resize_mode)
    offsets = (np.array(size_hw[::-1]) - dataset.image_sizes_wh * scales) / 2
    rows = dataset.image_rows
    return dataset.boxes_xyxy * np.tile(scales, 2)[rows] + np.tile(offsets, 2)[rows], rows


def box_sizes_at_input(dataset: Dataset, size_hw: tuple[int, int], resize_mode: str) -> NDArray[np.float64]:
    """(N, 2) widths and heights of the boxes without crowd, in pixels of an input of that height and width."""
    per_box = _scales(dataset, size_hw, resize_mode)[dataset.image_rows]
    return np.asarray(((dataset.boxes_xyxy[:, 2:] - dataset.boxes_xyxy[:, :2]) * per_box)[~dataset.crowd])


def _scales(dataset: Dataset, size_hw: tuple[int, int], resize_mode: str) -> NDArray[np.float64]:
    """(images, 2) scale factors of width and height."""
    known_wh = np.maximum(dataset.image_sizes_wh, 1)  # the size of a damaged image is unknown, (0, 0)
    scales = np.array(size_hw[::-1]) / known_wh
    if resize_mode == "letterbox":
        return np.broadcast_to(scales.min(1, keepdims=True), scales.shape)
    return np.asarray(scales)
