"""Confidence intervals of AP by bootstrap over images: how far a score would move with other images of the same kind.

Each resample draws N of the N images with replacement. Detections are matched once; a resample is a weight for each
image (how often it was drawn), with which the same matches are counted again. Source: Efron & Tibshirani 1993, chapter
13 (percentile intervals) and 16 (paired test).

The resamples are shifted so that their mean is the score itself. Without the shift they lie too high, the more classes
and the fewer objects of each: interpolated precision takes a maximum, which copies of an image raise, and a rare class
that a resample lacks leaves the mean over the classes. `benchmarks/intervals.py` measures the coverage of both.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookonce.cores import usable_processors
from lookonce.errors import DataError
from lookonce.evaluation.coco import NUM_RECALLS
from lookonce.evaluation.matching import Matches
from lookonce.ordered import ordered_map

AP50_ROW, AP75_ROW = 0, 5


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A score, 0..1 or -1 where undefined, or a difference of two, -1..1; low..high is its 95 % confidence interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """AP of C classes at T IoU thresholds: (R, T, C) in R resamples, (T, C) on the original images; -1: undefined."""

    class_names: tuple[str, ...]
    drawn: NDArray[np.float64]
    whole: NDArray[np.float64]

    def interval(self, metric: str = "AP", class_name: str | None = None) -> Interval:
        """The interval of "AP", "AP50" or "AP75", over all classes or for one."""
        column = slice(None) if class_name is None else [self.class_names.index(class_name)]
        drawn = _mean(self.drawn[..., column], metric)
        value = float(_mean(self.whole[None][..., column], metric)[0])
        return _interval(value, _centred(value, drawn[drawn >= 0]), least=0.0)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """first - second on the same images.

    p_value: two-sided probability that chance alone gives a difference at least this far from 0; at least 2 / (R + 1).
    """

    difference: Interval
    p_value: float


def bootstrap(matches: Matches, *, resamples: int = 1000, seed: int = 0) -> Resampled:
    """AP in `resamples` bootstrap resamples; one seed and number of images give every detector the same resamples."""
    rng = np.random.default_rng(seed)
    counter = _Counter(matches)
    drawn = np.full((resamples, len(matches.found), len(matches.class_names)), -1.0)
    num_resamples = resamples if matches.num_images else 0

    def weights() -> Iterator[NDArray[np.int64]]:
        for _ in range(num_resamples):
            draws = rng.integers(0, matches.num_images, matches.num_images)
            yield np.bincount(draws, minlength=matches.num_images)

    with ThreadPoolExecutor(usable_processors()) as pool:  # numpy releases the GIL while it counts
        for row, values in enumerate(ordered_map(pool, counter.average_precision, weights(), ahead=32)):
            drawn[row] = values
    whole = counter.average_precision(np.ones(matches.num_images, np.int64))
    return Resampled(class_names=matches.class_names, drawn=drawn, whole=whole)


def compare(first: Resampled, second: Resampled, metric: str = "AP") -> Comparison:
    """Whether the first detector scores higher than the second, on the same resamples of the same images."""
    if first.drawn.shape != second.drawn.shape or first.class_names != second.class_names:
        raise DataError(
            "bootstrap: the two detectors differ in classes or resamples; expected the same data set, number of "
            "resamples and seed; evaluate both again with these"
        )
    drawn_first, drawn_second = _mean(first.drawn, metric), _mean(second.drawn, metric)
    defined = (drawn_first >= 0) & (drawn_second >= 0)
    value = float((_mean(first.whole[None], metric) - _mean(second.whole[None], metric))[0])
    differences = _centred(value, drawn_first[defined] - drawn_second[defined])
    least = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    p_value = min(1.0, 2 * (least + 1) / (len(differences) + 1))
    return Comparison(difference=_interval(value, differences, least=-1.0), p_value=p_value)


def _centred(value: float, drawn: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R,) resamples, shifted so that their mean is `value`."""
    return drawn + (value - drawn.mean()) if drawn.size else drawn


def _interval(value: float, centred: NDArray[np.float64], *, least: float) -> Interval:
    """The middle 95 % of the resamples, within least..1, the range of the score or difference."""
    low, high = np.clip(np.percentile(centred, [2.5, 97.5]), least, 1).tolist() if centred.size else (value, value)
    return Interval(value=value, low=low, high=high)


