"""INT8 quantization parameters of a trained network: scales of each channel's weights, ranges of the activations.

Weights are symmetric and per output channel, w = scale * q with q in -127..127; activations are per tensor,
x = scale * (q - zero_point) with q in 0..255 (in int8, subtract 128 from q and zero_point). BatchNorm is folded into
the weights first, as in exported files.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lookonce.model.backbone import ConvBlock
from lookonce.model.yolov3_tiny import YoloV3Tiny

LARGEST_WEIGHT, LARGEST_ACTIVATION = 127, 255


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One convolution with its BatchNorm folded in: scales (out,) float32, biases (out,) float32."""

    scales: NDArray[np.float32]
    biases: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Range:
    """Minimum and maximum of one tensor. It includes 0, since padding and max pools need an exact 0."""

    low: float = 0.0
    high: float = 0.0

    def widened(self, values: Tensor) -> "Range":
        return Range(low=min(self.low, float(values.min())), high=max(self.high, float(values.max())))

    @property
    def scale(self) -> float:
        return (self.high - self.low) / LARGEST_ACTIVATION or 1.0

    @property
    def zero_point(self) -> int:
        """The q, 0..255, that represents 0."""
        return round(-self.low / self.scale)


def weight_scales(model: YoloV3Tiny) -> dict[str, Weights]:
    """Name of each convolution (of its block, as in `layers.Step.module`) -> its scales and biases."""
    weights = {}
    convolutions = {
        name: fuse_conv_bn_eval(block.conv, block.norm)
        for name, block in model.eval().named_modules()
        if isinstance(block, ConvBlock)
    }
    for name, conv in (convolutions | _heads(model)).items():
        assert conv.bias is not None
        largest = conv.weight.detach().abs().amax(dim=(1, 2, 3)).cpu().numpy()
        scales = np.where(largest > 0, largest / LARGEST_WEIGHT, 1.0).astype(np.float32)
        weights[name] = Weights(scales=scales, biases=conv.bias.detach().cpu().numpy().astype(np.float32))
    return weights


@torch.inference_mode()
def activation_ranges(model: YoloV3Tiny, batches: Iterable[Tensor]) -> dict[str, Range]:
    """Range of the input ("images") and of the output of each convolution block, over all batches (B, 3, H, W).

    Measured after the activation and, if one follows, after the halving max pool. The range is valid before the pool
    too: a value below it is never the maximum of its 2x2 window. The heads' outputs are logits.
    """
    ranges: dict[str, Range] = defaultdict(Range)
    blocks = {name: block for name, block in model.named_modules() if isinstance(block, ConvBlock)}

    def widen(name: str, _values: Tensor, output: Tensor) -> None:
        ranges[name] = ranges[name].widened(output)

    with observed({**blocks, **_heads(model)}, widen):
        for images in batches:
            ranges["images"] = ranges["images"].widened(images)
            model.eval()(images)
    return dict(ranges)


@contextmanager
def observed(modules: Mapping[str, nn.Module], see: Callable[[str, Tensor, Tensor], None]) -> Iterator[None]:
    """Inside the block each call of a module calls see(name, input, output)."""

    def hook_of(name: str) -> Callable[[nn.Module, tuple[Tensor], Tensor], None]:
        return lambda _module, inputs, output: see(name, inputs[0], output)

    hooks = [module.register_forward_hook(hook_of(name)) for name, module in modules.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _heads(model: YoloV3Tiny) -> dict[str, nn.Conv2d]:
    return {name: module for name, module in model.named_children() if isinstance(module, nn.Conv2d)}
