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

from lookonce.letterbox import ImageArray

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
TABLES = 24  # see near_copy_groups
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
    bits = np.array([0 if known is None else known.bits for known in prints], dtype=np.uint64)
    open_rows = np.array([known is not None for known in prints], dtype=np.bool_)
    blank = np.zeros((SIDE, SIDE), np.uint8)
    thumbnails = np.array([blank if known is None else known.thumbnail for known in prints])
    scene_of = np.full(len(prints), -1)  # the first image of the same scene
    mirrored_scene = np.zeros(len(prints), np.bool_)
    for first in range(len(prints)):
        if not open_rows[first]:
            continue  # no contrast, or a copy of an earlier image, which represents it
        seconds, mirrored = _candidates(bits, open_rows, first)
        for at in range(0, len(seconds), _AT_ONCE):
            rows, turned = seconds[at : at + _AT_ONCE], mirrored[at : at + _AT_ONCE]
            alike, copies = _compare(thumbnails[first], thumbnails[rows], turned)
            new = alike & (scene_of[rows] < 0)
            scene_of[rows[new]], mirrored_scene[rows[new]] = first, turned[new]
            open_rows[rows[copies]] = False
            for second, is_mirrored in zip(rows[copies].tolist(), turned[copies].tolist(), strict=True):
                yield Likeness(first=first, second=second, mirrored=is_mirrored, copy=True)
    same_scene = np.flatnonzero(open_rows & (scene_of >= 0))
    for second in same_scene[np.argsort(scene_of[same_scene], kind="stable")].tolist():
        mirror = bool(mirrored_scene[second])
        yield Likeness(first=int(scene_of[second]), second=second, mirrored=mirror, copy=False)


def _candidates(
    bits: NDArray[np.uint64], open_rows: NDArray[np.bool_], first: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Later rows that differ from row `first` in at most MOST_BITS bits, and whether only their mirror image does."""
    differing = bits[first + 1 :] ^ bits[first]
    direct = np.bitwise_count(differing) <= MOST_BITS
    turned = np.bitwise_count(differing ^ _MIRROR) <= MOST_BITS
    offsets = np.flatnonzero((direct | turned) & open_rows[first + 1 :])
    return first + 1 + offsets, ~direct[offsets]


def _compare(
    one: NDArray[np.uint8], others: NDArray[np.uint8], mirrored: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
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


def near_copy_groups(prints: Sequence[Fingerprint | None]) -> NDArray[np.int64]:
    """(N,) group of each image: copies, and images of one scene such as those of a burst, share the row of the first.

    Pairs that agree in a random subset of the bits, in one of TABLES such subsets, are compared: N log N. Of pairs that
    differ in 6 bits 98 % are found for any N, of those that differ in 10 bits 60 %; and a burst has many pairs.
    """
    known = np.array([row for row, one in enumerate(prints) if one is not None], dtype=np.int64)
    bits = np.array([one.bits for one in prints if one is not None], dtype=np.uint64)
    pairs = known[_similar_pairs(bits, [one.thumbnail for one in prints if one is not None])]
    groups = np.arange(len(prints))
    while len(pairs):  # each round gives a pair the smaller group of the two, and then the group of that group
        smaller = groups[pairs].min(axis=1)
        before = groups.copy()
        for side in pairs.T:
            np.minimum.at(groups, before[side], smaller)
        groups = groups[groups]
        if np.array_equal(groups, before):
            break
    return groups


def _similar_pairs(bits: NDArray[np.uint64], thumbnails: Sequence[NDArray[np.uint8]]) -> NDArray[np.int64]:
    """(K, 2) rows of images that are copies or show one scene, mirrored or not."""
    generator = np.random.default_rng(0)
    taken = int(np.clip(np.ceil(np.log2(2 * len(bits) + 1)), 6, 16))
    both = np.concatenate([bits, bits ^ _MIRROR])  # row r + len(bits) is row r mirrored
    found = [np.zeros((0, 2), np.int64)]
    for _ in range(TABLES):
        keys = both & _WEIGHTS[generator.permutation(64)[:taken]].sum()
        order = np.argsort(keys, kind="stable")
        pairs = np.stack([order[:-1], order[1:]], axis=1)[np.diff(keys[order]) == 0]
        pairs = pairs[np.bitwise_count(both[pairs[:, 0]] ^ both[pairs[:, 1]]) <= MOST_BITS]
        found.append(pairs)
    pairs = np.unique(np.concatenate(found), axis=0)
    mirrored = (pairs >= len(bits)).sum(axis=1) == 1
    pairs %= max(len(bits), 1)
    parts = range(0, len(pairs), _AT_ONCE)
    correlations = [np.zeros(0)]
    for at in parts:
        one, two = (np.stack([thumbnails[row] for row in side]) for side in pairs[at : at + _AT_ONCE].T.tolist())
        two = np.where(mirrored[at : at + _AT_ONCE, None, None], two[..., ::-1], two)  # (_AT_ONCE, 32, 32)
        correlations.append((_standardised(one) * _standardised(two)).mean(axis=(1, 2)))
    return np.asarray(pairs[np.concatenate(correlations) >= SCENE])


def _standardised(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(..., 32, 32) -> the same with mean 0 and standard deviation 1."""
    mean, deviation = (measure(thumbnails, axis=(-2, -1), keepdims=True) for measure in (np.mean, np.std))
    return np.asarray((thumbnails - mean) / deviation, np.float32)
