"""Several runs on one page: scores with the p value of each difference, curves, classes, errors, settings."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from lookonce.reports.content import Content
from lookonce.reports.elements import (
    card,
    cell,
    chart_card,
    count,
    fraction,
    head_cell,
    interval_note,
    legend,
    sortable_head,
    table,
    three_digits,
)
from lookonce.reports.images import ComparedImage, found_figure, truth_figure
from lookonce.reports.plots import Series, line_chart
from lookonce.reports.sections import DASHED, TWELVE, duration, line_series, plain
from lookonce.settings.schema import Settings, default_of

# Title, column of metrics.jsonl, label and top of the y axis.
CHARTS = (
    ("AP50 on the validation images", "AP50", "AP50, 0 to 1", 1.0),
    ("AP on the validation images", "AP", "AP, 0 to 1", 1.0),
    ("F1 on the validation images", "F1", "F1, 0 to 1", 1.0),
    ("Training loss, mean of each epoch", "loss", "loss", None),
    ("Validation loss", "val_loss", "loss", None),
    ("Learning rate at the end of each epoch", "lr", "learning rate", None),
)
# Settings that concern only the location or speed of a run.
NOT_COMPARED = {"runs", "name", "workers", "cache_mb", "log_interval", "resume"}
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
    """A tile with the AP50 of each run."""
    cells = []
    for place, run in enumerate(runs):
        value = three_digits(run.content.metrics.get("AP50", -1))
        mark = f'<i class="dot" style="background:var(--series-{series_color(place)})"></i>'
        cells.append(f'<div class="card tile"><b>{value}</b><span>{mark}AP50 of {escape(run.name)}</span></div>')
    return f'<div class="tiles">{"".join(cells)}</div>'


def scores(runs: Sequence[Compared]) -> str:
    """COCO's twelve metrics, the best of each row in bold; then the differences."""
    head = head_cell("", number=False) + "".join(head_cell(run.name, number=True) for run in runs)
    rows = []
    for name, words in TWELVE.items():
        values = [run.content.metrics.get(name, -1.0) for run in runs]
        if max(values) < 0:
            continue
        best = max(values)
        cells = "".join(
            _score(value, run.content.metrics.get("intervals", {}).get(name), best=value == best > min(values))
            for value, run in zip(values, runs, strict=True)
        )
        rows.append(f'<td title="{escape(words)}">{name}</td>{cells}')
    if not rows:
        return "<p>None of the runs has been scored.</p>"
    return card(table(rows, head=head), scroll=True) + _differences(runs)


def _score(value: float, interval: Mapping[str, float] | None, *, best: bool) -> str:
    shown = f"<b>{three_digits(value)}</b>" if best else three_digits(value)
    return f'<td class="number">{shown}{interval_note(value, interval)}</td>'


def _differences(runs: Sequence[Compared]) -> str:
    rows = [cell(run.name) + cell(name) + _difference(known) for run in runs for name, known in run.differences.items()]
    if not rows:
        return ""
    heads = ("run", "metric", f"minus {runs[0].name}", "p", "result")
    head = "".join(head_cell(name, number=name not in ("run", "metric", "result")) for name in heads)
    return (
        '<h3 class="above">Is the difference more than chance?</h3><p>Paired bootstrap: both runs are scored on the '
        f"same 1,000 resamples of the same images.</p>{card(table(rows, head=head), scroll=True)}"
    )


def _difference(known: Mapping[str, Any]) -> str:
    gap, p_value = known["difference"], known["p_value"]
    better = "better" if gap["value"] > 0 else "worse"
    verdict = better if p_value < SIGNIFICANT_P else "no significant difference"
    likely = f'<small class="interval">{gap["low"]:+.3f} to {gap["high"]:+.3f}</small>'
    return f'<td class="number">{gap["value"]:+.3f} {likely}</td><td class="number">{p_value:.3f}</td>{cell(verdict)}'


def curves(runs: Sequence[Compared]) -> str:
    """The charts, with one line for each run."""
    charts = []
    for title, column, y_label, y_high in CHARTS:
        series = [_line(run, column, place) for place, run in enumerate(runs)]
        series = [line for line in series if line.points]
        if series:
            names = legend((line.name, line.color) for line in series)
            chart = line_chart(title, series, y_label=y_label, y_high=y_high)
            charts.append(chart_card(title, chart, names=names))
    return f'<div class="grid">{"".join(charts)}</div>' if charts else ""


