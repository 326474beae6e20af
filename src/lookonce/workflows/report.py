"""`lookonce report`: an HTML report and a model card of one run, or a comparison of several runs."""

import os
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lookonce.colors import css_class_color
from lookonce.data.dataset import Dataset
from lookonce.data.images import read_image
from lookonce.data.selection import even_choice
from lookonce.data.source import open_data
from lookonce.errors import DataError, LookonceError, SettingsError
from lookonce.evaluation.analysis import ImageErrors, image_errors
from lookonce.evaluation.bootstrap import Resampled, bootstrap, compare
from lookonce.evaluation.error_types import confusion_matrix
from lookonce.evaluation.matching import match
from lookonce.evaluation.results import Results, read_coco_results
from lookonce.evaluation.thresholds import threshold_that_shows
from lookonce.log import get_logger
from lookonce.prediction.sources import find_images
from lookonce.reports.comparison import Compared
from lookonce.reports.content import (
    Content,
    Run,
    best_metrics,
    read_analysis,
    read_detections,
    read_metrics,
    read_run,
    read_verified,
)
from lookonce.reports.html import write_comparison, write_plots, write_report
from lookonce.reports.images import ComparedImage
from lookonce.reports.model_card import write_model_card
from lookonce.reports.sheets import found_in, truth_of
from lookonce.request import old_names
from lookonce.settings.names import counted
from lookonce.settings.record import ModelRecord, Thresholds
from lookonce.storage import make_folder
from lookonce.weights.pull import find_weights
from lookonce.workflows.validation_split import with_val

EVALUATION = "evaluation"  # the folder in a run that keeps what the report scored
CARD = "model-card.md"
ANALYSIS_VERSION = "2"  # of analysis.json; a folder with another one is scored again
RESAMPLES = 1000
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options that apply to every run on the page; see `report`."""

    split: str
    num_images: int
    score: bool


@old_names(pictures="num_images")
def report(
    run: Path,
    *more: Path,
    output: Path | None = None,
    evaluation: Path | None = None,
    weights: Path | None = None,
    predictions: Path | None = None,
    split: str = "",
    num_images: int = 12,
    title: str = "",
    score: bool = True,
    on_progress: OnProgress | None = None,
) -> Path:
    """Write a run as one HTML page and a model card; several runs side by side on one page.

    The page needs no other file and no network. Unless `evaluation` in the run folder is up to date, the run's best
    weights are scored on the validation split of training. The page shows errors and images if the data still exist.
    model-card.md is written beside the page, the curves into the folder plots of the run.

    Parameters
    ----------
    run
        Folder of a training run, such as runs/train-1.
    more
        Further runs to compare with the first.
    output
        HTML file to write. Default: report.html in the run folder; for several runs, comparison.html in the first.
    evaluation
        Folder written by `lookonce eval --output`; its scores are shown, and nothing is scored.
    weights
        Weights to score, such as an exported file. Default: the run's best.
    predictions
        Folder written by `lookonce predict`, whose annotated images are shown too.
    split
        Split to score on. Default: the validation split of training.
    num_images
        Number of images to show, evenly spaced in the split, and number of worst images; 0 shows none.
    title
        Title of the page. Default: the name of the run.
    score
        Score the weights if they have no scores yet; --no-score shows the scores of the training log.
    """
    if num_images < 0:
        raise SettingsError.of("num_images", num_images, "expected 0 or more")
    options = Options(split=split, num_images=num_images, score=score)
    if more:
        if any(given is not None for given in (evaluation, weights, predictions)):
            raise SettingsError(
                f"evaluation, weights, predictions: given for {1 + len(more)} runs; expected one run; leave them out",
                setting="evaluation, weights, predictions",
            )
        with _as_lookonce_writes(run, *more):
            return _report_comparison([run, *more], options, output, title, on_progress)
    with _as_lookonce_writes(run, evaluation or run / EVALUATION):
        known = read_run(run)
        content, _ = gather(
            known, options, evaluation=evaluation, weights=weights, title=title, on_progress=on_progress
        )
        if predictions is not None:
            content = with_predictions(content, predictions)
        write_plots(run / "plots", content)
        page = write_report(output or run / "report.html", content)
        card = write_model_card(page.with_name(CARD), content)
    get_logger().info(f"model card: {card}")
    return page


def as_text(page: Path) -> Iterator[str]:
    """The page and its size."""
    yield f"written: {page} ({page.stat().st_size / 1e6:.1f} MB)"


@contextmanager
def _as_lookonce_writes(*folders: Path) -> Iterator[None]:
    """DataError where a value in the folders' files has another type or shape than those that lookonce writes."""
    try:
        yield
    except LookonceError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise DataError(
            f"{', '.join(map(str, folders))}: cannot be shown ({type(error).__name__}: {error}); expected "
            "settings.yaml, metrics.jsonl, metrics.json and analysis.json as lookonce writes them; after an edit, "
            "run lookonce eval again, with --output",
            path=folders[-1],
        ) from error


