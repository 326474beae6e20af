"""A loss, gradient or statistic that is not finite: found before it reaches the weights, then reported or left out."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lookonce.data.loader import Batch
from lookonce.distributed import average_over_ranks, gather_objects, world_size
from lookonce.errors import LookonceError
from lookonce.model.loss import LossParts


class TrainingDiverged(LookonceError):
    """The loss or a gradient is not a number any more. The last checkpoint is from before that.

    batches: rank -> what that rank was given, of the ranks whose loss it was, or of all where that cannot be told.
    """

    def __init__(self, message: str, epoch: int, index: int, batches: Mapping[int, Batch]) -> None:
        super().__init__(message)
        self.epoch = epoch
        self.index = index
        self.batches = batches


def what_is_not_finite(values: Sequence[float], *, overflow_allowed: bool) -> str:
    """The first of loss, gradient and BatchNorm statistics that is no number; "" if all are.

    overflow_allowed: float16 gradients may overflow now and then; the scaler then leaves the step out.
    """
    *losses, norm, statistics = values
    if not all(map(math.isfinite, losses)):
        return "loss"
    if not math.isfinite(norm) and not overflow_allowed:
        return "gradient"
    return "" if math.isfinite(statistics) else "BatchNorm's mean or variance"


def diverged(
    problem: str, values: Sequence[float], parts: LossParts, batch: Batch, epoch: int, index: int
) -> TrainingDiverged:
    """The same error on all ranks, with the pictures of those whose own loss it was. Nothing reached the weights."""
    is_ours = not bool(torch.isfinite(parts.total))
    every = dict(enumerate(gather_objects((is_ours, batch))))
    batches = {rank: given for rank, (is_theirs, given) in every.items() if is_theirs}
    batches = batches or {rank: given for rank, (_, given) in every.items()}
    ids = "; ".join(
        (f"rank {rank}: " if world_size() > 1 else "") + ", ".join(str(image_id) for image_id in given.image_ids)
        for rank, given in batches.items()
    )
    return TrainingDiverged(
        f"epoch {epoch}, batch {index}: the {problem} is not finite (loss {values[0]:g}: box {values[1]:g}, "
        f"objectness {values[2]:g}, classes {values[3]:g}; gradient norm {values[4]:g}); image ids {ids}. "
        "The weights were not touched, the last checkpoint is sound. Try a lower lr, clip_norm 10 or precision fp32",
        epoch,
        index,
        batches,
    )


def forget_batch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    buffers: Sequence[Tensor],
    statistics: Sequence[Tensor],
) -> None:
    """As if this batch had never been: BatchNorm's buffers as they were, and no gradient of the update it is in."""
    optimizer.zero_grad()
    with torch.no_grad():
        for present, before in zip(model.buffers(), buffers, strict=True):
            present.copy_(before)
    average_over_ranks(statistics)  # as the update would have done
    if scaler.is_enabled():
        scaler.update(scaler.get_scale())  # unscale_ may have been called for the update left out
