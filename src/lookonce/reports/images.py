"""Images of the report: each is embedded once, with ground truth and predictions drawn over it as vectors.

An image that appears twice is embedded once and referenced, which halves the page; boxes stay sharp at any zoom.
"""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import pairwise_iou_xyxy
from lookonce.detections import Detections
from lookonce.prediction.draw import class_color

Classes = Sequence[tuple[str, str]]  # name and color, `#rrggbb`, of each label
LONGEST_SIDE = 640  # pixels; larger images are scaled down


@dataclass(frozen=True, kw_only=True)
class ComparedImage:
    """image (H, W, 3) uint8 RGB; ground truth and predictions (found) in its pixels. Scores of `truth` are ignored."""

    name: str
    image: NDArray[np.uint8]
    truth: Detections
    found: Detections


def compared_figure(image: ComparedImage, classes: Classes, key: str, *, embed: bool = True) -> str:
    """Ground truth, then predictions. key: id of the image on the page; embed False: the page has it already."""
    matched_truth, matched_found = match(image.truth, image.found)
    missed, extra = int((~matched_truth).sum()), int((~matched_found).sum())
    return (
        '<figure class="pair"><div class="two">'
        f"{truth_figure(image, classes, key, embed=embed)}{found_figure(image, classes, key)}"
        f"</div><figcaption><code>{escape(image.name)}</code><span>{_verdict(len(image.truth), missed, extra)}"
        "</span></figcaption></figure>"
    )


def truth_figure(image: ComparedImage, classes: Classes, key: str, title: str = "", *, embed: bool = True) -> str:
    """Ground truth over the image, which is embedded under the id `key` if embed is True; title: text above it."""
    height, width = image.image.shape[:2]
    shown = f'<use href="#{key}"/>'
    if embed:
        shown = f'<image id="{key}" href="{data_uri(image.image)}" width="{width}" height="{height}"/>'
    matched, _ = match(image.truth, image.found)
    boxes = _boxes(image.truth, classes, matched, (height, width), scores=False)
    return _overlay(width, height, shown + boxes, f"{image.name}: ground truth", title)


def found_figure(image: ComparedImage, classes: Classes, key: str, title: str = "") -> str:
    """Predictions over the image that was embedded under the id `key`; title: text above it."""
    height, width = image.image.shape[:2]
    _, matched = match(image.truth, image.found)
    boxes = _boxes(image.found, classes, matched, (height, width), scores=True)
    return _overlay(width, height, f'<use href="#{key}"/>{boxes}', f"{image.name}: predictions", title)


def match(truth: Detections, found: Detections) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Matched ground truth (T,) and true positives among the predictions (F,): same class, IoU of at least 0.5.

    Highest score first, each prediction takes the free ground-truth box with the highest IoU, as in COCO's metric.
    """
    hit_truth, hit_found = np.zeros(len(truth), np.bool_), np.zeros(len(found), np.bool_)
    overlaps = pairwise_iou_xyxy(found.boxes_xyxy, truth.boxes_xyxy)  # (F, T)
    same_class = found.labels[:, None] == truth.labels[None, :]
    for row in np.argsort(-found.scores, kind="stable"):
        free = np.where(same_class[row] & ~hit_truth, overlaps[row], 0)
        if free.size and free.max() >= 0.5:
            hit_truth[int(free.argmax())] = True
            hit_found[row] = True
    return hit_truth, hit_found


def data_uri(image: NDArray[np.uint8], quality: int = 82) -> str:
    """(H, W, 3) uint8 RGB -> `data:image/jpeg;base64,...`, at most LONGEST_SIDE pixels a side."""
    scale = LONGEST_SIDE / max(image.shape[:2])
    if scale < 1:
        image = np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    _, encoded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode()


def css_color(label: int) -> str:
    """The colour in which `predict` draws a class, as #rrggbb."""
    return "#{:02x}{:02x}{:02x}".format(*class_color(label))


def ink_on(color: str) -> str:
    """Black or white, whichever has more contrast on `#rrggbb`."""
    red, green, blue = (int(color[place : place + 2], 16) for place in (1, 3, 5))
    return "#000" if 0.299 * red + 0.587 * green + 0.114 * blue > 140 else "#fff"


def _verdict(num_truth: int, missed: int, extra: int) -> str:
    if not num_truth and not extra:
        return "no objects, no predictions"
    parts = [f"{num_truth - missed} of {num_truth} found"] + ([f"false positives: {extra}"] if extra else [])
    return ", ".join(parts)


def _overlay(width: int, height: int, body: str, label: str, title: str) -> str:
    heading = f'<span class="over">{escape(title)}</span>' if title else ""
    svg = f'<svg class="photo" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">{body}</svg>'
    return f"<div>{heading}{svg}</div>"


def _boxes(
    boxes: Detections,
    classes: Classes,
    matched: NDArray[np.bool_],
    size_hw: tuple[int, int],
    *,
    scores: bool,
) -> str:
    """Rectangles and tags; dashed for missed ground truth and false positives. Highest scores are drawn last."""
    line = max(size_hw) / 220
    parts = []
    for row in range(len(boxes))[::-1]:
        left, top, right, bottom = boxes.boxes_xyxy[row].tolist()
        name, color = classes[boxes.labels[row]]
        tag = f"{name} {boxes.scores[row]:.2f}" if scores else name
        dash = "" if matched[row] else f' stroke-dasharray="{line * 3:.1f} {line * 2:.1f}"'
        place = f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}"'
        parts.append(f'<rect {place} fill="none" stroke="{color}" stroke-width="{line:.2f}"{dash}/>')
        parts.append(tag_over(tag, left, top, color, size_hw))
    return "".join(parts)


def tag_over(
    text: str, left: float, top: float, color: str, size_hw: tuple[int, int], box_width: float = math.inf
) -> str:
    """SVG of a text tag above the box, or inside it at the top of the image.

    box_width: the text shrinks, to 40 % at most, to be no wider: long names beside each other hide the objects.
    """
    font = max(size_hw) / 32
    font = min(max(box_width / (0.58 * len(text) + 0.5), 0.4 * font), font)
    letters = font * 0.58 * len(text)  # textLength enforces this width with any font
    width, height = letters + font * 0.5, font * 1.25
    x = min(max(left, 0.0), max(size_hw[1] - width, 0.0))
    y = top - height if top >= height else top
    plate = f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{color}"/>'
    place = f'x="{x + font * 0.25:.1f}" y="{y + font * 0.95:.1f}" font-size="{font:.1f}" textLength="{letters:.1f}"'
    return (
        f'{plate}<text class="tag" {place} lengthAdjust="spacingAndGlyphs" fill="{ink_on(color)}">{escape(text)}</text>'
    )
