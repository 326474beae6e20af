"""Normalisation of images in PyTorch, in training, at inference and in exported files: uint8 RGB -> float32."""

import torch
from torch import Tensor

from lookonce.settings.record import Preprocessing


def to_network_input(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """(B, H, W, 3) uint8 RGB -> (B, 3, H, W) float32, normalised, in the record's colour order.

    The memory layout is unchanged: pixel by pixel, PyTorch's channels_last, the faster layout for convolutions.
    """
    pixels = images.permute(0, 3, 1, 2).to(torch.float32) / 255
    if preprocessing.color_order == "BGR":
        pixels = pixels.flip(1)
    if preprocessing.mean != (0.0, 0.0, 0.0) or preprocessing.std != (1.0, 1.0, 1.0):
        mean, std = (pixels.new_tensor(three).view(1, 3, 1, 1) for three in (preprocessing.mean, preprocessing.std))
        pixels = (pixels - mean) / std
    return pixels
