"""The table of steps is the network: the same shapes, counts and memory, by hand and beside PyTorch."""

import sys

import pytest
import torch

from lookonce.model.layers import live_values, num_values, steps_of
from lookonce.model.yolov3_tiny import YoloV3Tiny, scaled_channels

FULL = scaled_channels(1)


@pytest.mark.parametrize(("width", "num_classes", "size_hw"), [(1, 80, (64, 96)), (0.25, 3, (96, 32))])
def test_every_convolution_is_that_of_the_pytorch_network(width, num_classes, size_hw):
    channels = scaled_channels(width)
    with torch.random.fork_rng(devices=[]):
        model = YoloV3Tiny(num_classes, channels=channels)
    modules = dict(model.named_modules())
    steps = [step for step in steps_of(channels, num_classes, size_hw) if step.kind == "conv"]
    for step in steps:
        block = modules[step.module]
        conv = block.conv if hasattr(block, "conv") else block
        assert step.weights == conv.weight.numel()
        assert step.biases == conv.out_channels
        assert step.kernel == conv.kernel_size[0]
    assert {step.module: step.macs for step in steps} == macs_of(model, size_hw)
    assert len(steps) == sum(isinstance(module, torch.nn.Conv2d) for module in modules.values())


@pytest.mark.parametrize("channels", [(4,) * 7 + (0, 0, 4, 6), (4, 4, 4, 6, 4, 4, 8, 4, 4, 4, 4, 4, 6)])
def test_slim_networks_and_those_with_three_heads_too(channels):
    with torch.random.fork_rng(devices=[]):
        model = YoloV3Tiny(2, channels=channels, num_anchors=(3, 3) if len(channels) == 11 else (3, 3, 3))
    macs = macs_of(model, (64, 96))
    steps = {step.module: step for step in steps_of(channels, 2, (64, 96)) if step.kind == "conv"}
    assert {name: step.macs for name, step in steps.items()} == macs
    for name, step in steps.items():
        assert step.weights == dict(model.named_parameters())[weight_of(name)].numel()


def macs_of(model: YoloV3Tiny, size_hw: tuple[int, int]) -> dict[str, int]:
    """Name of each convolution (of its block) -> MACs, from the sizes that PyTorch computes."""
    macs: dict[str, int] = {}

    def note(name: str, conv: torch.nn.Conv2d) -> None:
        conv.register_forward_hook(
            lambda _conv, _inputs, output: macs.update(
                {name.removesuffix(".conv"): conv.weight.numel() * output.shape[2] * output.shape[3]}
            )
        )

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            note(name, module)
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, *size_hw))
    return macs


def weight_of(name: str) -> str:
    return f"{name}.weight" if name.startswith("head") else f"{name}.conv.weight"


def test_what_a_step_reads_is_what_the_named_steps_made():
    steps = steps_of(FULL, 80, (416, 416))
    shapes = {"images": (3, 416, 416)} | {step.name: step.out_shape for step in steps}
    for step in steps:
        assert step.in_shapes == tuple(shapes[name] for name in step.inputs)
    assert shapes["head32"] == (255, 13, 13)
    assert shapes["head16"] == (255, 26, 26)
    assert shapes["concat"] == (384, 26, 26)


def test_the_first_convolution_by_hand():
    """3x3x3 weights for 16 channels at 32x32: 432, and as many multiplications at each of 1,024 places."""
    first = steps_of(FULL, 1, (32, 32))[0]
    assert (first.weights, first.biases, first.macs) == (432, 16, 432 * 1024)


def test_memory_by_hand():
    """At 32x32 with 4 channels everywhere, one class, three anchors: heads of 18 channels."""
    steps = steps_of((4,) * 11, 1, (32, 32))
    live = dict(zip((step.name for step in steps), live_values(steps), strict=True))
    assert live["conv0"] == 3 * 1024 + 4 * 1024
    assert live["pool0"] == 4 * 1024 + 4 * 256
    # conv4 made 4 channels of 2x2, which wait for the concat, while pool5 reads and makes 4 of 1x1.
    assert live["pool5"] == 16 + 4 + 4
    # The first head's 18 outputs stay until the end; concat reads 16 and 16 and makes 32.
    assert live["concat"] == 18 + 16 + 16 + 32
    assert live["head16"] == 18 + 16 + num_values((18, 2, 2))


def test_the_table_needs_no_pytorch():
    assert "torch" not in sys.modules["lookonce.model.layers"].__dict__
