"""The optimizer: parameter groups with and without weight decay, and its state in a checkpoint."""

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn


def make_optimizer(
    model: nn.Module,
    *,
    name: Literal["sgd", "adamw"],
    lr: float,
    momentum: float,
    weight_decay: float,
    nesterov: bool = False,
) -> torch.optim.Optimizer:
    """SGD (v = momentum * v + gradient; p -= lr * v) or AdamW (beta1 = momentum, beta2 = 0.999).

    An attribute `found_inf` of the optimizer, () float32 on the device, other than 0 makes `step` change nothing.
    weight_decay applies to convolution weights only; biases and BatchNorm's scale and shift are excluded, since
    limiting them does not limit the network's capacity.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=(momentum, 0.999), fused=True)
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=True)
    if momentum:  # PyTorch 2.15 allocates them at the first step, and if that changes nothing, they stay uninitialised
        for parameter in parameters:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def optimizer_tensors(optimizer: torch.optim.Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """The optimizer state by `<parameter>/<kind>`, e.g. `head32.bias/momentum_buffer`. AdamW has none before its first
    step."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in model.named_parameters()}
    return {
        f"{names[parameter]}/{kind}": value
        for parameter, state in optimizer.state.items()
        for kind, value in state.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Restore the state that `optimizer_tensors` returned."""
    parameters = dict(model.named_parameters())
    for key, value in tensors.items():
        name, _, kind = key.rpartition("/")
        parameter = parameters[name]
        # AdamW's step counter is a scalar; all other state has its parameter's memory format.
        like = torch.empty_like(parameter) if value.ndim else torch.zeros((), device=parameter.device)
        restored = like.detach().copy_(value)
        optimizer.state[parameter][kind] = restored
