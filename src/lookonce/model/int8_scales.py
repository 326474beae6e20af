"""What 8-bit arithmetic needs to know of a trained network: the range of each channel's weights and of each activation.

Weights are symmetric and per output channel, w = scale * q with q in -127..127; activations are per tensor,
x = scale * (q - zero_point) with q in 0..255 (or the same with both 128 less, in int8). Batch normalisation is folded
into the weights first, as in exported files.
"""

from collections.abc import Iterable
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
    """Of one convolution with its normalisation folded in: scales (out,) float32, biases (out,) float32."""

    scales: NDArray[np.float32]
    biases: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Range:
    """Least and largest value seen of one tensor. Zero is in it, because padding and max pools must hit it exactly."""

    low: float = 0.0
    high: float = 0.0

    def widened(self, values: Tensor) -> "Range":
        return Range(low=min(self.low, float(values.min())), high=max(self.high, float(values.max())))

    @property
    def scale(self) -> float:
        return (self.high - self.low) / LARGEST_ACTIVATION or 1.0

    @property
    def zero_point(self) -> int:
        """0..255: the number that stands for 0."""
        return round(-self.low / self.scale)


def weight_scales(model: YoloV3Tiny) -> dict[str, Weights]:
    """Name of each convolution (of its block, as in `layers.Step.module`) -> its scales and biases."""
    found = {}
    for name, conv in _folded(model).items():
        assert conv.bias is not None
        largest = conv.weight.detach().abs().amax(dim=(1, 2, 3)).cpu().numpy()
        scales = np.where(largest > 0, largest / LARGEST_WEIGHT, 1.0).astype(np.float32)
        found[name] = Weights(scales=scales, biases=conv.bias.detach().cpu().numpy().astype(np.float32))
    return found


def _folded(model: YoloV3Tiny) -> dict[str, nn.Conv2d]:
    convolutions = {
        name: fuse_conv_bn_eval(block.conv, block.norm)
        for name, block in model.eval().named_modules()
        if isinstance(block, ConvBlock)
    }
    return convolutions | {"head32": model.head32, "head16": model.head16}


@torch.inference_mode()
def activation_ranges(model: YoloV3Tiny, batches: Iterable[Tensor]) -> dict[str, Range]:
    """What the input ("images") and the output of each convolution's block came to over all batches (B, 3, H, W).

    Taken behind the activation and, where one follows, the pool that halves. That range serves before the pool too:
    what is cut off below it would not be the largest of its four. The heads' outputs are logits.
    """
    ranges: dict[str, Range] = {}
    blocks = {name: block for name, block in model.named_modules() if isinstance(block, ConvBlock)}
    watched: dict[str, nn.Module] = {**blocks, "head32": model.head32, "head16": model.head16}

    def watch(name: str) -> torch.utils.hooks.RemovableHandle:
        def note(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            ranges[name] = ranges.get(name, Range()).widened(output)

        return watched[name].register_forward_hook(note)

    hooks = [watch(name) for name in watched]
    try:
        for images in batches:
            ranges["images"] = ranges.get("images", Range()).widened(images)
            model.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()
    return ranges
