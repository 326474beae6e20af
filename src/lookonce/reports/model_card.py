"""The model card: a Markdown description of a detector with its scores, limits, data and training.

Source of the form: Mitchell et al. 2019, "Model Cards for Model Reporting".
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lookonce.reports.content import Content
from lookonce.reports.sections import TWELVE, num_empty
from lookonce.reports.summary import FEW_OBJECTS, sentences
from lookonce.storage import write_file


def write_model_card(path: Path, content: Content) -> Path:
    """Writes the card, replacing an existing one; returns `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, model_card(content))
    return path


def model_card(content: Content) -> str:
    """The card as Markdown."""
    parts = [f"# {content.title}", *_what(content), *_scores(content), *_limits(content), *_data(content)]
    parts += [*_training(content), *_again(content)]
    return "\n\n".join(parts) + "\n"


def _what(content: Content) -> Iterator[str]:
    record = content.run.record
    if record is None:
        yield "A training run that has no weights yet."
        return
    height, width = record.image_size
    names = ", ".join(_plain(name) for name in record.class_names)
    yield (
        f"YOLOv3-Tiny (dialect {record.dialect.name}), which detects {record.num_classes} "
        f"{'class' if record.num_classes == 1 else 'classes'} of objects in images: {names}."
    )
    yield _table(
        ("", ""),
        [
            ("input", f"{width}×{height} pixels, {record.preprocessing.resize}, {record.preprocessing.color_order}"),
            ("channels", ", ".join(map(str, record.channels))),
            ("anchors, pixels", "  ".join(f"{w:g}×{h:g}" for w, h in record.anchors)),
            ("confidence threshold", content.threshold),
            ("training data, SHA-256", record.data_hash or "unknown"),
            *record.versions.items(),
        ],
    )


def _scores(content: Content) -> Iterator[str]:
    yield "## Scores"
    yield "\n".join(f"- {_plain(sentence)}" for sentence in sentences(content))
    metrics = content.metrics
    if metrics.get("AP50", -1) < 0:
        return
    intervals = metrics.get("intervals", {})
    yield f"COCO's metric on {_plain(content.scored_on)}; a dash: there are no such objects."
    yield _table(
        ("", "", "value", "95 % interval"),
        [
            (name, words, _number(metrics[name]), _interval(intervals.get(name)))
            for name, words in TWELVE.items()
            if name in metrics
        ],
    )
    per_class = metrics.get("per_class", {})
    best, sure = metrics.get("best_thresholds", {}), metrics.get("class_intervals", {})
    if per_class:
        yield _table(
            ("class", "objects", "AP50", "95 % interval", "AP", "AR100", "best threshold (F1)"),
            [
                (
                    _plain(name),
                    f"{row['num_objects']:,}",
                    _number(row["AP50"]),
                    _interval(sure.get(name, {}).get("AP50")),
                    _number(row["AP"]),
                    _number(row["AR100"]),
                    _number(best.get(name, {}).get("threshold", -1.0)),
                )
                for name, row in per_class.items()
            ],
        )


def _limits(content: Content) -> Iterator[str]:
    """Known limits of the detector, from error types and groups."""
    analysis = content.analysis
    if not analysis:
        return
    yield "## Limits"
    yield _table(
        ("error at IoU 0.5", "count, all scores", "AP50 points lost"),
        [(kind, f"{error['count']:,}", f"{100 * error['AP50']:.1f}") for kind, error in analysis["errors"].items()],
    )
    groups = [
        (grouping["title"].lower(), group["name"], f"{group['num_objects']:,}", _number(group["AP50"]))
        for grouping in analysis["groups"].values()
        for group in grouping["groups"]
        if group["num_objects"] >= FEW_OBJECTS
    ]
    if groups:
        yield _table(("objects by", "", "count", "AP50"), groups)
    yield (
        "The scores hold for images like those described below. For another camera, light, distance or country, "
        "evaluate it on labelled images from there first."
    )


def _data(content: Content) -> Iterator[str]:
    if not content.datasets:
        return
    yield "## Data"
    names = content.datasets[0].class_names
    yield _table(
        ("split", "images", "without objects", "objects"),
        [(data.split, f"{len(data):,}", f"{num_empty(data):,}", f"{len(data.labels):,}") for data in content.datasets],
    )
    yield _table(
        ("objects of class", *(data.split for data in content.datasets)),
        [
            (_plain(name), *(f"{int((data.labels == label).sum()):,}" for data in content.datasets))
            for label, name in enumerate(names)
        ],
    )


def _training(content: Content) -> Iterator[str]:
    rows, settings = content.run.rows, content.run.settings
    if not rows:
        return
    yield "## Training"
    shown = ["recipe", "epochs", "batch_size", "optimizer", "lr", "schedule", "image_size", "width", "seed"]
    shown += [name for name in ("weights", "backbone_weights", "multi_scale") if settings.get(name)]
    minutes = sum(row.get("seconds", 0.0) for row in rows) / 60
    known = [(name, str(settings[name])) for name in shown if name in settings]
    yield _table(("setting", "value"), [*known, ("epochs done", str(len(rows))), ("minutes", f"{minutes:.1f}")])


def _again(content: Content) -> Iterator[str]:
    if content.commands:
        yield "## Reproduce"
        yield "```\n" + "\n".join(content.commands) + "\n```"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _number(value: float) -> str:
    return f"{value:.3f}" if value >= 0 else "–"


def _interval(interval: dict[str, float] | None) -> str:
    return f"{interval['low']:.3f} to {interval['high']:.3f}" if interval else ""


def _plain(text: str) -> str:
    """Text with Markdown's special characters escaped, also for tables."""
    for mark in "\\`*_[]<>|#":
        text = text.replace(mark, f"\\{mark}")
    return text
