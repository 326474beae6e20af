"""`lookonce report`: a run as one HTML page."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lookonce.config.record import ModelRecord
from lookonce.data.dataset import Dataset
from lookonce.data.pictures import read_picture
from lookonce.data.source import open_data
from lookonce.detections import Detections
from lookonce.errors import LookonceError, SettingsError
from lookonce.log import get_logger
from lookonce.prediction.draw import class_color
from lookonce.report.content import Content, Run, best_metrics, read_metrics, read_run
from lookonce.report.html import write_plots, write_report
from lookonce.report.pictures import ComparedPicture
from lookonce.runtimes.detector import Detector
from lookonce.workflows.load import load_runtime


def report(
    run: Path,
    *,
    output: Path | None = None,
    evaluation: Path | None = None,
    weights: Path | None = None,
    split: str = "",
    pictures: int = 12,
    title: str = "",
) -> Path:
    """Write a run as one HTML page: scores, curves, data, settings, and pictures with labels and predictions.

    The page needs no other file and no network. Settings, curves and scores come from the run folder; pictures are
    shown as long as the data still lie where they were when it was trained. The curves are written to the run's
    folder `plots` as well.

    Parameters
    ----------
    run
        Folder of a training run, such as runs/train-1.
    output
        HTML file to write; without it, report.html in the run folder.
    evaluation
        Folder that `lookonce eval --output` wrote, for its scores and those of each class; without it, the run's best.
    weights
        What finds the objects in the pictures shown, such as the exported file; without it, the run's best.
    split
        Where the pictures shown are taken from; without it, the split that scored the network during training.
    pictures
        How many pictures are shown, taken evenly from the split; 0 for none.
    title
        Heading of the page; without it, the name of the run.
    """
    if pictures < 0:
        raise SettingsError(f"pictures is {pictures}, expected 0 or more")
    known = read_run(run)
    split = split or known.settings.get("val_split", "val")
    datasets = open_datasets(known, split)
    shown_from = next((data for data in datasets if data.split == split), None)
    compared: list[ComparedPicture] = []
    threshold = 0.25
    if shown_from is not None and pictures and known.record is not None:
        detector = Detector(load_runtime(weights or run))
        threshold = detector.score_threshold
        compared = compare_pictures(detector, shown_from, pictures)
    best = best_metrics(known.rows, known.settings.get("best_metric", "AP"))
    metrics = best if evaluation is None else read_metrics(evaluation / "metrics.json")
    content = Content(
        title=title or f"Run {run.resolve().name}",
        run=known,
        datasets=datasets,
        metrics=metrics,
        scored_on=scored_on(metrics),
        pictures=compared,
        class_colors=css_colors(len(known.record.class_names) if known.record else 0),
        score_threshold=threshold,
        facts=facts(known.record),
        commands=commands(known),
    )
    write_plots(run / "plots", content)
    path = write_report(output or run / "report.html", content)
    get_logger().info(f"written: {path} ({path.stat().st_size / 1e6:.1f} MB)")
    return path


def open_datasets(run: Run, shown: str) -> list[Dataset]:
    """The splits for training, for validation and to be shown; none, with a warning, when the data are gone."""
    settings = run.settings
    images = settings.get("images")
    try:
        source = open_data(settings["data"], Path(images) if images else None)
        wanted = (settings.get("train_split", "train"), settings.get("val_split", "val"), shown)
        return [source.split(name) for name in dict.fromkeys(wanted) if name in source.splits]
    except (KeyError, LookonceError) as error:
        get_logger().warning(f"the report goes without data and pictures: {error}")
        return []


def compare_pictures(detector: Detector, dataset: Dataset, count: int) -> list[ComparedPicture]:
    """`count` pictures, taken evenly from the split and not chosen by how well they go, with truth and detections."""
    rows = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int))
    compared = []
    for row in rows.tolist():
        path = dataset.image_paths[row]
        image = read_picture(path)
        compared.append(
            ComparedPicture(
                name=path.name, image=image, truth=truth_of(dataset, row), found=detector.detect([image])[0]
            )
        )
    return compared


def truth_of(dataset: Dataset, index: int) -> Detections:
    """The labelled boxes of one picture, crowds left out."""
    rows = dataset.rows(index)
    kept = ~dataset.crowd[rows]
    boxes = dataset.boxes_xyxy[rows][kept].astype(np.float32)
    return Detections(boxes_xyxy=boxes, scores=np.ones(len(boxes), np.float32), labels=dataset.labels[rows][kept])


def css_colors(num_classes: int) -> list[str]:
    """The colours in which `predict` draws the classes."""
    return ["#{:02x}{:02x}{:02x}".format(*class_color(label)) for label in range(num_classes)]


def scored_on(metrics: Mapping[str, Any]) -> str:
    """Words for the pictures behind the scores; metrics.json says it, the table of the run does not."""
    told = metrics.get("evaluated", {})
    if "pictures" not in told:
        return "the validation pictures"
    return f"the {told['pictures']:,} pictures of split {told.get('split', '')}"


def facts(record: ModelRecord | None) -> dict[str, str]:
    """This machine, and the versions that trained the network. Nothing that names a person or a host."""
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
    """What to type for the same again; paths as the run had them."""
    data = run.settings.get("data", "DATA")
    return (
        f"lookonce train --file {run.folder / 'settings.yaml'}",
        f"lookonce eval --weights {run.folder} --data {data}",
        f"lookonce export {run.folder} --to onnx",
        f"lookonce predict PICTURES --weights {run.folder}",
    )
