"""Contradictions between labels and detections, with detections as they are written here."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookonce.data.dataset import Dataset
from lookonce.evaluation import label_errors
from lookonce.evaluation.label_errors import find_label_errors
from lookonce.evaluation.results import Results

CAT, DOG = 0, 1
Box = tuple[float, float, float, float]
LEFT, MIDDLE, RIGHT = (0.0, 0.0, 20.0, 20.0), (40.0, 0.0, 60.0, 20.0), (80.0, 0.0, 100.0, 20.0)


def dataset(labelled: list[tuple[Box, int]], crowd: list[bool] | None = None) -> Dataset:
    """One image of 100x50 pixels."""
    return Dataset(
        split="val",
        image_paths=[Path("a.png")],
        image_ids=np.array([7]),
        image_sizes_wh=np.array([[100, 50]], np.int32),
        box_offsets=np.array([0, len(labelled)]),
        boxes_xyxy=np.array([box for box, _ in labelled], np.float64).reshape(-1, 4),
        labels=np.array([label for _, label in labelled], np.int64),
        crowd=np.array(crowd or [False] * len(labelled), np.bool_),
        areas=np.ones(len(labelled)),
        class_names=("cat", "dog"),
        category_ids=(1, 2),
    )


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Any:
    def errors(data: Dataset, *detected: tuple[Box, int, float]) -> list[tuple[str, Box | None, str]]:
        results = Results(
            image_ids=np.full(len(detected), 7),
            labels=np.array([label for _, label, _ in detected], np.int64),
            boxes_xywh=np.array([(x, y, right - x, bottom - y) for (x, y, right, bottom), _, _ in detected]).reshape(
                -1, 4
            ),
            scores=np.array([score for _, _, score in detected], np.float64),
        )
        monkeypatch.setattr(label_errors, "Detector", lambda *_, **__: None)
        monkeypatch.setattr(label_errors, "detect_all", lambda *_, **__: results)
        runtime: Any = None
        return [(one.name, one.box_xyxy, one.tag) for one in find_label_errors(runtime, data)]

    return errors


def test_agreement_is_no_finding(found: Any) -> None:
    assert found(dataset([(LEFT, CAT), (RIGHT, DOG)]), (LEFT, CAT, 0.9), (RIGHT, DOG, 0.1)) == []
    assert found(dataset([])) == []


def test_confident_detections_without_a_label_come_first_by_score(found: Any) -> None:
    detected = ((LEFT, CAT, 0.6), (MIDDLE, DOG, 0.9), (RIGHT, DOG, 0.4))
    assert found(dataset([]), *detected) == [
        ("unlabelled-object", MIDDLE, "dog 0.90"),
        ("unlabelled-object", LEFT, "cat 0.60"),
    ]


def test_another_class_in_the_same_place_is_doubtful_and_has_the_labels_box(found: Any) -> None:
    detected = (0.0, 0.0, 20.0, 19.0)
    assert found(dataset([(LEFT, CAT)]), (detected, DOG, 0.8)) == [("doubtful-class", LEFT, "dog 0.80")]


def test_labels_that_nothing_overlaps_are_sorted_by_size(found: Any) -> None:
    large = (0.0, 20.0, 60.0, 50.0)
    assert found(dataset([(RIGHT, DOG), (large, CAT)])) == [
        ("undetected-label", large, "cat"),
        ("undetected-label", RIGHT, "dog"),
    ]


def test_a_crowd_is_neither_missed_nor_contradicted(found: Any) -> None:
    whole = (0.0, 0.0, 100.0, 50.0)
    assert found(dataset([(whole, CAT)], [True]), (LEFT, CAT, 0.9)) == []
