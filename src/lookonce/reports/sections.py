"""The sections of a report: each function returns the HTML of its section, empty if the content lacks the data."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import PurePath
from typing import Any

import numpy as np

from lookonce.data.dataset import Dataset
from lookonce.reports.content import Content
from lookonce.reports.elements import card, cell, chart_card, count, fraction, head_cell, legend, sortable_head, table
from lookonce.reports.images import ComparedImage, compared_figure, data_uri, jpeg_uri
from lookonce.reports.plots import Axis, Series, axes, bar_chart, heat_map, line_chart, short, standalone, ticks
from lookonce.reports.summary import sentences
from lookonce.settings.names import counted
from lookonce.settings.schema import GROUPS, Settings, default_of, group_of, help_of, unit_of
from lookonce.training.run_folder import RunFolder

TWELVE = {
    "AP": "Average precision, mean over IoU 0.50 to 0.95",
    "AP50": "Average precision at IoU 0.50",
    "AP75": "Average precision at IoU 0.75",
    "APs": "AP of small objects, under 32 × 32 pixels",
    "APm": "AP of medium objects, 32 × 32 to 96 × 96 pixels",
    "APl": "AP of large objects, over 96 × 96 pixels",
    "AR1": "Average recall with 1 detection per image and class",
    "AR10": "Average recall with 10",
    "AR100": "Average recall with 100",
    "ARs": "Average recall of small objects",
    "ARm": "Average recall of medium objects",
    "ARl": "Average recall of large objects",
}
SIZE_EDGES = (0, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512)  # pixels; 32 and 96 are COCO's limits


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A chart over the epochs. columns: of metrics.jsonl, each with its color; y_label: with its unit; y_high: top of
    the y axis; note: a line under the chart."""

    name: str
    title: str
    columns: Mapping[str, int]
    y_label: str
    y_high: float | None = None
    note: str = ""


CURVES = (
    Curve(
        name="loss",
        title="Loss of training and validation",
        columns={"loss": 1, "val_loss": 2},
        y_label="loss",
        note="loss: mean over the epoch, with augmentation. val_loss: after the epoch, without.",
    ),
    Curve(
        name="loss-parts",
        title="Parts of the training loss",
        columns={"box": 2, "objectness": 3, "classes": 4},
        y_label="loss",
    ),
    Curve(
        name="val-loss-parts",
        title="Parts of the validation loss",
        columns={"val_box": 2, "val_objectness": 3, "val_classes": 4},
        y_label="loss",
    ),
    Curve(
        name="ap",
        title="AP on the validation images",
        columns={"AP50": 1, "AP": 2, "AP75": 3},
        y_label="AP, 0 to 1",
        y_high=1.0,
    ),
    Curve(
        name="precision",
        title="Precision, recall and F1 on the validation images",
        columns={"precision": 1, "recall": 2, "F1": 3},
        y_label="0 to 1",
        y_high=1.0,
        note="At IoU 0.5 and the one confidence threshold with the highest F1 of each epoch; means over the classes.",
    ),
    Curve(name="lr", title="Learning rate at the end of each epoch", columns={"lr": 1}, y_label="learning rate"),
    Curve(name="speed", title="Throughput of training", columns={"images_per_second": 3}, y_label="images/s"),
)
DASHED = (
    "Dashed ground truth: missed, that is, no prediction of its class matches it at IoU 0.5. Dashed prediction: false "
    "positive."
)
UNDEFINED = -1.0  # of a metric, without objects or detections
HEAT_CELLS = 25  # a side
HEAT_WIDTH, HEAT_HEIGHT = 480, 360  # pixels


def tiles(content: Content) -> str:
    """The main numbers of the run."""
    rows, metrics, record = content.run.rows, content.metrics, content.run.record
    intervals = metrics.get("intervals", {})
    shown = [
        (f"{metrics[name]:.3f}", name + _plus_minus(intervals.get(name)))
        for name in ("AP50", "AP")
        if metrics.get(name, -1) >= 0
    ]
    if rows:
        shown.append((str(len(rows)), "epoch trained" if len(rows) == 1 else "epochs trained"))
    if any("seconds" in row for row in rows):
        shown.append((duration(sum(row.get("seconds", 0.0) for row in rows)), "training time"))
    if record is not None:
        shown.append((f"{record.image_size[1]}×{record.image_size[0]}", "pixels of network input"))
        shown.append((str(record.num_classes), "class" if record.num_classes == 1 else "classes"))
    body = "".join(f'<div class="card tile"><b>{value}</b><span>{text}</span></div>' for value, text in shown)
    return f'<div class="tiles">{body}</div>' if shown else ""


def _plus_minus(interval: Mapping[str, float] | None) -> str:
    return f", {interval['low']:.3f} to {interval['high']:.3f}" if interval else ""


