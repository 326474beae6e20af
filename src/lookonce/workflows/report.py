"""`lookonce report`: report.html and model-card.md of one run, or comparison.html of several runs."""

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookonce.colors import css_class_color
from lookonce.data.dataset import Dataset, data_hash
from lookonce.data.images import read_image
from lookonce.data.selection import even_choice
from lookonce.errors import DataError, LookonceError, SettingsError
from lookonce.evaluation.analysis import ImageErrors, image_errors
from lookonce.evaluation.bootstrap import Resampled, bootstrap, compare
from lookonce.evaluation.error_types import confusion_matrix
from lookonce.evaluation.matching import match
from lookonce.evaluation.results import Results, read_coco_results
from lookonce.evaluation.thresholds import lowest_scores, mostly_wrong, threshold_that_shows
from lookonce.log import get_logger
from lookonce.on_ranks import OnProgress
from lookonce.prediction.sources import find_images
from lookonce.reports.comparison import Compared
from lookonce.reports.content import Content, Run, best_metrics, described, read_result, read_run, shown_from
from lookonce.reports.html import render, render_comparison, write_plots
from lookonce.reports.images import ComparedImage
from lookonce.reports.model_card import model_card
from lookonce.reports.sheets import found_in, truth_of
from lookonce.request import old_names
from lookonce.settings.names import counted
from lookonce.settings.record import Thresholds
from lookonce.shown import command, file_size
from lookonce.storage import sha256_file, write_file
from lookonce.weights.pull import find_weights
from lookonce.workflows.validation_split import data_of_run

EVALUATION = "evaluation"  # the folder in a run that keeps what the report scored
PAGE, CARD = "report.html", "model-card.md"
ANALYSIS_VERSION = "2"  # of analysis.json; a folder with another one is scored again
RESAMPLES = 1000


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
    The model card is written beside the page, the curves into the folder plots of the run.

    Parameters
    ----------
    run
        Folder of a training run, such as runs/train-1.
    more
        Further runs to compare with the first.
    output
        HTML file to write; of one run, the model card beside it: model-card.md, or NAME-model-card.md of NAME.html.
        Default: report.html in the run folder; for several runs, comparison.html in the first.
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
    page = output or run / PAGE
    with _as_lookonce_writes(run, evaluation or run / EVALUATION):
        content, _ = gather(
            read_run(run), options, evaluation=evaluation, weights=weights, title=title, on_progress=on_progress
        )
        if predictions is not None:
            content = with_predictions(content, predictions)
        write_plots(run / "plots", content)
        write_file(page, render(content))
        card = page.with_name(CARD if page.name == PAGE else f"{page.stem}-{CARD}")  # not over that of another page
        write_file(card, model_card(content))
    get_logger().info(f"model card: {card}")
    return page


def as_text(page: Path) -> Iterator[str]:
    yield f"written: {page} ({file_size(page.stat().st_size)})"


