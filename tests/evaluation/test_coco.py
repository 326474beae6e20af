"""The metric against hand-worked cases and against pycocotools, to the last digit."""

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from lookonce.boxes import xywh_to_xyxy, xyxy_to_xywh
from lookonce.data.dataset import Dataset
from lookonce.errors import DataError
from lookonce.evaluation.coco import Metrics, score
from lookonce.evaluation.results import Results

MakeDataset = Callable[..., Dataset]
MakeResults = Callable[..., Results]
TWELVE = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]


def is_one(precision: float) -> bool:
    """pycocotools divides by the detections plus 2.2e-16, so that a perfect precision falls short of 1 by that."""
    return 1 - 1e-12 < precision <= 1


def pycocotools_score(dataset: Dataset, results: Results) -> tuple[list[float], list[str]]:
    """The twelve numbers and the twelve printed lines."""
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
    printed = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found = truth.loadRes(detections) if detections else COCO()
        if not detections:
            found.dataset = truth.dataset | {"annotations": []}
            found.createIndex()
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        with contextlib.redirect_stdout(printed):
            evaluation.summarize()
    return evaluation.stats.tolist(), printed.getvalue().splitlines()


def random_case(seed: int) -> tuple[Dataset, Results]:
    """Crowds, empty pictures, ties, any ids, areas of their own, classes without objects or detections."""
    rng = np.random.default_rng(seed)
    num_pictures, num_classes = int(rng.integers(1, 7)), int(rng.integers(1, 5))
    grid = bool(rng.integers(2))  # whole pixels, so that IoUs fall on thresholds and boxes coincide
    counts = rng.integers(0, 9, num_pictures) * (rng.random(num_pictures) < 0.8)
    boxes_xywh = np.concatenate(
        [rng.uniform(0, 300, (counts.sum(), 2)), np.exp(rng.uniform(1, 5.3, (counts.sum(), 2)))], axis=1
    )
    boxes_xywh = np.round(boxes_xywh) if grid else boxes_xywh
    labels = rng.integers(0, num_classes, counts.sum())
    image_ids = rng.choice([7, 3, 10**12 + 1, 10**12, 2**53 + 1, 2**53, 2**62], num_pictures, replace=False)
    dataset = Dataset(
        split="val",
        image_paths=[Path(f"{index}.jpg") for index in range(num_pictures)],
        image_ids=image_ids.astype(np.int64),
        image_sizes_wh=np.full((num_pictures, 2), 600, np.int32),
        box_offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes_xyxy=xywh_to_xyxy(boxes_xywh),
        labels=labels,
        crowd=rng.random(counts.sum()) < rng.choice([0, 0.3]),
        areas=boxes_xywh[:, 2] * boxes_xywh[:, 3] * rng.uniform(0.3, 1, counts.sum()),
        class_names=tuple(f"class {label}" for label in range(num_classes)),
        category_ids=tuple(rng.choice([900, 4, 90, 1, 0, 17], num_classes, replace=False).tolist()),
    )
    return dataset, random_results(rng, dataset, boxes_xywh, grid)


def random_results(rng: np.random.Generator, dataset: Dataset, boxes_xywh: np.ndarray, grid: bool) -> Results:
    """Shaken copies of the objects, some of another class, and boxes from nowhere; 0 to 300 a picture."""
    num_pictures, num_classes = len(dataset), len(dataset.class_names)
    pictures = np.repeat(np.arange(num_pictures), np.diff(dataset.box_offsets))
    copies = rng.integers(0, max(1, len(pictures)), 0 if len(pictures) == 0 else int(rng.choice([0, 20, 60])))
    near = boxes_xywh[copies] * rng.uniform(0.8, 1.2, (len(copies), 4))
    num_far = int(rng.choice([0, 0, 10, 400]))
    far = np.exp(rng.uniform(0, 5.7, (num_far, 4)))
    boxes = np.concatenate([near, far])
    labels = np.concatenate([dataset.labels[copies], rng.integers(0, num_classes, num_far)])
    labels = np.where(rng.random(len(labels)) < 0.1, rng.integers(0, num_classes, len(labels)), labels)
    rows = np.concatenate([pictures[copies], rng.integers(0, num_pictures, num_far)])
    decimals = int(rng.choice([1, 2, 16]))  # 1: most scores tie
    order = rng.permutation(len(boxes))
    return Results(
        image_ids=dataset.image_ids[rows][order],
        labels=labels[order].astype(np.int64),
        boxes_xywh=np.round(boxes)[order] if grid else boxes[order],
        scores=np.round(rng.random(len(boxes)), decimals)[order],
    )


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, 2**32 - 1))
def test_twelve_numbers_and_lines_equal_pycocotools_to_the_last_digit(seed: int) -> None:
    dataset, results = random_case(seed)
    expected, lines = pycocotools_score(dataset, results)
    metrics = score(dataset, results)
    assert list(metrics.twelve().values()) == expected
    assert metrics.lines() == lines


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


def test_no_pictures_no_boxes_no_detections_are_undefined_or_zero(
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
    ("row", "message"),
    [
        (
            (1, 0, [0, 0, float("nan"), 5], 0.5),
            r"results row 1: bbox is \[0\.0, 0\.0, nan, 5\.0\], expected four finite",
        ),
        ((1, 0, [5, 0, 1, 5], 0.5), "results row 1: bbox is .* width and height of at least 0"),
        ((1, 0, [0, 0, 5, 5], float("inf")), "results row 1: score is inf"),
        ((9, 0, [0, 0, 5, 5], 0.5), "results row 1: image_id is 9, expected an id of the 1 pictures of split 'val'"),
        ((1, 2, [0, 0, 5, 5], 0.5), r"results row 1: label is 2, expected 0\.\.1"),
    ],
)
def test_bad_detections_are_refused_by_row(
    row: tuple[int, int, list[float], float], message: str, make_dataset: MakeDataset, make_results: MakeResults
) -> None:
    dataset = make_dataset([[[0, 0, 50, 50]]], [[0]])
    with pytest.raises(DataError, match=message):
        score(dataset, make_results([(1, 0, [0, 0, 50, 50], 0.9), row]))
