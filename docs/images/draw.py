"""Draws the pictures of docs/network.md from the source: `./run python docs/images/draw.py [FOLDER]`."""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from lookonce.model.decode import decode_boxes
from lookonce.model.layers import Step, steps_of
from lookonce.model.nms import select_detections
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import FULL_CHANNELS

INK, PALE, BLUE, ORANGE, GREY = "#1c2430", "#eef2f7", "#2f6fb0", "#b55a12", "#64707f"
COLORS = {"conv": BLUE, "max pool": ORANGE, "upsample": ORANGE, "concat": GREY}


def svg(width: float, height: float, parts: Iterator[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
    style = 'font-family="sans-serif" font-size="11">'
    return "\n".join([head + style, rect(0, 0, width, height, fill="#fff"), *parts, "</svg>"]) + "\n"


def rect(left: float, top: float, width: float, height: float, *, fill: str = "none", line: str = "none") -> str:
    return (
        f'<rect x="{left:g}" y="{top:g}" width="{width:g}" height="{height:g}" rx="2" fill="{fill}" stroke="{line}" '
        'stroke-width="1.5"/>'
    )


def text(x: float, y: float, words: str, *, color: str = INK, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" fill="{color}" text-anchor="{anchor}">{words}</text>'


def network() -> str:
    """A row for each step: its name, what it does, and a bar as long as the logarithm of its number of values."""
    steps = steps_of(FULL_CHANNELS, 80, (416, 416))

    def rows() -> Iterator[str]:
        for row, step in enumerate(steps):
            y = 20 + 19 * row
            length = 14 * np.log2(step.num_outputs) - 110
            color = INK if step.name.startswith("head") else COLORS[step.kind]
            yield text(8, y, step.name) + text(82, y, does(step), color="#566")
            yield rect(250, y - 11, length, 14, fill=color)
            yield text(258, y, "×".join(map(str, step.out_shape)), color="#fff")
            if step.inputs != (steps[row - 1].name,):
                yield text(258 + length, y, "from " + " and ".join(step.inputs), color="#566")

    return svg(640, 12 + 19 * len(steps), rows())


def does(step: Step) -> str:
    if step.kind == "conv":
        return f"{step.kernel}×{step.kernel} convolution{'' if step.activation else ', linear'}"
    return f"2×2 max pool, stride {step.stride}" if step.kind == "max pool" else step.kind


def decoding() -> str:
    """A 5 x 4 piece of a grid of stride 32, the anchor in cell (2, 1), and the box that four logits make of it."""
    stride, anchor = 32, (81.0, 82.0)
    logits = torch.zeros(1, 4, 5, 1, 4)
    logits[0, 1, 2, 0] = torch.tensor([1.0, -0.5, 0.4, -0.3])
    left, top, right, bottom = decode_boxes(logits, torch.tensor([anchor]), stride, DIALECTS["darknet"])[
        0, 1, 2, 0
    ].tolist()

    def parts() -> Iterator[str]:
        yield '<g transform="translate(12 12) scale(2)">'
        for row in range(4):
            for column in range(5):
                fill = PALE if (column, row) == (2, 1) else "#fff"
                yield rect(stride * column, stride * row, stride, stride, fill=fill, line="#d5dbe3")
        center = (2.5 * stride, 1.5 * stride)
        yield rect(center[0] - anchor[0] / 2, center[1] - anchor[1] / 2, *anchor, line=GREY)
        yield rect(left, top, right - left, bottom - top, line=BLUE)
        yield f'<circle cx="{(left + right) / 2:g}" cy="{(top + bottom) / 2:g}" r="2.5" fill="{BLUE}"/></g>'
        yield text(350, 60, "the cell: column 2, row 1", color="#566")
        yield text(350, 80, f"its anchor, {anchor[0]:g}×{anchor[1]:g}", color=GREY)
        yield text(350, 100, "the box of the logits 1, -0.5, 0.4, -0.3", color=BLUE)

    return svg(580, 280, parts())


def suppression() -> str:
    """Boxes before and after NMS."""
    boxes = np.array([[20, 36, 120, 152], [28, 50, 128, 156], [12, 22, 112, 144], [150, 60, 230, 150]], np.float32)
    scores = np.array([[0.9], [0.7], [0.6], [0.8]], np.float32)
    kept = select_detections(boxes, scores, score_threshold=0.25, iou_threshold=0.5, max_detections=300)

    def parts() -> Iterator[str]:
        for shift, shown, values in ((0, boxes, scores[:, 0]), (260, kept.boxes_xyxy, kept.scores)):
            for (left, top, right, bottom), score in zip(shown.tolist(), values.tolist(), strict=True):
                yield rect(left + shift, top, right - left, bottom - top, line=BLUE)
                yield text(left + shift + 4, top + 11, f"{score:.1f}", color=BLUE)
        yield text(20, 172, "above the score threshold") + text(280, 172, "after NMS at IoU 0.5")

    return svg(510, 184, parts())


PICTURES = {"network": network, "decoding": decoding, "suppression": suppression}

if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for name, draw in PICTURES.items():
        (folder / f"{name}.svg").write_text(draw(), encoding="utf-8")
