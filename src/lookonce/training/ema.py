"""EMA (exponential moving average) of the weights; the EMA weights are evaluated and saved."""

import copy

import torch
from torch import Tensor, nn


class ExponentialMovingAverage:
    """average = d * average + (1 - d) * weights after each step, in float32, BatchNorm statistics included.

    d = decay * (1 - exp(-updates / ramp)): early in training the weights change fast, so d starts small. The caller
    must update only from finite weights: a NaN would stay in the average forever.

    updates () float32 on the model's device, since only the device knows whether a step was skipped.
    """

    def __init__(self, model: nn.Module, *, decay: float, ramp: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay: {decay}; expected 0 (no averaging) <= decay < 1")
        self.decay = decay
        self.ramp = ramp
        self.model = copy.deepcopy(model).float().eval().requires_grad_(False)
        self.updates = torch.zeros((), device=next(self.model.parameters()).device)

    @torch.no_grad()
    def update(self, model: nn.Module, *, unless: Tensor | float = 0.0) -> None:
        """Update the average with the model's current weights. unless: () 1 leaves it as it is, without a branch."""
        self.updates += 1 - unless
        # 1 - d, as a sum of positive numbers, which float32 rounds least.
        weight = (1 - self.decay + self.decay * torch.exp(-self.updates / self.ramp)) * (1 - unless)
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        floats = [(average, present.float()) for average, present in pairs if average.is_floating_point()]
        averages, present = map(list, zip(*floats, strict=True))
        torch._foreach_lerp_(averages, present, [weight] * len(floats))
        for average, counter in pairs:
            if not average.is_floating_point():  # BatchNorm's batch counter
                average.copy_(counter)
