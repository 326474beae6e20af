"""`lookonce verify`: compares exported files with the weights they were made from, on labelled images."""

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lookonce
from lookonce.cores import usable_threads
from lookonce.data.dataset import Dataset
from lookonce.data.images import read_image
from lookonce.data.source import open_data
from lookonce.detections import Detections
from lookonce.errors import MissingExtra, SettingsError
from lookonce.evaluation.coco import score
from lookonce.evaluation.evaluate import match_classes, relabel
from lookonce.evaluation.results import Results
from lookonce.exporters.base import Tolerances, agreement, size_of
from lookonce.exporters.metadata import store_verification
from lookonce.exporters.plan import Precision
from lookonce.layout import Printed
from lookonce.letterbox import fit
from lookonce.log import get_logger
from lookonce.ordered import ordered_map
from lookonce.request import Listed
from lookonce.runtimes.base import Runtime
from lookonce.runtimes.detector import Detector
from lookonce.runtimes.kinds import PROMISES, kind_of
from lookonce.runtimes.processor import int8_path
from lookonce.runtimes.registry import at_size, load_runtime, names_for, require_known, runtimes_for
from lookonce.settings.names import counted, split_list
from lookonce.settings.record import MODEL_FILE, Thresholds
from lookonce.storage import write_file
from lookonce.weights.pull import find_checkpoint, find_weights
from lookonce.workflows.validation_split import split_to_score

