"""Normalisation of images in PyTorch, in training, at inference and in exported files: uint8 RGB -> float32."""

import torch
from torch import Tensor

from lookonce.settings.record import Preprocessing


def channel_constants(preprocessing: Preprocessing, device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation, each (1, 3, 1, 1) float32."""
    mean, std = (torch.tensor(three, device=device) for three in (preprocessing.mean, preprocessing.std))
    return mean.view(1, 3, 1, 1), std.view(1, 3, 1, 1)


def to_network_input(
    images: Tensor, preprocessing: Preprocessing, constants: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """(B, H, W, 3) uint8 RGB -> (B, 3, H, W) float32, normalised, in the record's colour order.

    constants: of `channel_constants`, if the caller keeps them: to make them waits for an accelerator's queued work.

    The memory layout is unchanged: pixel by pixel, PyTorch's channels_last, the faster layout for convolutions.
    """
    pixels = images.permute(0, 3, 1, 2).to(torch.float32) / 255
    if preprocessing.color_order == "BGR":
        pixels = pixels.flip(1)
    if preprocessing.mean != (0.0, 0.0, 0.0) or preprocessing.std != (1.0, 1.0, 1.0):
        mean, std = constants or channel_constants(preprocessing, pixels.device)
        pixels = (pixels - mean) / std
    return pixels
