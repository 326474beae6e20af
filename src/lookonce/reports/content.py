"""The content of a report: one training run with its scores, analysis, images and environment."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from lookonce.data.dataset import Dataset
from lookonce.errors import DataError
from lookonce.reports.images import Classes, ComparedImage
from lookonce.settings.record import ModelRecord


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
    worst: those with most errors. shown_from: the confidence threshold of the predictions in both, in words. classes:
    name and color of each label in the images. verified: verify.json of `lookonce verify`. facts: rows about the
    environment. commands: shell commands that reproduce the run.
    """

    title: str
    run: Run
    datasets: Sequence[Dataset] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    scored_on: str = "the validation images"
    analysis: Mapping[str, Any] = field(default_factory=dict)
    images: Sequence[ComparedImage] = ()
    worst: Sequence[ComparedImage] = ()
    shown_from: str = "a score of 0.25"
    classes: Classes = ()
    verified: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    commands: Sequence[str] = ()


def read_run(folder: Path) -> Run:
    """Reads settings.yaml, metrics.jsonl and the record of a run folder; only the first is required."""
    path = folder / "settings.yaml"
    if not path.is_file():
        raise DataError(
            f"{folder}: contains no settings.yaml; expected the folder of a training run, such as runs/train-1",
            path=folder,
        )
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(settings, dict):
        raise DataError(f"{path}: contains {type(settings).__name__}; expected a mapping of settings", path=path)
    return Run(folder=folder, settings=settings, rows=_read_rows(folder / "metrics.jsonl"), record=_read_record(folder))


def read_metrics(path: Path) -> dict[str, Any]:
    """Reads a metrics.json of `lookonce eval --output`."""
    return _read_json(path, "AP")


def read_analysis(path: Path) -> dict[str, Any]:
    """Reads an analysis.json of `lookonce eval --output`."""
    return _read_json(path, "curves")


def read_verified(folder: Path) -> dict[str, Any]:
    """Reads verify.json of a run folder; empty if there is none."""
    path = folder / "verify.json"
    return _read_json(path, "rows", verb="verify") if path.is_file() else {}


def _read_json(path: Path, key: str, *, verb: str = "eval") -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read as JSON ({error}); expected a {path.name} of `lookonce {verb}`",
            path=path,
        ) from error
    if not isinstance(content, dict) or key not in content:
        raise DataError(f"{path}: the key {key} is missing; expected a {path.name} of `lookonce {verb}`", path=path)
    return content


def best_metrics(rows: Sequence[Mapping[str, float]], by: str = "AP") -> dict[str, float]:
    """The metrics of the epoch with the highest `by`; empty if no epoch was evaluated."""
    scored = [row for row in rows if by in row]
    best = max(scored, key=lambda row: row[by], default={})
    return {name: value for name, value in best.items() if name.startswith("A")}


def _read_rows(path: Path) -> list[dict[str, float]]:
    """The rows of metrics.jsonl; a truncated last line, left by a kill, is dropped."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def _read_record(folder: Path) -> ModelRecord | None:
    for name in ("best", "last"):
        path = folder / "checkpoints" / name / "record.json"
        if path.is_file():
            try:
                return ModelRecord.model_validate_json(path.read_text(encoding="utf-8"))
            except ValidationError as error:
                raise DataError(
                    f"{path}: {error.errors()[0]['msg']}; expected a record of this version of lookonce", path=path
                ) from error
    return None
