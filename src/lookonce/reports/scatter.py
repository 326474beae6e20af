"""A scatter plot of object sizes and anchors, as an SVG file."""

from collections.abc import Mapping
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.reports.plots import BOTTOM, RIGHT, Axis, axes, frame, standalone, ticks
from lookonce.storage import os_errors_explained, write_file

Sizes = NDArray[np.float64]

SIDE = 480
TITLE = "Sizes of objects and anchors"
MOST_DOTS = 3000  # more dots only overlap


def write_scatter(path: Path, sizes_wh: Sizes, anchors_wh: Mapping[str, Sizes], image_size: int) -> None:
    """Writes the plot. sizes_wh (N, 2), anchors_wh name -> (A, 2): pixels of a network input of image_size."""
    with os_errors_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, standalone(scatter_chart(sizes_wh, anchors_wh, image_size), TITLE))


def scatter_chart(sizes_wh: Sizes, anchors_wh: Mapping[str, Sizes], image_size: int) -> str:
    """An SVG with a dot for each object, x its width and y its height, and a rectangle from the origin for each anchor.

    Both axes have square-root scales, which spread small objects. anchors_wh: name -> (A, 2).
    """
    largest = max(float(sizes_wh.max(initial=1)), *(float(anchors.max()) for anchors in anchors_wh.values()))
    high = min(largest * 1.05, image_size * 1.0) ** 0.5
    across, up = axes((0, high), high, width=SIDE, height=SIDE)
    step = max(1, -(-len(sizes_wh) // MOST_DOTS))
    parts = [
        f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="2" style="fill:var(--series-6,#64748b);fill-opacity:.35"/>'
        for x, y in np.sqrt(sizes_wh[::step]).tolist()
    ]
    for color, (name, anchors) in enumerate(anchors_wh.items(), start=1):
        parts += [_anchor(across, up, anchor, color, name) for anchor in np.asarray(anchors).tolist()]
        parts.append(_key(color, name))
    labels = [(root, f"{root * root:.0f}") for root in ticks(0, high, 6)]
    return frame(
        TITLE,
        "".join(parts),
        across,
        up,
        x_ticks=labels,
        y_ticks=labels,
        x_label="width, pixels of the network input",
        y_label="height, pixels of the network input",
    )


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
