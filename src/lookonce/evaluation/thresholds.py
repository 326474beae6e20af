"""Confidence thresholds: of each class, stored in the checkpoint; and one at which a weak detector shows something."""

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.data.dataset import Dataset
from lookonce.errors import SettingsError
from lookonce.evaluation.analysis import Analysis
from lookonce.evaluation.evaluate import match_classes

# With fewer detections than a tenth of the objects, a threshold shows nothing that one can judge.
FEWEST_SHOWN = 0.1


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


def checkpoint_to_describe(weights: Path | None) -> Path:
    """The checkpoint folder in which thresholds can be stored. Raises SettingsError if there is none."""
    if weights is None:
        raise SettingsError(
            "store_thresholds: a results file has no checkpoint; expected a checkpoint; add --weights",
            setting="store_thresholds",
        )
    if weights.is_file() and weights.suffix == ".onnx":
        raise SettingsError(
            f"store_thresholds: {weights} is an exported file; expected a checkpoint; evaluate the checkpoint it was "
            "exported from with --store-thresholds, then export it again",
            setting="store_thresholds",
            path=weights,
        )
    from lookonce.weights.load import find_checkpoint

    return find_checkpoint(weights)


def write_thresholds(checkpoint: Path, dataset: Dataset, analysis: Analysis) -> dict[str, float]:
    """Stores the best threshold of each class of the network in its record; returns these thresholds.

    Classes without a true positive get no threshold of their own: the record's general threshold applies to them.
    """
    from lookonce.weights.checkpoint import read_record, replace_record

    record = read_record(checkpoint)
    best = analysis.best_thresholds()
    of_dataset = match_classes(record, dataset).tolist()
    names = {
        name: dataset.class_names[label]
        for name, label in zip(record.class_names, of_dataset, strict=True)
        if label >= 0
    }
    stored = {name: best[theirs] for name, theirs in names.items() if theirs in best}
    thresholds = record.thresholds.model_copy(update={"per_class_score": stored})
    replace_record(checkpoint, record.model_copy(update={"thresholds": thresholds}))
    return stored
