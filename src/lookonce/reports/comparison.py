"""Several runs on one page: scores with the p value of each difference, curves, classes, errors, settings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

from lookonce.reports import elements
from lookonce.reports.content import Content
from lookonce.reports.elements import (
    card,
    cell,
    count,
    dot,
    fraction,
    heads,
    interval_note,
    line_card,
    number,
    table_card,
)
from lookonce.reports.images import ComparedImage, figure, found_figure, truth_figure
from lookonce.reports.sections import DASHED, TWELVE, duration, line_series, plain
from lookonce.settings.schema import Settings, default_of
from lookonce.shown import three_digits

# Title, column of metrics.jsonl, label and top of the y axis.
CHARTS = (
    ("AP50 on the validation images", "AP50", "AP50, 0 to 1", 1.0),
    ("AP on the validation images", "AP", "AP, 0 to 1", 1.0),
    ("F1 on the validation images", "F1", "F1, 0 to 1", 1.0),
    ("Training loss, mean of each epoch", "loss", "loss", None),
    ("Validation loss", "val_loss", "loss", None),
    ("Learning rate at the end of each epoch", "lr", "learning rate", None),
)
# Settings that concern only the place, speed or output of a run.
NOT_COMPARED = {
    *("runs", "name", "run", "resume", "log_interval", "tensorboard", "page", "profile", "export_check"),
    *("workers", "cache_mb", "cpus_per_rank", "node_rank", "rdzv_endpoint", "rank_logs", "rank_timeout", "save_on"),
    *("max_restarts", "save_every", "save_steps", "keep"),
}
SIGNIFICANT_P = 0.05  # p value below which a difference counts as significant


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One of the runs. differences: AP and AP50 of this run minus those of the first, as from `eval --against` (with
    `difference`: value, low, high, and `p_value`); empty for the first, and if the two were not scored on the same
    images. parameters: of the network, with BatchNorm statistics; 0 if unknown."""

    name: str
    content: Content
    parameters: int = 0
    differences: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def tiles(runs: Sequence[Compared]) -> str:
    return elements.tiles(
        (three_digits(run.content.metrics.get("AP50", -1)), f"{dot(color)}AP50 of {escape(run.name)}")
        for color, run in enumerate(runs, start=1)
    )


def _run_heads(runs: Sequence[Compared], *first: str) -> str:
    """Header cells: words, then the name of each run."""
    return heads(*first, *(run.name for run in runs), words=first)


def scores(runs: Sequence[Compared]) -> str:
    """COCO's twelve metrics, the best of each row in bold; then the differences."""
    rows = []
    for name, words in TWELVE.items():
        values = [run.content.metrics.get(name, -1.0) for run in runs]
        if max(values) < 0:
            continue
        row, best = f'<td title="{escape(words)}">{name}</td>', max(values)
        for value, run in zip(values, runs, strict=True):
            shown, interval = three_digits(value), run.content.metrics.get("intervals", {}).get(name)
            shown = f"<b>{shown}</b>" if value == best > min(values) else shown
            row += number(shown + interval_note(value, interval))
        rows.append(row)
    if not rows:
        return "<p>None of the runs has been scored.</p>"
    return table_card(rows, head=_run_heads(runs, "")) + _differences(runs)


def _differences(runs: Sequence[Compared]) -> str:
    rows = []
    for run, name, known in ((one, *item) for one in runs for item in one.differences.items()):
        gap, p_value = known["difference"], known["p_value"]
        better = "better" if gap["value"] > 0 else "worse"
        verdict = better if p_value < SIGNIFICANT_P else "no significant difference"
        likely = f'<small class="interval">{gap["low"]:+.3f} to {gap["high"]:+.3f}</small>'
        numbers = number(f"{gap['value']:+.3f} {likely}") + number(f"{p_value:.3f}")
        rows.append(cell(run.name) + cell(name) + numbers + cell(verdict))
    if not rows:
        return ""
    head = heads("run", "metric", f"minus {runs[0].name}", "p", "result", words=["run", "metric", "result"])
    return (
        '<h3 class="above">Is the difference more than chance?</h3><p>Paired bootstrap: both runs are scored on the '
        f"same 1,000 resamples of the same images.</p>{table_card(rows, head=head)}"
    )


def curves(runs: Sequence[Compared]) -> str:
    charts = ""
    for title, column, y_label, y_high in CHARTS:
        series = [
            replace(line, name=run.name)
            for color, run in enumerate(runs, start=1)
            for line in line_series(run.content.run.rows, {column: color})
        ]
        if series:
            charts += line_card(title, series, named=True, y_label=y_label, y_high=y_high)
    return f'<div class="grid">{charts}</div>' if charts else ""


