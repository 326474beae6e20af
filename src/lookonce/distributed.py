"""Devices and ranks: the one place that knows about accelerators by name and about torch.distributed.

Without `torchrun` everything here answers as one rank of one, so callers need no special case. With it, every function
in which ranks exchange something is a *meeting*: all of them call it, in the same order. A meeting to which one rank
does not come ends with `RankLost` where its process has died, and through the `HangWatchdog`, by name, where it hangs.
"""

import datetime as dt
import logging
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from lookonce.errors import LookonceError, SettingsError

# Device type -> the library that moves tensors between its ranks, fastest device first: "auto" takes the first present.
# Of torch.KIND is asked here what has the same name in torch.cuda; torch.mps lacks half of it.
BACKENDS: dict[str, str] = {"cuda": "nccl", "npu": "hccl", "xpu": "xccl", "cpu": "gloo"}


class RankLost(LookonceError):
    """Another rank died, or its machine or the network did: it, or whoever started it, can say why."""


def rank() -> int:
    """This process among all of them, 0..world_size() - 1."""
    return dist.get_rank() if _is_initialised() else 0


def world_size() -> int:
    """How many processes train together."""
    return dist.get_world_size() if _is_initialised() else 1


def is_main() -> bool:
    """Whether this process prints, logs and saves."""
    return rank() == 0


def barrier() -> None:
    """Wait until every rank has come this far."""
    if _is_initialised():
        with _collective():
            dist.barrier()


def all_reduce_sum(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of the ranks' tensors (same shape, in place) on every rank."""
    if _is_initialised():
        with _collective():
            dist.all_reduce(tensor)
    return tensor


def average_over_ranks(tensors: Sequence[torch.Tensor]) -> None:
    """Replace each tensor (the same shapes on all ranks, one dtype) by its mean over the ranks.

    In a single buffer in the order given: how sums are rounded depends on where a number lies in the buffer, so a
    layout that never changes is what makes a resumed run end with the bits of a straight one (docs/decisions/0011).
    """
    if not _is_initialised() or not tensors:
        return
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    all_reduce_sum(flat).div_(world_size())
    for tensor, mean in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view(tensor.shape))


def broadcast_tensors(tensors: Sequence[torch.Tensor]) -> None:
    """Replace each tensor (the same shapes on all ranks) by the main rank's."""
    if not _is_initialised():
        return
    for tensor in tensors:
        dense = tensor.contiguous()
        with _collective():
            dist.broadcast(dense, src=0)
        tensor.copy_(dense)


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any rank: how ranks agree to stop at the same step."""
    if not _is_initialised():
        return flag
    return bool(all_reduce_sum(torch.tensor(int(flag), device=device)).item())


def gather_objects(value: Any) -> list[Any]:
    """One picklable value from each rank, in rank order, on every rank."""
    if not _is_initialised():
        return [value]
    values: list[Any] = [None] * world_size()
    with _collective():
        dist.all_gather_object(values, value)
    return values


def broadcast_object(value: Any) -> Any:
    """The main rank's value on every rank."""
    if not _is_initialised():
        return value
    values = [value]
    with _collective():
        dist.broadcast_object_list(values, src=0)
    return values[0]


def started_by_torchrun() -> bool:
    """Whether this process is one of those that torchrun, or a launcher that speaks as torchrun does, has started."""
    return "TORCHELASTIC_RUN_ID" in os.environ or "WORLD_SIZE" in os.environ


def processes_here() -> int:
    """How many of the ranks run on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


@contextmanager
def process_group(device: torch.device, *, machine: int = 0, timeout_seconds: float = 600) -> Iterator[None]:
    """Join the other ranks for the length of the block when torchrun started this process; else do nothing.

    machine: number of this one, where the caller knows it; the main rank is on the lowest. timeout_seconds: how long
    ranks wait for one another, here and in each meeting.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or _is_initialised():
        yield
        return
    if device.type != "cpu":
        getattr(torch, device.type).set_device(device)
    own_rank, num_ranks = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    # The backend's own limit names no rank, so it comes after the watch's.
    timeout = dt.timedelta(seconds=timeout_seconds + 60)
    try:
        first = _shared_store(timeout, host=own_rank == 0)  # kept to the end: it may be what serves the others
        start = _find_each_other(first, own_rank, num_ranks, timeout_seconds)
        # A store has one connection, on which one waits for the other: the watch needs its own.
        stores = [PrefixStore(f"lookonce/{start}", _shared_store(timeout)) for _ in range(2)]
        own_rank = _rank_by_machine(stores[0], machine, own_rank, num_ranks)
        dist.init_process_group(
            BACKENDS[device.type], store=stores[0], rank=own_rank, world_size=num_ranks, timeout=timeout
        )
    except (RuntimeError, ValueError) as error:
        raise RankLost(
            f"rank {own_rank} of {num_ranks}: could not meet the others at "
            f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')} ({_first_line(error)})"
        ) from error
    with _watching(HangWatchdog(stores[1], own_rank, num_ranks, timeout_seconds)):
        yield
    # Not after an error: taking leave of ranks that are gone can take for ever, and the process is about to end.
    dist.destroy_process_group()


