"""The boxes of a data set as the network sees them: in pixels of its square input."""

import numpy as np
from numpy.typing import NDArray

from lookonce.data.dataset import Dataset

Floats = NDArray[np.float64]


def boxes_on_canvas(dataset: Dataset, image_size: int, resize_mode: str) -> tuple[Floats, NDArray[np.int64]]:
    """(N, 4) corners of the boxes to learn on a canvas with sides of image_size, and (N,) rows of their pictures.

    resize_mode: letterbox (centred) or stretch. Crowd boxes are left out.
    """
    scales = _scales(dataset, image_size, resize_mode)
    offsets = (image_size - dataset.image_sizes_wh * scales) / 2
    rows = np.repeat(np.arange(len(dataset)), np.diff(dataset.box_offsets))[~dataset.crowd]
    boxes = dataset.boxes_xyxy[~dataset.crowd] * np.tile(scales, 2)[rows] + np.tile(offsets, 2)[rows]
    return boxes, rows


def sizes_on_canvas(dataset: Dataset, image_size: int, resize_mode: str) -> Floats:
    """(N, 2) widths and heights of the boxes to learn, in pixels of a canvas with sides of image_size."""
    per_box = np.repeat(_scales(dataset, image_size, resize_mode), np.diff(dataset.box_offsets), axis=0)
    return np.asarray(((dataset.boxes_xyxy[:, 2:] - dataset.boxes_xyxy[:, :2]) * per_box)[~dataset.crowd])


def _scales(dataset: Dataset, image_size: int, resize_mode: str) -> Floats:
    """(pictures, 2) factors on width and height."""
    scales = image_size / np.maximum(dataset.image_sizes_wh, 1)  # 0 where a damaged picture's size is unknown
    if resize_mode == "letterbox":
        return np.broadcast_to(scales.min(1, keepdims=True), scales.shape)
    return np.asarray(scales)
