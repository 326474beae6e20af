"""Rounded weights give almost the outputs of the weights; ranges keep the values that matter after the activation."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lookonce.exporters.base import noise, textured_canvases
from lookonce.exporters.folding import fold_batchnorm
from lookonce.exporters.rounding import Fitted, _followers, _rounded, fit_int8
from lookonce.model.normalise import to_network_input

LARGEST = 7  # four bits, so that rounding is far from exact


@pytest.fixture(scope="module")
def fitted(narrow_network) -> tuple[nn.Module, Fitted, Tensor]:
    """The network, what was fitted to it, and images that were not used for this."""
    model, record = narrow_network
    canvases = textured_canvases(4, (64, 96))
    found = fit_int8(model, record, canvases[:2], largest=LARGEST, inner_only=False)
    images = to_network_input(torch.from_numpy(canvases[2:]), record.preprocessing)
    return model, found, images


def to_nearest(weights: Tensor) -> Tensor:
    scales = weights.flatten(1).abs().amax(1).view(-1, 1, 1, 1) / LARGEST
    return (weights / scales).round() * scales


def test_each_channel_has_its_scale_and_one_weight_at_the_limit(fitted):
    model, found, _ = fitted
    for (name, old), new in zip(fold_batchnorm(model).named_modules(), found.model.modules(), strict=True):
        if isinstance(old, nn.Conv2d):
            scales = old.weight.flatten(1).abs().amax(1, keepdim=True) / LARGEST
            steps = (new.weight.flatten(1) / scales).numpy()
            assert np.allclose(steps, steps.round(), atol=1e-3), name
            assert np.array_equal(np.abs(steps).max(1).round(), np.full(len(steps), LARGEST)), name


@torch.inference_mode()
def test_the_outputs_change_less_than_with_each_weight_rounded_to_the_nearest(fitted):
    model, found, images = fitted
    before = fold_batchnorm(model)
    expected = [raw.numpy() for raw in before(images)]
    got = noise(expected, [raw.numpy() for raw in found.model(images)])
    for module in before.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.copy_(to_nearest(module.weight))
    assert got < 0.6 * noise(expected, [raw.numpy() for raw in before(images)])


def test_the_second_of_two_equal_inputs_makes_up_for_the_first():
    weights, scales = torch.tensor([[0.4, 0.4, 2.0]]).double(), torch.tensor([1.0]).double()
    variances = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]).double()
    # 0.4 -> 0 leaves 0.4, and 0.4 + 0.4 -> 1: the sum of both is off by 0.2 and not by 0.8
    assert _rounded(weights, scales, _followers(variances), 2).tolist() == [[0.0, 1.0, 2.0]]


def test_ranges_include_zero_and_cut_negative_values_first(fitted):
    _, found, _ = fitted
    assert len(found.output_ranges) == 11
    assert all(low <= 0 <= high for low, high in found.output_ranges.values())


def test_only_inner_convolutions_change_where_the_others_stay_in_float32(narrow_network):
    model, record = narrow_network
    found = fit_int8(model, record, textured_canvases(1, (64, 96)), largest=LARGEST, inner_only=True).model
    before = fold_batchnorm(model)
    same = {
        name: torch.equal(old, found.get_parameter(name))
        for name, old in before.named_parameters()
        if name.endswith("weight")
    }
    kept = {"backbone.conv0.conv.weight", "head32.weight", "head16.weight"}
    assert {name for name, is_same in same.items() if is_same} == kept
