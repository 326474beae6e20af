"""The content of a report: one training run with its scores, analysis, images and environment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookonce.data.dataset import Dataset
from lookonce.errors import DataError
from lookonce.parsed import parse_json
from lookonce.remote.objects import Location, is_remote
from lookonce.reports.images import Classes, ComparedImage
from lookonce.settings.image_size import sides_in_words
from lookonce.settings.record import ModelRecord, Thresholds, parse_record
from lookonce.settings.yaml_file import read_entries
from lookonce.storage import find_published, read_regular_file, read_text_file
from lookonce.training.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run folder. rows: one per epoch, oldest first; record: of the best weights, else of the last, or None."""

    folder: Path
    settings: Mapping[str, Any]
    rows: Sequence[Mapping[str, float]]
    record: ModelRecord | None


@dataclass(frozen=True, kw_only=True)
class Content:
    """Everything a report shows; the page omits what is empty.

    metrics: COCO's twelve metrics by name, 0..1 or -1, and other keys of metrics.json of `lookonce eval` if available;
    analysis: its analysis.json. scored_on: the scored images, in words. images: an evenly spaced choice of these;
    worst: those with most errors. threshold: the confidence threshold of `predict`, in words. shown_from: the
    confidence threshold of the predictions in both and in the confusion matrix, in words. weak: a sentence if few or no
    detections reach the threshold of `predict`, or if nearly all that do are false positives, else empty. counts: at
    that of shown_from, numbers of objects, missed objects and false positives. classes: name and color of each label in
    the images. verified: verify.json of `lookonce verify`. facts: rows about the environment. commands: shell commands
    that reproduce the run. predicted: annotated images of predicted_by, in words, by name, (H, W, 3) uint8 RGB.
    """

    title: str
    run: Run
    datasets: Sequence[Dataset] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    scored_on: str = "the validation images"
    analysis: Mapping[str, Any] = field(default_factory=dict)
    images: Sequence[ComparedImage] = ()
    worst: Sequence[ComparedImage] = ()
    threshold: str = "a score of 0.25"
    shown_from: str = "a score of 0.25"
    weak: str = ""
    counts: tuple[int, int, int] | None = None
    classes: Classes = ()
    verified: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    commands: Sequence[str] = ()
    predicted: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    predicted_by: str = ""


def read_run(folder: Path) -> Run:
    """Reads settings.yaml, metrics.jsonl and the record of a run folder; only the first is required."""
    path = folder / "settings.yaml"
    if is_remote(folder):
        problem = "is in object storage; expected the folder of a training run on this machine; copy it here first"
        raise DataError.at(str(Location.parse(str(folder))), problem)
    if not path.is_file():
        problem = "contains no settings.yaml" if folder.exists() else "no such folder"
        raise DataError.at(folder, f"{problem}; expected the folder of a training run, such as runs/train-1")
    settings = {entry.name: entry.value for entry in read_entries(path)}
    return Run(folder=folder, settings=settings, rows=RunFolder(folder).metrics(), record=_read_record(folder))


# Result file -> a key that it has, and the verb that writes it.
RESULTS = {
    "metrics.json": ("AP", "eval"),
    "analysis.json": ("curves", "eval"),
    "detections.json": ("class_names", "predict"),
    "verify.json": ("rows", "verify"),
}


def read_result(path: Path) -> dict[str, Any]:
    """Reads a file of RESULTS; DataError unless it is one."""
    key, verb = RESULTS[path.name]
    expected = f"expected a {path.name} of `lookonce {verb}`"
    try:
        content = parse_json(read_text_file(path))
    except (OSError, ValueError) as error:
        raise DataError.at(path, f"cannot be read as JSON ({error}); {expected}") from error
    if not isinstance(content, dict) or key not in content:
        raise DataError.at(path, f"the key {key} is missing; {expected}")
    return content


def shown_from(thresholds: Thresholds) -> str:
    """In words: the confidence threshold of the detections shown."""
    if not thresholds.per_class_score:
        return f"a score of {thresholds.score:g}"
    low, high = min(thresholds.per_class_score.values()), max(thresholds.per_class_score.values())
    return f"each class's own score ({low:g} to {high:g})"


def described(record: ModelRecord) -> dict[str, str]:
    """What identifies a network, and the versions that trained it, as rows of a table."""
    thresholds, given = record.thresholds, record.preprocessing
    nms = [f"IoU {thresholds.iou:g}", *([] if thresholds.multi_label else ["a box has one class"])]
    return record.versions | {
        "dialect": f"{record.dialect.name}, {record.dialect.activation}",
        "input": f"{sides_in_words(record.image_size)} pixels, {given.resize}, {given.color_order}",
        "output channels of each convolution": ", ".join(map(str, record.channels)),
        "anchors, pixels": "  ".join(f"{width:g}×{height:g}" for width, height in record.anchors),
        "NMS": ", ".join([*nms, *(["class-agnostic"] if thresholds.agnostic else [])]),
        "training data, SHA-256": record.data_hash or "unknown",
    }


def best_metrics(rows: Sequence[Mapping[str, float]], by: str = "AP") -> dict[str, float]:
    """The metrics of the epoch with the highest `by`; empty if no epoch was evaluated."""
    scored = [row for row in rows if by in row]
    best = max(scored, key=lambda row: row[by], default={})
    return {name: value for name, value in best.items() if name.startswith("A")}


def _read_record(folder: Path) -> ModelRecord | None:
    for name in ("best", "last"):
        checkpoint = folder / "checkpoints" / name
        path = (find_published(checkpoint) or checkpoint) / "record.json"
        if path.is_file():
            try:
                return parse_record(read_regular_file(path))
            except ValueError as error:
                raise DataError.at(path, f"{error}; expected a record of this version of lookonce") from error
    return None
