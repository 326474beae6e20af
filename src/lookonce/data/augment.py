"""Augmentation (crop, flip, scale, colour) of single images; mosaic.py has mosaic and mixup.

A *tile* is one image in a network input: the only one, or one of the four of a mosaic. Images are uint8 (H, W, 3) RGB.
Three steps, so that only visible pixels are computed: `params_of` turns random numbers into parameters,
`plan_crop_paste` turns these into two rectangles (the visible part of the image, and its place in the network input),
both for all tiles of a batch at once; `paste` resizes one tile into its network input.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import Floats, area_xyxy
from lookonce.errors import SettingsError, require_setting
from lookonce.letterbox import ImageArray, resize
from lookonce.settings.record import Preprocessing

# A box is kept while at least a fifth of its area is visible: less is usually an unrecognisable edge, and training on
# it teaches the network to guess. The field uses 0.1 to 0.2.
MIN_VISIBLE_PART = 0.2
# Under 2 pixels a side the resize has averaged the object away: an eighth of a cell at stride 16.
MIN_SIDE_PIXELS = 2.0
# Random numbers of one tile.
DRAWS_PER_TILE = 9


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
            raise SettingsError.of("scale_min", self.scale_min, f"expected over 0, up to scale_max ({self.scale_max})")
        if not 0 <= self.aspect_jitter < 1:
            raise SettingsError.of("aspect_jitter", self.aspect_jitter, "expected a number from 0 to below 1")
        for name in ("saturation", "brightness"):
            require_setting(name, getattr(self, name), lambda factor: factor >= 1, "a maximum factor, 1 or more")


@dataclass(frozen=True, kw_only=True)
class AugmentationParams:
    """The parameters of K tiles; none depends on the image, so they are drawn before it is read."""

    scale: Floats  # (K,)
    aspect: Floats  # (K,) factor of width / height
    place_xy: Floats  # (K, 2) 0..1: position between left/top-most and right/bottom-most
    flip: NDArray[np.bool_]  # (K,)
    color: Floats  # (K, 3, 3) matrices: see `color_matrices`


def params_of(draws: Floats, augmentation: Augmentation) -> AugmentationParams:
    """The parameters of K tiles from uniform random numbers (K, DRAWS_PER_TILE), 0..1."""
    wide, tall, hue, saturation, brightness = 2 * draws[:, [1, 2, 6, 7, 8]].T - 1
    jitter = augmentation.aspect_jitter
    return AugmentationParams(
        scale=augmentation.scale_min + (augmentation.scale_max - augmentation.scale_min) * draws[:, 0],
        aspect=(1 + jitter * wide) / (1 + jitter * tall),
        place_xy=draws[:, 3:5],
        flip=draws[:, 5] < augmentation.flip,
        color=color_matrices(
            augmentation.hue * hue,
            _factors(augmentation.saturation, saturation),
            _factors(augmentation.brightness, brightness),
        ),
    )


def _factors(maximum: float, signed: Floats) -> Floats:
    """Factors 1..maximum where `signed` (-1..1) is positive, else their inverses: Darknet's rand_scale."""
    factors = 1 + (maximum - 1) * np.abs(signed)
    return np.asarray(np.where(signed < 0, 1 / factors, factors))


def color_matrices(hue: Floats, saturation: Floats, brightness: Floats) -> Floats:
    """(K, 3, 3) matrices of RGB columns, whose result is clipped to 0..255.

    hue (K,): turns around the grey axis; saturation and brightness (K,): factors. A device can apply the matrices to a
    batch, and a CPU needs a tenth of the time of shifts in HSV. Those, up to 0.015, 1.5 and 1.3, change pixels of BCCD,
    raccoon and conecube by 14 to 27 of 255 levels in the mean; the matrices give the same pixels to 2 levels.
    """
    mean = np.full((3, 3), 1 / 3)
    axis = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)  # cross product with (1, 1, 1) / sqrt(3)
    angle = 2 * np.pi * hue[:, None, None]
    chroma = np.cos(angle) * (np.eye(3) - mean) + np.sin(angle) * axis
    return np.asarray(brightness[:, None, None] * (mean + saturation[:, None, None] * chroma))


def plan_crop_paste(
    images_wh: NDArray[np.integer],
    regions: NDArray[np.int64],
    canvas_wh: NDArray[np.integer],
    params: AugmentationParams,
    resize: str,
    cover: NDArray[np.bool_],
) -> NDArray[np.int64]:
    """(K, 2, 4) source, the rectangle of an image that is visible, and target, its place in the network input.

    Rectangles are left, top, right, bottom in whole pixels. images_wh (K, 2); regions (K, 4) and canvas_wh (2,) of the
    network input, to which params.scale is relative. cover (K,): enlarge the image until it fills its region.
    """
    low, high = regions[:, :2], regions[:, 2:]
    root = np.sqrt(params.aspect)
    scaled_wh = np.stack([root, 1 / root], 1) * (canvas_wh if resize == "stretch" else images_wh)
    fitted = np.ones(len(regions)) if resize == "stretch" else (canvas_wh / scaled_wh).min(1)
    scaled_wh *= (fitted * params.scale)[:, None]
    scaled_wh *= np.where(cover, np.maximum((high - low) / scaled_wh, 1).max(1), 1)[:, None]
    scaled = np.maximum(np.rint(scaled_wh), 1).astype(np.int64)
    start = low + np.rint(params.place_xy * (high - low - scaled)).astype(np.int64)
    first, stop = np.maximum(low, start), np.minimum(high, start + scaled)
    # Rounded outwards to whole source pixels; boxes use the same rectangles, so the rounding adds no error to them.
    source_first = (first - start) * images_wh // scaled
    source_stop = np.minimum(-((start - stop) * images_wh // scaled), images_wh)
    return np.concatenate([source_first, source_stop, first, stop], 1).reshape(-1, 2, 4)


def paste(
    canvas: ImageArray,
    image: ImageArray,
    source: Sequence[int],
    target: Sequence[int],
    *,
    flip: bool,
    color: Floats | None,
    preprocessing: Preprocessing,
) -> None:
    """Resize the source rectangle into the target rectangle of `canvas`, the network input; other pixels are unchanged.

    Colours change here, by a matrix (3, 3), on the image only, so that padding keeps its value at inference.
    """
    left, top, right, bottom = source
    x, y, x_stop, y_stop = target
    part = resize(image[top:bottom, left:right], (x_stop - x, y_stop - y), preprocessing)
    place = canvas[y:y_stop, x:x_stop]
    # The last step writes into the network input: one copy less, 5 % of the time of a mosaic of 640 pixels.
    if color is not None:
        part = np.asarray(cv2.transform(part, color, dst=None if flip else place), dtype=np.uint8)
    if flip:
        cv2.flip(part, 1, dst=place)
    elif color is None:
        place[:] = part


def clip_boxes(
    boxes_xyxy: Floats, windows: NDArray[np.int64], crowd: NDArray[np.bool_]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Clip boxes (M, 4) to windows (M, 4) of the network input; also (M,) which boxes are visible enough to keep.

    A crowd box only marks where predictions cost nothing, so any visible part of it is kept.
    """
    clipped = np.clip(boxes_xyxy, windows[:, [0, 1, 0, 1]], windows[:, [2, 3, 2, 3]])
    visible = area_xyxy(clipped)
    sides = (clipped[:, 2:] - clipped[:, :2]).min(axis=1)
    learnable = (visible >= MIN_VISIBLE_PART * area_xyxy(boxes_xyxy)) & (sides >= MIN_SIDE_PIXELS)
    return clipped, np.where(crowd, visible > 0, learnable)
