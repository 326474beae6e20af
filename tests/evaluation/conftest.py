"""Small data sets and results, written out box by box."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lookonce.boxes import xyxy_to_xywh
from lookonce.data.dataset import Dataset
from lookonce.evaluation.results import Results


def _make_dataset(
    boxes: list[list[list[float]]],
    labels: list[list[int]],
    *,
    class_names: tuple[str, ...] = ("a", "b"),
    category_ids: tuple[int, ...] | None = None,
    image_ids: list[int] | None = None,
    crowd: list[list[bool]] | None = None,
    areas: list[list[float]] | None = None,
) -> Dataset:
    """Pictures of 1000 x 1000 with xyxy boxes, one list a picture."""
    flat = np.asarray([box for picture in boxes for box in picture], dtype=np.float64).reshape(-1, 4)
    wh = flat[:, 2:] - flat[:, :2]
    return Dataset(
        split="val",
        image_paths=[Path(f"{index}.jpg") for index in range(len(boxes))],
        image_ids=np.asarray(image_ids if image_ids is not None else range(1, len(boxes) + 1), dtype=np.int64),
        image_sizes_wh=np.full((len(boxes), 2), 1000, np.int32),
        box_offsets=np.cumsum([0, *(len(picture) for picture in boxes)]).astype(np.int64),
        boxes_xyxy=flat,
        labels=np.asarray([label for picture in labels for label in picture], dtype=np.int64),
        crowd=np.asarray([flag for picture in crowd for flag in picture], dtype=np.bool_)
        if crowd is not None
        else np.zeros(len(flat), np.bool_),
        areas=np.asarray([area for picture in areas for area in picture], dtype=np.float64)
        if areas is not None
        else wh[:, 0] * wh[:, 1],
        class_names=class_names,
        category_ids=category_ids or tuple(range(1, len(class_names) + 1)),
    )


def _make_results(rows: list[tuple[int, int, list[float], float]]) -> Results:
    """Rows of image id, label, xyxy box, score."""
    boxes = np.asarray([row[2] for row in rows], dtype=np.float64).reshape(-1, 4)
    return Results(
        image_ids=np.asarray([row[0] for row in rows], dtype=np.int64),
        labels=np.asarray([row[1] for row in rows], dtype=np.int64),
        boxes_xywh=xyxy_to_xywh(boxes),
        scores=np.asarray([row[3] for row in rows], dtype=np.float64),
    )


@pytest.fixture
def make_dataset() -> Callable[..., Dataset]:
    """(boxes, labels, class_names=..., category_ids=..., image_ids=..., crowd=..., areas=...) -> Dataset."""
    return _make_dataset


@pytest.fixture
def make_results() -> Callable[..., Results]:
    """[(image id, label, xyxy box, score)] -> Results."""
    return _make_results
