"""Recommends an image size: fraction of tiny objects, recall bound of the anchors, operations per image."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookonce.data.anchors import (
    ANCHOR_STRIDES,
    best_possible_recall,
    boxes_at_input,
    crowded_share,
    fit_anchors,
    mean_best_overlap,
)
from lookonce.data.dataset import Dataset
from lookonce.data.selection import even_choice, take_images
from lookonce.model.layers import steps_of
from lookonce.settings.image_size import hw_of
from lookonce.settings.record import FULL_CHANNELS
from lookonce.settings.schema import default_of
from lookonce.shown import percent

IMAGE_SIZES = tuple(range(320, 641, 32))
TINY_PIXELS = 8.0
# A smaller loss is within the noise of AP.
ACCEPTED = 0.02
WORTH_A_SIZE = 0.01
TOO_MANY_TINY = 0.1
MOST_IMAGES = 5000  # evenly spaced; more change no shown digit, and COCO's 118,000 would take half a minute


@dataclass(frozen=True, kw_only=True)
class SizeRow:
    """All but image_size and gflop are 0..1; fractions are of the objects to learn.

    tiny: fraction with sqrt(width * height) under TINY_PIXELS. recall_16, recall_32, recall: fraction that an anchor of
    the stride-16 head, of the stride-32 head, of either can fit. overlap: mean IoU with the best anchor. crowded:
    fraction that shares cell and anchor with another object. gflop: of the network of full width, per image.
    """

    image_size: int
    tiny: float
    recall_16: float
    recall_32: float
    recall: float
    overlap: float
    crowded: float
    gflop: float


@dataclass(frozen=True, kw_only=True)
class Advice:
    """rows: one for each of IMAGE_SIZES. image_size: the recommended one. words: the reasons, in sentences."""

    split: str
    objects: int
    rows: tuple[SizeRow, ...]
    image_size: int
    words: tuple[str, ...]


def advise(dataset: Dataset) -> Advice | None:
    """The advice, or None if there are no objects.

    The anchors are fitted to the objects, as in training, and scale with the image size.
    """
    dataset = take_images(dataset, even_choice(len(dataset), MOST_IMAGES))
    boxes, _ = boxes_at_input(dataset, hw_of(IMAGE_SIZES[-1]), default_of("resize_mode"))
    if not len(boxes):
        return None
    shares = fit_anchors(_sizes(boxes)) / IMAGE_SIZES[-1]
    rows = tuple(_row(dataset, size, shares * size) for size in IMAGE_SIZES)
    last = rows[-1]  # the smallest that loses few objects, or few more than the largest size does
    tiny, crowded = (max(ACCEPTED, lost + WORTH_A_SIZE) for lost in (last.tiny, last.crowded))
    best = next(row for row in rows if row.tiny <= tiny and row.crowded <= crowded)
    usual_side = int(np.median(dataset.image_sizes_wh.max(axis=1)))
    return Advice(
        split=dataset.split,
        objects=len(boxes),
        rows=rows,
        image_size=best.image_size,
        words=tuple(_words(rows, best, usual_side)),
    )


def _sizes(boxes_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 1.0)


def _row(dataset: Dataset, image_size: int, anchors: NDArray[np.float64]) -> SizeRow:
    boxes, image_rows = boxes_at_input(dataset, hw_of(image_size), default_of("resize_mode"))
    sizes = _sizes(boxes)
    half = len(anchors) // 2
    steps = steps_of(FULL_CHANNELS, len(dataset.class_names), hw_of(image_size))
    return SizeRow(
        image_size=image_size,
        tiny=float((np.sqrt(sizes.prod(1)) < TINY_PIXELS).mean()),
        recall_16=best_possible_recall(sizes, anchors[:half]),
        recall_32=best_possible_recall(sizes, anchors[half:]),
        recall=best_possible_recall(sizes, anchors),
        overlap=mean_best_overlap(sizes, anchors),
        crowded=crowded_share(boxes, image_rows, anchors, ANCHOR_STRIDES),
        gflop=2 * sum(step.macs for step in steps) / 1e9,
    )


def _words(rows: Sequence[SizeRow], best: SizeRow, usual_side: int) -> Iterator[str]:
    """usual_side: median of the longer sides of the images, pixels."""
    first, last = rows[0], rows[-1]
    yield f"Train with --image-size {best.image_size}."
    if best is not first:
        before = rows[rows.index(best) - 1]
        yield f"At {before.image_size}, {_lost(before)}; at {best.image_size}, {_lost(best)}."
    else:
        yield f"At {best.image_size}, the smallest size compared, {_lost(best)}."
    if best is not last:
        yield (
            f"An image takes {best.gflop:.1f} GFLOP at {best.image_size} and {last.gflop:.1f} at "
            f"{last.image_size}, where few more objects can be detected, although boxes may be more precise."
        )
    if last.tiny > TOO_MANY_TINY:
        yield (
            f"Even at {last.image_size}, {percent(last.tiny)} of the objects are under {TINY_PIXELS:g} pixels: split "
            "the images into tiles, or take them from a shorter distance."
        )
    if usual_side < best.image_size:
        yield f"Most images have at most {usual_side} pixels a side: upscaling separates objects but adds no detail."
    if best.recall < 1 - ACCEPTED:
        yield (
            f"The anchors can fit {percent(best.recall)} of the objects: their sizes vary more than six anchors cover."
        )


def _lost(row: SizeRow) -> str:
    if not row.tiny and not row.crowded:
        return f"no object is under {TINY_PIXELS:g} pixels, and none shares its cell and anchor with another"
    return (
        f"{percent(row.tiny)} of the objects are under {TINY_PIXELS:g} pixels, and {percent(row.crowded)} share "
        "their cell and anchor with another"
    )
