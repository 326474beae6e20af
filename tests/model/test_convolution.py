"""The weight gradient of the 3x3 convolution against PyTorch's."""

import pytest
import torch
from torch import nn

from lookonce.model import convolution
from lookonce.model.convolution import convolve, weight_gradient


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 2, 5), (3, 13, 13), (2, 7, 4)])
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_the_weight_gradient_is_that_of_pytorch(shape: tuple[int, int, int], layout: torch.memory_format) -> None:
    batch, height, width = shape
    generator = torch.Generator().manual_seed(0)
    x, gradient = (
        torch.randn(batch, channels, height, width, generator=generator).contiguous(memory_format=layout)
        for channels in (32, 5)
    )
    expected = nn.grad.conv2d_weight(x, (5, 32, 3, 3), gradient, padding=1)
    got = weight_gradient(x, gradient)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-4)
    assert got.is_contiguous(memory_format=torch.channels_last)


def test_both_gradients_reach_their_tensors_in_the_weights_layout() -> None:
    conv = nn.Conv2d(32, 8, 3, padding=1, bias=False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    twin = nn.Conv2d(32, 8, 3, padding=1, bias=False)
    twin.load_state_dict(conv.state_dict())
    x = torch.randn(2, 32, 6, 6, generator=torch.Generator().manual_seed(1))
    own, other = x.clone().requires_grad_(), x.clone().requires_grad_()
    convolve(own, conv).square().sum().backward()
    twin(other).square().sum().backward()
    torch.testing.assert_close(own.grad, other.grad, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(conv.weight.grad, twin.weight.grad, rtol=1e-4, atol=1e-3)
    assert conv.weight.grad.stride() == conv.weight.stride()


def test_it_is_for_training_in_float32_with_enough_channels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution._Convolution, "apply", lambda _x, _weight: "ours")
    conv, x = nn.Conv2d(32, 8, 3, padding=1, bias=False), torch.zeros(1, 32, 4, 4)
    assert convolve(x, conv) == "ours"
    with torch.no_grad():
        assert isinstance(convolve(x, conv), torch.Tensor)
    with torch.autocast("cpu", torch.bfloat16):
        assert convolve(x, conv).dtype == torch.bfloat16
    assert isinstance(convolve(x, conv.eval()), torch.Tensor)
    assert isinstance(convolve(x, conv.train().requires_grad_(False)), torch.Tensor)
    narrow = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    assert isinstance(convolve(torch.zeros(1, 3, 4, 4), narrow), torch.Tensor)
