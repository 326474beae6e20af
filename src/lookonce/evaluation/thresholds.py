"""Confidence thresholds: of each class, for the record; and whether a weak detector shows enough there, or too much."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lookonce.data.dataset import Dataset
from lookonce.evaluation.analysis import Analysis, ImageErrors
from lookonce.evaluation.evaluate import match_classes
from lookonce.settings.names import counted
from lookonce.settings.record import ModelRecord, Thresholds

# With fewer detections than a tenth of the objects, a threshold shows nothing that one can judge.
FEWEST_SHOWN = 0.1
# With fewer true positives than a tenth of the detections, an image shows little else than false positives.
FEWEST_RIGHT = 0.1


def lowest_scores(thresholds: Thresholds, class_names: Sequence[str]) -> NDArray[np.float64]:
    """(C,) the confidence threshold of each class."""
    return np.array([thresholds.per_class_score.get(name, thresholds.score) for name in class_names], np.float64)


def threshold_that_shows(scores: NDArray[np.floating], lowest: NDArray[np.floating], num_objects: int) -> float | None:
    """A lower threshold if too few detections reach theirs; None if enough do, or if no threshold helps.

    scores, lowest (D,): of each detection, and the threshold of its class. As many detections as there are objects
    reach the returned threshold, which is rounded down to three digits.
    """
    enough = max(math.ceil(FEWEST_SHOWN * num_objects), 1)
    if not num_objects or not len(scores) or (scores >= lowest).sum() >= enough:
        return None
    score = float(np.sort(scores)[-min(num_objects, len(scores))])
    digits = 2 - math.floor(math.log10(score)) if score > 0 else 0
    rounded = math.floor(score * 10**digits) / 10**digits
    return rounded if rounded < lowest.min() else None


def mostly_wrong(errors: ImageErrors, num_objects: int, shown_from: str) -> str:
    """A sentence if nearly all detections are false positives; "" otherwise.

    errors: of the detections from a threshold up, which shown_from describes; num_objects: without crowds.
    """
    wrong, right = int(errors.wrong.sum()), num_objects - int(errors.missed.sum())
    if not num_objects or right >= FEWEST_RIGHT * (right + wrong):
        return ""
    return (
        f"{wrong:,} of {counted(right + wrong, 'detection')} from {shown_from} up are false positives, so predict "
        "would show little else: `lookonce diagnose` names the cause, a higher --threshold shows fewer."
    )


def with_class_thresholds(record: ModelRecord, dataset: Dataset, analysis: Analysis) -> ModelRecord:
    """The record with the best threshold of each class of the network.

    Classes without a true positive get no threshold of their own: the record's general threshold applies to them.
    """
    best = analysis.best_thresholds()
    of_dataset = match_classes(record, dataset).tolist()
    names = {
        name: dataset.class_names[label]
        for name, label in zip(record.class_names, of_dataset, strict=True)
        if label >= 0
    }
    stored = {name: best[theirs] for name, theirs in names.items() if theirs in best}
    thresholds = record.thresholds.model_copy(update={"per_class_score": stored})
    return record.model_copy(update={"thresholds": thresholds})
