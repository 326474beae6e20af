"""A non-finite loss, gradient or BatchNorm statistic: kept out of the weights on the device, then raised or skipped."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from lookonce.data.loader import Batch
from lookonce.distributed import gather_objects, world_size
from lookonce.errors import LookonceError


class TrainingDiverged(LookonceError):
    """The loss, a gradient or a BatchNorm statistic is not finite. The last checkpoint was saved before.

    epoch, index: of the batch, both from 0. batches: rank -> its batch, for the ranks with a non-finite loss, or for
    all ranks if unknown.
    """

    def __init__(self, message: str, epoch: int, index: int, batches: Mapping[int, Batch]) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.index = index
        self.batches = batches


@dataclass(frozen=True)
class StepValues:
    """What the host reads of a step: the mean over the ranks of its losses, of the L2 norm of the gradient before
    clipping, and of the sum of BatchNorm's statistics. scale: loss scale, 0 without float16.
    loss = box + objectness + classes, normalised as the loss defines it.

    If a value is not finite on one rank, its mean is not finite on all ranks.
    """

    loss: float
    box: float
    objectness: float
    classes: float
    norm: float
    statistics: float
    scale: float

    @property
    def problem(self) -> str:
        """Name of the first that is not finite: loss, gradient, then BatchNorm statistics; "" if all are finite."""
        if not all(map(math.isfinite, (self.loss, self.box, self.objectness, self.classes))):
            return "loss"
        if not math.isfinite(self.norm) and self.scale < 1:
            return "gradient"
        return "" if math.isfinite(self.statistics) else "BatchNorm's mean or variance"


NUM_VALUES = len(fields(StepValues))


class Guard:
    """Keeps a batch that is not finite out of weights, EMA and BatchNorm statistics; the host reads nothing for it.

    broken () bool on the device: whether a batch of this update was not finite. Unless `skip`, it stays set, so that no
    later batch changes anything until the host has read the values and raised TrainingDiverged.
    averaged: BatchNorm's statistics, and in one tensor those before the batch; the caller averages them over the ranks.
    """

    def __init__(self, model: nn.Module, device: torch.device, *, skip: bool) -> None:
        self.broken = torch.zeros((), dtype=torch.bool, device=device)
        self._skip = skip
        self._statistics = statistics_of(model)
        self._counters = [buffer for buffer in model.buffers() if not buffer.is_floating_point()]
        self._before, self._counts_before = flat(self._statistics), flat(self._counters)

    @property
    def averaged(self) -> list[Tensor]:
        return [*self._statistics, self._before]

    def begin(self, *, first_of_update: bool) -> None:
        """Remember BatchNorm's buffers before a batch."""
        if self._skip and first_of_update:
            self.broken.zero_()
        self._before, self._counts_before = flat(self._statistics), flat(self._counters)

    @torch.no_grad()
    def end(self, values: Tensor, scale: Tensor) -> None:
        """Restore BatchNorm's buffers unless the batch, and those before it, are finite.

        values: sums over the ranks in the order of StepValues; scale () of this rank; as StepValues.problem decides.
        """
        finite = torch.isfinite(values)
        self.broken |= ~(finite[:4].all() & (finite[4] | (scale >= 1)) & finite[5])
        for tensors, before in ((self._statistics, self._before), (self._counters, self._counts_before)):
            kept = torch.split(torch.where(self.broken, before, flat(tensors)), [tensor.numel() for tensor in tensors])
            torch._foreach_copy_(tensors, [part.view_as(tensor) for part, tensor in zip(kept, tensors, strict=True)])


def flat(tensors: Sequence[Tensor]) -> Tensor:
    """(N,) a copy of all their values."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def statistics_of(model: nn.Module) -> list[Tensor]:
    """BatchNorm's running means and variances."""
    return [buffer for buffer in model.buffers() if buffer.is_floating_point()]


def diverged(values: StepValues, batch: Batch, epoch: int, index: int, *, own_loss: float) -> TrainingDiverged:
    """The same error on all ranks, with the batches of the ranks with a non-finite loss. Weights are unchanged."""
    is_ours = not math.isfinite(own_loss)
    every = dict(enumerate(gather_objects((is_ours, batch))))
    batches = {rank: given for rank, (is_theirs, given) in every.items() if is_theirs}
    batches = batches or {rank: given for rank, (_, given) in every.items()}
    ids = "; ".join(
        (f"rank {rank}: " if world_size() > 1 else "") + ", ".join(str(image_id) for image_id in given.image_ids)
        for rank, given in batches.items()
    )
    return TrainingDiverged(
        f"epoch {epoch}, batch {index}: the {values.problem} is not finite (loss {values.loss:g}: box {values.box:g}, "
        f"objectness {values.objectness:g}, classes {values.classes:g}; gradient norm {values.norm:g}); image ids "
        f"{ids}. The weights are unchanged and the last checkpoint is valid. Try a lower lr, clip_norm 10 or precision "
        "fp32",
        epoch,
        index,
        batches,
    )
