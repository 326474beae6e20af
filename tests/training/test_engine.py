import copy
import os
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np
import pytest
import torch
from raised import raises

from lookonce.data.loader import Batch
from lookonce.errors import SettingsError
from lookonce.training.engine import (
    Learner,
    StepResult,
    choose_precision,
    make_scaler,
    reproducible,
    to_device,
    train_one_epoch,
)
from lookonce.training.finite import TrainingDiverged

MakeLearner = Callable[..., Learner]
MakeBatch = Callable[..., Batch]
CPU = torch.device("cpu")


def state_of(learner: Learner) -> dict[str, torch.Tensor]:
    return copy.deepcopy(learner.model.state_dict())


def same(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    return torch.equal(ours.nan_to_num(7e7), theirs.nan_to_num(7e7))


def train(learner: Learner, batches: Iterable[Batch], epoch: int = 0) -> list[StepResult]:
    return list(train_one_epoch(learner, batches, epoch=epoch))


def test_a_tiny_network_learns_one_batch(make_learner: MakeLearner, make_batch: MakeBatch) -> None:
    learner = make_learner(epochs=40, num_batches=1, clip_norm=10.0)
    losses = [train(learner, [make_batch((8, 8), (32, 16))], epoch)[0].loss for epoch in range(40)]
    assert losses[-1] < 0.5 * losses[0]


def test_one_step_is_the_formula(make_learner: MakeLearner, make_batch: MakeBatch) -> None:
    """p - lr * (gradient + decay * p), the first of plain momentum; lr of step 0 of 3 warm-up steps."""
    learner, twin = make_learner(), make_learner()
    for group in (*learner.optimizer.param_groups, *twin.optimizer.param_groups):
        group["nesterov"] = False
    batch = make_batch((8, 8))
    images, targets = to_device(batch, twin.options)
    twin.loss(twin.model.train()(images), targets).total.backward()
    result = train(learner, [batch])[0]
    assert result.lr == pytest.approx(0.05 / 3)
    for (name, ours), theirs in zip(learner.model.named_parameters(), twin.model.parameters(), strict=True):
        assert theirs.grad is not None
        decay = 5e-4 if ours.ndim > 1 else 0.0
        expected = theirs - result.lr * (theirs.grad + decay * theirs)
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-7, msg=name)


def test_images_arrive_normalised_and_channels_last(make_learner: MakeLearner, make_batch: MakeBatch) -> None:
    batch = make_batch((0, 0), (32, 32))
    images, targets = to_device(batch, make_learner().options)
    assert images.shape == (2, 3, 64, 64)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert images[0, :, 0, 0].tolist() == [1.0, 1.0, 1.0]
    assert targets.boxes_xyxy[1, 0].tolist() == [32, 32, 56, 56]


def test_images_without_objects_train(make_learner: MakeLearner, make_batch: MakeBatch) -> None:
    result = train(make_learner(), [make_batch((-1, 0), (-1, 0))])[0]
    assert np.isfinite(result.loss)
    assert result.box == result.classes == 0
    assert result.objectness > 0


def test_a_loss_that_is_no_number_stops_before_the_weights_and_names_the_images(
    make_learner: MakeLearner, make_batch: MakeBatch
) -> None:
    learner = make_learner()
    learner.model.head32.register_forward_hook(lambda _head, _x, raw: raw * torch.nan)  # type: ignore[union-attr]
    assert learner.ema is not None
    before = copy.deepcopy(dict(learner.model.named_parameters()))
    average = copy.deepcopy(learner.ema.model.state_dict())
    with raises(TrainingDiverged, "epoch 1, batch 0", "loss", "41, 42", epoch=1, index=0):
        train(learner, [make_batch((8, 8), (32, 16), image_ids=(41, 42))], epoch=1)
    assert all(same(value, before[name]) for name, value in learner.model.named_parameters())
    assert all(same(value, average[name]) for name, value in learner.ema.model.state_dict().items())
    assert learner.ema.updates == 0


def test_a_gradient_that_is_no_number_stops_too(make_learner: MakeLearner, make_batch: MakeBatch) -> None:
    learner = make_learner()
    learner.model.head16.bias.register_hook(lambda gradient: gradient * torch.nan)  # type: ignore[union-attr]
    before = copy.deepcopy(dict(learner.model.named_parameters()))
    with raises(TrainingDiverged, "gradient", epoch=0, index=0):
        train(learner, [make_batch((8, 8))])
    assert all(torch.equal(value, before[name]) for name, value in learner.model.named_parameters())


