"""`lookonce convert --probe`: the detections under two anchor masks of a Darknet file, side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.prediction.draw import draw
from lookonce.prediction.renderer import encode
from lookonce.settings.record import ModelRecord
from lookonce.storage import os_errors_explained

MOST_SHOWN = 8
GAP_PIXELS, TITLE_PIXELS = 8, 28
SHOWN_PIXELS = 640


def write_mask_sheet(
    path: Path, canvases: NDArray[np.uint8], found: Mapping[str, Sequence[Detections]], record: ModelRecord
) -> None:
    """Writes an image with one row per network input, at most MOST_SHOWN, and one column per mask.

    canvases (B, H, W, 3) uint8 RGB. found: name of the mask -> detections in each of them, in pixels of the input.
    """
    with os_errors_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(_sheet(canvases[:MOST_SHOWN], found, record), path.suffix))


def _sheet(
    canvases: NDArray[np.uint8], found: Mapping[str, Sequence[Detections]], record: ModelRecord
) -> NDArray[np.uint8]:
    scale = max(1, round(SHOWN_PIXELS / canvases.shape[2]))
    width = canvases.shape[2] * scale
    rows = [np.concatenate([_title(name, width) for name in found], axis=1)]
    for image, canvas in enumerate(canvases):
        enlarged = np.asarray(cv2.resize(canvas, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), np.uint8)
        drawn = [_drawn(enlarged, of_mask[image], record, scale) for of_mask in found.values()]
        framed = [np.pad(one, ((0, GAP_PIXELS), (0, GAP_PIXELS), (0, 0)), constant_values=255) for one in drawn]
        rows.append(np.concatenate(framed, axis=1))
    return np.concatenate(rows)


def _drawn(enlarged: NDArray[np.uint8], found: Detections, record: ModelRecord, scale: int) -> NDArray[np.uint8]:
    shown = found.select(found.scores > record.thresholds.score)
    scaled = Detections(boxes_xyxy=shown.boxes_xyxy * scale, scores=shown.scores, labels=shown.labels)
    return draw(enlarged, scaled, record.class_names)


def _title(name: str, width: int) -> NDArray[np.uint8]:
    strip = np.full((TITLE_PIXELS, width + GAP_PIXELS, 3), 255, np.uint8)
    cv2.putText(strip, name, (6, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (16, 16, 16), 1, cv2.LINE_AA)
    return strip