def gather(
    run: Run,
    options: Options,
    *,
    evaluation: Path | None = None,
    weights: Path | None = None,
    title: str = "",
    on_progress: OnProgress | None = None,
) -> tuple[Content, "Scored | None"]:
    """The content of the report of one run, and the scored detections if the data still exist."""
    evaluated_on = {} if evaluation is None else read_metrics(evaluation / "metrics.json").get("evaluated", {})
    split = options.split or evaluated_on.get("split") or run.settings.get("val_split", "val")
    if evaluated_on.get("split", split) != split:
        raise SettingsError(
            f"split: {split}, but {evaluation} was scored on {evaluated_on['split']}; leave out one of the two options",
            setting="split",
            value=split,
        )
    datasets = open_datasets(run, split)
    dataset = next((data for data in datasets if data.split == split), None)
    folder = evaluation
    if folder is None and dataset is not None and run.record is not None and options.score:
        folder = evaluated(run, dataset, weights, on_progress)
    if folder is None:
        metrics = best_metrics(run.rows, run.settings.get("best_metric", "AP"))
    else:
        metrics = read_metrics(folder / "metrics.json")
    thresholds = run.record.thresholds if run.record is not None else Thresholds()
    scored = None if folder is None or dataset is None else read_scored(folder, dataset, thresholds)
    content = Content(
        title=title or f"Run {run.folder.resolve().name}",
        run=run,
        datasets=datasets,
        metrics=metrics,
        analysis={} if scored is None else scored.analysis,
        scored_on=scored_on(metrics),
        images=[] if scored is None else even_images(scored, options.num_images),
        worst=[] if scored is None else worst_images(scored, options.num_images),
        threshold=shown_from(thresholds),
        shown_from=shown_from(thresholds) if scored is None else scored.shown_from,
        weak="" if scored is None else scored.weak,
        counts=None if scored is None else scored.counts,
        classes=[] if dataset is None else css_classes(dataset.class_names),
        verified=read_verified(run.folder),
        facts=facts(run.record),
        commands=commands(run),
    )
    return content, scored


@dataclass(frozen=True, kw_only=True)
class Scored:
    """An evaluation folder with its data set.

    shown: the detections that reach the threshold of the page, without those on a crowd, which are neither right nor
    wrong; shown_from, weak: see `Content`. errors: missed objects and false positives among them; the confusion matrix
    of the analysis is that of them too.
    """

    dataset: Dataset
    results: Results
    analysis: Mapping[str, Any]
    shown: Results
    shown_from: str
    weak: str
    errors: ImageErrors

    @property
    def counts(self) -> tuple[int, int, int]:
        """Objects, missed objects, false positives."""
        return int((~self.dataset.crowd).sum()), int(self.errors.missed.sum()), int(self.errors.wrong.sum())


def evaluated(run: Run, dataset: Dataset, weights: Path | None, on_progress: OnProgress | None) -> Path:
    """The folder RUN/evaluation, written again unless its fingerprint is that of these weights and images."""
    from lookonce.workflows.evaluate import assess, find, open_detector

    folder = run.folder / EVALUATION
    source = find_weights(weights or run.folder)
    sources = {
        "data": str(run.settings["data"]),
        "split": dataset.split,
        "images": len(dataset),
        "of": str(source),
        "fingerprint": fingerprint(source, dataset),
    }
    if (folder / "analysis.json").is_file():
        before = read_metrics(folder / "metrics.json").get("evaluated", {})
        if before.get("fingerprint") == sources["fingerprint"]:
            return folder
    get_logger().info(
        f"scoring {source} on {counted(len(dataset), 'image')} of split {dataset.split}; --no-score skips this"
    )
    found = find(open_detector(source), dataset, on_progress=on_progress)
    assess(dataset, found, make_folder(folder), sources, resamples=RESAMPLES)
    return folder