def _shared_store(timeout: dt.timedelta, *, host: bool = False) -> Store:
    """A connection to the store that all ranks share. torchrun's agent serves it; else the one that is `host`."""
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    serve = host and not _has_agent_store()
    return TCPStore(address, port, is_master=serve, timeout=timeout, wait_for_workers=False, multi_tenant=True)


def _find_each_other(store: Store, own_rank: int, num_ranks: int, timeout_seconds: float) -> str:
    """A word that the ranks of this start of the job have in common, and those of an earlier one do not.

    torchrun's store outlives a restart with all that was written there, the addresses of dead processes among it
    (pytorch/pytorch#135712), and its count of restarts is not the same on all machines. So each rank says hello with
    a word of its own, and the main one answers until each has heard it.
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
    missing, give_up_at = set(range(1, num_ranks)), time.monotonic() + timeout_seconds
    while missing:
        for other in sorted(missing):
            if store.check([f"lookonce/hello/{other}"]):
                hello = store.get(f"lookonce/hello/{other}").decode()
                store.set(f"lookonce/welcome/{hello}", start)
            if store.check([f"lookonce/joined/{start}/{other}"]):
                missing.remove(other)
        if missing and time.monotonic() > give_up_at:
            raise RankLost(
                f"rank 0: rank {', '.join(map(str, sorted(missing)))} of {num_ranks} did not come within "
                f"{timeout_seconds:g} s (rank_timeout)"
            )
        time.sleep(0.01)


def _rank_by_machine(store: Store, machine: int, own_rank: int, num_ranks: int) -> int:
    """torchrun numbers machines by their addresses as text (10.0.0.10 before 10.0.0.2), and the files that the main
    rank writes would lie on any of them."""
    store.set(f"machine/{own_rank}", str(machine))
    places = sorted((int(store.get(f"machine/{other}")), other) for other in range(num_ranks))
    return places.index((machine, own_rank))


class HangWatchdog:
    """Names the rank that keeps the others waiting.

    Each rank counts the meetings it has come to, and a thread of it tells the count to the store that all share. Who
    has waited for `timeout_seconds` looks who has come to fewer; the first of those who wait says so, and all of them
    end their processes, since a backend that waits cannot be interrupted. A rank that is slow is not told from one
    that hangs; one whose process is frozen tells nothing any more, and so falls behind.
    """

    def __init__(self, store: Store, own_rank: int, num_ranks: int, timeout_seconds: float) -> None:
        self.store = store
        self.rank = own_rank
        self.num_ranks = num_ranks
        self.timeout_seconds = timeout_seconds
        self._collectives = 0
        self._since = time.monotonic()
        self._over = threading.Event()
        self._publish()

    def arrive(self) -> None:
        """This rank has come to another meeting."""
        self._collectives += 1
        self._since = time.monotonic()

    def start(self) -> None:
        threading.Thread(target=self._run, name="lookonce-watch", daemon=True).start()

    def end(self) -> None:
        self._over.set()

    def late(self) -> dict[int, str]:
        """The ranks that have come to fewer meetings than this one, and where their processes are."""
        found = {}
        for other in range(self.num_ranks):
            meetings, _, place = self.store.get(f"meetings/{other}").decode().partition(" ")
            if int(meetings) < self._collectives:
                found[other] = place
        return found

    def _publish(self) -> None:
        self.store.set(f"meetings/{self.rank}", f"{self._collectives} process {os.getpid()} on {socket.gethostname()}")

    def _run(self) -> None:
        try:
            while not self._over.wait(min(1.0, self.timeout_seconds / 4)):
                self._publish()
                if time.monotonic() - self._since > self.timeout_seconds and (late := self.late()):
                    self._give_up(late)
        except RuntimeError:
            # The store has gone with whoever started us; the meetings notice by themselves.
            return

    def _give_up(self, late: dict[int, str]) -> None:
        waiting = [other for other in range(self.num_ranks) if other not in late]
        if self.rank == waiting[0]:
            names = "; ".join(f"rank {other} ({place})" for other, place in late.items())
            sys.stderr.write(
                f"lookonce: rank {self.rank}: {names} did not come to meeting {self._collectives} for "
                f"{self.timeout_seconds:g} s, {len(waiting)} of {self.num_ranks} ranks are waiting: it hangs, or needs "
                "more time (rank_timeout)\n"
            )
            sys.stderr.flush()
        os._exit(1)


_watch: HangWatchdog | None = None


@contextmanager
def _watching(watch: HangWatchdog) -> Iterator[None]:
    global _watch  # noqa: PLW0603 - as the process group itself, it is one to a process
    _watch = watch
    barrier()  # by now each has told its count
    _watch.start()
    try:
        yield
    finally:
        _watch.end()
        _watch = None


@contextmanager
def _collective() -> Iterator[None]:
    if _watch is not None:
        _watch.arrive()
    try:
        yield
    except RuntimeError as error:
        raise RankLost(f"rank {rank()}: lost the connection to another rank ({_first_line(error)})") from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:300]


def remember_for_job(name: str, value: str) -> None:
    """Keep a word for the ranks that torchrun starts after a failure of these; without torchrun it is forgotten."""
    store = _job_store()
    if store is not None:
        store.set(f"lookonce/{name}", value)


def recall_for_job(name: str) -> str | None:
    """What a rank of an earlier start of this job kept under the name."""
    store = _job_store()
    if store is None or not store.check([f"lookonce/{name}"]):
        return None
    return str(store.get(f"lookonce/{name}").decode())


def _job_store() -> Store | None:
    """The store of torchrun's agent, which lives as long as the job; None where there is no agent."""
    return _shared_store(dt.timedelta(seconds=60)) if _has_agent_store() else None


