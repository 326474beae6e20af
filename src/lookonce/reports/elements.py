"""HTML elements of the sections. Arguments are escaped here, except those named `html`, `svg`, `rows` and `head`."""

from collections.abc import Iterable, Mapping
from html import escape


def card(html: str, *, scroll: bool = False) -> str:
    """A framed block. scroll: content that is too wide scrolls horizontally within it."""
    return f'<div class="card{" scroll" if scroll else ""}">{html}</div>'


def table(rows: Iterable[str], *, head: str = "", kind: str = "") -> str:
    """rows: cells of each row; head: cells of the header row; kind: "sortable" or "matrix" (see page.css)."""
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    start = f"<thead><tr>{head}</tr></thead>" if head else ""
    return f"<table{f' class={kind}' if kind else ''}>{start}<tbody>{body}</tbody></table>"


def legend(entries: Iterable[tuple[str, int]]) -> str:
    """(name, number of the series color) of each line or bar."""
    items = (f'<li><i style="background:var(--series-{color})"></i>{escape(name)}</li>' for name, color in entries)
    return f'<ul class="legend">{"".join(items)}</ul>'


def cell(text: str) -> str:
    return f"<td>{escape(text)}</td>"


def head_cell(text: str, *, number: bool, button: bool = False) -> str:
    """number: align right; button: a click sorts by this column."""
    html = f'<button type="button">{escape(text)}</button>' if button else escape(text)
    return f'<th scope="col"{" class=number" if number else ""}>{html}</th>'


def fraction(value: float, *, meter: bool = False, interval: Mapping[str, float] | None = None) -> str:
    """value 0..1 with three digits, or a dash for -1. meter: adds a bar from 0 to 1; interval: adds low and high."""
    bar = f'<span class="meter"><i style="width:{100 * max(value, 0):.0f}%"></i></span>' if meter else ""
    return f'<td class="number" data-value="{value}">{bar}{three_digits(value)}{interval_note(value, interval)}</td>'


def three_digits(value: float) -> str:
    return f"{value:.3f}" if value >= 0 else "–"


def interval_note(value: float, interval: Mapping[str, float] | None) -> str:
    """The 95 % confidence interval in small type after a number; empty if unknown."""
    if interval is None or value < 0:
        return ""
    return f' <small class="interval">{interval["low"]:.3f}–{interval["high"]:.3f}</small>'


def count(value: float | None) -> str:
    if value is None:
        return '<td class="number">–</td>'
    return f'<td class="number" data-value="{value}">{value:,.0f}</td>'


def sortable_head(names: Iterable[str], *, text: str) -> str:
    """Cells of the header row, each a button that sorts; `text` is the column of words."""
    return "".join(head_cell(name, number=name != text, button=True) for name in names)


def chart_card(title: str, svg: str, *, names: str = "", note: str = "") -> str:
    """A chart with its heading, the legend `names` and the line `note`."""
    words = f'<p class="note">{escape(note)}</p>' if note else ""
    return card(f"<h3>{escape(title)}</h3>{svg}{names}{words}")