def summary(content: Content) -> str:
    """A few sentences."""
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences(content))
    return card(f'<ul class="summary">{items}</ul>') if items else ""


def curves(content: Content) -> str:
    """Losses, metrics, learning rate and throughput over the epochs; the first batch."""
    charts = (_curve_card(curve, line_series(content.run.rows, curve.columns)) for curve in CURVES)
    body = "".join(charts)
    return (f'<div class="grid">{body}</div>' if body else "") + _first_batch(content)


def _curve_card(curve: Curve, series: Sequence[Series]) -> str:
    if not series:
        return ""
    names = legend((line.name, line.color) for line in series) if len(series) > 1 else ""
    return chart_card(curve.title, _curve_chart(curve, series), names=names, note=curve.note)


def _curve_chart(curve: Curve, series: Sequence[Series]) -> str:
    return line_chart(curve.title, series, y_label=curve.y_label, y_high=curve.y_high)


def _first_batch(content: Content) -> str:
    """The images and boxes that the network got first."""
    file = RunFolder(content.run.folder).first_batch
    if not file.is_file():
        return ""
    image = f'<img class="photo" alt="first batch of training" src="{jpeg_uri(file.read_bytes())}">'
    words = "What the network is trained on: images of the first batch with their boxes, after augmentation."
    return f'<h3 class="above">First batch</h3><p>{words}</p>{card(image)}'


def curve_files(content: Content) -> dict[str, str]:
    """The same charts as files: name -> SVG."""
    files = {}
    for curve in CURVES:
        series = line_series(content.run.rows, curve.columns)
        if series:
            files[f"{curve.name}.svg"] = standalone(_curve_chart(curve, series), curve.title, series)
    return files


def line_series(rows: Sequence[Mapping[str, float]], columns: Mapping[str, int]) -> list[Series]:
    """One line for each column that the rows have, without undefined values; epochs are counted from 1."""
    series = []
    for name, color in columns.items():
        points = [
            (row.get("epoch", place) + 1, row[name])
            for place, row in enumerate(rows)
            if row.get(name) is not None and row[name] != UNDEFINED
        ]
        if points:
            series.append(Series(name=name, points=points, color=color))
    return series


def metrics_table(content: Content) -> str:
    """COCO's twelve metrics."""
    metrics = content.metrics
    intervals = metrics.get("intervals", {})
    rows = [
        cell(name) + cell(text) + fraction(metrics[name], interval=intervals.get(name))
        for name, text in TWELVE.items()
        if name in metrics
    ]
    if not rows:
        return "<p>Not scored: the run had no validation images. Score it with <code>lookonce eval</code>.</p>"
    sure = " After a number: its 95 % confidence interval, by bootstrap over the images." if intervals else ""
    return (
        f"<p>COCO's metric on {escape(content.scored_on)}, from 0 to 1 (best); a dash: there are no such "
        f"objects.{sure}</p>{card(table(rows), scroll=True)}"
    )


def class_table(content: Content) -> str:
    """The metrics of each class, as a sortable table."""
    metrics = content.metrics
    per_class = metrics.get("per_class") or {}
    intervals, best = metrics.get("class_intervals", {}), metrics.get("best_thresholds", {})
    rows = [
        cell(name)
        + count(row.get("num_objects"))
        + fraction(row.get("AP50", -1), meter=True, interval=intervals.get(name, {}).get("AP50"))
        + "".join(fraction(row.get(column, -1)) for column in ("AP", "AP75", "AR100"))
        + fraction(best.get(name, {}).get("threshold", -1))
        + fraction(best.get(name, {}).get("f1", -1))
        + count(row.get("num_detections"))
        for name, row in per_class.items()
    ]
    names = ("class", "objects", "AP50", "AP", "AP75", "AR100", "best threshold", "F1 there", "detections")
    words = (
        "AR100: recall with at most 100 detections per image and class, mean over IoU 0.50 to 0.95, at any confidence. "
        "Best threshold: the confidence threshold with the highest F1 at IoU 0.5. Detections: of any confidence."
    )
    head = sortable_head(names, text="class")
    return f"<p>{words}</p>{card(table(rows, head=head, kind='sortable'), scroll=True)}" if rows else ""


