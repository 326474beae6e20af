"""Scales and zero points, by hand and through quantised arithmetic."""

import pytest
import torch

from lookonce.model.int8_scales import Range, activation_ranges, weight_scales
from lookonce.model.layers import steps_of
from lookonce.model.yolov3_tiny import YoloV3Tiny, scaled_channels


@pytest.fixture
def model() -> YoloV3Tiny:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = YoloV3Tiny(2, channels=scaled_channels(1 / 8))
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                torch.nn.init.uniform_(module.running_mean, -1, 1)
                torch.nn.init.uniform_(module.running_var, 0.5, 2)
    return network.eval()


def test_a_range_by_hand():
    """-1 .. 4 in 255 steps of 0.0196; zero lies on step 51."""
    found = Range().widened(torch.tensor([-1.0, 2.0])).widened(torch.tensor([4.0]))
    assert (found.low, found.high) == (-1, 4)
    assert found.scale == pytest.approx(5 / 255)
    assert found.zero_point == 51


def test_zero_is_in_every_range():
    assert Range().widened(torch.tensor([3.0, 5.0])) == Range(low=0, high=5)
    assert Range().zero_point == 0


def test_weights_times_their_scales_are_the_folded_network(model):
    """127 levels either way: what is computed with rounded weights differs from the network by rounding alone."""
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    block = model.backbone.conv0
    found = weight_scales(model)["backbone.conv0"]
    factor = block.norm.weight / torch.sqrt(block.norm.running_var + block.norm.eps)
    folded = (block.conv.weight * factor[:, None, None, None]).detach()
    levels = torch.round(folded / torch.from_numpy(found.scales)[:, None, None, None])
    assert levels.abs().amax(dim=(1, 2, 3)).tolist() == [127] * len(found.scales)
    rounded = levels * torch.from_numpy(found.scales)[:, None, None, None]
    ours = torch.nn.functional.conv2d(images, rounded, torch.from_numpy(found.biases), padding=1)
    theirs = block.norm(block.conv(images))
    assert (ours - theirs).abs().max() < 27 * float(found.scales.max())  # half a level for each of 27 weights, twice


@pytest.mark.parametrize("num_heads", [2, 3])
def test_there_are_scales_for_every_convolution(num_heads):
    channels = (*scaled_channels(1 / 8), *[16, 32][: 2 * num_heads - 4])
    model = YoloV3Tiny(2, channels=channels, num_anchors=(3,) * num_heads).eval()
    names = {step.module for step in steps_of(model.channels, 2, (32, 32)) if step.kind == "conv"}
    assert set(weight_scales(model)) == names
    ranges = activation_ranges(model, [torch.rand(1, 3, 32, 32)])
    assert set(ranges) == names | {"images"}


def test_ranges_hold_every_image(model):
    dark, bright = torch.zeros(1, 3, 32, 32), torch.ones(1, 3, 32, 32)
    together = activation_ranges(model, [dark, bright])
    for one in (activation_ranges(model, [dark]), activation_ranges(model, [bright])):
        for name, found in one.items():
            assert together[name].low <= found.low
            assert together[name].high >= found.high
    assert together["images"] == Range(low=0, high=1)
    with torch.inference_mode():
        highest = max(float(model(image)[1].max()) for image in (dark, bright))
    assert together["head16"].high == max(highest, 0)
