"""Suppression against a plain loop, and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookonce.boxes import pairwise_iou_xyxy
from lookonce.model.nms import BLOCK, select_detections


def select(boxes, scores, **changes):
    options = {"score_threshold": 0.1, "iou_threshold": 0.5, "max_detections": 100} | changes
    return select_detections(np.array(boxes, np.float32).reshape(-1, 4), np.array(scores, np.float32), **options)


def test_the_better_of_two_boxes_on_one_object_survives():
    found = select([[0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30]], [[0.6], [0.9], [0.3]])
    assert found.scores.tolist() == [np.float32(0.9), np.float32(0.3)]
    assert found.boxes_xyxy[0].tolist() == [0, 0, 10, 9]


def test_classes_do_not_suppress_each_other():
    found = select([[0, 0, 10, 10], [0, 0, 10, 10]], [[0.9, 0.0], [0.0, 0.8]])
    assert found.labels.tolist() == [0, 1]


def test_one_box_may_be_of_two_classes():
    assert select([[0, 0, 10, 10]], [[0.7, 0.8]]).labels.tolist() == [1, 0]


def test_without_multi_label_a_box_is_its_best_class_alone():
    # The boxes overlap with IoU 0.9. Box 0 wins both classes where it may have both; where it is of class 0 alone, it
    # does not stand in the way of box 1, which is of class 1 alone.
    boxes, scores = [[0, 0, 10, 10], [0, 0, 10, 9]], [[0.875, 0.75], [0.375, 0.625]]
    both = select(boxes, scores)
    single = select(boxes, scores, multi_label=False)
    assert list(zip(both.labels.tolist(), both.scores.tolist(), strict=True)) == [(0, 0.875), (1, 0.75)]
    assert list(zip(single.labels.tolist(), single.scores.tolist(), strict=True)) == [(0, 0.875), (1, 0.625)]
    assert single.boxes_xyxy[1].tolist() == [0, 0, 10, 9]


def test_of_equal_classes_a_box_is_the_first_and_under_the_threshold_none():
    assert select([[0, 0, 10, 10]], [[0.2, 0.7, 0.7]], multi_label=False).labels.tolist() == [1]
    assert len(select([[0, 0, 10, 10]], [[0.1, 0.05]], multi_label=False)) == 0
    assert len(select(np.zeros((0, 4)), np.zeros((0, 3)), multi_label=False)) == 0


def test_a_score_at_the_threshold_is_no_candidate():
    assert len(select([[0, 0, 1, 1]], [[0.5]], score_threshold=0.5)) == 0


def test_nothing_in_nothing_out():
    assert len(select(np.zeros((0, 4)), np.zeros((0, 3)))) == 0


def test_the_best_candidates_alone_go_on():
    boxes = [[10 * i, 0, 10 * i + 5, 5] for i in range(10)]
    scores = [[0.5 + i / 100] for i in range(10)]
    assert select(boxes, scores, pre_nms_top=3).boxes_xyxy[:, 0].tolist() == [90, 80, 70]
    assert len(select(boxes, scores, max_detections=4)) == 4


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.floats(0.1, 0.9), st.booleans(), st.booleans())
def test_equals_a_plain_loop(seed, count, iou_threshold, multi_label, agnostic):
    rng = np.random.default_rng(seed)
    corner = rng.uniform(0, 50, (count, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 40, (count, 2))], 1).astype(np.float32)
    scores = rng.uniform(0, 1, (count, 2)).astype(np.float32)
    expected = plain_loop(boxes, scores, iou_threshold, multi_label, agnostic)
    found = select(boxes, scores, iou_threshold=iou_threshold, multi_label=multi_label, agnostic=agnostic)
    assert [(label, score) for label, score in zip(found.labels, found.scores, strict=True)] == expected


@pytest.mark.parametrize("agnostic", [False, True])
def test_blocks_of_boxes_equal_a_plain_loop(agnostic):
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 100, (3 * BLOCK, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 40, corner.shape)], 1).astype(np.float32)
    scores = (rng.integers(0, 50, (len(boxes), 2)) / 50).astype(np.float32)  # with ties
    expected = plain_loop(boxes, scores, 0.5, True, agnostic)
    for limit in (20, 1000):
        found = select(boxes, scores, agnostic=agnostic, max_detections=limit)
        assert list(zip(found.labels, found.scores, strict=True)) == expected[:limit]
    assert len(expected) > 2 * 20


def test_a_few_of_many_candidates_are_the_highest_and_the_first_of_equal_ones():
    boxes = [[10 * i, 0, 10 * i + 5, 5] for i in range(20)]
    scores = [[0.5 if i % 2 else 0.75] for i in range(20)]
    found = select(boxes, scores, pre_nms_top=12)
    assert found.boxes_xyxy[:, 0].tolist() == [*range(0, 200, 20), 10, 30]


def plain_loop(boxes, scores, iou_threshold, multi_label, agnostic):
    overlaps = pairwise_iou_xyxy(boxes, boxes)
    candidates = sorted(
        (
            (score, row, label)
            for (row, label), score in np.ndenumerate(scores)
            if score > 0.1 and (multi_label or label == max(range(2), key=lambda other: scores[row, other]))
        ),
        key=lambda c: -c[0],
    )
    kept = []
    for score, row, label in candidates:
        if all((other != label and not agnostic) or overlaps[row, best] <= iou_threshold for _, best, other in kept):
            kept.append((score, row, label))
    return [(label, score) for score, _, label in kept]
