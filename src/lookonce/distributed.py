"""Ranks and their collectives: alone uses torch.distributed, except for the start of the processes (torchrun.py).

Without `torchrun` every function here behaves as rank 0 of world size 1, so callers need no special case. With
`torchrun`, each function that exchanges data is a *collective*: all ranks must call it, in the same order. If a rank
does not call it because its process died, the others raise `RankLost`, where the backend tells (gloo); where it waits
(NCCL, HCCL), or if the rank hangs, the `HangWatchdog` of the others names it and ends their processes.
"""

import datetime as dt
import os
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from lookonce.devices import BACKENDS
from lookonce.errors import LookonceError, SettingsError, first_line
from lookonce.hang_watchdog import GRACE_SECONDS, HangWatchdog, names_of


class RankLost(LookonceError):
    """The connection to another rank was lost: its process, its node or the network failed. Its own log says why."""


def rank() -> int:
    """Index of this process, 0..world_size() - 1."""
    return dist.get_rank() if _is_initialised() else 0


def world_size() -> int:
    """Number of processes that work together."""
    return dist.get_world_size() if _is_initialised() else 1


def is_main() -> bool:
    """Whether this process is rank 0, which prints, logs and saves."""
    return rank() == 0


def barrier() -> None:
    """Wait until every rank has called this."""
    if _is_initialised():
        with _collective():
            dist.barrier()


def all_reduce_sum(tensor: torch.Tensor) -> torch.Tensor:
    """All-reduce: replace the tensor by the sum of the ranks' tensors (same shape), and return it."""
    if _is_initialised():
        with _collective():
            dist.all_reduce(tensor)
    return tensor


def begin_all_reduce_sum(tensor: torch.Tensor) -> Callable[[], None]:
    """All-reduce while the caller computes: once the returned function has returned, the tensor holds the sum.

    On an accelerator that function waits for nothing: work queued after it sees the sum.
    """
    if not _is_initialised():
        return lambda: None
    with _collective():
        work = dist.all_reduce(tensor, async_op=True)

    def wait() -> None:
        with _losses_named():
            work.wait()

    return wait


def broadcast_tensors(tensors: Sequence[torch.Tensor]) -> None:
    """Broadcast: replace each tensor (the same shapes on all ranks) by that of rank 0."""
    if not _is_initialised():
        return
    for tensor in tensors:
        dense = tensor.contiguous()
        with _collective():
            dist.broadcast(dense, src=0)
        tensor.copy_(dense)


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any rank; with it the ranks agree to stop at the same step."""
    if not _is_initialised():
        return flag
    return bool(all_reduce_sum(torch.tensor(int(flag), device=device)).item())


def gather_objects(value: Any) -> list[Any]:
    """All-gather: one picklable value per rank, in rank order, on every rank."""
    if not _is_initialised():
        return [value]
    values: list[Any] = [None] * world_size()
    with _collective():
        dist.all_gather_object(values, value)
    return values


def gather_objects_to_main(value: Any) -> list[Any]:
    """Gather: one picklable value per rank, in rank order, on rank 0; an empty list on the others.

    Sent from rank to rank, because HCCL has no gather (ProcessGroupHCCL.cpp of torch-npu 2.7).
    """
    if not _is_initialised():
        return [value]
    values: list[Any] = [value]
    with _collective():
        if not is_main():
            dist.send_object_list(values, dst=0)
            return []
        for sender in range(1, world_size()):
            received: list[Any] = [None]
            dist.recv_object_list(received, src=sender)
            values += received
    return values


def broadcast_object(value: Any) -> Any:
    """Broadcast: return the picklable value of rank 0 on every rank."""
    if not _is_initialised():
        return value
    values = [value]
    with _collective():
        dist.broadcast_object_list(values, src=0)
    return values[0]


def started_by_torchrun() -> bool:
    """Whether torchrun, or a launcher that sets the same environment variables, started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ or "WORLD_SIZE" in os.environ


@contextmanager
def process_group(device: torch.device, *, machine: int = 0, timeout_seconds: float = 600) -> Iterator[None]:
    """Inside the block this process is a rank of the process group, if torchrun started it; else do nothing.

    machine: node_rank of this node, if the caller knows it; rank 0 is on the lowest. timeout_seconds: limit for ranks
    to wait for each other, here and in each collective. RankLost: the ranks could not connect.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or _is_initialised():
        yield
        return
    if not BACKENDS[device.type]:
        how = "trains in one process only; leave devices, nnodes and torchrun out, or use device=cpu"
        raise SettingsError.of("device", device.type, how)
    if device.type != "cpu":
        getattr(torch, device.type).set_device(device)
    own_rank, num_ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    # The backend's own timeout names no rank, so it is longer than the watchdog's.
    timeout = dt.timedelta(seconds=timeout_seconds + 60)
    try:
        first = _shared_store(timeout, host=own_rank == 0)  # kept until the end: it may be the server of the others
        start = _find_each_other(first, own_rank, num_ranks, timeout_seconds)
        # A store has one connection, and its calls wait for each other, so the watchdog needs its own.
        stores = [PrefixStore(f"lookonce/{start}", _shared_store(timeout)) for _ in range(2)]
        own_rank = _rank_by_machine(stores[0], machine, own_rank, num_ranks)
        dist.init_process_group(
            BACKENDS[device.type], store=stores[0], rank=own_rank, world_size=num_ranks, timeout=timeout
        )
    except (RuntimeError, ValueError) as error:
        raise RankLost(
            f"rank {own_rank} of {num_ranks}: could not connect to the other ranks at "
            f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')} ({first_line(error)}); check "
            "that all nodes run and can reach this address (MASTER_ADDR, MASTER_PORT)"
        ) from error
    with _watching(HangWatchdog(stores[1], own_rank, num_ranks, timeout_seconds)):
        yield
    # Not after an error: the call can block forever when other ranks are lost, and this process ends anyway.
    dist.destroy_process_group()


def _shared_store(timeout: dt.timedelta, *, host: bool = False) -> Store:
    """Connect to the store that all ranks share. torchrun's agent serves it; without one, the rank with `host`."""
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    serve = host and not _has_agent_store()
    return TCPStore(address, port, is_master=serve, timeout=timeout, wait_for_workers=False, multi_tenant=True)


