"""The sections of a report: each function returns the HTML of its section, empty if the content lacks the data."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import PurePath
from typing import Any

from lookonce.reports import elements
from lookonce.reports.content import Content
from lookonce.reports.elements import (
    card,
    cell,
    count,
    fraction,
    heads,
    interval_words,
    line_card,
    number,
    table,
    table_card,
)
from lookonce.reports.images import ComparedImage, compared_figure, data_uri, figure, jpeg_uri
from lookonce.reports.plots import Series, line_chart, short, standalone
from lookonce.reports.summary import sentences
from lookonce.settings.names import counted
from lookonce.settings.schema import GROUPS, Settings, default_of, group_of, help_of, unit_of
from lookonce.shown import UNDEFINED
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


@dataclass(frozen=True)
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
        *("loss", "Loss of training and validation", {"loss": 1, "val_loss": 2}, "loss"),
        note="loss: mean over the epoch, with augmentation. val_loss: after the epoch, without.",
    ),
    Curve("loss-parts", "Parts of the training loss", {"box": 2, "objectness": 3, "classes": 4}, "loss"),
    Curve(
        "val-loss-parts",
        "Parts of the validation loss",
        {"val_box": 2, "val_objectness": 3, "val_classes": 4},
        "loss",
    ),
    Curve("ap", "AP on the validation images", {"AP50": 1, "AP": 2, "AP75": 3}, "AP, 0 to 1", 1.0),
    Curve(
        "precision",
        "Precision, recall and F1 on the validation images",
        {"precision": 1, "recall": 2, "F1": 3},
        "0 to 1",
        1.0,
        "At IoU 0.5 and the one confidence threshold with the highest F1 of each epoch; means over the classes.",
    ),
    Curve("lr", "Learning rate at the end of each epoch", {"lr": 1}, "learning rate"),
    Curve("speed", "Throughput of training", {"images_per_second": 3}, "images/s"),
)
DASHED = (
    "Dashed ground truth: missed, that is, no prediction of its class matches it at IoU 0.5. Dashed prediction: false "
    "positive."
)


def tiles(content: Content) -> str:
    rows, metrics, record = content.run.rows, content.metrics, content.run.record
    shown = []
    for name in ("AP50", "AP"):
        if metrics.get(name, -1) >= 0:
            interval = interval_words(metrics.get("intervals", {}).get(name))
            shown.append((f"{metrics[name]:.3f}", ", ".join(filter(None, (name, interval)))))
    if rows:
        number_of_epochs, _, noun = counted(len(rows), "epoch").partition(" ")
        shown.append((number_of_epochs, f"{noun} trained"))
    if any("seconds" in row for row in rows):
        shown.append((duration(sum(row.get("seconds", 0.0) for row in rows)), "training time"))
    if record is not None:
        shown.append(("×".join(map(str, record.image_size)), "pixels of network input, height × width"))
        num_classes, _, noun = counted(record.num_classes, "class").partition(" ")
        shown.append((num_classes, noun))
    return elements.tiles(shown)


def summary(content: Content) -> str:
    items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences(content))
    return card(f'<ul class="summary">{items}</ul>') if items else ""


def curves(content: Content) -> str:
    """Losses, metrics, learning rate and throughput over the epochs; the first batch."""
    charts = ""
    for curve in CURVES:
        if series := line_series(content.run.rows, curve.columns):
            charts += line_card(curve.title, series, note=curve.note, y_label=curve.y_label, y_high=curve.y_high)
    html = f'<div class="grid">{charts}</div>' if charts else ""
    batch = RunFolder(content.run.folder).first_batch
    if not batch.is_file():
        return html
    image = f'<img class="photo" alt="first batch of training" src="{jpeg_uri(batch.read_bytes())}">'
    words = "What the network is trained on: images of the first batch with their boxes, after augmentation."
    return f'{html}<h3 class="above">First batch</h3><p>{words}</p>{card(image)}'


def curve_files(content: Content) -> dict[str, str]:
    """The same charts as files: name -> SVG."""
    files = {}
    for curve in CURVES:
        if series := line_series(content.run.rows, curve.columns):
            chart = line_chart(curve.title, series, y_label=curve.y_label, y_high=curve.y_high)
            files[f"{curve.name}.svg"] = standalone(chart, curve.title, series)
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
        f"objects.{sure}</p>{table_card(rows)}"
    )


def class_table(content: Content) -> str:
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
    head = heads(*names, words=["class"], button=True)
    return f"<p>{words}</p>{table_card(rows, head=head, kind='sortable')}" if rows else ""


def exported_files(content: Content) -> str:
    """The exported files and the weights that they were made from, as `lookonce verify` measured them."""
    verified = content.verified
    rows = [
        cell(f"{PurePath(row['file']).name}, {row['image_size'][0]} pixels")
        + cell(row["runtime"])
        + cell(row["precision"])
        + fraction(row["AP50"])
        + fraction(row["AP"])
        + "".join(number("–" if row[name] is None else f"{row[name]:.2g}") for name in ("raw", "box", "score"))
        + number(f"{row['ms']:.3g}")
        + number(f"{row['size'] / 1e6:.3g}")
        + cell("differs: " + ", ".join(row["wrong"]) if row["wrong"] else "same" if row["box"] is not None else "")
        for row in verified.get("rows", [])
    ]
    if not rows:
        return ""
    named, numbers = ("file", "runtime", "precision"), ("AP50", "AP", "logits", "boxes, px", "scores", "ms", "MB")
    head = heads(*named, *numbers, "", words=[*named, ""])
    words = (
        f"Measured on {counted(verified['images'], 'image')} of split "
        f"'{verified['split']}'. Logits, boxes and scores: largest difference from the first row of that image size. "
        "ms: latency of one image through network, decoding and NMS."
    )
    return f"<p>{escape(words)}</p>" + table_card(rows, head=head)


def images(content: Content) -> str:
    """Ground truth and predictions side by side, for an evenly spaced choice of images."""
    words = "Evenly spaced images, not selected by score. First the ground truth, then the predictions from"
    return _pairs(content, content.images, f"{words} {content.shown_from} up.")


def worst(content: Content) -> str:
    words = "The images with most missed objects and false positives among the predictions from"
    check = "Check their labels too: some of the errors may be label errors."
    return _pairs(content, content.worst, f"{words} {content.shown_from} up. {check}", shown_before=content.images)


def predicted(content: Content) -> str:
    if not content.predicted:
        return ""
    figures = [
        figure(f'<img class="photo" src="{data_uri(image)}" alt="{escape(name)}: predictions">', name)
        for name, image in content.predicted.items()
    ]
    return (
        f"<p>Annotated by <code>lookonce predict</code> with {escape(content.predicted_by)}.</p>"
        f'<div class="pairs">{"".join(map(card, figures))}</div>'
    )


def _pairs(
    content: Content, shown: Sequence[ComparedImage], words: str, shown_before: Sequence[ComparedImage] = ()
) -> str:
    """Figures of the images; an image that the page has already is not embedded again."""
    known = {image.name: f"image-{place}" for place, image in enumerate(shown_before)}
    kind = "worst" if shown_before else "image"
    figures = ""
    for place, image in enumerate(shown):
        key = known.get(image.name, f"{kind}-{place}")
        figures += card(compared_figure(image, content.classes, key, embed=image.name not in known))
    return f'<p>{escape(words)} {DASHED}</p><div class="pairs">{figures}</div>' if figures else ""


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
    rows = [cell(name) + f'<td class="value">{escape(value)}</td>' for name, value in content.facts.items()]
    return table_card(rows) if rows else ""


def _settings_rows(names: Iterable[str], settings: Mapping[str, Any]) -> str:
    return table(
        f'<td title="{escape(help_of(name))}">{name}</td><td class="value"><code>{escape(plain(settings[name]))}'
        f"</code> {escape(unit_of(name))}</td>"
        for name in names
    )


def plain(value: Any) -> str:
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
