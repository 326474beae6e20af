"""Objects of every size and place, one of each, so that a group's score can be read off."""

from collections.abc import Callable

import numpy as np
import pytest

from lookonce.data.dataset import Dataset
from lookonce.evaluation.error_types import BACKGROUND_IOU
from lookonce.evaluation.groups import GROUPINGS, GroupScore, score_groups
from lookonce.evaluation.matching import match, overlapping_pairs
from lookonce.evaluation.results import Results

MakeDataset = Callable[..., Dataset]
MakeResults = Callable[..., Results]


def groups_of(dataset: Dataset, results: Results) -> dict[str, list[GroupScore]]:
    matches = match(dataset, results)
    overlaps = overlapping_pairs(dataset, results, matches, iou_threshold=BACKGROUND_IOU)
    return score_groups(dataset, results, matches, overlaps)


def test_a_size_is_scored_by_its_own_objects_and_its_own_mistakes(
    make_dataset: MakeDataset, make_results: MakeResults
) -> None:
    small, large = [500, 500, 520, 520], [100, 100, 300, 300]
    dataset = make_dataset([[small, large]], [[0, 0]], class_names=("a",))
    # A wrong large box of the best score halves the large ones' precision and leaves the small ones alone.
    results = make_results([(1, 0, [600, 100, 800, 300], 0.9), (1, 0, large, 0.8), (1, 0, small, 0.7)])
    scores = groups_of(dataset, results)["size"]
    assert [score.num_objects for score in scores] == [0, 1, 0, 1]
    assert [score.AP50 for score in scores] == pytest.approx([-1, 1, -1, 0.5])
    assert [score.recall for score in scores] == [-1, 1, -1, 1]


def test_the_middle_the_outside_and_what_the_border_cuts_are_told_apart(
    make_dataset: MakeDataset, make_results: MakeResults
) -> None:
    # The picture has 1000 x 1000 pixels; its middle third goes from 333 to 667.
    middle, around, cut = [450, 450, 550, 550], [100, 450, 200, 550], [900, 450, 1000, 550]
    dataset = make_dataset([[middle, around, cut]], [[0, 0, 0]], class_names=("a",))
    scores = groups_of(dataset, make_results([(1, 0, middle, 0.9), (1, 0, cut, 0.8)]))["position"]
    assert [(score.num_objects, score.recall) for score in scores] == [(1, 1), (1, 0), (1, 1)]


def test_objects_that_overlap_are_a_group_of_their_own(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    # IoU of the first two: 50 * 100 / (2 * 100 * 100 - 50 * 100) = 1/3.
    first, second, alone = [0, 0, 100, 100], [50, 0, 150, 100], [500, 500, 600, 600]
    dataset = make_dataset([[first, second, alone]], [[0, 0, 0]], class_names=("a",))
    scores = groups_of(dataset, make_results([(1, 0, first, 0.9), (1, 0, alone, 0.8)]))["neighbours"]
    assert [(score.num_objects, score.recall) for score in scores] == [(1, 1), (0, -1), (2, 0.5)]


def test_images_with_many_objects_are_told_from_those_with_few(
    make_dataset: MakeDataset, make_results: MakeResults
) -> None:
    row = [[place * 50.0, 0.0, place * 50.0 + 40, 40.0] for place in range(11)]
    dataset = make_dataset([row, row[:1], row[:4], []], [[0] * 11, [0], [0] * 4, []], class_names=("a",))
    scores = groups_of(dataset, make_results([(2, 0, row[0], 0.9), (3, 0, row[0], 0.9), (4, 0, row[0], 0.95)]))
    assert [(score.num_objects, score.recall) for score in scores["crowding"]] == [(1, 1), (4, 0.25), (11, 0)]
    assert pytest.approx(0.5) == scores["crowding"][0].AP50  # the empty picture's finding counts here


def test_the_groups_of_each_kind_share_out_the_objects(random_case: Callable[[int], tuple[Dataset, Results]]) -> None:
    for seed in range(40):
        dataset, results = random_case(seed)
        for key, scores in groups_of(dataset, results).items():
            assert [score.name for score in scores] == list(GROUPINGS[key].names)
            assert sum(score.num_objects for score in scores) == int((~dataset.crowd).sum())
            assert all(-1 <= score.AP50 <= 1 and np.isfinite(score.recall) for score in scores)
