"""`lookonce eval`: COCO's numbers of a detector, or of a results file, with how sure they are."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lookonce.data.dataset import Dataset
from lookonce.data.source import open_data
from lookonce.errors import SettingsError
from lookonce.evaluation.bootstrap import Comparison, Interval, Resampled, bootstrap, compare
from lookonce.evaluation.coco import Metrics, score
from lookonce.evaluation.curves import THRESHOLDS, Calibration, ThresholdCurves, calibration, threshold_curves
from lookonce.evaluation.errors import ErrorSplit, confusion_matrix, split_errors
from lookonce.evaluation.evaluate import detect_all
from lookonce.evaluation.matching import match
from lookonce.evaluation.results import Results, read_coco_results, write_coco_results
from lookonce.runtimes.base import Runtime
from lookonce.storage import explained_write, make_run_folder, write_file

INTERVALS = ("AP", "AP50")


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """intervals: AP and AP50 by name, empty without resamples; against: the same names, this one minus the other."""

    metrics: Metrics
    results: Results
    errors: ErrorSplit
    curves: Mapping[str, ThresholdCurves]  # by class
    calibration: Calibration
    intervals: Mapping[str, Interval]
    against: Mapping[str, Comparison]
    output: Path


def evaluate(
    *,
    weights: Path | None = None,
    data: Path,
    images: Path | None = None,
    split: str = "val",
    results: Path | None = None,
    against: Path | None = None,
    output: Path | None = None,
    resamples: int = 1000,
    iou_threshold: float | None = None,
    score_threshold: float | None = None,
    max_detections: int | None = None,
    image_size: int | None = None,
    batch_size: int = 8,
    runtime: str = "auto",
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score a detector with COCO's twelve numbers, exactly as pycocotools would, and each class.

    Writes metrics.json, analysis.json (what goes wrong, and the curves behind it) and results.json. Scores count
    from 0.001 up, whatever threshold the weights show from.

    Parameters
    ----------
    weights
        Checkpoint folder, run folder (its best) or exported file.
    data
        Labelled pictures: a COCO, VOC or YOLO data set, or an annotation JSON together with --images.
    images
        Folder of the pictures of an annotation JSON.
    split
        Which part of the data set: train, val or test.
    results
        COCO results file of any program, scored instead of weights.
    against
        Another detector, or its results file (.json): is the difference more than chance?
    output
        Folder to write into; without it runs/eval-1, runs/eval-2 and so on.
    resamples
        Drawings of the pictures behind the 95 % intervals of AP and AP50; 0 for none.
    iou_threshold
        Overlap above which the weaker of two boxes of a class is dropped; without it, that of the weights.
    score_threshold
        Lowest score that counts; without it, the one that the weights were scored with in training, usually 0.001.
    max_detections
        Boxes kept of one picture, best first; without it, as many as the weights say.
    image_size
        Side of the square that a checkpoint sees, a multiple of 32; without it, the one it was trained at.
    batch_size
        Pictures at once on an accelerator; a CPU takes one at a time, so that no digit depends on it.
    runtime
        What runs the weights: auto for the file's own, or one that reads it: onnxruntime, openvino, opencv ...
    """
    _require_one(weights, results)
    _require_limits(score_threshold, max_detections)
    if resamples < 0 or (against is not None and resamples == 0):
        raise SettingsError(f"resamples is {resamples}, expected at least {1 if against else 0}, for example 1000")
    dataset = open_data(data, images).split(split)

    def look(source: Path, runtime: str = "auto") -> Results:
        return find(
            source,
            dataset,
            iou_threshold=iou_threshold,
            score_threshold=score_threshold,
            max_detections=max_detections,
            image_size=image_size,
            batch_size=batch_size,
            runtime=runtime,
            on_progress=on_progress,
        )

    found = read_coco_results(results, dataset) if results is not None else look(_given(weights), runtime)
    matches = match(dataset, found)
    resampled = bootstrap(matches, resamples=resamples) if resamples else None
    comparison: dict[str, Comparison] = {}
    if against is not None and resampled is not None:
        other = read_coco_results(against, dataset) if against.suffix == ".json" else look(against)
        comparison = _comparison(resampled, bootstrap(match(dataset, other), resamples=resamples))
    evaluation = Evaluation(
        metrics=score(dataset, found),
        results=found,
        errors=split_errors(dataset, found, matches),
        curves=threshold_curves(matches),
        calibration=calibration(matches),
        intervals={name: resampled.interval(name) for name in INTERVALS} if resampled is not None else {},
        against=comparison,
        output=_folder(output),
    )
    sources = {"data": str(data), "split": split, "pictures": len(dataset), "of": str(results or weights)}
    _write(evaluation, dataset, sources, keep=results)
    _print(evaluation)
    return evaluation


def find(
    weights: Path,
    dataset: Dataset,
    *,
    iou_threshold: float | None,
    score_threshold: float | None,
    max_detections: int | None,
    image_size: int | None,
    batch_size: int,
    runtime: str = "auto",
    on_progress: Callable[[int, int], None] | None,
) -> Results:
    """What the detector in `weights` finds in every picture of `dataset`."""
    from lookonce.runtimes.detector import Detector
    from lookonce.workflows.load import load_runtime

    def advance(done: int) -> None:
        if on_progress is not None:
            on_progress(done, len(dataset))

    loaded = load_runtime(weights, runtime=runtime)
    network = loaded if image_size is None else at_size(loaded, image_size, weights)
    detector = Detector(network, iou_threshold=iou_threshold, max_detections=max_detections)
    return detect_all(detector, dataset, batch_size=batch_size, on_progress=advance, score_threshold=score_threshold)


