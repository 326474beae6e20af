"""COCO's matching, one detection at a time, worked out by hand."""

from collections.abc import Callable

import numpy as np

from lookonce.data.dataset import Dataset
from lookonce.evaluation.matching import match
from lookonce.evaluation.results import Results

MakeDataset = Callable[..., Dataset]
MakeResults = Callable[..., Results]
SQUARE = [0, 0, 100, 100]


def test_the_better_score_takes_the_object_and_the_duplicate_finds_none(
    make_dataset: MakeDataset, make_results: MakeResults
) -> None:
    dataset = make_dataset([[SQUARE]], [[0]])
    results = make_results([(1, 0, SQUARE, 0.5), (1, 0, [0, 0, 100, 80], 0.9)])  # IoU 1 and 0.8
    matches = match(dataset, results)
    assert matches.rows.tolist() == [1, 0]
    assert matches.found[:7].tolist() == [[0, -1]] * 7  # 0.50 .. 0.80
    assert matches.found[7:].tolist() == [[-1, 0]] * 3  # 0.85 .. 0.95: the better score is not close enough


def test_of_two_objects_a_detection_takes_the_closer_one(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    dataset = make_dataset([[SQUARE, [0, 0, 100, 90]]], [[0, 0]])
    assert match(dataset, make_results([(1, 0, [0, 0, 100, 91], 0.9)])).found[0].tolist() == [1]


def test_a_crowd_is_found_again_and_again_but_after_single_objects(
    make_dataset: MakeDataset, make_results: MakeResults
) -> None:
    dataset = make_dataset([[[0, 0, 400, 400], SQUARE]], [[0, 0]], crowd=[[True, False]])
    matches = match(dataset, make_results([(1, 0, SQUARE, 0.9), (1, 0, SQUARE, 0.8), (1, 0, SQUARE, 0.7)]))
    assert matches.found[0].tolist() == [1, 0, 0]  # each lies wholly inside the crowd
    assert matches.ignored[0].tolist() == [False, True, True]
    assert matches.right[0].tolist() == [True, False, False]
    assert len(matches.object_labels) == 1


def test_other_classes_and_images_are_not_found(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    dataset = make_dataset([[SQUARE], []], [[0], []], image_ids=[9, 4])
    matches = match(dataset, make_results([(9, 1, SQUARE, 0.9), (4, 0, SQUARE, 0.8), (9, 0, SQUARE, 0.7)]))
    assert matches.labels.tolist() == [0, 0, 1]
    assert matches.images.tolist() == [0, 1, 1]  # picture 4 comes before picture 9
    assert matches.found[0].tolist() == [-1, 0, -1]
    assert matches.object_images.tolist() == [1]


def test_the_hundred_best_of_an_image_and_class_count(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    dataset = make_dataset([[SQUARE]], [[0]])
    matches = match(dataset, make_results([(1, 0, SQUARE, score / 200) for score in range(150)]))
    assert matches.rows.tolist() == list(range(149, 49, -1))


def test_nothing_matches_nothing(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    matches = match(make_dataset([[]], [[]]), make_results([]))
    assert matches.found.shape == (10, 0)
    assert matches.right.dtype == np.bool_
    assert match(make_dataset([[]], [[]]), make_results([(1, 0, SQUARE, 0.5)])).found.tolist() == [[-1]] * 10
