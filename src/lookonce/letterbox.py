"""Letterbox and stretch: fit an image to the network input, and map boxes to the input and back.

Images are uint8 (H, W, 3) RGB. Every runtime does this at inference; cpp/src/letterbox.cc does the same in C++.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import Floats
from lookonce.settings.record import Preprocessing

ImageArray = NDArray[np.uint8]

INTERPOLATIONS = {
    "linear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "nearest": cv2.INTER_NEAREST,
    "cubic": cv2.INTER_CUBIC,
}


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Position of an image in the network input: input = original * scale + offset, in continuous pixels."""

    scale_xy: tuple[float, float]
    offset_xy: tuple[float, float]
    original_wh: tuple[int, int]

    def to_input(self, boxes_xyxy: Floats) -> Floats:
        """(..., 4) pixels of the original -> (..., 4) pixels of the network input, same dtype."""
        scale, offset = self._factors(boxes_xyxy.dtype)
        return boxes_xyxy * scale + offset

    def to_original(self, boxes_xyxy: Floats) -> Floats:
        """(..., 4) pixels of the network input -> (..., 4) pixels of the original, clipped to it, same dtype."""
        scale, offset = self._factors(boxes_xyxy.dtype)
        limits = np.array(self.original_wh * 2, dtype=boxes_xyxy.dtype)
        return np.clip((boxes_xyxy - offset) / scale, 0, limits)

    def _factors(self, dtype: np.dtype[np.floating]) -> tuple[Floats, Floats]:
        return np.array(self.scale_xy * 2, dtype=dtype), np.array(self.offset_xy * 2, dtype=dtype)


def fit(image: ImageArray, size_hw: tuple[int, int], preprocessing: Preprocessing) -> tuple[ImageArray, Placement]:
    """Image (h, w, 3) -> network input (H, W, 3) and the image's position in it, as at inference.

    "letterbox" keeps the aspect ratio, centres (an odd pixel of padding goes right or bottom) and pads;
    "stretch" fills the input and changes the aspect ratio. Channels keep their order.
    """
    canvas = np.empty((*size_hw, 3), dtype=np.uint8)
    (height, width), (canvas_height, canvas_width) = image.shape[:2], size_hw
    fitted_wh = (canvas_width, canvas_height)
    if preprocessing.resize == "letterbox":
        fitted_wh = letterbox_wh((width, height), fitted_wh)
    left, top = (canvas_width - fitted_wh[0]) // 2, (canvas_height - fitted_wh[1]) // 2
    right, bottom = left + fitted_wh[0], top + fitted_wh[1]
    if fitted_wh != (canvas_width, canvas_height):
        canvas[:] = preprocessing.pad_value
    canvas[top:bottom, left:right] = resize(image, fitted_wh, preprocessing)
    scale_xy = (fitted_wh[0] / width, fitted_wh[1] / height)
    return canvas, Placement(scale_xy=scale_xy, offset_xy=(left, top), original_wh=(width, height))


def letterbox_wh(image_wh: tuple[int, int], canvas_wh: tuple[int, int]) -> tuple[int, int]:
    """Largest size with the image's aspect ratio inside canvas_wh; halves round up, at least 1 pixel a side.

    Integer arithmetic, so that C++ gets the same pixel for every size.
    """
    (width, height), (canvas_width, canvas_height) = image_wh, canvas_wh
    if canvas_width * height <= canvas_height * width:
        return canvas_width, max(1, (2 * height * canvas_width + width) // (2 * width))
    return max(1, (2 * width * canvas_height + height) // (2 * height)), canvas_height


def resize(image: ImageArray, size_wh: tuple[int, int], preprocessing: Preprocessing) -> ImageArray:
    """Image (h, w, 3) -> (H, W, 3) of size_wh; unchanged if it already has that size."""
    if (image.shape[1], image.shape[0]) == size_wh:
        return image
    return np.asarray(
        cv2.resize(image, size_wh, interpolation=INTERPOLATIONS[preprocessing.interpolation]), dtype=np.uint8
    )
