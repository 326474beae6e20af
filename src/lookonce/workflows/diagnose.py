"""`lookonce diagnose`: why a detector finds nothing. Training asks the same when its score stays at 0, or falls."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lookonce.config.record import ModelRecord
from lookonce.data.annotations import Annotations, assemble
from lookonce.data.dataset import Dataset
from lookonce.data.findings import Finding
from lookonce.data.letterbox import box_sizes_at_input
from lookonce.data.selection import take_images
from lookonce.data.source import open_data
from lookonce.data.splits import DataSource
from lookonce.errors import DataError, SettingsError
from lookonce.evaluation.coco import score
from lookonce.evaluation.diagnosis import (
    HEALTHY_AP50,
    NOTHING_AP50,
    Check,
    Diagnosis,
    check_anchors,
    check_categories,
    check_class_names,
    check_labels,
    check_learning,
    check_scores,
    check_training_images,
)
from lookonce.evaluation.evaluate import detect_all
from lookonce.evaluation.results import Results
from lookonce.log import get_logger
from lookonce.report.content import read_run
from lookonce.report.sheets import even_choice, write_overlay
from lookonce.runtimes.base import Runtime
from lookonce.runtimes.detector import Detector
from lookonce.runtimes.registry import load_runtime, names_for
from lookonce.storage import make_run_folder, os_errors_explained, write_file

DIVERGED = "is not finite (loss"  # what training says of a NaN, in log.txt
IMAGES = 64
OVERLAID = 8


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is diagnosed. settings, rows: of its run, empty for weights alone; runtime None: there are no weights."""

    settings: Mapping[str, Any]
    rows: Sequence[Mapping[str, float]]
    runtime: Runtime | None
    diverged: bool = False


@dataclass(frozen=True, kw_only=True)
class Diagnosed:
    """What was found, and the folder with diagnosis.json and overlay.jpg."""

    diagnosis: Diagnosis
    output: Path

    @property
    def exit_code(self) -> int:
        return self.diagnosis.exit_code


