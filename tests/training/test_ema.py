import math

import pytest
import torch
from torch import nn

from lookonce.training.ema import ExponentialMovingAverage


def test_two_updates_by_hand() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 1.0)
    ema = ExponentialMovingAverage(model, decay=0.9, ramp=2.0)
    d1, d2 = 0.9 * (1 - math.exp(-0.5)), 0.9 * (1 - math.exp(-1.0))
    nn.init.constant_(model.weight, 2.0)
    ema.update(model)
    first = d1 * 1 + (1 - d1) * 2
    assert ema.model.weight.item() == pytest.approx(first)
    nn.init.constant_(model.weight, 3.0)
    ema.update(model)
    assert ema.model.weight.item() == pytest.approx(d2 * first + (1 - d2) * 3)
    assert ema.updates == 2


def test_batchnorm_statistics_are_averaged_and_its_counter_copied() -> None:
    model = nn.BatchNorm2d(1)
    ema = ExponentialMovingAverage(model, decay=0.5, ramp=1e-9)
    model.running_mean += 4.0
    model.num_batches_tracked += 7
    ema.update(model)
    assert ema.model.running_mean.item() == 2.0
    assert ema.model.num_batches_tracked.item() == 7


def test_the_average_is_float32_needs_no_gradient_and_stays_in_evaluation_mode() -> None:
    model = nn.Sequential(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)).to(torch.bfloat16).train()
    ema = ExponentialMovingAverage(model, decay=0.9, ramp=1)
    ema.update(model)
    assert {parameter.dtype for parameter in ema.model.parameters()} == {torch.float32}
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())
    assert not ema.model.training
    assert model.training


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_a_decay_outside_0_to_1_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="expected 0"):
        ExponentialMovingAverage(nn.Linear(1, 1), decay=decay, ramp=1)
