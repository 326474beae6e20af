"""`lookonce anchors`: fits six anchors to a data set, and measures whether they beat the current ones."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from lookonce.data.anchors import (
    ANCHOR_STRIDES,
    best_possible_recall,
    boxes_at_input,
    fit_anchors,
    mean_best_overlap,
    with_floor,
)
from lookonce.data.source import open_data
from lookonce.errors import DataError, SettingsError
from lookonce.layout import Printed
from lookonce.reports.scatter import write_scatter
from lookonce.request import Listed
from lookonce.settings.image_size import size_hw, size_in_words
from lookonce.settings.names import counted
from lookonce.settings.record import DEFAULT_ANCHORS
from lookonce.settings.schema import Settings, default_of
from lookonce.settings.text import explain, parse_text, to_text
from lookonce.shown import percent

Sizes = NDArray[np.float64]

# Minimum gain of mean IoU on held-out images, required on both halves of the images.
REAL_GAIN = 0.02
LOST_RECALL = 0.001


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How well six anchors fit the objects. overlap: mean IoU with the best anchor; recalls: fractions, 0..1."""

    anchors: tuple[tuple[float, float], ...]
    overlap: float
    recall_16: float
    recall_32: float
    recall: float


@dataclass(frozen=True, kw_only=True)
class AnchorAdvice(Printed):
    """now: the current anchors; fitted: the new ones; chosen: fitted if its gain is significant, else now.

    held_out: for each half of the images, mean IoU of the current anchors and of those fitted to the other half. plot:
    the file of this name, if it was written.
    """

    split: str
    objects: int
    images: int
    image_size: tuple[int, int]  # height and width
    now: Fit
    fitted: Fit
    held_out: tuple[tuple[float, float], ...]
    plot: Path | None = None

    @property
    def gain_is_real(self) -> bool:
        better = all(after - before >= REAL_GAIN for before, after in self.held_out)
        return bool(self.held_out) and better and self.fitted.recall >= self.now.recall - LOST_RECALL

    @property
    def chosen(self) -> Fit:
        return self.fitted if self.gain_is_real else self.now


def anchors(
    data: str | Path,
    *,
    images: Path | None = None,
    follow_links: bool = False,
    split: str = "train",
    image_size: int | Listed = 416,
    current: str = "default",
    restarts: int = 100,
    seed: int = 0,
    plot: Path | None = None,
) -> AnchorAdvice:
    """Fit six anchors to a data set, and recommend them if they beat the current anchors on held-out images.

    Runs k-means on the IoU of box sizes with many random starts. No side of an anchor is below half the stride of its
    head. `lookonce train` fits anchors itself unless they are set; use this verb to inspect or to fix anchors.

    Parameters
    ----------
    data
        Labelled images: a data set in any layout of docs/data.md, or an annotation JSON together with --images.
    images
        Image folder of an annotation JSON.
    follow_links
        Read images through symbolic links that lead out of the data set; without it they are refused.
    split
        Split to fit to.
    image_size
        Side of the network input in pixels, or height x width, such as 416x224; images are letterboxed into it.
    current
        Current anchors: default (those of COCO), or six [width,height] pairs in pixels.
    restarts
        Random starts of k-means, 1 or more; the best is kept.
    seed
        Random seed; the same seed gives the same anchors.
    plot
        SVG file to write with a plot of box sizes and anchors.
    """
    if restarts < 1:
        raise SettingsError.of("restarts", restarts, "expected 1 or more")
    before = np.array(_checked(image_size, current))
    dataset = open_data(data, images, follow_links=follow_links).split(split)
    hw = size_hw(image_size)
    boxes, rows = boxes_at_input(dataset, hw, default_of("resize_mode"))
    if not len(boxes):
        raise DataError.at(data, f"split {split!r} has no boxes; anchors need at least 1, see lookonce check")
    sizes = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    after = _fit(sizes, seed, restarts)
    advice = AnchorAdvice(
        split=split,
        objects=len(sizes),
        images=len(dataset),
        image_size=hw,
        now=_measure(sizes, before),
        fitted=_measure(sizes, after),
        held_out=tuple(_held_out(sizes, rows, before, seed, restarts)),
        plot=plot,
    )
    if plot is not None:
        write_scatter(plot, sizes, {"current anchors": before, "fitted anchors": after}, max(hw))
    return advice


