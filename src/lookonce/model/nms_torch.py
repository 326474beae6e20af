"""Non-maximum suppression in PyTorch, for a batch on an accelerator: only the detections are copied from it.

The same steps and the same arithmetic as nms.py, so equal boxes and scores give equal detections.
"""

import torch
from torch import Tensor

from lookonce.detections import Detections
from lookonce.model.nms import MOST_CANDIDATES

# Pairs of boxes compared at once: 64 MB of float32 for each intermediate result.
PAIRS_AT_ONCE = 2**24


@torch.inference_mode()
def select_batch(
    boxes_xyxy: Tensor,
    scores: Tensor,
    image_index: Tensor,
    *,
    batch_size: int,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
    multi_label: bool = True,
    agnostic: bool = False,
    pre_nms_top: int = MOST_CANDIDATES,
) -> list[Detections]:
    """boxes_xyxy (R, 4), scores (R, C), image_index (R,) 0..batch_size-1 -> `select_detections` of each image."""
    rows, labels = (scores > score_threshold).nonzero().unbind(1)
    if not multi_label:
        is_best = scores.argmax(1)[rows] == labels
        rows, labels = rows[is_best], labels[is_best]
    candidates, images = scores[rows, labels], image_index[rows]
    order = candidates.argsort(descending=True, stable=True)
    order = order[images[order].argsort(stable=True)]  # by image, then highest score first
    images = images[order]
    starts = torch.searchsorted(images, torch.arange(batch_size, device=images.device))
    places = torch.arange(len(order), device=images.device) - starts[images]  # within the image
    is_high = places < pre_nms_top
    order, images, places = order[is_high], images[is_high], places[is_high]
    boxes_xyxy, candidates, labels = boxes_xyxy[rows[order]], candidates[order], labels[order]
    groups = torch.zeros_like(labels) if agnostic else labels
    kept = _suppress(boxes_xyxy, groups, images, places, batch_size, iou_threshold, max_detections)
    # Labels and images are exact in float32, so that one copy takes everything from the device.
    columns = torch.stack([candidates[kept], labels[kept].to(candidates.dtype), images[kept].to(candidates.dtype)], 1)
    table = torch.cat([boxes_xyxy[kept], columns], 1).float().cpu().numpy()
    ends = table[:, 6].searchsorted(range(1, batch_size + 1)).tolist()
    return [
        Detections(boxes_xyxy=table[begin:end, :4], scores=table[begin:end, 4], labels=table[begin:end, 5].astype(int))
        for begin, end in zip([0, *ends], ends, strict=False)
    ]


def _suppress(
    boxes_xyxy: Tensor,
    groups: Tensor,
    images: Tensor,
    places: Tensor,
    batch_size: int,
    iou_threshold: float,
    max_detections: int,
) -> Tensor:
    """(K,) which candidates are kept; images and places (K,) are the row and column of each in a padded table."""
    most = int(places.max()) + 1 if len(places) else 0
    table_boxes = boxes_xyxy.new_zeros((batch_size, most, 4))
    table_groups = groups.new_full((batch_size, most), -1)  # -1: padding, whose boxes have no area
    table_boxes[images, places], table_groups[images, places] = boxes_xyxy, groups
    at_once = max(1, PAIRS_AT_ONCE // max(most * most, 1))
    parts = [slice(start, start + at_once) for start in range(0, batch_size, at_once)]
    kept = torch.cat([_first_come(_suppresses(table_boxes[part], table_groups[part], iou_threshold)) for part in parts])
    kept &= kept.cumsum(1) <= max_detections
    return kept[images, places]


def _suppresses(boxes_xyxy: Tensor, groups: Tensor, iou_threshold: float) -> Tensor:
    """(B, K, 4), (B, K), highest score first -> (B, K, K) whether box i suppresses a later box j, if i is kept."""
    sides, others = boxes_xyxy[:, :, None], boxes_xyxy[:, None]
    width, height = (
        (torch.minimum(sides[..., end], others[..., end]) - torch.maximum(sides[..., begin], others[..., begin])).clamp(
            min=0
        )
        for begin, end in ((0, 2), (1, 3))
    )
    overlap = width * height
    wh = (boxes_xyxy[..., 2:] - boxes_xyxy[..., :2]).clamp(min=0)
    areas = wh[..., 0] * wh[..., 1]
    exceeds = overlap > iou_threshold * (areas[:, :, None] + areas[:, None] - overlap)
    return (exceeds & (groups[:, :, None] == groups[:, None])).triu(1)


def _first_come(suppresses: Tensor) -> Tensor:
    """As nms.py: (B, K, K) -> (B, K) which are kept."""
    kept = suppresses.new_ones(suppresses.shape[:2])
    while True:
        remaining = ~(suppresses & kept[:, :, None]).any(1)
        if torch.equal(remaining, kept):
            return kept
        kept = remaining
