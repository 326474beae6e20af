"""EMA (exponential moving average) of the weights; the EMA weights are evaluated and saved."""

import copy
import math

import torch
from torch import nn


class ExponentialMovingAverage:
    """average = d * average + (1 - d) * weights after each step, in float32, BatchNorm statistics included.

    d = decay * (1 - exp(-updates / ramp)): early in training the weights change fast, so d starts small. The caller
    must update only after a step with finite loss and gradients: a NaN would stay in the average forever.
    """

    def __init__(self, model: nn.Module, *, decay: float, ramp: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay: {decay}; expected 0 (no averaging) <= decay < 1")
        self.decay = decay
        self.ramp = ramp
        self.updates = 0
        self.model = copy.deepcopy(model).float().eval().requires_grad_(False)

    def decay_at(self, update: int) -> float:
        """d of update 1, 2, ..."""
        return self.decay * (1 - math.exp(-update / self.ramp))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Update the average with the model's current weights."""
        self.updates += 1
        weight = 1 - self.decay_at(self.updates)
        for average, present in zip(self.model.state_dict().values(), model.state_dict().values(), strict=True):
            if average.is_floating_point():
                average.lerp_(present.float(), weight)
            else:
                average.copy_(present)  # BatchNorm's batch counter
