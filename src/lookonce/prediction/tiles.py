"""Detection in overlapping tiles, so that small objects in large images keep enough pixels.

An object no larger than the overlap lies completely in at least one tile. A larger object may be cut in every tile. The
detector therefore also runs on the whole image, from which large boxes are kept. Boxes cut at both sides of a seam are
joined, unless a kept box covers them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import area_xyxy, pairwise_overlap_xyxy
from lookonce.detections import Detections
from lookonce.letterbox import ImageArray
from lookonce.prediction.predictor import Detects

Floats = NDArray[np.float32]
Window = tuple[int, int, int, int]  # left, top, right, bottom; pixels of the image, right and bottom exclusive

OVERLAP = 0.25  # default, as a fraction of the tile's side
TILES_AT_ONCE = 16  # network inputs in memory
CUT_PIXELS = 0.01  # fraction of the tile's side: a box that ends this close to an inner edge of its tile counts as cut
SAME_OBJECT = 0.5  # fraction of a cut box's area, or of the extent along a seam


@dataclass(frozen=True, kw_only=True)
class _Found:
    """Detections of one window, in pixels of the image. cut (N, 4): whether the window's left, top, right or bottom
    edge cuts the box; False where this edge is the image's own."""

    detections: Detections
    cut: NDArray[np.bool_]


class TiledDetector:
    """A detector that runs on the whole image and on each tile; on an image that fits into one tile it runs once.

    tile: side of a square tile in pixels of the image. overlap: minimum overlap of neighbouring tiles, as a fraction of
    the side. iou_threshold, max_detections, agnostic: the same as the detector's.
    """

    def __init__(
        self,
        detector: Detects,
        *,
        tile: int,
        overlap: float = OVERLAP,
        iou_threshold: float,
        max_detections: int,
        agnostic: bool = False,
    ) -> None:
        self.detector = detector
        self.tile, self.overlap = tile, overlap
        self.iou_threshold, self.max_detections, self.agnostic = iou_threshold, max_detections, agnostic

    def detect(self, images: Sequence[ImageArray]) -> list[Detections]:
        """See runtimes.detector.Detector.detect."""
        return [self._detect(image) for image in images]

    def _detect(self, image: ImageArray) -> Detections:
        height, width = image.shape[:2]
        windows = [(0, 0, width, height), *windows_of((width, height), self.tile, self.overlap)]
        if len(windows) == 2:
            return self.detector.detect([image])[0]
        found: list[_Found] = []
        for start in range(0, len(windows), TILES_AT_ONCE):
            some = windows[start : start + TILES_AT_ONCE]
            parts = self.detector.detect([image[top:bottom, left:right] for left, top, right, bottom in some])
            pairs = zip(parts, some, strict=True)
            found += [_in_image(part, window, (width, height), self.tile) for part, window in pairs]
        wh = found[0].detections.boxes_xyxy[:, 2:] - found[0].detections.boxes_xyxy[:, :2]
        large = wh.max(axis=1) > self.tile * self.overlap  # of the whole image
        found[0] = _Found(detections=found[0].detections.select(large), cut=found[0].cut[large])
        return merge(found, self.iou_threshold, self.max_detections, agnostic=self.agnostic)


def windows_of(image_wh: tuple[int, int], tile: int, overlap: float) -> list[Window]:
    """Evenly spaced squares of side `tile` that cover the image and overlap by at least `overlap` of their side."""
    return [
        (left, top, min(left + tile, image_wh[0]), min(top + tile, image_wh[1]))
        for top in _starts(image_wh[1], tile, overlap)
        for left in _starts(image_wh[0], tile, overlap)
    ]


def _starts(length: int, tile: int, overlap: float) -> list[int]:
    if length <= tile:
        return [0]
    steps = int(np.ceil((length - tile) / max(1.0, tile * (1 - overlap))))
    return [round(step * (length - tile) / steps) for step in range(steps + 1)]


def _in_image(found: Detections, window: Window, image_wh: tuple[int, int], tile: int) -> _Found:
    left, top, right, bottom = window
    boxes_xyxy = found.boxes_xyxy + np.array([left, top, left, top], np.float32)
    inner = np.array([left > 0, top > 0, right < image_wh[0], bottom < image_wh[1]])
    near = np.abs(boxes_xyxy - np.array(window, np.float32)) <= max(1.0, CUT_PIXELS * tile)
    return _Found(detections=replace(found, boxes_xyxy=boxes_xyxy), cut=near & inner)


