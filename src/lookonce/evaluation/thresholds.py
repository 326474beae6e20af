"""Confidence thresholds of each class, chosen by an evaluation; `eval --store-thresholds` stores them."""

from lookonce.data.dataset import Dataset
from lookonce.evaluation.analysis import Analysis
from lookonce.evaluation.evaluate import match_classes
from lookonce.settings.record import ModelRecord


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
