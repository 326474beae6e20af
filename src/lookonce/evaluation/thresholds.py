"""Confidence thresholds of each class: chosen by an evaluation, stored in the checkpoint."""

from pathlib import Path

from lookonce.data.dataset import Dataset
from lookonce.errors import SettingsError
from lookonce.evaluation.analysis import Analysis
from lookonce.evaluation.evaluate import match_classes


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
