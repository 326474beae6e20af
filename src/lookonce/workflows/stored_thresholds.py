"""`eval --store-thresholds`: the best confidence threshold of each class, stored in the checkpoint that was scored."""

from pathlib import Path

from lookonce.data.dataset import Dataset
from lookonce.errors import SettingsError
from lookonce.evaluation.analysis import Analysis
from lookonce.evaluation.thresholds import with_class_thresholds
from lookonce.runtimes.kinds import kind_of
from lookonce.runtimes.registry import takes_names
from lookonce.weights.pull import find_checkpoint, find_weights


def can_store(weights: Path | None) -> bool:
    """Whether it is a checkpoint of ours: results files, exported files and other programs' weights hold no record to
    change."""
    return weights is not None and kind_of(find_weights(weights)) == "checkpoint" and not takes_names(weights)


def checkpoint_to_describe(weights: Path | None) -> Path:
    """The checkpoint folder in which thresholds can be stored. Raises SettingsError if there is none."""
    if weights is None:
        problem = "a results file has no checkpoint; expected a checkpoint; add --weights"
        raise SettingsError(f"store_thresholds: {problem}", setting="store_thresholds")
    if weights.is_file() and weights.suffix == ".onnx":
        raise SettingsError(
            f"store_thresholds: {weights} is an exported file; expected a checkpoint; evaluate the checkpoint it was "
            "exported from with --store-thresholds, then export it again",
            setting="store_thresholds",
            path=weights,
        )
    return find_checkpoint(weights)


def store_thresholds(checkpoint: Path, dataset: Dataset, analysis: Analysis) -> dict[str, float]:
    """Stores the best threshold of each class in the checkpoint's record; returns these thresholds."""
    from lookonce.weights.checkpoint import read_record, replace_record

    record = with_class_thresholds(read_record(checkpoint), dataset, analysis)
    replace_record(checkpoint, record)
    return record.thresholds.per_class_score
