"""`lookonce eval`: AP and AR of a detector or a results file, with confidence intervals and an error analysis."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from lookonce.cores import memory_kept
from lookonce.data.dataset import Dataset, data_hash
from lookonce.data.source import open_data
from lookonce.errors import SettingsError, require_setting
from lookonce.evaluation.analysis import Analysis, analyse, analysis_as_json, errors_as_json, image_errors
from lookonce.evaluation.bootstrap import Comparison, Interval, bootstrap, compare
from lookonce.evaluation.coco import Metrics, MetricsAt, score, score_at
from lookonce.evaluation.evaluate import detect_all
from lookonce.evaluation.matching import match
from lookonce.evaluation.results import Results, read_coco_results, write_coco_results
from lookonce.evaluation.thresholds import lowest_scores, mostly_wrong
from lookonce.layout import PLAIN, Layout, Printed
from lookonce.log import get_logger
from lookonce.on_ranks import OnProgress, in_ranks
from lookonce.rank_group import SINGLE_RANK, STEPS_PER_COLLECTIVE, RankGroup
from lookonce.reports.content import shown_from
from lookonce.reports.sheets import write_sheets
from lookonce.request import old_names, takes
from lookonce.runtimes.detector import Detector
from lookonce.runtimes.registry import device_of, load_runtime, names_for
from lookonce.settings.image_size import sides_in_words
from lookonce.settings.record import Thresholds
from lookonce.shown import UNDEFINED, shown, three_digits, to_json
from lookonce.storage import os_errors_explained, output_folder, write_file
from lookonce.weights.pull import find_weights
from lookonce.workflows.detector_request import DetectorRequest
from lookonce.workflows.stored_thresholds import can_store, checkpoint_to_describe, store_thresholds
from lookonce.workflows.validation_split import places_of_run, split_to_score

INTERVALS = ("AP", "AP50")


@old_names(pictures="sheet_images")
@dataclass(frozen=True, kw_only=True)
class EvaluateRequest(DetectorRequest):
    """Evaluate a detector with COCO's twelve metrics, exactly as pycocotools does, and for each class.

    Writes metrics.json, analysis.json (error types and curves), results.json, and two sheets of images. Detections
    with a confidence of 0.001 or more count, whatever threshold is stored with the weights. Several devices share the
    images; the results do not change.

    Parameters
    ----------
    weights
        Checkpoint folder, run folder (its best), exported file, published weights such as coco, or MindSpore's .ckpt or
        Darknet's .weights.
    data
        Labelled images: a data set in any layout of docs/data.md, or an annotation JSON together with --images.
        Default: the data set that the run of --weights was trained on.
    images
        Image folder of an annotation JSON; --results needs none.
    follow_links
        Read images through symbolic links that lead out of the data set; without it they are refused.
    split
        Split of the data set: train, val or test.
    results
        COCO results file of any program, evaluated instead of weights; the image files are not needed.
    against
        Another detector, or its results file (.json): tests whether the difference is significant.
    output
        Folder to write into. Default: a new runs/eval-N.
    iou
        Further IoU thresholds of AP, above 0 and up to 1, such as --iou 0.3 0.6, beside COCO's 0.50 to 0.95. The one of
        NMS is --iou-threshold.
    resamples
        Bootstrap samples of the images for the 95 % intervals of AP and AP50; 0 computes none.
    sheet_images
        Images on each sheet (worst.jpg, images.jpg); 0 writes no sheets.
    store_thresholds
        Store the best confidence threshold of each class in the checkpoint, for predict and exported files.
    score_threshold
        Confidence threshold, 0 up to 1; a higher one lowers AP. Default: the one used for evaluation in training,
        usually 0.001.
    batch_size
        Batch size on an accelerator. A CPU uses 1, so that results do not depend on it.
    """

    weights: Path | None = None
    data: Path | None = None
    images: Path | None = None
    follow_links: bool = False
    split: str = "val"
    results: Path | None = None
    against: Path | None = None
    output: Path | None = None
    iou: tuple[float, ...] = ()
    resamples: int = 1000
    sheet_images: int = 12
    store_thresholds: bool = False
    score_threshold: float | None = None
    batch_size: int = 8
    on_progress: OnProgress | None = None

    @property
    def detectors(self) -> list[Path]:
        """The weights among `weights` and `against`, which may be a results file."""
        return [path for path in (self.weights, self.against) if path is not None and path.suffix != ".json"]

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.weights is None) == (self.results is None):
            given = "neither was" if self.weights is None else "both were"
            problem = f"{given} given; name the detector to score, or the results file to score"
            raise SettingsError(f"weights, results: {problem}", setting="weights, results")
        fewest = 0 if self.against is None else 1
        require_setting("score_threshold", self.score_threshold, lambda score: 0 <= score < 1, "at least 0 and under 1")
        if self.store_thresholds and self.score_threshold is not None:
            problem = "the best thresholds are chosen among all detections; leave it out to store them"
            raise SettingsError.of("score_threshold", self.score_threshold, problem)
        require_setting("resamples", self.resamples, lambda n: n >= fewest, f"at least {fewest}, for example 1000")
        require_setting("batch_size", self.batch_size, lambda count: count >= 1, "1 or more")
        require_setting("sheet_images", self.sheet_images, lambda count: count >= 0, "0 or more")
        for value in self.iou:
            require_setting("iou", value, lambda iou: 0 < iou <= 1, "an IoU above 0 and up to 1, for example 0.3")


@dataclass(frozen=True, kw_only=True)
class Evaluation(Printed):
    """The evaluation of a detector on a data set.

    at: one for each further IoU threshold. intervals: AP and AP50 by name, class_intervals the same for each class,
    empty without resamples; against: the same names, this one minus the other. stored: confidence thresholds by class
    that were written into the checkpoint stored_in; can_store: the detector is a checkpoint. weak: a sentence if nearly
    all detections that reach the detector's confidence threshold are false positives. is_main: False on all ranks but
    0, whose result is the same.
    """

    metrics: Metrics
    at: Sequence[MetricsAt]
    results: Results = field(repr=False)
    analysis: Analysis = field(repr=False)
    intervals: Mapping[str, Interval]
    class_intervals: Mapping[str, Mapping[str, Interval]]
    against: Mapping[str, Comparison]
    output: Path
    files: Sequence[str]
    can_store: bool = False
    stored_in: Path | None = None
    stored: Mapping[str, float] = field(default_factory=dict)
    weak: str = ""
    is_main: bool = True


@takes(EvaluateRequest)
def evaluate(request: EvaluateRequest) -> Evaluation:
    if request.data is None:
        data, images, follow_links = places_of_run(request.weights)
        images, follow_links = request.images or images, request.follow_links or follow_links
        request = replace(request, data=data, images=images, follow_links=follow_links)
    several = request.several()
    if several is None:
        return _evaluate(request, on_progress=request.on_progress)
    detectors = request.detectors
    if not detectors:
        raise SettingsError("devices: results files are scored by one process; leave devices out", setting="devices")
    device = device_of(detectors[0], request.device, request.runtime)
    options = {"request": replace(request, on_progress=None)}
    return in_ranks(several, device, _evaluate, options, on_progress=request.on_progress)


@memory_kept()  # 13,000 page faults and a tenth of the processor time of an image of 640 pixels in PyTorch
def _evaluate(
    request: EvaluateRequest, *, rank_group: RankGroup = SINGLE_RANK, on_progress: OnProgress | None = None
) -> Evaluation:
    """Returns the same on all ranks; rank 0 scores and writes for all."""
    weights, results, against = request.weights, request.results, request.against
    for path in request.detectors:
        find_weights(path)  # before anything slow
    needs_images, links = bool(request.detectors), request.follow_links
    assert request.data is not None  # `evaluate` sets it
    source = open_data(request.data, request.images, needs_images=needs_images, follow_links=links, streamed=True)
    scored = split_to_score(source, request.split, weights or against, request.names, makes_val=needs_images)
    dataset = scored.with_never_found()
    if rank_group.size > 1:
        rank_group.require_same(data_hash(dataset), "the annotations")
    stored_in = checkpoint_to_describe(weights) if request.store_thresholds else None
    names = names_for(request.detectors, request.names)

    def detections_of(path: Path, runtime: str = "auto") -> tuple[Results, Detector]:
        opening: dict[str, Any] = {"image_size": request.image_size, "device": request.device, "runtime": runtime}
        detector = open_detector(path, names=names[path], **opening, **request.selection)
        options: dict[str, Any] = {"score_threshold": request.score_threshold, "batch_size": request.batch_size}
        return find(detector, dataset, rank_group=rank_group, on_progress=on_progress, **options), detector

    sources: dict[str, Any] = {"data": str(request.data), "split": request.split, "images": len(dataset)}
    lowest_score, thresholds = 0.0, None
    if weights is not None:
        found, detector = detections_of(weights, request.runtime)
        thresholds = detector.record.thresholds
        lowest_score = _lowest_score(request.score_threshold, thresholds.evaluation_score)
        sources["image_size"] = list(detector.record.image_size)
    elif results is not None:
        found = read_coco_results(results, dataset)
    other = None
    if against is not None:
        other = read_coco_results(against, dataset) if against.suffix == ".json" else detections_of(against)[0]
    evaluation = None
    if rank_group.is_main:
        evaluation = assess(
            dataset,
            found,
            request.output,
            sources | {"of": str(results or weights)},
            iou=request.iou,
            thresholds=thresholds,
            other=other,
            resamples=request.resamples,
            images=request.sheet_images,
            kept=results,
            lowest_score=lowest_score,
        )
        evaluation = replace(evaluation, can_store=can_store(weights))
        if stored_in is not None:
            stored = store_thresholds(stored_in, dataset, evaluation.analysis)
            evaluation = replace(evaluation, stored_in=stored_in, stored=stored)
    shared: Evaluation = rank_group.broadcast(evaluation)
    return replace(shared, is_main=rank_group.is_main)


def _lowest_score(asked: float | None, usual: float) -> float:
    """The confidence threshold of the detections; warns of one that lowers AP."""
    if asked is not None and asked > usual:
        get_logger().warning(
            f"score_threshold: {asked:g}; detections under it count as missed, so AP is lower than COCO's; leave the "
            f"option out to evaluate from {usual:g}"
        )
    return usual if asked is None else asked


def assess(
    dataset: Dataset,
    found: Results,
    output: Path | None,
    sources: Mapping[str, Any],
    *,
    iou: Sequence[float] = (),
    thresholds: Thresholds | None = None,
    other: Results | None = None,
    resamples: int = 1000,
    images: int = 0,
    kept: Path | None = None,
    lowest_score: float = 0.0,
) -> Evaluation:
    """Scores and analyses the detections, and writes the files.

    output: the folder, by default a new runs/eval-N, which is made last: an interruption leaves no empty one.
    sources: entries for metrics.json; thresholds: of the detector; kept: the results file that was scored, which is
    not overwritten if it is in output; lowest_score: the confidence threshold of the detections.
    """
    matches = match(dataset, found)
    intervals: dict[str, Interval] = {}
    class_intervals: dict[str, dict[str, Interval]] = {}
    comparison: dict[str, Comparison] = {}
    if resamples:
        drawn = bootstrap(matches, resamples=resamples)
        intervals = {name: drawn.interval(name) for name in INTERVALS}
        for one in drawn.class_names:
            class_intervals[one] = {name: drawn.interval(name, one) for name in INTERVALS}
        if other is not None:
            others = bootstrap(match(dataset, other), resamples=resamples)
            comparison = {name: compare(drawn, others, name) for name in INTERVALS}
    analysis = analyse(dataset, found, matches, lowest_score=lowest_score)
    weak = ""
    if thresholds is not None:
        errors = image_errors(dataset, matches, lowest_scores(thresholds, dataset.class_names).tolist())
        weak = mostly_wrong(errors, len(matches.object_labels), shown_from(thresholds))
    output = output_folder(output, "eval")
    sheets = write_sheets(output, dataset, found, analysis, images)
    evaluation = Evaluation(
        metrics=score(dataset, found),
        at=score_at(dataset, found, iou) if iou else (),
        results=found,
        analysis=analysis,
        intervals=intervals,
        class_intervals=class_intervals,
        against=comparison,
        weak=weak,
        output=output,
        files=("metrics.json", "analysis.json", "results.json", *(path.name for path in sheets)),
    )
    _write(evaluation, dataset, sources, keep=kept)
    return evaluation


def open_detector(
    weights: Path,
    *,
    names: Path | None = None,
    image_size: int | str | None = None,
    device: str = "auto",
    runtime: str = "auto",
    **selection: Any,
) -> Detector:
    """The detector in `weights`; logs its input size. selection: options of `Detector`."""
    network = load_runtime(weights, names=names, device=device, runtime=runtime, image_size=image_size)
    get_logger().info(f"{weights}: input size {sides_in_words(network.record.image_size)} pixels")
    return Detector(network, **selection)


def find(
    detector: Detector,
    dataset: Dataset,
    *,
    rank_group: RankGroup = SINGLE_RANK,
    on_progress: OnProgress | None = None,
    **options: Any,
) -> Results:
    """The detections in every image of `dataset`; rank_group, options: as of `detect_all`."""
    batches = count(1)

    def advance(done: int) -> None:
        if rank_group.size > 1 and next(batches) % STEPS_PER_COLLECTIVE == 0:
            rank_group.gather(None)
        if on_progress is not None:
            on_progress(min(done * rank_group.size, len(dataset)), len(dataset))

    return detect_all(detector, dataset, on_progress=advance, rank_group=rank_group, **options)


def _write(evaluation: Evaluation, dataset: Dataset, sources: Mapping[str, Any], *, keep: Path | None) -> None:
    """Writes the three files; `keep`, the results file that was scored, is not overwritten."""
    analysis = evaluation.analysis
    content = evaluation.metrics.as_json() | {
        "at_iou": [asdict(metrics) for metrics in evaluation.at],
        "intervals": _as_dicts(evaluation.intervals),
        "class_intervals": {name: _as_dicts(intervals) for name, intervals in evaluation.class_intervals.items()},
        "against": _as_dicts(evaluation.against),
        "errors": errors_as_json(analysis.errors),
        "best_thresholds": {
            name: {"threshold": curve.best_threshold, "f1": curve.best_f1} for name, curve in analysis.curves.items()
        },
        "evaluated": dict(sources),
    }
    write_file(evaluation.output / "metrics.json", to_json(content, indent=1) + "\n")
    write_file(evaluation.output / "analysis.json", to_json(analysis_as_json(analysis, dataset)) + "\n")
    results_file = evaluation.output / "results.json"
    if keep is None or keep.resolve() != results_file.resolve():
        with os_errors_explained(results_file):
            write_coco_results(results_file, evaluation.results, dataset)


def _as_dicts(values: Mapping[str, Interval] | Mapping[str, Comparison]) -> dict[str, Any]:
    return {name: asdict(value) for name, value in values.items()}


def as_text(evaluation: Evaluation, layout: Layout = PLAIN) -> Iterator[str]:
    """COCO's twelve lines, one row per class, the intervals, and the AP50 lost to each type of error."""
    yield from evaluation.metrics.lines()
    if UNDEFINED in evaluation.metrics.twelve().values():
        yield "-1.000 is no score: the data has no objects of that size"
    for one in evaluation.at:
        values = f"{three_digits(one.AP)}, {three_digits(one.AR)}"
        yield f" AP and AR at IoU {one.iou:g}, area = all, maxDets = 100: {values}"
    yield from layout.lines(_class_table(evaluation))
    yield "detections: all that were evaluated; predict shows those that reach its threshold"
    has_dash = UNDEFINED in [curve.best_threshold for curve in evaluation.analysis.curves.values()]
    dash = "; -: none of its objects was detected, or the data has none" if has_dash else ""
    is_offered = evaluation.can_store and evaluation.stored_in is None
    store = "; --store-thresholds stores it with the weights" if is_offered else ""
    yield f"best at: the confidence threshold with the highest F1{store}{dash}"
    for name, interval in evaluation.intervals.items():
        if interval.low == interval.high:
            known = "no interval: every resample of the images has this score"
        else:
            known = f"95 % interval {interval.low:.4f} .. {interval.high:.4f}"
        yield f"{name} {interval.value:.4f}, {known}"
    for name, comparison in evaluation.against.items():
        gap = comparison.difference
        yield (
            f"{name} against the other: {gap.value:+.4f}, 95 % interval {gap.low:+.4f} .. {gap.high:+.4f}, "
            f"p = {comparison.p_value:.3f}"
        )
    costs = sorted(evaluation.analysis.errors.gains.items(), key=lambda item: -item[1])
    yield "AP50 lost to: " + ", ".join(f"{kind} {100 * gain:.1f}" for kind, gain in costs) + " points"
    if evaluation.weak:
        yield evaluation.weak
    yield f"written: {evaluation.output}: {', '.join(evaluation.files)}"
    if evaluation.stored_in is not None:
        shown = ", ".join(f"{name} {threshold:g}" for name, threshold in evaluation.stored.items())
        yield f"stored in {evaluation.stored_in}: confidence thresholds {shown}"


def _class_table(evaluation: Evaluation) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("class", overflow="fold")
    for column in ("objects", "images", "detections", "AP", "AP50", "AP75", "AR100", "best at"):
        table.add_column(column, justify="right")
    for name, row in evaluation.metrics.per_class.items():
        numbers = (f"{number:,}" for number in (row.num_objects, row.num_images, row.num_detections))
        fractions = (row.AP, row.AP50, row.AP75, row.AR100, evaluation.analysis.curves[name].best_threshold)
        table.add_row(escape(shown(name)), *numbers, *map(three_digits, fractions))
    return table
