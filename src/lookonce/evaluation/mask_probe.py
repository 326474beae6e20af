"""Which anchors a stride-16 head was trained with, when its .cfg may be wrong: its boxes against the other head's.

Objects of middling size are found by both heads. Under the right anchors both say the same size; under anchors of the
next smaller kind the stride-16 head's boxes are about half as large. No labels are needed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import area_xyxy, xyxy_to_cxcywh
from lookonce.config.record import ModelRecord
from lookonce.detections import Detections
from lookonce.model.nms import select_detections
from lookonce.runtimes.heads import decode_heads

Raws = Sequence[NDArray[np.float32]]

SHOWN_FROM_SCORE = 0.1
MOST_DETECTIONS = 100
SAME_OBJECT = 0.25  # distance of centres, as part of the larger box's side
FEWEST_PAIRS = 8
CLEAR_FACTOR = 1.3  # by which one reading must be nearer to agreement than the other


@dataclass(frozen=True, kw_only=True)
class MaskHypothesis:
    """ratio: median side of the stride-16 head's boxes by that of the stride-32 head's for the same objects; 1 is
    agreement, NaN when there are no such objects. num_pairs: how many."""

    ratio: float
    num_pairs: int

    @property
    def disagreement(self) -> float:
        """Factor between the two heads, 1 or more."""
        return math.exp(abs(math.log(self.ratio))) if self.num_pairs else math.inf


def compare_hypotheses(raws: Raws, hypotheses: Mapping[str, ModelRecord]) -> dict[str, MaskHypothesis]:
    """raws: (B, A * (5 + C), H, W) a head, stride 32 first; hypotheses: name -> record with other masks."""
    return {name: _hypothesis(raws, record) for name, record in hypotheses.items()}


def verdict(found: Mapping[str, MaskHypothesis]) -> str | None:
    """The name of the reading under which the heads agree; None when pictures are too few or it is not clear."""
    best, *others = sorted(found, key=lambda name: found[name].disagreement)
    if any(hypothesis.num_pairs < FEWEST_PAIRS for hypothesis in found.values()):
        return None
    clear = all(found[other].disagreement > CLEAR_FACTOR * found[best].disagreement for other in others)
    return best if clear else None


def detections_of(raws: Raws, record: ModelRecord, image: int) -> Detections:
    """What both heads find in one of the pictures, canvas pixels."""
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
    """Side of the medium head's box by that of the large head's, for every object that both have found."""
    if not len(large) or not len(medium):
        return []
    large_cxcywh, medium_cxcywh = xyxy_to_cxcywh(large.boxes_xyxy), xyxy_to_cxcywh(medium.boxes_xyxy)
    distances = np.abs(large_cxcywh[:, None, :2] - medium_cxcywh[None, :, :2])  # (L, M, 2)
    sides = np.maximum(large_cxcywh[:, None, 2:], medium_cxcywh[None, :, 2:])
    same = (distances < SAME_OBJECT * sides).all(-1) & (large.labels[:, None] == medium.labels)
    areas_large, areas_medium = area_xyxy(large.boxes_xyxy), area_xyxy(medium.boxes_xyxy)
    # Detections come best first: the first that fits is the other head's best box of the object.
    return [
        math.sqrt(areas_medium[int(fits.argmax())] / areas_large[row]) for row, fits in enumerate(same) if fits.any()
    ]
