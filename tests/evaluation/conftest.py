"""Small data sets and results, written out box by box."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lookonce.boxes import xywh_to_xyxy, xyxy_to_xywh
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
    flat = np.asarray([box for image in boxes for box in image], dtype=np.float64).reshape(-1, 4)
    wh = flat[:, 2:] - flat[:, :2]
    return Dataset(
        split="val",
        image_paths=[Path(f"{index}.jpg") for index in range(len(boxes))],
        image_ids=np.asarray(image_ids if image_ids is not None else range(1, len(boxes) + 1), dtype=np.int64),
        image_sizes_wh=np.full((len(boxes), 2), 1000, np.int32),
        box_offsets=np.cumsum([0, *(len(image) for image in boxes)]).astype(np.int64),
        boxes_xyxy=flat,
        labels=np.asarray([label for image in labels for label in image], dtype=np.int64),
        crowd=np.asarray([flag for image in crowd for flag in image], dtype=np.bool_)
        if crowd is not None
        else np.zeros(len(flat), np.bool_),
        areas=np.asarray([area for image in areas for area in image], dtype=np.float64)
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


def _random_case(seed: int) -> tuple[Dataset, Results]:
    """Crowds, empty pictures, ties, any ids, areas of their own, classes without objects or detections."""
    rng = np.random.default_rng(seed)
    num_images, num_classes = int(rng.integers(1, 7)), int(rng.integers(1, 5))
    grid = bool(rng.integers(2))  # whole pixels, so that IoUs fall on thresholds and boxes coincide
    counts = rng.integers(0, 9, num_images) * (rng.random(num_images) < 0.8)
    boxes_xywh = np.concatenate(
        [rng.uniform(0, 300, (counts.sum(), 2)), np.exp(rng.uniform(1, 5.3, (counts.sum(), 2)))], axis=1
    )
    boxes_xywh = np.round(boxes_xywh) if grid else boxes_xywh
    labels = rng.integers(0, num_classes, counts.sum())
    image_ids = rng.choice([7, 3, 10**12 + 1, 10**12, 2**53 + 1, 2**53, 2**62], num_images, replace=False)
    dataset = Dataset(
        split="val",
        image_paths=[Path(f"{index}.jpg") for index in range(num_images)],
        image_ids=image_ids.astype(np.int64),
        image_sizes_wh=np.full((num_images, 2), 600, np.int32),
        box_offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes_xyxy=xywh_to_xyxy(boxes_xywh),
        labels=labels,
        crowd=rng.random(counts.sum()) < rng.choice([0, 0.3]),
        areas=boxes_xywh[:, 2] * boxes_xywh[:, 3] * rng.uniform(0.3, 1, counts.sum()),
        class_names=tuple(f"class {label}" for label in range(num_classes)),
        category_ids=tuple(rng.choice([900, 4, 90, 1, 0, 17], num_classes, replace=False).tolist()),
    )
    return dataset, _random_results(rng, dataset, boxes_xywh, grid)


def _random_results(rng: np.random.Generator, dataset: Dataset, boxes_xywh: np.ndarray, grid: bool) -> Results:
    """Shaken copies of the objects, some of another class, and boxes from nowhere; 0 to 300 a picture."""
    num_images, num_classes = len(dataset), len(dataset.class_names)
    images = np.repeat(np.arange(num_images), np.diff(dataset.box_offsets))
    copies = rng.integers(0, max(1, len(images)), 0 if len(images) == 0 else int(rng.choice([0, 20, 60])))
    near = boxes_xywh[copies] * rng.uniform(0.8, 1.2, (len(copies), 4))
    num_far = int(rng.choice([0, 0, 10, 400]))
    far = np.exp(rng.uniform(0, 5.7, (num_far, 4)))
    boxes = np.concatenate([near, far])
    labels = np.concatenate([dataset.labels[copies], rng.integers(0, num_classes, num_far)])
    labels = np.where(rng.random(len(labels)) < 0.1, rng.integers(0, num_classes, len(labels)), labels)
    rows = np.concatenate([images[copies], rng.integers(0, num_images, num_far)])
    decimals = int(rng.choice([1, 2, 16]))  # 1: most scores tie
    order = rng.permutation(len(boxes))
    return Results(
        image_ids=dataset.image_ids[rows][order],
        labels=labels[order].astype(np.int64),
        boxes_xywh=np.round(boxes)[order] if grid else boxes[order],
        scores=np.round(rng.random(len(boxes)), decimals)[order],
    )


@pytest.fixture
def make_dataset() -> Callable[..., Dataset]:
    """(boxes, labels, class_names=..., category_ids=..., image_ids=..., crowd=..., areas=...) -> Dataset."""
    return _make_dataset


@pytest.fixture
def make_results() -> Callable[..., Results]:
    """[(image id, label, xyxy box, score)] -> Results."""
    return _make_results


@pytest.fixture(scope="session")
def random_case() -> Callable[[int], tuple[Dataset, Results]]:
    """Seed -> a data set and its results."""
    return _random_case
