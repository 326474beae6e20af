"""The gradients of several GPUs (ranks) summed by all-reduce and averaged, as DDP does, during the backward pass."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from lookonce.distributed import begin_all_reduce_sum, world_size
from lookonce.training.finite import flat

# Gradients of a bucket, 4 MB: the full network has five buckets, the last of which holds the first five layers.
BUCKET_SIZE = 2**20


@dataclass
class _Bucket:
    """values (N,): gradients, then what else is averaged. views: parameter -> its part of them, in the parameter's
    shape and strides; others: the rest. missing: the parameters whose gradient is not there yet."""

    values: Tensor
    views: dict[nn.Parameter, Tensor]
    others: Tensor
    missing: set[nn.Parameter] = field(default_factory=set)

    def take(self, parameter: nn.Parameter) -> None:
        """Move the gradient into the bucket. Without one, zeros take part in the sum, and it stays None."""
        self.missing.discard(parameter)
        if parameter.grad is None:
            self.views[parameter].zero_()
        else:
            parameter.grad = self.views[parameter].copy_(parameter.grad)


class GradientSums:
    """Replaces the gradients of a model by their means over the ranks; does nothing in one process.

    A bucket holds consecutive parameters, from the last layer to the first, until it has `bucket_size` values or more.
    Its all-reduce begins once its last gradient is there, but not before that of an earlier bucket. How a sum is
    rounded depends on its place in the buffer, so the places depend on the parameters alone: a resumed run gets the
    same bits, and so does a sum that begins after the backward pass, `overlap` False (docs/decisions/0011).

    A gradient is copied into its bucket once, and is a view of it from then on. A view from the start would cost more,
    since autograd adds to it, and would turn no gradient into zeros, by which weight decay changes a parameter.
    """

    def __init__(
        self, model: nn.Module, num_others: int, *, bucket_size: int = BUCKET_SIZE, overlap: bool = True
    ) -> None:
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self._overlap = overlap
        self._is_open = False
        self._others: Sequence[Tensor] = ()
        self._buckets = _buckets(parameters[::-1], num_others, bucket_size) if world_size() > 1 else []
        self._waits: list[Callable[[], None]] = []  # of the buckets whose all-reduce has begun

    @contextmanager
    def following_backward(self) -> Iterator[None]:
        """Inside the block the gradients of a backward pass are noticed as they are completed."""
        hooks = [
            parameter.register_post_accumulate_grad_hook(partial(self._arrived, bucket))  # type: ignore[no-untyped-call]
            for bucket in self._buckets
            for parameter in bucket.views
            if self._overlap
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def begin(self, others: Sequence[Tensor]) -> None:
        """Call before the backward pass that completes the gradients. others: num_others values in all that are to be
        averaged too; they travel in the last bucket."""
        if self._buckets:
            self._others, self._waits, self._is_open = others, [], True
            self._buckets[-1].others.copy_(flat(others))
            for bucket in self._buckets:
                bucket.missing = set(bucket.views)

    @torch.no_grad()
    def finish(self) -> None:
        """Call after it: then gradients and others are means. A parameter has a gradient on all ranks or on none."""
        self._is_open = False
        for bucket in self._buckets:
            for parameter in list(bucket.missing):
                bucket.take(parameter)
        self._begin_full_buckets()
        for bucket, wait in zip(self._buckets, self._waits, strict=True):
            wait()
            bucket.values.div_(world_size())
        if self._buckets:
            means = torch.split(self._buckets[-1].others, [other.numel() for other in self._others])
            for other, mean in zip(self._others, means, strict=True):
                other.copy_(mean.view(other.shape))

    def _arrived(self, bucket: _Bucket, parameter: nn.Parameter) -> None:
        if self._is_open:
            bucket.take(parameter)
            self._begin_full_buckets()

    def _begin_full_buckets(self) -> None:
        for bucket in self._buckets[len(self._waits) :]:
            if bucket.missing:
                return
            self._waits.append(begin_all_reduce_sum(bucket.values))


def _buckets(parameters: Sequence[nn.Parameter], num_others: int, size: int) -> list[_Bucket]:
    cut: list[list[nn.Parameter]] = [[]]
    for parameter in parameters:
        if sum(before.numel() for before in cut[-1]) >= size:
            cut.append([])
        cut[-1].append(parameter)
    buckets = []
    for members in cut:
        sizes = [*(parameter.numel() for parameter in members), num_others if members is cut[-1] else 0]
        values = members[0].new_zeros(sum(sizes))
        *parts, others = torch.split(values, sizes)
        views = {
            parameter: part.as_strided(parameter.shape, parameter.stride())
            for parameter, part in zip(members, parts, strict=True)
        }
        buckets.append(_Bucket(values, views, others))
    return buckets
