"""Devices, ranks, collectives: alone names accelerators and uses torch.distributed.

Without `torchrun` every function here behaves as rank 0 of world size 1, so callers need no special case. With
`torchrun`, each function that exchanges data is a *collective*: all ranks must call it, in the same order. If a rank
does not call it because its process died, the others raise `RankLost`, where the backend tells (gloo); where it waits
(NCCL, HCCL), or if the rank hangs, the `HangWatchdog` of the others names it and ends their processes.
"""

import datetime as dt
import json
import logging
import math
import os
import socket
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]

from lookonce.cores import processes_here
from lookonce.errors import LookonceError, SettingsError

# Device type -> its torch.distributed backend, "" for one process only; fastest device first: "auto" takes the first
# one present, but not mps, on which nobody has tried this. Of torch.KIND this module calls only functions that it
# shares with torch.cuda; torch.mps lacks half of them.
BACKENDS: dict[str, str] = {"cuda": "nccl", "npu": "hccl", "xpu": "xccl", "mps": "", "cpu": "gloo"}


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
        raise SettingsError(
            f"device: {device.type} trains in one process; leave devices, nnodes and torchrun out, or use device=cpu",
            setting="device",
            value=device.type,
        )
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
            f"{os.environ.get('MASTER_ADDR', '?')}:{os.environ.get('MASTER_PORT', '?')} ({_first_line(error)}); check "
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


# Another thread can hold Python's lock for some seconds, as json does while it reads annotations: only longer silence
# is a sign of a frozen process or a lost node. A process of the same machine is looked up instead.
SILENT_SECONDS = 30.0
# Between noticing that a rank is lost and ending this process, which gloo's own error may end in order.
GRACE_SECONDS = 5.0


