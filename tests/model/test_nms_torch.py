"""NMS of a batch in PyTorch gives the detections of numpy's, image for image."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lookonce.model import nms_torch
from lookonce.model.nms import select_detections


@given(
    seed=st.integers(0, 2**32 - 1),
    batch=st.integers(1, 3),
    num_boxes=st.integers(0, 60),
    levels=st.sampled_from([4, 1000000]),
    multi_label=st.booleans(),
    agnostic=st.booleans(),
    pre_nms_top=st.sampled_from([5, 2000]),
)
def test_equals_numpy_in_every_image(seed, batch, num_boxes, levels, multi_label, agnostic, pre_nms_top):
    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 60, (num_boxes, 2))
    boxes_xyxy = np.concatenate([corners, corners + rng.uniform(5, 60, corners.shape)], 1).astype(np.float32)
    scores = (rng.integers(0, levels + 1, (num_boxes, 3)) / levels).astype(np.float32)  # few levels: ties
    images = rng.integers(0, batch, num_boxes)
    options = {"score_threshold": 0.2, "iou_threshold": 0.4, "max_detections": 7, "pre_nms_top": pre_nms_top}
    options |= {"multi_label": multi_label, "agnostic": agnostic}
    tensors = [torch.from_numpy(values) for values in (boxes_xyxy, scores, images)]
    found = nms_torch.select_batch(*tensors, batch_size=batch, **options)
    assert len(found) == batch
    for image, got in enumerate(found):
        expected = select_detections(boxes_xyxy[images == image], scores[images == image], **options)
        for name, values in vars(expected).items():
            np.testing.assert_array_equal(getattr(got, name), values)
            assert getattr(got, name).dtype == values.dtype


def test_the_result_does_not_depend_on_how_many_images_are_compared_at_once(monkeypatch: pytest.MonkeyPatch):
    boxes_xyxy = torch.tensor([[0, 0, 10, 10], [0, 0, 10, 9]]).float().repeat(5, 1)
    scores, images = torch.tensor([[0.5], [0.9]]).repeat(5, 1), torch.arange(5).repeat_interleave(2)
    options = {"batch_size": 6, "score_threshold": 0.1, "iou_threshold": 0.5, "max_detections": 9}
    for pairs in (1, 2**24):
        monkeypatch.setattr(nms_torch, "PAIRS_AT_ONCE", pairs)
        found = nms_torch.select_batch(boxes_xyxy, scores, images, **options)
        assert [one.boxes_xyxy.tolist() for one in found] == [[[0, 0, 10, 9]]] * 5 + [[]]
