"""The network in PyTorch as a runtime."""

import numpy as np
import torch

from lookonce.model.decode import decode_heads
from lookonce.model.nms import select_detections
from lookonce.model.yolov3_tiny import YoloV3Tiny, scaled_channels
from lookonce.runtimes.pytorch import PyTorchRuntime, anchor_tensors
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord

THRESHOLDS = {"score_threshold": 0.2, "iou_threshold": 0.5, "max_detections": 20}


def network() -> PyTorchRuntime:
    torch.manual_seed(0)
    channels = scaled_channels(1 / 8)
    record = ModelRecord(
        dialect=DIALECTS["darknet"], channels=channels, class_names=("a", "b"), category_ids=(1, 2), image_size=(64, 96)
    )
    return PyTorchRuntime(YoloV3Tiny(2, channels=channels), record)


def canvases(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 64, 96, 3), dtype=np.uint8)


def test_detect_is_preprocessing_network_decoding_and_suppression():
    runtime = network()
    images = canvases(1)
    with torch.inference_mode():
        raws = runtime.model.eval()(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
        boxes_xyxy, objectness, classes = decode_heads(
            raws, anchor_tensors(runtime.record), (32, 16), runtime.record.dialect
        )
    expected = select_detections(boxes_xyxy[0].numpy(), (objectness[..., None] * classes)[0].numpy(), **THRESHOLDS)
    (got,) = runtime.detect(images, **THRESHOLDS)
    assert len(got) == len(expected) > 0
    np.testing.assert_allclose(got.boxes_xyxy, expected.boxes_xyxy, rtol=1e-5, atol=1e-3)
    np.testing.assert_allclose(got.scores, expected.scores, atol=1e-6)
    np.testing.assert_array_equal(got.labels, expected.labels)


def test_selection_on_the_device_gives_the_detections_of_selection_in_numpy():
    runtime = network()
    images = canvases(3)
    expected = runtime.detect(images, **THRESHOLDS)
    runtime.selects_on_device = True
    for got, one in zip(runtime.detect(images, **THRESHOLDS), expected, strict=True):
        assert len(got) == 20
        np.testing.assert_array_equal(got.labels, one.labels)
        # Convolutions of a batch round differently.
        np.testing.assert_allclose(got.boxes_xyxy, one.boxes_xyxy, atol=1e-3)


def test_the_answer_for_an_image_does_not_depend_on_its_neighbours():
    runtime = network()
    together = runtime.detect(canvases(3), **THRESHOLDS)
    for canvas, found in zip(canvases(3), together, strict=True):
        (alone,) = runtime.detect(canvas[None], **THRESHOLDS)
        np.testing.assert_array_equal(alone.boxes_xyxy, found.boxes_xyxy)
        np.testing.assert_array_equal(alone.scores, found.scores)


def test_a_network_in_training_is_evaluated_with_its_running_statistics():
    runtime = network()
    expected = runtime.raw_heads(canvases(1))[0]
    runtime.model.train()
    before = runtime.model.backbone.conv0.norm.running_mean.clone()
    assert torch.equal(runtime.raw_heads(canvases(1))[0], expected)
    assert torch.equal(runtime.model.backbone.conv0.norm.running_mean, before)


def test_weights_may_change_between_calls():
    runtime = network()
    before = runtime.raw_heads(canvases(1))[0]
    with torch.no_grad():
        runtime.model.head32.bias.add_(1)
    assert not torch.equal(runtime.raw_heads(canvases(1))[0], before)


def test_no_images_no_detections():
    assert network().detect(canvases(0), **THRESHOLDS) == []
