"""Compose one training input: one image, four images (mosaic), or a blend of two inputs (mixup).

`sample_plan` draws all random numbers before any image is read; `compose` executes the plan.
Sources: Bochkovskiy et al. 2020 (mosaic), Zhang et al. 2018 (mixup).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import Floats, area_xyxy
from lookonce.config.record import Preprocessing
from lookonce.data.augment import (
    Augmentation,
    AugmentationParams,
    Rectangle,
    clip_boxes,
    paste,
    plan_crop_paste,
    sample_params,
)
from lookonce.data.dataset import Dataset
from lookonce.data.letterbox import ImageArray

# Centre of a mosaic, as a fraction of the network input: nearer to the edge an image would be a sliver.
CENTER_RANGE = (0.25, 0.75)
# Beta(8, 8) keeps the mixup weight between about 0.25 and 0.75, so that both images stay recognisable.
MIXUP_BETA = 8.0


@dataclass(frozen=True, kw_only=True)
class CompositionLayer:
    """One image, or four images around center_xy (fractions of the network input's width and height, 0..1)."""

    rows: tuple[int, ...]  # of the data set: 1, or 4 as top left, top right, bottom left, bottom right
    params_of_images: tuple[AugmentationParams, ...]
    center_xy: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True, kw_only=True)
class CompositionPlan:
    """One layer, or two that are blended with the weights share and 1 - share."""

    layers: tuple[CompositionLayer, ...]
    share: float = 1.0

    def with_row_replaced(self, old: int, new: int) -> "CompositionPlan":
        """The plan with another image of the data set in place of `old`."""
        layers = [replace(layer, rows=tuple(new if row == old else row for row in layer.rows)) for layer in self.layers]
        return replace(self, layers=tuple(layers))


@dataclass(frozen=True, kw_only=True)
class ImageTargets:
    """The boxes of one network input: (M, 4) pixels of the input, (M,) class, (M,) excluded from the loss."""

    boxes_xyxy: Floats
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]

    def largest(self, count: int) -> "ImageTargets":
        """At most `count` boxes: the largest, in their original order."""
        if len(self.labels) <= count:
            return self
        kept = np.sort(np.argsort(-area_xyxy(self.boxes_xyxy), kind="stable")[:count])
        return ImageTargets(boxes_xyxy=self.boxes_xyxy[kept], labels=self.labels[kept], crowd=self.crowd[kept])


def sample_plan(
    generator: np.random.Generator,
    image: int,
    partner: Callable[[np.random.Generator], int],
    augmentation: Augmentation,
) -> CompositionPlan:
    """The plan of one sample. image: row of the data set; partner: draws the row of another image."""
    first = _sample_layer(generator, image, partner, augmentation)
    if generator.random() >= augmentation.mixup:
        return CompositionPlan(layers=(first,))
    share = float(generator.beta(MIXUP_BETA, MIXUP_BETA))
    return CompositionPlan(
        layers=(first, _sample_layer(generator, partner(generator), partner, augmentation)), share=share
    )


def _sample_layer(
    generator: np.random.Generator,
    image: int,
    partner: Callable[[np.random.Generator], int],
    augmentation: Augmentation,
) -> CompositionLayer:
    if generator.random() >= augmentation.mosaic:
        return CompositionLayer(rows=(image,), params_of_images=(sample_params(generator, augmentation),))
    images = [image, *(partner(generator) for _ in range(3))]
    return CompositionLayer(
        rows=tuple(int(row) for row in generator.permutation(images)),
        params_of_images=tuple(sample_params(generator, augmentation) for _ in range(4)),
        center_xy=(generator.uniform(*CENTER_RANGE), generator.uniform(*CENTER_RANGE)),
    )


def compose(
    canvas: ImageArray,
    plan: CompositionPlan,
    dataset: Dataset,
    read: Callable[[int], ImageArray],
    preprocessing: Preprocessing,
) -> ImageTargets:
    """Execute a plan: write every pixel of `canvas` (H, W, 3), the network input, and return its visible boxes.

    read: row of the data set -> its image.
    """
    targets = _compose_layer(canvas, plan.layers[0], dataset, read, preprocessing)
    if len(plan.layers) == 1:
        return targets
    second = np.empty_like(canvas)
    more = _compose_layer(second, plan.layers[1], dataset, read, preprocessing)
    canvas[:] = cv2.addWeighted(canvas, plan.share, second, 1 - plan.share, 0)
    return _joined([targets, more])


def _compose_layer(
    canvas: ImageArray,
    layer: CompositionLayer,
    dataset: Dataset,
    read: Callable[[int], ImageArray],
    preprocessing: Preprocessing,
) -> ImageTargets:
    height, width = canvas.shape[:2]
    is_mosaic = len(layer.rows) > 1
    if not is_mosaic:  # a mosaic leaves no padding
        canvas[:] = preprocessing.pad_value
    parts = []
    for row, params, region in zip(layer.rows, layer.params_of_images, _regions(layer, width, height), strict=True):
        image = read(row)
        image_wh = (image.shape[1], image.shape[0])
        crop_paste = plan_crop_paste(image_wh, region, (width, height), params, preprocessing.resize, cover=is_mosaic)
        paste(canvas, image, crop_paste, params, preprocessing)
        rows = dataset.rows(row)
        crowd = dataset.crowd[rows]
        boxes_xyxy, kept = clip_boxes(crop_paste.to_input(dataset.boxes_xyxy[rows]), crop_paste.target, crowd)
        parts.append(ImageTargets(boxes_xyxy=boxes_xyxy[kept], labels=dataset.labels[rows][kept], crowd=crowd[kept]))
    return _joined(parts)


def _regions(layer: CompositionLayer, width: int, height: int) -> list[Rectangle]:
    if len(layer.rows) == 1:
        return [(0, 0, width, height)]
    x, y = round(layer.center_xy[0] * width), round(layer.center_xy[1] * height)
    return [(0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height)]


def _joined(parts: list[ImageTargets]) -> ImageTargets:
    return ImageTargets(
        boxes_xyxy=np.concatenate([part.boxes_xyxy for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        crowd=np.concatenate([part.crowd for part in parts]),
    )
