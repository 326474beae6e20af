"""Parity check of exports: a file is kept only if its reloaded outputs match those of the weights within tolerances."""

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import area_xyxy, clip_xyxy, pairwise_iou_xyxy
from lookonce.detections import Detections
from lookonce.errors import WeightsError
from lookonce.exporters.plan import Precision
from lookonce.settings.names import counted
from lookonce.storage import os_errors_explained

# The confidence threshold of the comparison; evaluation's threshold, so that a poorly trained network has detections.
COMPARED_FROM_SCORE = 0.001
COMPARED_DETECTIONS = 300  # maximum per image


@dataclass(frozen=True, kw_only=True)
class Tolerances:
    """The largest differences that count as equal outputs.

    raw: absolute, of a logit; raw_relative: as a fraction of the largest logit; the larger of both applies. box: pixels
    of the network input. missing: fraction of the detections, because two boxes of almost the same score can replace
    each other in NMS. Detections that differ by more than `object_box` pixels or `object_score` are different objects.
    """

    raw: float
    raw_relative: float
    box: float
    score: float
    missing: float
    object_box: float
    object_score: float


TOLERANCES: dict[Precision, Tolerances] = {
    # float32 in another order of summation: measured 1e-5 to 5e-5 on the full network; a wrong pool or normalisation
    # constant gives 1e-2 and more.
    "fp32": Tolerances(
        raw=2e-4, raw_relative=1e-5, box=0.05, score=1e-4, missing=0.01, object_box=1.0, object_score=0.01
    ),
    # Weights rounded to 11 bits: measured 3.5e-3 of the largest logit, 2 pixels and a score of 0.016 at low scores.
    # Larger differences are another prediction of the object that narrowly wins: measured 6.6 pixels, at scores that
    # are 0.0014 apart.
    "fp16": Tolerances(
        raw=1e-2, raw_relative=1e-2, box=4.0, score=0.03, missing=0.02, object_box=4.0, object_score=0.1
    ),
    # Reported, not limited: how INT8 changes single boxes says little about the network.
    "int8": Tolerances(
        raw=math.inf,
        raw_relative=0,
        box=math.inf,
        score=math.inf,
        missing=math.inf,
        object_box=16.0,
        object_score=0.2,
    ),
}
NOISE_TOLERANCE = 0.25  # measured 0.03 to 0.1; a layer that lost its range gives 0.5 and more


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Outputs of one runtime for B images: raw heads (B, ...) logits; Detections of each image, pixels of the input."""

    raws: Sequence[NDArray[np.floating]]
    detections: Sequence[Detections]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The largest measured and the largest allowed difference of one quantity."""

    quantity: str
    largest: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the difference is within the tolerance; False for NaN."""
        return self.largest <= self.tolerance


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How far the outputs of two runtimes agree on the same images."""

    num_images: int
    num_detections: int
    differences: tuple[Difference, ...]

    @property
    def passed(self) -> bool:
        return all(difference.passed for difference in self.differences)

    def table(self) -> str:
        """The differences as lines of text, at most 80 columns."""
        title = f"{counted(self.num_images, 'image')}, {counted(self.num_detections, 'detection')}"
        width = max(len(title), *(len(row.quantity) for row in self.differences)) + 2
        rows = [
            f"{row.quantity:<{width}}{row.largest:>10.2g}{row.tolerance:>10.2g}{'' if row.passed else '  too much'}"
            for row in self.differences
        ]
        return "\n".join([f"{title:<{width}}{'largest':>10}{'allowed':>10}", *rows])


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far the detections of two runtimes agree. box (pixels), score: largest difference of a coordinate and of the
    score of matched detections; missing: unmatched detections, divided by num_detections."""

    box: float
    score: float
    missing: float
    num_detections: int


def compare(expected: Answers, got: Answers, canvas_hw: tuple[int, int], precision: Precision = "fp32") -> Parity:
    """Compares raw heads element by element, and detections matched by class and position, clipped to the input.

    For int8 only the noise in the raw heads is compared, because single detections appear and disappear.
    """
    allowed = TOLERANCES[precision]
    largest_logit = max(float(np.abs(raw).max()) for raw in expected.raws)
    raw = max(float(np.abs(a - b).max()) for a, b in zip(expected.raws, got.raws, strict=True))
    found = agreement(expected.detections, got.detections, [canvas_hw] * len(expected.detections), allowed)
    rows: tuple[tuple[str, float, float], ...] = (
        ("raw logits", raw, max(allowed.raw, allowed.raw_relative * largest_logit)),
        ("boxes, pixels", found.box, allowed.box),
        ("scores", found.score, allowed.score),
        ("fraction of detections missing", found.missing, allowed.missing),
    )
    if precision == "int8":
        rows = (("noise in the raw logits", noise(expected.raws, got.raws), NOISE_TOLERANCE),)
    return Parity(
        num_images=len(expected.detections),
        num_detections=found.num_detections,
        differences=tuple(
            Difference(quantity=quantity, largest=largest, tolerance=tolerance) for quantity, largest, tolerance in rows
        ),
    )


def noise(expected: Sequence[NDArray[np.floating]], got: Sequence[NDArray[np.floating]]) -> float:
    """RMS difference divided by the standard deviation of the logits; the largest value over the heads."""
    return max(
        float(np.sqrt(np.mean(np.square(one - other))) / max(float(np.std(one)), 1e-6))
        for one, other in zip(expected, got, strict=True)
    )


def agreement(
    expected: Sequence[Detections],
    got: Sequence[Detections],
    sizes_hw: Sequence[tuple[int, int]],
    allowed: Tolerances,
    *,
    from_score: float = COMPARED_FROM_SCORE,
    most: int = COMPARED_DETECTIONS,
) -> Agreement:
    """Matches detections by class and position, boxes clipped to their image.

    sizes_hw: (height, width) of each image. from_score: confidence threshold of both runtimes; most: their maximum
    detections per image.
    """
    matches = [
        _match(one, other, size_hw, allowed, from_score, most)
        for one, other, size_hw in zip(expected, got, sizes_hw, strict=True)
    ]
    num_detections = sum(len(one) for one in expected)
    return Agreement(
        box=max((match.box_pixels for match in matches), default=0.0),
        score=max((match.score for match in matches), default=0.0),
        missing=sum(match.num_missing for match in matches) / max(num_detections, 1),
        num_detections=num_detections,
    )


def write_compared(
    path: Path, write: Callable[[Path], Any], compare_file: Callable[[Path], Parity], *, overwrite: bool = False
) -> Parity:
    """Exports into a temporary folder, compares outputs with the reference, then moves the file, or folder, and the
    files beside it to `path`.

    Raises WeightsError if the outputs differ by more than the tolerances (the file is removed), or if `path` exists.
    """
    require_free(path, overwrite=overwrite)
    folder = path.with_name(f".{path.name}.unproven")
    with os_errors_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)  # left by an export that was killed
        folder.mkdir()
        try:
            write(folder / path.name)
            parity = compare_file(folder / path.name)
            if not parity.passed:
                raise WeightsError.at(
                    path, f"not kept; its outputs differ from those of the weights by too much\n{parity.table()}"
                )
            _move_in(folder, path, overwrite=overwrite)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return parity


def require_free(path: Path, *, overwrite: bool) -> None:
    """Raises WeightsError if `path` exists and overwrite is False."""
    if path.exists() and not overwrite:
        raise WeightsError.at(path, "exists already; replace it with --overwrite, or set another path with --output")


def _move_in(folder: Path, path: Path, *, overwrite: bool) -> None:
    """Moves the contents of `folder` beside `path`; the main file goes last, so that it never lacks the others."""
    beside = [one for one in folder.iterdir() if one.name != path.name]
    for one in beside:
        require_free(path.parent / one.name, overwrite=overwrite)
    for one in [*beside, folder / path.name]:
        target = path.parent / one.name
        if target.is_dir():
            target.rename(folder / f"{one.name}.old")  # removed with the folder
        one.replace(target)


def size_of(path: Path) -> int:
    """Bytes of an exported file or folder; an .xml includes the .bin beside it."""
    parts = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    files = [one for part in parts for one in (part.rglob("*") if part.is_dir() else [part])]
    return sum(one.stat().st_size for one in files if one.is_file())


def textured_canvases(count: int, size_hw: tuple[int, int], *, seed: int = 0) -> NDArray[np.uint8]:
    """(count, H, W, 3) uint8: random texture of all scales, to compare outputs without images."""
    generator = np.random.default_rng(seed)
    height, width = size_hw
    canvases = np.full((count, height, width, 3), 128.0, np.float32)
    for canvas in canvases:
        for cells in (2, 5, 12, 30, 75):
            noise = generator.normal(0, 28, (cells, cells, 3)).astype(np.float32)
            canvas += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(canvases, 0, 255).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class _Match:
    box_pixels: float  # largest difference of a coordinate
    score: float
    num_missing: int


def _match(
    expected: Detections,
    got: Detections,
    canvas_hw: tuple[int, int],
    allowed: Tolerances,
    from_score: float,
    most: int,
) -> _Match:
    """Pairs the detections of one image, highest score first; unpaired ones without an explanation are missing."""
    cuts = [float(one.scores.min()) if len(one) >= most else from_score for one in (expected, got)]
    expected, got = _clipped(expected, canvas_hw), _clipped(got, canvas_hw)
    free = np.ones(len(got), np.bool_)
    boxes, scores, alone = [0.0], [0.0], []
    for row in range(len(expected)):
        pixels = np.abs(got.boxes_xyxy - expected.boxes_xyxy[row]).max(axis=1, initial=0)  # (M,)
        score = np.abs(got.scores - expected.scores[row])
        same = free & (got.labels == expected.labels[row])
        same &= (pixels < allowed.object_box) & (score < allowed.object_score)
        if not same.any():
            alone.append(row)
            continue
        best = int(np.argmin(np.where(same, pixels, np.inf)))
        free[best] = False
        boxes.append(float(pixels[best]))
        scores.append(float(score[best]))
    missing = _unexplained(expected.select(np.array(alone, np.int64)), got, cuts[1], allowed.score)
    return _Match(
        box_pixels=max(boxes),
        score=max(scores),
        num_missing=missing + _unexplained(got.select(free), expected, cuts[0], allowed.score),
    )


def _unexplained(alone: Detections, others: Detections, cut: float, score: float) -> int:
    """Unpaired detections that neither score close to the others' cut nor have a rival of almost their score there."""
    at_the_cut = alone.scores <= cut + score * cut
    rivals = (
        (pairwise_iou_xyxy(alone.boxes_xyxy, others.boxes_xyxy) > 0.5)
        & (alone.labels[:, None] == others.labels)
        & (np.abs(alone.scores[:, None] - others.scores) < score)
    )
    return int((~at_the_cut & ~rivals.any(axis=1)).sum())


def _clipped(found: Detections, canvas_hw: tuple[int, int]) -> Detections:
    boxes_xyxy = clip_xyxy(found.boxes_xyxy, canvas_hw[1], canvas_hw[0]).astype(np.float32)
    clipped = Detections(boxes_xyxy=boxes_xyxy, scores=found.scores, labels=found.labels)
    return clipped.select(area_xyxy(boxes_xyxy) > 0)
