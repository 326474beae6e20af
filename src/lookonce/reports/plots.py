"""Charts as SVG text: lines, bars and heat maps in the colours of the surrounding page. `frame` draws all axes.

Every colour is a CSS variable of page.css, so one chart suits a light and a dark page; `standalone` adds these
variables to a chart in its own file.
"""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 480, 250
LEFT, RIGHT, TOP, BOTTOM = 62, 12, 12, 42  # margins around the plotting area
NUM_SERIES_COLORS = 6
MOST_MARKS = 25
HEAT_LEVELS = 8
LETTER = 5.6  # mean width in pixels
DIGIT = 8.5  # width in pixels in the larger letters of a narrow page

Format = Callable[[float], str]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line: points (x, y), x ascending; color 1, 2 ..., as of `series_color`; thin: one of many, without marks."""

    name: str
    points: Sequence[tuple[float, float]]
    color: int
    thin: bool = False


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Maps values low..high to pixels start..end; with end < start the axis points up."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def short(value: float) -> str:
    """At most three significant digits below 1,000: 0.0123, 1.5, 12, 1,200."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) < 1e-3:
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{value:.3g}"


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """At most `most` + 1 round numbers that lie within low..high, low < high."""
    rough = (high - low) / most
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * magnitude for factor in (1, 2, 2.5, 5, 10) if factor * magnitude >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    y_label: str,
    x_label: str = "epoch",
    y_high: float | None = None,
    format_y: Format = short,
    x_range: tuple[float, float] | None = None,
) -> str:
    """A line chart with y from 0. y_high: top of the y axis; default: 6 % above the largest value.

    x_range: ends of the x axis, for fractional x; default: the first to the last point, with ticks at whole numbers.
    """
    points = [point for line in series for point in line.points]
    highest = max((y for _, y in points if math.isfinite(y)), default=1.0)
    top = y_high or (highest * 1.06 if highest > 0 else 1.0)
    xs = [x for x, _ in points] or [0.0, 1.0]
    low, high = x_range or (min(xs), max(xs))
    if high <= low:  # one point, which stands in the middle
        low, high = low - 0.5, high + 0.5
    across, up = axes((low, high), top)
    x_ticks = [tick for tick in ticks(across.low, across.high, 6) if x_range is not None or tick == int(tick)]
    lines = "".join(_line(line, across, up, format_y, x_label) for line in series)
    return frame(
        title,
        lines,
        across,
        up,
        x_ticks=[(tick, f"{tick:g}") for tick in x_ticks],
        y_ticks=[(tick, format_y(tick)) for tick in ticks(0, top)],
        x_label=x_label,
        y_label=y_label,
    )


