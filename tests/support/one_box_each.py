"""Data sets and settings for tests of what a run chooses by itself."""

from pathlib import Path
from typing import Any

import numpy as np

from lookonce.data.dataset import Dataset
from lookonce.settings.schema import Settings


def dataset(sizes_wh: list[tuple[float, float]], *, image_wh: tuple[int, int] = (200, 100)) -> Dataset:
    """One picture a box, each in its upper left corner."""
    count = len(sizes_wh)
    return Dataset(
        split="train",
        image_paths=[Path(f"{row}.png") for row in range(count)],
        image_ids=np.arange(count),
        image_sizes_wh=np.array([image_wh] * count, np.int32),
        box_offsets=np.arange(count + 1),
        boxes_xyxy=np.array([[0, 0, width, height] for width, height in sizes_wh], np.float64),
        labels=np.zeros(count, np.int64),
        crowd=np.zeros(count, bool),
        areas=np.ones(count),
        class_names=("thing", "other"),
        category_ids=(1, 2),
    )


def settings(**values: Any) -> Settings:
    chosen = {"assign_top": 10, "ema_decay": 0.998, "objectness_prior": 0.01}  # what a run chooses from its data
    return Settings(**{"data": "d", "image_size": 64, "width": 0.0625, **chosen, **values})
