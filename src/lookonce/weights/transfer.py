"""Transfer learning: copies the weights of a checkpoint that have the same meaning in the new network.

Backbone and neck are copied completely. A head has, for each anchor, four rows for the box, one for objectness and one
for each class. Class rows are matched by `ModelRecord.rows_among`, by name if there are names; box and objectness rows
are matched by anchor size, within a head.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from lookonce.model.yolov3_tiny import YoloV3Tiny
from lookonce.settings.names import counted, few
from lookonce.settings.record import ModelRecord
from lookonce.weights.checkpoint import Checkpoint
from lookonce.weights.class_names import nearest
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


def transfer(
    model: YoloV3Tiny, record: ModelRecord, checkpoint: Checkpoint, *, backbone_only: bool = False
) -> Taken | None:
    """Copy the matching weights of the checkpoint into `model`, which `record` describes; the rest keeps its values.

    None where only the backbone was copied. WeightsError when the widths differ.
    """
    expected, source = model.state_dict(), str(checkpoint.folder)
    for name, array in expected.items():
        if name.startswith(BACKBONE) or not (backbone_only or name.startswith(HEADS)):
            require_array(name, expected, checkpoint.state, source)
            array.copy_(checkpoint.state[name])
    if backbone_only:
        return None
    known = checkpoint.record.rows_among(record.class_names)
    classes = dict(sorted((new, old) for old, new in known.items()))
    anchors = [matched_anchors(head, record, checkpoint.record) for head in range(len(HEADS))]
    for head, rows in zip(HEADS, anchors, strict=True):
        _take_head(head, expected, checkpoint, record, classes, rows)
    return Taken(
        class_names=tuple(record.class_names[new] for new in classes), num_anchors=sum(len(rows) for rows in anchors)
    )


def account(taken: Taken | None, record: ModelRecord, checkpoint: Checkpoint) -> list[str]:
    """Log lines: which share of the weights was taken over, what starts anew, and classes of nearly the same name.

    taken: None where only the backbone was copied.
    """
    start = f"starting from {checkpoint.folder}: backbone"
    if taken is None:
        return [f"{start}: all; neck and heads: new"]
    old = checkpoint.record
    new = [name for name in record.class_names if name not in taken.class_names]
    by = "by name" if old.names_known or set(taken.class_names) <= set(old.class_names) else "by position"
    found = f"{len(taken.class_names)} of {record.num_classes} {by}"
    shown = f" ({few(taken.class_names)})" if taken.class_names else ""
    fresh = f"; {len(new)} of {record.num_classes} new ({few(new)})" if new else ""
    anchors = f"{taken.num_anchors} of {sum(map(len, record.masks))} anchors"
    lines = [f"{start} and neck: all; boxes and objectness: {anchors}; classes: {found}{shown}{fresh}"]
    if new and not old.names_known:
        lines.append(f"the weights have {counted(old.num_classes, 'class')} without names; set them with names=FILE")
    free = [name for name in old.class_names if name not in taken.class_names]
    for name in new:
        if (known := nearest(name, free)) is not None:
            line = old.class_names.index(known) + 1
            lines.append(
                f"class {name!r} is new; the nearest class of the weights is {known!r}. To start from its weights, "
                f"pass names=FILE, which lists the {old.num_classes} classes of the weights, with {name} in line {line}"
            )
    return lines


def matched_anchors(head: int, new: ModelRecord, old: ModelRecord) -> dict[int, int]:
    """Row of a head -> old row whose anchor has the most similar size, each used once; {} if the box decoding differs.

    Masks 0,1,2 after 1,2,3 put the same anchors into other rows.
    """
    if (new.dialect.center_scales, new.dialect.size_rule) != (old.dialect.center_scales, old.dialect.size_rule):
        return {}
    pairs = [
        (_size_iou(ours, theirs), -row, -before)
        for row, ours in enumerate(new.head_anchors(head))
        for before, theirs in enumerate(old.head_anchors(head))
    ]
    matched: dict[int, int] = {}
    for similarity, row, before in sorted(pairs, reverse=True):
        if similarity >= SAME_ANCHOR_IOU and -row not in matched and -before not in matched.values():
            matched[-row] = -before
    return matched


def _size_iou(a: tuple[float, float], b: tuple[float, float]) -> float:
    overlap = min(a[0], b[0]) * min(a[1], b[1])
    return overlap / (a[0] * a[1] + b[0] * b[1] - overlap)


def _take_head(
    head: str,
    expected: Mapping[str, Tensor],
    checkpoint: Checkpoint,
    record: ModelRecord,
    classes: Mapping[int, int],
    anchors: Mapping[int, int],
) -> None:
    for name in (f"{head}.weight", f"{head}.bias"):
        ours = _by_anchor(expected[name], record.num_classes)
        theirs = _by_anchor(checkpoint.state[name], checkpoint.record.num_classes)
        if ours.shape[2:] != theirs.shape[2:]:
            require_array(name, expected, checkpoint.state, str(checkpoint.folder))  # raises: another width
        for row, before in anchors.items():
            ours[row, :BOX_ROWS] = theirs[before, :BOX_ROWS]
        for row in range(min(len(ours), len(theirs))):
            for new, old in classes.items():
                ours[row, BOX_ROWS + new] = theirs[anchors.get(row, row), BOX_ROWS + old]


def _by_anchor(array: Tensor, num_classes: int) -> Tensor:
    """(A * (5 + C), ...) -> (A, 5 + C, ...), a view."""
    return torch.unflatten(array, 0, (-1, BOX_ROWS + num_classes))
