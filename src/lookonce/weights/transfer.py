"""Transfer learning: copies the weights of a checkpoint that have the same meaning in the new network.

Backbone and neck are copied completely. A head has, for each anchor, four rows for the box, one for objectness and one
for each class. Class rows are matched by `ModelRecord.rows_among`, by name if there are names; box and objectness rows
are matched by anchor size.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lookonce.config.record import ModelRecord
from lookonce.model.yolov3_tiny import YoloV3Tiny
from lookonce.weights.checkpoint import Checkpoint
from lookonce.weights.load import require_array

HEADS = ("head32", "head16")
BACKBONE = "backbone."
BOX_ROWS = 5  # x, y, w, h and objectness
# Minimum IoU of two anchors' sizes at which their weights are reused: the head corrects the remaining difference within
# its first hundred steps.
SAME_ANCHOR_IOU = 0.5


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What was copied into the heads: names of the classes, and number of anchors (box and objectness rows)."""

    class_names: tuple[str, ...]
    num_anchors: int


def transfer(model: YoloV3Tiny, record: ModelRecord, checkpoint: Checkpoint, *, backbone_only: bool = False) -> Taken:
    """Copy the matching weights of the checkpoint into `model`, which `record` describes; the rest keeps its values.

    WeightsError when the widths differ.
    """
    expected, source = model.state_dict(), str(checkpoint.folder)
    for name, array in expected.items():
        if name.startswith(BACKBONE) or not (backbone_only or name.startswith(HEADS)):
            require_array(name, expected, checkpoint.state, source)
            array.copy_(checkpoint.state[name])
    if backbone_only:
        return Taken(class_names=(), num_anchors=0)
    known = checkpoint.record.rows_among(record.class_names)
    classes = dict(sorted((new, old) for old, new in known.items()))
    anchors = [matched_anchors(head, record, checkpoint.record) for head in range(len(HEADS))]
    for head, rows in zip(HEADS, anchors, strict=True):
        _take_head(head, expected, checkpoint, record, classes, rows)
    return Taken(
        class_names=tuple(record.class_names[new] for new in classes), num_anchors=sum(len(rows) for rows in anchors)
    )


def matched_anchors(head: int, new: ModelRecord, old: ModelRecord) -> list[int]:
    """Rows of a head whose old anchor in the same row has a similar size; none if the box decoding differs."""
    if (new.dialect.center_scales, new.dialect.size_rule) != (old.dialect.center_scales, old.dialect.size_rule):
        return []
    pairs = zip(new.head_anchors(head), old.head_anchors(head), strict=False)
    return [row for row, (ours, theirs) in enumerate(pairs) if _size_iou(ours, theirs) >= SAME_ANCHOR_IOU]


def _size_iou(a: tuple[float, float], b: tuple[float, float]) -> float:
    overlap = min(a[0], b[0]) * min(a[1], b[1])
    return overlap / (a[0] * a[1] + b[0] * b[1] - overlap)


def _take_head(
    head: str,
    expected: Mapping[str, Tensor],
    checkpoint: Checkpoint,
    record: ModelRecord,
    classes: Mapping[int, int],
    anchors: list[int],
) -> None:
    for name in (f"{head}.weight", f"{head}.bias"):
        ours = _by_anchor(expected[name], record.num_classes)
        theirs = _by_anchor(checkpoint.state[name], checkpoint.record.num_classes)
        if ours.shape[2:] != theirs.shape[2:]:
            require_array(name, expected, checkpoint.state, str(checkpoint.folder))  # raises: another width
        ours[anchors, :BOX_ROWS] = theirs[anchors, :BOX_ROWS]
        common = min(len(ours), len(theirs))
        for new, old in classes.items():
            ours[:common, BOX_ROWS + new] = theirs[:common, BOX_ROWS + old]


def _by_anchor(array: Tensor, num_classes: int) -> Tensor:
    """(A * (5 + C), ...) -> (A, 5 + C, ...), a view."""
    return torch.unflatten(array, 0, (-1, BOX_ROWS + num_classes))
