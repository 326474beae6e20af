"""Fitted anchors: three heaps of sizes are found, the same each time."""

import numpy as np
import pytest

from lookonce.data.anchors import (
    best_possible_recall,
    crowded_share,
    fit_anchors,
    mean_best_overlap,
    size_overlaps,
    with_floor,
    within_reach,
)


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


def test_an_anchor_answers_for_sides_under_four_times_its_own_either_way():
    sizes = np.array([[10.0, 10.0], [39.9, 10.0], [40.0, 10.0], [2.6, 10.0], [2.5, 10.0]])
    anchor = np.array([[10.0, 10.0]])
    assert within_reach(sizes, anchor)[:, 0].tolist() == [True, True, False, True, False]
    assert best_possible_recall(sizes, anchor) == 0.6
    assert best_possible_recall(sizes, np.array([[10.0, 10.0], [60.0, 10.0], [1.0, 10.0]])) == 1.0


def test_objects_of_one_cell_and_anchor_are_crowded():
    """Stride 16: centres (8, 8) and (12, 12) lie in cell (0, 0), (20, 8) in (1, 0); the last is of another picture."""
    centers = np.array([[8.0, 8], [12, 12], [20, 8], [8, 8]])
    boxes = np.concatenate([centers - 5, centers + 5], axis=1)
    anchors, strides = np.array([[10.0, 10.0], [100.0, 100.0]]), np.array([16.0, 32.0])
    assert crowded_share(boxes, np.array([0, 0, 0, 1]), anchors, strides) == 0.25
    wide = boxes.copy()
    wide[1] += [-45, -45, 45, 45]  # 100 x 100: the other anchor, which has its own cells
    assert crowded_share(wide, np.array([0, 0, 0, 1]), anchors, strides) == 0


def test_anchors_have_sides_of_at_least_half_their_stride():
    anchors = np.array([[3.0, 30.0], [5, 5], [40, 40], [90, 10]])
    raised = with_floor(anchors, np.array([16.0, 16, 32, 32]))
    assert raised.tolist() == [[8, 8], [8, 30], [90, 16], [40, 40]]
