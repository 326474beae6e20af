"""Small pieces of HTML that the sections are made of. Text is escaped here; what is called `html` is not."""

from collections.abc import Iterable
from html import escape


def card(html: str, *, scroll: bool = False) -> str:
    """A framed block; with scroll, what is too wide for a phone is moved sideways within it."""
    return f'<div class="card{" scroll" if scroll else ""}">{html}</div>'


def table(rows: Iterable[str], *, head: str = "", sortable: bool = False) -> str:
    """rows: cells of one line each; head: cells of the first line."""
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    start = f"<thead><tr>{head}</tr></thead>" if head else ""
    return f"<table{' class=sortable' if sortable else ''}>{start}<tbody>{body}</tbody></table>"


def legend(entries: Iterable[tuple[str, int]]) -> str:
    """(name, number of the series color) of each line or bar."""
    items = (f'<li><i style="background:var(--series-{color})"></i>{escape(name)}</li>' for name, color in entries)
    return f'<ul class="legend">{"".join(items)}</ul>'


def cell(text: str) -> str:
    return f"<td>{escape(text)}</td>"


def head_cell(text: str, *, number: bool, button: bool = False) -> str:
    """number: aligned right; button: a click sorts by this column."""
    html = f'<button type="button">{escape(text)}</button>' if button else escape(text)
    return f'<th scope="col"{" class=number" if number else ""}>{html}</th>'


def fraction(value: float, *, meter: bool = False) -> str:
    """Three digits, a dash for -1; meter: with a bar from 0 to 1."""
    shown = f"{value:.3f}" if value >= 0 else "–"
    bar = f'<span class="meter"><i style="width:{100 * max(value, 0):.0f}%"></i></span>' if meter else ""
    return f'<td class="number" data-value="{value}">{bar}{shown}</td>'


def count(value: float | None) -> str:
    if value is None:
        return '<td class="number">–</td>'
    return f'<td class="number" data-value="{value}">{value:,.0f}</td>'
