"""The model card: a Markdown description of a detector with its scores, limits, data and training.

Source of the form: Mitchell et al. 2019, "Model Cards for Model Reporting".
"""

from collections.abc import Iterator, Sequence

from lookonce.reports.content import Content, described
from lookonce.reports.elements import interval_words
from lookonce.reports.sections import TWELVE
from lookonce.reports.summary import FEW_OBJECTS, sentences
from lookonce.settings.names import counted
from lookonce.shown import three_digits


def model_card(content: Content) -> str:
    sections = (_what, _scores, _limits, _data, _training)
    parts = [f"# {content.title}", *(part for section in sections for part in section(content))]
    if content.commands:
        parts += ["## Reproduce", "```\n" + "\n".join(content.commands) + "\n```"]
    return "\n\n".join(parts) + "\n"


def _what(content: Content) -> Iterator[str]:
    record = content.run.record
    if record is None:
        yield "A training run that has no weights yet."
        return
    yield (
        f"YOLOv3-Tiny (dialect {record.dialect.name}), which detects {counted(record.num_classes, 'class')} of objects "
        f"in images: {', '.join(map(_plain, record.class_names))}."
    )
    yield _table(("", ""), [("confidence threshold", content.threshold), *described(record).items()])


def _scores(content: Content) -> Iterator[str]:
    yield "## Scores"
    yield "\n".join(f"- {_plain(sentence)}" for sentence in sentences(content))
    metrics = content.metrics
    if metrics.get("AP50", -1) < 0:
        return
    intervals = metrics.get("intervals", {})
    yield f"COCO's metric on {_plain(content.scored_on)}; a dash: there are no such objects."
    known = {name: words for name, words in TWELVE.items() if name in metrics}
    rows = [
        (name, words, three_digits(metrics[name]), interval_words(intervals.get(name))) for name, words in known.items()
    ]
    yield _table(("", "", "value", "95 % interval"), rows)
    best, sure = metrics.get("best_thresholds", {}), metrics.get("class_intervals", {})
    of_classes = []
    for name, row in metrics.get("per_class", {}).items():
        fractions = (row["AP"], row["AR100"], best.get(name, {}).get("threshold", -1.0))
        interval = interval_words(sure.get(name, {}).get("AP50"))
        start = (_plain(name), f"{row['num_objects']:,}", three_digits(row["AP50"]), interval)
        of_classes.append((*start, *map(three_digits, fractions)))
    if of_classes:
        yield _table(("class", "objects", "AP50", "95 % interval", "AP", "AR100", "best threshold (F1)"), of_classes)


def _limits(content: Content) -> Iterator[str]:
    analysis = content.analysis
    if not analysis:
        return
    yield "## Limits"
    yield _table(
        ("error at IoU 0.5", "count, all scores", "AP50 points lost"),
        [(kind, f"{error['count']:,}", f"{100 * error['AP50']:.1f}") for kind, error in analysis["errors"].items()],
    )
    groups = [
        (grouping["title"].lower(), group["name"], f"{group['num_objects']:,}", three_digits(group["AP50"]))
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
    datasets = content.datasets
    if not datasets:
        return
    yield "## Data"
    counts = [(one.split, *(f"{n:,}" for n in (len(one), one.num_background, len(one.labels)))) for one in datasets]
    yield _table(("split", "images", "without objects", "objects"), counts)
    rows = [
        (_plain(name), *(f"{int((one.labels == label).sum()):,}" for one in datasets))
        for label, name in enumerate(datasets[0].class_names)
    ]
    yield _table(("objects of class", *(one.split for one in datasets)), rows)


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


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _plain(text: str) -> str:
    """Text with Markdown's special characters escaped, also for tables."""
    for mark in "\\`*_[]<>|#":
        text = text.replace(mark, f"\\{mark}")
    return text