@contextmanager
def _as_lookonce_writes(*folders: Path) -> Iterator[None]:
    """DataError where a value in the folders' files has another type or shape than those that lookonce writes."""
    try:
        yield
    except LookonceError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        names, reason = ", ".join(map(str, folders)), f"{type(error).__name__}: {error}"
        raise DataError(
            f"{names}: cannot be shown ({reason}); expected settings.yaml, metrics.jsonl, metrics.json and "
            "analysis.json as lookonce writes them; after an edit, run lookonce eval again, with --output",
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
    split = _split_of(run, options, evaluation)
    datasets = open_datasets(run, split)
    dataset = next((data for data in datasets if data.split == split), None)
    if options.split and dataset is None and evaluation is None:
        known = f"the data have no such split; expected one of {', '.join(data.split for data in datasets)}"
        raise SettingsError.of(
            "split", options.split, known if datasets else "the run's data are not there; leave it out"
        )
    class_names = () if dataset is None else dataset.class_names
    folder = evaluation
    if folder is None and dataset is not None and run.record is not None and options.score:
        folder = evaluated(run, dataset, weights, on_progress)
    if folder is None:
        metrics = best_metrics(run.rows, run.settings.get("best_metric", "AP"))
    else:
        metrics = read_result(folder / "metrics.json")
    thresholds = run.record.thresholds if run.record is not None else Thresholds()
    verified = run.folder / "verify.json"
    machine = f"{platform.system()} on {platform.machine()}, {os.cpu_count()} processor threads"  # names no host
    content = Content(
        title=title or f"Run {run.folder.resolve().name}",
        run=run,
        datasets=datasets,
        metrics=metrics,
        scored_on=scored_on(metrics),
        threshold=shown_from(thresholds),
        shown_from=shown_from(thresholds),
        classes=[(name, css_class_color(row)) for row, name in enumerate(class_names)],
        verified=read_result(verified) if verified.is_file() else {},
        facts={"System": machine} | (described(run.record) if run.record is not None else {}),
        commands=commands(run),
    )
    scored = None if folder is None or dataset is None else read_scored(folder, dataset, thresholds)
    return (content if scored is None else with_scored(content, scored, options.num_images)), scored


def _split_of(run: Run, options: Options, evaluation: Path | None) -> str:
    """The split to show; SettingsError if the given evaluation is that of another one."""
    evaluated_on = {} if evaluation is None else read_result(evaluation / "metrics.json").get("evaluated", {})
    split: str = options.split or evaluated_on.get("split") or run.settings.get("val_split", "val")
    if evaluated_on.get("split", split) != split:
        problem = f"but {evaluation} was scored on {evaluated_on['split']}; leave out one of the two options"
        raise SettingsError(f"split: {split}, {problem}", setting="split", value=split)
    return split


def with_scored(content: Content, scored: "Scored", num_images: int) -> Content:
    """The content with the analysis, the numbers of errors, and images: evenly spaced ones, and those with most errors,
    worst first."""

    def compared(rows: NDArray[np.int64]) -> list[ComparedImage]:
        dataset, lowest = scored.dataset, [0.0] * len(scored.dataset.class_names)
        return [
            ComparedImage(
                name=dataset.image_paths[row].name,
                image=read_image(dataset.image_paths[row]),
                truth=truth_of(dataset, row),
                found=found_in(dataset, scored.shown, row, lowest),
            )
            for row in rows.tolist()
        ]

    errors = scored.errors
    return replace(
        content,
        analysis=scored.analysis,
        images=compared(even_choice(len(scored.dataset), num_images)),
        worst=compared(errors.worst()[:num_images]),
        shown_from=scored.shown_from,
        weak=scored.weak,
        counts=(int((~scored.dataset.crowd).sum()), int(errors.missed.sum()), int(errors.wrong.sum())),
    )


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
        before = read_result(folder / "metrics.json").get("evaluated", {})
        if before.get("fingerprint") == sources["fingerprint"]:
            return folder
    images = f"{counted(len(dataset), 'image')} of split {dataset.split!r}"
    get_logger().info(f"scoring {source} on {images}; --no-score skips this")
    found = find(open_detector(source), dataset, on_progress=on_progress)
    assess(dataset, found, folder, sources, resamples=RESAMPLES)
    return folder


def fingerprint(weights: Path, dataset: Dataset) -> str:
    """SHA-256 of the weights, their record, the annotations of the data set and the version of the analysis."""
    from lookonce.weights.pull import find_checkpoint

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
        analysis = read_result(folder / "analysis.json")
    except DataError as error:
        get_logger().warning(f"the report omits errors and images: {error}")
        return None
    lowest = lowest_scores(thresholds, dataset.class_names)
    words, weak = shown_from(thresholds), ""
    num_objects = int((~dataset.crowd).sum())
    lower = threshold_that_shows(results.scores, lowest[results.labels], num_objects)
    if lower is not None:
        num_shown = int((results.scores >= lowest[results.labels]).sum())
        shown = f"Only {counted(num_shown, 'detection')} of {counted(num_objects, 'object')} reach"
        start, what = (shown, "little") if num_shown else ("No detection reaches", "nothing")
        weak = (
            f"{start} {words} (the highest score is {results.scores.max():.2g}), so predict would show {what}: train "
            f"longer, or predict with --threshold {lower:g}."
        )
        words, lowest = f"a score of {lower:g} (lowered: too few reach {words})", np.full(len(lowest), lower)
    matches = match(dataset, results)
    is_shown = results.scores >= lowest[results.labels]
    is_shown[matches.rows[matches.ignored[0]]] = False
    errors = image_errors(dataset, matches, lowest.tolist())
    confusion = confusion_matrix(dataset, results.select(is_shown), score_threshold=0)
    return Scored(
        dataset=dataset,
        results=results,
        analysis=analysis | {"confusion": analysis["confusion"] | {"counts": confusion.tolist()}},
        shown=results.select(is_shown),
        shown_from=words,
        weak=weak or mostly_wrong(errors, num_objects, words),
        errors=errors,
    )


def open_datasets(run: Run, shown: str) -> list[Dataset]:
    """The splits of training, of validation and `shown`; empty, with a warning, if the data do not exist any more."""
    settings = run.settings
    try:
        source = data_of_run(settings, run.folder)
        wanted = (settings.get("train_split", "train"), settings.get("val_split", "val"), shown)
        return [source.split(name) for name in dict.fromkeys(wanted) if name in source.splits]
    except (KeyError, LookonceError) as error:
        get_logger().warning(f"the report omits data and images: {error}")
        return []


def with_predictions(content: Content, folder: Path) -> Content:
    known = read_result(folder / "detections.json")
    images = {str(image.place): image.read() for image in find_images(folder)}
    by = f"{known['weights']}, which detects {counted(len(known['class_names']), 'class')}"
    return replace(content, predicted=images, predicted_by=by)


def scored_on(metrics: Mapping[str, Any]) -> str:
    """In words: the scored images, as in metrics.json; the table of the run does not name them."""
    evaluated_on = metrics.get("evaluated", {})
    if "images" not in evaluated_on:
        return "the validation images"
    return f"the {counted(evaluated_on['images'], 'image')} of split {evaluated_on.get('split', '')!r}"


def commands(run: Run) -> Sequence[str]:
    """The commands that repeat the run and use its weights; paths as in its settings."""
    data, images, folder = run.settings.get("data", "DATA"), run.settings.get("images"), run.folder
    return (
        command("train", "--file", folder / "settings.yaml"),
        command("eval", "--weights", folder, "--data", data, *(("--images", images) if images else ())),
        command("export", folder, "--to", "onnx"),
        command("predict", "IMAGES", "--weights", folder),
    )


def _report_comparison(
    folders: Sequence[Path], options: Options, output: Path | None, title: str, on_progress: OnProgress | None
) -> Path:
    names, runs = run_names(folders), list[Compared]()
    drawn: list[Resampled | None] = []
    first: Scored | None = None
    for folder, name in zip(folders, names, strict=True):
        content, scored = gather(read_run(folder), options, title=name, on_progress=on_progress)
        first = scored if folder is folders[0] else first
        drawn.append(_resampled(scored, first))
        this, other, differences = drawn[-1], drawn[0], {}
        if this is not None and other is not None and folder is not folders[0]:
            differences = {metric: asdict(compare(this, other, metric)) for metric in ("AP", "AP50")}
        parameters = num_parameters(folder) if content.run.record is not None else 0
        runs.append(Compared(name=name, content=content, parameters=parameters, differences=differences))
    page = output or folders[0] / "comparison.html"
    write_file(page, render_comparison(title or " and ".join(names), runs))
    return page


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
    if scored is None or first is None or scored.dataset.class_names != first.dataset.class_names:
        return None
    if scored.dataset.image_ids.tolist() != first.dataset.image_ids.tolist():
        return None
    return bootstrap(match(scored.dataset, scored.results), resamples=RESAMPLES)


def num_parameters(folder: Path) -> int:
    """Floats of the run's best weights, BatchNorm's statistics included."""
    from lookonce.weights.load import open_checkpoint

    return sum(array.numel() for array in open_checkpoint(folder).state.values() if array.is_floating_point())
