"""Charts as SVG text: lines over epochs, and bars, in the colours of the surrounding page.

Every colour is a CSS variable with a fallback (`var(--series-1, ...)`), so one chart suits a light and a dark page;
`standalone` adds a style sheet for a chart in its own file.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 480, 250
LEFT, RIGHT, TOP, BOTTOM = 50, 12, 12, 38  # margins around the plotting area
NUM_SERIES_COLORS = 6
MOST_MARKS = 60

Format = Callable[[float], str]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line: points (x, y), x ascending; color 1..NUM_SERIES_COLORS."""

    name: str
    points: Sequence[tuple[float, float]]
    color: int


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
    x_label: str = "epoch",
    y_high: float | None = None,
    format_y: Format = short,
    named: bool = False,
    x_range: tuple[float, float] | None = None,
) -> str:
    """A line chart with y from 0. y_high: top of the y axis; default: 6 % above the largest value.

    named: the names of the lines are below the axis, for charts without a legend. x_range: ends of the x axis, for
    fractional x; default: the first to the last point, with ticks at whole numbers.
    """
    points = [point for line in series for point in line.points]
    highest = max((y for _, y in points if math.isfinite(y)), default=1.0)
    top = y_high or (highest * 1.06 if highest > 0 else 1.0)
    xs = [x for x, _ in points] or [0.0, 1.0]
    low, high = x_range or (min(xs), max(xs))
    across = Axis(low=low, high=high if high > low else low + 1, start=LEFT, end=WIDTH - RIGHT)
    up = Axis(low=0, high=top, start=HEIGHT - BOTTOM, end=TOP)
    x_ticks = [tick for tick in ticks(across.low, across.high, 6) if x_range is not None or tick == int(tick)]
    parts = [_grid(across, up, x_ticks, ticks(0, top), "" if named else x_label, format_y)]
    parts += [_line(line, across, up, format_y, x_label) for line in series]
    if named:
        parts += [_name(line, place) for place, line in enumerate(series)]
        parts.append(_text(WIDTH - RIGHT, HEIGHT - 4, x_label, anchor="end"))
    return _svg(title, "".join(parts))


def bar_chart(
    title: str,
    labels: Sequence[str],
    series: Sequence[tuple[str, Sequence[float], int]],
    *,
    x_label: str = "",
    format_y: Format = short,
) -> str:
    """Bars from 0, one group per label. series: (name, a height for each label, color)."""
    top = max((value for _, values, _ in series for value in values), default=0.0) * 1.06 or 1.0
    across = Axis(low=0, high=max(len(labels), 1), start=LEFT, end=WIDTH - RIGHT)
    up = Axis(low=0, high=top, start=HEIGHT - BOTTOM, end=TOP)
    parts = [_grid(across, up, [], ticks(0, top), x_label, format_y), _bar_labels(labels, across)]
    width = (across(1) - across(0)) * 0.76 / max(len(series), 1)
    for place, (name, values, color) in enumerate(series):
        for index, value in enumerate(values):
            x = across(index + 0.12) + place * width
            parts.append(
                f'<rect class="bar" x="{x:.1f}" y="{up(value):.1f}" width="{max(width - 1, 0.5):.1f}" '
                f'height="{up(0) - up(value):.1f}" rx="1.5" style="fill:{_color(color)}">'
                f"<title>{escape(labels[index])}, {escape(name)}: {format_y(value)}</title></rect>"
            )
    return _svg(title, "".join(parts))


def standalone(svg: str) -> str:
    """The chart as the content of an SVG file, readable on light and dark backgrounds."""
    style = f"<style>{LIGHT}@media (prefers-color-scheme: dark){{{DARK}}}</style>"
    opening, rest = svg.split(">", 1)
    return f'{opening} xmlns="http://www.w3.org/2000/svg">{style}{rest}\n'


# page.css has the same variables for the page; these are for standalone charts.
LIGHT = "svg{--ink:#1c2430;--faint:#5d6878;--rule:#dde2e9;--surface:#fff;background:#fff}"
DARK = "svg{--ink:#e7ebf1;--faint:#9aa6b6;--rule:#2d3644;--surface:#151a21;background:#151a21}"
_FALLBACKS = ("#2f6fde", "#d9622b", "#1f9d76", "#a54ec4", "#c79a12", "#64748b")


def _color(number: int) -> str:
    slot = (number - 1) % NUM_SERIES_COLORS
    return f"var(--series-{slot + 1},{_FALLBACKS[slot]})"


def _svg(title: str, body: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}" '
        f'font-family="system-ui,sans-serif" font-size="11.5"><title>{escape(title)}</title>{body}</svg>'
    )


def _grid(
    across: Axis, up: Axis, x_ticks: Sequence[float], y_ticks: Sequence[float], x_label: str, format_y: Format
) -> str:
    parts = []
    for tick in y_ticks:
        y = up(tick)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" style="stroke:var(--rule,#ddd)"/>')
        parts.append(_text(LEFT - 6, y + 3.5, format_y(tick), anchor="end"))
    parts += [_text(across(tick), HEIGHT - BOTTOM + 16, f"{tick:g}", anchor="middle") for tick in x_ticks]
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, x_label, anchor="middle"))
    return "".join(parts)


def _line(series: Series, across: Axis, up: Axis, format_y: Format, x_label: str) -> str:
    places = [(across(x), up(min(y, up.high)), x, y) for x, y in series.points if math.isfinite(y)]
    path = "L".join(f"{x:.1f} {y:.1f}" for x, y, _, _ in places)
    color = _color(series.color)
    parts = (
        [f'<path d="M{path}" style="fill:none;stroke:{color};stroke-width:2;stroke-linejoin:round"/>'] if path else []
    )
    radius = 2.5 if len(places) <= 40 else 1.5
    every = max(1, len(places) // MOST_MARKS)  # hovering over a mark shows its value
    for x, y, epoch, value in places[::every]:
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" style="fill:{color}"/>'
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" fill="transparent"><title>{escape(series.name)}, '
            f"{escape(x_label)} {epoch:g}: {format_y(value)}</title></circle>"
        )
    return "".join(parts)


def _name(series: Series, place: int) -> str:
    """One name in the row below the axis, where it overlaps no line."""
    x, y = LEFT + 92 * place, HEIGHT - 4
    mark = f'<rect x="{x}" y="{y - 8}" width="9" height="9" rx="2" style="fill:{_color(series.color)}"/>'
    return mark + _text(x + 15, y, series.name, anchor="start")


def _bar_labels(labels: Sequence[str], across: Axis) -> str:
    """Every label, or every n-th if they would overlap."""
    room = (across(1) - across(0)) / 5.6  # in letters, which are about 5.6 wide
    longest = max((len(label) for label in labels), default=1)
    every = max(1, math.ceil((min(longest, 10) + 1) / room))
    return "".join(
        _text(
            across(index + 0.5), HEIGHT - BOTTOM + 15, label if len(label) <= 10 else label[:9] + "…", anchor="middle"
        )
        for index, label in enumerate(labels)
        if index % every == 0
    )


def _text(x: float, y: float, text: str, *, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" style="fill:var(--faint,#667)">{escape(text)}</text>'