def fingerprint(weights: Path, dataset: Dataset) -> str:
    """SHA-256 of the weights, their record, the annotations of the data set and the version of the analysis."""
    from hashlib import sha256

    from lookonce.data.dataset import data_hash
    from lookonce.storage import sha256_file
    from lookonce.weights.load import find_checkpoint

    if weights.is_file():
        parts = [sha256_file(weights)]
    else:
        checkpoint = find_checkpoint(weights)
        parts = [sha256_file(checkpoint / name) for name in ("model.safetensors", "record.json")]
    return sha256("".join([*parts, data_hash(dataset), ANALYSIS_VERSION]).encode(errors="backslashreplace")).hexdigest()


def read_scored(folder: Path, dataset: Dataset, thresholds: Thresholds) -> Scored | None:
    """None, with a warning, if the folder lacks the details or belongs to other images."""
    try:
        results = read_coco_results(folder / "results.json", dataset)
        analysis = read_analysis(folder / "analysis.json")
    except DataError as error:
        get_logger().warning(f"the report omits errors and images: {error}")
        return None
    lowest = np.array([thresholds.per_class_score.get(name, thresholds.score) for name in dataset.class_names])
    words, weak = shown_from(thresholds), ""
    num_objects = int((~dataset.crowd).sum())
    lower = threshold_that_shows(results.scores, lowest[results.labels], num_objects)
    if lower is not None:
        num_shown = int((results.scores >= lowest[results.labels]).sum())
        weak = weakness(num_shown, num_objects, words, float(results.scores.max()), lower)
        words, lowest = f"a score of {lower:g} (lowered: too few reach {words})", np.full(len(lowest), lower)
    matches = match(dataset, results)
    is_shown = results.scores >= lowest[results.labels]
    is_shown[matches.rows[matches.ignored[0]]] = False
    shown = results.select(is_shown)
    confusion = confusion_matrix(dataset, shown, score_threshold=0)
    return Scored(
        dataset=dataset,
        results=results,
        analysis=analysis | {"confusion": analysis["confusion"] | {"counts": confusion.tolist()}},
        shown=shown,
        shown_from=words,
        weak=weak,
        errors=image_errors(dataset, matches, lowest.tolist()),
    )


def weakness(num_shown: int, num_objects: int, threshold: str, highest: float, lower: float) -> str:
    """A sentence about a network whose scores are too low for its threshold."""
    shown = f"Only {counted(num_shown, 'detection')} of {counted(num_objects, 'object')} reach"
    start, what = (f"{shown}", "little") if num_shown else ("No detection reaches", "nothing")
    return (
        f"{start} {threshold} (the highest score is {highest:.2g}), so predict would show {what}: train longer, or "
        f"predict with --threshold {lower:g}."
    )


def open_datasets(run: Run, shown: str) -> list[Dataset]:
    """The splits of training, of validation and `shown`; empty, with a warning, if the data do not exist any more."""
    settings = run.settings
    images = settings.get("images")
    try:
        follow_links = settings.get("follow_links", False)
        opened = open_data(settings["data"], Path(images) if images else None, follow_links=follow_links)
        source = with_val(opened, settings, run.folder)
        wanted = (settings.get("train_split", "train"), settings.get("val_split", "val"), shown)
        return [source.split(name) for name in dict.fromkeys(wanted) if name in source.splits]
    except (KeyError, LookonceError) as error:
        get_logger().warning(f"the report omits data and images: {error}")
        return []


def even_images(scored: Scored, count: int) -> list[ComparedImage]:
    """Up to `count` images, evenly spaced in the data set, whatever their errors."""
    return [_compared(scored, row) for row in even_choice(len(scored.dataset), count).tolist()]


def worst_images(scored: Scored, count: int) -> list[ComparedImage]:
    """The images with most errors, worst first."""
    return [_compared(scored, row) for row in scored.errors.worst()[:count].tolist()]


def _compared(scored: Scored, row: int) -> ComparedImage:
    path = scored.dataset.image_paths[row]
    return ComparedImage(
        name=path.name,
        image=read_image(path),
        truth=truth_of(scored.dataset, row),
        found=found_in(scored.dataset, scored.shown, row, [0.0] * len(scored.dataset.class_names)),
    )