def diagnose(
    weights: Path,
    *,
    names: Path | None = None,
    data: Path | None = None,
    images: Path | None = None,
    split: str = "",
    train_split: str = "",
    pictures: int = IMAGES,
    output: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Diagnosed:
    """Say why a detector finds nothing: checks in order, the cause by name, and what to do. Exit status 1 with a cause.

    Looks at category ids, classes, labels (pixels or fractions, corners or sizes), anchors, learning rate, what is
    found on training pictures, and scores; writes diagnosis.json, and overlay.jpg with the labels over their pictures.

    Parameters
    ----------
    weights
        Run folder (also one that failed), checkpoint folder, exported file, or MindSpore's .ckpt or Darknet's .weights.
    names
        Class names of a .ckpt or .weights, one a line, where it does not say.
    data
        Labelled pictures; without it, those that the run was trained on.
    images
        Folder of the pictures of an annotation JSON.
    split
        Where it scores badly; without it, the split that scored it during training, else val.
    train_split
        What it learned from; without it, that of the run, else train.
    pictures
        How many pictures of each split it is tried on.
    output
        Folder to write into; without it, diagnosis in the run folder, or runs/diagnose-1, -2 and so on.
    """
    if pictures < 1:
        raise SettingsError(f"pictures is {pictures}, expected 1 or more", setting="pictures", value=pictures)
    subject = read_subject(weights, names)
    source = open_data(data or _data_of(subject, weights), images or _images_of(subject))
    folder = _folder(weights, output)
    diagnosis = examine(
        subject,
        source,
        split=split or subject.settings.get("val_split", "val"),
        train_split=train_split or subject.settings.get("train_split", "train"),
        images=pictures,
        overlay=folder / "overlay.jpg",
        on_progress=on_progress,
    )
    content = {**asdict(diagnosis), "cause": diagnosis.cause.name if diagnosis.cause else None}
    write_file(folder / "diagnosis.json", json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return Diagnosed(diagnosis=diagnosis, output=folder)


def as_text(diagnosed: Diagnosed) -> Iterator[str]:
    """Lines for a terminal."""
    yield from lines(diagnosed.diagnosis)
    yield f"written: {diagnosed.output}: diagnosis.json, overlay.jpg (look at it: do the boxes lie on the objects?)"


def lines(diagnosis: Diagnosis) -> Iterator[str]:
    """Each check with its evidence, then the cause."""
    marks = {"cause": "CAUSE", "suspect": "suspect", "fine": "fine", "look": "look", "unknown": "-"}
    for number, check in enumerate(diagnosis.checks, start=1):
        yield f"{number}. {check.name}: {marks[check.verdict]}"
        yield f"   {check.evidence}"
        if check.advice and check.verdict != "fine":
            yield f"   -> {check.advice}"
    yield concluded(diagnosis)


def concluded(diagnosis: Diagnosis) -> str:
    """One sentence."""
    known = f"AP50 {diagnosis.AP50:.3f}" if diagnosis.AP50 >= 0 else "AP50 unknown"
    cause = diagnosis.cause
    if cause is not None:
        return f"{known}. The cause: {cause.name}"
    suspects = [check.name for check in diagnosis.checks if check.verdict == "suspect"]
    if diagnosis.AP50 >= HEALTHY_AP50:
        return f"{known}: it finds things; `lookonce eval` tells where it goes wrong"
    return f"{known}. No single cause; suspects: {', '.join(suspects) or 'none, so look at the overlay'}"


def read_subject(weights: Path, names: Path | None = None) -> Subject:
    """A run folder with or without weights, or weights alone."""
    names = names_for([weights], names)[weights]
    if not (weights / "settings.yaml").is_file():
        return Subject(settings={}, rows=(), runtime=load_runtime(weights, names=names))
    run = read_run(weights)
    log = weights / "log.txt"
    diverged = log.is_file() and DIVERGED in log.read_text(encoding="utf-8", errors="replace")
    runtime = load_runtime(weights) if run.record is not None else None
    return Subject(settings=run.settings, rows=run.rows, runtime=runtime, diverged=diverged)


def examine(
    subject: Subject,
    source: DataSource,
    *,
    split: str,
    train_split: str,
    images: int = IMAGES,
    overlay: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Diagnosis:
    """All checks. What the annotations' reader refuses is a cause in itself, and the only one that is told then."""
    names = [name for name in dict.fromkeys((train_split, split)) if name in source.splits]
    try:
        written = [source.as_written(name, _raise_error) for name in names]
        datasets = [assemble(found, _ignore) for found in written]
    except DataError as error:
        refused = Check(name="reading the annotations", verdict="cause", evidence=str(error))
        return Diagnosis(checks=(refused,), AP50=-1.0)
    if not datasets:
        raise DataError(
            f"{source.origin}: has neither split {train_split!r} nor {split!r}; it has {source.splits}",
            path=source.origin,
        )
    record = subject.runtime.record if subject.runtime is not None else planned_record(subject, datasets[0])
    found = _found(subject.runtime, record, datasets, images, on_progress)
    scores = {dataset.split: score(dataset, results).AP50 for dataset, results in found}
    val_ap50, train_ap50 = scores.get(split, -1.0), scores.get(train_split, -1.0) if train_split in scores else -1.0
    checks = [
        check_categories(found),
        check_class_names(record, datasets[-1]),
        check_labels(written),
        _overlay(written, datasets, overlay),
        check_anchors(_sizes(datasets[0], record), record),
        check_learning(subject.rows, subject.settings, diverged=subject.diverged, healthy=val_ap50 >= HEALTHY_AP50),
        check_training_images(train_ap50, val_ap50, min(images, len(datasets[0]))),
        check_scores(found),
    ]
    return Diagnosis(checks=checks, AP50=val_ap50)


def planned_record(subject: Subject, dataset: Dataset) -> ModelRecord:
    """What the network of a run without any checkpoint would have been."""
    from lookonce.config.schema import Settings
    from lookonce.workflows.build import make_record

    return make_record(Settings.model_validate(dict(subject.settings)), dataset, "")


def _found(
    runtime: Runtime | None,
    record: ModelRecord,
    datasets: Sequence[Dataset],
    images: int,
    on_progress: Callable[[int, int], None] | None,
) -> list[tuple[Dataset, Results]]:
    """Some pictures of each split and what is found in them; nothing without weights or without a common class."""
    if runtime is None or check_class_names(record, datasets[-1]).verdict == "cause":
        return []
    parts = [take_images(dataset, even_choice(len(dataset), images)) for dataset in datasets]
    total, done = sum(map(len, parts)), 0
    found = []
    for part in parts:

        def advance(count: int, before: int = done) -> None:
            if on_progress is not None:
                on_progress(before + count, total)

        found.append((part, detect_all(Detector(runtime), part, on_progress=advance)))
        done += len(part)
    return found


def _sizes(dataset: Dataset, record: ModelRecord) -> np.ndarray[Any, np.dtype[np.float64]]:
    return box_sizes_at_input(dataset, record.image_size[0], record.preprocessing.resize)


def _overlay(written: Sequence[Annotations], datasets: Sequence[Dataset], file: Path | None) -> Check:
    """Draws the labels as they were read, also those that were left out."""
    name = "overlay of ground truth"
    kept = sum(len(dataset.labels) for dataset in datasets)
    total = sum(len(found.labels) for found in written)
    lost = f"{total - kept:,} of {total:,} boxes were left out because nothing of them lies in their picture"
    if file is None:
        return Check(name=name, verdict="look", evidence=lost)
    with os_errors_explained(file):
        write_overlay(file, datasets[0], OVERLAID)
    return Check(name=name, verdict="look", evidence=f"{file}: do the boxes lie on the objects? {lost}")


def _raise_error(finding: Finding) -> None:
    if finding.severity == "error":
        raise DataError(finding.message, path=finding.file, check=finding.name)


def _ignore(_: Finding) -> None: ...


def _data_of(subject: Subject, weights: Path) -> Path:
    known = subject.settings.get("data")
    if not known:
        raise SettingsError(
            f"data: {weights} is no run folder that names its data; say which: --data DATA",
            setting="data",
            path=weights,
        )
    return Path(known)


def _images_of(subject: Subject) -> Path | None:
    known = subject.settings.get("images")
    return Path(known) if known else None


def _folder(weights: Path, output: Path | None) -> Path:
    if output is None and not (weights / "settings.yaml").is_file():
        return make_run_folder(Path("runs"), "diagnose")
    folder = output or weights / "diagnosis"
    with os_errors_explained(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


class ScoreMonitor:
    """Asks why, once, when the validation AP50 of a run stays under NOTHING_AP50 or has fallen to a third.

    look: makes the present weights a Runtime. Only reading and thinking: nothing of the training is touched.
    """

    def __init__(self, settings: Mapping[str, Any], look: Callable[[], Runtime], folder: Path) -> None:
        self.settings = settings
        self.patience = patience(int(settings["epochs"]))
        self._look = look
        self._folder = folder
        self._asked: set[str] = set()

    def __call__(self, rows: Sequence[Mapping[str, float]]) -> None:
        """rows: the table of metrics so far, one row an epoch."""
        symptom = self.symptom(rows)
        if not symptom or symptom in self._asked:
            return
        self._asked.add(symptom)
        logger = get_logger()
        logger.warning(f"{symptom} (epoch {len(rows)}); looking for the cause")
        try:
            diagnosis = self._examine(rows)
        except (OSError, ValueError) as error:  # a LookonceError is one; the run is worth more than its diagnosis
            logger.warning(f"not diagnosed: {error}")
            return
        *evidence, conclusion = lines(diagnosis)
        for line in evidence:
            logger.info(line)
        cause = diagnosis.cause
        logger.warning(conclusion + (f": {cause.evidence} -> {cause.advice}" if cause is not None else ""))
        logger.info(f"training goes on; again, with a picture of the labels: lookonce diagnose {self._folder}")

    def symptom(self, rows: Sequence[Mapping[str, float]]) -> str:
        """What is wrong with the scores, in words; empty while nothing is."""
        scores = [row["AP50"] for row in rows if "AP50" in row]
        if not scores or "AP50" not in rows[-1]:
            return ""
        best, now = max(scores), scores[-1]
        if 0 <= best < NOTHING_AP50 and len(rows) >= self.patience:
            return f"AP50 is still under {NOTHING_AP50:g}"
        if best >= HEALTHY_AP50 and now < best / 3:
            return "AP50 has fallen to less than a third"
        return ""

    def _examine(self, rows: Sequence[Mapping[str, float]]) -> Diagnosis:
        images = self.settings.get("images")
        source = open_data(self.settings["data"], Path(images) if images else None)
        return examine(
            Subject(settings=self.settings, rows=rows, runtime=self._look()),
            source,
            split=self.settings["val_split"],
            train_split=self.settings["train_split"],
            images=IMAGES // 2,
        )


def patience(epochs: int) -> int:
    """Epochs after which a score of 0 is no slow start any more: a fifth of the run, 3 to 10."""
    return min(max(-(-epochs // 5), 3), 10)
