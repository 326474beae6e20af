"""Intervals: the pictures as they are give the metric itself; what every drawing contains has no spread."""

from collections.abc import Callable

import numpy as np
import pytest
from raised import raises

from lookonce.data.dataset import Dataset
from lookonce.errors import DataError
from lookonce.evaluation.bootstrap import AP50_ROW, bootstrap, compare
from lookonce.evaluation.coco import score
from lookonce.evaluation.matching import match
from lookonce.evaluation.results import Results

MakeDataset = Callable[..., Dataset]
MakeResults = Callable[..., Results]
Rows = list[tuple[int, int, list[float], float]]
SQUARE = [0.0, 0.0, 100.0, 100.0]
FAR = [500.0, 500.0, 600.0, 600.0]


def random_rows(rng: np.random.Generator, pictures: int) -> tuple[list[list[list[float]]], list[list[int]], Rows]:
    """A few objects a picture and shaken or wrong detections of them, scores in tenths so that some tie."""
    boxes: list[list[list[float]]] = []
    labels: list[list[int]] = []
    rows: Rows = []
    for image in range(pictures):
        corners = rng.uniform(0, 300, (int(rng.integers(0, 5)), 2))
        boxes.append(np.concatenate([corners, corners + rng.uniform(20, 200, corners.shape)], axis=1).tolist())
        labels.append(rng.integers(0, 2, len(corners)).tolist())
        for box, label in zip(boxes[-1], labels[-1], strict=True):
            for _ in range(int(rng.integers(0, 4))):
                shaken = (np.asarray(box) + rng.uniform(-12, 12, 4)).tolist()
                other = int(rng.integers(0, 2))
                rows.append((image + 1, label if rng.random() < 0.8 else other, shaken, round(rng.random(), 1)))
    return boxes, labels, rows


@pytest.mark.parametrize("seed", range(10))
def test_the_images_as_they_are_give_the_metric_itself(
    seed: int, make_dataset: MakeDataset, make_results: MakeResults
) -> None:
    boxes, labels, rows = random_rows(np.random.default_rng(seed), 12)
    crowd = [[index % 5 == 4 for index in range(len(image))] for image in boxes]
    dataset, results = make_dataset(boxes, labels, crowd=crowd), make_results(rows)
    metrics = score(dataset, results)
    resampled = bootstrap(match(dataset, results), resamples=20)
    for name in ("AP", "AP50", "AP75"):
        assert resampled.interval(name).value == pytest.approx(getattr(metrics, name), abs=1e-12)
    assert resampled.interval("AP", "b").value == pytest.approx(metrics.per_class["b"].AP, abs=1e-12)
    assert resampled.interval().low <= resampled.interval().high


def test_matches_counted_again_give_cocos_numbers(random_case: Callable[[int], tuple[Dataset, Results]]) -> None:
    for seed in range(100):
        dataset, results = random_case(seed)
        metrics, resampled = score(dataset, results), bootstrap(match(dataset, results), resamples=0)
        for name in ("AP", "AP50", "AP75"):
            assert resampled.interval(name).value == pytest.approx(getattr(metrics, name), abs=1e-12), seed


def test_a_drawing_scores_as_the_drawn_images_do(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    boxes, labels, rows = random_rows(np.random.default_rng(3), 6)
    rows = [(image, label, box, index / len(rows)) for index, (image, label, box, _) in enumerate(rows)]  # no ties
    dataset, results = make_dataset(boxes, labels), make_results(rows)
    drawn = np.random.default_rng(7).integers(0, 6, 6)  # what bootstrap(seed=7) draws first
    copied_rows: Rows = [
        (place + 1, label, box, value)
        for place, image in enumerate(drawn)
        for number, label, box, value in rows
        if number == image + 1
    ]
    copied = make_dataset([boxes[image] for image in drawn], [labels[image] for image in drawn])
    expected = score(copied, make_results(copied_rows))
    first = bootstrap(match(dataset, results), resamples=1, seed=7).drawn[0, AP50_ROW].mean()
    # The copies of a picture tie; here they come at once, in COCO one after the other.
    assert first == pytest.approx(expected.AP50, abs=0.02)


def test_half_of_the_images_found_gives_a_binomial_spread(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    # 100 pictures with an object each, the even ones found: AP50 is close to the share drawn, 0.5 +- 1.96 * 0.05.
    dataset = make_dataset([[SQUARE]] * 100, [[0]] * 100, class_names=("a",))
    results = make_results([(number, 0, SQUARE, 0.9) for number in range(2, 101, 2)])
    interval = bootstrap(match(dataset, results), resamples=1000).interval("AP50")
    assert interval.low == pytest.approx(0.402, abs=0.02)
    assert interval.high == pytest.approx(0.598, abs=0.02)


def test_a_detector_that_is_always_better_is_told_from_chance(
    make_dataset: MakeDataset, make_results: MakeResults
) -> None:
    dataset = make_dataset([[SQUARE, FAR]] * 30, [[0, 0]] * 30, class_names=("a",))
    both = make_results([(number, 0, box, 0.9) for number in range(1, 31) for box in (SQUARE, FAR)])
    one = make_results([(number, 0, SQUARE, 0.9) for number in range(1, 31)])
    first, second = (bootstrap(match(dataset, results), resamples=99) for results in (both, one))
    better = compare(first, second, "AP50")
    assert better.difference.value == pytest.approx(1 - 51 / 101)
    assert better.difference.low > 0
    assert better.p_value == pytest.approx(2 / 100)
    same = compare(first, first)
    assert (same.difference.value, same.difference.low, same.difference.high, same.p_value) == (0, 0, 0, 1)


def test_different_data_cannot_be_compared(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    small = bootstrap(match(make_dataset([[SQUARE]], [[0]]), make_results([])), resamples=2)
    more = bootstrap(match(make_dataset([[SQUARE]], [[0]]), make_results([])), resamples=3)
    with raises(DataError, "same data set"):
        compare(small, more)


def test_no_images_have_no_interval(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    interval = bootstrap(match(make_dataset([], []), make_results([])), resamples=3).interval()
    assert (interval.value, interval.low, interval.high) == (-1, -1, -1)
