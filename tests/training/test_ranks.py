"""Several ranks with shares of a batch do what one process does with the whole of it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from lookonce.data.loader import Batch
from lookonce.distributed import rank, world_size
from lookonce.training.engine import Learner, train_one_epoch
from lookonce.training.finite import TrainingDiverged, statistics_of
from lookonce.training.sync_batchnorm import synchronise_batchnorm

MakeLearner = Callable[..., Learner]
MakeBatch = Callable[..., Batch]
InRanks = Callable[..., list[Any]]
CPU = torch.device("cpu")


def share_of(batch: Batch) -> Batch:
    """This rank's slice of a batch, as the loader cuts it."""
    count = len(batch.images)
    start, end = (count * number // world_size() for number in (rank(), rank() + 1))
    boxes = (batch.image_index >= start) & (batch.image_index < end)
    return replace(
        batch,
        images=batch.images[start:end],
        boxes_xyxy=batch.boxes_xyxy[boxes],
        labels=batch.labels[boxes],
        image_index=batch.image_index[boxes] - start,
        crowd=batch.crowd[boxes],
        positions=batch.positions[start:end],
        image_ids=batch.image_ids[start:end],
    )


def trained(learner: Learner, batches: list[Batch], *, sync: bool = False) -> tuple[list[float], Any, Any]:
    """Losses, weights and BatchNorm statistics after the batches."""
    if sync:
        synchronise_batchnorm(learner.model, CPU)
    results = train_one_epoch(learner, map(share_of, batches), epoch=0)
    losses = [result.loss for result in results]
    weights = {name: value.detach().numpy() for name, value in learner.model.named_parameters()}
    return losses, weights, [value.numpy() for value in statistics_of(learner.model)]


@pytest.fixture
def batches(make_batch: MakeBatch) -> list[Batch]:
    """Two of seven pictures, which no number of ranks up to six shares out evenly; the objects are not, either."""
    corners = ((8, 8), (-1, 0), (32, 16), (0, 0), (16, 24), (-1, 0), (40, 40))
    return [make_batch(*corners, noise=1), make_batch(*reversed(corners), noise=2)]


def assert_close(ours: Any, theirs: Any) -> None:
    """To the rounding of two steps in float32; without a common BatchNorm the difference is a hundred times that."""
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
    for name, value in ours[1].items():
        np.testing.assert_allclose(value, theirs[1][name], rtol=1e-4, atol=2e-5, err_msg=name)
    for mine, others in zip(ours[2], theirs[2], strict=True):
        np.testing.assert_allclose(mine, others, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("num_ranks", [2, 3])
@pytest.mark.parametrize("options", [{"freeze_batchnorm": True}, {"freeze_batchnorm": True, "accumulate": 2}])
def test_the_mean_of_the_ranks_gradients_is_that_of_the_whole_batch(
    make_learner: MakeLearner, batches: list[Batch], in_ranks: InRanks, num_ranks: int, options: dict[str, Any]
) -> None:
    """BatchNorm frozen, so that pictures do not mix. Weights of all ranks are the same to the last bit."""
    alone = trained(make_learner(**options), batches)
    together = in_ranks(num_ranks, lambda: trained(make_learner(**options), batches))
    assert_close(together[0], alone)
    for other in together[1:]:
        for name, value in other[1].items():
            np.testing.assert_array_equal(value, together[0][1][name])


@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_synchronised_batchnorm_is_that_of_one_process(
    make_learner: MakeLearner, batches: list[Batch], in_ranks: InRanks, num_ranks: int
) -> None:
    alone = trained(make_learner(), batches)
    together = in_ranks(num_ranks, lambda: trained(make_learner(), batches, sync=True))
    for end in together:
        assert_close(end, alone)


def test_without_it_ranks_differ_from_one_process_but_not_from_each_other(
    make_learner: MakeLearner, batches: list[Batch], in_ranks: InRanks
) -> None:
    alone = trained(make_learner(), batches)
    first, second = in_ranks(2, lambda: trained(make_learner(), batches))
    for mine, theirs in zip(first[2], second[2], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    distance = max(np.abs(value - alone[1][name]).max() for name, value in first[1].items())
    assert 1e-4 < distance < 0.1


def spoil(learner: Learner, of_rank: int) -> Learner:
    """The first batch reaches the network of one rank as no numbers."""

    def spoil_once(_model: torch.nn.Module, given: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
        handle.remove()
        return (given[0] * (torch.nan if rank() == of_rank else 1),)

    handle = learner.model.register_forward_pre_hook(spoil_once)
    return learner


def test_all_ranks_stop_and_name_the_one_whose_loss_it_was(
    make_learner: MakeLearner, batches: list[Batch], in_ranks: InRanks
) -> None:
    def train() -> tuple[str, list[int]]:
        try:
            list(train_one_epoch(spoil(make_learner(), of_rank=1), map(share_of, batches), epoch=0))
        except TrainingDiverged as error:
            return str(error), list(error.batches)
        return "", []

    first, second = in_ranks(2, train)
    assert first == second
    assert first[1] == [1]
    assert "epoch 0, batch 0: " in first[0]
    assert "rank 1: 4, 5, 6, 7." in first[0]


def test_all_ranks_skip_what_one_of_them_cannot_use(
    make_learner: MakeLearner, batches: list[Batch], in_ranks: InRanks
) -> None:
    def train(*, spoiling: bool, first_batch: int = 0) -> tuple[list[bool], list[Any]]:
        learner = make_learner(skip_nonfinite=True)
        given = map(share_of, batches[first_batch:])
        learner = spoil(learner, of_rank=1) if spoiling else learner
        results = list(train_one_epoch(learner, given, epoch=0, first_batch=first_batch))
        return [result.skipped for result in results], [v.numpy() for v in learner.model.state_dict().values()]

    skipping = in_ranks(2, lambda: train(spoiling=True))
    without = in_ranks(2, lambda: train(spoiling=False, first_batch=1))
    assert [end[0] for end in skipping] == [[True, False]] * 2
    for end in (*skipping, without[1]):
        for ours, expected in zip(end[1], without[0][1], strict=True):
            np.testing.assert_array_equal(ours, expected)
