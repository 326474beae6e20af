"""Images of the report: each is embedded once, with ground truth and predictions drawn over it as vectors.

An image that appears twice is embedded once and referenced, which halves the page; boxes stay sharp at any zoom.
"""

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from unicodedata import east_asian_width

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import pairwise_iou_xyxy
from lookonce.colors import css_color, text_color
from lookonce.detections import Detections
from lookonce.evaluation.matching import match_in_turn
from lookonce.prediction.draw import WIDEST, fitted, place_tags
from lookonce.prediction.renderer import encode

Classes = Sequence[tuple[str, str]]  # name and color, `#rrggbb`, of each label
LONGEST_SIDE = 640  # pixels; larger images are scaled down
LETTER, WIDE_LETTER = 0.58, 1.0  # mean width of a letter, and of a Chinese one, in font heights
LETTERS_A_SIDE = 28  # font heights in the longer side of an image: 9.5 pixels where a page shows it 265 pixels wide
SMALLEST_FIT = 0.65  # factor on the font height


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
    verdict = f"{len(image.truth)} labelled, {missed} missed, false positives: {extra}"
    if not len(image.truth) and not extra:
        verdict = "no objects, no predictions"
    both = truth_figure(image, classes, key, embed=embed) + found_figure(image, classes, key)
    return figure(f'<div class="two">{both}</div>', image.name, verdict)


def figure(html: str, name: str, words: str = "", kind: str = "pair") -> str:
    """Images with their name, and words, below them. kind: "pair", or "" for one of a gallery (see page.css)."""
    caption = f"<code>{escape(name)}</code>{f'<span>{escape(words)}</span>' if words else ''}"
    return f"<figure{f' class={kind}' if kind else ''}>{html}<figcaption>{caption}</figcaption></figure>"


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
    """Matched ground truth (T,) and true positives among the predictions (F,), highest score first: same class, IoU of
    at least 0.5, as COCO's metric matches them."""
    same_class = found.labels[:, None] == truth.labels[None, :]
    overlaps = pairwise_iou_xyxy(found.boxes_xyxy, truth.boxes_xyxy) * same_class  # (F, T)
    matched = match_in_turn(overlaps, np.zeros(len(truth), np.bool_))[0]  # at the first threshold, 0.5
    return np.isin(np.arange(len(truth)), matched), matched >= 0


def data_uri(image: NDArray[np.uint8], longest_side: int = LONGEST_SIDE) -> str:
    """(H, W, 3) uint8 RGB -> `data:image/jpeg;base64,...`, at most so many pixels a side."""
    scale = longest_side / max(image.shape[:2])
    if scale < 1:
        # At least 1 pixel, because a panorama can be a thousand times wider than high.
        size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    return jpeg_uri(encode(image, ".jpg", quality=82))


def jpeg_uri(content: bytes) -> str:
    return "data:image/jpeg;base64," + base64.b64encode(content).decode()


def ink_on(color: str) -> str:
    """Black or white, whichever has more contrast on `#rrggbb`."""
    red, green, blue = bytes.fromhex(color[1:])
    return css_color(text_color((red, green, blue)))


def _overlay(width: int, height: int, body: str, label: str, title: str) -> str:
    heading = f'<span class="over">{escape(title)}</span>' if title else ""
    return f"<div>{heading}{photo(body, (0, 0, width, height), label)}</div>"


def photo(body: str, view: tuple[float, float, float, float], label: str) -> str:
    """An SVG of an image and what is drawn over it. view: left, top, right, bottom of the shown part, in pixels."""
    left, top, right, bottom = view
    box = f"{left:.0f} {top:.0f} {right - left:.0f} {bottom - top:.0f}"
    return f'<svg class="photo" viewBox="{box}" role="img" aria-label="{escape(label)}">{body}</svg>'


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
    parts, tags = [], []
    for row in range(len(boxes))[::-1]:
        left, top, right, bottom = boxes.boxes_xyxy[row].tolist()
        name, color = classes[boxes.labels[row]]
        score = boxes.scores[row]  # two decimals, or the first digit of a score that they would show as 0
        numbers = "" if not scores else f" {score:.2f}" if score >= 0.01 else f" {score:.1g}"
        dash = "" if matched[row] else f' stroke-dasharray="{line * 3:.1f} {line * 2:.1f}"'
        place = f'x="{left:.1f}" y="{top:.1f}" width="{right - left:.1f}" height="{bottom - top:.1f}"'
        rect = f'<rect {place} fill="none" stroke="{color}" stroke-width="{line:.2f}"{dash}>'
        parts.append(f"{rect}<title>{escape(name + numbers)}</title></rect>")
        tags.append(Tag(name=name, numbers=numbers, box_xyxy=(left, top, right, bottom), color=color))
    return "".join(parts) + tags_over(tags[::-1], size_hw)


@dataclass(frozen=True, kw_only=True)
class Tag:
    """The text tag of a box: the name of its class, and numbers after it.

    fit: the text shrinks, down to SMALLEST_FIT, to be no wider than the box.
    """

    name: str
    box_xyxy: tuple[float, float, float, float]
    color: str
    numbers: str = ""
    fit: bool = False


def tags_over(tags: Sequence[Tag], size_hw: tuple[int, int]) -> str:
    """SVG of the tags, the most important first: none covers another, and one without a free place is left out."""
    texts, fonts, sizes = [], [], []
    for tag in tags:
        font, box_width = max(size_hw) / LETTERS_A_SIDE, tag.box_xyxy[2] - tag.box_xyxy[0]
        if tag.fit:
            font = min(max(box_width / (_wide(tag.name + tag.numbers) + 0.5), SMALLEST_FIT * font), font)
        texts.append(fitted(tag.name, WIDEST * size_hw[1] / font, _wide) + tag.numbers)
        fonts.append(font)
        sizes.append((math.ceil(font * (_wide(texts[-1]) + 0.5)), math.ceil(font * 1.25)))
    boxes = np.rint(np.array([tag.box_xyxy for tag in tags]).reshape(-1, 4)).astype(int).tolist()
    places = zip(tags, texts, fonts, place_tags(sizes, boxes, (size_hw[1], size_hw[0])), strict=True)
    return "".join(_tag_at(tag, text, font, place) for tag, text, font, place in places if place is not None)


def _wide(text: str) -> float:
    """Width of a text, in font heights."""
    return sum(WIDE_LETTER if east_asian_width(letter) in "WF" else LETTER for letter in text)


def _tag_at(tag: Tag, text: str, font: float, place: tuple[int, int, int, int]) -> str:
    x, y, right, bottom = place
    letters = font * _wide(text)  # textLength enforces this width with any font
    whole = "" if text == tag.name + tag.numbers else f"<title>{escape(tag.name + tag.numbers)}</title>"
    plate = f'<rect x="{x}" y="{y}" width="{right - x}" height="{bottom - y}" fill="{tag.color}"/>'
    where = f'x="{x + font * 0.25:.1f}" y="{y + font * 0.95:.1f}" font-size="{font:.1f}" textLength="{letters:.1f}"'
    return (
        f'{plate}<text class="tag" {where} lengthAdjust="spacingAndGlyphs" fill="{ink_on(tag.color)}">'
        f"{escape(text)}{whole}</text>"
    )
