"""Which anchor mask a stride-16 head was trained with, if its .cfg may be wrong: compares its boxes with stride 32's.

Both heads detect objects of medium size. With the right mask both predict the same size; with a mask that is off by one
anchor, the stride-16 head's boxes are about half as large. No labels are needed.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import area_xyxy, xyxy_to_cxcywh
from lookonce.detections import Detections
from lookonce.model.decode_numpy import decode_heads
from lookonce.model.nms import select_detections
from lookonce.settings.record import ModelRecord
from lookonce.weights.darknet import HEAD_16, other_masks

Raws = Sequence[NDArray[np.float32]]

SHOWN_FROM_SCORE = 0.1
MOST_DETECTIONS = 100
SAME_OBJECT = 0.25  # distance of centres, as a fraction of the larger box's side
FEWEST_PAIRS = 8
CLEAR_FACTOR = 1.3  # by which the disagreement of one hypothesis must exceed that of the best


@dataclass(frozen=True, kw_only=True)
class MaskHypothesis:
    """ratio: median over the num_pairs objects that both heads detected of the stride-16 box's side divided by the
    stride-32 box's; 1 is agreement, NaN without such objects."""

    ratio: float
    num_pairs: int

    def __str__(self) -> str:
        if not self.num_pairs:
            return "both heads detect no common object"
        times = f"{self.ratio:.2f} times as large as the stride-32 head's"
        return f"the stride-16 head's boxes are {times} (objects detected by both: {self.num_pairs})"

    @property
    def disagreement(self) -> float:
        """Factor between the box sides of the two heads, 1 or more; infinite without common objects."""
        return math.exp(abs(math.log(self.ratio))) if self.num_pairs else math.inf


def hypotheses_of(record: ModelRecord) -> dict[str, ModelRecord]:
    """ "mask=0,1,2" -> the record with this mask: its own mask first, then the other possible one, if there is one."""
    other = other_masks(record)
    records = [record] if other is None else [record, record.model_copy(update={"masks": other})]
    return {"mask=" + ",".join(map(str, one.masks[HEAD_16])): one for one in records}


def compare_hypotheses(raws: Raws, hypotheses: Mapping[str, ModelRecord]) -> dict[str, MaskHypothesis]:
    """raws: (B, A * (5 + C), H, W) of each head, stride 32 first; hypotheses: name -> record with these masks."""
    return {name: _hypothesis(raws, record) for name, record in hypotheses.items()}


def verdict(found: Mapping[str, MaskHypothesis]) -> str | None:
    """Name of the hypothesis under which the heads agree; None with too few common objects or no clear difference."""
    best, *others = sorted(found, key=lambda name: found[name].disagreement)
    if any(hypothesis.num_pairs < FEWEST_PAIRS for hypothesis in found.values()):
        return None
    clear = all(found[other].disagreement > CLEAR_FACTOR * found[best].disagreement for other in others)
    return best if clear else None


def verdict_lines(found: Mapping[str, MaskHypothesis], sheet: Path) -> Iterator[str]:
    """The comparison as text. found: the mask in use first. sheet: the file that shows the detections of both."""
    for name, hypothesis in found.items():
        yield f"{name}: {hypothesis}"
    chosen, agreed = next(iter(found)), verdict(found)
    if agreed is None:
        yield f"verdict: unclear from these images; compare both in {sheet}, or use more images"
    elif agreed == chosen:
        yield f"verdict: {agreed}, which is in use; {sheet} shows both side by side"
    else:
        option = agreed.removeprefix("mask=")
        yield f"verdict: {agreed}, but {chosen} is in use; convert again with --mask {option}"


def detections_of(raws: Raws, record: ModelRecord, image: int) -> Detections:
    """Detections of both heads in one of the images, in pixels of the network input."""
    boxes_xyxy, scores = decode_heads([raw[image : image + 1] for raw in raws], record)
    return _select(boxes_xyxy[0], scores[0])


def _hypothesis(raws: Raws, record: ModelRecord) -> MaskHypothesis:
    boxes_xyxy, scores = decode_heads(raws, record)
    of_stride_32 = len(record.masks[0]) * raws[0].shape[2] * raws[0].shape[3]
    of_stride_16 = len(record.masks[1]) * raws[1].shape[2] * raws[1].shape[3]
    medium = slice(of_stride_32, of_stride_32 + of_stride_16)
    ratios: list[float] = []
    for boxes, probabilities in zip(boxes_xyxy, scores, strict=True):
        large = _select(boxes[:of_stride_32], probabilities[:of_stride_32])
        ratios += _side_ratios(large, _select(boxes[medium], probabilities[medium]))
    return MaskHypothesis(ratio=float(np.median(ratios)) if ratios else math.nan, num_pairs=len(ratios))


def _select(boxes_xyxy: NDArray[np.float32], scores: NDArray[np.float32]) -> Detections:
    return select_detections(
        boxes_xyxy, scores, score_threshold=SHOWN_FROM_SCORE, iou_threshold=0.5, max_detections=MOST_DETECTIONS
    )


def _side_ratios(large: Detections, medium: Detections) -> list[float]:
    """Side of the stride-16 head's box divided by that of the stride-32 head's, for every object that both detected."""
    if not len(large) or not len(medium):
        return []
    large_cxcywh, medium_cxcywh = xyxy_to_cxcywh(large.boxes_xyxy), xyxy_to_cxcywh(medium.boxes_xyxy)
    distances = np.abs(large_cxcywh[:, None, :2] - medium_cxcywh[None, :, :2])  # (L, M, 2)
    sides = np.maximum(large_cxcywh[:, None, 2:], medium_cxcywh[None, :, 2:])
    same = (distances < SAME_OBJECT * sides).all(-1) & (large.labels[:, None] == medium.labels)
    areas_large, areas_medium = area_xyxy(large.boxes_xyxy), area_xyxy(medium.boxes_xyxy)
    # Detections are sorted by score, so the first match is the other head's best box of the object.
    return [
        math.sqrt(areas_medium[int(fits.argmax())] / areas_large[row]) for row, fits in enumerate(same) if fits.any()
    ]