def _find_each_other(store: Store, own_rank: int, num_ranks: int, timeout_seconds: float) -> str:
    """A key that only the ranks of this (re)start of the job share.

    torchrun's store keeps its content after a restart, also the addresses of dead processes (pytorch/pytorch#135712),
    and its restart count differs between nodes. So each rank publishes a fresh token, and rank 0 answers each token
    with its own until all ranks have read it.
    """
    own = uuid.uuid4().hex
    if own_rank == 0:
        _welcome_all(store, own, num_ranks, timeout_seconds)
        return own
    store.set(f"lookonce/hello/{own_rank}", own)
    start = str(store.get(f"lookonce/welcome/{own}").decode())
    store.set(f"lookonce/joined/{start}/{own_rank}", "yes")
    return start


def _welcome_all(store: Store, start: str, num_ranks: int, timeout_seconds: float) -> None:
    missing, deadline = set(range(1, num_ranks)), time.monotonic() + timeout_seconds
    while missing:
        for other in sorted(missing):
            if store.check([f"lookonce/hello/{other}"]):
                hello = store.get(f"lookonce/hello/{other}").decode()
                store.set(f"lookonce/welcome/{hello}", start)
            if store.check([f"lookonce/joined/{start}/{other}"]):
                missing.remove(other)
        if missing and time.monotonic() > deadline:
            raise RankLost(
                f"rank 0: rank {', '.join(map(str, sorted(missing)))} of {num_ranks} did not connect within "
                f"{timeout_seconds:g} s; check these processes, or raise rank_timeout"
            )
        time.sleep(0.01)


def _rank_by_machine(store: Store, machine: int, own_rank: int, num_ranks: int) -> int:
    """The rank of this process after renumbering by node_rank, then by torchrun's rank.

    torchrun orders nodes by address string (10.0.0.10 before 10.0.0.2), so its rank 0, which writes the files, could
    be on any node.
    """
    store.set(f"machine/{own_rank}", str(machine))
    order = sorted((int(store.get(f"machine/{other}")), other) for other in range(num_ranks))
    return order.index((machine, own_rank))


_watch: HangWatchdog | None = None


@contextmanager
def _watching(watch: HangWatchdog) -> Iterator[None]:
    global _watch  # noqa: PLW0603 - like the process group itself, there is one per process
    _watch = watch
    state = "failed"
    try:
        barrier()  # after it, every rank has published its count
        _watch.start()
        yield
        state = "done"
    except RankLost:
        state = "done"  # the cause is another rank
        raise
    finally:
        watch.end(state)
        _watch = None


@contextmanager
def _collective() -> Iterator[None]:
    if _watch is not None:
        _watch.arrive()
    with _losses_named():
        yield


@contextmanager
def _losses_named() -> Iterator[None]:
    """RankLost instead of the backend's error."""
    try:
        yield
    except RuntimeError as error:
        lost = _watch.lost_within(GRACE_SECONDS / 2) if _watch is not None else {}
        raise RankLost(
            f"rank {rank()}: lost the connection to {names_of(lost) or 'another rank'} ({first_line(error)})"
        ) from error


def remember_for_job(name: str, value: str) -> None:
    """Keep a value for the ranks that torchrun starts after a failure; without torchrun, do nothing."""
    store = _job_store()
    if store is not None:
        store.set(f"lookonce/{name}", value)


def recall_for_job(name: str) -> str | None:
    """The value that `remember_for_job` stored before a restart of this job; None if there is none."""
    store = _job_store()
    if store is None or not store.check([f"lookonce/{name}"]):
        return None
    return str(store.get(f"lookonce/{name}").decode())


def _job_store() -> Store | None:
    """The store of torchrun's agent, which lives as long as the job; None without an agent."""
    return _shared_store(dt.timedelta(seconds=60)) if _has_agent_store() else None


def _has_agent_store() -> bool:
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _is_initialised() -> bool:
    return dist.is_available() and dist.is_initialized()
