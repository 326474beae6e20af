"""What every export has in common: a file counts as written once it has been reloaded and answers the same."""

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
from lookonce.export.plan import Precision
from lookonce.storage import os_errors_explained

# Detections are compared from the score evaluation starts at, so that a network that knows little has some too.
COMPARED_FROM_SCORE = 0.001
COMPARED_DETECTIONS = 300  # at most, a picture


@dataclass(frozen=True, kw_only=True)
class Tolerances:
    """The largest differences that count as the same answer.

    raw: of a logit, and raw_relative of the largest logit, where logits are large. box: pixels of the canvas. missing:
    part of the detections, as two boxes of nearly one score may take each other's place. Two detections further apart
    than `object_box` pixels or `object_score` are two objects.
    """

    raw: float
    raw_relative: float
    box: float
    score: float
    missing: float
    object_box: float
    object_score: float


TOLERANCES: dict[Precision, Tolerances] = {
    # float32 in another order of summation: measured 1e-5 to 5e-5 on the full network; another pool or normalisation
    # constant gives 1e-2 and more.
    "fp32": Tolerances(
        raw=2e-4, raw_relative=1e-5, box=0.05, score=1e-4, missing=0.01, object_box=1.0, object_score=0.01
    ),
    # Weights rounded to 11 bits: measured 3.5e-3 of the largest logit, 2 pixels and 0.016 in what scores little. What
    # is further apart is another prediction of the object that won by a hair: measured 6.6 pixels, scores 0.0014 apart.
    "fp16": Tolerances(
        raw=1e-2, raw_relative=1e-2, box=4.0, score=0.03, missing=0.02, object_box=4.0, object_score=0.1
    ),
    # Shown, not judged: what eight bits do to single boxes says little.
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
    """What one runtime says to B pictures: raw heads (B, ...) logits, and a Detections a picture in canvas pixels."""

    raws: Sequence[NDArray[np.floating]]
    detections: Sequence[Detections]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """The largest difference seen in one quantity, and the largest allowed."""

    quantity: str
    largest: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """False for a NaN too."""
        return self.largest <= self.tolerance


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How far two runtimes agree on the same pictures."""

    num_pictures: int
    num_detections: int
    differences: tuple[Difference, ...]

    @property
    def passed(self) -> bool:
        return all(difference.passed for difference in self.differences)

    def table(self) -> str:
        """Lines of text, 80 columns at most."""
        title = f"{self.num_pictures} pictures, {self.num_detections} detections"
        width = max(len(title), *(len(row.quantity) for row in self.differences)) + 2
        rows = [
            f"{row.quantity:<{width}}{row.largest:>10.2g}{row.tolerance:>10.2g}{'' if row.passed else '  too much'}"
            for row in self.differences
        ]
        return "\n".join([f"{title:<{width}}{'largest':>10}{'allowed':>10}", *rows])


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far two runtimes agree on pictures: the largest difference of a matched box's coordinate (pixels) and of its
    score, the part of the detections without their like, and how many there are."""

    box: float
    score: float
    missing: float
    num_detections: int


def compare(expected: Answers, got: Answers, canvas_hw: tuple[int, int], precision: Precision = "fp32") -> Parity:
    """Raw heads element by element; detections matched by class and place, boxes clipped to the canvas.

    Of eight bits the noise in the raw heads is judged, as single detections come and go.
    """
    allowed = TOLERANCES[precision]
    largest_logit = max(float(np.abs(raw).max()) for raw in expected.raws)
    raw = max(float(np.abs(a - b).max()) for a, b in zip(expected.raws, got.raws, strict=True))
    found = agreement(expected.detections, got.detections, [canvas_hw] * len(expected.detections), allowed)
    rows: tuple[tuple[str, float, float], ...] = (
        ("raw logits", raw, max(allowed.raw, allowed.raw_relative * largest_logit)),
        ("boxes, pixels", found.box, allowed.box),
        ("scores", found.score, allowed.score),
        ("part of detections missing", found.missing, allowed.missing),
    )
    if precision == "int8":
        rows = (("noise in the raw logits", noise(expected.raws, got.raws), NOISE_TOLERANCE),)
    return Parity(
        num_pictures=len(expected.detections),
        num_detections=found.num_detections,
        differences=tuple(
            Difference(quantity=quantity, largest=largest, tolerance=tolerance) for quantity, largest, tolerance in rows
        ),
    )


def noise(expected: Sequence[NDArray[np.floating]], got: Sequence[NDArray[np.floating]]) -> float:
    """Root mean square difference as a part of the spread of the logits, of the head where it is larger."""
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
    """Detections matched by class and place, boxes clipped to their picture.

    sizes_hw: (height, width) of each. from_score, most: lowest score, and number a picture, that both were asked for.
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
    """Write a file (or folder, or a file and what goes beside it) in a folder apart, compare what it answers, and only
    then give it its place.

    WeightsError when the answers differ by more than the tolerances (the file is removed), or when `path` exists.
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
                raise WeightsError(
                    f"{path}: not kept, it answers differently from the weights it was made from\n{parity.table()}",
                    path=path,
                )
            _move_in(folder, path, overwrite=overwrite)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return parity


def require_free(path: Path, *, overwrite: bool) -> None:
    """WeightsError when something lies there that may not be replaced."""
    if path.exists() and not overwrite:
        raise WeightsError(f"{path}: exists already; --overwrite replaces it, --output names another file", path=path)


def _move_in(folder: Path, path: Path, *, overwrite: bool) -> None:
    """What lies in `folder` goes beside `path`; the file that gives the others their sense goes last."""
    beside = [one for one in folder.iterdir() if one.name != path.name]
    for one in beside:
        require_free(path.parent / one.name, overwrite=overwrite)
    for one in [*beside, folder / path.name]:
        target = path.parent / one.name
        if target.is_dir():
            target.rename(folder / f"{one.name}.old")  # removed with the folder
        one.replace(target)


def size_of(path: Path) -> int:
    """Bytes of an exported file, with the .bin beside an .xml, or of a folder."""
    parts = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path]
    files = [one for part in parts for one in (part.rglob("*") if part.is_dir() else [part])]
    return sum(one.stat().st_size for one in files if one.is_file())


def textured_canvases(count: int, size_hw: tuple[int, int], *, seed: int = 0) -> NDArray[np.uint8]:
    """(count, H, W, 3) uint8: random texture of every scale, for comparing where no pictures are at hand."""
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
    """Pair the detections of one picture, best first; what is left over unexplained is missing."""
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
    """How many have no excuse: neither a score at the others' cut, nor a rival of nearly their score in their place."""
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
