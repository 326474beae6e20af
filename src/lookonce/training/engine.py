"""One epoch of training: mixed precision, loss, backward, gradient accumulation and clipping, optimizer step, EMA."""

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor, nn
from torch.profiler import record_function

from lookonce.data.loader import Batch
from lookonce.devices import HostCopy, copy_to_device, supports_bfloat16
from lookonce.distributed import all_reduce_sum, world_size
from lookonce.errors import SettingsError
from lookonce.model.assign import Targets
from lookonce.model.loss import DetectionLoss, LossParts
from lookonce.model.normalise import channel_constants, to_network_input
from lookonce.settings.record import Preprocessing
from lookonce.training.ema import ExponentialMovingAverage
from lookonce.training.finite import NUM_VALUES, Guard, StepValues, diverged, flat, statistics_of
from lookonce.training.gradient_sums import GradientSums
from lookonce.training.optimizer import set_lr, step_unless
from lookonce.training.schedule import Schedule

Precision = Literal["fp32", "bf16", "fp16"]
# Names of the parts of a step in a profile, in order; without a profiler they cost a few microseconds per step.
STEP_PARTS = ("to the device", "forward", "assignment and loss", "backward", "gradient norm", "update")
DTYPES: dict[str, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class StepResult(StepValues):
    """The result of one batch: what the host has read of it, and what that means.

    batch: 0-based within the epoch; num_images: of this rank, all other values over all ranks; updated: whether the
    optimizer changed the weights after this batch; skipped: whether its loss or gradient was not finite, or that of an
    earlier batch of the same update; waited: seconds of waiting for the batch while the device was idle. asked: what
    any rank asked for when the batch began. is_newest: whether no later batch has begun, so that the weights are those
    after this one.
    """

    batch: int
    num_images: int
    lr: float
    updated: bool
    skipped: bool
    waited: float
    asked: tuple[bool, ...]
    is_newest: bool


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


@dataclass(frozen=True, kw_only=True)
class _Begun:
    """A batch whose work the device has been given; `values`, the sums over the ranks of StepValues, arrive later."""

    batch: Batch
    index: int
    lr: float
    is_last_of_update: bool
    own_loss: Tensor
    values: HostCopy
    waited: float = 0.0


def train_one_epoch(
    learner: Learner,
    batches: Iterable[Batch],
    *,
    epoch: int,
    first_batch: int = 0,
    asks: Callable[[int], Sequence[bool]] = lambda _index: (),
    settle: Callable[[int], bool] = lambda _index: False,
) -> Iterator[StepResult]:
    """Train on the batches of one epoch, the first of them batch `first_batch` (0-based); yield one result per batch.

    A result is read and yielded once the next batch has begun, so the device never waits for the host. If
    `settle(index)`, called after a batch has begun, is true, its result is yielded before the next batch begins; only
    such a result and the last one are `is_newest`, and only then may the caller save or stop. asks(index): flags of
    this rank before a batch begins; its result says which of them any rank has set.

    Loss and gradients are checked on the device before the update, so weights, EMA and checkpoints never contain a NaN.
    """
    options = learner.options
    set_training_mode(learner.model, freeze_batchnorm=options.freeze_batchnorm)
    guard = Guard(learner.model, options.device, skip=options.skip_nonfinite)
    sums = GradientSums(learner.model, sum(tensor.numel() for tensor in guard.averaged))
    before: _Begun | None = None  # its result has not been read
    skipped_update = -1  # index of the update that contains a non-finite batch

    def result_of(begun: _Begun, *, is_newest: bool) -> StepResult:
        nonlocal skipped_update
        update = begun.index // options.accumulate
        result = _result(learner, begun, epoch, is_skipped=update == skipped_update, is_newest=is_newest)
        skipped_update = update if result.skipped else skipped_update
        return result

    with sums.following_backward():
        for index, (batch, waited) in enumerate(_timed(batches), first_batch):
            was_idle = before is None or before.values.has_arrived
            step = train_step(learner, guard, sums, batch, epoch=epoch, index=index, asks=asks(index))
            begun = replace(step, waited=waited if was_idle else 0.0)
            if before is not None:
                yield result_of(before, is_newest=False)
            before = begun
            if settle(index):
                yield result_of(before, is_newest=True)
                before = None
    if before is not None:
        yield result_of(before, is_newest=True)


def train_step(
    learner: Learner,
    guard: Guard,
    sums: GradientSums,
    batch: Batch,
    *,
    epoch: int,
    index: int,
    asks: Sequence[bool] = (),
) -> _Begun:
    """Batch `index` of the epoch: forward, loss, backward, and after each `accumulate` batches the optimizer step.

    With several ranks each trains on its shard of the batch. The mean of their gradients is the gradient of the whole
    batch, since the loss divides by a sum over all ranks. BatchNorm normalises over the shard alone (unless it is
    synchronised); its running statistics are averaged over the ranks, so that all hold the same network.
    """
    options, scaler = learner.options, learner.scaler
    guard.begin(first_of_update=index % options.accumulate == 0)
    with record_function("to the device"):
        images, targets = to_device(batch, options)
    autocast = torch.autocast(options.device.type, DTYPES[options.precision], enabled=options.precision != "fp32")
    with record_function("forward"), autocast:
        raws = learner.model(images)
    with record_function("assignment and loss"):
        parts = learner.loss(raws, targets, sum_over_ranks=all_reduce_sum, num_ranks=world_size())

    first_of_group = index - index % options.accumulate
    group_size = min(options.accumulate, learner.schedule.steps_per_epoch - first_of_group)
    is_last_of_group = index == first_of_group + group_size - 1
    if is_last_of_group:
        sums.begin(guard.averaged)
    with record_function("backward"):
        scaler.scale(parts.total / group_size).backward()  # type: ignore[no-untyped-call]
    if is_last_of_group:
        with record_function("average over ranks"):
            sums.finish()
    with record_function("gradient norm"):
        norm = gradient_norm(learner, clip=is_last_of_group)
        scale = scaler.scale(torch.ones_like(norm)) if scaler.is_enabled() else torch.zeros_like(norm)
        values = summed_values(parts, norm, statistics_of(learner.model), scale, asks)
        guard.end(values, scale)

    lr = learner.schedule.lr_at(epoch * learner.schedule.steps_per_epoch + index)
    if is_last_of_group:
        with record_function("update"):
            update_weights(learner, lr, unless=(guard.broken | ~torch.isfinite(norm)).float())
    return _Begun(
        batch=batch,
        index=index,
        lr=lr,
        is_last_of_update=is_last_of_group,
        own_loss=parts.total.detach(),
        values=HostCopy(values),
    )


def update_weights(learner: Learner, lr: float, *, unless: Tensor) -> None:
    """One optimizer step and EMA update. unless: () float32 on the device, other than 0 to leave all as it is."""
    optimizer, scaler = learner.optimizer, learner.scaler
    set_lr(optimizer, lr)
    step_unless(optimizer, unless)
    scaler.update()
    optimizer.zero_grad()
    if learner.ema is not None:
        learner.ema.update(learner.model, unless=unless)


def set_training_mode(model: nn.Module, *, freeze_batchnorm: bool) -> None:
    """Set training mode, but evaluation mode for BatchNorm layers that are frozen or belong to a frozen stage."""
    model.train()
    for module in model.modules():
        is_norm = isinstance(module, nn.BatchNorm2d | nn.SyncBatchNorm)
        if is_norm and (freeze_batchnorm or not module.weight.requires_grad):
            module.eval()


def to_device(batch: Batch, options: StepOptions) -> tuple[Tensor, Targets]:
    """(images (B, 3, H, W) float32, targets) on the device. Images are copied as uint8 and normalised there."""
    device = options.device
    pixels = copy_to_device(torch.from_numpy(batch.images), device)
    targets = Targets.from_flat(
        *(torch.from_numpy(array) for array in (batch.boxes_xyxy, batch.labels, batch.image_index, batch.crowd)),
        batch_size=len(batch.images),
    )
    on_device = (copy_to_device(values, device) for values in (targets.boxes_xyxy, targets.labels, targets.crowd))
    return to_network_input(pixels, options.preprocessing, _kept_constants(options.preprocessing, device)), Targets(
        *on_device
    )


_kept_constants = lru_cache(maxsize=1)(channel_constants)


def gradient_norm(learner: Learner, *, clip: bool) -> Tensor:
    """L2 norm of the gradient over all parameters, before clipping; `clip` then clips it to clip_norm (0: no limit)."""
    if clip:
        learner.scaler.unscale_(learner.optimizer)
    parameters = [parameter for parameter in learner.model.parameters() if parameter.grad is not None]
    norm = nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
    if clip and learner.options.clip_norm:
        nn.utils.clip_grads_with_norm_(parameters, learner.options.clip_norm, norm)
    return norm


def summed_values(
    parts: LossParts, norm: Tensor, statistics: Sequence[Tensor], scale: Tensor, asks: Sequence[bool]
) -> Tensor:
    """Sums over the ranks, on the device, in the order of StepValues; then those of the flags `asks`."""
    flags = [torch.full_like(norm, float(flag)) for flag in asks]
    sums = [parts.total, parts.box, parts.objectness, parts.classes, norm, flat(statistics).sum(), scale, *flags]
    return all_reduce_sum(torch.stack(sums).detach())


def choose_precision(name: str, device: torch.device) -> Precision:
    """ "auto" -> bf16 on accelerators that support it, fp16 on other accelerators, fp32 on a CPU and on mps."""
    if name == "auto":
        if device.type in ("cpu", "mps"):
            return "fp32"
        return "bf16" if supports_bfloat16(device) else "fp16"
    if name == "fp16" and device.type == "cpu":
        raise SettingsError.of("precision", name, "needs an accelerator; use precision=fp32 or precision=auto")
    if name not in DTYPES:
        raise SettingsError.of("precision", name, f"expected auto, {', '.join(DTYPES)}")
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


def _result(learner: Learner, begun: _Begun, epoch: int, *, is_skipped: bool, is_newest: bool) -> StepResult:
    """Read the values of a batch. is_skipped: an earlier batch of the same update was not finite.

    TrainingDiverged: they are not finite, and the batch is not to be skipped.
    """
    sums = begun.values.tolist()
    values = StepValues(*(value / world_size() for value in sums[:NUM_VALUES]))
    if values.problem and not (is_skipped or learner.options.skip_nonfinite):
        raise diverged(values, begun.batch, epoch, begun.index, own_loss=float(begun.own_loss))
    is_skipped = is_skipped or bool(values.problem)
    return StepResult(
        *astuple(values),
        batch=begun.index,
        num_images=len(begun.batch.images),
        lr=begun.lr,
        updated=begun.is_last_of_update and not is_skipped and math.isfinite(values.norm),
        skipped=is_skipped,
        waited=begun.waited,
        asked=tuple(flag > 0 for flag in sums[NUM_VALUES:]),
        is_newest=is_newest,
    )


def _timed(batches: Iterable[Batch]) -> Iterator[tuple[Batch, float]]:
    """The batches, each with the seconds of waiting for it."""
    source = iter(batches)
    while True:
        started = time.perf_counter()
        batch = next(source, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - started


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
    before = torch.get_deterministic_debug_mode()
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    # use_deterministic_algorithms does the same, and imports PyTorch's compiler, which takes seconds.
    torch.set_deterministic_debug_mode("error" if is_cpu else "warn")
    # It fills every new tensor so that reads of uninitialised memory are reproducible; nothing here reads such memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    try:
        yield
    finally:
        torch.set_deterministic_debug_mode(before)
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
