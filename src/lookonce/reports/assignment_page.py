"""A sheet of images that shows which predictions each object is assigned to, and the anchors at their true size."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.colors import Color
from lookonce.data.loader import Batch
from lookonce.letterbox import ImageArray
from lookonce.reports.sheets import GAP, GROUND, INK, arranged
from lookonce.settings.names import counted

# RGB, one per anchor, smallest first; distinct on microscope images as well as on streets.
COLORS: tuple[Color, ...] = (
    (255, 225, 25),
    (245, 130, 48),
    (0, 200, 255),
    (230, 60, 200),
    (60, 220, 90),
    (120, 110, 255),
)
UNANSWERED: Color = (255, 70, 70)
RIM: Color = (20, 20, 20)
LEGEND_WIDTH = 330
LARGEST_ANCHOR = 110  # pixels in the legend
SMALLEST_SIDE = 480  # images are enlarged to at least this, so that marks fit into the cells
FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, kw_only=True)
class Head:
    """The assignment of one head. assigned (B, H, W, A): row of the assigned ground truth among the boxes of the image,
    -1 for none; anchors_wh (A, 2) pixels of the network input; mask (A,): indices of these anchors among all anchors,
    smallest first."""

    stride: int
    anchors_wh: NDArray[np.float32]
    mask: tuple[int, ...]
    assigned: NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class AnchorCount:
    """Numbers of boxes and predictions that are assigned to each other with an anchor of a head. anchor: its index
    among all anchors; anchor_wh: pixels."""

    anchor: int
    stride: int
    anchor_wh: tuple[float, float]
    boxes: int
    predictions: int


def draw_assignment(batch: Batch, heads: Sequence[Head]) -> ImageArray:
    """The batch's images with boxes, and a mark for each assigned prediction, connected to the centre of its box."""
    scale = max(1, -(-SMALLEST_SIDE // batch.images.shape[1]))
    images = [draw_image(batch, heads, index, scale) for index in range(len(batch.images))]
    grid = arranged(images, columns=2, cell_width=images[0].shape[1])
    legend = draw_legend(anchor_counts(heads), scale, len(unanswered(batch, heads)))
    height = max(len(grid), len(legend) + GAP)
    sheet = np.full((height, grid.shape[1] + legend.shape[1] + GAP, 3), GROUND, np.uint8)
    sheet[: len(grid), : grid.shape[1]] = grid
    sheet[GAP : GAP + len(legend), grid.shape[1] : -GAP] = legend
    return sheet


def draw_image(batch: Batch, heads: Sequence[Head], index: int, scale: int) -> ImageArray:
    """One image of the batch, enlarged by scale; a box without an assigned prediction is red."""
    canvas = cv2.resize(batch.images[index], None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    canvas = (canvas * 0.6 + 255 * 0.15).astype(np.uint8)  # dimmed, so that marks stand out
    boxes = batch.boxes_xyxy[batch.image_index == index] * scale
    orphans = {row for image, row in unanswered(batch, heads) if image == index}
    crowd = batch.crowd[batch.image_index == index]
    for row, (left, top, right, bottom) in enumerate(boxes.round().astype(int).tolist()):
        color, thickness = (UNANSWERED, 3) if row in orphans else ((255, 255, 255), 1)
        if not crowd[row]:
            cv2.rectangle(canvas, (left, top), (right - 1, bottom - 1), color, thickness)
    for head in heads:
        _draw_marks(canvas, head, index, boxes, scale)
    return np.asarray(canvas, np.uint8)


def _draw_marks(canvas: ImageArray, head: Head, index: int, boxes: NDArray[np.float32], scale: int) -> None:
    """Draws the marks of a head; the anchors of a cell are side by side in it."""
    num_anchors = len(head.anchors_wh)
    for row, column, anchor in np.argwhere(head.assigned[index] >= 0).tolist():
        left, top, right, bottom = boxes[head.assigned[index, row, column, anchor]].tolist()
        x = (column + (anchor + 1) / (num_anchors + 1)) * head.stride * scale
        y = (row + 0.5) * head.stride * scale
        color = COLORS[head.mask[anchor] % len(COLORS)]
        middle = (round((left + right) / 2), round((top + bottom) / 2))
        cv2.line(canvas, (round(x), round(y)), middle, color, 1, cv2.LINE_AA)
        _draw_mark(canvas, (round(x), round(y)), head.stride, color)


def _draw_mark(canvas: ImageArray, center: tuple[int, int], stride: int, color: Color) -> None:
    """Draws a square for the stride-16 head or a disc for the stride-32 head, with a rim."""
    x, y = center
    if stride >= 32:
        cv2.circle(canvas, center, 6, RIM, -1, cv2.LINE_AA)
        cv2.circle(canvas, center, 4, color, -1, cv2.LINE_AA)
    else:
        cv2.rectangle(canvas, (x - 4, y - 4), (x + 4, y + 4), RIM, -1)
        cv2.rectangle(canvas, (x - 3, y - 3), (x + 3, y + 3), color, -1)


def unanswered(batch: Batch, heads: Sequence[Head]) -> list[tuple[int, int]]:
    """(image, row among its boxes) of each box without an assigned prediction; crowds are excluded."""
    found = []
    for index in range(len(batch.images)):
        crowd = batch.crowd[batch.image_index == index]
        answered = np.concatenate([head.assigned[index].ravel() for head in heads])
        wanted = np.flatnonzero(~crowd)
        found += [(index, int(row)) for row in np.setdiff1d(wanted, answered)]
    return found


def anchor_counts(heads: Sequence[Head]) -> list[AnchorCount]:
    """One count per anchor of each head, smallest anchor first: two heads may have the same anchor."""
    counts = []
    for head in heads:
        for place, (width, height) in enumerate(head.anchors_wh.tolist()):
            assigned = head.assigned[..., place]  # (B, H, W)
            images, *_ = np.nonzero(assigned >= 0)
            rows = assigned[assigned >= 0]
            counts.append(
                AnchorCount(
                    anchor=head.mask[place],
                    stride=head.stride,
                    anchor_wh=(width, height),
                    boxes=len(set(zip(images.tolist(), rows.tolist(), strict=True))),
                    predictions=len(rows),
                )
            )
    return sorted(counts, key=lambda count: (count.anchor, count.stride))


def draw_legend(counts: Sequence[AnchorCount], scale: int, num_unanswered: int) -> ImageArray:
    """Each anchor at its size (large ones shrink all by one factor), its mark, and its counts."""
    largest = max(max(count.anchor_wh) for count in counts)
    factor = min(scale, LARGEST_ANCHOR / largest)
    heights = [max(44, round(count.anchor_wh[1] * factor) + 14) for count in counts]
    legend = np.full((sum(heights) + 70, LEGEND_WIDTH, 3), GROUND, np.uint8)
    _write(legend, "anchors, and boxes assigned to them", 14)
    top = 26
    for count, height in zip(counts, heights, strict=True):
        width, tall = (max(round(side * factor), 2) for side in count.anchor_wh)
        color, middle = COLORS[count.anchor % len(COLORS)], top + height // 2
        corner = 2 + (LARGEST_ANCHOR - width) // 2, middle - tall // 2
        for fill, thickness in ((color, -1), (RIM, 1)):
            cv2.rectangle(legend, corner, (corner[0] + width, corner[1] + tall), fill, thickness)
        _draw_mark(legend, (LARGEST_ANCHOR + 20, middle), count.stride, color)
        size = f"{count.anchor_wh[0]:.0f} x {count.anchor_wh[1]:.0f}, stride {count.stride}"
        counts_text = f"{counted(count.boxes, 'box')}, {counted(count.predictions, 'prediction')}"
        _write(legend, size, middle - 4, LARGEST_ANCHOR + 34)
        _write(legend, counts_text, middle + 12, LARGEST_ANCHOR + 34)
        top += height
    color = UNANSWERED if num_unanswered else INK
    _write(legend, f"boxes without a prediction: {num_unanswered}", top + 18, color=color)
    return legend


def _write(image: ImageArray, text: str, baseline: int, left: int = 2, color: Color = INK) -> None:
    cv2.putText(image, text, (left, baseline), FONT, 0.42, color, 1, cv2.LINE_AA)
