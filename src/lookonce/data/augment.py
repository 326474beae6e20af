"""Augmentation (crop, flip, scale, colour): from an image and its boxes to the network input.

Images are uint8 (H, W, 3) RGB. Three steps, so that only visible pixels are computed: `sample_params` draws all random
numbers, `plan_crop_paste` turns them into two rectangles (the visible part of the image, and its place in the network
input), `paste` resizes that part into the network input. Boxes are mapped by the same two rectangles.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import Floats, area_xyxy
from lookonce.config.record import Preprocessing
from lookonce.data.letterbox import ImageArray, resize
from lookonce.errors import SettingsError

Rectangle = tuple[int, int, int, int]  # left, top, right, bottom in whole pixels

# A box is kept while at least a fifth of its area is visible: less is usually an unrecognisable edge, and training on
# it teaches the network to guess. The field uses 0.1 to 0.2.
MIN_VISIBLE_PART = 0.2
# Under 2 pixels a side the resize has averaged the object away: an eighth of a cell at stride 16.
MIN_SIDE_PIXELS = 2.0


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Ranges of the augmentation parameters. The defaults here change only the position of the padding."""

    scale_min: float = 1.0  # factor on the letterboxed size; below 1 adds padding, above 1 crops
    scale_max: float = 1.0
    aspect_jitter: float = 0.0  # width / height changes by (1 +- jitter) / (1 +- jitter), below 1
    flip: float = 0.0  # probability of a horizontal flip
    hue: float = 0.0  # maximum hue shift either way, as a fraction of the colour circle, 0..0.5
    saturation: float = 1.0  # factor between 1 / saturation and saturation, >= 1
    brightness: float = 1.0  # factor between 1 / brightness and brightness, >= 1
    mosaic: float = 0.0  # probability of four images in one network input
    mixup: float = 0.0  # probability of blending with a second network input

    def __post_init__(self) -> None:
        if not 0 < self.scale_min <= self.scale_max:
            raise SettingsError(
                f"scale_min {self.scale_min} and scale_max {self.scale_max}: expected 0 < scale_min <= scale_max",
                setting="scale_min",
                value=self.scale_min,
            )
        if not 0 <= self.aspect_jitter < 1:
            raise SettingsError(
                f"aspect_jitter {self.aspect_jitter}: expected a number from 0 to below 1",
                setting="aspect_jitter",
                value=self.aspect_jitter,
            )
        if min(self.saturation, self.brightness) < 1:
            raise SettingsError(
                f"saturation {self.saturation}, brightness {self.brightness}: expected maximum factors, 1 or more",
                setting="saturation",
                value=self.saturation,
            )


@dataclass(frozen=True, kw_only=True)
class AugmentationParams:
    """The random numbers for one image; none depends on the image, so they are drawn before it is read."""

    scale: float = 1.0
    aspect: float = 1.0  # factor of width / height
    place_xy: tuple[float, float] = (0.5, 0.5)  # 0..1: position between left/top-most and right/bottom-most
    flip: bool = False
    hue: float = 0.0  # -0.5..0.5 of the colour circle
    saturation: float = 1.0
    brightness: float = 1.0


def sample_params(generator: np.random.Generator, augmentation: Augmentation) -> AugmentationParams:
    """Draw the augmentation parameters of one image; every call draws the same count of numbers."""
    jitter = augmentation.aspect_jitter
    return AugmentationParams(
        scale=generator.uniform(augmentation.scale_min, augmentation.scale_max),
        aspect=generator.uniform(1 - jitter, 1 + jitter) / generator.uniform(1 - jitter, 1 + jitter),
        place_xy=(generator.random(), generator.random()),
        flip=generator.random() < augmentation.flip,
        hue=generator.uniform(-augmentation.hue, augmentation.hue),
        saturation=augmentation.saturation ** generator.uniform(-1, 1),
        brightness=augmentation.brightness ** generator.uniform(-1, 1),
    )


@dataclass(frozen=True, kw_only=True)
class CropPaste:
    """A source rectangle of an image and its target rectangle in the network input, both in whole pixels."""

    source: Rectangle
    target: Rectangle
    flip: bool = False

    def to_input(self, boxes_xyxy: Floats) -> Floats:
        """(M, 4) pixels of the image -> (M, 4) pixels of the network input, not clipped."""
        source, target = np.array(self.source, dtype=np.float64), np.array(self.target, dtype=np.float64)
        scale_xy = (target[2:] - target[:2]) / (source[2:] - source[:2])
        boxes = (boxes_xyxy - np.tile(source[:2], 2)) * np.tile(scale_xy, 2) + np.tile(target[:2], 2)
        if self.flip:
            boxes[:, [0, 2]] = target[0] + target[2] - boxes[:, [2, 0]]
        return boxes


