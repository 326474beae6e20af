"""Label assignment: an assigner chooses which box each prediction learns; `assign_top`: positive predictions per box.

An assigner returns one map per head, `assigned` (B, H, W, A) int64: the row of the assigned ground truth in the padded
boxes, or -1 for background. All boxes of a batch are assigned at once, in static shapes and without a Python loop.

If two boxes claim the same prediction, exactly one gets it: the later row with `BestAnchors` (as the model zoo's loop
overwrites), the one with the higher IoU with `TaskAligned`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lookonce.model.iou import iou, wh_iou


@dataclass(frozen=True)
class Targets:
    """The ground truth of a batch, padded to M boxes per image.

    boxes_xyxy (B, M, 4) float32 pixels of the network's input; labels (B, M) int64, -1 for padding; crowd (B, M) bool:
    regions that count neither as object nor as background.
    """

    boxes_xyxy: Tensor
    labels: Tensor
    crowd: Tensor

    @property
    def real(self) -> Tensor:
        """(B, M) bool: boxes to assign, neither padding nor crowd."""
        return (self.labels >= 0) & ~self.crowd

    def to(self, device: torch.device | str) -> "Targets":
        """A copy on another device; asynchronous if the memory is pinned."""
        return Targets(*(x.to(device, non_blocking=True) for x in (self.boxes_xyxy, self.labels, self.crowd)))

    @staticmethod
    def from_flat(
        boxes_xyxy: Tensor, labels: Tensor, image_index: Tensor, crowd: Tensor, *, batch_size: int
    ) -> "Targets":
        """(K, 4), (K,), (K,), (K,) sorted by image_index -> padded; M is 8, 16, 32, ..., so that few shapes occur."""
        counts = torch.bincount(image_index, minlength=batch_size)
        columns = torch.arange(len(labels)) - (counts.cumsum(0) - counts)[image_index]
        most = int(counts.numpy().max(initial=8))
        size = 1 << (most - 1).bit_length()
        padded_boxes = torch.zeros(batch_size, size, 4)
        padded_labels = torch.full((batch_size, size), -1, dtype=torch.int64)
        padded_crowd = torch.zeros(batch_size, size, dtype=torch.bool)
        padded_boxes[image_index, columns] = boxes_xyxy.float()
        padded_labels[image_index, columns] = labels
        padded_crowd[image_index, columns] = crowd
        return Targets(padded_boxes, padded_labels, padded_crowd)


@dataclass(frozen=True)
class HeadPrediction:
    """One head's output: boxes_xyxy (B, H, W, A, 4) pixels; logits (B, H, W, A, 5 + C); its anchors and stride."""

    boxes_xyxy: Tensor
    logits: Tensor
    anchors_wh: Tensor  # (A, 2) pixels
    stride: int

    @property
    def grid(self) -> tuple[int, int]:
        return self.logits.shape[1], self.logits.shape[2]


class Assigner(Protocol):
    """Assigns ground truth to predictions."""

    def __call__(self, heads: Sequence[HeadPrediction], targets: Targets) -> list[Tensor]:
        """One `assigned` (B, H, W, A) per head."""
        ...


@dataclass(frozen=True, kw_only=True)
class BestAnchors:
    """The model zoo's rule: the best anchor over all heads, and every anchor whose size IoU exceeds `iou_threshold`.

    neighbours: also assign the two cells nearest to the box's centre. Predicted centres must then be able to lie half a
    cell outside their cell (dialect `ultralytics`).
    """

    iou_threshold: float = 0.213
    neighbours: bool = False

    def __call__(self, heads: Sequence[HeadPrediction], targets: Targets) -> list[Tensor]:
        sizes = targets.boxes_xyxy[..., 2:] - targets.boxes_xyxy[..., :2]
        overlaps = wh_iou(sizes[:, :, None], torch.cat([head.anchors_wh for head in heads]))  # (B, M, all anchors)
        best = torch.zeros_like(overlaps, dtype=torch.bool).scatter_(2, overlaps.argmax(2, keepdim=True), True)
        matches = (best | (overlaps > self.iou_threshold)) & targets.real[..., None]
        assigned_maps, first = [], 0
        for head in heads:
            last = first + len(head.anchors_wh)
            assigned_maps.append(self._map(head, targets, matches[..., first:last]))
            first = last
        return assigned_maps

    def _map(self, head: HeadPrediction, targets: Targets, matches: Tensor) -> Tensor:
        """matches (B, M, A) bool -> assigned (B, H, W, A) of one head."""
        height, width = head.grid
        batch, num_boxes, num_anchors = matches.shape
        centers = (targets.boxes_xyxy[..., :2] + targets.boxes_xyxy[..., 2:]) / 2 / head.stride
        cells = self._cells(centers)  # (B, M, P, 2) columns and rows
        columns, rows = cells[..., 0], cells[..., 1]
        inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        anchors = torch.arange(num_anchors, device=matches.device)
        slots = ((rows * width + columns)[..., None] * num_anchors + anchors).flatten(1)  # (B, M * P * A)
        valid = (inside[..., None] & matches[:, :, None]).flatten(1)
        boxes = torch.arange(num_boxes, device=matches.device)[:, None, None].expand(-1, cells.shape[2], num_anchors)
        values = torch.where(valid, boxes.reshape(1, -1), -1)
        assigned = torch.full((batch, height * width * num_anchors), -1, dtype=torch.int64, device=matches.device)
        assigned.scatter_reduce_(1, slots.clamp(0, assigned.shape[1] - 1), values, "amax")
        return assigned.view(batch, height, width, num_anchors)

    def _cells(self, centers: Tensor) -> Tensor:
        """(B, M, 2) centres in cells -> (B, M, P, 2) int64 column and row: the cell, then its nearest in x and in y."""
        own = centers.floor()
        if not self.neighbours:
            return own.long()[:, :, None]
        column, row = (own + torch.where(centers - own < 0.5, -1.0, 1.0)).unbind(-1)  # towards the nearer edge
        sideways = torch.stack([column, own[..., 1]], dim=-1)
        upright = torch.stack([own[..., 0], row], dim=-1)
        return torch.stack([own, sideways, upright], dim=2).long()


