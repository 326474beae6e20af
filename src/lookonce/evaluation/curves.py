"""Precision, recall and F1 over the score threshold, the best threshold, score histograms and calibration: at IoU 0.5.

Detections on a crowd do not count.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookonce.evaluation.coco import NUM_RECALLS
from lookonce.evaluation.matching import Matches

# 0.00, 0.01 .. 1.00, each the float that its decimal is (linspace has 0.35000000000000003).
THRESHOLDS = np.arange(101) / 100
NUM_BINS = 10
HISTOGRAM_BINS = 20
RECALLS = np.arange(NUM_RECALLS) / (NUM_RECALLS - 1)


@dataclass(frozen=True, kw_only=True)
class ThresholdCurves:
    """One class, counting the detections that score at least THRESHOLDS[i]; precision is -1 where there are none.

    best_threshold has the highest F1; of equal ones, the middle of the first run. best_threshold is -1 for a class
    without true positives, best_f1 is -1 for a class without objects. precision_at_recall is COCO's curve: the highest
    precision at a recall of at least RECALLS[i], 0 where that recall is not reached.
    """

    precision: NDArray[np.float64]  # (101,)
    recall: NDArray[np.float64]  # (101,)
    f1: NDArray[np.float64]  # (101,)
    precision_at_recall: NDArray[np.float64]  # (101,)
    best_threshold: float
    best_f1: float


@dataclass(frozen=True, kw_only=True)
class ScoreHistogram:
    """Numbers of true (right) and false (wrong) positives with a score in 0.00 .. 0.05, 0.05 .. 0.10 and so on."""

    right: NDArray[np.int64]  # (20,)
    wrong: NDArray[np.int64]  # (20,)


@dataclass(frozen=True, kw_only=True)
class ReliabilityBins:
    """Ten equal bins of the score, 0.0 .. 0.1 and so on. With calibrated scores, mean_scores equals precision.

    error: expected calibration error, the mean distance between the two, weighted with the detections in each bin.
    """

    counts: NDArray[np.int64]  # (10,)
    mean_scores: NDArray[np.float64]  # (10,) -1 in an empty bin
    precision: NDArray[np.float64]  # (10,) -1 in an empty bin
    error: float


def threshold_curves(matches: Matches, *, lowest_score: float = 0.0) -> dict[str, ThresholdCurves]:
    """The curves of each class by name. lowest_score: of the detections; what lower thresholds would add is unknown."""
    num_objects = np.bincount(matches.object_labels, minlength=len(matches.class_names))
    labels, scores, right = _counted(matches)
    return {
        name: _curves(scores[labels == label], right[labels == label], int(num_objects[label]), lowest_score)
        for label, name in enumerate(matches.class_names)
    }


def _counted(matches: Matches) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]:
    """Labels (D,), scores (D,) and whether right (D,) of the detections that count, sorted as the matches are."""
    counted = ~matches.ignored[0]
    return matches.labels[counted], matches.scores[counted], matches.right[0][counted]


def mean_curves(curves: Mapping[str, ThresholdCurves]) -> dict[str, NDArray[np.float64]]:
    """precision, recall and F1 (101,) over THRESHOLDS: means over the classes with objects.

    A class without detections at a threshold has recall and F1 0 there and does not count in the precision, which is -1
    where no class has any. Empty without objects.
    """
    chosen = [curve for curve in curves.values() if curve.best_f1 >= 0]
    if not chosen:
        return {}
    precision = np.stack([curve.precision for curve in chosen])
    known = precision >= 0
    return {
        "precision": np.where(known.any(0), np.where(known, precision, 0).sum(0) / np.maximum(known.sum(0), 1), -1.0),
        "recall": np.mean([curve.recall for curve in chosen], axis=0),
        "F1": np.mean([curve.f1 for curve in chosen], axis=0),
    }


def operating_point(matches: Matches) -> dict[str, float]:
    """precision, recall and F1 at IoU 0.5 and at the one confidence threshold with the highest mean F1 (F1_threshold).

    All -1 without a true positive.
    """
    means = mean_curves(threshold_curves(matches))
    if not means or not means["F1"].any():
        return dict.fromkeys(("precision", "recall", "F1", "F1_threshold"), -1.0)
    best = _middle_of_best(means["F1"])
    return {name: float(values[best]) for name, values in means.items()} | {"F1_threshold": float(THRESHOLDS[best])}


def _curves(
    scores: NDArray[np.float64], right: NDArray[np.bool_], num_objects: int, lowest_score: float
) -> ThresholdCurves:
    """scores (D,) falling, right (D,)."""
    shown = np.searchsorted(-scores, -THRESHOLDS, side="right")  # (101,) detections that score at least the threshold
    found = np.concatenate([[0], np.cumsum(right)])[shown]
    precision = np.where(shown > 0, found / np.maximum(shown, 1), -1.0)
    recall = found / max(num_objects, 1)
    f1 = 2 * found / np.maximum(shown + num_objects, 1)
    first = int(np.searchsorted(THRESHOLDS, lowest_score, side="right")) - 1
    best = first + _middle_of_best(f1[first:])
    return ThresholdCurves(
        precision=precision,
        recall=recall,
        f1=f1,
        best_threshold=float(THRESHOLDS[best]) if num_objects and f1[best] > 0 else -1.0,
        best_f1=float(f1[best]) if num_objects else -1.0,
        precision_at_recall=precision_at_recall(right, num_objects),
    )


def precision_at_recall(right: NDArray[np.bool_], num_objects: int) -> NDArray[np.float64]:
    """COCO's curve of one class at one IoU: right (D,) highest score first -> (101,) 0..1, whose mean is its AP."""
    true = np.cumsum(right)
    envelope = np.maximum.accumulate((true / np.arange(1, len(true) + 1))[::-1])[::-1]
    # COCO's recalls are those of linspace: 0.35000000000000003, which 7 of 20 objects do not reach.
    places = np.searchsorted(true / max(num_objects, 1), np.linspace(0, 1, NUM_RECALLS))
    return np.where(places < len(true), np.append(envelope, 0.0)[np.minimum(places, len(true))], 0.0)


