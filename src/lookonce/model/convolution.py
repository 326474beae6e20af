"""The 3x3 convolution of a training step on a CPU: its weight gradient as three matrix products."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# With fewer channels the matrices are too narrow. One thread, ms of oneDNN's gradient and of ours, 8 images: 16 to 32
# channels at 208x208 197 and 159, 32 to 64 at 104x104 206 and 97, 64 to 128 at 52x52 142 and 79, 128 to 256 at 26x26
# 102 and 67, 384 to 256 at 26x26 311 and 170, 512 to 1024 at 13x13 340 and 319.
FEWEST_CHANNELS = 16


def convolve(x: Tensor, conv: nn.Conv2d) -> Tensor:
    """What `conv` returns; where it pays, with our own gradient of its weights."""
    pays = (
        conv.training
        and conv.weight.requires_grad
        and torch.is_grad_enabled()
        and conv.kernel_size == (3, 3)
        and conv.in_channels >= FEWEST_CHANNELS
        and (x.device.type, x.dtype) == ("cpu", torch.float32)
        and not torch.is_autocast_enabled("cpu")
    )
    output: Tensor = _Convolution.apply(x, conv.weight) if pays else conv(x)
    return output


class _Convolution(torch.autograd.Function):
    """A convolution of 3x3, stride 1, padding 1, without bias."""

    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor) -> Tensor:
        context.save_for_backward(x, weight)
        return F.conv2d(x, weight, padding=1)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor]:
        x, weight = context.saved_tensors
        of_x = None
        if context.needs_input_grad[0]:
            of_x, _, _ = torch.ops.aten.convolution_backward(
                gradient, x, weight, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [True, False, False]
            )
        return of_x, weight_gradient(x, gradient)


def weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """x (B, I, H, W), gradient of the output (B, O, H, W) -> gradient of the weights (O, I, 3, 3), channels_last.

    The pixels of all images lie in one list, a zero after each row and a row of zeros after each image, so the
    neighbour (dy, dx) of every pixel is dy * (W + 1) + dx places further. Of each dy, one product sums over all pixels.
    oneDNN 3.13's gradient for channels_last reaches 46 % of the speed of a matrix product over the network's layers
    (AVX2, one thread), while the other two passes reach 95 % and more.
    """
    batch, channels, height, width = x.shape
    line = width + 1
    count = batch * (height + 1) * line
    pixels = _listed(x, before=line + 1)
    neighbours = pixels.as_strided((count + 2 * line, 3 * channels), (channels, 1)).contiguous()  # dx of -1, 0, 1
    errors = _listed(gradient, before=0)[:count].t()  # (O, count)
    taps = x.new_empty(len(errors), 3, 3 * channels)
    for dy in range(3):
        torch.mm(errors, neighbours[dy * line : dy * line + count], out=taps[:, dy])
    return taps.view(-1, 3, 3, channels).permute(0, 3, 1, 2)


def _listed(maps: Tensor, *, before: int) -> Tensor:
    """(B, C, H, W) -> the pixels, C values each, with the zeros between them, `before` at the start and W + 2 at the
    end."""
    batch, channels, height, width = maps.shape
    count = batch * (height + 1) * (width + 1)
    pixels = maps.new_zeros(before + count + width + 2, channels)
    inner = pixels[before : before + count].view(batch, height + 1, width + 1, channels)
    inner[:, :height, :width] = maps.permute(0, 2, 3, 1)
    return pixels