def plan_crop_paste(
    image_wh: tuple[int, int],
    region: Rectangle,
    canvas_wh: tuple[int, int],
    params: AugmentationParams,
    resize: str,
    *,
    cover: bool = False,
) -> CropPaste:
    """The part of an image that is visible in a region of the network input (`canvas`).

    params.scale is relative to the image fitted to the network input. cover: enlarge the image until it fills the
    region.
    """
    width, height = _scaled_wh(image_wh, canvas_wh, params, resize)
    region_wh = (region[2] - region[0], region[3] - region[1])
    if cover:
        grow = max(1.0, region_wh[0] / width, region_wh[1] / height)
        width, height = width * grow, height * grow
    source_x, target_x = _visible(image_wh[0], width, (region[0], region[2]), params.place_xy[0])
    source_y, target_y = _visible(image_wh[1], height, (region[1], region[3]), params.place_xy[1])
    return CropPaste(
        source=(source_x[0], source_y[0], source_x[1], source_y[1]),
        target=(target_x[0], target_y[0], target_x[1], target_y[1]),
        flip=params.flip,
    )


def _scaled_wh(
    image_wh: tuple[int, int], canvas_wh: tuple[int, int], params: AugmentationParams, resize: str
) -> tuple[float, float]:
    stretch = math.sqrt(params.aspect)
    if resize == "stretch":
        return canvas_wh[0] * params.scale * stretch, canvas_wh[1] * params.scale / stretch
    width, height = image_wh[0] * stretch, image_wh[1] / stretch
    factor = min(canvas_wh[0] / width, canvas_wh[1] / height) * params.scale
    return width * factor, height * factor


def _visible(
    length: int, scaled: float, region: tuple[int, int], place_at: float
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Along one axis: (start, stop) in the image of `length` pixels and (start, stop) in the network input."""
    scaled_pixels = max(1, round(scaled))
    start = region[0] + round(place_at * (region[1] - region[0] - scaled_pixels))
    target = max(region[0], start), min(region[1], start + scaled_pixels)
    # Rounded outwards to whole source pixels; boxes use the same rectangles, so the rounding adds no error to them.
    source_start = (target[0] - start) * length // scaled_pixels
    source_stop = -((start - target[1]) * length // scaled_pixels)
    return (source_start, min(length, source_stop)), target


def paste(
    canvas: ImageArray,
    image: ImageArray,
    crop_paste: CropPaste,
    params: AugmentationParams,
    preprocessing: Preprocessing,
) -> None:
    """Resize the source rectangle into the target rectangle of `canvas`, the network input; other pixels are unchanged.

    Colours change here, on the image only, so that padding keeps its value at inference.
    """
    left, top, right, bottom = crop_paste.source
    x, y, x_stop, y_stop = crop_paste.target
    part = resize(image[top:bottom, left:right], (x_stop - x, y_stop - y), preprocessing)
    part = shift_colors(part, params)
    canvas[y:y_stop, x:x_stop] = part[:, ::-1] if crop_paste.flip else part


def shift_colors(image: ImageArray, params: AugmentationParams) -> ImageArray:
    """Shift hue, multiply saturation and brightness (HSV value), through a table of 256 entries per channel."""
    if (params.hue, params.saturation, params.brightness) == (0.0, 1.0, 1.0):
        return image
    levels = np.arange(256)
    table = np.empty((1, 256, 3), dtype=np.uint8)
    table[0, :, 0] = (levels + round(params.hue * 256)) % 256  # the _FULL conversions spread the circle over 0..255
    table[0, :, 1] = np.clip(np.rint(levels * params.saturation), 0, 255)
    table[0, :, 2] = np.clip(np.rint(levels * params.brightness), 0, 255)
    hsv = cv2.LUT(cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL), table)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL), dtype=np.uint8)


def clip_boxes(boxes_xyxy: Floats, window: Sequence[int], crowd: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.bool_]]:
    """Clip boxes (M, 4) to a window of the network input; also (M,) which boxes are visible enough to keep.

    A crowd box only marks where predictions cost nothing, so any visible part of it is kept.
    """
    limits = np.array(window, dtype=boxes_xyxy.dtype)
    clipped = np.clip(boxes_xyxy, np.tile(limits[:2], 2), np.tile(limits[2:], 2))
    visible = area_xyxy(clipped)
    sides = (clipped[:, 2:] - clipped[:, :2]).min(axis=1)
    learnable = (visible >= MIN_VISIBLE_PART * area_xyxy(boxes_xyxy)) & (sides >= MIN_SIDE_PIXELS)
    return clipped, np.where(crowd, visible > 0, learnable)
