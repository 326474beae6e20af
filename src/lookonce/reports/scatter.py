"""A scatter plot of object sizes and anchors, as an SVG file."""

from collections.abc import Mapping
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.reports.plots import Axis, standalone, ticks
from lookonce.storage import os_errors_explained, write_file

Sizes = NDArray[np.float64]

SIDE = 480
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 14, 44
MOST_DOTS = 3000  # more dots only overlap


def write_scatter(path: Path, sizes_wh: Sizes, anchors_wh: Mapping[str, Sizes], image_size: int) -> None:
    """Writes the plot. sizes_wh (N, 2), anchors_wh name -> (A, 2): pixels of a network input of image_size."""
    with os_errors_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, standalone(scatter_chart(sizes_wh, anchors_wh, image_size)))


def scatter_chart(sizes_wh: Sizes, anchors_wh: Mapping[str, Sizes], image_size: int) -> str:
    """An SVG with a dot for each object, x its width and y its height, and a rectangle from the origin for each anchor.

    Both axes have square-root scales, which spread small objects. anchors_wh: name -> (A, 2).
    """
    largest = max(float(sizes_wh.max(initial=1)), *(float(anchors.max()) for anchors in anchors_wh.values()))
    high = min(largest * 1.05, image_size * 1.0) ** 0.5
    across = Axis(low=0, high=high, start=LEFT, end=SIDE - RIGHT)
    up = Axis(low=0, high=high, start=SIDE - BOTTOM, end=TOP)
    step = max(1, -(-len(sizes_wh) // MOST_DOTS))
    parts = [_grid(across, up)]
    parts += [
        f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="2" style="fill:var(--series-6,#64748b);fill-opacity:.35"/>'
        for x, y in np.sqrt(sizes_wh[::step]).tolist()
    ]
    for color, (name, anchors) in enumerate(anchors_wh.items(), start=1):
        parts += [_anchor(across, up, anchor, color, name) for anchor in np.asarray(anchors).tolist()]
        parts.append(_key(color, name))
    return (
        f'<svg class="chart" viewBox="0 0 {SIDE} {SIDE}" role="img" aria-label="Sizes of objects and anchors" '
        f'font-family="system-ui,sans-serif" font-size="11.5">{"".join(parts)}</svg>'
    )


def _grid(across: Axis, up: Axis) -> str:
    parts = []
    for root in ticks(0, across.high, 6):
        value = f"{root * root:.0f}"
        x, y = across(root), up(root)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{SIDE - RIGHT}M{x:.1f} {TOP}V{SIDE - BOTTOM}" style="{_RULE}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" style="{_FAINT}">{value}</text>')
        parts.append(f'<text x="{x:.1f}" y="{SIDE - BOTTOM + 16}" text-anchor="middle" style="{_FAINT}">{value}</text>')
    middle = (LEFT + SIDE - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{SIDE - 6}" text-anchor="middle" style="{_FAINT}">width, pixels</text>')
    parts.append(
        f'<text x="12" y="{middle}" text-anchor="middle" transform="rotate(-90 12 {middle})" style="{_FAINT}">'
        "height, pixels</text>"
    )
    return "".join(parts)


_RULE = "stroke:var(--rule,#ddd)"
_FAINT = "fill:var(--faint,#667)"
_COLORS = {1: "var(--series-2,#d9622b)", 2: "var(--series-1,#2f6fde)"}


def _anchor(across: Axis, up: Axis, anchor: list[float], color: int, name: str) -> str:
    x, y = across(anchor[0] ** 0.5), up(anchor[1] ** 0.5)
    dash = "stroke-dasharray:5 4;" if color == 1 else ""
    return (
        f'<path d="M{across(0):.1f} {y:.1f}H{x:.1f}V{up(0):.1f}" style="fill:none;{dash}stroke:{_COLORS[color]}"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" style="fill:{_COLORS[color]};stroke:var(--surface,#fff)">'
        f"<title>{escape(name)}: {anchor[0]:g} x {anchor[1]:g}</title></circle>"
    )


def _key(color: int, name: str) -> str:
    y = SIDE - BOTTOM - 34 + 16 * color
    return (
        f'<circle cx="{SIDE - RIGHT - 74}" cy="{y - 4}" r="5" style="fill:{_COLORS[color]}"/>'
        f'<text x="{SIDE - RIGHT - 64}" y="{y}" style="fill:var(--ink,#1c2430)">{escape(name)}</text>'
    )