def merge(found: Sequence[_Found], iou_threshold: float, max_detections: int, *, agnostic: bool = False) -> Detections:
    """NMS over complete boxes first; then the cut boxes that no kept box covers are added, joined at seams."""
    boxes_xyxy = np.concatenate([one.detections.boxes_xyxy for one in found])
    scores = np.concatenate([one.detections.scores for one in found])
    labels = np.concatenate([one.detections.labels for one in found])
    cut = np.concatenate([one.cut for one in found])
    kept = _Kept(len(scores), iou_threshold, agnostic=agnostic)
    for row in np.lexsort((-scores, cut.any(axis=1))):
        kept.take(_Box(xyxy=boxes_xyxy[row], score=scores[row], label=labels[row], cut=cut[row]))
    best_first = np.argsort(-kept.scores[: kept.count], kind="stable")[:max_detections]
    return Detections(
        boxes_xyxy=kept.boxes_xyxy[best_first], scores=kept.scores[best_first], labels=kept.labels[best_first]
    )


@dataclass(frozen=True, kw_only=True)
class _Box:
    xyxy: Floats
    score: np.float32
    label: np.int64
    cut: NDArray[np.bool_]


class _Kept:
    """The kept boxes: the first `count` rows."""

    def __init__(self, capacity: int, iou_threshold: float, *, agnostic: bool) -> None:
        self.iou_threshold, self.agnostic = iou_threshold, agnostic
        self.count = 0
        self.boxes_xyxy = np.empty((capacity, 4), np.float32)
        self.scores = np.empty(capacity, np.float32)
        self.labels = np.empty(capacity, np.int64)
        self.cut = np.empty((capacity, 4), np.bool_)

    def take(self, box: _Box) -> None:
        """Keep the box, join it with its other part, or drop it as a duplicate of a kept box."""
        boxes_xyxy = self.boxes_xyxy[: self.count]
        overlaps = pairwise_overlap_xyxy(box.xyxy[None], boxes_xyxy)[0]  # (count,)
        area, areas = area_xyxy(box.xyxy), area_xyxy(boxes_xyxy)
        same_class = self.labels[: self.count] == box.label
        duplicates = (same_class | self.agnostic) & (overlaps > self.iou_threshold * (area + areas - overlaps))
        # Of any class: half a key may be classified as a nut.
        covers = overlaps > SAME_OBJECT * area if box.cut.any() else np.zeros_like(duplicates)
        if (duplicates | covers).any():
            return
        for row in np.flatnonzero(same_class & (overlaps > 0)).tolist():
            columns = (self.boxes_xyxy, self.scores, self.labels, self.cut)
            xyxy, score, label, cut = (column[row].copy() for column in columns)
            other = _Box(xyxy=xyxy, score=score, label=label, cut=cut)
            if _across_a_seam(box, other):
                self.count -= 1
                for column in columns:
                    column[row : self.count] = column[row + 1 : self.count + 1]
                self.take(_joined(box, other))  # recursion: the joined box may join a third part
                return
        row, self.count = self.count, self.count + 1
        self.boxes_xyxy[row], self.scores[row] = box.xyxy, box.score
        self.labels[row], self.cut[row] = box.label, box.cut


def _joined(box: _Box, other: _Box) -> _Box:
    """The smallest box around both; each edge is cut if the box that provides it is cut there."""
    farther = np.concatenate([other.xyxy[:2] < box.xyxy[:2], other.xyxy[2:] > box.xyxy[2:]])
    return _Box(
        xyxy=np.where(farther, other.xyxy, box.xyxy),
        score=max(box.score, other.score),
        label=box.label,
        cut=np.where(farther, other.cut, box.cut),
    )


def _across_a_seam(box: _Box, other: _Box) -> bool:
    """Whether one box is cut on the right and the other on the left (or bottom and top), with similar extent along the
    seam."""
    for side in (0, 1):
        facing = (box.cut[side + 2] and other.cut[side]) or (box.cut[side] and other.cut[side + 2])
        along = slice(1 - side, None, 2)  # the two edges across the other axis
        (start, end), (other_start, other_end) = box.xyxy[along], other.xyxy[along]
        common = min(end, other_end) - max(start, other_start)
        extent = max(end, other_end) - min(start, other_start)
        if facing and common > SAME_OBJECT * extent:
            return True
    return False