def shown_from(thresholds: Thresholds) -> str:
    """In words: the confidence threshold of the detections shown."""
    if not thresholds.per_class_score:
        return f"a score of {thresholds.score:g}"
    low, high = min(thresholds.per_class_score.values()), max(thresholds.per_class_score.values())
    return f"each class's own score ({low:g} to {high:g})"


def with_predictions(content: Content, folder: Path) -> Content:
    """The content with the annotated images of a folder of `lookonce predict`."""
    facts = read_detections(folder / "detections.json")
    images = {str(image.place): image.read() for image in find_images(folder)}
    by = f"{facts['weights']}, which detects {counted(len(facts['class_names']), 'class')}"
    return replace(content, predicted=images, predicted_by=by)


def css_classes(names: Sequence[str]) -> list[tuple[str, str]]:
    """Each name with the colour in which `predict` draws it."""
    return [(name, css_class_color(label)) for label, name in enumerate(names)]


def scored_on(metrics: Mapping[str, Any]) -> str:
    """In words: the scored images, as in metrics.json; the table of the run does not name them."""
    evaluated_on = metrics.get("evaluated", {})
    if "images" not in evaluated_on:
        return "the validation images"
    return f"the {counted(evaluated_on['images'], 'image')} of split {evaluated_on.get('split', '')}"


def facts(record: ModelRecord | None) -> dict[str, str]:
    """This machine and the versions that trained the network, without names of persons or hosts."""
    found = {"System": f"{platform.system()} on {platform.machine()}, {os.cpu_count()} processor threads"}
    if record is None:
        return found
    found |= record.versions
    found["dialect"] = record.dialect.name
    found["channels"] = ", ".join(str(count) for count in record.channels)
    found["anchors, pixels"] = "  ".join(f"{width:g}×{height:g}" for width, height in record.anchors)
    found["training data, SHA-256"] = record.data_hash
    return found


def commands(run: Run) -> Sequence[str]:
    """The commands that repeat the run and use its weights; paths as in its settings."""
    data = run.settings.get("data", "DATA")
    return (
        f"lookonce train --file {run.folder / 'settings.yaml'}",
        f"lookonce eval --weights {run.folder} --data {data}",
        f"lookonce export {run.folder} --to onnx",
        f"lookonce predict IMAGES --weights {run.folder}",
    )


def _report_comparison(
    folders: Sequence[Path], options: Options, output: Path | None, title: str, on_progress: OnProgress | None
) -> Path:
    """One page for several runs."""
    names = run_names(folders)
    gathered = [
        gather(read_run(folder), options, title=name, on_progress=on_progress)
        for folder, name in zip(folders, names, strict=True)
    ]
    first = gathered[0][1]
    drawn: dict[str, Resampled | None] = {}
    runs = []
    for name, (content, scored) in zip(names, gathered, strict=True):
        drawn[name] = _resampled(scored, first)
        runs.append(
            Compared(
                name=name,
                content=content,
                parameters=num_parameters(content.run.folder) if content.run.record is not None else 0,
                differences=_differences(drawn[name], drawn[names[0]]) if name != names[0] else {},
            )
        )
    return write_comparison(output or folders[0] / "comparison.html", title or " and ".join(names), runs)


def run_names(folders: Sequence[Path]) -> list[str]:
    """The folders' names, with as many parent folders as make them distinct."""
    paths = [folder.resolve() for folder in folders]
    if len(set(paths)) < len(paths):
        raise SettingsError("more: the same run twice; expected distinct runs", setting="more")
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return ["/".join(path.parts[-depth:]) for path in paths]


def _resampled(scored: Scored | None, first: Scored | None) -> Resampled | None:
    """Bootstrap samples of the first run's images; None if this run was scored on other images or classes."""
    if scored is None or first is None or scored.dataset.image_ids.tolist() != first.dataset.image_ids.tolist():
        return None
    if scored.dataset.class_names != first.dataset.class_names:
        return None
    return bootstrap(match(scored.dataset, scored.results), resamples=RESAMPLES)


def _differences(this: Resampled | None, first: Resampled | None) -> dict[str, dict[str, Any]]:
    if this is None or first is None:
        return {}
    return {name: asdict(compare(this, first, name)) for name in ("AP", "AP50")}


def num_parameters(folder: Path) -> int:
    """Floats of the run's best weights, BatchNorm's statistics included."""
    from lookonce.weights.load import open_checkpoint

    return sum(array.numel() for array in open_checkpoint(folder).state.values() if array.is_floating_point())
