"""One epoch of training: mixed precision, loss, backward, gradient accumulation and clipping, optimizer step, EMA."""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.profiler import record_function

from lookonce.data.loader import Batch
from lookonce.distributed import (
    all_reduce_sum,
    average_over_ranks,
    supports_bfloat16,
    world_size,
)
from lookonce.errors import SettingsError
from lookonce.model.assign import Targets
from lookonce.model.loss import DetectionLoss, LossParts
from lookonce.model.normalise import to_network_input
from lookonce.settings.record import Preprocessing
from lookonce.training.ema import ExponentialMovingAverage
from lookonce.training.finite import diverged, forget_batch, what_is_not_finite
from lookonce.training.optimizer import set_lr
from lookonce.training.schedule import Schedule

Precision = Literal["fp32", "bf16", "fp16"]
# Names of the parts of a step in a profile, in order; without a profiler they cost a few microseconds per step.
STEP_PARTS = ("to the device", "forward", "assignment and loss", "backward", "gradient norm", "update")
DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """The result of one batch. loss = box + objectness + classes, normalised as the loss defines it.

    batch: 0-based within the epoch; num_images: of this rank, all other values over all ranks; gradient_norm: L2 norm
    before clipping; updated: whether the optimizer changed the weights after this batch; skipped: whether its loss or
    gradient was not finite, or that of another batch of the same update.
    """

    batch: int
    num_images: int
    lr: float
    loss: float
    box: float
    objectness: float
    classes: float
    gradient_norm: float
    updated: bool
    skipped: bool = False


@dataclass(frozen=True, kw_only=True)
class StepOptions:
    """clip_norm: gradient clipping, maximum L2 norm of the gradient, 0 disables it; accumulate: gradient accumulation,
    batches per optimizer step; freeze_batchnorm: do not update BatchNorm statistics; skip_nonfinite: skip the update of
    a batch whose loss or gradient is not finite, instead of raising TrainingDiverged."""

    device: torch.device
    preprocessing: Preprocessing
    precision: Precision = "fp32"
    clip_norm: float = 0.0
    accumulate: int = 1
    freeze_batchnorm: bool = False
    skip_nonfinite: bool = False


@dataclass(frozen=True, kw_only=True)
class Learner:
    """Everything that takes part in a training step. ema: None disables EMA."""

    model: nn.Module
    loss: DetectionLoss
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    schedule: Schedule
    ema: ExponentialMovingAverage | None
    options: StepOptions

    @property
    def result_model(self) -> nn.Module:
        """The weights to evaluate and save: the EMA if enabled, else the model."""
        return self.model if self.ema is None else self.ema.model


def train_one_epoch(
    learner: Learner, batches: Iterable[Batch], *, epoch: int, first_batch: int = 0
) -> Iterator[StepResult]:
    """Train on the batches of one epoch, the first of them batch `first_batch` (0-based); yield one result per batch.

    Each result is yielded after its step is complete, so the caller may save or stop. Loss and gradients are checked
    before the update, so weights, EMA and checkpoints never contain a NaN.
    """
    set_training_mode(learner.model, freeze_batchnorm=learner.options.freeze_batchnorm)
    skipped_update = -1  # index of the update that contains a non-finite batch
    for index, batch in enumerate(batches, first_batch):
        update = index // learner.options.accumulate
        if update == skipped_update:
            yield _skipped(learner, batch, epoch, index)
            continue
        result = train_step(learner, batch, epoch=epoch, index=index)
        if result.skipped:
            skipped_update = update
        yield result


def train_step(learner: Learner, batch: Batch, *, epoch: int, index: int) -> StepResult:
    """Batch `index` of the epoch: forward, loss, backward, and after each `accumulate` batches the optimizer step.

    With several ranks each trains on its shard of the batch. The mean of their gradients is the gradient of the whole
    batch, since the loss divides by a sum over all ranks. BatchNorm normalises over the shard alone (unless it is
    synchronised); its running statistics are averaged over the ranks, so that all hold the same network.
    """
    options, scaler = learner.options, learner.scaler
    before = [value.clone() for value in learner.model.buffers()] if options.skip_nonfinite else []
    with record_function("to the device"):
        images, targets = to_device(batch, options)
    autocast = torch.autocast(options.device.type, DTYPES[options.precision], enabled=options.precision != "fp32")
    with record_function("forward"), autocast:
        raws = learner.model(images)
    with record_function("assignment and loss"):
        parts = learner.loss(raws, targets, sum_over_ranks=all_reduce_sum, num_ranks=world_size())

    group_size, is_last_of_group = _group(index, options.accumulate, learner.schedule.steps_per_epoch)
    with record_function("backward"):
        scaler.scale(parts.total / group_size).backward()  # type: ignore[no-untyped-call]
    if is_last_of_group:
        with record_function("average over ranks"):
            average_over_ranks(shared_between_ranks(learner.model))
    with record_function("gradient norm"):
        norm = gradient_norm(learner, clip=is_last_of_group)
        values = fetch(parts, norm, statistics_of(learner.model))
    problem = what_is_not_finite(values, overflow_allowed=scaler.is_enabled() and scaler.get_scale() >= 1)
    if problem and options.skip_nonfinite:
        forget_batch(learner.model, learner.optimizer, scaler, before, statistics_of(learner.model))
        return _skipped(learner, batch, epoch, index)
    if problem:
        raise diverged(problem, values, parts, batch, epoch, index)

    lr = learner.schedule.lr_at(epoch * learner.schedule.steps_per_epoch + index)
    with record_function("update"):
        updated = is_last_of_group and update_weights(learner, lr, gradient_is_finite=math.isfinite(values[4]))
    return _result(index, len(batch.images), lr, values, updated=updated)


