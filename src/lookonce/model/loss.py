"""The detection loss: box IoU, objectness, classes (label smoothing), over dense maps in static shapes.

One class implements two losses. The model zoo's: sums over the batch divided by the number of images, GIoU weighted by
2 - w * h, objectness target 1 for assigned predictions; unassigned ones with an IoU of 0.7 or more are ignored. The
modern one: sums divided by the number of assigned predictions, and the IoU as objectness target.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lookonce.model.assign import Assigner, HeadPrediction, Targets
from lookonce.model.decode import decode_boxes, split_raw
from lookonce.model.iou import IouKind, iou
from lookonce.settings.dialects import Dialect

# Pairs of a predicted and a true box whose IoU is computed at once: 16 MB of each number of a pair. All pairs of 64
# images of 640 pixels with up to 64 boxes took 467 MB.
LARGEST_TABLE = 2**22


@dataclass(frozen=True)
class LossParts:
    """Scalars. `total` is minimised and equals the sum of the other, weighted parts."""

    total: Tensor
    box: Tensor
    objectness: Tensor
    classes: Tensor


@dataclass(frozen=True, kw_only=True)
class DetectionLoss:
    """Raw maps and targets -> LossParts.

    anchors: (A, 2) pixels per head. head_weights: one per head. per_object: divide the sums by the number of assigned
    predictions, else by the number of images. `sum_over_ranks` adds this number over all ranks, and the loss is
    multiplied by num_ranks. So the mean over the ranks of the loss, and of its gradients, equals that of the whole
    batch, however it is sharded.
    """

    anchors: tuple[Tensor, ...]
    strides: tuple[int, ...]
    dialect: Dialect
    assigner: Assigner
    box_loss: IouKind = "ciou"
    box_weight: float = 1.0
    objectness_weight: float = 1.0
    class_weight: float = 1.0
    head_weights: tuple[float, ...] = (1.0, 1.0)
    ignore_iou: float = 0.7
    label_smoothing: float = 0.0
    small_box_bonus: bool = False
    ignore_own_head_only: bool = False  # model zoo: ignore_iou considers only boxes assigned to the same head
    overlap_as_objectness: bool = True
    per_object: bool = True

    def __call__(
        self,
        raws: Sequence[Tensor],
        targets: Targets,
        *,
        sum_over_ranks: Callable[[Tensor], Tensor] = lambda x: x,
        num_ranks: int = 1,
    ) -> LossParts:
        heads = self._heads(raws)
        assigned_maps = self.assigner(heads, targets)
        input_wh = raws[0].shape[3] * self.strides[0], raws[0].shape[2] * self.strides[0]
        triples = zip(heads, assigned_maps, self.head_weights, strict=True)
        parts = torch.stack(
            [self._head_parts(head, assigned, targets, input_wh) * weight for head, assigned, weight in triples]
        ).sum(0)
        if self.per_object:
            count = torch.stack([(assigned >= 0).sum() for assigned in assigned_maps]).sum().float()
        else:
            count = parts.new_full((), float(len(targets.labels)))
        box, objectness, classes = parts / (sum_over_ranks(count).clamp(min=1.0) / num_ranks)
        return LossParts(box + objectness + classes, box, objectness, classes)

    def assigned_maps(self, raws: Sequence[Tensor], targets: Targets) -> list[Tensor]:
        """The assigned ground truth of each prediction: see `model.assign`."""
        return self.assigner(self._heads(raws), targets)

    def _heads(self, raws: Sequence[Tensor]) -> list[HeadPrediction]:
        return [self._decode(*head) for head in zip(raws, self.anchors, self.strides, strict=True)]

    def _decode(self, raw: Tensor, anchors_wh: Tensor, stride: int) -> HeadPrediction:
        logits = split_raw(raw.float(), len(anchors_wh))
        anchors_wh = anchors_wh.to(raw.device)
        return HeadPrediction(
            decode_boxes(logits[..., :4], anchors_wh, stride, self.dialect), logits, anchors_wh, stride
        )

    def _head_parts(
        self, head: HeadPrediction, assigned: Tensor, targets: Targets, input_wh: tuple[int, int]
    ) -> Tensor:
        """(3,) weighted sums over one head: box, objectness, classes."""
        is_assigned = assigned >= 0
        image = torch.arange(len(assigned), device=assigned.device)[:, None, None, None]
        assigned_boxes = targets.boxes_xyxy[image, assigned.clamp(min=0)]  # (B, H, W, A, 4)
        assigned_labels = targets.labels[image, assigned.clamp(min=0)].clamp(min=0)  # (B, H, W, A)
        # Background predictions have no assigned box; their own box in its place keeps the gradient finite and 0.
        overlap = iou(
            head.boxes_xyxy,
            torch.where(is_assigned[..., None], assigned_boxes, head.boxes_xyxy.detach()),
            self.box_loss,
        )
        bonus = self._bonus(assigned_boxes, input_wh) if self.small_box_bonus else 1.0
        box = (torch.where(is_assigned, 1 - overlap, 0.0) * bonus).sum()
        return torch.stack(
            [
                self.box_weight * box,
                self.objectness_weight * self._objectness(head, assigned, assigned_boxes, targets),
                self.class_weight * self._classes(head, is_assigned, assigned_labels),
            ]
        )

    def _bonus(self, boxes_xyxy: Tensor, input_wh: tuple[int, int]) -> Tensor:
        """2 - w * h, sides relative to the network input: a small box weighs up to twice as much (Darknet)."""
        left, top, right, bottom = boxes_xyxy.unbind(-1)
        return 2 - (right - left) / input_wh[0] * ((bottom - top) / input_wh[1])

    def _objectness(self, head: HeadPrediction, assigned: Tensor, assigned_boxes: Tensor, targets: Targets) -> Tensor:
        is_assigned = assigned >= 0
        boxes = head.boxes_xyxy.detach()
        target = (
            torch.where(is_assigned, iou(boxes, assigned_boxes).clamp(0, 1), 0.0)
            if self.overlap_as_objectness
            else is_assigned
        )
        entropy = F.binary_cross_entropy_with_logits(head.logits[..., 4], target.float(), reduction="none")
        objects = targets.real & assigned_any(assigned, targets) if self.ignore_own_head_only else targets.real
        counted = is_assigned | ~ignored_predictions(boxes, targets, objects, self.ignore_iou)
        return torch.where(counted, entropy, 0.0).sum()

    def _classes(self, head: HeadPrediction, is_assigned: Tensor, assigned_labels: Tensor) -> Tensor:
        logits = head.logits[..., 5:]
        num_classes = logits.shape[-1]
        is_class = assigned_labels[..., None] == torch.arange(num_classes, device=logits.device)
        others = self.label_smoothing / max(num_classes - 1, 1)
        target = torch.where(is_class, 1 - self.label_smoothing, others).to(logits.dtype)
        entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(-1)
        return torch.where(is_assigned, entropy, 0.0).sum()


def assigned_any(assigned: Tensor, targets: Targets) -> Tensor:
    """assigned (B, H, W, A) of one head -> (B, M) bool: the boxes that are assigned to any prediction of the head."""
    batch, num_boxes = targets.labels.shape
    is_assigned = torch.zeros(batch, num_boxes + 1, dtype=torch.bool, device=assigned.device)
    return is_assigned.scatter_(1, assigned.flatten(1) + 1, True)[:, 1:]


def ignored_predictions(boxes_xyxy: Tensor, targets: Targets, objects: Tensor, ignore_iou: float) -> Tensor:
    """(B, H, W, A, 4) predicted boxes, objects (B, M) bool -> (B, H, W, A) bool: predictions ignored as background.

    Ignored: an IoU of at least ignore_iou with one of the objects, or at least half of the area in a crowd region.
    """
    flat = boxes_xyxy.flatten(1, 3)[:, None]  # (B, 1, N, 4)
    half_areas = 0.5 * (flat[..., 2:] - flat[..., :2]).clamp(min=1e-6).prod(-1)  # (B, 1, N)
    ignored = torch.zeros(half_areas.shape, dtype=torch.bool, device=flat.device)
    at_once = max(LARGEST_TABLE // max(ignored.numel(), 1), 1)
    for first in range(0, targets.labels.shape[1], at_once):
        rows = slice(first, first + at_once)
        boxes = targets.boxes_xyxy[:, rows, None]  # (B, m, 1, 4)
        close = (iou(boxes, flat) >= ignore_iou) & objects[:, rows, None]
        overlap_wh = torch.minimum(boxes[..., 2:], flat[..., 2:]) - torch.maximum(boxes[..., :2], flat[..., :2])
        in_crowd = (overlap_wh.clamp(0).prod(-1) >= half_areas) & targets.crowd[:, rows, None]
        ignored |= (close | in_crowd).any(1, keepdim=True)
    return ignored.view(boxes_xyxy.shape[:4])