def _mean(ap: NDArray[np.float64], metric: str) -> NDArray[np.float64]:
    """(R, T, C) -> (R,) mean over the classes that have objects and, for AP, over the IoU thresholds."""
    rows = {"AP": slice(None), "AP50": slice(AP50_ROW, AP50_ROW + 1), "AP75": slice(AP75_ROW, AP75_ROW + 1)}[metric]
    chosen = ap[:, rows]
    defined = chosen >= 0
    counts = defined.sum(axis=(1, 2))
    sums = np.where(defined, chosen, 0).sum(axis=(1, 2))
    return np.where(counts > 0, sums / np.maximum(counts, 1), -1.0)


class _Counter:
    """COCO's AP from weighted matches. Only true positives are visited, because precision peaks only at these.

    The P true positives of all thresholds and classes lie in one array, group after group; a group is one threshold and
    class. A weight w counts as w copies of an image whose detections follow one another, which differs from w images
    with tied scores by less than the order of the ties does.
    """

    def __init__(self, matches: Matches) -> None:
        self._matches = matches
        self.num_classes = len(matches.class_names)
        thresholds, self._places = np.nonzero(matches.right)  # (P,) threshold, index of the detection
        labels = matches.labels[self._places]
        groups = thresholds * self.num_classes + labels  # (P,) ascending
        self._group_begins = np.searchsorted(groups, np.arange(len(matches.found) * self.num_classes + 1))
        self._first = self._group_begins[groups]  # (P,) index of the first of its group
        self._is_first = np.arange(len(groups)) == self._first
        self._labels, self._groups = labels, groups
        # An offset of 2 per group keeps the running maximum of precision within the group.
        self._lift = 2.0 * (len(self._group_begins) - groups)
        self._class_begins = np.searchsorted(matches.labels, labels)  # (P,) index of the class's first detection
        ignored_thresholds, self._ignored = np.nonzero(matches.ignored)
        keys = ignored_thresholds * (len(matches.labels) + 1) + self._ignored
        offsets = thresholds * (len(matches.labels) + 1)
        self._ignored_before = np.searchsorted(keys, offsets + self._places)  # (P,)
        self._ignored_at_begin = np.searchsorted(keys, offsets + self._class_begins)

    def average_precision(self, weights: NDArray[np.int64]) -> NDArray[np.float64]:
        """(N,) weight of each image -> (T, C) AP; -1 for a class without objects in the weighted images."""
        matches = self._matches
        counts: NDArray[np.int32] = weights.astype(np.int32)  # half the memory traffic
        num_objects = np.bincount(
            matches.object_labels, weights=counts[matches.object_images], minlength=self.num_classes
        ).astype(np.int64)
        drawn = counts[matches.images]  # (D,)
        ranks = _counted(drawn)  # (D + 1,) detections before each index
        found = _counted(drawn[self._places])
        true = found[1:] - found[self._first]  # (P,) within the group
        shown = ranks[self._places + 1] - ranks[self._class_begins]
        if self._ignored.size:
            skipped = _counted(drawn[self._ignored])
            shown = shown - (skipped[self._ignored_before] - skipped[self._ignored_at_begin])
        raised = true / np.maximum(shown, 1) + self._lift
        envelope = np.maximum.accumulate(raised[::-1])[::-1] - self._lift
        reached = np.concatenate([[0], _recalls_reached(true, num_objects[self._labels])])  # (P + 1,)
        new = reached[1:] - np.where(self._is_first, 0, reached[:-1])
        sums = np.bincount(self._groups, weights=new * envelope, minlength=len(self._group_begins) - 1)
        ap = sums.reshape(len(matches.found), self.num_classes) / NUM_RECALLS
        return np.where(num_objects > 0, ap, -1.0)


def _counted(values: NDArray[np.int32]) -> NDArray[np.int32]:
    """(K,) -> (K + 1,) sum of the values before each index."""
    sums = np.zeros(len(values) + 1, np.int32)
    np.cumsum(values, out=sums[1:])
    return sums


def _recalls_reached(true: NDArray[np.int32], num_objects: NDArray[np.int64]) -> NDArray[np.int64]:
    """(P,) true positives so far, of (P,) objects -> (P,) number of the 101 recall points reached, compared as floats.

    0 before the first true positive: recall 0 is reached at the first detection, whose precision cannot exceed that of
    the first true positive.
    """
    percent = true * (NUM_RECALLS - 1.0) / np.maximum(num_objects, 1)
    whole = percent.astype(np.int32)
    short = (percent == whole) & ~_POINT_IS_REACHED[whole]
    return np.where(true > 0, whole + 1 - short, 0)


# Where true positives / objects is a whole percent, float rounding decides: 0.01 * 29 is over 29 / 100, so 29 of
# 100 do not reach that point.
_POINT_IS_REACHED = np.linspace(0, 1, NUM_RECALLS) <= np.arange(NUM_RECALLS) / (NUM_RECALLS - 1)
