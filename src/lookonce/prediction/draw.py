"""Draws detections onto their image.

Line width and font size scale with the image, so that a drawing looks the same on a phone's photograph and on a
thumbnail. Each label tag has the colour of its box. It is placed inside the image where it covers least of other boxes
and tags; a tag that finds no free place is left out.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lookonce.boxes import pairwise_overlap_xyxy
from lookonce.colors import Color, class_color, text_color
from lookonce.detections import Detections

Rectangle = tuple[int, int, int, int]  # left, top, right, bottom; pixels, right and bottom outside
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

OWN_FONT = ""  # Pillow's own
# Searched by name in the system's font folders, in this order, when Pillow's own font lacks a letter.
WIDE_FONTS = (
    "DejaVuSans-Bold.ttf",
    "NotoSans-Bold.ttf",
    "NotoSansCJK-Bold.ttc",
    "NotoSansCJK-Regular.ttc",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "Arial Unicode.ttf",
    "PingFang.ttc",
    "msyhbd.ttc",
    "malgunbd.ttf",
    "meiryob.ttc",
    "Nirmala.ttf",
    "seguisym.ttf",
)
WIDEST = 0.6  # share of the image's width that a class name takes at most
HALO = 0.55  # factor on the brightness of the pixels around each line


@dataclass(frozen=True, kw_only=True)
class _Style:
    """Sizes for one image in pixels: line width of a box, font height, padding around the text, its widest name."""

    line: int
    letters: int
    padding: int
    widest: int


@dataclass(frozen=True, kw_only=True)
class _Tag:
    """Label tag of one box. ink (H, W) 0..255: text coverage of each pixel; size_wh: pixels, including the padding."""

    ink: NDArray[np.uint8]
    size_wh: tuple[int, int]


def draw(
    image: NDArray[np.uint8],
    detections: Detections,
    class_names: Sequence[str],
    *,
    show_scores: bool = True,
    track_ids: NDArray[np.int64] | None = None,
) -> NDArray[np.uint8]:
    """A copy of the image (H, W, 3) uint8 RGB with a box and a label tag for each detection, highest score on top.

    show_scores: False omits the scores, for ground truth. track_ids (N,): track ID of each detection, shown in its
    tag; 0: no track.
    """
    height, width = image.shape[:2]
    style = _style(width, height, detections)
    boxes = [_whole_pixels(box, width, height) for box in detections.boxes_xyxy]
    colors = [class_color(int(label)) for label in detections.labels]
    tags = []
    for row, (label, score) in enumerate(zip(detections.labels.tolist(), detections.scores.tolist(), strict=True)):
        track = 0 if track_ids is None else track_ids[row]
        numbers = (f" #{track}" if track else "") + (f" {score:.2f}" if show_scores else "")
        tags.append(_tag(class_names, label, numbers, style))
    places = place_tags([tag.size_wh for tag in tags], boxes, (width, height))
    worst_first = range(len(detections) - 1, -1, -1)
    drawn = image.copy()
    for row in worst_first:
        _draw_box(drawn, boxes[row], colors[row], style.line)
    for row in worst_first:
        place = places[row]
        if place is not None:
            _draw_tag(drawn, tags[row], place, colors[row], style.padding)
    return drawn


def _style(width: int, height: int, detections: Detections) -> _Style:
    """Lines of 1/300 of the image's mean side, letters of 1/45; smaller letters for many small boxes."""
    side = float(np.sqrt(width * height))
    letters = side / 45
    if len(detections) > 10:
        box_sides = np.sqrt(np.prod(detections.boxes_xyxy[:, 2:] - detections.boxes_xyxy[:, :2], axis=1))
        letters = min(letters, max(side / 60, float(np.median(box_sides)) / 5))
    letters = round(max(9.0, letters))
    return _Style(
        line=max(1, round(side / 300)),
        letters=letters,
        padding=max(1, round(letters / 5)),
        widest=round(WIDEST * width),
    )


def _whole_pixels(box_xyxy: NDArray[np.float32], width: int, height: int) -> Rectangle:
    """The box rounded to whole pixels, at least one pixel, clipped to the image."""
    left, top, right, bottom = (round(float(edge)) for edge in box_xyxy)
    left, top = min(max(left, 0), width - 1), min(max(top, 0), height - 1)
    return left, top, min(max(right, left + 1), width), min(max(bottom, top + 1), height)


def _draw_box(image: NDArray[np.uint8], box: Rectangle, color: Color, line: int) -> None:
    """Lines inside the box with a dark edge around them: one of the two is visible on any background."""
    left, top, right, bottom = box
    edge = line // 2  # no edge around lines of one pixel: it would be wider than the line
    for side in _sides((left - edge, top - edge, right + edge, bottom + edge), line + 2 * edge, image):
        side[:] = (side * HALO).astype(np.uint8)
    for side in _sides(box, line, image):
        side[:] = color


