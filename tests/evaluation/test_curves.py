"""Three detections, two objects: every threshold by hand."""

from collections.abc import Callable

import pytest

from lookonce.data.dataset import Dataset
from lookonce.evaluation.curves import calibration, mean_curves, operating_point, score_histograms, threshold_curves
from lookonce.evaluation.matching import Matches, match
from lookonce.evaluation.results import Results

MakeDataset = Callable[..., Dataset]
MakeResults = Callable[..., Results]
SQUARE = [0, 0, 100, 100]
FAR = [500, 500, 600, 600]
NOWHERE = [200, 200, 300, 300]


@pytest.fixture
def matches(make_dataset: MakeDataset, make_results: MakeResults) -> Matches:
    """Class a: right at 0.95, wrong at 0.55, right at 0.35; class b has nothing."""
    dataset = make_dataset([[SQUARE, FAR]], [[0, 0]])
    return match(dataset, make_results([(1, 0, SQUARE, 0.95), (1, 0, NOWHERE, 0.55), (1, 0, FAR, 0.35)]))


def test_precision_recall_and_f1_at_each_threshold(matches: Matches) -> None:
    curves = threshold_curves(matches)["a"]
    assert [curves.precision[i] for i in (0, 35, 36, 55, 56, 95, 96)] == pytest.approx(
        [2 / 3, 2 / 3, 0.5, 0.5, 1, 1, -1]
    )
    assert [curves.recall[i] for i in (0, 35, 36, 55, 56, 95, 96)] == [1, 1, 0.5, 0.5, 0.5, 0.5, 0]
    assert [curves.f1[i] for i in (0, 36, 56, 96)] == pytest.approx([4 / 5, 2 / 4, 2 / 3, 0])


def test_the_best_threshold_is_the_middle_of_the_best_run(matches: Matches) -> None:
    curves = threshold_curves(matches)["a"]
    assert (curves.best_threshold, curves.best_f1) == (pytest.approx(0.17), pytest.approx(0.8))  # 0.00 .. 0.35


def test_no_threshold_under_that_of_the_detections_is_best(matches: Matches) -> None:
    assert threshold_curves(matches, lowest_score=0.3)["a"].best_threshold == pytest.approx(0.32)  # 0.30 .. 0.35


def test_a_class_without_objects_has_no_best_threshold(matches: Matches) -> None:
    curves = threshold_curves(matches)["b"]
    assert (curves.best_threshold, curves.best_f1) == (-1, -1)
    assert (curves.precision == -1).all()


def test_the_mean_curves_leave_out_classes_without_objects_and_end_with_the_detections(
    make_dataset: MakeDataset, make_results: MakeResults, matches: Matches
) -> None:
    means = mean_curves(threshold_curves(matches))
    assert means["precision"][[95, 96]].tolist() == [1, -1]
    assert means["recall"][35] == 1
    # b has an object and no detection: it halves the recall, and has no precision.
    halved = match(make_dataset([[SQUARE, FAR]], [[0, 1]]), make_results([(1, 0, SQUARE, 0.9)]))
    assert operating_point(halved) == {"precision": 1, "recall": 0.5, "F1": 0.5, "F1_threshold": 0.45}


def test_the_operating_point_has_the_highest_f1(matches: Matches) -> None:
    expected = {"precision": 2 / 3, "recall": 1, "F1": 4 / 5, "F1_threshold": 0.17}
    assert operating_point(matches) == pytest.approx(expected)


def test_nothing_has_no_operating_point(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    for truth, rows in (([[]], []), ([[SQUARE]], [])):
        dataset = make_dataset(truth, [[0] * len(truth[0])])
        assert set(operating_point(match(dataset, make_results(rows))).values()) == {-1.0}


def test_calibration_bins(matches: Matches) -> None:
    found = calibration(matches)
    assert found.counts.tolist() == [0, 0, 0, 1, 0, 1, 0, 0, 0, 1]
    assert found.precision[[3, 5, 9]].tolist() == [1, 0, 1]
    assert found.mean_scores[[0, 3]].tolist() == [-1, 0.35]
    assert found.error == pytest.approx((0.65 + 0.55 + 0.05) / 3)


def test_calibration_of_nothing(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    found = calibration(match(make_dataset([[]], [[]]), make_results([])))
    assert (found.error, found.counts.sum()) == (0, 0)


def test_cocos_curve_is_the_best_precision_from_each_recall_on(matches: Matches) -> None:
    # Recall 1/2 at precision 1, recall 1 at precision 2/3; the wrong one between them shows nowhere.
    curve = threshold_curves(matches)["a"].precision_at_recall
    assert curve[:51].tolist() == [1] * 51
    assert curve[51:].tolist() == pytest.approx([2 / 3] * 50)
    assert threshold_curves(matches)["b"].precision_at_recall.tolist() == [0] * 101


def test_scores_are_counted_by_right_and_wrong(matches: Matches) -> None:
    histogram = score_histograms(matches)["a"]
    assert histogram.right.nonzero()[0].tolist() == [7, 19]  # 0.35, 0.95
    assert histogram.wrong.nonzero()[0].tolist() == [11]  # 0.55
    assert score_histograms(matches)["b"].right.sum() == 0
