"""HTML elements of the sections. Arguments are escaped here, except those named `html`, `rows` and `head`."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from html import escape
from typing import Any

from lookonce.log import command_here
from lookonce.reports.plots import Series, bar_chart, line_chart, series_color
from lookonce.shown import three_digits


def card(html: str, *, scroll: bool = False) -> str:
    """A framed block. scroll: content that is too wide scrolls horizontally within it."""
    return f'<div class="card{" scroll" if scroll else ""}">{html}</div>'


def table(rows: Iterable[str], *, head: str = "", kind: str = "") -> str:
    """rows: cells of each row; head: cells of the header row; kind: "sortable" or "matrix" (see page.css)."""
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    start = f"<thead><tr>{head}</tr></thead>" if head else ""
    return f"<table{f' class={kind}' if kind else ''}>{start}<tbody>{body}</tbody></table>"


def table_card(rows: Iterable[str], *, head: str = "", kind: str = "") -> str:
    return card(table(rows, head=head, kind=kind), scroll=True)


def heads(*names: str, words: Collection[str] = (), button: bool = False) -> str:
    """Cells of the header row: aligned to the right, but for the columns of `words`; button: a click sorts by one."""
    cells = (f'<button type="button">{escape(name)}</button>' if button else escape(name) for name in names)
    kinds = ("" if name in words else " class=number" for name in names)
    return "".join(f'<th scope="col"{kind}>{html}</th>' for kind, html in zip(kinds, cells, strict=True))


def cell(text: str) -> str:
    return f"<td>{escape(text)}</td>"


def number(html: str, value: float | None = None) -> str:
    """A cell that is aligned to the right; value: what the column is sorted by."""
    sorted_by = "" if value is None else f' data-value="{value}"'
    return f'<td class="number"{sorted_by}>{html}</td>'


def count(value: float | None) -> str:
    return number("–") if value is None else number(f"{value:,.0f}", value)


def fraction(value: float, *, meter: bool = False, interval: Mapping[str, float] | None = None) -> str:
    """value 0..1 with three digits, or a dash for -1. meter: adds a bar to a number; interval: adds low and high."""
    bar = f'<span class="meter"><i style="width:{100 * value:.0f}%"></i></span>' if meter and value >= 0 else ""
    digits = three_digits(value) if value >= 0 else "–"
    return number(f"{bar}{digits}{interval_note(value, interval)}", value)


def interval_note(value: float, interval: Mapping[str, float] | None) -> str:
    """The 95 % confidence interval in small type after a number; empty if unknown."""
    if interval is None or value < 0:
        return ""
    return f' <small class="interval">{interval["low"]:.3f}–{interval["high"]:.3f}</small>'


def interval_words(interval: Mapping[str, float] | None) -> str:
    """`0.450 to 0.550`; empty if unknown."""
    return f"{interval['low']:.3f} to {interval['high']:.3f}" if interval else ""


def tiles(shown: Iterable[tuple[str, str]]) -> str:
    """(value, HTML under it) of each tile."""
    body = "".join(f'<div class="card tile"><b>{escape(value)}</b><span>{html}</span></div>' for value, html in shown)
    return f'<div class="tiles">{body}</div>' if body else ""


def dot(color: int) -> str:
    """A dot in a colour of the series, 1, 2 ..."""
    return f'<i class="dot" style="background:{series_color(color)}"></i>'


def legend(entries: Iterable[tuple[str, int]]) -> str:
    """(name, number of the series color) of each line or bar."""
    items = (f'<li><i style="background:{series_color(color)}"></i>{escape(name)}</li>' for name, color in entries)
    return f'<ul class="legend">{"".join(items)}</ul>'


def command_block(commands: Sequence[str]) -> str:
    """Shell commands to copy, as they are typed here; empty if there are none."""
    return f"<pre>{escape(command_here(chr(10).join(commands)))}</pre>" if commands else ""


def chart_card(title: str, html: str, note: str = "") -> str:
    """A chart with its heading, and a line below it."""
    words = f'<p class="note">{escape(note)}</p>' if note else ""
    return card(f"<h3>{escape(title)}</h3>{html}{words}")


def line_card(title: str, series: Sequence[Series], note: str = "", *, named: bool = False, **axes: Any) -> str:
    """A line chart with its legend, which a single line gets if it is `named`; axes: as of `line_chart`."""
    names = [(line.name, line.color) for line in series if not line.thin]
    html = line_chart(title, series, **axes) + (legend(names) if named or len(names) > 1 else "")
    return chart_card(title, html, note)


def bar_card(
    title: str, labels: Sequence[str], series: Sequence[tuple[str, Sequence[float], int]], note: str = "", **axes: Any
) -> str:
    """A bar chart with its legend; labels, series, axes: as of `bar_chart`."""
    names = legend((name, color) for name, _, color in series)
    return chart_card(title, bar_chart(title, labels, series, **axes) + names, note)