def _has_agent_store() -> bool:
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


@dataclass(frozen=True, kw_only=True)
class Job:
    """What torchrun is told. nodes: how many machines, or least:most; node 0 is where `endpoint` (host:port) is.

    timeout_seconds: how long machines wait for one another before anything has begun.
    """

    processes: int
    nodes: str
    node: int
    endpoint: str
    max_restarts: int
    timeout_seconds: float


def _address_towards(endpoint: str) -> str | None:
    """This machine's address on the way to host:port, as the others can reach it: its name may mean nothing to them."""
    host, _, port = endpoint.rpartition(":")
    try:
        family, kind, *_, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)  # chooses a route, sends nothing
            return str(probe.getsockname()[0])
    except (OSError, ValueError):
        return None  # torchrun will say what is wrong with it


def run_job(job: Job, command: Sequence[str]) -> dict[int, int]:
    """Start the command once for each device of this machine, as torchrun does, and wait until all are done.

    After a failure of one all are ended and started again, max_restarts times. Returns rank -> exit status of what had
    failed at last (negative: the signal's number), empty when all went well. Signals are left to the caller, whose
    handlers may raise: then the processes get a SIGTERM. RankLost: the machines did not meet.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, launch_agent

    least, _, most = job.nodes.partition(":")
    endpoint = job.endpoint or "127.0.0.1:0"  # not localhost: a bare container knows no names, not even its own
    config = LaunchConfig(
        min_nodes=int(least),
        max_nodes=int(most or least),
        nproc_per_node=job.processes,
        run_id="lookonce",
        rdzv_backend="c10d",
        rdzv_endpoint=endpoint,
        rdzv_configs={"is_host": job.node == 0, "join_timeout": max(int(job.timeout_seconds), 1)},
        local_addr=_address_towards(endpoint),
        max_restarts=job.max_restarts,
        logs_specs=DefaultLogsSpecs(log_dir=os.devnull),  # no folder in /tmp for logs that go to the terminal
        signals_to_handle="SIGHUP",
    )
    # What became of the processes is told by the caller, in fewer words.
    logger = logging.getLogger("torch.distributed.elastic")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        launch_agent(config, command[0], list(command[1:]))
    except ChildFailedError as error:
        return {failed: failure.exitcode for failed, failure in error.failures.items()}
    except RendezvousError as error:
        raise RankLost(
            f"machine {job.node} of {job.nodes}: did not meet all the others at {endpoint} within "
            f"{job.timeout_seconds:g} s (rank_timeout), or lost them again ({type(error).__name__})"
        ) from error
    finally:
        logger.setLevel(level)
    return {}


@contextmanager
def pin_to_cores(number: int) -> Iterator[None]:
    """This process keeps to `number` cores for the length of the block: those after the cores that the ranks before it
    on this machine have, of all that it may use. 0 changes nothing."""
    if not number or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    first = int(os.environ.get("LOCAL_RANK", "0")) * number
    if len(before) < processes_here() * number:
        raise SettingsError(
            f"cpus_per_rank: {number} for each of {processes_here()} processes, but there are {len(before)} cores here",
            setting="cpus_per_rank",
            value=number,
        )
    _keep_to(set(sorted(before)[first : first + number]))
    try:
        yield
    finally:
        _keep_to(before)


def _keep_to(cores: set[int]) -> None:
    """All threads of this process: those that numpy has started too, which would not follow the main thread."""
    for task in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # it has ended since
            os.sched_setaffinity(int(task.name), cores)


def resolve_device(name: str) -> torch.device:
    """ "auto" -> the fastest device present; "cpu", "cuda", "npu", "cuda:1" -> that device, or an error if absent.

    Under torchrun a name without a number means the device of this process' LOCAL_RANK.
    """
    present = [kind for kind in BACKENDS if _is_present(kind)]
    wanted = present[0] if name == "auto" else name.lower()
    kind, _, number = wanted.partition(":")
    if kind not in BACKENDS or not (number == "" or number.isdigit()):
        raise SettingsError(
            f"device: got {name!r}, expected auto, or one of {', '.join(BACKENDS)} (cuda:1 for the second)",
            setting="device",
            value=name,
        )
    if kind not in present:
        raise SettingsError(
            f"device: {name!r} was asked for, but this machine offers {', '.join(present)}; try device=auto"
            f"{_way_to_ascend() if kind == 'npu' else ''}",
            setting="device",
            value=name,
        )
    if kind == "cpu":
        return torch.device(kind)
    index = int(number) if number else int(os.environ.get("LOCAL_RANK", "0"))
    num_devices = getattr(torch, kind).device_count()
    if index >= num_devices:
        raise SettingsError(
            f"device: {kind}:{index} was asked for, but there are {num_devices} (numbered from 0)",
            setting="device",
            value=name,
        )
    return torch.device(kind, index)


def _way_to_ascend() -> str:
    if os.environ.get("TORCH_DEVICE_BACKEND_AUTOLOAD") == "0":
        return ", or unset TORCH_DEVICE_BACKEND_AUTOLOAD, which keeps torch-npu out"
    return ", or install torch-npu and CANN (docs/jobs.md)"


def count_devices(kind: str) -> tuple[str, int]:
    """How many devices of a kind the machine has; of "auto" the fastest kind there is. A CPU is one."""
    if kind == "auto":
        kind = next(present for present in BACKENDS if _is_present(present))
    return kind, (getattr(torch, kind).device_count() if kind != "cpu" and _is_present(kind) else int(kind == "cpu"))


def synchronize(device: torch.device) -> None:
    """Wait until the device has done what it was given: for timing."""
    if device.type != "cpu":
        getattr(torch, device.type).synchronize(device)


def memory_in_use(device: torch.device) -> int:
    """Bytes: the most that was taken from an accelerator's memory so far; on a CPU what the process holds now, 0 where
    the system does not tell in Linux's way."""
    if device.type != "cpu":
        return int(getattr(torch, device.type).max_memory_allocated(device))
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def supports_bfloat16(device: torch.device) -> bool:
    """Whether bfloat16 is worth using: on accelerators that have it. On a CPU without the instructions a training step
    takes 14 times as long as in float32, so a CPU never counts."""
    return device.type != "cpu" and bool(getattr(torch, device.type).is_bf16_supported())


def _is_initialised() -> bool:
    return dist.is_available() and dist.is_initialized()


def _is_present(kind: str) -> bool:
    """torch.npu exists only once torch-npu is installed."""
    return kind == "cpu" or (hasattr(torch, kind) and bool(getattr(torch, kind).is_available()))
