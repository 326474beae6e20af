"""Decoding in PyTorch: raw maps of the heads -> boxes in pixels and probabilities.

Source: Redmon & Farhadi 2018, section 2.1 (b_x .. b_h); the dialects' differences are a table in settings/dialects.py.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from lookonce.settings.dialects import Dialect


def split_raw(raw: Tensor, num_anchors: int) -> Tensor:
    """(B, A * (5 + C), H, W) -> (B, H, W, A, 5 + C), a view: free for channels_last maps."""
    batch, channels, height, width = raw.shape
    return raw.view(batch, num_anchors, channels // num_anchors, height, width).permute(0, 3, 4, 1, 2)


def cell_grid(height: int, width: int, like: Tensor) -> Tensor:
    """(H, W, 1, 2): column and row of each cell, with the dtype and device of `like`."""
    rows = torch.arange(height, device=like.device, dtype=like.dtype)
    columns = torch.arange(width, device=like.device, dtype=like.dtype)
    return torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)[:, :, None, :]


def decode_centers_sizes(
    logits_xywh: Tensor, anchors_wh: Tensor, stride: int, dialect: Dialect, cells: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(B, H, W, A, 4) logits, (A, 2) anchors in pixels -> centres and sizes, each (B, H, W, A, 2), input pixels.

    cells: column and row of each box, for logits (R, 4) and anchors (R, 2) of R chosen boxes; then (R, 2).
    """
    if cells is None:
        height, width = logits_xywh.shape[1:3]
        cells = cell_grid(height, width, logits_xywh)
    scale = dialect.center_scales[stride]
    in_cell = scale * torch.sigmoid(logits_xywh[..., :2]) - (scale - 1) / 2
    return (in_cell + cells) * stride, size_factor(logits_xywh[..., 2:4], dialect) * anchors_wh


def decode_boxes(
    logits_xywh: Tensor, anchors_wh: Tensor, stride: int, dialect: Dialect, cells: Tensor | None = None
) -> Tensor:
    """As `decode_centers_sizes` -> (B, H, W, A, 4) or (R, 4) xyxy pixels of the network's input."""
    centers, sizes = decode_centers_sizes(logits_xywh, anchors_wh, stride, dialect, cells)
    return torch.cat([centers - sizes / 2, centers + sizes / 2], dim=-1)


def size_factor(logits_wh: Tensor, dialect: Dialect) -> Tensor:
    """(..., 2) logits -> (..., 2) box width and height as multiples of the anchor's."""
    if dialect.size_rule == "square":
        return (2 * torch.sigmoid(logits_wh)) ** 2
    # e**10 anchors is far larger than any image. The clamp keeps the result finite, also in float16 (maximum e**11.09).
    return torch.exp(logits_wh.clamp(max=10.0))


def decode_heads(
    raws: Sequence[Tensor], anchors: Sequence[Tensor], strides: Sequence[int], dialect: Dialect
) -> tuple[Tensor, Tensor, Tensor]:
    """Raw maps of all heads -> boxes_xyxy (B, N, 4) pixels, objectness (B, N), class probabilities (B, N, C).

    N: over heads in the given order, then rows, columns and anchors.
    """
    boxes, objectness, probabilities = [], [], []
    for raw, anchors_wh, stride in zip(raws, anchors, strides, strict=True):
        logits = split_raw(raw, len(anchors_wh))
        boxes.append(decode_boxes(logits[..., :4], anchors_wh, stride, dialect).flatten(1, 3))
        objectness.append(logits[..., 4].sigmoid().flatten(1, 3))
        probabilities.append(logits[..., 5:].sigmoid().flatten(1, 3))
    return torch.cat(boxes, 1), torch.cat(objectness, 1), torch.cat(probabilities, 1)


def decode_candidates(
    raws: Sequence[Tensor],
    anchors: Sequence[Tensor],
    strides: Sequence[int],
    dialect: Dialect,
    *,
    score_threshold: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """As `decode_heads`, of the R boxes whose objectness exceeds score_threshold: no score of another box can.

    Returns boxes_xyxy (R, 4) pixels, scores (R, C) objectness * class, and image_index (R,). The boxes of one image
    keep the order of `decode_heads`, and for channels_last maps on a CPU every bit. At 640 pixels a trained network
    with 80 classes has a tenth of its 6,000 boxes above 0.001; sigmoids and copies of the others took most of the time.
    """
    boxes, scores, image_index = [], [], []
    for raw, anchors_wh, stride in zip(raws, anchors, strides, strict=True):
        logits = split_raw(raw, len(anchors_wh))
        height, width, num_anchors, channels = logits.shape[1:]
        objectness = logits[..., 4].sigmoid().flatten()
        places = (objectness > score_threshold).nonzero()[:, 0]
        chosen = logits.reshape(-1, channels)[places]
        cell = places // num_anchors
        cells = torch.stack([cell % width, cell // width % height], dim=-1).to(raw.dtype)
        boxes.append(decode_boxes(chosen[:, :4], anchors_wh[places % num_anchors], stride, dialect, cells))
        scores.append(objectness[places, None] * chosen[:, 5:].sigmoid())
        image_index.append(cell // (width * height))
    return torch.cat(boxes), torch.cat(scores), torch.cat(image_index)