def as_text(advice: AnchorAdvice) -> Iterator[str]:
    """Lines for a terminal; the last is the option for `lookonce train`."""
    objects, images = counted(advice.objects, "object"), counted(advice.images, "image")
    yield f"{objects} in {images} of split {advice.split!r}, at {size_in_words(advice.image_size)} pixels"
    yield "                 within 4x of an anchor of"
    yield "        mean IoU  stride 16  stride 32  either  anchors"
    for name, fit in (("now", advice.now), ("fitted", advice.fitted)):
        sizes = "  ".join(f"{width:g}x{height:g}" for width, height in fit.anchors)
        heads = "".join(f"{percent(recall):>11}" for recall in (fit.recall_16, fit.recall_32))
        yield f"{name:<8}{fit.overlap:8.3f}{heads}{percent(fit.recall):>8}  {sizes}"
    halves = ", ".join(f"{before:.3f} -> {after:.3f}" for before, after in advice.held_out)
    yield f"mean IoU on each half, fitted to the other half: {halves or 'unknown, fewer than 10 images with objects'}"
    needed = f"{REAL_GAIN:g} mean IoU on both halves without loss of recall"
    kept = f"no significant gain ({needed}): keep the current anchors"
    if advice.plot is not None:
        yield f"written: {advice.plot}"
    yield "the fitted anchors are better: use them" if advice.gain_is_real else kept
    yield f'--anchors "{to_text(advice.chosen.anchors)}"'


def _checked(image_size: int | str, current: str) -> tuple[tuple[float, float], ...]:
    """The current anchors; SettingsError unless training would accept both values."""
    try:
        settings = Settings(image_size=image_size, anchors=parse_text("anchors", current))
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        setting, value = ("current", current) if name == "anchors" else ("image_size", image_size)
        raise SettingsError.of(setting, value, f"{explain(name, error)}") from error
    if settings.anchors == "auto":
        problem = "expected default or six [width,height] pairs (this verb computes auto)"
        raise SettingsError.of("current", "auto", problem)
    return DEFAULT_ANCHORS if settings.anchors == "default" else settings.anchors


def _fit(sizes: Sizes, seed: int, restarts: int) -> Sizes:
    """Six anchors, rounded to 0.1 pixel as in training."""
    return with_floor(np.round(fit_anchors(sizes, seed=seed, restarts=restarts), 1), ANCHOR_STRIDES)


def _measure(sizes: Sizes, anchors_wh: Sizes) -> Fit:
    half = len(anchors_wh) // 2
    return Fit(
        anchors=tuple((float(width), float(height)) for width, height in anchors_wh),
        overlap=mean_best_overlap(sizes, anchors_wh),
        recall_16=best_possible_recall(sizes, anchors_wh[:half]),
        recall_32=best_possible_recall(sizes, anchors_wh[half:]),
        recall=best_possible_recall(sizes, anchors_wh),
    )


def _held_out(
    sizes: Sizes, rows: NDArray[np.int64], before: Sizes, seed: int, restarts: int
) -> Iterator[tuple[float, float]]:
    """For each half of the images with objects, mean IoU of the current anchors and of those fitted to the other half.

    Yields nothing with fewer than 10 images. Images are split, not objects, as objects of one image are alike.
    """
    images = np.random.default_rng([seed, 1]).permutation(np.unique(rows))
    if len(images) < 10:
        return
    first = np.isin(rows, images[::2])
    for half in (first, ~first):
        after = _fit(sizes[~half], seed, restarts)
        yield mean_best_overlap(sizes[half], before), mean_best_overlap(sizes[half], after)
