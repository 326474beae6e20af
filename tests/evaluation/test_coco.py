"""The metric against hand-worked cases and against pycocotools, to the last digit."""

import contextlib
import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from raised import raises

from lookonce.boxes import xyxy_to_xywh
from lookonce.data.dataset import Dataset, UnfoundBoxes
from lookonce.errors import DataError
from lookonce.evaluation.analysis import analyse
from lookonce.evaluation.coco import Metrics, mean_of_defined, score, score_at
from lookonce.evaluation.matching import match
from lookonce.evaluation.results import Results

RandomCase = Callable[[int], tuple[Dataset, Results]]
MakeDataset = Callable[..., Dataset]
MakeResults = Callable[..., Results]
TWELVE = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


def is_one(precision: float) -> bool:
    """pycocotools divides by the detections plus 2.2e-16, so that a perfect precision falls short of 1 by that."""
    return 1 - 1e-12 < precision <= 1


def pycocotools_score(dataset: Dataset, results: Results) -> tuple[list[float], list[str]]:
    """The twelve numbers and the twelve printed lines."""
    evaluation = pycocotools_evaluation(dataset, results)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        evaluation.summarize()
    return evaluation.stats.tolist(), printed.getvalue().splitlines()


def pycocotools_evaluation(dataset: Dataset, results: Results, iou_thresholds: list[float] | None = None) -> COCOeval:
    """Accumulated, at the usual thresholds or at others."""
    counts = np.diff(dataset.box_offsets)
    columns = zip(
        np.repeat(dataset.image_ids, counts).tolist(),
        np.asarray(dataset.category_ids)[dataset.labels].tolist(),
        xyxy_to_xywh(dataset.boxes_xyxy).tolist(),
        dataset.areas.tolist(),
        dataset.crowd.tolist(),
        strict=True,
    )
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": number} for number in dataset.image_ids.tolist()],
        "categories": [{"id": number} for number in dataset.category_ids],
        "annotations": [
            {"id": row, "image_id": i, "category_id": c, "bbox": b, "area": a, "iscrowd": int(w)}
            for row, (i, c, b, a, w) in enumerate(columns, 1)
        ],
    }
    detections: list[dict[str, Any]] = [
        {"image_id": i, "category_id": dataset.category_ids[c], "bbox": b, "score": s}
        for i, c, b, s in zip(
            results.image_ids.tolist(),
            results.labels.tolist(),
            results.boxes_xywh.tolist(),
            results.scores.tolist(),
            strict=True,
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found = truth.loadRes(detections) if detections else COCO()
        if not detections:
            found.dataset = truth.dataset | {"annotations": []}
            found.createIndex()
        evaluation = COCOeval(truth, found, "bbox")
        if iou_thresholds is not None:
            evaluation.params.iouThrs = np.array(iou_thresholds)
        evaluation.evaluate()
        evaluation.accumulate()
    return evaluation


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_twelve_numbers_and_lines_equal_pycocotools_to_the_last_digit(random_case: RandomCase, seed: int) -> None:
    dataset, results = random_case(seed)
    expected, lines = pycocotools_score(dataset, results)
    metrics = score(dataset, results)
    assert list(metrics.twelve().values()) == expected
    assert list(metrics.lines()) == lines


@settings(max_examples=10, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_boxes_without_area_count_as_missed_as_in_pycocotools(random_case: RandomCase, seed: int) -> None:
    dataset, results = random_case(seed)
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(dataset), 4)
    corners = rng.uniform(0, 90, (4, 2))
    flat = UnfoundBoxes(
        image_rows=rows,
        boxes_xyxy=np.hstack([corners, corners + np.array([[0, 5], [5, 0], [0, 0], [-3, 7]])]),
        labels=rng.integers(0, len(dataset.class_names), 4),
        crowd=np.array([False, False, True, False]),
        areas=np.array([0.0, 0.0, 7.0, 0.0]),
    )
    scored = replace(dataset, never_found=flat).with_never_found()
    assert len(scored.labels) == len(dataset.labels) + 4
    assert list(score(scored, results).twelve().values()) == pycocotools_score(scored, results)[0]
    assert np.isfinite(list(analyse(scored, results, match(scored, results)).errors.gains.values())).all()


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1), st.lists(st.floats(0.01, 1), min_size=1, max_size=3))
def test_any_iou_threshold_gives_what_pycocotools_gives_at_it(
    random_case: RandomCase, seed: int, ious: list[float]
) -> None:
    dataset, results = random_case(seed)
    expected = pycocotools_evaluation(dataset, results, ious).eval
    for row, metrics in enumerate(score_at(dataset, results, ious)):
        precision, recall = expected["precision"][row, ..., 0, 2], expected["recall"][row, ..., 0, 2]
        assert mean_of_defined(precision) == metrics.AP
        assert mean_of_defined(recall) == metrics.AR
        for column, category_id in enumerate(sorted(dataset.category_ids)):
            name = dataset.class_names[dataset.category_ids.index(category_id)]
            assert metrics.per_class[name]["AR"] == recall[column]
            assert metrics.per_class[name]["AP"] == mean_of_defined(precision[:, column])


