"""A scatter plot of object sizes and anchors, as an SVG file."""

from collections.abc import Mapping
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.reports.plots import Series, axes, frame, series_color, standalone, ticks
from lookonce.storage import write_file

Sizes = NDArray[np.float64]

SIDE = 480
TITLE = "Sizes of objects and anchors"
MOST_DOTS = 3000  # more dots only overlap


def write_scatter(path: Path, sizes_wh: Sizes, anchors_wh: Mapping[str, Sizes], image_size: int) -> None:
    """Writes the plot. sizes_wh (N, 2), anchors_wh name -> (A, 2): pixels of a network input of image_size."""
    legend = [Series(name=name, points=(), color=2 - place) for place, name in enumerate(anchors_wh)]
    write_file(path, standalone(scatter_chart(sizes_wh, anchors_wh, image_size), TITLE, legend))


def scatter_chart(sizes_wh: Sizes, anchors_wh: Mapping[str, Sizes], image_size: int) -> str:
    """An SVG with a dot for each object, x its width and y its height, and a rectangle from the origin for each anchor.

    Both axes have square-root scales, which spread small objects. anchors_wh: name -> (A, 2).
    """
    largest = max(float(sizes_wh.max(initial=1)), *(float(anchors.max()) for anchors in anchors_wh.values()))
    high = max(largest, min(largest * 1.05, image_size)) ** 0.5  # anchors of other data may be larger than the image
    across, up = axes((0, high), high, width=SIDE, height=SIDE)
    step = max(1, -(-len(sizes_wh) // MOST_DOTS))
    parts = [
        f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="2" style="fill:var(--series-6);fill-opacity:.35"/>'
        for x, y in np.sqrt(sizes_wh[::step]).tolist()
    ]
    for place, (name, anchors) in enumerate(anchors_wh.items()):
        color, dash = series_color(2 - place), "" if place else "stroke-dasharray:5 4;"
        for width, height in np.asarray(anchors).tolist():
            x, y = across(width**0.5), up(height**0.5)
            parts.append(
                f'<path d="M{across(0):.1f} {y:.1f}H{x:.1f}V{up(0):.1f}" style="fill:none;{dash}stroke:{color}"/>'
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" style="fill:{color};stroke:var(--surface)">'
                f"<title>{escape(name)}: {width:g} x {height:g}</title></circle>"
            )
    labels = [(root, f"{root * root:.0f}") for root in ticks(0, high, 6)]
    x_label, y_label = (f"{side}, pixels of the network input" for side in ("width", "height"))
    body = "".join(parts)
    return frame(TITLE, body, across, up, x_ticks=labels, y_ticks=labels, x_label=x_label, y_label=y_label)
