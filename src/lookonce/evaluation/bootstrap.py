"""How far the numbers would move with other pictures of the same kind: bootstrap over pictures.

Each resample draws N pictures of the N with replacement and counts the same matches anew: matching is done once, and a
resample is a weight for each picture (how often it was drawn). Source: Efron & Tibshirani 1993, chapter 13 (percentile
intervals) and 16 (paired test).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookonce.errors import DataError
from lookonce.evaluation.matching import Matches

NUM_RECALLS = 101
AP50_ROW, AP75_ROW = 0, 5


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A number and the range in which 95 of 100 resamples lie; fractions 0..1, -1 where undefined."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """AP of every class in each of R resamples, and of the pictures as they are: (R, T, C), (T, C), -1 undefined."""

    class_names: tuple[str, ...]
    drawn: NDArray[np.float64]
    whole: NDArray[np.float64]

    def interval(self, metric: str = "AP", class_name: str | None = None) -> Interval:
        """Of "AP", "AP50" or "AP75", of all classes or of one."""
        column = slice(None) if class_name is None else [self.class_names.index(class_name)]
        drawn = _mean(self.drawn[..., column], metric)
        value = float(_mean(self.whole[None][..., column], metric)[0])
        return _interval(value, drawn[drawn >= 0])


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """first - second on the same pictures.

    p_value: how often chance alone would give a difference this far from zero, either way; at least 2 / (R + 1).
    """

    difference: Interval
    p_value: float


def bootstrap(
    matches: Matches, *, resamples: int = 1000, seed: int = 0, on_progress: Callable[[int], None] | None = None
) -> Resampled:
    """AP of `resamples` drawings of the pictures; the same seed draws the same pictures for any detector."""
    rng = np.random.default_rng(seed)
    counter = _Counter(matches)
    drawn = np.full((resamples, len(matches.found), len(matches.class_names)), -1.0)
    for row in range(resamples if matches.num_pictures else 0):
        draws = rng.integers(0, matches.num_pictures, matches.num_pictures)
        drawn[row] = counter.average_precision(np.bincount(draws, minlength=matches.num_pictures))
        if on_progress is not None:
            on_progress(row + 1)
    whole = counter.average_precision(np.ones(matches.num_pictures, np.int64))
    return Resampled(class_names=matches.class_names, drawn=drawn, whole=whole)


def compare(first: Resampled, second: Resampled, metric: str = "AP") -> Comparison:
    """Whether the first detector is better than the second, on the same drawings of the same pictures."""
    if first.drawn.shape != second.drawn.shape or first.class_names != second.class_names:
        raise DataError(
            "only two detectors on the same data set, resampled as often and with one seed, can be compared"
        )
    drawn_first, drawn_second = _mean(first.drawn, metric), _mean(second.drawn, metric)
    defined = (drawn_first >= 0) & (drawn_second >= 0)
    differences = drawn_first[defined] - drawn_second[defined]
    value = float((_mean(first.whole[None], metric) - _mean(second.whole[None], metric))[0])
    least = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    p_value = min(1.0, 2 * (least + 1) / (len(differences) + 1))
    return Comparison(difference=_interval(value, differences), p_value=p_value)


def _interval(value: float, drawn: NDArray[np.float64]) -> Interval:
    low, high = np.percentile(drawn, [2.5, 97.5]).tolist() if drawn.size else (value, value)
    return Interval(value=value, low=low, high=high)


def _mean(ap: NDArray[np.float64], metric: str) -> NDArray[np.float64]:
    """(R, T, C) -> (R,) over the classes that have objects, and for AP over the thresholds."""
    rows = {"AP": slice(None), "AP50": slice(AP50_ROW, AP50_ROW + 1), "AP75": slice(AP75_ROW, AP75_ROW + 1)}[metric]
    chosen = ap[:, rows]
    defined = chosen >= 0
    counts = defined.sum(axis=(1, 2))
    sums = np.where(defined, chosen, 0).sum(axis=(1, 2))
    return np.where(counts > 0, sums / np.maximum(counts, 1), -1.0)


class _Counter:
    """COCO's AP from weighted matches. Only right detections are walked through: precision peaks at those alone.

    A weight w counts as w copies of a picture whose detections come at once, which differs from w pictures with tied
    scores by less than the order among ties does.
    """

    def __init__(self, matches: Matches) -> None:
        self._matches = matches
        num_classes = len(matches.class_names)
        # (C + 1,) where the detections of each class begin
        self._begins = np.searchsorted(matches.labels, np.arange(num_classes + 1))
        right = matches.right
        self._right = [np.flatnonzero(row) for row in right]  # T of (P,)
        self._ignored = [np.flatnonzero(row) for row in matches.ignored]

    def average_precision(self, weights: NDArray[np.int64]) -> NDArray[np.float64]:
        """(N,) times each picture counts -> (T, C); -1 for a class without objects in these pictures."""
        matches = self._matches
        num_classes = len(matches.class_names)
        num_objects = np.bincount(
            matches.object_labels, weights=weights[matches.object_pictures], minlength=num_classes
        ).astype(np.int64)
        drawn = weights[matches.pictures]  # (D,)
        ranks = np.concatenate([[0], np.cumsum(drawn)])  # (D + 1,) detections before each place
        needed = _needed_for_recall(num_objects)
        rows = [
            self._row(drawn, ranks, needed, right, ignored)
            for right, ignored in zip(self._right, self._ignored, strict=True)
        ]
        return np.where(num_objects > 0, np.stack(rows), -1.0)

    def _row(
        self,
        drawn: NDArray[np.int64],
        ranks: NDArray[np.int64],
        needed: NDArray[np.int64],
        right: NDArray[np.int64],
        ignored: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """(C,) AP at one IoU threshold; `right` and `ignored` are places among the detections."""
        labels = self._matches.labels[right]
        begins = self._begins[labels]
        first = np.searchsorted(right, self._begins)  # (C + 1,) where the right ones of each class begin
        found = np.concatenate([[0], np.cumsum(drawn[right])])  # (P + 1,)
        skipped = np.concatenate([[0], np.cumsum(drawn[ignored])])
        true = found[1:] - found[first[labels]]  # (P,) within the class
        before = np.searchsorted(ignored, right) - np.searchsorted(ignored, self._begins)[labels]
        ignored_at_begin = np.searchsorted(ignored, self._begins)[labels]
        shown = ranks[right + 1] - ranks[begins] - (skipped[ignored_at_begin + before] - skipped[ignored_at_begin])
        # Classes are walked through together: adding 2 a class keeps the running maximum within each of them.
        raised = true / np.maximum(shown, 1) + 2.0 * (len(first) - labels)
        envelope = np.maximum.accumulate(raised[::-1])[::-1] - 2.0 * (len(first) - labels)
        return self._at_recalls(envelope, true, labels, first, needed)

    def _at_recalls(
        self,
        envelope: NDArray[np.float64],
        true: NDArray[np.int64],
        labels: NDArray[np.int64],
        first: NDArray[np.int64],
        needed: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """(C,) mean of the best precision from each recall point on; 0 for points that are not reached."""
        step = int(needed.max(initial=0)) + int(true.max(initial=0)) + 1
        classes = np.arange(len(first) - 1)[:, None]
        places = np.searchsorted(true + labels * step, needed + classes * step)  # (C, 101)
        reached = places < first[1:, None]
        padded = np.concatenate([envelope, [0.0]])
        return np.asarray(np.where(reached, padded[np.minimum(places, len(envelope))], 0.0).mean(axis=1))


def _needed_for_recall(num_objects: NDArray[np.int64]) -> NDArray[np.int64]:
    """(C,) -> (C, 101) the fewest objects found that reach each recall, as floating point compares them; at least 1:
    recall 0 is taken at the first detection, whose precision cannot exceed that of the first right one."""
    recalls = np.linspace(0, 1, NUM_RECALLS)
    objects = np.maximum(num_objects, 1)[:, None]
    needed = np.ceil(recalls * objects).astype(np.int64)
    needed -= (needed - 1) / objects >= recalls
    needed += needed / objects < recalls
    return np.maximum(needed, 1)