def exported_files(content: Content) -> str:
    """The exported files and the weights that they were made from, as `lookonce verify` measured them."""
    verified = content.verified
    rows = [
        cell(f"{PurePath(row['file']).name}, {row['image_size'][0]} pixels")
        + cell(row["runtime"])
        + cell(row["precision"])
        + fraction(row["AP50"])
        + fraction(row["AP"])
        + "".join(_difference(row[name]) for name in ("raw", "box", "score"))
        + _difference(row["ms"], digits=3)
        + _difference(row["size"] / 1e6, digits=3)
        + cell("differs: " + ", ".join(row["wrong"]) if row["wrong"] else "same" if row["box"] is not None else "")
        for row in verified.get("rows", [])
    ]
    if not rows:
        return ""
    names = ("AP50", "AP", "logits", "boxes, px", "scores", "ms", "MB")
    head = "".join(head_cell(name, number=False) for name in ("file", "runtime", "precision"))
    head += "".join(head_cell(name, number=True) for name in names) + head_cell("", number=False)
    words = (
        f"Measured on {counted(verified['images'], 'image')} of split "
        f"'{verified['split']}'. Logits, boxes and scores: largest difference from the first row of that image size. "
        "ms: latency of one image through network, decoding and NMS."
    )
    return f"<p>{escape(words)}</p>" + card(table(rows, head=head), scroll=True)


def _difference(value: float | None, *, digits: int = 2) -> str:
    shown = "–" if value is None else f"{value:.{digits}g}"
    return f'<td class="number">{shown}</td>'


def data_card(content: Content) -> str:
    """Images, objects, classes and sizes of the training data."""
    return counts_of_data(content.datasets)


def counts_of_data(datasets: Sequence[Dataset]) -> str:
    """Images, objects, classes and sizes of each split."""
    if not datasets:
        return ""
    heads = ("split", "images", "without objects", "objects", "median size")
    head = "".join(head_cell(name, number=name != "split") for name in heads)
    rows = [
        cell(data.split) + count(len(data)) + count(num_empty(data)) + count(len(data.labels)) + _median_size(data)
        for data in datasets
    ]
    charts = _class_chart(datasets) + _size_chart(datasets) + _box_maps(datasets[0])
    return f'{card(table(rows, head=head), scroll=True)}<div class="grid below">{charts}</div>'


def num_empty(dataset: Dataset) -> int:
    """Number of images without a box."""
    return int((np.diff(dataset.box_offsets) == 0).sum())


def images(content: Content) -> str:
    """Ground truth and predictions side by side, for an evenly spaced choice of images."""
    if not content.images:
        return ""
    return (
        f"<p>Evenly spaced images, not selected by score. First the ground truth, then the predictions from "
        f"{escape(content.shown_from)} up. {DASHED}</p>{_pairs(content, content.images)}"
    )


def worst(content: Content) -> str:
    """The images with most errors."""
    if not content.worst:
        return ""
    return (
        f"<p>The images with most missed objects and false positives among the predictions from "
        f"{escape(content.shown_from)} up. Check their labels too: some of the errors may be label errors. {DASHED}</p>"
        f"{_pairs(content, content.worst, shown_before=content.images)}"
    )


def predicted(content: Content) -> str:
    """Annotated images of other weights."""
    if not content.predicted:
        return ""
    figures = [
        f'<figure class="pair"><img class="photo" src="{data_uri(image)}" alt="{escape(name)}: predictions">'
        f"<figcaption><code>{escape(name)}</code></figcaption></figure>"
        for name, image in content.predicted.items()
    ]
    return (
        f"<p>Annotated by <code>lookonce predict</code> with {escape(content.predicted_by)}.</p>"
        f'<div class="pairs">{"".join(map(card, figures))}</div>'
    )


def _pairs(content: Content, shown: Sequence[ComparedImage], shown_before: Sequence[ComparedImage] = ()) -> str:
    """Figures of the images; an image that the page has already is not embedded again."""
    known = {image.name: f"image-{place}" for place, image in enumerate(shown_before)}
    kind = "worst" if shown_before else "image"
    figures = []
    for place, image in enumerate(shown):
        key = known.get(image.name, f"{kind}-{place}")
        figures.append(card(compared_figure(image, content.classes, key, embed=image.name not in known)))
    return f'<div class="pairs">{"".join(figures)}</div>'


def settings_table(content: Content) -> str:
    """The settings that differ from the defaults; all of them in a folded table."""
    settings = content.run.settings
    known = [name for name in Settings.model_fields if name in settings]
    changed = [name for name in known if plain(settings[name]) != plain(default_of(name))]
    groups = "".join(
        f"<h3>{escape(title)}</h3>{_settings_rows([name for name in known if group_of(name) == group], settings)}"
        for group, title in GROUPS.items()
    )
    everything = f"<details><summary>All {len(known)} settings</summary>{groups}</details>"
    note = "<p>The settings that differ from the defaults.</p>"
    return note + card(_settings_rows(changed, settings) + everything, scroll=True)


def facts(content: Content) -> str:
    """The machine and the versions."""
    rows = [cell(name) + f'<td class="value">{escape(value)}</td>' for name, value in content.facts.items()]
    return card(table(rows), scroll=True) if rows else ""


def commands(content: Content) -> str:
    """The commands that reproduce the run."""
    if not content.commands:
        return ""
    return f"<pre>{escape(chr(10).join(content.commands))}</pre>"


