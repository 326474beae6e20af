from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from lookonce.model.yolov3_tiny import YoloV3Tiny, scaled_channels
from lookonce.runtimes.onnx import open_session
from lookonce.runtimes.speed import milliseconds_by_size, network_bytes
from lookonce.settings.record import FULL_CHANNELS

SLIM = scaled_channels(0.125)


def test_the_graph_written_by_hand_is_valid_onnx() -> None:
    model = onnx.load_from_string(network_bytes(3, SLIM))
    onnx.checker.check_model(model, full_check=True)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 17)]


def test_it_is_the_network() -> None:
    """The same weights in the PyTorch network, whose normalisation then changes nothing, give the same numbers."""
    content = network_bytes(3, SLIM)
    stored = onnx.load_from_string(content).graph.initializer
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in stored}
    weights = [torch.from_numpy(arrays[name].copy()) for name in arrays if name.startswith("weights")]
    network = YoloV3Tiny(3, channels=SLIM, batchnorm_eps=0.0).eval()
    convolutions = [module for module in network.modules() if isinstance(module, torch.nn.Conv2d)]
    with torch.no_grad():
        for convolution, values in zip(convolutions, weights, strict=True):
            convolution.weight.copy_(values)
            if convolution.bias is not None:
                convolution.bias.zero_()
        images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
        expected = network(images)
    found = open_session(content, Path("graph"), 1).run(None, {"images": images.numpy()})
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, two.numpy(), rtol=1e-4, atol=1e-4)


def test_it_has_as_many_weights_as_the_network() -> None:
    arrays = onnx.load_from_string(network_bytes(80)).graph.initializer
    count = sum(int(np.prod(tensor.dims)) for tensor in arrays if tensor.name.startswith("weights"))
    network = YoloV3Tiny(80, channels=FULL_CHANNELS)
    assert count == sum(m.weight.numel() for m in network.modules() if isinstance(m, torch.nn.Conv2d))


@pytest.mark.slow
def test_larger_images_take_longer() -> None:
    taken = milliseconds_by_size((320, 416, 640), 3)
    assert 0 < taken[320] < taken[416] < taken[640]
