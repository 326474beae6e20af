"""Anchors fitted to a data set: k-means on the overlap of sizes.

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


def size_overlaps(sizes_a: Sizes, sizes_b: Sizes) -> Sizes:
    """(N, 2), (A, 2) widths and heights -> (N, A) IoU of boxes that share their centre."""
    overlap = np.minimum(sizes_a[:, None], sizes_b[None]).prod(-1)
    return np.asarray(overlap / (sizes_a.prod(1)[:, None] + sizes_b.prod(1)[None] - overlap))


def mean_best_overlap(sizes_wh: Sizes, anchors_wh: Sizes) -> float:
    """How well the anchors cover the sizes, 0..1: the mean over the sizes of the best anchor's IoU."""
    return float(size_overlaps(sizes_wh, anchors_wh).max(1).mean())


def fit_anchors(sizes_wh: Sizes, num_anchors: int = 6, *, seed: int = 0) -> Sizes:
    """(N, 2) widths and heights, all over 0 -> (num_anchors, 2), smallest area first; the best of several starts.

    A pure function of its arguments. With fewer distinct sizes than anchors some anchors are equal.
    """
    generator = np.random.default_rng([seed, num_anchors])
    if len(sizes_wh) > MOST_SIZES:
        sizes_wh = sizes_wh[generator.choice(len(sizes_wh), MOST_SIZES, replace=False)]
    fits = [_k_means(sizes_wh, num_anchors, generator) for _ in range(RESTARTS)]
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