def _line(run: Compared, column: str, place: int) -> Series:
    lines = line_series(run.content.run.rows, {column: series_color(place)})
    return Series(name=run.name, points=lines[0].points if lines else [], color=series_color(place))


def series_color(place: int) -> int:
    return place % 6 + 1


def classes(runs: Sequence[Compared]) -> str:
    """The AP50 of each class in each run, as a sortable table."""
    per_class = [run.content.metrics.get("per_class", {}) for run in runs]
    names = list(dict.fromkeys(name for known in per_class for name in known))
    rows = [
        cell(name)
        + count(next((known[name].get("num_objects") for known in per_class if name in known), None))
        + "".join(fraction(known.get(name, {}).get("AP50", -1), meter=True) for known in per_class)
        for name in names
    ]
    head = sortable_head(("class", "objects", *(run.name for run in runs)), text="class")
    return f"<p>AP50 of each class.</p>{card(table(rows, head=head, kind='sortable'), scroll=True)}" if rows else ""


def error_costs(runs: Sequence[Compared]) -> str:
    """Points of AP50 that each error type costs each run."""
    known = [run.content.analysis.get("errors", {}) for run in runs]
    kinds = list(dict.fromkeys(kind for errors in known for kind in errors))
    head = head_cell("error", number=False) + "".join(head_cell(run.name, number=True) for run in runs)
    rows = [cell(kind) + "".join(_cost(errors.get(kind)) for errors in known) for kind in kinds]
    words = "<p>Points of AP50 (0 to 100) that repairing one error type alone would add; then the number of errors.</p>"
    return f"{words}{card(table(rows, head=head), scroll=True)}" if rows else ""


def _cost(error: Mapping[str, float] | None) -> str:
    if error is None:
        return '<td class="number">–</td>'
    return f'<td class="number">{100 * error["AP50"]:.1f} <small class="interval">{error["count"]:,.0f}</small></td>'


def networks(runs: Sequence[Compared]) -> str:
    """Parameters, image size, epochs and training time."""
    head = head_cell("", number=False) + "".join(head_cell(run.name, number=True) for run in runs)
    lines: tuple[tuple[str, Callable[[Compared], str]], ...] = (
        ("parameters and BatchNorm statistics", lambda run: f"{run.parameters:,}" if run.parameters else "–"),
        ("image size, pixels", _input_size),
        ("epochs trained", lambda run: str(len(run.content.run.rows))),
        ("training time", lambda run: duration(sum(row.get("seconds", 0.0) for row in run.content.run.rows))),
    )
    rows = [cell(name) + "".join(f'<td class="number">{make(run)}</td>' for run in runs) for name, make in lines]
    return card(table(rows, head=head), scroll=True)


def _input_size(run: Compared) -> str:
    record = run.content.run.record
    return f"{record.image_size[1]}×{record.image_size[0]}" if record is not None else "–"


def settings(runs: Sequence[Compared]) -> str:
    """The settings in which the runs differ."""
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
    head = head_cell("setting", number=False) + "".join(head_cell(run.name, number=False) for run in runs)
    rows = [
        cell(name)
        + "".join(f'<td class="value"><code>{escape(plain(values.get(name)))}</code></td>' for values in known)
        for name in names
    ]
    return card(table(rows, head=head), scroll=True)


def images(runs: Sequence[Compared]) -> str:
    """The same images for all runs: ground truth, then the predictions of each run."""
    first = runs[0].content
    if not first.images:
        return ""
    figures = []
    for place, image in enumerate(first.images):
        figures.append(card(_figure(runs, place, image)))
    shown = ", ".join(f"'{run.name}' from {run.content.shown_from} up" for run in runs)
    return (
        f"<p>First the ground truth, then the predictions: {escape(shown)}. {DASHED}</p>"
        f'<div class="stack" style="--columns:{1 + len(runs)}">{"".join(figures)}</div>'
    )


def _figure(runs: Sequence[Compared], place: int, image: ComparedImage) -> str:
    """Ground truth, and the predictions of each run that has this image."""
    key = f"compared-{place}"
    parts = [truth_figure(image, runs[0].content.classes, key, "ground truth")]
    for run in runs:
        own = next((one for one in run.content.images if one.name == image.name), None)
        if own is not None:
            parts.append(found_figure(own, run.content.classes, key, run.name))
    return (
        f'<figure class="pair"><div class="two">{"".join(parts)}</div>'
        f"<figcaption><code>{escape(image.name)}</code></figcaption></figure>"
    )


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
