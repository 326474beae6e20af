"""Raw numbers to boxes, worked out by hand."""

import math

import torch

from lookonce.model.decode import decode_boxes, decode_candidates, decode_heads, split_raw
from lookonce.settings.dialects import DIALECTS

ANCHOR = torch.tensor([[100.0, 50.0]])


def zero_head(cells: int) -> torch.Tensor:
    return torch.zeros(1, cells, cells, 1, 4)


def test_cell_5_2_at_stride_32_decodes_to_centre_176_80():  # zero logits: (5 + 0.5) * 32, (2 + 0.5) * 32
    for dialect in DIALECTS.values():
        left, top, right, bottom = decode_boxes(zero_head(13), ANCHOR, 32, dialect)[0, 2, 5, 0].tolist()
        assert ((left + right) / 2, (top + bottom) / 2) == (176.0, 80.0)
        assert (right - left, bottom - top) == (100.0, 50.0)  # exp(0) = (2 * 0.5) ** 2 = 1 anchor


def test_a_large_centre_logit_reaches_as_far_as_the_dialect_lets_it():
    logits = zero_head(4)
    logits[..., 0] = 50.0  # sigmoid is 1
    reach = {"darknet": 1.0, "mindspore": 1.1 - 0.05, "ultralytics": 2 - 0.5}
    for name, cells in reach.items():
        box = decode_boxes(logits, ANCHOR, 32, DIALECTS[name])[0, 0, 1, 0]
        assert math.isclose((box[0] + box[2]).item() / 2, (1 + cells) * 32, rel_tol=1e-6)


def test_a_wild_size_logit_stays_finite():
    logits = zero_head(2)
    logits[..., 2:] = 1000.0
    for dialect in DIALECTS.values():
        assert torch.isfinite(decode_boxes(logits, ANCHOR, 32, dialect)).all()


def test_split_raw_is_anchor_major():
    raw = torch.arange(2 * 7 * 3 * 4, dtype=torch.float32).view(1, 14, 3, 4)  # 2 anchors of 5 + 2 numbers
    assert split_raw(raw, 2).shape == (1, 3, 4, 2, 7)
    assert split_raw(raw, 2)[0, 1, 2, 1, 3] == raw[0, 7 + 3, 1, 2]


def test_heads_follow_each_other_then_rows_columns_anchors():
    raws = [torch.zeros(1, 3 * 7, 2, 2), torch.zeros(1, 3 * 7, 4, 4)]
    raws[1][0, 7 + 4, 1, 2] = 50.0  # objectness of anchor 1 at row 1, column 2 of the second head
    anchors = [torch.full((3, 2), 32.0), torch.full((3, 2), 16.0)]
    boxes, objectness, probabilities = decode_heads(raws, anchors, (32, 16), DIALECTS["darknet"])
    assert boxes.shape == (1, 12 + 48, 4)
    assert probabilities.shape == (1, 60, 2)
    assert objectness[0].argmax() == 12 + (1 * 4 + 2) * 3 + 1


def test_candidates_are_the_boxes_above_the_threshold_in_their_order_bit_for_bit():
    generator = torch.Generator().manual_seed(0)
    raws = [torch.randn(3, 3 * 25, side, 2 * side, generator=generator) for side in (2, 4)]
    raws[0][1], raws[1][1] = -20.0, -20.0  # an image without candidates
    raws = [raw.contiguous(memory_format=torch.channels_last) for raw in raws]  # as PyTorchRuntime's network gives them
    heads = (raws, [torch.full((3, 2), 32.0), torch.full((3, 2), 16.0)], (32, 16), DIALECTS["mindspore"])
    boxes, objectness, probabilities = decode_heads(*heads)
    found, scores, image_index = decode_candidates(*heads, score_threshold=0.6)
    for image, expected in enumerate(objectness > 0.6):
        assert torch.equal(found[image_index == image], boxes[image, expected])
        assert torch.equal(scores[image_index == image], (objectness[..., None] * probabilities)[image, expected])
    assert image_index.bincount(minlength=3)[1] == 0
