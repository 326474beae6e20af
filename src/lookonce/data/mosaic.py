"""Mosaic and mixup: a network input of training from one image, four (mosaic), or two other inputs blended (mixup).

`sample_plan` draws all random numbers of a batch before any image is read; `Composition` executes the plan.
Sources: Bochkovskiy et al. 2020 (mosaic), Zhang et al. 2018 (mixup).
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import Floats, area_xyxy
from lookonce.data.augment import (
    DRAWS_PER_TILE,
    Augmentation,
    AugmentationParams,
    clip_boxes,
    params_of,
    paste,
    plan_crop_paste,
)
from lookonce.data.dataset import Dataset
from lookonce.data.order import EpochOrder
from lookonce.letterbox import ImageArray
from lookonce.settings.record import Preprocessing

# Mosaic and mixup partners are drawn from the last 128 positions, the sample's own included. The order is random, so
# these are random images, and the cache still has them: with 256 MB and 1,456 images of 640x480, 1.06 decodings per
# mosaic instead of 3.3 with partners from the whole data set (1.46 with a window of 256).
PARTNER_WINDOW = 128
# Centre of a mosaic, as a fraction of the network input: nearer to the edge an image would be a sliver.
CENTER_RANGE = (0.25, 0.75)
# Beta(8, 8) keeps the mixup weight between about 0.25 and 0.75, so that both images stay recognisable. It is the
# distribution of the median of 15 uniform numbers.
MIXUP_DRAWS = 15
# Tiles of a mosaic: whether each is right of the centre and below it.
CORNERS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
# A sample's random numbers, whatever its augmentation: 2 layers of 4 tiles with a partner each, 2 layers, mixup.
_LAYERS_AT = 2 * 4 * (DRAWS_PER_TILE + 1)
_MIXUP_AT = _LAYERS_AT + 2 * 4
DRAWS_PER_SAMPLE = _MIXUP_AT + 1 + MIXUP_DRAWS

# Row of the data set -> the row of an image that can be read, usually the same, and the image.
Read = Callable[[int], tuple[int, ImageArray]]


@dataclass(frozen=True, kw_only=True)
class CompositionPlan:
    """K tiles of B network inputs, sorted by input and layer.

    An input is one layer, or two that are blended with the weights share and 1 - share. A layer is one tile, or four.
    """

    rows: NDArray[np.int64]  # (K,) of the data set
    layers: NDArray[np.int64]  # (K,) 2 * input for the first layer of an input, 2 * input + 1 for its second
    regions: Floats  # (K, 4) left, top, right, bottom as fractions of the network input, 0..1
    mosaic: NDArray[np.bool_]  # (K,) whether the tile is one of four
    params: AugmentationParams  # of the K tiles
    shares: Floats  # (B,) 1 without a second layer


@dataclass(frozen=True, kw_only=True)
class BatchTargets:
    """The M boxes of a batch of network inputs, sorted by input."""

    boxes_xyxy: Floats  # (M, 4) pixels of the network input
    labels: NDArray[np.int64]  # (M,)
    crowd: NDArray[np.bool_]  # (M,) excluded from the loss
    image_index: NDArray[np.int64]  # (M,) input

    def select(self, kept: NDArray[np.bool_] | NDArray[np.int64]) -> "BatchTargets":
        return BatchTargets(**{name: values[kept] for name, values in vars(self).items()})

    def largest(self, count: int) -> "BatchTargets":
        """At most `count` boxes of each input: the largest, in their original order."""
        if not len(self.labels) or np.bincount(self.image_index).max() <= count:
            return self
        order = np.lexsort((-area_xyxy(self.boxes_xyxy), self.image_index))  # stable
        rank = np.arange(len(order)) - np.searchsorted(self.image_index, self.image_index)
        return self.select(np.sort(order[rank < count]))


def sample_plan(order: EpochOrder, positions: range, augmentation: Augmentation) -> CompositionPlan:
    """The plan of the samples at `positions`. At the start of an epoch partners wrap to its end."""
    draws = order.draws(positions, DRAWS_PER_SAMPLE)
    of_tiles = draws[:, :_LAYERS_AT].reshape(-1, 2, 4, DRAWS_PER_TILE + 1)
    of_layers = draws[:, _LAYERS_AT:_MIXUP_AT].reshape(-1, 2, 4)
    blended = draws[:, _MIXUP_AT] < augmentation.mixup
    mosaic = of_layers[..., 0] < augmentation.mosaic  # (B, 2)
    used = np.repeat(mosaic[..., None], 4, axis=2)  # (B, 2, 4)
    used[..., 0] = True
    used[:, 1] &= blended[:, None]

    own = np.array(positions)
    distance = (of_tiles[..., -1] * min(PARTNER_WINDOW, order.num_images)).astype(np.int64)
    rows = order.rows((own[:, None, None] - distance) % order.num_images)
    own_tile = (4 * of_layers[:, 0, 3] * mosaic[:, 0]).astype(np.int64)
    rows[np.arange(len(own)), 0, own_tile] = order.rows(own)

    samples, layers, tiles = np.nonzero(used)
    mosaic, corners = mosaic[samples, layers], CORNERS[tiles]
    centers = CENTER_RANGE[0] + (CENTER_RANGE[1] - CENTER_RANGE[0]) * of_layers[samples, layers, 1:3]
    centers[~mosaic] = 1
    return CompositionPlan(
        rows=rows[used],
        layers=2 * samples + layers,
        regions=np.concatenate([corners * centers, np.where(corners, 1, centers)], 1),
        mosaic=mosaic,
        params=params_of(of_tiles[used][:, :-1], augmentation),
        shares=np.where(blended, np.sort(draws[:, _MIXUP_AT + 1 :])[:, MIXUP_DRAWS // 2], 1),
    )


class Composition:
    """The network inputs of a batch, of canvas_hw pixels, by a plan. Threads may write several inputs at a time."""

    def __init__(
        self, plan: CompositionPlan, dataset: Dataset, canvas_hw: tuple[int, int], preprocessing: Preprocessing
    ) -> None:
        self._plan = plan
        self._dataset = dataset
        self._canvas_wh = np.array(canvas_hw[::-1])
        self._preprocessing = preprocessing
        # Lists too, because an element of an array takes longer than one of a list.
        self._rows: list[int] = plan.rows.tolist()
        self._rectangles = self._plan_rectangles()
        self._source_and_target: list[list[list[int]]] = self._rectangles.tolist()
        self._flips: list[bool] = plan.params.flip.tolist()
        neutral = (plan.params.color == np.eye(3)).all((1, 2)).tolist()
        self._colors = [None if same else color for same, color in zip(neutral, plan.params.color, strict=True)]
        self._bounds: list[int] = np.searchsorted(plan.layers, np.arange(2 * len(plan.shares) + 1)).tolist()
        self._shares: list[float] = plan.shares.tolist()

    def _plan_rectangles(self) -> NDArray[np.int64]:
        # The size of a damaged image is unknown, (0, 0).
        images_wh = np.maximum(self._dataset.image_sizes_wh[self._rows], 1)
        regions = np.rint(self._plan.regions * np.tile(self._canvas_wh, 2)).astype(np.int64)
        return plan_crop_paste(
            images_wh, regions, self._canvas_wh, self._plan.params, self._preprocessing.resize, self._plan.mosaic
        )

    def write(self, index: int, canvas: ImageArray, read: Read) -> None:
        """Write every pixel of network input `index`, `canvas` (H, W, 3)."""
        self._write_layer(2 * index, canvas, read)
        share = self._shares[index]
        if share < 1:
            second = np.empty_like(canvas)
            self._write_layer(2 * index + 1, second, read)
            cv2.addWeighted(canvas, share, second, 1 - share, 0, dst=canvas)

    def _write_layer(self, layer: int, canvas: ImageArray, read: Read) -> None:
        tiles = range(self._bounds[layer], self._bounds[layer + 1])
        if len(tiles) == 1:  # a mosaic leaves no padding
            canvas[:] = self._preprocessing.pad_value
        for tile in tiles:
            row, image = read(self._rows[tile])
            if row != self._rows[tile]:
                self._rows[tile] = row
                self._rectangles[tile] = self._plan_rectangles()[tile]
                self._source_and_target[tile] = self._rectangles[tile].tolist()
            flip, color, places = self._flips[tile], self._colors[tile], self._source_and_target[tile]
            paste(canvas, image, *places, flip=flip, color=color, preprocessing=self._preprocessing)

    def targets(self) -> BatchTargets:
        """The visible boxes of the inputs, after all were written."""
        rows, flip = np.array(self._rows), self._plan.params.flip
        source, target = self._rectangles.transpose(1, 0, 2)
        scale = (target[:, 2:] - target[:, :2]) / (source[:, 2:] - source[:, :2])
        offset = target[:, :2] - source[:, :2] * scale
        offset[flip, 0] = target[flip, 0] + target[flip, 2] - offset[flip, 0]
        scale[flip, 0] *= -1

        starts = self._dataset.box_offsets[rows]
        counts = self._dataset.box_offsets[rows + 1] - starts
        tiles = np.repeat(np.arange(len(rows)), counts)  # (M,) of each box
        boxes = np.arange(len(tiles)) + (starts - np.cumsum(counts) + counts)[tiles]
        # take is ten times as fast as an index, and pairs of columns four times as fast as an axis of two.
        corners = self._dataset.boxes_xyxy.take(boxes, 0) * np.tile(scale, 2).take(tiles, 0)
        corners += np.tile(offset, 2).take(tiles, 0)
        low, high = corners[:, :2], corners[:, 2:]
        corners = np.concatenate([np.minimum(low, high), np.maximum(low, high)], 1)  # a negative scale swaps them
        crowd = self._dataset.crowd[boxes]
        boxes_xyxy, kept = clip_boxes(corners, target.take(tiles, 0), crowd)
        return BatchTargets(
            boxes_xyxy=boxes_xyxy,
            labels=self._dataset.labels[boxes],
            crowd=crowd,
            image_index=self._plan.layers[tiles] // 2,
        ).select(kept)