def bar_chart(
    title: str,
    labels: Sequence[str],
    series: Sequence[tuple[str, Sequence[float], int]],
    *,
    x_label: str,
    y_label: str,
    format_y: Format = short,
) -> str:
    """Bars from 0, one group per label. series: (name, a height for each label, color)."""
    top = max((value for _, values, _ in series for value in values), default=0.0) * 1.06 or 1.0
    across, up = axes((0, max(len(labels), 1)), top)
    parts = []
    width = (across(1) - across(0)) * 0.76 / max(len(series), 1)
    shown = [label if len(label) <= 10 else label[:9] + "…" for label in labels]
    room, letters = across(1) - across(0), max(map(len, shown), default=1) + 1  # labels must not overlap
    every, every_narrow = (max(1, math.ceil(letters * width / room)) for width in (LETTER, DIGIT))
    for place, (name, values, color) in enumerate(series):
        for index, value in enumerate(values):
            x = across(index + 0.12) + place * width
            parts.append(
                f'<rect class="bar" x="{x:.1f}" y="{up(value):.1f}" width="{max(width - 1, 0.5):.1f}" '
                f'height="{up(0) - up(value):.1f}" rx="1.5" style="fill:{series_color(color)}">'
                f"<title>{escape(labels[index])}, {escape(name)}: {format_y(value)}</title></rect>"
            )
    return frame(
        title,
        "".join(parts),
        across,
        up,
        x_ticks=[(index + 0.5, label) for index, label in enumerate(shown) if index % every == 0],
        y_ticks=[(tick, format_y(tick)) for tick in ticks(0, top)],
        x_label=x_label,
        y_label=y_label,
        lines_at_x=False,
        every_narrow=-(-every_narrow // every),
    )


def heat_map(title: str, counts: NDArray[np.int64], across: Axis, up: Axis, **labels: Any) -> str:
    """counts (R, C) of equal cells between the ends of the axes, first row at `up.low`; labels: as of `frame`.

    The darkest of HEAT_LEVELS colours is the largest count, the steps follow the square root; 0 has no colour.
    """
    levels = np.ceil(HEAT_LEVELS * np.sqrt(counts / max(counts.max(initial=0), 1))).astype(int)
    height, width = (up.end - up.start) / counts.shape[0], (across.end - across.start) / counts.shape[1]
    parts = []
    for level in np.unique(levels[levels > 0]).tolist():
        cells = "".join(
            f"M{across.start + column * width:.1f} {up.start + row * height:.1f}h{width:.1f}v{height:.1f}h{-width:.1f}z"
            for row, column in np.argwhere(levels == level).tolist()
        )
        parts.append(f'<path d="{cells}" style="fill:{series_color(1)};fill-opacity:{level / HEAT_LEVELS:.2f}"/>')
    return frame(title, "".join(parts), across, up, **labels)


def axes(
    x_range: tuple[float, float], y_high: float, *, width: float = WIDTH, height: float = HEIGHT
) -> tuple[Axis, Axis]:
    """The x axis, and the y axis from 0 up, of a chart of that size in pixels with room for ticks and labels."""
    across = Axis(low=x_range[0], high=x_range[1], start=LEFT, end=width - RIGHT)
    return across, Axis(low=0, high=y_high, start=height - BOTTOM, end=TOP)


def frame(
    title: str,
    body: str,
    across: Axis,
    up: Axis,
    *,
    x_ticks: Sequence[tuple[float, str]],
    y_ticks: Sequence[tuple[float, str]],
    x_label: str,
    y_label: str,
    lines_at_x: bool = True,
    every_narrow: int = 1,
) -> str:
    """The SVG of any chart: grid, ticks (value, text) and axis labels around `body`. Labels name the unit.

    lines_at_x: vertical lines at the ticks of the x axis. every_narrow: a narrow page shows each so many-th text of it.
    """
    bottom, top = max(up.start, up.end), min(up.start, up.end)
    width, height = across.end + RIGHT, bottom + BOTTOM
    parts = []
    for value, text in y_ticks:
        parts.append(f'<path d="M{across.start} {up(value):.1f}H{across.end}" style="{_RULE}"/>')
        parts.append(_text(across.start - 6, up(value) + 3.5, text, anchor="end"))
    for place, (value, text) in enumerate(x_ticks):
        if lines_at_x:
            parts.append(f'<path d="M{across(value):.1f} {top}V{bottom}" style="{_RULE}"/>')
        kind = "wide" if place % every_narrow else ""
        parts.append(_text(across(value), bottom + 16, text, anchor="middle", kind=kind))
    middle = (top + bottom) / 2
    parts.append(_text((across.start + across.end) / 2, height - 5, x_label, anchor="middle"))
    left = max([0.0, *(DIGIT * len(text) - across.start + 24 for _, text in y_ticks)])  # more room for long numbers
    width += max([0.0, *(across(value) + DIGIT * len(text) / 2 - width for value, text in x_ticks)])
    parts.append(_text(13 - left, middle, y_label, anchor="middle", turned=True))
    return (
        f'<svg class="chart" viewBox="{0 - left:g} 0 {width + left:g} {height:g}" role="img" '
        f'aria-label="{escape(title)}" font-family="system-ui,sans-serif" font-size="11.5">'
        f"<title>{escape(title)}</title>{''.join(parts)}{body}</svg>"
    )


def standalone(svg: str, title: str, series: Sequence[Series] = ()) -> str:
    """A chart as the content of an SVG file, with its title and legend, readable on light and dark backgrounds."""
    box = svg.split('viewBox="', 1)[1].split('"', 1)[0]
    left, _, width, height = map(float, box.split())
    head = 44 if len(series) > 1 else 24
    parts = [f'<text x="{LEFT}" y="{16 - head}" font-weight="600" style="fill:var(--ink)">{escape(title)}</text>']
    x = float(LEFT)
    for line in series if len(series) > 1 else ():
        parts.append(f'<rect x="{x:.1f}" y="-18" width="9" height="9" rx="2" style="fill:{series_color(line.color)}"/>')
        parts.append(_text(x + 14, -9.5, line.name, anchor="start"))
        x += 32 + LETTER * len(line.name)
    css = (resources.files("lookonce.reports") / "page.css").read_text(encoding="utf-8")
    light, dark = ("".join(re.findall(r"--[\w-]+:[^;]+;", block)) for block in re.findall(r":root {([^}]*)}", css))
    style = (
        f"<style>svg{{{light}background:var(--surface)}}@media (prefers-color-scheme: dark){{svg{{{dark}}}}}</style>"
    )
    opening, rest = svg.split(">", 1)
    opening = opening.replace(box, f"{left:g} {-head} {width:g} {height + head:g}", 1)
    return f'{opening} xmlns="http://www.w3.org/2000/svg">{style}{"".join(parts)}{rest}\n'


def series_color(number: int) -> str:
    return f"var(--series-{(number - 1) % NUM_SERIES_COLORS + 1})"


_RULE = "stroke:var(--rule)"


def _line(series: Series, across: Axis, up: Axis, format_y: Format, x_label: str) -> str:
    places = [(across(x), up(min(y, up.high)), x, y) for x, y in series.points if math.isfinite(y)]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y in _corners([(x, y) for x, y, _, _ in places]))
    color = series_color(series.color)
    if not path:
        return ""
    if series.thin:
        style = f"fill:none;stroke:{color};stroke-opacity:.45"
        return f'<path d="M{path}" style="{style}"><title>{escape(series.name)}</title></path>'
    parts = [f'<path d="M{path}" style="fill:none;stroke:{color};stroke-width:2;stroke-linejoin:round"/>']
    radius = 2.5 if len(places) <= 40 else 1.5
    every = math.ceil(len(places) / MOST_MARKS)  # hovering over a mark shows its value
    for x, y, epoch, value in places[::every]:
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" style="fill:{color}"/>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" fill="transparent"><title>{escape(series.name)}, '
            f"{escape(x_label)} {epoch:g}: {format_y(value)}</title></circle>"
        )
    return "".join(parts)


def _corners(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points without those inside a level stretch, which add nothing to a line."""
    last = len(points) - 1
    return [
        (x, y)
        for place, (x, y) in enumerate(points)
        if place in (0, last) or not points[place - 1][1] == y == points[place + 1][1]
    ]


def _text(x: float, y: float, text: str, *, anchor: str, turned: bool = False, kind: str = "") -> str:
    """kind: "wide" for a text that only a wide page shows (see page.css)."""
    turn = f' transform="rotate(-90 {x:.1f} {y:.1f})"' if turned else ""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{turn}'
    place += f' class="{kind}"' if kind else ""
    return f'<text {place} style="fill:var(--faint)">{escape(text)}</text>'
