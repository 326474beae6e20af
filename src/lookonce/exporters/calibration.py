"""The calibration set of an INT8 export, and the labelled images that measure its loss of AP."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.data.dataset import Dataset
from lookonce.data.images import read_image
from lookonce.data.selection import even_choice
from lookonce.data.source import open_data
from lookonce.data.splits import DataSource
from lookonce.errors import DataError, SettingsError
from lookonce.letterbox import fit
from lookonce.settings.names import counted
from lookonce.settings.record import ModelRecord

FindImages = Callable[[str], list[Callable[[], NDArray[np.uint8]]]]
# Evenly spaced. ONNX INT8 of the COCO network has AP .2064 with 32 and .2063 with 128 (281 images of val2017). With
# 128, export takes 45 seconds longer on a core.
CALIBRATION_IMAGES = 32


@dataclass(frozen=True, kw_only=True)
class CalibrationSet:
    """canvases: network inputs (B, H, W, 3) uint8 RGB, resized as the record defines; labelled: data set that scores
    the network before and after, None without labels; text: both in words."""

    canvases: NDArray[np.uint8]
    labelled: Dataset | None
    text: str


def open_calibration_set(
    given: str | None, record: ModelRecord, find_images: FindImages, divided: Callable[[DataSource], DataSource]
) -> CalibrationSet:
    """From a labelled data set (train for calibration, val for AP; without one of them the other serves) or images.

    given: the user's data set, file or folder; default: the training data, if they are still at their path.
    find_images: returns a reader of (H, W, 3) uint8 RGB for each image of a source without labels.
    divided: adds the split val that training held out, if the data set has none.
    """
    source = given or str(record.settings.get("data") or "")
    if not source or (given is None and not Path(source).exists()):
        raise SettingsError(
            "calibration: not set, and the training data are not available; int8 expects images like those of its "
            "later use; set --calibration DATA",
            setting="calibration",
        )
    try:
        splits = divided(open_data(source, follow_links=True))
        fitted, scored = (
            splits.split(next((name for name in wanted if name in splits.splits), next(iter(splits.splits))))
            for wanted in (("train", "val"), ("val", "test", "train"))
        )
    except DataError:
        if given is None or Path(source).suffix in {".json", ".yaml", ".yml"}:
            raise
        readers = find_images(source)
        chosen = even_choice(len(readers), CALIBRATION_IMAGES).tolist()
        canvases = _fitted([readers[row]() for row in chosen], record)
        return CalibrationSet(
            canvases=canvases, labelled=None, text=f"calibrated on {counted(len(canvases), 'image')} of {source}"
        )
    paths = [fitted.image_paths[row] for row in even_choice(len(fitted), CALIBRATION_IMAGES).tolist()]
    return CalibrationSet(
        canvases=_fitted([read_image(path) for path in paths], record),
        labelled=scored,
        text=(
            f"calibrated on {counted(len(paths), 'image')} of {source}, split '{fitted.split}'; "
            f"AP on {counted(len(scored), 'image')} of split '{scored.split}'"
        ),
    )


def _fitted(images: list[NDArray[np.uint8]], record: ModelRecord) -> NDArray[np.uint8]:
    return np.stack([fit(image, record.image_size, record.preprocessing)[0] for image in images])