def classes(runs: Sequence[Compared]) -> str:
    per_class = [run.content.metrics.get("per_class", {}) for run in runs]
    names = list(dict.fromkeys(name for known in per_class for name in known))
    rows = [
        cell(name)
        + count(next((known[name].get("num_objects") for known in per_class if name in known), None))
        + "".join(fraction(known.get(name, {}).get("AP50", -1), meter=True) for known in per_class)
        for name in names
    ]
    head = heads("class", "objects", *(run.name for run in runs), words=["class"], button=True)
    return f"<p>AP50 of each class.</p>{table_card(rows, head=head, kind='sortable')}" if rows else ""


def error_costs(runs: Sequence[Compared]) -> str:
    """Points of AP50 that each error type costs each run."""
    known = [run.content.analysis.get("errors", {}) for run in runs]
    rows = []
    for kind in dict.fromkeys(kind for errors in known for kind in errors):
        costs = (
            f'{100 * errors[kind]["AP50"]:.1f} <small class="interval">{errors[kind]["count"]:,.0f}</small>'
            if kind in errors
            else "–"
            for errors in known
        )
        rows.append(cell(kind) + "".join(map(number, costs)))
    words = "<p>Points of AP50 (0 to 100) that repairing one error type alone would add; then the number of errors.</p>"
    return f"{words}{table_card(rows, head=_run_heads(runs, 'error'))}" if rows else ""


def networks(runs: Sequence[Compared]) -> str:
    sizes = [run.content.run.record.image_size[::-1] if run.content.run.record else () for run in runs]
    seconds = [sum(row.get("seconds", 0.0) for row in run.content.run.rows) for run in runs]
    lines = {
        "parameters and BatchNorm statistics": [f"{run.parameters:,}" if run.parameters else "–" for run in runs],
        "image size, pixels": ["×".join(map(str, size)) or "–" for size in sizes],
        "epochs trained": [str(len(run.content.run.rows)) for run in runs],
        "training time": list(map(duration, seconds)),
    }
    rows = [cell(name) + "".join(map(number, values)) for name, values in lines.items()]
    return table_card(rows, head=_run_heads(runs, ""))


def settings(runs: Sequence[Compared]) -> str:
    # Settings that the file of an older run lacks had their default values.
    known = [
        {name: default_of(name) for name in Settings.model_fields} | dict(run.content.run.settings) for run in runs
    ]
    names = [
        name
        for name in Settings.model_fields
        if name not in NOT_COMPARED and len({plain(values.get(name)) for values in known}) > 1
    ]
    if not names:
        return "<p>The runs have the same settings.</p>"
    rows = [
        cell(name)
        + "".join(f'<td class="value"><code>{escape(plain(values.get(name)))}</code></td>' for values in known)
        for name in names
    ]
    columns = ["setting", *(run.name for run in runs)]
    return table_card(rows, head=heads(*columns, words=columns))


def images(runs: Sequence[Compared]) -> str:
    """The same images for all runs: ground truth, then the predictions of each run."""
    first = runs[0].content
    if not first.images:
        return ""
    figures = "".join(card(_figure(runs, place, image)) for place, image in enumerate(first.images))
    shown = ", ".join(f"'{run.name}' from {run.content.shown_from} up" for run in runs)
    return (
        f"<p>First the ground truth, then the predictions: {escape(shown)}. {DASHED}</p>"
        f'<div class="stack" style="--columns:{1 + len(runs)}">{figures}</div>'
    )


def _figure(runs: Sequence[Compared], place: int, image: ComparedImage) -> str:
    """Ground truth, and the predictions of each run that has this image."""
    key = f"compared-{place}"
    parts = [truth_figure(image, runs[0].content.classes, key, "ground truth")]
    for run in runs:
        own = next((one for one in run.content.images if one.name == image.name), None)
        if own is not None:
            parts.append(found_figure(own, run.content.classes, key, run.name))
    return figure(f'<div class="two">{"".join(parts)}</div>', image.name)


# Heading, anchor and function of each section, in the order of the page; empty sections are omitted.
SECTIONS: tuple[tuple[str, str, Callable[[Sequence[Compared]], str]], ...] = (
    ("Scores", "scores", scores),
    ("Training", "training", curves),
    ("Classes", "classes", classes),
    ("Errors", "errors", error_costs),
    ("Images", "images", images),
    ("Networks", "networks", networks),
    ("Settings that differ", "settings", settings),
)