def update_weights(learner: Learner, lr: float, *, gradient_is_finite: bool) -> bool:
    """One optimizer step and EMA update; returns False if the scaler skipped the step because float16 overflowed."""
    set_lr(learner.optimizer, lr)
    learner.scaler.step(learner.optimizer)
    learner.scaler.update()
    learner.optimizer.zero_grad()
    if gradient_is_finite and learner.ema is not None:
        learner.ema.update(learner.model)
    return gradient_is_finite


def shared_between_ranks(model: nn.Module) -> list[Tensor]:
    """The tensors to average over the ranks: gradients, then BatchNorm statistics, each in the model's order."""
    return [parameter.grad for parameter in model.parameters() if parameter.grad is not None] + statistics_of(model)


def statistics_of(model: nn.Module) -> list[Tensor]:
    """BatchNorm's running means and variances."""
    return [buffer for buffer in model.buffers() if buffer.is_floating_point()]


def set_training_mode(model: nn.Module, *, freeze_batchnorm: bool) -> None:
    """Set training mode, but evaluation mode for BatchNorm layers that are frozen or belong to a frozen stage."""
    model.train()
    for module in model.modules():
        is_norm = isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm)
        if is_norm and (freeze_batchnorm or not module.weight.requires_grad):
            module.eval()


def to_device(batch: Batch, options: StepOptions) -> tuple[Tensor, Targets]:
    """(images (B, 3, H, W) float32, targets) on the device. Images are copied as uint8 and normalised there."""
    pixels = torch.from_numpy(batch.images).to(options.device, non_blocking=True)
    targets = Targets.from_flat(
        *(torch.from_numpy(array) for array in (batch.boxes_xyxy, batch.labels, batch.image_index, batch.crowd)),
        batch_size=len(batch.images),
    )
    return to_network_input(pixels, options.preprocessing), targets.to(options.device)


def gradient_norm(learner: Learner, *, clip: bool) -> Tensor:
    """L2 norm of the gradient over all parameters, before clipping; `clip` then clips it to clip_norm (0: no limit)."""
    if clip:
        learner.scaler.unscale_(learner.optimizer)
    parameters = [parameter for parameter in learner.model.parameters() if parameter.grad is not None]
    norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    if clip and learner.options.clip_norm:
        nn.utils.clip_grads_with_norm_(parameters, learner.options.clip_norm, norm)
    return norm


def fetch(parts: LossParts, norm: Tensor, statistics: Sequence[Tensor]) -> list[float]:
    """[total, box, objectness, classes, gradient norm, sum of the BatchNorm statistics], each the mean over the ranks.

    If a value is not finite on one rank, its mean is not finite on all ranks. Synchronises with the device once.
    """
    sums = torch.stack([values.sum() for values in statistics]).sum()
    values = torch.stack([parts.total, parts.box, parts.objectness, parts.classes, norm, sums]).detach()
    return [float(value) / world_size() for value in all_reduce_sum(values).tolist()]


def choose_precision(name: str, device: torch.device) -> Precision:
    """ "auto" -> bf16 on accelerators that support it, fp16 on other accelerators, fp32 on a CPU."""
    if name == "auto":
        if device.type == "cpu":
            return "fp32"
        return "bf16" if supports_bfloat16(device) else "fp16"
    if name == "fp16" and device.type == "cpu":
        raise SettingsError(
            "precision: fp16 on a CPU; fp16 needs an accelerator; use precision=fp32 or precision=auto",
            setting="precision",
            value="fp16",
        )
    if name not in DTYPES:
        raise SettingsError(f"precision: {name!r}; expected auto, {', '.join(DTYPES)}", setting="precision", value=name)
    return name  # type: ignore[return-value]


def make_scaler(precision: Precision, device: torch.device, loss_scale: float) -> torch.amp.GradScaler:
    """Loss scaling for fp16, disabled otherwise. loss_scale: a constant scale; 0 means dynamic loss scaling."""
    never = 2**31 - 1
    return torch.amp.GradScaler(
        device.type,
        init_scale=loss_scale or 2.0**16,
        growth_interval=never if loss_scale else 2000,
        enabled=precision == "fp16",
    )


def _group(index: int, accumulate: int, num_batches: int) -> tuple[int, bool]:
    """(number of batches in the update of batch `index`, whether it is the last of them)."""
    first = index - index % accumulate
    size = min(accumulate, num_batches - first)
    return size, index == first + size - 1


def _result(index: int, num_images: int, lr: float, values: Sequence[float], *, updated: bool) -> StepResult:
    loss, box, objectness, classes, norm, _ = values
    return StepResult(
        batch=index,
        num_images=num_images,
        lr=lr,
        loss=loss,
        box=box,
        objectness=objectness,
        classes=classes,
        gradient_norm=norm,
        updated=updated,
    )


def _skipped(learner: Learner, batch: Batch, epoch: int, index: int) -> StepResult:
    lr = learner.schedule.lr_at(epoch * learner.schedule.steps_per_epoch + index)
    return replace(_result(index, len(batch.images), lr, [math.nan] * 6, updated=False), skipped=True)


@contextmanager
def reproducible(device: torch.device, *, deterministic: bool = False) -> Iterator[None]:
    """Inside the block PyTorch uses deterministic algorithms on a CPU; on an accelerator only if `deterministic`.

    There PyTorch lacks some (of the gradient of max pooling, on CUDA): it warns and uses another.
    """
    is_cpu = device.type == "cpu"
    if not (is_cpu or deterministic):
        yield
        return
    if device.type == "cuda":  # cuBLAS reads it when it starts; the values are those of its documentation
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True, warn_only=not is_cpu)
    # It fills every new tensor so that reads of uninitialised memory are reproducible; nothing here reads such memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