@dataclass(frozen=True, kw_only=True)
class TaskAligned:
    """Dynamic assignment: for each box the `top` candidates with the highest score**alpha * iou**beta.

    Source: Feng et al. 2021 (TOOD), section 3.2. A candidate's cell centre lies in the box, or within `radius` cells of
    the box's centre, so that a box smaller than a cell also has candidates. A prediction that several boxes claim is
    assigned to the box with the highest IoU.
    """

    top: int = 10
    alpha: float = 0.5
    beta: float = 6.0
    radius: float = 1.0

    @torch.no_grad()
    def __call__(self, heads: Sequence[HeadPrediction], targets: Targets) -> list[Tensor]:
        predicted = torch.cat([head.boxes_xyxy.flatten(1, 3) for head in heads], dim=1)  # (B, N, 4)
        overlaps = iou(targets.boxes_xyxy[:, :, None], predicted[:, None]).clamp(0, 1)  # (B, M, N)
        scores = torch.cat([self._scores(head, targets) for head in heads], dim=2)
        near = torch.cat([self._near(head, targets) for head in heads], dim=2)
        quality = torch.where(near, scores**self.alpha * overlaps**self.beta, 0.0)
        best, columns = quality.topk(min(self.top, quality.shape[2]), dim=2)
        chosen = torch.zeros_like(near).scatter_(2, columns, best > 0)
        claim, assigned = torch.where(chosen, overlaps, -1.0).max(dim=1)  # (B, N)
        assigned = torch.where(claim >= 0, assigned, -1)
        counts = [head.logits[0, ..., 0].numel() for head in heads]
        return [
            part.view(head.logits.shape[:4]) for part, head in zip(torch.split(assigned, counts, 1), heads, strict=True)
        ]

    def _scores(self, head: HeadPrediction, targets: Targets) -> Tensor:
        """(B, M, N) predicted probability of each box's class: objectness times class probability."""
        probabilities = head.logits[..., 5:].sigmoid() * head.logits[..., 4:5].sigmoid()
        flat = probabilities.flatten(1, 3).transpose(1, 2)  # (B, C, N)
        labels = targets.labels.clamp(min=0)[..., None].expand(-1, -1, flat.shape[2])
        return flat.gather(1, labels)

    def _near(self, head: HeadPrediction, targets: Targets) -> Tensor:
        height, width = head.grid
        x = (torch.arange(width, device=targets.labels.device) + 0.5) * head.stride
        y = (torch.arange(height, device=targets.labels.device) + 0.5) * head.stride
        left, top, right, bottom = (side[..., None] for side in targets.boxes_xyxy.unbind(-1))  # (B, M, 1)
        reach = self.radius * head.stride
        across = self._between(x, left, right, reach)  # (B, M, W)
        down = self._between(y, top, bottom, reach)  # (B, M, H)
        near = down[..., :, None] & across[..., None, :] & targets.real[..., None, None]
        return near[..., None].expand(*near.shape, len(head.anchors_wh)).flatten(2)

    @staticmethod
    def _between(cells: Tensor, low: Tensor, high: Tensor, reach: float) -> Tensor:
        middle = (low + high) / 2
        return ((cells >= low) & (cells <= high)) | ((cells - middle).abs() < reach)
