import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import torch
from raised import raises

from lookonce import devices, distributed
from lookonce.distributed import RankLost

CPU = torch.device("cpu")


LITTLE = timedelta(seconds=20)


def test_one_process_is_rank_0_of_1_and_its_sums_are_its_own() -> None:
    assert (distributed.rank(), distributed.world_size(), distributed.is_main()) == (0, 1, True)
    assert distributed.all_reduce_sum(torch.tensor([2.0])).tolist() == [2.0]
    distributed.begin_all_reduce_sum(torch.tensor([2.0]))()
    assert distributed.gather_objects("a") == ["a"]
    assert distributed.gather_objects_to_main("a") == ["a"]
    tensor = torch.ones(2)
    assert devices.copy_to_device(tensor, CPU) is tensor
    assert distributed.broadcast_object("a") == "a"
    assert distributed.any_rank(True, CPU)
    assert not distributed.any_rank(False, CPU)
    distributed.barrier()
    with distributed.process_group(CPU):
        assert distributed.world_size() == 1


def test_a_group_started_by_torchrun_is_joined_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """WORLD_SIZE 1 is no group; two ranks are tested where two processes are started."""
    monkeypatch.setenv("WORLD_SIZE", "1")
    with distributed.process_group(CPU):
        assert distributed.world_size() == 1


def sums_and_objects() -> tuple[list[float], list[float], list[str], list[str], str, bool, int]:
    own = distributed.rank()
    later = torch.tensor([1.0, 2.0]) * (own + 1)
    wait = distributed.begin_all_reduce_sum(later)
    copied = torch.full((2, 2), float(own)).t()
    distributed.broadcast_tensors([copied])
    total = distributed.all_reduce_sum(torch.tensor([1.0, float(own)]))
    wait()
    distributed.barrier()
    return (
        total.tolist(),
        later.tolist(),
        distributed.gather_objects(f"rank {own}"),
        distributed.gather_objects_to_main("ab"[: own + 1] * own),
        distributed.broadcast_object(f"from {own}"),
        distributed.any_rank(own == 2, CPU),
        int(copied.sum()),
    )


def test_three_ranks_sum_gather_and_agree(in_ranks: Callable[..., list[Any]]) -> None:
    """The sum of 1, 2, 3 times [1, 2], which all have begun before they sum another, is [6, 12]."""
    ends = in_ranks(3, sums_and_objects)
    before, after = ([3.0, 3.0], [6.0, 12.0], ["rank 0", "rank 1", "rank 2"]), ("from 0", True, 0)
    assert ends == [(*before, own, *after) for own in (["", "ab", "abab"], [], [])]


def leave_early(sum_up: Callable[[torch.Tensor], Any]) -> str:
    if distributed.rank() == 1:
        os._exit(1)
    sum_up(torch.zeros(3))
    return "never"


@pytest.mark.parametrize(
    "sum_up", [distributed.all_reduce_sum, lambda values: distributed.begin_all_reduce_sum(values)()]
)
def test_who_loses_another_rank_names_it(sum_up: Callable[..., Any], in_ranks: Callable[..., list[Any]]) -> None:
    with raises(RankLost, "rank 0: ", "rank 1 (process "):
        in_ranks(2, leave_early, sum_up)


def test_a_word_for_the_next_start_needs_torchrun() -> None:
    distributed.remember_for_job("run", "runs/a-1")
    assert distributed.recall_for_job("run") is None


def test_ranks_that_start_again_do_not_take_the_words_of_dead_ones(in_ranks: Callable[..., list[Any]]) -> None:
    """torchrun's store outlives its processes: what an earlier rank 1 said lies there."""

    def meet(port: int) -> str:
        store = distributed.TCPStore("127.0.0.1", port, is_master=False, timeout=LITTLE)
        return distributed._find_each_other(store, distributed.rank(), 2, timeout_seconds=20)

    server = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=LITTLE)
    server.set("lookonce/hello/1", "dead")
    server.set("lookonce/joined/older/1", "yes")
    first, second = in_ranks(2, meet, server.port)
    assert first == second
    again, _ = in_ranks(2, meet, server.port)
    assert again != first


def test_the_main_rank_is_on_the_first_machine_however_torchrun_counts_them() -> None:
    """Two processes on each of two machines, of which the second has the lower address."""
    machines, store = [1, 1, 0, 0], distributed.dist.HashStore()
    for rank, machine in enumerate(machines):
        store.set(f"machine/{rank}", str(machine))
    ranks = [distributed._rank_by_machine(store, machine, rank, 4) for rank, machine in enumerate(machines)]
    assert ranks == [2, 3, 0, 1]


def test_a_rank_that_never_comes_is_named() -> None:
    server = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False, timeout=LITTLE)
    with raises(RankLost, "rank 0: rank 1, 2 of 3 "):
        distributed._find_each_other(server, 0, 3, timeout_seconds=0.2)
