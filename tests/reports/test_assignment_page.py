"""The sheet of assignments: what it counts and where it puts its marks."""

from dataclasses import replace

import numpy as np
import pytest

from lookonce.data.loader import Batch
from lookonce.reports.assignment_page import (
    COLORS,
    UNANSWERED,
    Head,
    anchor_counts,
    draw_assignment,
    draw_legend,
    unanswered,
)


@pytest.fixture
def batch() -> Batch:
    """Two black pictures of 512: three boxes, of which the second is a crowd; one box."""
    boxes = [[32, 32, 96, 96], [0, 0, 16, 16], [160, 160, 170, 170], [200, 200, 260, 260]]
    return Batch(
        images=np.zeros((2, 512, 512, 3), np.uint8),
        boxes_xyxy=np.array(boxes, np.float32),
        labels=np.zeros(4, np.int64),
        image_index=np.array([0, 0, 0, 1]),
        crowd=np.array([False, True, False, False]),
        positions=np.arange(2),
        image_ids=np.arange(2),
    )


@pytest.fixture
def heads() -> list[Head]:
    """Stride 32, anchor 1 of 2: cell (1, 2) learns the first box; stride 16 learns it twice, and that of picture 1."""
    large, small = np.full((2, 16, 16, 2), -1), np.full((2, 32, 32, 1), -1)
    large[0, 1, 2, 1] = 0
    small[0, 3, 3, 0] = small[0, 4, 4, 0] = small[1, 14, 14, 0] = 0
    sizes = np.array([[60, 60], [100, 90]], np.float32)
    return [
        Head(stride=32, anchors_wh=sizes, mask=(1, 2), assigned=large),
        Head(stride=16, anchors_wh=sizes[:1] / 4, mask=(0,), assigned=small),
    ]


def test_each_anchor_is_counted_with_its_boxes_and_predictions(heads: list[Head]) -> None:
    counts = anchor_counts(heads)
    assert [(count.stride, count.boxes, count.predictions) for count in counts] == [(16, 2, 3), (32, 0, 0), (32, 1, 1)]
    assert counts[2].anchor_wh == (100, 90)


def test_an_anchor_of_two_heads_is_counted_for_each_and_has_one_colour(batch: Batch, heads: list[Head]) -> None:
    """As in the released COCO weights, whose heads share the fourth of six anchors."""
    heads = [replace(heads[0], mask=(3, 4)), replace(heads[1], mask=(3,))]
    counts = anchor_counts(heads)
    assert [(count.anchor, count.stride) for count in counts] == [(3, 16), (3, 32), (4, 32)]
    legend = draw_legend(counts, 1, 0)
    assert [(legend == COLORS[anchor]).all(axis=2).any() for anchor in (2, 3, 4)] == [False, True, True]
    image = draw_assignment(batch, heads)[8 : 8 + 512, 8 : 8 + 512]
    assert tuple(image[56, 56]) == COLORS[3]


def test_a_box_that_nobody_answers_for_is_found_and_a_crowd_is_none(batch: Batch, heads: list[Head]) -> None:
    assert unanswered(batch, heads) == [(0, 2)]


def test_marks_stand_in_their_cell_and_orphans_are_red(batch: Batch, heads: list[Head]) -> None:
    sheet = draw_assignment(batch, heads)
    image = sheet[8 : 8 + 512, 8 : 8 + 512]
    assert tuple(image[48, 64 + 21]) == COLORS[2]  # cell (1, 2) of stride 32; the second of two anchors
    assert tuple(image[56, 56]) == COLORS[0]  # cell (3, 3) of stride 16
    assert tuple(image[165, 160]) == UNANSWERED
    assert tuple(sheet[8 + 232, 8 + 512 + 8 + 232]) == COLORS[0]  # the second picture, beside the first