def test_one_of_two_objects_found_scores_half(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    # Recall 0.5 at precision 1: 51 of the 101 recall points (0.00 .. 0.50) have precision 1, the others 0.
    dataset = make_dataset([[[0, 0, 50, 50], [100, 100, 150, 150]]], [[0, 0]], class_names=("a",))
    metrics = score(dataset, make_results([(1, 0, [0, 0, 50, 50], 0.9)]))
    assert metrics.AP == metrics.AP50 == metrics.APm == pytest.approx(51 / 101)
    assert metrics.AR1 == metrics.AR100 == metrics.ARm == 0.5
    assert metrics.APs == metrics.APl == metrics.ARs == -1
    assert metrics.per_class["a"].AP == metrics.AP
    assert metrics.per_class["a"].num_objects == 2


def test_half_overlap_counts_at_050_only(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    dataset = make_dataset([[[0, 0, 100, 100]]], [[0]], class_names=("a",))
    metrics = score(dataset, make_results([(1, 0, [0, 0, 100, 50], 0.9)]))  # IoU 0.5
    assert is_one(metrics.AP50)
    assert metrics.AP75 == 0
    assert abs(metrics.AP - 0.1) < 1e-12


def test_classes_keep_their_names_whatever_the_order_of_their_ids(
    make_dataset: MakeDataset, make_results: MakeResults
) -> None:
    dataset = make_dataset([[[0, 0, 50, 50]]], [[0]], class_names=("late", "early"), category_ids=(90, 2))
    metrics = score(dataset, make_results([(1, 0, [0, 0, 50, 50], 0.9), (1, 1, [0, 0, 9, 9], 0.5)]))
    assert is_one(metrics.per_class["late"].AP)
    assert metrics.per_class["early"].AP == -1
    assert (metrics.per_class["early"].num_objects, metrics.per_class["early"].num_detections) == (0, 1)


def test_no_images_no_boxes_no_detections_are_undefined_or_zero(
    make_dataset: MakeDataset, make_results: MakeResults
) -> None:
    nothing = make_results([])
    assert set(score(make_dataset([], []), nothing).twelve().values()) == {-1.0}
    assert set(score(make_dataset([[], []], [[], []]), nothing).twelve().values()) == {-1.0}
    missed = score(make_dataset([[[0, 0, 50, 50]]], [[0]]), nothing)
    assert (missed.AP, missed.AR100, missed.APs) == (0.0, 0.0, -1.0)


def test_a_crowd_is_neither_missed_nor_does_it_punish(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    dataset = make_dataset(
        [[[0, 0, 50, 50], [100, 100, 300, 300]]], [[0, 0]], class_names=("a",), crowd=[[False, True]]
    )
    found = make_results([(1, 0, [0, 0, 50, 50], 0.5), (1, 0, [110, 110, 150, 150], 0.9)])
    metrics = score(dataset, found)
    assert is_one(metrics.AP)
    assert metrics.AR100 == 1
    assert metrics.per_class["a"].num_objects == 1


def test_json_holds_the_twelve_and_each_class(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    dataset = make_dataset([[[0, 0, 50, 50]]], [[0]])
    metrics: Metrics = score(dataset, make_results([(1, 0, [0, 0, 50, 50], 0.9)]))
    written = metrics.as_json()
    assert list(written) == [*TWELVE, "per_class"]
    assert is_one(written["per_class"]["a"]["AP50"])


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (
            (1, 0, [0, 0, float("nan"), 5], 0.5),
            ["bbox", "[0.0, 0.0, nan, 5.0]", "finite"],
        ),
        ((1, 0, [5, 0, 1, 5], 0.5), ["bbox", "-4.0", "width"]),
        ((1, 0, [0, 0, 5, 5], float("inf")), ["score", "inf"]),
        ((9, 0, [0, 0, 5, 5], 0.5), ["image_id", "9", "'val'"]),
        ((1, 2, [0, 0, 5, 5], 0.5), ["label", "2", "0..1"]),
    ],
)
def test_bad_detections_are_refused_by_row(
    row: tuple[int, int, list[float], float], told: list[str], make_dataset: MakeDataset, make_results: MakeResults
) -> None:
    dataset = make_dataset([[[0, 0, 50, 50]]], [[0]])
    with raises(DataError, "row 1", *told, path="results"):
        score(dataset, make_results([(1, 0, [0, 0, 50, 50], 0.9), row]))
