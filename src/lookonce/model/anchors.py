"""Anchors fitted to a data set: k-means on the overlap of sizes; and how well anchors suit objects.

Source: Redmon & Farhadi 2017 (YOLO9000), section 2, "dimension clusters"; medians in place of means, so that a few
mislabelled giants move nothing.
"""

import numpy as np
from numpy.typing import NDArray

Sizes = NDArray[np.float64]

RESTARTS = 20
ITERATIONS = 50
# More sizes than this tell nothing new about six anchors, and cost time.
MOST_SIZES = 20_000
# A box may be up to (2 sigmoid)**2 < 4 times its anchor in the Ultralytics dialect, and learns badly below a quarter
# of it: YOLOv5's rule for an object that an anchor can answer for.
MOST_STRETCH = 4.0
# An anchor with sides under half a stride finds objects of which several lie in one cell, where one alone is found.
FLOOR_PER_STRIDE = 0.5
ANCHOR_STRIDES = np.array([16.0, 16.0, 16.0, 32.0, 32.0, 32.0])  # of six anchors, small ones first


def size_overlaps(sizes_a: Sizes, sizes_b: Sizes) -> Sizes:
    """(N, 2), (A, 2) widths and heights -> (N, A) IoU of boxes that share their centre."""
    overlap = np.minimum(sizes_a[:, None], sizes_b[None]).prod(-1)
    return np.asarray(overlap / (sizes_a.prod(1)[:, None] + sizes_b.prod(1)[None] - overlap))


def mean_best_overlap(sizes_wh: Sizes, anchors_wh: Sizes) -> float:
    """How well the anchors cover the sizes, 0..1: the mean over the sizes of the best anchor's IoU."""
    return float(size_overlaps(sizes_wh, anchors_wh).max(1).mean())


def within_reach(sizes_wh: Sizes, anchors_wh: Sizes) -> NDArray[np.bool_]:
    """(N, 2), (A, 2) -> (N, A): whether neither side differs from the anchor's by MOST_STRETCH or more."""
    ratios = sizes_wh[:, None] / anchors_wh[None]
    return np.asarray(np.maximum(ratios, 1 / ratios).max(-1) < MOST_STRETCH)


def best_possible_recall(sizes_wh: Sizes, anchors_wh: Sizes) -> float:
    """Share of the sizes, 0..1, that at least one of the anchors can answer for."""
    return float(within_reach(sizes_wh, anchors_wh).any(1).mean())


def crowded_share(boxes_xyxy: Sizes, image_rows: NDArray[np.int64], anchors_wh: Sizes, strides: Sizes) -> float:
    """Share of the objects, 0..1, whose cell and best anchor another object of their picture has taken.

    boxes_xyxy (N, 4) pixels of the network's input; image_rows (N,) the picture of each; strides (A,) those of the
    anchors' heads. Objects of the same picture, cell and anchor have to be told apart by one prediction.
    """
    best = size_overlaps(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], anchors_wh).argmax(1)
    centers = (boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2
    cells = (centers / strides[best][:, None]).astype(np.int64)
    places = np.column_stack([image_rows, best, cells])
    return float(1 - len(np.unique(places, axis=0)) / max(len(places), 1))


def with_floor(anchors_wh: Sizes, strides: Sizes) -> Sizes:
    """(A, 2) anchors by stride, then area, their sides at least FLOOR_PER_STRIDE of the strides (A,) of their heads."""
    raised = np.maximum(anchors_wh, FLOOR_PER_STRIDE * strides[:, None])
    return np.asarray(raised[np.lexsort([raised.prod(1), strides])])


def fit_anchors(sizes_wh: Sizes, num_anchors: int = 6, *, seed: int = 0, restarts: int = RESTARTS) -> Sizes:
    """(N, 2) widths and heights, all over 0 -> (num_anchors, 2), smallest area first; the best of several starts.

    A pure function of its arguments. With fewer distinct sizes than anchors some anchors are equal.
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
