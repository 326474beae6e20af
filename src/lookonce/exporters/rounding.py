"""What an INT8 export measures before it quantises: how weights are rounded, and the ranges of convolution outputs."""

import math
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from lookonce.exporters.folding import fold_batchnorm
from lookonce.model.backbone import ConvBlock, activate
from lookonce.model.int8_scales import observed
from lookonce.model.normalise import to_network_input
from lookonce.model.yolov3_tiny import YoloV3Tiny
from lookonce.settings.record import ModelRecord

POSITIONS = 6400  # of a layer's output, over all images
# The rounding errors of larger kernels average out. Those of the COCO network have a noise of 0.022 together, and would
# take ten times as long as all others.
LARGEST_KERNEL = 1152
DAMPING = 0.01  # of the mean variance: no weight makes up for another by a direction that the images hardly vary in
BLOCK = 128  # columns that are rounded before the later ones are changed, in one matrix product
PARTS_BELOW, PARTS_ABOVE = np.linspace(1, 0.1, 10), np.linspace(1, 0.5, 6)  # of a range, on both sides of 0
LEVELS = 255


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """model: a copy of the network with its batch normalisations folded and its weights rounded.
    output_ranges: module of each convolution that an activation follows -> the range of its output."""

    model: YoloV3Tiny
    output_ranges: dict[str, tuple[float, float]]


@dataclass(kw_only=True)
class _Seen:
    """windows [(n, K)]: what the kernel was multiplied with; outputs [(n,)]: values before the activation, after the
    halving pool if one follows; extremes [(lowest, highest)]: of each image."""

    windows: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    extremes: list[tuple[float, float]] = field(default_factory=list)


@torch.inference_mode()
def fit_int8(
    model: nn.Module, record: ModelRecord, canvases: NDArray[np.uint8], *, largest: int, inner_only: bool
) -> Fitted:
    """Rounds the weights to multiples of a scale, -largest..largest, and measures the ranges of convolution outputs.

    canvases: (B, H, W, 3) uint8 RGB, the calibration set. In each output channel one weight is at the limit, so that a
    quantiser finds the same scale and changes nothing. inner_only: the first convolution and the heads keep theirs.
    """
    folded = fold_batchnorm(model)
    assert isinstance(folded, YoloV3Tiny)
    convolutions = {name: one for name, one in folded.named_modules() if isinstance(one, nn.Conv2d)}
    blocks = {f"{name}.conv": one for name, one in folded.named_modules() if isinstance(one, ConvBlock)}
    seen = {name: _Seen() for name in convolutions}
    num_positions, generator = math.ceil(POSITIONS / len(canvases)), torch.Generator().manual_seed(0)

    def keep(name: str, values: Tensor, output: Tensor) -> None:
        """Of one image, as many positions as make POSITIONS over all images."""
        conv = convolutions[name]
        seen[name].extremes.append((min(float(output.min()), 0.0), max(float(output.max()), 0.0)))
        pooled = F.max_pool2d(output, 2) if name in blocks and blocks[name].then_pool else output
        seen[name].outputs.append(_some(pooled.flatten(), 64 * num_positions, generator))
        if conv.weight[0].numel() <= LARGEST_KERNEL:
            windows = F.unfold(values, conv.kernel_size, padding=conv.kernel_size[0] // 2)[0].T  # (H * W, K)
            seen[name].windows.append(_some(windows, num_positions, generator))

    with observed(convolutions, keep):
        for canvas in canvases:
            folded(to_network_input(torch.from_numpy(canvas[None]), record.preprocessing))
    for name, conv in convolutions.items():
        if seen[name].windows and not (inner_only and (name not in blocks or conv is folded.backbone.conv0.conv)):
            _round(conv, torch.cat(seen[name].windows), largest)
    ranges = {name: _range_of_least_error(seen[name], block) for name, block in blocks.items()}
    return Fitted(model=folded, output_ranges=ranges)


def _some(values: Tensor, most: int, generator: torch.Generator) -> Tensor:
    return values[torch.randint(len(values), (min(most, len(values)),), generator=generator)]


def _round(conv: nn.Conv2d, windows: Tensor, largest: int) -> None:
    """Rounds the weights one input at a time; the inputs that follow make up for each error as far as their values go
    with its own (GPTQ: Frantar et al. 2022, section 3), and the bias makes up for the mean of what is left."""
    assert conv.bias is not None
    weights = conv.weight.flatten(1).double()  # (out, K)
    scales = weights.abs().amax(1).clamp_min(1e-12) / largest  # (out,)
    mean = windows.double().mean(0)
    centred = windows.double() - mean
    variances = centred.T @ centred / len(centred)
    order = variances.diagonal().argsort(descending=True)
    rounded = torch.empty_like(weights)
    rounded[:, order] = _rounded(weights[:, order], scales, _followers(variances[order][:, order]), largest)
    conv.bias += ((weights - rounded) @ mean).float()
    conv.weight.copy_(rounded.float().view_as(conv.weight))


def _followers(variances: Tensor) -> Tensor:
    """(K, K) covariance of the inputs -> upper triangular (K, K): row k over its diagonal says how the inputs after k
    change to make up for an error of 1 in the weight of input k."""
    damping = DAMPING * variances.diagonal().mean() + 1e-12
    damped = variances + damping * torch.eye(len(variances), dtype=variances.dtype)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    upper: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return upper


def _rounded(weights: Tensor, scales: Tensor, followers: Tensor, largest: int) -> Tensor:
    """weights (out, K), scales (out,), followers (K, K) -> multiples of the scales, (out, K)."""
    left, rounded = weights.clone(), torch.empty_like(weights)
    at_limit = weights.abs().argmax(1)
    limits = largest * weights.gather(1, at_limit[:, None])[:, 0].sign()
    for start in range(0, weights.shape[1], BLOCK):
        stop = min(start + BLOCK, weights.shape[1])
        errors = torch.empty_like(weights[:, start:stop])
        for column in range(start, stop):
            steps = (left[:, column] / scales).round().clamp(-largest, largest)
            rounded[:, column] = torch.where(at_limit == column, limits, steps) * scales
            errors[:, column - start] = (left[:, column] - rounded[:, column]) / followers[column, column]
            left[:, column:stop] -= errors[:, column - start, None] * followers[column, column:stop]
        left[:, stop:] -= errors @ followers[start:stop, stop:]
    return rounded


def _range_of_least_error(seen: _Seen, block: ConvBlock) -> tuple[float, float]:
    """The range, within the mean extremes of the images, with the least squared error after the activation.

    LeakyReLU divides negative values by ten, and convolutions output far more of them: with half of their range cut
    off, all other values are rounded to smaller steps.
    """
    values = torch.cat(seen.outputs)
    wanted = activate(values, block.activation)
    low, high = np.mean(seen.extremes, axis=0).tolist()

    def error(bounds: tuple[float, float]) -> float:
        step = (bounds[1] - bounds[0]) / LEVELS or 1.0
        zero = round(-bounds[0] / step)
        steps = (values / step).round().clamp(-zero, LEVELS - zero)
        return float((activate(steps * step, block.activation) - wanted).square().mean())

    parts = product(PARTS_BELOW.tolist(), PARTS_ABOVE.tolist())
    return min(((low * below, high * above) for below, above in parts), key=error)