def _middle_of_best(values: NDArray[np.float64]) -> int:
    """Index of the middle of the first run of the largest value, which is farthest from lower values."""
    first = int(values.argmax())
    lower = np.flatnonzero(values[first:] < values[first])
    last = first + int(lower[0]) - 1 if lower.size else len(values) - 1
    return (first + last) // 2


def score_histograms(matches: Matches) -> dict[str, ScoreHistogram]:
    """Histogram of each class by name. Scores outside 0..1 go to the end bins."""
    labels, scores, right = _counted(matches)
    bins = np.clip((scores * HISTOGRAM_BINS).astype(np.int64), 0, HISTOGRAM_BINS - 1)
    shape = (2, len(matches.class_names), HISTOGRAM_BINS)
    places = np.ravel_multi_index((right.astype(np.int64), labels, bins), shape)
    wrong, true = np.bincount(places, minlength=int(np.prod(shape))).reshape(shape)
    return {
        name: ScoreHistogram(right=true[label], wrong=wrong[label]) for label, name in enumerate(matches.class_names)
    }


def calibration(matches: Matches) -> ReliabilityBins:
    """Bins of all classes together. Scores outside 0..1 go to the end bins."""
    _, scores, right = _counted(matches)
    bins = np.clip((scores * NUM_BINS).astype(np.int64), 0, NUM_BINS - 1)
    counts = np.bincount(bins, minlength=NUM_BINS)
    score_sums = np.bincount(bins, weights=scores, minlength=NUM_BINS)
    right_sums = np.bincount(bins, weights=right, minlength=NUM_BINS)
    divisor = np.maximum(counts, 1)
    return ReliabilityBins(
        counts=counts,
        mean_scores=np.where(counts > 0, score_sums / divisor, -1.0),
        precision=np.where(counts > 0, right_sums / divisor, -1.0),
        error=float(np.abs(score_sums - right_sums).sum() / max(len(scores), 1)),
    )
