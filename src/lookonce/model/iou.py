"""IoU, GIoU, DIoU and CIoU of boxes as torch tensors, for the loss (elementwise) and the assigners (broadcast)."""

import math
from typing import Literal

import torch
from torch import Tensor

IouKind = Literal["iou", "giou", "diou", "ciou"]


def _wh(boxes_xyxy: Tensor) -> Tensor:
    return boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]


def iou(boxes_a: Tensor, boxes_b: Tensor, kind: IouKind = "iou", eps: float = 1e-7) -> Tensor:
    """(..., 4) xyxy and (..., 4) xyxy, broadcast -> (...); 1 for equal boxes; at least 0 (iou), -1 (giou), or below.

    Source: GIoU Rezatofighi et al. 2019; DIoU and CIoU Zheng et al. 2020. The intersection is clamped to 0 in each
    axis. The model zoo does not clamp it, so there boxes that are apart in both axes overlap.
    """
    overlap_wh = (
        torch.minimum(boxes_a[..., 2:], boxes_b[..., 2:]) - torch.maximum(boxes_a[..., :2], boxes_b[..., :2])
    ).clamp(min=0)
    overlap = overlap_wh[..., 0] * overlap_wh[..., 1]
    wh_a, wh_b = _wh(boxes_a), _wh(boxes_b)
    union = wh_a[..., 0] * wh_a[..., 1] + wh_b[..., 0] * wh_b[..., 1] - overlap
    plain = overlap / (union + eps)
    if kind == "iou":
        return plain
    hull_wh = torch.maximum(boxes_a[..., 2:], boxes_b[..., 2:]) - torch.minimum(boxes_a[..., :2], boxes_b[..., :2])
    if kind == "giou":
        hull = hull_wh[..., 0] * hull_wh[..., 1]
        return plain - (hull - union) / (hull + eps)
    offset = (boxes_a[..., :2] + boxes_a[..., 2:] - boxes_b[..., :2] - boxes_b[..., 2:]) / 2
    distance = (offset**2).sum(-1) / ((hull_wh**2).sum(-1) + eps)
    if kind == "diou":
        return plain - distance
    angle = torch.atan(wh_a[..., 0] / (wh_a[..., 1] + eps)) - torch.atan(wh_b[..., 0] / (wh_b[..., 1] + eps))
    aspect = (4 / math.pi**2) * angle**2
    with torch.no_grad():
        weight = aspect / (1 - plain + aspect + eps)
    return plain - distance - weight * aspect


def wh_iou(sizes_a: Tensor, sizes_b: Tensor) -> Tensor:
    """(..., 1, 2) and (A, 2) widths and heights -> (..., A): the IoU of boxes with the same centre."""
    overlap = torch.minimum(sizes_a, sizes_b).prod(-1)
    return overlap / (sizes_a.prod(-1) + sizes_b.prod(-1) - overlap).clamp(min=1e-9)