class HangWatchdog:
    """Names the rank that died, failed or hangs, and ends the processes of the ranks that would wait for it.

    A thread of each rank publishes, in the shared store, the number of its collectives and a heartbeat. It reads those
    of the others, because with NCCL and HCCL a collective, or the next call on the device, hangs where gloo raises.
    The lowest rank left writes the cause to stderr, and all of them exit, since a waiting backend cannot be
    interrupted.

    A rank is lost once its process has ended without saying that it was done, or is silent for SILENT_SECONDS. A rank
    that has waited `timeout_seconds` gives up on those with fewer collectives: a slow rank looks like one that hangs.
    """

    def __init__(self, store: Store, own_rank: int, num_ranks: int, timeout_seconds: float) -> None:
        self.store = store
        self.rank = own_rank
        self.num_ranks = num_ranks
        self.timeout_seconds = timeout_seconds
        self._collectives = self._beat = 0
        self._state = "works"  # then "done", or "failed"
        self._machine = _machine()
        self._heard: dict[int, tuple[int, float]] = {}  # rank -> its last heartbeat, and when it was a new one
        self._done = set[int]()  # the ranks that said so
        self._since = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lookonce-watch", daemon=True)
        self._publish()

    def arrive(self) -> None:
        """Count a collective that this rank enters."""
        self._collectives += 1
        self._since = time.monotonic()

    def start(self) -> None:
        self._thread.start()

    def end(self, state: str) -> None:
        """Stop watching, and tell the others why: "done", or "failed" if this rank ends with an error of its own."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join(GRACE_SECONDS)  # it would publish the state from before
        self._state = state
        with suppress(RuntimeError):  # the store has ended with its server
            self._publish()

    def late(self) -> dict[int, str]:
        """Rank -> its process and host, of the ranks that have entered fewer collectives than this one."""
        published = {other: self._published(other) for other in range(self.num_ranks)}
        return {other: life["process"] for other, life in published.items() if life["collectives"] < self._collectives}

    def lost(self) -> dict[int, str]:
        """Rank -> its process and host and what became of it, of the ranks that will enter no collective again."""
        found, now = {}, time.monotonic()
        for other in set(range(self.num_ranks)) - {self.rank}:
            life = self._published(other)
            beat, since = self._heard.get(other, (-1, now))
            if life["beat"] != beat:
                self._heard[other] = beat, since = life["beat"], now
            if life["state"] == "done":
                self._done.add(other)
            elif life["state"] == "failed":
                found[other] = f"{life['process']}: failed"
            elif life["machine"] == self._machine != "" and not _is_running(life["pid"]):
                found[other] = f"{life['process']}: died"
            elif now - since > SILENT_SECONDS:
                found[other] = f"{life['process']}: no heartbeat for {now - since:.0f} s"
        return found

    def lost_within(self, seconds: float) -> dict[int, str]:
        """The lost ranks as soon as there is one; none after that time, or before all ranks have begun to watch."""
        if not self._thread.is_alive():
            return {}
        deadline = time.monotonic() + seconds
        with suppress(RuntimeError):
            while not (found := self.lost()) and time.monotonic() < deadline:
                time.sleep(0.1)
            return found
        return {}

    def _published(self, other: int) -> dict[str, Any]:
        life: dict[str, Any] = json.loads(self.store.get(f"life/{other}"))
        return life

    def _publish(self) -> None:
        self._beat += 1
        life = {
            "collectives": self._collectives,
            "beat": self._beat,
            "state": self._state,
            "machine": self._machine,
            "pid": os.getpid(),
            "process": f"process {os.getpid()} on {socket.gethostname()}",
        }
        self.store.set(f"life/{self.rank}", json.dumps(life))

    def _run(self) -> None:
        noticed = math.inf
        try:
            while not self._over.wait(min(1.0, self.timeout_seconds / 4)):
                self._publish()
                now = time.monotonic()
                if lost := self.lost():
                    noticed = min(noticed, now)
                    if now - noticed > GRACE_SECONDS:
                        self._give_up(lost, f"{_names(lost)}; a log of its own says why")
                elif now - self._since > self.timeout_seconds and (late := self.late()):
                    self._give_up(
                        late,
                        f"{_names(late)} did not enter collective {self._collectives} within "
                        f"{self.timeout_seconds:g} s (rank_timeout); if it is only slow, raise rank_timeout",
                    )
        except RuntimeError as error:
            if noticed < math.inf:  # a survivor that served the store has named the lost rank
                os._exit(1)
            self._outlive_the_store(error)

    def _outlive_the_store(self, error: RuntimeError) -> None:
        """The store ended with the process that served it, rank 0 or torchrun, or its node is lost."""
        if self._over.wait(SILENT_SECONDS) or 0 in self._done:
            return
        sys.stderr.write(
            f"lookonce: rank {self.rank}: lost rank 0 or torchrun of its node, and now exits ({_first_line(error)})\n"
        )
        sys.stderr.flush()
        os._exit(1)

    def _give_up(self, missing: dict[int, str], cause: str) -> None:
        waiting = [other for other in range(self.num_ranks) if other not in missing]
        if self.rank == waiting[0]:
            sys.stderr.write(
                f"lookonce: rank {self.rank}: {cause}; {len(waiting)} of {self.num_ranks} ranks waited and now exit\n"
            )
            sys.stderr.flush()
        os._exit(1)


def _names(ranks: dict[int, str]) -> str:
    return "; ".join(f"rank {other} ({what})" for other, what in ranks.items())


def _machine() -> str:
    """What is the same for processes that see each other's numbers: the boot and the PID namespace; "" if unknown."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _is_running(pid: int) -> bool:
    """Whether a process of this machine has not ended; a zombie has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


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
            f"rank {rank()}: lost the connection to {_names(lost) or 'another rank'} ({_first_line(error)})"
        ) from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0][:300]


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


@dataclass(frozen=True, kw_only=True)
class Job:
    """Arguments of torchrun. nodes: number of nodes, or min:max; node 0 listens at `endpoint` (host:port).

    processes: per node. timeout_seconds: limit for nodes to wait for each other at the start.
    """

    processes: int
    nodes: str
    node: int
    endpoint: str
    max_restarts: int
    timeout_seconds: float


def _address_towards(endpoint: str) -> str | None:
    """The local address used to reach host:port; other nodes may not resolve this machine's name. None if unknown."""
    host, _, port = endpoint.rpartition(":")
    try:
        family, kind, *_, address = socket.getaddrinfo(host, int(port), type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            probe.connect(address)  # chooses a route, sends nothing
            return str(probe.getsockname()[0])
    except (OSError, ValueError):
        return None  # torchrun raises its own error for this endpoint


def run_job(job: Job, command: Sequence[str]) -> dict[int, int]:
    """Start the command job.processes times on this node through torchrun, and wait until all processes end.

    If one fails, all are ended and restarted, at most max_restarts times. Returns rank -> exit status of the processes
    that failed in the last start (negative: the signal's number); empty on success. The caller handles signals; if its
    handler raises, the processes get SIGTERM. RankLost: the nodes did not connect.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, launch_agent

    least, _, most = job.nodes.partition(":")
    endpoint = job.endpoint or "127.0.0.1:0"  # not localhost: a bare container resolves no names, not even its own
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
        logs_specs=DefaultLogsSpecs(
            log_dir=os.devnull
        ),  # without it torchrun makes a folder in /tmp; our logs go to the terminal
        signals_to_handle="SIGHUP",
    )
    # The caller reports failed processes, in fewer lines than torchrun.
    logger = logging.getLogger("torch.distributed.elastic")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        launch_agent(config, command[0], list(command[1:]))
    except ChildFailedError as error:
        return {failed: failure.exitcode for failed, failure in error.failures.items()}
    except RendezvousError as error:
        raise RankLost(
            f"node {job.node} of {job.nodes}: could not connect to all other nodes at {endpoint} within "
            f"{job.timeout_seconds:g} s (rank_timeout), or lost the connection ({type(error).__name__}); check that "
            "all nodes run and can reach this address, or raise rank_timeout"
        ) from error
    finally:
        logger.setLevel(level)
    return {}


@contextmanager
def pin_to_cores(number: int) -> Iterator[None]:
    """Inside the block this process runs on `number` cores only; 0 changes nothing.

    Local rank K gets the K-th group of `number` cores among those that the process may use.
    """
    if not number or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    first = int(os.environ.get("LOCAL_RANK", "0")) * number
    if len(before) < processes_here() * number:
        raise SettingsError(
            f"cpus_per_rank: {number} for each of {processes_here()} processes; this process may use {len(before)} "
            f"cores; expected at most {len(before) // processes_here()}",
            setting="cpus_per_rank",
            value=number,
        )
    _keep_to(set(sorted(before)[first : first + number]))
    try:
        yield
    finally:
        _keep_to(before)


def _keep_to(cores: set[int]) -> None:
    """Pin all threads of this process, also those that numpy has started, which do not follow the main thread."""
    for task in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):  # the thread has ended meanwhile
            os.sched_setaffinity(int(task.name), cores)


def resolve_device(name: str) -> torch.device:
    """ "auto" -> the fastest device present; "cpu", "cuda", "npu", "cuda:1" -> that device; SettingsError if absent.

    A name without a number means the device with the number LOCAL_RANK (0 without torchrun).
    """
    present = [kind for kind in BACKENDS if _is_present(kind)]
    chosen = next(kind for kind in present if kind != "mps") if name == "auto" else name.lower()
    kind, _, number = chosen.partition(":")
    if kind not in BACKENDS or not (number == "" or number.isdigit()):
        raise SettingsError(
            f"device: {name!r}; expected auto, {', '.join(BACKENDS)}, or one with a number from 0, e.g. cuda:1",
            setting="device",
            value=name,
        )
    if kind not in present:
        raise SettingsError(
            f"device: {name!r}; this machine has {', '.join(present)}; use device=auto"
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
            f"device: {kind}:{index}; this machine has {num_devices} ({kind}), numbered from 0; use {kind}:0"
            + (f" to {kind}:{num_devices - 1}" if num_devices > 1 else ""),
            setting="device",
            value=name,
        )
    return torch.device(kind, index)


def _way_to_ascend() -> str:
    if os.environ.get("TORCH_DEVICE_BACKEND_AUTOLOAD") == "0":
        return ", or unset TORCH_DEVICE_BACKEND_AUTOLOAD, whose value 0 disables torch-npu"
    return ", or install torch-npu and CANN (docs/jobs.md)"


def count_devices(kind: str) -> tuple[str, int]:
    """(kind, number of its devices on this machine). "auto" -> the fastest kind present. The CPU counts as 1 device."""
    if kind == "auto":
        kind = next(present for present in BACKENDS if present != "mps" and _is_present(present))
    return kind, (getattr(torch, kind).device_count() if kind != "cpu" and _is_present(kind) else int(kind == "cpu"))


# Kinds of device that copy from and to page-locked memory of the host while it goes on.
PAGE_LOCKED = ("cuda", "npu", "xpu")


def copy_to_device(values: Tensor, device: torch.device) -> Tensor:
    """A copy on the device that the host does not wait for: a copy from pageable memory waits for all queued work."""
    return values.pin_memory().to(device, non_blocking=True) if device.type in PAGE_LOCKED else values.to(device)


class HostCopy:
    """A copy of a tensor on the host, started now and read later; reading it waits for no work queued afterwards."""

    def __init__(self, values: Tensor) -> None:
        self._values, self._arrived = values, None
        if values.device.type in PAGE_LOCKED:
            pinned = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self._values = pinned.copy_(values, non_blocking=True)
            self._arrived = getattr(torch, values.device.type).Event()
            self._arrived.record()

    @property
    def has_arrived(self) -> bool:
        """Whether the device has finished the work before it; always True for a CPU, and where it cannot be told."""
        return self._arrived is None or bool(self._arrived.query())

    def tolist(self) -> list[float]:
        if self._arrived is not None:
            self._arrived.synchronize()
        numbers: list[float] = self._values.tolist()
        return numbers


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished all queued work; for timing."""
    if device.type == "mps":
        torch.mps.synchronize()
    elif device.type != "cpu":
        getattr(torch, device.type).synchronize(device)


def device_name(device: torch.device) -> str:
    """The maker's name of an accelerator; "cpu" and "mps" for these."""
    if device.type in ("cpu", "mps"):
        return device.type
    return str(getattr(torch, device.type).get_device_name(device.index))


def memory_in_use(device: torch.device) -> int:
    """Bytes: peak memory of an accelerator so far, on mps what is allocated now; on a CPU the current memory of this
    process (0 outside Linux)."""
    if device.type == "mps":
        return int(torch.mps.driver_allocated_memory())
    if device.type != "cpu":
        return int(getattr(torch, device.type).max_memory_allocated(device))
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def supports_bfloat16(device: torch.device) -> bool:
    """Whether the device is an accelerator with bfloat16. Always False for a CPU: without bfloat16 instructions a
    training step takes 14 times as long as in float32; and for mps, which cannot be asked."""
    return device.type not in ("cpu", "mps") and bool(getattr(torch, device.type).is_bf16_supported())


def _is_initialised() -> bool:
    return dist.is_available() and dist.is_initialized()


def _is_present(kind: str) -> bool:
    """torch.npu exists only once torch-npu is installed."""
    return kind == "cpu" or (hasattr(torch, kind) and bool(getattr(torch, kind).is_available()))
