"""`lookonce anchors`: six typical object sizes for a data set, and whether they are worth a change."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from lookonce.config.record import DEFAULT_ANCHORS
from lookonce.config.schema import Settings, default_of
from lookonce.config.text import explain, parse_text, to_text
from lookonce.data.letterbox import boxes_at_input
from lookonce.data.source import open_data
from lookonce.errors import DataError, SettingsError
from lookonce.model.anchors import (
    ANCHOR_STRIDES,
    best_possible_recall,
    fit_anchors,
    mean_best_overlap,
    with_floor,
)
from lookonce.report.scatter import write_scatter

Sizes = NDArray[np.float64]

# Mean IoU that new anchors must add on pictures that they were not fitted to, on either half of the pictures.
REAL_GAIN = 0.02
LOST_RECALL = 0.001


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How well six anchors suit the objects. overlap: mean IoU with the best anchor; recalls: shares, 0..1."""

    anchors: tuple[tuple[float, float], ...]
    overlap: float
    recall_16: float
    recall_32: float
    recall: float


@dataclass(frozen=True, kw_only=True)
class AnchorAdvice:
    """now: the anchors in use; fitted: those found; chosen: one of the two.

    held_out: for each half of the pictures, the mean IoU of the anchors in use and of those fitted to the other half.
    """

    split: str
    objects: int
    pictures: int
    image_size: int
    now: Fit
    fitted: Fit
    held_out: tuple[tuple[float, float], ...]

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
    split: str = "train",
    image_size: int = 416,
    current: str = "default",
    restarts: int = 100,
    seed: int = 0,
    plot: Path | None = None,
) -> AnchorAdvice:
    """Fit six anchors to the objects of a data set, and keep the present ones unless the gain is real.

    k-means on the overlap of sizes, from many starts; no anchor gets sides under half the stride of its head. The gain
    is measured on pictures that the anchors were not fitted to. `lookonce train` fits its anchors by itself unless
    they are given: this verb is for a look, and for anchors that have to stay as they are.

    Parameters
    ----------
    data
        Labelled pictures: a COCO, VOC or YOLO data set, or an annotation JSON together with --images.
    images
        Folder of the pictures of an annotation JSON.
    split
        Part to fit to.
    image_size
        Side of the square that the network sees, in pixels; pictures are letterboxed into it.
    current
        Anchors in use: default (those of COCO), or six [width,height] pairs.
    restarts
        Random starts of k-means; the best is kept.
    seed
        Start of all random choices: same seed, same anchors.
    plot
        SVG file to draw sizes and anchors into.
    """
    if restarts < 1:
        raise SettingsError(f"restarts is {restarts}, expected 1 or more", setting="restarts", value=restarts)
    before = np.array(_checked(image_size, current))
    dataset = open_data(data, images).split(split)
    boxes, rows = boxes_at_input(dataset, image_size, default_of("resize_mode"))
    if not len(boxes):
        raise DataError(f"{data}: split {split!r} has no box to fit anchors to; see lookonce check", path=data)
    sizes = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    after = _fit(sizes, seed, restarts)
    advice = AnchorAdvice(
        split=split,
        objects=len(sizes),
        pictures=len(dataset),
        image_size=image_size,
        now=_measure(sizes, before),
        fitted=_measure(sizes, after),
        held_out=tuple(_held_out(sizes, rows, before, seed, restarts)),
    )
    if plot is not None:
        write_scatter(plot, sizes, {"now": before, "fitted": after}, image_size)
    return advice


def as_text(advice: AnchorAdvice) -> Iterator[str]:
    """Lines for a terminal; the last is what to type."""
    yield f"{advice.objects} objects of {advice.pictures} pictures ({advice.split}), at {advice.image_size} pixels"
    yield "                 within 4x of an anchor of"
    yield "        mean IoU  stride 16  stride 32  either  anchors"
    for name, fit in (("now", advice.now), ("fitted", advice.fitted)):
        yield (
            f"{name:<8}{fit.overlap:8.3f}{fit.recall_16:11.1%}{fit.recall_32:11.1%}{fit.recall:8.1%}  "
            f"{'  '.join(f'{width:g}x{height:g}' for width, height in fit.anchors)}"
        )
    halves = ", ".join(f"{before:.3f} -> {after:.3f}" for before, after in advice.held_out)
    yield f"fitted to one half of the pictures, mean IoU on the other: {halves or 'too few pictures to tell'}"
    yield _verdict(advice)
    yield f'--anchors "{to_text(advice.chosen.anchors)}"'


def _verdict(advice: AnchorAdvice) -> str:
    if advice.gain_is_real:
        return "the gain is real: take the fitted ones"
    return f"no real gain (at least {REAL_GAIN:g} of mean IoU on both halves, no recall lost): keep those of now"


def _checked(image_size: int, current: str) -> tuple[tuple[float, float], ...]:
    """The anchors in use, where both settings are what training would take."""
    try:
        settings = Settings(image_size=image_size, anchors=parse_text("anchors", current))
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        setting, value = ("current", current) if name == "anchors" else ("image_size", image_size)
        raise SettingsError(f"{setting} is {value}; {explain(name, error)}", setting=setting, value=value) from error
    if settings.anchors == "auto":
        raise SettingsError(
            "current is auto, which is what this verb finds; expected default, or six pairs",
            setting="current",
            value="auto",
        )
    return DEFAULT_ANCHORS if settings.anchors == "default" else settings.anchors


def _fit(sizes: Sizes, seed: int, restarts: int) -> Sizes:
    """To a tenth of a pixel, as training rounds them."""
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
    """For each half of the pictures that have objects, before and after on that half; nothing with under 10 pictures.

    Halves of pictures, not of objects: those of one picture are of a kind.
    """
    images = np.random.default_rng([seed, 1]).permutation(np.unique(rows))
    if len(images) < 10:
        return
    first = np.isin(rows, images[::2])
    for half in (first, ~first):
        after = _fit(sizes[~half], seed, restarts)
        yield mean_best_overlap(sizes[half], before), mean_best_overlap(sizes[half], after)
