"""Sums of gradients that overlap with the backward pass are, bit for bit, those after it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from lookonce import distributed
from lookonce.distributed import rank
from lookonce.training import engine, gradient_sums
from lookonce.training.engine import Learner, train_one_epoch
from lookonce.training.gradient_sums import GradientSums
from lookonce.training.resume import Position, restore, training_state
from lookonce.training.sync_batchnorm import synchronise_batchnorm

MakeLearner = Callable[..., Learner]
InRanks = Callable[..., list[Any]]
CPU = torch.device("cpu")


def layers() -> nn.Sequential:
    """Three layers of 2 + 1 parameters each; the second has no gradient."""
    model = nn.Sequential(*(nn.Linear(2, 1) for _ in range(3)))
    for parameter in model.parameters():
        nn.init.constant_(parameter, 1.0)
    return model


def means(*, overlap: bool, bucket_size: int) -> tuple[list[Any], list[float], int, int]:
    """Gradients of 1, 2, ... times the rank plus 1, their means; another mean; all-reduces begun before and after."""
    model, begun = layers(), list[int]()

    def begin(values: torch.Tensor) -> Callable[[], None]:
        begun.append(len(values))
        return distributed.begin_all_reduce_sum(values)

    gradient_sums.begin_all_reduce_sum = begin
    other = torch.tensor([[float(rank())]])
    sums = GradientSums(model, 1, bucket_size=bucket_size, overlap=overlap)
    inputs = torch.tensor([1.0, 2.0]) * (rank() + 1)
    with sums.following_backward():
        (model[0](inputs) + model[2](inputs)).backward()  # of a batch that ends no update
        sums.begin([other])
        (model[0](inputs) + model[2](inputs)).backward()
        during = len(begun)
        sums.finish()
    return [None if p.grad is None else p.grad.tolist() for p in model.parameters()], other.tolist(), during, len(begun)


def test_two_ranks_average_in_buckets_which_begin_once_they_are_full(in_ranks: InRanks) -> None:
    """Two batches of [1, 2] and [2, 4]: the mean is [3, 6], of the biases 2; of the other number 0.5.

    From the last: bias 1 and weight 2 of each layer. The second layer's are missing, and what follows waits for them.
    """
    begun = {1: (2, 6), 2: (1, 3), 3: (1, 3), 4: (0, 2), 100: (0, 1)}  # bucket size -> all-reduces, in backward and all
    gradients = [[[3.0, 6.0]], [2.0], None, None, [[3.0, 6.0]], [2.0]]

    def all_means() -> list[Any]:
        return [means(overlap=overlap, bucket_size=size) for size in begun for overlap in (True, False)]

    expected = [
        (gradients, [[0.5]], during if overlap else 0, number)
        for during, number in begun.values()
        for overlap in (True, False)
    ]
    assert in_ranks(2, all_means) == [expected] * 2


def test_one_process_has_no_buckets() -> None:
    model = layers()
    sums = GradientSums(model, 1)
    with sums.following_backward():
        sums.begin([torch.ones(1)])
        model[0](torch.tensor([1.0, 2.0])).backward()
        sums.finish()
    assert model[0].weight.grad is not None
    assert model[0].weight.grad.tolist() == [[1.0, 2.0]]


def arrays(learner: Learner) -> list[Any]:
    states = (learner.model.state_dict(), training_state(learner, Position(), 0).tensors)
    return [value.numpy().copy() for state in states for value in state.values()]


def trained(
    make_learner: MakeLearner, batch_of: Callable[..., Any], *, resumed: bool = False, **sums: Any
) -> list[Any]:
    """What a rank holds after two updates of two batches each. resumed: between them."""
    engine.GradientSums = partial(GradientSums, **sums)

    def fresh() -> Learner:
        learner = make_learner(accumulate=2, clip_norm=1.0, num_batches=4)
        synchronise_batchnorm(learner.model, CPU)
        return learner

    learner = fresh()
    for first in (0, 2):
        batches = [batch_of((8 * rank(), 8), (-1, 0), noise=10 * batch + rank()) for batch in (first, first + 1)]
        list(train_one_epoch(learner, batches, epoch=0, first_batch=first))
        if resumed:
            saved = training_state(learner, Position(), 0)
            average = {name: value.clone() for name, value in learner.ema.model.state_dict().items()}
            learner = fresh()
            restore(learner, average, saved)
    return arrays(learner)


def test_overlap_and_a_resume_change_no_bit_of_three_ranks(
    make_learner: MakeLearner, make_batch: Callable[..., Any], in_ranks: InRanks
) -> None:
    """Of two ranks every order of a sum gives the same bits; of three not. BatchNorm sums too, between the buckets."""

    def train() -> list[list[Any]]:
        train = partial(trained, make_learner, make_batch, bucket_size=301)
        return [train(overlap=False), train(), train(resumed=True)]

    (after, overlapped, resumed), *others = in_ranks(3, train)
    for same in (overlapped, resumed, *(other[0] for other in others)):
        assert_same(same, after)


def assert_same(ours: list[Any], expected: list[Any]) -> None:
    for mine, theirs in zip(ours, expected, strict=True):
        np.testing.assert_array_equal(mine, theirs)
