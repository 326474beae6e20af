"""The optimizer: parameter groups with and without weight decay, and its state in a checkpoint."""

import inspect
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

# Devices with PyTorch's fused optimizers, which leave out a step by `found_inf` without a read by the host. Whether
# torch-npu has them could not be tried.
FUSED = ("cpu", "cuda", "mps", "xpu")


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

    step_unless takes the steps.
    weight_decay applies to convolution weights only; biases and BatchNorm's scale and shift are excluded, since
    limiting them does not limit the network's capacity.
    """
    leave_out_compiler()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    groups = [
        {"params": [parameter for parameter in parameters if parameter.ndim > 1], "weight_decay": weight_decay},
        {"params": [parameter for parameter in parameters if parameter.ndim <= 1], "weight_decay": 0.0},
    ]
    fused = parameters[0].device.type in FUSED
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=(momentum, 0.999), fused=fused)
    optimizer = torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=nesterov, fused=fused)
    if momentum:  # PyTorch 2.15 allocates them at the first step, and if that changes nothing, they stay uninitialised
        for parameter in parameters:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def leave_out_compiler() -> None:
    """Keeps PyTorch's optimizers from importing its compiler, which nothing here uses.

    Before their first call they import torch._dynamo to exclude themselves from compilation: 2 s of processor time and
    900 modules at the start of each process that trains. They keep the excluded method in `__dynamo_disable`
    (torch/_compile.py); `step` imports it in a wrapper, which `step_unless` leaves out.
    """
    for method in vars(torch.optim.Optimizer).values():
        excluded = getattr(method, "__wrapped__", None)
        if excluded is not None:
            setattr(excluded, "__dynamo_disable", excluded)


def step_unless(optimizer: torch.optim.Optimizer, left_out: Tensor) -> None:
    """One step. left_out: () float32 on the device, other than 0 to change nothing."""
    if optimizer.defaults["fused"]:
        optimizer.found_inf = left_out  # type: ignore[attr-defined]
    elif left_out.item():
        return
    with torch.no_grad():
        inspect.unwrap(type(optimizer).step)(optimizer)


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
