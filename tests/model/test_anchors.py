"""Fitted anchors: three heaps of sizes are found, the same each time."""

import numpy as np
import pytest

from lookonce.model.anchors import fit_anchors, mean_best_overlap, size_overlaps


def heaps() -> np.ndarray:
    generator = np.random.default_rng(0)
    middles = np.array([[10.0, 10.0], [50.0, 25.0], [200.0, 300.0]])
    return np.concatenate([middle * generator.uniform(0.95, 1.05, (40, 2)) for middle in middles])


def test_the_middle_of_each_heap_is_found():
    anchors = fit_anchors(heaps(), 3)
    np.testing.assert_allclose(anchors, [[10, 10], [50, 25], [200, 300]], rtol=0.03)
    assert mean_best_overlap(heaps(), anchors) > 0.9


def test_the_same_sizes_give_the_same_anchors():
    np.testing.assert_array_equal(fit_anchors(heaps(), 6), fit_anchors(heaps(), 6))


def test_one_size_alone_is_every_anchor():
    np.testing.assert_array_equal(fit_anchors(np.array([[7.0, 9.0]]), 6), np.full((6, 2), [7.0, 9.0]))


def test_overlap_of_sizes():  # 10 x 20 and 20 x 10 share 10 x 10 of 300
    assert size_overlaps(np.array([[10.0, 20.0]]), np.array([[20.0, 10.0]]))[0, 0] == pytest.approx(1 / 3)
