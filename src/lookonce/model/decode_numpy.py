"""Normalisation and decoding in numpy, for files that contain only the network.

The same arithmetic as normalise.py and decode.py in PyTorch, for files exported with --no-preprocess or --outputs raw.
It also works in the base install, which has no PyTorch.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lookonce.settings.dialects import Dialect
from lookonce.settings.record import ModelRecord, Preprocessing

Float32 = NDArray[np.float32]


def to_planes(images: NDArray[np.uint8]) -> Float32:
    """(B, H, W, 3) uint8 -> (B, 3, H, W) float32 of the same values, 0..255, contiguous."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)


def to_network_input(images: NDArray[np.uint8], preprocessing: Preprocessing) -> Float32:
    """(B, H, W, 3) uint8 RGB -> (B, 3, H, W) float32, normalised, in the record's colour order, contiguous."""
    pixels = images.transpose(0, 3, 1, 2)
    if preprocessing.color_order == "BGR":
        pixels = pixels[:, ::-1]
    mean, std = (np.array(three, np.float32).reshape(1, 3, 1, 1) for three in (preprocessing.mean, preprocessing.std))
    return np.ascontiguousarray((pixels.astype(np.float32) / np.float32(255) - mean) / std)


def decode_heads(raws: Sequence[Float32], record: ModelRecord) -> tuple[Float32, Float32]:
    """Raw maps (B, A * (5 + C), H, W) -> boxes_xyxy (B, N, 4) input pixels, scores (B, N, C) objectness * class.

    N: heads, then rows, columns and anchors.
    """
    boxes, scores = [], []
    for head, raw in enumerate(raws):
        logits = _logits(raw, head, record)
        found = _decode(logits, *_cells_and_anchors(logits.shape[1:], head, record), head, record)
        boxes.append(found[0].reshape(len(raw), -1, 4))
        scores.append(found[1].reshape(len(raw), -1, record.num_classes))
    return np.concatenate(boxes, axis=1), np.concatenate(scores, axis=1)


def decode_candidates(
    raws: Sequence[Float32], record: ModelRecord, *, score_threshold: float
) -> tuple[Float32, Float32]:
    """Raw maps of one image -> as `decode_heads`, (R, 4) and (R, C), of the boxes with objectness > score_threshold.

    No score of another box can exceed it."""
    boxes, scores = [], []
    for head, raw in enumerate(raws):
        logits = _logits(raw, head, record)[0]
        rows, columns, anchors = np.nonzero(_sigmoid(logits[..., 4]) > score_threshold)
        cells, anchors_wh = _cells_and_anchors(logits.shape, head, record)
        found = _decode(logits[rows, columns, anchors], cells[rows, columns, 0], anchors_wh[anchors], head, record)
        boxes.append(found[0])
        scores.append(found[1])
    return np.concatenate(boxes), np.concatenate(scores)


def _logits(raw: Float32, head: int, record: ModelRecord) -> Float32:
    """(B, A * (5 + C), H, W) -> (B, H, W, A, 5 + C), a view."""
    batch, _, height, width = raw.shape
    num_anchors = len(record.head_anchors(head))
    return raw.reshape(batch, num_anchors, 5 + record.num_classes, height, width).transpose(0, 3, 4, 1, 2)


def _cells_and_anchors(shape: tuple[int, ...], head: int, record: ModelRecord) -> tuple[Float32, Float32]:
    """(H, W, 1, 2) column and row of each cell, (A, 2) anchors in pixels, for logits (H, W, A, 5 + C)."""
    height, width = shape[:2]
    cells = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float32)[:, :, None, :]
    return cells, np.array(record.head_anchors(head), np.float32)


def _decode(
    logits: Float32, cells: Float32, anchors_wh: Float32, head: int, record: ModelRecord
) -> tuple[Float32, Float32]:
    """(..., 5 + C), (..., 2), (..., 2) -> boxes_xyxy (..., 4) input pixels, scores (..., C)."""
    stride, dialect = record.strides[head], record.dialect
    scale = dialect.center_scales[stride]
    centers = (scale * _sigmoid(logits[..., :2]) - (scale - 1) / 2 + cells) * stride
    sizes = _size_factor(logits[..., 2:4], dialect) * anchors_wh
    boxes_xyxy = np.concatenate([centers - sizes / 2, centers + sizes / 2], axis=-1)
    return boxes_xyxy, _sigmoid(logits[..., 4:5]) * _sigmoid(logits[..., 5:])


def _size_factor(logits_wh: Float32, dialect: Dialect) -> Float32:
    if dialect.size_rule == "square":
        return np.asarray((2 * _sigmoid(logits_wh)) ** 2)
    return np.exp(np.minimum(logits_wh, np.float32(10)))  # bounded as in model/decode.py


def _sigmoid(logits: Float32) -> Float32:
    """Computed through tanh, which does not overflow for any logit."""
    return np.asarray(np.float32(0.5) * np.tanh(np.float32(0.5) * logits) + np.float32(0.5))