RAW_IMAGES = 8  # images whose raw head outputs are compared
AP_TOLERANCE: dict[Precision, float] = {"fp32": 1e-3, "fp16": 5e-3, "int8": 0.015}
# Boxes in pixels of the original images. fp16 and int8 are judged by AP alone; their box differences are only reported.
TOLERANCES: dict[Precision, Tolerances] = {
    "fp32": Tolerances(
        raw=2e-4, raw_relative=1e-5, box=0.5, score=1e-3, missing=0.01, object_box=2.0, object_score=0.01
    ),
    "fp16": Tolerances(raw=0, raw_relative=0, box=0, score=0, missing=0, object_box=16.0, object_score=0.2),
    "int8": Tolerances(raw=0, raw_relative=0, box=0, score=0, missing=0, object_box=16.0, object_score=0.2),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One file in one runtime. Differences are to the reference; None for the reference itself.

    raw: largest difference of a raw logit on the first RAW_IMAGES images, None if the runtime does not expose them;
    box: pixels of the original images; missing: fraction of the reference's detections without a match, 0..1; ms:
    median latency of one image, including decoding and NMS; size: bytes; wrong: fields that exceed their tolerance.
    """

    file: str
    runtime: str
    precision: Precision
    image_size: tuple[int, int]
    AP: float
    AP50: float
    ms: float
    size: int
    raw: float | None = None
    box: float | None = None
    score: float | None = None
    missing: float | None = None
    wrong: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verification(Printed):
    """The whole table. output: path of verify.json."""

    rows: tuple[Row, ...]
    data: str
    split: str
    num_images: int
    output: Path

    @property
    def exit_code(self) -> int:
        return int(any(row.wrong for row in self.rows))


@dataclass(kw_only=True)
class Subject:
    """A file in a runtime, and its outputs so far. raws: raw head outputs, (B, ...) each; seconds: one per image."""

    path: Path
    runtime: Runtime
    found: list[Detections] = field(default_factory=list)
    raws: list[NDArray[np.float32]] | None = None
    seconds: list[float] = field(default_factory=list)

    def ask(self, image: NDArray[np.uint8], known: Thresholds) -> None:
        """Detect on one image, (H, W, 3) uint8 RGB, with the thresholds of an evaluation."""
        timed = Timed(self.runtime)
        detector = Detector(
            timed,
            score_threshold=known.evaluation_score,
            iou_threshold=known.iou,
            max_detections=known.max_detections,
            **known.selection(None, None),
        )
        self.found += detector.detect([image])
        self.seconds.append(timed.seconds)


class Timed:
    """A runtime that measures the wall-clock time of `detect`."""

    def __init__(self, runtime: Runtime) -> None:
        self.name, self.record, self.takes_any_size = runtime.name, runtime.record, runtime.takes_any_size
        self.seconds = 0.0
        self._runtime = runtime

    def detect(self, canvases: NDArray[np.uint8], **thresholds: Any) -> list[Detections]:
        started = time.perf_counter()
        found = self._runtime.detect(canvases, **thresholds)
        self.seconds += time.perf_counter() - started
        return found


def verify(
    files: list[Path],
    *,
    names: Path | None = None,
    data: Path,
    images: Path | None = None,
    follow_links: bool = False,
    split: str = "val",
    runtimes: Listed = "auto",
    output: Path | None = None,
    store: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Compare exported files with the weights they were made from: AP, boxes, scores and latency on labelled images.

    The first file is the reference. The table is printed, written to verify.json and stored in the exported files. Exit
    status 1 if a difference exceeds its tolerance.

    Parameters
    ----------
    files
        Checkpoint or run folder (or .ckpt, .weights) first, then exported files. A run folder alone is compared with
        all exported files in it.
    names
        Text file of class names, one per line, for a .ckpt or .weights without names.
    data
        Labelled images: a data set in any layout of docs/data.md, or an annotation JSON together with --images.
    images
        Image folder of an annotation JSON.
    follow_links
        Read images through symbolic links that lead out of the data set; without it they are refused.
    split
        Split of the data set: train, val or test.
    runtimes
        auto: the first runtime that supports each file; all: every installed one that supports it; or names, separated
        by commas.
    output
        JSON file to write; default: verify.json in the run folder, else beside the first file.
    store
        Store the result in the metadata of each file whose format supports it; --no-store does not change the files.
    """
    paths = with_files_of_run([find_weights(file) for file in files])
    beside = paths[0] if (paths[0] / "checkpoints").is_dir() else paths[0].resolve().parent
    source = open_data(str(data), images, follow_links=follow_links)
    dataset = split_to_score(source, split, paths[0], names)
    subjects = open_subjects(paths, runtimes, names)
    add_references(subjects)
    for subject in subjects:
        match_classes(subject.runtime.record, dataset)  # its error comes before the work
    ask_all(subjects, dataset, on_progress)
    verification = Verification(
        rows=tuple(judge(subjects, dataset)),
        data=str(data),
        split=split,
        num_images=len(dataset),
        output=output or beside / "verify.json",
    )
    write_file(verification.output, json.dumps(as_json(verification, verification.rows), indent=1) + "\n")
    if store:
        store_in_files(verification)
    return verification


def with_files_of_run(files: Sequence[Path]) -> list[Path]:
    """The paths; a run folder alone is followed by the exported files in it."""
    if len(files) != 1 or not (files[0] / "checkpoints").is_dir():
        return list(files)
    beside = sorted(files[0].iterdir())
    exported = [path for path in beside if path.suffix in PROMISES and kind_of(path) != "checkpoint"]
    if not exported:
        raise SettingsError.at(files[0], f"contains no exported file to verify; run `lookonce export {files[0]}` first")
    return [files[0], *exported]


def open_subjects(paths: Sequence[Path], runtimes: str, names: Path | None = None) -> list[Subject]:
    """Each file in each requested runtime; `all` skips runtimes that are not installed."""
    subjects = []
    named = names_for(paths, names)
    for path in paths:
        for name in runtimes_of(path, runtimes):
            try:
                subjects.append(Subject(path=path, runtime=load_runtime(path, names=named[path], runtime=name)))
            except MissingExtra as error:
                if runtimes != "all":
                    raise
                get_logger().warning("skipped: %s", error)
    return subjects


def runtimes_of(path: Path, wanted: str) -> list[str]:
    """Runtimes for one file: the requested ones that support it, else the first that does."""
    able = runtimes_for(path)
    if wanted == "all":
        return able
    named = [] if wanted == "auto" else split_list(wanted)
    for name in named:
        require_known(name)
    return [name for name in named if name in able] or able[:1]


def add_references(subjects: list[Subject]) -> None:
    """Insert a reference for each further image size: the first subject at this size, which must be a checkpoint."""
    first = subjects[0]
    own = first.runtime.record.image_size
    others = dict.fromkeys(subject.runtime.record.image_size for subject in subjects)
    others.pop(own)
    for place, size in enumerate(others, start=1):
        if not first.runtime.takes_any_size:
            problem = f"has image size {_size(own)}, another file {_size(size)}"
            first_one = "give the checkpoint they were made from first, which runs at both sizes"
            raise SettingsError.at(first.path, f"{problem}; {first_one}")
        runtime = at_size(first.runtime, size, first.path)
        subjects.insert(place, Subject(path=first.path, runtime=runtime))


def ask_all(
    subjects: Sequence[Subject], dataset: Dataset, on_progress: Callable[[int, int], None] | None = None
) -> None:
    """Run all subjects in turn on each image, so that other load on the machine affects all of them alike."""
    known = subjects[0].runtime.record.thresholds
    first: list[NDArray[np.uint8]] = []
    with ThreadPoolExecutor(1, "read-ahead") as reader:  # one thread, since the subjects are timed
        for done, image in enumerate(ordered_map(reader, read_image, dataset.image_paths, ahead=8), start=1):
            if len(first) < RAW_IMAGES:
                first.append(image)
            for subject in subjects:
                subject.ask(image, known)
            if on_progress is not None:
                on_progress(done, len(dataset))
    for subject in subjects:
        record, ask = subject.runtime.record, getattr(subject.runtime, "raw_heads", None)
        if ask is not None:
            raws = ask(np.stack([fit(image, record.image_size, record.preprocessing)[0] for image in first]))
            subject.raws = [np.asarray(raw.cpu() if hasattr(raw, "cpu") else raw) for raw in raws]


def judge(subjects: Sequence[Subject], dataset: Dataset) -> list[Row]:
    """One row per subject, with its differences to the reference of its image size."""
    rows, references = [], dict[tuple[int, int], tuple[Subject, Row]]()
    for subject in subjects:
        record = subject.runtime.record
        row = alone(subject, dataset)
        if record.image_size in references:
            row = beside(row, subject, *references[record.image_size], dataset)
        else:
            references[record.image_size] = subject, row
        rows.append(row)
    return rows


def alone(subject: Subject, dataset: Dataset) -> Row:
    """The row of a subject without differences to a reference."""
    record = subject.runtime.record
    labels = match_classes(record, dataset)
    found = [relabel(one, labels) for one in subject.found]
    metrics = score(dataset, Results.from_detections(dataset.image_ids.tolist(), found))
    return Row(
        file=str(subject.path),
        runtime=subject.runtime.name,
        precision=record.precision,
        image_size=record.image_size,
        AP=metrics.AP,
        AP50=metrics.AP50,
        ms=1000 * statistics.median(subject.seconds),
        size=size_of_weights(subject.path),
    )


def beside(row: Row, subject: Subject, reference: Subject, expected: Row, dataset: Dataset) -> Row:
    """The row with its differences to the reference, and the fields that exceed their tolerance."""
    allowed = TOLERANCES[row.precision]
    sizes_hw = [(int(height), int(width)) for width, height in dataset.image_sizes_wh]
    known = reference.runtime.record.thresholds
    least, most = known.evaluation_score, known.max_detections
    agreed = agreement(reference.found, subject.found, sizes_hw, allowed, from_score=least, most=most)
    lost, raw = expected.AP - row.AP, None
    judged = {"AP": (lost if row.precision == "int8" else abs(lost), AP_TOLERANCE[row.precision])}
    if row.precision == "fp32":
        judged |= {name: (getattr(agreed, name), getattr(allowed, name)) for name in ("box", "score", "missing")}
    if reference.raws is not None and subject.raws is not None:
        pairs = zip(reference.raws, subject.raws, strict=True)
        raw = max(float(np.abs(one - other).max()) for one, other in pairs)
    return replace(
        row,
        raw=raw,
        box=agreed.box,
        score=agreed.score,
        missing=agreed.missing,
        wrong=tuple(name for name, (value, limit) in judged.items() if not value <= limit),
    )


def as_json(verification: Verification, rows: Sequence[Row]) -> dict[str, Any]:
    """Content of verify.json; an exported file stores the same with only its own rows and the reference."""
    return {
        "passed": not any(row.wrong for row in rows),
        "data": verification.data,
        "split": verification.split,
        "images": verification.num_images,
        "threads": usable_threads(),
        "int8": int8_path(),
        "lookonce": lookonce.__version__,
        "rows": [asdict(row) for row in rows],
    }


def store_in_files(verification: Verification) -> None:
    """Store in each compared file its own rows and that of its reference."""
    for file in dict.fromkeys(row.file for row in verification.rows if row.raw is not None or row.box is not None):
        size = next(row.image_size for row in verification.rows if row.file == file)
        reference = next(row for row in verification.rows if row.image_size == size)
        own = [row for row in verification.rows if row.file == file and row is not reference]
        store_verification(Path(file), json.dumps(as_json(verification, [reference, *own])))


def size_of_weights(path: Path) -> int:
    """Bytes of the file, or of the model file of a checkpoint folder."""
    if kind_of(path) != "checkpoint" or path.is_file():
        return size_of(path)
    return size_of(find_checkpoint(path) / MODEL_FILE)


def _size(size_hw: tuple[int, int]) -> str:
    return f"{size_hw[1]}x{size_hw[0]}"


def as_text(verification: Verification) -> Iterator[str]:
    """The table: below each file name one line per runtime, at most 80 columns."""
    yield f"{'':<14}{'AP':>7}{'AP50':>7}{'raw':>9}{'box px':>9}{'score':>9}{'missing':>9}{'ms':>7}{'MB':>6}"
    file = ""
    for row in verification.rows:
        name = f"{Path(row.file).name}, {_size(row.image_size)} pixels, {row.precision}"
        if name != file:
            yield name
            file = name
        values = (row.raw, row.box, row.score, row.missing)
        differences = "".join("        -" if value is None else f"{value:>9.2g}" for value in values)
        yield f"  {row.runtime:<12}{row.AP:>7.4f}{row.AP50:>7.4f}{differences}{row.ms:>7.1f}{row.size / 1e6:>6.1f}"
        if row.wrong:
            yield f"  over tolerance: {', '.join(row.wrong)}"
    images = verification.num_images
    yield f"{counted(images, 'image')} of {verification.data}, split {verification.split!r}"
    yield "raw, box px, score: largest difference to the first file of that size"
    yield "missing: fraction of its detections without a match; ms: median per image"
    if any(row.precision == "int8" for row in verification.rows):
        yield f"int8: {int8_path()}"
    if verification.exit_code == 0:
        yield "all within tolerance"
    yield f"written: {verification.output}"