def _sides(box: Rectangle, line: int, image: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The four sides of a frame `line` pixels wide, as views of the image that do not overlap."""
    left, top, right, bottom = box
    upper, lower = min(top + line, bottom), max(bottom - line, top)
    lower = max(lower, upper)
    inner_left, inner_right = min(left + line, right), max(right - line, min(left + line, right))
    rectangles = (
        (left, top, right, upper),
        (left, lower, right, bottom),
        (left, upper, inner_left, lower),
        (inner_right, upper, right, lower),
    )
    return [image[max(0, y) : max(0, y_stop), max(0, x) : max(0, x_stop)] for x, y, x_stop, y_stop in rectangles]


def _tag(class_names: Sequence[str], label: int, numbers: str, style: _Style) -> _Tag:
    """numbers: after the class name, track ID and score: ` #7 0.91`."""
    text = class_names[label]
    font = font_for(text, style.letters)
    if font is None:
        text, font = f"class {label}", _font(OWN_FONT, style.letters)
    assert font is not None  # Pillow has one
    # Rendered in two parts for the cache: there are few names and few numbers, but many pairs.
    ink = np.hstack([_lettering(_fitted_name(text, font, style.widest), font), _lettering(numbers, font)])
    height, width = ink.shape
    return _Tag(ink=ink, size_wh=(width + 2 * style.padding, height + 2 * style.padding))


@lru_cache(maxsize=4096)
def _fitted_name(name: str, font: Font, widest: int) -> str:
    return fitted(name, widest, font.getlength)


def fitted(name: str, widest: float, width_of: Callable[[str], float]) -> str:
    """The name, or as much of its start as fits: a longer one would cover the image, and push the score out of it."""
    shown = name
    while name and width_of(shown) > widest:
        name = name[:-1]
        shown = f"{name}..."
    return shown


@lru_cache(maxsize=4096)
def _lettering(text: str, font: Font) -> NDArray[np.uint8]:
    """(H, W) 0..255. W: advance width of the text. H: the same for all texts, from ascender to descender."""
    top, bottom = font.getbbox("Ag|")[1::2]
    canvas = Image.new("L", (round(font.getlength(text)), int(bottom - top)))
    ImageDraw.Draw(canvas).text((0, -top), text, fill=255, font=font)
    return np.asarray(canvas)


def _draw_tag(image: NDArray[np.uint8], tag: _Tag, place: Rectangle, color: Color, padding: int) -> None:
    left, top, right, bottom = place
    ground = image[top:bottom, left:right]
    ground[:] = color
    letters = ground[padding:, padding:][: tag.ink.shape[0], : tag.ink.shape[1]]
    share = tag.ink[: letters.shape[0], : letters.shape[1], None] / np.float32(255)
    letters[:] = np.rint(letters + share * (np.array(text_color(color), np.float32) - letters)).astype(np.uint8)


def place_tags(
    sizes_wh: Sequence[tuple[int, int]], boxes: Sequence[Rectangle], image_wh: tuple[int, int]
) -> list[Rectangle | None]:
    """A place for the tag of each box, best detections first: one that covers no other tag and least of other boxes.

    None: every place inside or beside the box would cover a tag.
    """
    edges = np.array(boxes, np.float64).reshape(-1, 4)
    taken: list[Rectangle] = []
    places: list[Rectangle | None] = []
    for row, (width, height) in enumerate(sizes_wh):
        left, top, right, bottom = boxes[row]
        # Preferred first: above the box, below it, inside it; left- and right-aligned.
        usual = (top - height, bottom, top, bottom - height), (left, right - width)
        options = _free(_places(*usual, (width, height), image_wh), taken)
        if not options:  # a grid of tags from above the box to below it, and from its left to its right
            grid = range(top - height, bottom + 1, height), range(left - width, right + 1, width)
            options = _free(_places(*grid, (width, height), image_wh), taken)[:1]
        others = np.delete(edges, row, axis=0)
        less_usual = np.arange(len(options)) * 0.05 * width * height
        costs = _hidden(np.array(options, np.float64).reshape(-1, 4), others) + less_usual
        best = options[int(np.argmin(costs))] if options else None
        places.append(best)
        taken += [] if best is None else [best]
    return places


def _free(options: list[Rectangle], taken: Sequence[Rectangle]) -> list[Rectangle]:
    """The options that cover none of the taken places."""
    hidden = _hidden(np.array(options, np.float64), np.array(taken, np.float64).reshape(-1, 4))
    return [option for option, area in zip(options, hidden.tolist(), strict=True) if area == 0]


def _places(
    rows: Iterable[int], columns: Sequence[int], size_wh: tuple[int, int], image_wh: tuple[int, int]
) -> list[Rectangle]:
    """The places with their tops in these rows, left edges in these columns, shifted into the image; a tag that is too
    large starts at the left or top edge."""
    width, height = size_wh
    corners = (
        (max(0, min(x, image_wh[0] - width)), max(0, min(y, image_wh[1] - height))) for y in rows for x in columns
    )
    return [(x, y, x + width, y + height) for x, y in corners]


def _hidden(places: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, 4) places, (N, 4) rectangles -> (K,) sum of the intersection areas of each place, in pixels."""
    return np.asarray(pairwise_overlap_xyxy(places, others).sum(axis=1))


def font_for(text: str, size: int) -> Font | None:
    """The first font that has all letters of the text, `size` pixels high; None: no font has."""
    name = _font_name(text)
    return None if name is None else _font(name, size)


@cache
def _font_name(text: str) -> str | None:
    for name in (OWN_FONT, *WIDE_FONTS):
        font = _font(name, 16)
        if font is not None and _has_letters(font, text):
            return name
    return None


@cache
def _font(name: str, size: int) -> Font | None:
    try:
        return ImageFont.truetype(name, size) if name else ImageFont.load_default(size)
    except OSError:
        return None


def _has_letters(font: Font, text: str) -> bool:
    """A font draws a missing letter as its replacement glyph, which U+FFFE, never a letter, also yields."""

    def image_of(letter: str) -> tuple[tuple[int, int], bytes]:
        mask = font.getmask(letter)
        return mask.size, bytes(mask)

    replacement = image_of("\ufffe")
    return all(letter.isspace() or image_of(letter) != replacement for letter in set(text))
