import pytest
import torch
from torch import nn

from lookonce.training.optimizer import make_optimizer, optimizer_tensors, restore_optimizer, set_lr, step_unless


def small_model() -> nn.Sequential:
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(1.0)
    return model


def step(model: nn.Module, optimizer: torch.optim.Optimizer, gradient: float, left_out: float = 0.0) -> None:
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, gradient)
    step_unless(optimizer, torch.tensor(left_out))


def test_only_convolution_weights_decay() -> None:
    model = small_model()
    optimizer = make_optimizer(model, name="sgd", lr=0.1, momentum=0.0, weight_decay=0.5)
    step(model, optimizer, 0.0)
    values = {name: float(parameter.detach().flatten()[0]) for name, parameter in model.named_parameters()}
    assert values.pop("0.weight") == pytest.approx(1 - 0.1 * 0.5)
    assert set(values.values()) == {1.0}  # convolution bias, BatchNorm scale and shift


def test_sgd_is_the_model_zoos_momentum() -> None:
    model = small_model()
    optimizer = make_optimizer(model, name="sgd", lr=0.1, momentum=0.9, weight_decay=0.0)
    step(model, optimizer, 1.0)  # v = 1, p = 1 - 0.1
    set_lr(optimizer, 0.01)
    step(model, optimizer, 1.0)  # v = 1.9, p = 0.9 - 0.01 * 1.9: the rate is not part of the memory
    assert model[0].bias.detach().tolist() == pytest.approx([0.9 - 0.019] * 2)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_restored_optimizer_takes_the_same_next_step(name: str) -> None:
    models, optimizers = [], []
    for _ in range(2):
        model = small_model()
        models.append(model)
        optimizers.append(
            make_optimizer(model, name=name, lr=0.1, momentum=0.9, weight_decay=0.01, nesterov=True)  # type: ignore[arg-type]
        )
    step(models[0], optimizers[0], 0.7)
    models[1].load_state_dict(models[0].state_dict())
    memory = {key: value.clone() for key, value in optimizer_tensors(optimizers[0], models[0]).items()}
    restore_optimizer(optimizers[1], models[1], memory)
    for model, optimizer in zip(models, optimizers, strict=True):
        step(model, optimizer, -0.3)
    for ours, theirs in zip(*(model.parameters() for model in models), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("fused_on", [(), ("cpu",)])
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_first_step_that_is_not_finite_changes_nothing_and_leaves_a_clean_memory(
    monkeypatch: pytest.MonkeyPatch, name: str, fused_on: tuple[str, ...]
) -> None:
    monkeypatch.setattr("lookonce.training.optimizer.FUSED", fused_on)
    model, other = small_model(), small_model()
    optimizer, twin = (
        make_optimizer(each, name=name, lr=0.1, momentum=0.9, weight_decay=0.5)  # type: ignore[arg-type]
        for each in (model, other)
    )
    step(model, optimizer, float("nan"), left_out=1.0)
    assert all(bool((parameter == 1).all()) for parameter in model.parameters())
    assert not any(value.any() for value in optimizer_tensors(optimizer, model).values())
    step(model, optimizer, 1.0)
    step(other, twin, 1.0)
    assert all(torch.equal(*pair) for pair in zip(model.parameters(), other.parameters(), strict=True))
