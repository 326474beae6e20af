"""What a report tells: one training run, and what is known beside it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from lookonce.config.record import ModelRecord
from lookonce.data.dataset import Dataset
from lookonce.errors import DataError
from lookonce.report.images import Classes, ComparedImage


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run folder as read: rows one an epoch, oldest first; record of its best weights, else of its last."""

    folder: Path
    settings: Mapping[str, Any]
    rows: Sequence[Mapping[str, float]]
    record: ModelRecord | None


@dataclass(frozen=True, kw_only=True)
class Content:
    """Everything a report shows; what is empty is left out of the page.

    metrics: the twelve numbers by name, fractions or -1, and what else metrics.json of `lookonce eval` holds, where it
    is known; analysis: its analysis.json. scored_on: words for the pictures they were taken on. pictures: an even
    choice of these; worst: those with most errors; both show what is found from shown_from on, in words.
    classes: name and color of each label in the pictures. verified: the verify.json of
    `lookonce verify`. facts: rows of the environment. commands: how to do it again.
    """

    title: str
    run: Run
    datasets: Sequence[Dataset] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    scored_on: str = "the validation pictures"
    analysis: Mapping[str, Any] = field(default_factory=dict)
    pictures: Sequence[ComparedImage] = ()
    worst: Sequence[ComparedImage] = ()
    shown_from: str = "a score of 0.25"
    classes: Classes = ()
    verified: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    commands: Sequence[str] = ()


def read_run(folder: Path) -> Run:
    """Reads settings.yaml, metrics.jsonl and the record of a run folder; only the first has to be there."""
    path = folder / "settings.yaml"
    if not path.is_file():
        raise DataError(
            f"{folder}: no settings.yaml in it; expected the folder of a training run, such as runs/train-1",
            path=folder,
        )
    settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(settings, dict):
        raise DataError(f"{path}: holds {type(settings).__name__}, expected a mapping of settings", path=path)
    return Run(folder=folder, settings=settings, rows=_read_rows(folder / "metrics.jsonl"), record=_read_record(folder))


def read_metrics(path: Path) -> dict[str, Any]:
    """The metrics.json that `lookonce eval --output` wrote."""
    return _read_json(path, "AP")


def read_analysis(path: Path) -> dict[str, Any]:
    """The analysis.json beside it."""
    return _read_json(path, "curves")


def read_verified(folder: Path) -> dict[str, Any]:
    """The verify.json of a run folder; empty where nothing was verified."""
    path = folder / "verify.json"
    return _read_json(path, "rows") if path.is_file() else {}


def _read_json(path: Path, key: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: cannot be read as JSON ({error}); expected the {path.name} of lookonce eval",
            path=path,
        ) from error
    if not isinstance(content, dict) or key not in content:
        raise DataError(f"{path}: no {key} in it; expected the {path.name} of lookonce eval", path=path)
    return content


def best_metrics(rows: Sequence[Mapping[str, float]], by: str = "AP") -> dict[str, float]:
    """The numbers of the epoch that is best by one of them; empty when none was evaluated."""
    scored = [row for row in rows if by in row]
    best = max(scored, key=lambda row: row[by], default={})
    return {name: value for name, value in best.items() if name.startswith("A")}


def _read_rows(path: Path) -> list[dict[str, float]]:
    """A last line that was cut off by a kill is left out."""
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
                    f"{path}: {error.errors()[0]['msg']}; was it written by another version?", path=path
                ) from error
    return None
