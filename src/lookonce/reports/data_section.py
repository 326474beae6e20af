"""The section about the data: images, objects, classes and sizes of each split, and where the boxes are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lookonce.data.dataset import Dataset
from lookonce.reports.elements import bar_card, cell, chart_card, count, heads, number, table_card
from lookonce.reports.plots import Axis, axes, heat_map, ticks

SIZE_EDGES = (0, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512)  # pixels; 32 and 96 are COCO's limits
HEAT_CELLS = 25  # a side
HEAT_WIDTH, HEAT_HEIGHT = 480, 360  # pixels


def data_section(datasets: Sequence[Dataset]) -> str:
    """A row for each split, and the charts; empty without data."""
    if not datasets:
        return ""
    rows = []
    for data in datasets:
        sizes = object_sizes(data)
        median = number(f"{np.median(sizes):.0f} pixels" if len(sizes) else "–")
        rows.append(cell(data.split) + count(len(data)) + count(data.num_background) + count(len(sizes)) + median)
    head = heads("split", "images", "without objects", "objects", "median size", words=["split"])
    names = datasets[0].class_names
    counts = [
        (data.split, np.bincount(data.labels, minlength=len(names)).astype(float).tolist(), place)
        for place, data in enumerate(datasets, start=1)
    ]
    charts = bar_card("Objects of each class", names, counts, x_label="class", y_label="objects")
    charts += _size_chart(datasets) + _box_maps(datasets[0])
    return f'{table_card(rows, head=head)}<div class="grid below">{charts}</div>'


def object_sizes(dataset: Dataset) -> NDArray[np.float64]:
    """(M,) sqrt(width * height), in pixels of the image."""
    wh = dataset.boxes_xyxy[:, 2:] - dataset.boxes_xyxy[:, :2]
    return np.asarray(np.sqrt(wh[:, 0] * wh[:, 1]), np.float64)


def _size_chart(datasets: Sequence[Dataset]) -> str:
    """A histogram in percent, so that splits of different size can be compared."""
    largest = max((object_sizes(data).max(initial=0) for data in datasets), default=0)
    edges = [*(edge for edge in SIZE_EDGES if edge <= largest), np.inf]
    series = []
    for place, data in enumerate(datasets, start=1):
        counts, _ = np.histogram(object_sizes(data), bins=edges)
        series.append((data.split, (100 * counts / max(counts.sum(), 1)).tolist(), place))
    x_label, y_label = "√(width × height), pixels of the image", "objects, % of the split"
    labels = [f"{edge:g}+" for edge in edges[:-1]]
    return bar_card("Sizes of the objects", labels, series, x_label=x_label, y_label=y_label)


def _box_maps(dataset: Dataset) -> str:
    """Heat maps of the centres and of the widths and heights of the boxes, relative to their image."""
    if not len(dataset.labels):
        return ""
    image_wh = np.maximum(dataset.image_sizes_wh, 1)[dataset.image_rows]
    corners = dataset.boxes_xyxy.reshape(-1, 2, 2) / image_wh[:, None]  # (M, 2, 2) 0..1
    centers, sizes = corners.mean(axis=1), np.sqrt(np.clip(corners[:, 1] - corners[:, 0], 0, 1))
    across, up = axes((0, 1), 1, width=HEAT_WIDTH, height=HEAT_HEIGHT)
    down = Axis(low=0, high=1, start=up.end, end=up.start)
    even = [(part, f"{100 * part:g}") for part in ticks(0, 1)]
    roots = [(percent**0.5 / 10, f"{percent}") for percent in (1, 4, 16, 36, 64, 100)]
    charts = (
        ("Positions of the objects", centers, down, even, "centre, % of the image's {}"),
        ("Widths and heights of the objects", sizes, up, roots, "{}, % of the image, square-root scale"),
    )
    html = []
    for title, values, y_axis, labels, words in charts:
        counts, _, _ = np.histogram2d(values[:, 1], values[:, 0], bins=HEAT_CELLS, range=((0, 1), (0, 1)))
        names = {"x_label": words.format("width"), "y_label": words.format("height")}
        chart = heat_map(title, counts.astype(np.int64), across, y_axis, x_ticks=labels, y_ticks=labels, **names)
        note = f"Split '{dataset.split}', {len(values):,} boxes. The strongest colour: {int(counts.max()):,} in a cell."
        html.append(chart_card(title, chart, note))
    return "".join(html)