def at_size(runtime: Runtime, image_size: int, weights: Path) -> Runtime:
    """The network at another input size: it has no layer that minds, but an exported file is made for one."""
    if image_size < 32 or image_size % 32:
        raise SettingsError(f"image_size is {image_size}, expected a multiple of 32, for example 416")
    model = getattr(runtime, "model", None)
    if model is None:
        own = runtime.record.image_size[1]
        raise SettingsError(
            f"image_size: {weights} was exported for {own} pixels; score the checkpoint, or export it again with "
            f"--image-size {image_size}"
        )
    from lookonce.runtimes.pytorch import PyTorchRuntime

    return PyTorchRuntime(model, runtime.record.model_copy(update={"image_size": (image_size, image_size)}))


def _require_one(weights: Path | None, results: Path | None) -> None:
    if (weights is None) == (results is None):
        given = "neither was" if weights is None else "both were"
        raise SettingsError(
            f"weights, results: {given} given; name the detector to score, or the results file to score"
        )


def _require_limits(score_threshold: float | None, max_detections: int | None) -> None:
    if score_threshold is not None and not 0 <= score_threshold < 1:
        raise SettingsError(f"score_threshold is {score_threshold:g}, expected at least 0 and under 1")
    if max_detections is not None and max_detections < 1:
        raise SettingsError(f"max_detections is {max_detections}, expected at least 1")


def _given(weights: Path | None) -> Path:
    assert weights is not None
    return weights


def _comparison(first: Resampled, second: Resampled) -> dict[str, Comparison]:
    return {name: compare(first, second, name) for name in INTERVALS}


def _folder(output: Path | None) -> Path:
    """The folder asked for, or a fresh one: an evaluation never replaces another that was not named."""
    if output is None:
        return make_run_folder(Path("runs"), "eval")
    with explained_write(output):
        output.mkdir(parents=True, exist_ok=True)
    return output


def _write(evaluation: Evaluation, dataset: Dataset, sources: Mapping[str, Any], *, keep: Path | None) -> None:
    """The three files; a results file that lies there already and was scored stays as it is."""
    content = evaluation.metrics.as_json() | {
        "intervals": {name: asdict(interval) for name, interval in evaluation.intervals.items()},
        "against": {name: asdict(comparison) for name, comparison in evaluation.against.items()},
        "errors": errors_as_json(evaluation.errors),
        "best_thresholds": {
            name: {"threshold": curve.best_threshold, "f1": curve.best_f1} for name, curve in evaluation.curves.items()
        },
        "evaluated": dict(sources),
    }
    _write_json(evaluation.output / "metrics.json", content)
    _write_json(evaluation.output / "analysis.json", analysis_as_json(evaluation, dataset))
    results_file = evaluation.output / "results.json"
    if keep is None or keep.resolve() != results_file.resolve():
        with explained_write(results_file):
            write_coco_results(results_file, evaluation.results, dataset)


def errors_as_json(errors: ErrorSplit) -> dict[str, dict[str, float]]:
    """Of each kind, how many, and the AP50 (0..1) that repairing it alone would add."""
    return {kind: {"count": count, "AP50": errors.gains[kind]} for kind, count in errors.counts().items()}


def analysis_as_json(evaluation: Evaluation, dataset: Dataset) -> dict[str, Any]:
    """At IoU 0.5: curves over the score threshold of each class, calibration, confusion at a score of 0.25."""
    calibrated = evaluation.calibration
    return {
        "thresholds": THRESHOLDS.tolist(),
        "curves": {
            name: {part: getattr(curve, part).tolist() for part in ("precision", "recall", "f1")}
            for name, curve in evaluation.curves.items()
        },
        "calibration": {
            "counts": calibrated.counts.tolist(),
            "mean_scores": calibrated.mean_scores.tolist(),
            "precision": calibrated.precision.tolist(),
            "error": calibrated.error,
        },
        "confusion": {
            "classes": [*dataset.class_names, "(background)"],
            "rows": "objects",
            "columns": "detections",
            "counts": confusion_matrix(dataset, evaluation.results).tolist(),
        },
    }


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    write_file(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def _print(evaluation: Evaluation) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for line in evaluation.metrics.lines():
        console.print(line, markup=False)
    console.print(_class_table(evaluation))
    for name, interval in evaluation.intervals.items():
        console.print(f"{name} {interval.value:.4f}, 95 % interval {interval.low:.4f} .. {interval.high:.4f}")
    for name, comparison in evaluation.against.items():
        gap = comparison.difference
        console.print(
            f"{name} against the other: {gap.value:+.4f}, 95 % interval {gap.low:+.4f} .. {gap.high:+.4f}, "
            f"p = {comparison.p_value:.3f}"
        )
    costs = sorted(evaluation.errors.gains.items(), key=lambda item: -item[1])
    console.print("AP50 lost to: " + ", ".join(f"{kind} {100 * gain:.1f}" for kind, gain in costs) + " points")
    console.print(f"written: {evaluation.output}: metrics.json, analysis.json, results.json", markup=False)


def _class_table(evaluation: Evaluation) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("class", overflow="fold")
    for column in ("objects", "pictures", "found", "AP", "AP50", "AP75", "AR100", "best at"):
        table.add_column(column, justify="right")
    for name, row in evaluation.metrics.per_class.items():
        numbers = (row.num_objects, row.num_pictures, row.num_detections)
        fractions = (row.AP, row.AP50, row.AP75, row.AR100, evaluation.curves[name].best_threshold)
        table.add_row(
            escape(name),
            *(f"{number:,}" for number in numbers),
            *("-" if part < 0 else f"{part:.3f}" for part in fractions),
        )
    return table
