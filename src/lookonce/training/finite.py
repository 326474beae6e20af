"""A non-finite loss, gradient or BatchNorm statistic: detected before the update, then raised or skipped."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from lookonce.data.loader import Batch
from lookonce.distributed import average_over_ranks, gather_objects, world_size
from lookonce.errors import LookonceError
from lookonce.model.loss import LossParts


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


def what_is_not_finite(values: Sequence[float], *, overflow_allowed: bool) -> str:
    """Name of the first that is not finite: loss, gradient, then BatchNorm statistics; "" if all are finite.

    values: as `engine.fetch` returns them. overflow_allowed: float16 gradients may overflow; the scaler then skips the
    step.
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
    """The same error on all ranks, with the batches of the ranks with a non-finite loss. Weights are unchanged."""
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
        "The weights are unchanged and the last checkpoint is valid. Try a lower lr, clip_norm 10 or precision fp32",
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
    """Undo a skipped batch: restore BatchNorm's buffers, and drop the gradients of the update it belongs to."""
    optimizer.zero_grad()
    with torch.no_grad():
        for present, before in zip(model.buffers(), buffers, strict=True):
            present.copy_(before)
    average_over_ranks(statistics)  # the update would have done it
    if scaler.is_enabled():
        scaler.update(scaler.get_scale())  # unscale_ may have been called for the skipped update