def _class_chart(datasets: Sequence[Dataset]) -> str:
    names = datasets[0].class_names
    series = [
        (data.split, np.bincount(data.labels, minlength=len(names)).astype(float).tolist(), place)
        for place, data in enumerate(datasets, start=1)
    ]
    title = "Objects of each class"
    chart = bar_chart(title, names, series, x_label="class", y_label="objects")
    return chart_card(title, chart, names=_split_legend(datasets))


def _size_chart(datasets: Sequence[Dataset]) -> str:
    """A histogram in percent, so that splits of different size can be compared."""
    largest = max((object_sizes(data).max(initial=0) for data in datasets), default=0)
    edges = [*(edge for edge in SIZE_EDGES if edge <= largest), np.inf]
    series = []
    for place, data in enumerate(datasets, start=1):
        counts, _ = np.histogram(object_sizes(data), bins=edges)
        series.append((data.split, (100 * counts / max(counts.sum(), 1)).tolist(), place))
    title = "Sizes of the objects"
    labels = [f"{edge:g}+" for edge in edges[:-1]]
    x_label, y_label = "√(width × height), pixels of the image", "objects, % of the split"
    chart = bar_chart(title, labels, series, x_label=x_label, y_label=y_label)
    return chart_card(title, chart, names=_split_legend(datasets))


def _box_maps(dataset: Dataset) -> str:
    """Heat maps of the centres and of the widths and heights of the boxes, relative to their image."""
    if not len(dataset.labels):
        return ""
    rows = np.repeat(np.arange(len(dataset)), np.diff(dataset.box_offsets))
    image_wh = np.maximum(dataset.image_sizes_wh, 1)[rows]
    corners = dataset.boxes_xyxy.reshape(-1, 2, 2) / image_wh[:, None]  # (M, 2, 2) 0..1
    centers, sizes = corners.mean(axis=1), np.sqrt(np.clip(corners[:, 1] - corners[:, 0], 0, 1))
    across, up = axes((0, 1), 1, width=HEAT_WIDTH, height=HEAT_HEIGHT)
    down = Axis(low=0, high=1, start=up.end, end=up.start)
    even = [(part, f"{100 * part:g}") for part in ticks(0, 1)]
    roots = [(percent**0.5 / 10, f"{percent}") for percent in (1, 4, 16, 36, 64, 100)]
    charts = (
        ("Positions of the objects", centers, down, even, "centre, % of the image's {}"),
        ("Widths and heights of the objects", sizes, up, roots, "{}, % of the image, square-root scale"),
    )
    html = []
    for title, values, y_axis, labels, words in charts:
        counts, _, _ = np.histogram2d(values[:, 1], values[:, 0], bins=HEAT_CELLS, range=((0, 1), (0, 1)))
        x_label, y_label = words.format("width"), words.format("height")
        chart = heat_map(
            title,
            counts.astype(np.int64),
            across,
            y_axis,
            x_ticks=labels,
            y_ticks=labels,
            x_label=x_label,
            y_label=y_label,
        )
        note = f"Split '{dataset.split}', {len(values):,} boxes. The strongest colour: {int(counts.max()):,} in a cell."
        html.append(chart_card(title, chart, note=note))
    return "".join(html)


def object_sizes(dataset: Dataset) -> np.ndarray[Any, np.dtype[np.float64]]:
    """(M,) sqrt(width * height), in pixels of the image."""
    wh = dataset.boxes_xyxy[:, 2:] - dataset.boxes_xyxy[:, :2]
    return np.asarray(np.sqrt(wh[:, 0] * wh[:, 1]), np.float64)


def _median_size(dataset: Dataset) -> str:
    shown = f"{np.median(object_sizes(dataset)):.0f} pixels" if len(dataset.labels) else "–"
    return f'<td class="number">{shown}</td>'


def _split_legend(datasets: Iterable[Dataset]) -> str:
    return legend((data.split, place) for place, data in enumerate(datasets, start=1))


def _settings_rows(names: Iterable[str], settings: Mapping[str, Any]) -> str:
    return table(
        f'<td title="{escape(help_of(name))}">{name}</td><td class="value"><code>{escape(plain(settings[name]))}'
        f"</code> {escape(unit_of(name))}</td>"
        for name in names
    )


def plain(value: Any) -> str:
    """A setting's value as text."""
    if isinstance(value, list | tuple):
        return "[" + ", ".join(plain(part) for part in value) + "]"
    if value is None or value == "":
        return "–"
    return f"{value:g}" if isinstance(value, float) else str(value)


def duration(seconds: float) -> str:
    """The duration in s, min or h."""
    if seconds < 90:
        return f"{short(round(seconds))} s"
    if seconds < 5400:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / 3600:.1f} h"
