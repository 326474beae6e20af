"""Near-duplicate images: a perceptual hash that is independent of size, encoding and brightness.

The signs of the 64 lowest DCT frequencies find candidates quickly; a comparison of thumbnails decides. Measured on the
364 photographs of BCCD, whose cells look alike, on 200 synthetic scenes and on frames of two fixed cameras
(docs/check.md): different images correlate by at most 0.72; an image and its copy at a third of its size or as JPEG of
quality 20 correlate by at least 0.989, and no cell of the thumbnail differs by more than 1.15 standard deviations.
Frames of a fixed camera also correlate up to 0.99, but where a car has appeared or left, a cell differs by 2 or more.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.letterbox import ImageArray

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]

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
_AT_ONCE = 4096  # pairs; their thumbnails take 100 MB
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

    Compares every image with all earlier ones that are no copies: 20,000 different images take 0.3 s, and the time
    grows with the square of the number; decoding 20,000 images takes a hundred times as long.
    """
    is_open, bits, thumbnails = _arrays(prints)
    scene_of = np.full(len(prints), -1)  # the first image of the same scene
    mirrored_scene = np.zeros(len(prints), np.bool_)
    for first in range(len(prints)):
        if not is_open[first]:
            continue  # no contrast, or a copy of an earlier image, which represents it
        for rows, mirrored, copies in _alike(first, bits, thumbnails, lambda rows: is_open[rows]):
            new = scene_of[rows] < 0
            scene_of[rows[new]], mirrored_scene[rows[new]] = first, mirrored[new]
            is_open[rows[copies]] = False
            for second, is_mirrored in zip(rows[copies].tolist(), mirrored[copies].tolist(), strict=True):
                yield Likeness(first=first, second=second, mirrored=is_mirrored, copy=True)
    same_scene = np.flatnonzero(is_open & (scene_of >= 0))
    for second in same_scene[np.argsort(scene_of[same_scene], kind="stable")].tolist():
        mirror = bool(mirrored_scene[second])
        yield Likeness(first=int(scene_of[second]), second=second, mirrored=mirror, copy=False)


def near_copy_groups(prints: Sequence[Fingerprint | None]) -> Rows:
    """(N,) group of each image: copies, and images of one scene such as those of a burst, share the row of the first.

    An image is compared with all later ones that are not in its group yet; the time is as of `find_likenesses`.
    """
    has_contrast, bits, thumbnails = _arrays(prints)
    groups = np.arange(len(prints))
    for first in np.flatnonzero(has_contrast).tolist():
        own = groups[first]
        others = _alike(first, bits, thumbnails, lambda rows: has_contrast[rows] & (groups[rows] != own))  # noqa: B023
        joined = np.unique([own, *(group for rows, _, _ in others for group in groups[rows].tolist())])
        if len(joined) > 1:
            groups[np.isin(groups, joined)] = joined[0]
    return groups


def _arrays(prints: Sequence[Fingerprint | None]) -> tuple[Mask, NDArray[np.uint64], NDArray[np.uint8]]:
    """(N,) whether an image has a fingerprint, (N,) bits, (N, 32, 32) thumbnails."""
    blank = Fingerprint(bits=np.uint64(0), thumbnail=np.zeros((SIDE, SIDE), np.uint8))
    known = [blank if one is None else one for one in prints]
    bits = np.array([one.bits for one in known], dtype=np.uint64)
    has_contrast = np.array([one is not None for one in prints], dtype=np.bool_)
    return has_contrast, bits, np.array([one.thumbnail for one in known])


def _alike(
    first: int, bits: NDArray[np.uint64], thumbnails: NDArray[np.uint8], is_open: Callable[[Rows], Mask]
) -> Iterator[tuple[Rows, Mask, Mask]]:
    """(K,) later images of the scene of image `first`, those that are open; whether only their mirror image is alike,
    and whether they are copies. In parts: thousands of frames of a fixed camera are all candidates of each other."""
    differing = bits[first + 1 :] ^ bits[first]
    direct = np.bitwise_count(differing) <= MOST_BITS
    offsets = np.flatnonzero(direct | (np.bitwise_count(differing ^ _MIRROR) <= MOST_BITS))
    offsets = offsets[is_open(first + 1 + offsets)]
    for at in range(0, len(offsets), _AT_ONCE):
        part = offsets[at : at + _AT_ONCE]
        rows, mirrored = first + 1 + part, ~direct[part]
        scene, copies = _compare(thumbnails[first], thumbnails[rows], mirrored)
        yield rows[scene], mirrored[scene], copies[scene]


def _compare(one: NDArray[np.uint8], others: NDArray[np.uint8], mirrored: Mask) -> tuple[Mask, Mask]:
    """(K,) whether each of `others` (K, 32, 32), mirrored or not, shows the scene of `one`, and whether it copies it.

    One product for all: thousands of frames of a fixed camera are all candidates of each other.
    """
    standard = _standardised(one)
    cells = others.reshape(len(others), -1).astype(np.float32)
    # The mean of `standard` is 0, so that the means of the others add nothing.
    covariance = (
        np.where(mirrored, cells @ standard[:, ::-1].reshape(-1), cells @ standard.reshape(-1)) / cells.shape[1]
    )
    correlation = covariance / cells.std(axis=1)
    copies = correlation >= COPY
    likely = _standardised(others[copies])
    likely = np.where(mirrored[copies, None, None], likely[..., ::-1], likely)
    copies[copies] = np.abs(likely - standard).max(axis=(1, 2)) <= COPY_DEVIATIONS
    return correlation >= SCENE, copies


def _standardised(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(..., 32, 32) -> the same with mean 0 and standard deviation 1."""
    mean, deviation = (measure(thumbnails, axis=(-2, -1), keepdims=True) for measure in (np.mean, np.std))
    return np.asarray((thumbnails - mean) / deviation, np.float32)
