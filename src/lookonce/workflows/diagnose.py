"""`lookonce diagnose`: finds the cause of a low score. Training runs it if AP50 stays near 0 or collapses."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lookonce.data.anchors import box_sizes_at_input
from lookonce.data.annotations import Annotations, assemble
from lookonce.data.dataset import Dataset
from lookonce.data.findings import RaiseOnError, ignore
from lookonce.data.selection import even_choice, take_images
from lookonce.data.source import require_data_source
from lookonce.data.splits import DataSource
from lookonce.errors import DataError, SettingsError
from lookonce.evaluation.coco import score
from lookonce.evaluation.diagnosis import (
    FEWEST_OBJECTS,
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
from lookonce.layout import Printed
from lookonce.log import get_logger, log_lines
from lookonce.reports.content import read_run
from lookonce.reports.sheets import write_overlay
from lookonce.request import old_names
from lookonce.runtimes.base import Runtime
from lookonce.runtimes.detector import Detector
from lookonce.runtimes.registry import load_runtime, names_for
from lookonce.settings.names import counted
from lookonce.settings.record import ModelRecord
from lookonce.shown import command, to_json
from lookonce.storage import output_folder, write_file
from lookonce.weights.pull import find_weights
from lookonce.workflows.validation_split import data_of_run, open_data_of_run, with_val_of

DIVERGED = "is not finite (loss"  # part of the line that training logs for a NaN or infinite loss
IMAGES = 64
OVERLAID = 8


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A detector to diagnose. settings, rows: of its run, empty for weights alone; runtime: None without weights."""

    settings: Mapping[str, Any]
    rows: Sequence[Mapping[str, float]]
    runtime: Runtime | None
    diverged: bool = False


@dataclass(frozen=True, kw_only=True)
class Diagnosed(Printed):
    """The diagnosis, and the folder with diagnosis.json and overlay.jpg."""

    diagnosis: Diagnosis
    output: Path

    @property
    def exit_code(self) -> int:
        return self.diagnosis.exit_code


