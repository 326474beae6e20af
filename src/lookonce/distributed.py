"""Devices and ranks: the one place that knows about accelerators by name and about torch.distributed.

Without `torchrun` everything here answers as one rank of one, so callers need no special case.
"""

import datetime as dt
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from lookonce.errors import SettingsError

# Device type -> the library that moves tensors between its ranks, fastest device first: "auto" takes the first present.
BACKENDS: dict[str, str] = {"cuda": "nccl", "npu": "hccl", "cpu": "gloo"}


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
        dist.barrier()


def all_reduce_sum(tensor: torch.Tensor) -> torch.Tensor:
    """The sum of the ranks' tensors (same shape, in place) on every rank."""
    if _is_initialised():
        dist.all_reduce(tensor)
    return tensor


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
    dist.all_gather_object(values, value)
    return values


def broadcast_object(value: Any) -> Any:
    """The main rank's value on every rank."""
    if not _is_initialised():
        return value
    values = [value]
    dist.broadcast_object_list(values, src=0)
    return values[0]


@contextmanager
def process_group(device: torch.device, *, timeout_minutes: float = 30) -> Iterator[None]:
    """Join the other ranks for the length of the block when torchrun started this process; else do nothing."""
    if "WORLD_SIZE" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1 or _is_initialised():
        yield
        return
    timeout = dt.timedelta(minutes=timeout_minutes)
    dist.init_process_group(BACKENDS[device.type], timeout=timeout)
    try:
        yield
    finally:
        dist.destroy_process_group()


def resolve_device(name: str) -> torch.device:
    """ "auto" -> the fastest device present; "cpu", "cuda", "npu", "cuda:1" -> that device, or an error if absent.

    Under torchrun a name without a number means the device of this process' LOCAL_RANK.
    """
    present = [kind for kind in BACKENDS if _is_present(kind)]
    wanted = present[0] if name == "auto" else name.lower()
    kind, _, number = wanted.partition(":")
    if kind not in BACKENDS or not (number == "" or number.isdigit()):
        raise SettingsError(
            f"device: got {name!r}, expected auto, or one of {', '.join(BACKENDS)} (cuda:1 for the second)"
        )
    if kind not in present:
        raise SettingsError(
            f"device: {name!r} was asked for, but this machine offers {', '.join(present)}; try device=auto"
        )
    if kind == "cpu":
        return torch.device(kind)
    index = int(number) if number else int(os.environ.get("LOCAL_RANK", "0"))
    num_devices = getattr(torch, kind).device_count()
    if index >= num_devices:
        raise SettingsError(f"device: {kind}:{index} was asked for, but there are {num_devices} (numbered from 0)")
    return torch.device(kind, index)


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