def test_accumulated_batches_make_one_update_with_the_mean_gradient(
    make_learner: MakeLearner, make_batch: MakeBatch
) -> None:
    """Three batches, two to an update: the third makes one alone. BatchNorm frozen: batches do not mix."""
    first, second, third = make_batch((8, 8)), make_batch((32, 16)), make_batch((16, 24))
    learner = make_learner(accumulate=2, freeze_batchnorm=True)
    twin = make_learner(freeze_batchnorm=True)
    results = train(learner, [first, second, third])
    assert [result.updated for result in results] == [False, True, True]
    twin.model.eval()
    for batch in (first, second):
        images, targets = to_device(batch, twin.options)
        (twin.loss(twin.model(images), targets).total / 2).backward()
    for group in twin.optimizer.param_groups:
        group["lr"] = twin.schedule.lr_at(1)
    twin.optimizer.step()
    twin_results = list(train_one_epoch(twin, [third], epoch=0, first_batch=2))
    assert results[2].loss == pytest.approx(twin_results[0].loss, rel=1e-6)


def test_a_long_gradient_is_shortened_to_clip_norm(make_learner: MakeLearner, make_batch: MakeBatch) -> None:
    learner = make_learner(clip_norm=0.01, name="sgd")
    for group in learner.optimizer.param_groups:
        group["nesterov"], group["momentum"], group["weight_decay"] = False, 0.0, 0.0
    before = copy.deepcopy(list(learner.model.parameters()))
    result = train(learner, [make_batch((8, 8))])[0]
    assert result.norm > 0.01
    moved = torch.cat([(a - b).flatten() for a, b in zip(learner.model.parameters(), before, strict=True)])
    assert float(moved.detach().norm()) == pytest.approx(result.lr * 0.01, rel=1e-3)


def test_frozen_batchnorm_keeps_its_statistics(make_learner: MakeLearner, make_batch: MakeBatch) -> None:
    learner = make_learner(freeze_batchnorm=True)
    before = state_of(learner)
    train(learner, [make_batch((8, 8))])
    after = learner.model.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in after if "running" in name)
    assert not torch.equal(after["head32.weight"], before["head32.weight"])


def test_the_cpu_computes_in_float32_unless_told_otherwise() -> None:
    assert choose_precision("auto", CPU) == "fp32"
    assert choose_precision("bf16", CPU) == "bf16"
    with raises(SettingsError, setting="precision", value="fp16"):
        choose_precision("fp16", CPU)


def test_bfloat16_trains_on_a_cpu_when_asked(make_learner: MakeLearner, make_batch: MakeBatch) -> None:
    learner = make_learner(precision="bf16")
    assert train(learner, [make_batch((8, 8))])[0].updated
    assert {parameter.dtype for parameter in learner.model.parameters()} == {torch.float32}


def test_only_float16_scales_its_loss() -> None:
    assert not make_scaler("fp32", CPU, 0).is_enabled()
    assert make_scaler("fp16", CPU, 1024.0).get_scale() == 1024


def test_a_static_loss_scale_changes_no_bit(make_learner: MakeLearner, make_batch: MakeBatch) -> None:
    """1024 is a power of two: what it multiplies, it divides again exactly."""
    plain, scaled = make_learner(), make_learner()
    scaled = replace(scaled, scaler=make_scaler("fp16", CPU, 1024.0))
    for learner in (plain, scaled):
        train(learner, [make_batch((8, 8)), make_batch((32, 16))])
    assert scaled.scaler.get_scale() == 1024
    ours, theirs = state_of(scaled), state_of(plain)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_dynamic_loss_scale_halves_after_an_overflow_and_leaves_the_step_out(
    make_learner: MakeLearner, make_batch: MakeBatch
) -> None:
    learner = make_learner()
    learner = replace(learner, scaler=make_scaler("fp16", CPU, 0))
    overflow = learner.model.head16.bias.register_hook(lambda gradient: gradient * torch.inf)  # type: ignore[union-attr]
    before = dict(copy.deepcopy(list(learner.model.named_parameters())))
    skipped = train(learner, [make_batch((8, 8))])[0]
    overflow.remove()
    assert not skipped.updated
    assert learner.scaler.get_scale() == 2.0**15
    assert all(torch.equal(value, before[name]) for name, value in learner.model.named_parameters())
    assert train(learner, [make_batch((8, 8))])[0].updated


def test_reproducible_puts_everything_back() -> None:
    with reproducible(CPU):
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]


def test_on_an_accelerator_deterministic_algorithms_are_used_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # restored after the test, also if it is not set
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    with reproducible(torch.device("cuda")):
        assert not torch.are_deterministic_algorithms_enabled()
        assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    with reproducible(torch.device("cuda"), deterministic=True):
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
