"""The pictures that an eight-bit file is fitted to, and those that say what it costs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lookonce.config.record import ModelRecord
from lookonce.data.dataset import Dataset
from lookonce.data.images import read_image
from lookonce.data.letterbox import fit
from lookonce.data.source import open_data
from lookonce.errors import DataError, SettingsError
from lookonce.prediction.sources import find_images

Item = TypeVar("Item")
CALIBRATION_IMAGES = 128  # taken evenly; ranges settle after a few dozen


@dataclass(frozen=True, kw_only=True)
class CalibrationSet:
    """canvases (B, H, W, 3) uint8 RGB, fitted as the record says; labelled: what scores the network before and after,
    None without labels; text: words for both."""

    canvases: NDArray[np.uint8]
    labelled: Dataset | None
    text: str


def open_calibration_set(given: str | None, record: ModelRecord) -> CalibrationSet:
    """From a labelled data set (split train to fit, val to score, each standing in for the other) or bare pictures.

    given: what the user named; without it the data trained on, if they still lie where they lay.
    """
    source = given or str(record.settings.get("data") or "")
    if not source or (given is None and not Path(source).exists()):
        raise SettingsError(
            "calibration: not given, and the data trained on are not at hand; int8 needs pictures like those it will "
            "meet: --calibration DATA",
            setting="calibration",
        )
    try:
        splits = open_data(source)
        fitted, scored = (
            splits.split(next((name for name in wanted if name in splits.splits), next(iter(splits.splits))))
            for wanted in (("train", "val"), ("val", "test", "train"))
        )
    except DataError:
        if given is None or Path(source).suffix in {".json", ".yaml", ".yml"}:
            raise
        images = [one.read for one in _evenly(find_images(source))]
        canvases = _fitted([read() for read in images], record)
        return CalibrationSet(canvases=canvases, labelled=None, text=f"fitted to {len(canvases)} pictures of {source}")
    paths = _evenly(list(fitted.image_paths))
    return CalibrationSet(
        canvases=_fitted([read_image(path) for path in paths], record),
        labelled=scored,
        text=(
            f"fitted to {len(paths)} pictures of {source}, split {fitted.split}; AP on the {len(scored)} of split "
            f"{scored.split}"
        ),
    )


def _evenly(items: list[Item]) -> list[Item]:
    rows = np.unique(np.linspace(0, len(items) - 1, min(CALIBRATION_IMAGES, len(items))).round().astype(int))
    return [items[row] for row in rows.tolist()]


def _fitted(images: list[NDArray[np.uint8]], record: ModelRecord) -> NDArray[np.uint8]:
    return np.stack([fit(image, record.image_size, record.preprocessing)[0] for image in images])
