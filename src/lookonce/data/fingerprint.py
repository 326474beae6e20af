"""Near-duplicate images: a perceptual hash that is independent of size, encoding and brightness.

The signs of the 64 lowest DCT frequencies find candidates quickly; a comparison of thumbnails decides. Measured on the
364 photographs of BCCD, whose cells look alike, on 200 synthetic scenes and on frames of two fixed cameras
(docs/check.md): different images correlate by at most 0.72; an image and its copy at a third of its size or as JPEG of
quality 20 correlate by at least 0.989, and no cell of the thumbnail differs by more than 1.15 standard deviations.
Frames of a fixed camera also correlate up to 0.99, but where a car has appeared or left, a cell differs by 2 or more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.data.images import ImageArray

SIDE = 32
# Frequencies (row, column), lowest first, without the mean.
_FREQUENCIES = sorted(((row, column) for row in range(11) for column in range(11)), key=lambda at: (sum(at), at))[1:65]
_ROWS, _COLUMNS = (np.array(places) for places in zip(*_FREQUENCIES, strict=True))
_WEIGHTS = np.left_shift(np.uint64(1), np.arange(64, dtype=np.uint64))
# A horizontal flip changes the sign of the frequencies with an odd column, and of no others.
_MIRROR = np.uint64(_WEIGHTS[_COLUMNS % 2 == 1].sum())

MOST_BITS = 10  # maximum of the 64 bits that differ in a candidate; different images differ in 32 on average
COPY, SCENE = 0.985, 0.92  # minimum correlation of the thumbnails
COPY_DEVIATIONS = 1.3  # maximum difference of any cell, in standard deviations
LEAST_CONTRAST = 2.0  # grey levels (standard deviation); below it an image is a uniform area, and all such look alike


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """bits: uint64; thumbnail: (32, 32) uint8 grey."""

    bits: np.uint64
    thumbnail: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """Image `second` is a copy of image `first` (rows of the compared images), or shows the same scene."""

    first: int
    second: int
    mirrored: bool
    copy: bool


def fingerprint(image: ImageArray) -> Fingerprint | None:
    """Hash and thumbnail of an RGB image (H, W, 3); None for an image without contrast (LEAST_CONTRAST)."""
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    thumbnail = np.asarray(cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)
    if thumbnail.std() < LEAST_CONTRAST:
        return None
    spectrum = cv2.dct(thumbnail.astype(np.float32))
    bits = _WEIGHTS[spectrum[_ROWS, _COLUMNS] > 0].sum()
    return Fingerprint(bits=np.uint64(bits), thumbnail=thumbnail)


def find_likenesses(prints: Sequence[Fingerprint | None]) -> Iterator[Likeness]:
    """Each image that is similar to an earlier one, once: with the earliest image it copies, else of the same scene.

    Compares every image with all earlier ones: 20,000 take 0.3 s, and the time grows with the square of the number;
    decoding 20,000 images takes a hundred times as long.
    """
    bits = np.array([0 if known is None else known.bits for known in prints], dtype=np.uint64)
    open_rows = np.array([known is not None for known in prints], dtype=np.bool_)
    scenes: dict[int, Likeness] = {}
    for first in range(len(prints)):
        if not open_rows[first]:
            continue  # no contrast, or a copy of an earlier image, which represents it
        for second, mirrored in _candidates(bits, open_rows, first):
            likeness = _compare(prints, first, second, mirrored)
            if likeness is not None and likeness.copy:
                open_rows[second] = False
                scenes.pop(second, None)
                yield likeness
            elif likeness is not None:
                scenes.setdefault(second, likeness)
    yield from scenes.values()


def _candidates(bits: NDArray[np.uint64], open_rows: NDArray[np.bool_], first: int) -> Iterator[tuple[int, bool]]:
    """Later rows that differ from row `first` in at most MOST_BITS bits, and whether only their mirror image does."""
    differing = bits[first + 1 :] ^ bits[first]
    direct = np.bitwise_count(differing) <= MOST_BITS
    turned = np.bitwise_count(differing ^ _MIRROR) <= MOST_BITS
    for offset in np.flatnonzero((direct | turned) & open_rows[first + 1 :]):
        yield first + 1 + int(offset), not bool(direct[offset])


def _compare(prints: Sequence[Fingerprint | None], first: int, second: int, mirrored: bool) -> Likeness | None:
    one, two = prints[first], prints[second]
    assert one is not None
    assert two is not None
    a = _standardised(one.thumbnail)
    b = _standardised(two.thumbnail[:, ::-1] if mirrored else two.thumbnail)
    correlation = float((a * b).mean())
    if correlation < SCENE:
        return None
    copy = correlation >= COPY and float(np.abs(a - b).max()) <= COPY_DEVIATIONS
    return Likeness(first=first, second=second, mirrored=mirrored, copy=copy)


def _standardised(thumbnail: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean 0, standard deviation 1."""
    return np.asarray((thumbnail - thumbnail.mean()) / thumbnail.std(), np.float64)
