"""numpy decodes and prepares as PyTorch does."""

import numpy as np
import pytest
import torch

from lookonce.model import decode_numpy, normalise
from lookonce.model.decode import decode_heads as decode_with_torch
from lookonce.runtimes.pytorch import anchor_tensors
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord, Preprocessing


@pytest.mark.parametrize("dialect", DIALECTS)
def test_decodes_as_the_network_does(dialect):
    record = ModelRecord(dialect=DIALECTS[dialect], class_names=("a", "b"), category_ids=(1, 2))
    generator = np.random.default_rng(0)
    raws = [generator.normal(0, 3, (2, 3 * 7, height, width)).astype(np.float32) for height, width in ((2, 3), (4, 6))]
    raws[0][0, :4, 0, 0] = 100.0  # a wild logit
    boxes_xyxy, objectness, classes = decode_with_torch(
        [torch.from_numpy(raw) for raw in raws], anchor_tensors(record), record.strides, record.dialect
    )
    got_boxes, got_scores = decode_numpy.decode_heads(raws, record)
    assert got_boxes.dtype == got_scores.dtype == np.float32
    np.testing.assert_allclose(got_boxes, boxes_xyxy.numpy(), rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(got_scores, (objectness[..., None] * classes).numpy(), atol=1e-6)


def test_candidates_are_the_boxes_above_the_threshold_in_their_order():
    record = ModelRecord(dialect=DIALECTS["ultralytics"], class_names=("a", "b"), category_ids=(1, 2))
    generator = np.random.default_rng(0)
    raws = [generator.normal(0, 3, (1, 21, *shape)).astype(np.float32) for shape in ((2, 3), (4, 6))]
    boxes_xyxy, scores = decode_numpy.decode_heads(raws, record)
    found, found_scores = decode_numpy.decode_candidates(raws, record, score_threshold=0.5)
    objectness = np.concatenate(
        [raw.reshape(3, 7, -1)[:, 4].T.ravel() for raw in raws]  # heads, then cells and anchors
    )
    np.testing.assert_array_equal(found, boxes_xyxy[0, objectness > 0])
    np.testing.assert_array_equal(found_scores, scores[0, objectness > 0])


def test_cell_5_2_at_stride_32_with_zero_logits_is_its_anchor_around_176_80():
    record = ModelRecord(dialect=DIALECTS["darknet"], class_names=("a",), category_ids=(1,), strides=(32,))
    boxes_xyxy, scores = decode_numpy.decode_heads([np.zeros((1, 18, 4, 8), np.float32)], record)
    row = (2 * 8 + 5) * 3  # row 2, column 5, first anchor: 81 x 82
    np.testing.assert_allclose(boxes_xyxy[0, row], [176 - 40.5, 80 - 41, 176 + 40.5, 80 + 41])
    assert scores[0, row] == 0.25


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(),
        Preprocessing(color_order="BGR"),
        Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    ],
)
def test_prepares_as_the_network_does(preprocessing):
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    expected = normalise.to_network_input(torch.from_numpy(images), preprocessing)
    got = decode_numpy.to_network_input(images, preprocessing)
    assert got.shape == (2, 3, 4, 6)
    assert got.flags.c_contiguous
    np.testing.assert_allclose(got, expected.numpy(), rtol=1e-6, atol=1e-7)


def test_one_red_pixel_in_the_order_blue_green_red():
    red = np.array([[[[255, 0, 51]]]], np.uint8)
    got = decode_numpy.to_network_input(red, Preprocessing(color_order="BGR"))
    assert got.ravel().tolist() == pytest.approx([0.2, 0, 1])