@old_names(pictures="num_images")
def diagnose(
    weights: Path,
    *,
    names: Path | None = None,
    data: Path | None = None,
    images: Path | None = None,
    follow_links: bool = False,
    split: str = "",
    train_split: str = "",
    num_images: int = IMAGES,
    output: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Diagnosed:
    """Diagnose a low score: run checks in order, name the cause and what to do. Exit status 1 if a cause is found.

    Checks category ids, classes, labels (pixels or fractions, corners or sizes), anchors, learning rate, detections on
    training images, and scores. Writes diagnosis.json, and overlay.jpg with the ground truth drawn on the images.

    Parameters
    ----------
    weights
        Run folder (also of a failed run), checkpoint folder, exported file, MindSpore .ckpt or Darknet .weights.
    names
        Text file of class names, one per line, for a .ckpt or .weights without names.
    data
        Labelled images; default: the data set that the run was trained on.
    images
        Image folder of an annotation JSON.
    follow_links
        Read images through symbolic links that lead out of the data set; without it they are refused.
    split
        Split with the low score; default: the validation split of the run, else val.
    train_split
        Split it was trained on; default: the training split of the run, else train.
    num_images
        Images of each split to run the detector on, 1 or more.
    output
        Folder to write into; default: diagnosis in the run folder, else a new runs/diagnose-N.
    """
    if num_images < 1:
        raise SettingsError.of("num_images", num_images, "expected 1 or more")
    weights = find_weights(weights)
    if data is not None:
        require_data_source(data)  # before PyTorch is loaded
    subject = read_subject(weights, names)
    settings = subject.settings
    if not data and not settings.get("data"):
        problem = "is not a run folder, which stores its data; add --data DATA"
        raise SettingsError(f"data: {weights} {problem}", setting="data", path=weights)
    asked = {"data": data, "images": images, "follow_links": follow_links}
    said = {name: value for name, value in asked.items() if value}
    opened = open_data_of_run({**settings, **said}, None if data else weights)
    source = with_val_of(opened, weights, names)
    for typed in filter(None, (split, train_split)):  # not those of the run, which other data may lack
        source.require_split(typed)
    folder = output_folder(output or (weights / "diagnosis" if settings else None), "diagnose")
    diagnosis = examine(
        subject,
        source,
        split=split or settings.get("val_split", "val"),
        train_split=train_split or settings.get("train_split", "train"),
        images=num_images,
        overlay=folder / "overlay.jpg",
        on_progress=on_progress,
    )
    content = {**asdict(diagnosis), "cause": diagnosis.cause.name if diagnosis.cause else None}
    write_file(folder / "diagnosis.json", to_json(content, indent=1) + "\n")
    return Diagnosed(diagnosis=diagnosis, output=folder)


def as_text(diagnosed: Diagnosed) -> Iterator[str]:
    yield from lines(diagnosed.diagnosis)
    yield f"written: {diagnosed.output}: diagnosis.json, overlay.jpg (check in it that the boxes lie on the objects)"


def lines(diagnosis: Diagnosis) -> Iterator[str]:
    marks = {"cause": "CAUSE", "suspect": "suspect", "fine": "fine", "look": "look", "unknown": "-"}
    for number, check in enumerate(diagnosis.checks, start=1):
        yield f"{number}. {check.name}: {marks[check.verdict]}"
        yield f"   {check.evidence}"
        if check.advice and check.verdict != "fine":
            yield f"   -> {check.advice}"
    yield concluded(diagnosis)


def concluded(diagnosis: Diagnosis) -> str:
    """One line: AP50 and the cause, or the suspects."""
    known = f"AP50 {diagnosis.AP50:.3f}" if diagnosis.AP50 >= 0 else "AP50 unknown"
    cause = diagnosis.cause
    if cause is not None:
        return f"{known}. Cause: {cause.name}"
    suspects = [check.name for check in diagnosis.checks if check.verdict == "suspect"]
    if diagnosis.AP50 >= HEALTHY_AP50:
        return f"{known}: the detector works; `lookonce eval` reports which errors remain"
    return f"{known}. No single cause found; suspects: {', '.join(suspects) or 'none, check the overlay'}"


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
    """Run all checks. If the annotations cannot be read, this is the cause, and no other check is run."""
    names = [name for name in dict.fromkeys((train_split, split)) if name in source.splits]
    try:
        written = [source.as_written(name, RaiseOnError(source.origin)) for name in names]
        datasets = [assemble(found, ignore) for found in written]
    except DataError as error:
        refused = Check("reading the annotations", "cause", str(error))
        return Diagnosis(checks=(refused,), AP50=-1.0)
    if not datasets:
        problem = f"has neither split {train_split!r} nor {split!r}; choose from {source.splits}"
        raise DataError.at(source.origin, problem)
    if subject.runtime is not None:
        record = subject.runtime.record
    else:  # that with which the run would have trained
        from lookonce.settings.schema import Settings
        from lookonce.workflows.build import make_record

        record = make_record(Settings.model_validate(dict(subject.settings)), datasets[0], "")
    found = _found(subject.runtime, record, datasets, images, on_progress)
    scores = {dataset.split: score(dataset, results).AP50 for dataset, results in found}
    val_ap50, train_ap50 = scores.get(split, -1.0), scores.get(train_split, -1.0)
    checks = [
        check_categories(found),
        check_class_names(record, datasets[-1]),
        check_labels(written),
        _overlay(written, datasets, overlay),
        check_anchors(box_sizes_at_input(datasets[0], record.image_size, record.preprocessing.resize), record),
        check_learning(subject.rows, subject.settings, diverged=subject.diverged, healthy=val_ap50 >= HEALTHY_AP50),
        check_training_images(train_ap50, val_ap50, min(images, len(datasets[0]))),
        check_scores(found),
    ]
    return Diagnosis(checks=checks, AP50=val_ap50)


def _found(
    runtime: Runtime | None,
    record: ModelRecord,
    datasets: Sequence[Dataset],
    images: int,
    on_progress: Callable[[int, int], None] | None,
) -> list[tuple[Dataset, Results]]:
    """Up to `images` images of each split and their detections; [] without weights or without a common class."""
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


def _overlay(written: Sequence[Annotations], datasets: Sequence[Dataset], file: Path | None) -> Check:
    """Draw the ground truth as it was read, and count the boxes that were left out."""
    name = "overlay of ground truth"
    kept = sum(len(dataset.labels) for dataset in datasets)
    total = sum(len(found.labels) for found in written)
    lost = f"{total - kept:,} of {total:,} boxes were left out: without area, or outside their image"
    if file is None:
        return Check(name, "look", lost)
    write_overlay(file, datasets[0], OVERLAID)
    return Check(name, "look", f"{file}: do the boxes lie on the objects?{f' {lost}' if kept < total else ''}")


class ScoreMonitor:
    """Diagnoses a run, once per symptom, when its validation AP50 stays below NOTHING_AP50, or is below a third of the
    best twice in a row. In the first epochs neither is a symptom.

    look: makes a Runtime of the current weights. The training state is only read.
    """

    def __init__(self, settings: Mapping[str, Any], look: Callable[[], Runtime], folder: Path) -> None:
        self.settings = settings
        self.patience = patience(int(settings["epochs"]))
        self._look = look
        self._folder = folder
        self._asked: set[str] = set()

    def __call__(self, rows: Sequence[Mapping[str, float]]) -> None:
        """rows: metrics so far, one row per epoch."""
        symptom = self.symptom(rows)
        if not symptom or symptom in self._asked:
            return
        self._asked.add(symptom)
        logger = get_logger()
        logger.warning(f"{symptom} (epoch {len(rows)}); running the diagnosis")
        try:
            source = data_of_run(self.settings, self._folder)  # before the weights are copied
            num_objects = len(source.split(self.settings["val_split"]).labels)
            if num_objects < FEWEST_OBJECTS:
                logger.info(f"diagnosis: {counted(num_objects, 'object')} to find, too few to judge")
                return
            diagnosis = examine(
                Subject(settings=self.settings, rows=rows, runtime=self._look()),
                source,
                split=self.settings["val_split"],
                train_split=self.settings["train_split"],
                images=IMAGES // 2,
            )
        except (OSError, ValueError) as error:  # LookonceError included; a failed diagnosis must not end the run
            logger.warning(f"diagnosis failed: {error}")
            return
        *evidence, conclusion = lines(diagnosis)
        log_lines(evidence)
        cause = diagnosis.cause
        logger.warning(conclusion + (f": {cause.evidence} -> {cause.advice}" if cause is not None else ""))
        logger.info(f"training continues; for an overlay of the ground truth, run: {command('diagnose', self._folder)}")

    def symptom(self, rows: Sequence[Mapping[str, float]]) -> str:
        """The problem with the scores as text; "" if there is none."""
        scores = [row["AP50"] for row in rows if "AP50" in row]
        if not scores or "AP50" not in rows[-1]:
            return ""
        best, now = max(scores), max(scores[-2:])
        if len(rows) < self.patience:
            return ""
        if 0 <= best < NOTHING_AP50:
            return f"AP50 is still below {NOTHING_AP50:g}"
        # One low score is noise: with ten objects, AP50 went from 0.42 to 0.14 in the second of 100 epochs, and back.
        if best >= HEALTHY_AP50 and now < best / 3:
            return "AP50 has been below a third of the best twice in a row"
        return ""


def patience(epochs: int) -> int:
    """Epochs after which a low AP50 is no longer a slow start: a fifth of the run, 3..10."""
    return min(max(-(-epochs // 5), 3), 10)
