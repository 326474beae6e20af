"""Devices of PyTorch: `--device auto` is a GPU (cuda, xpu) or NPU if there is one, else the CPU.

No other module names PyTorch's kinds of accelerators. The cores of a process are pinned here too.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import Tensor

from lookonce.cores import processes_here
from lookonce.errors import SettingsError

# Device type -> its torch.distributed backend, "" for one process only; fastest device first: "auto" takes the first
# one present, but not mps, on which nobody has tried this. Of torch.KIND this module calls only functions that it
# shares with torch.cuda; torch.mps lacks half of them.
BACKENDS: dict[str, str] = {"cuda": "nccl", "npu": "hccl", "xpu": "xccl", "mps": "", "cpu": "gloo"}


def resolve_device(name: str) -> torch.device:
    """ "auto" -> the fastest device present; "cpu", "cuda", "npu", "cuda:1" -> that device; SettingsError if absent.

    A name without a number means the device with the number LOCAL_RANK (0 without torchrun).
    """
    present = [kind for kind in BACKENDS if _is_present(kind)]
    chosen = next(kind for kind in present if kind != "mps") if name == "auto" else name.lower()
    kind, _, number = chosen.partition(":")
    if kind not in BACKENDS or not (number == "" or number.isdigit()):
        raise SettingsError.of(
            "device", name, f"expected auto, {', '.join(BACKENDS)}, or one with a number from 0, e.g. cuda:1"
        )
    if kind not in present:
        instead = f"use device=auto{_way_to_ascend() if kind == 'npu' else ''}"
        raise SettingsError.of("device", name, f"this machine has {', '.join(present)}; {instead}")
    if kind == "cpu":
        return torch.device(kind)
    index = int(number) if number else int(os.environ.get("LOCAL_RANK", "0"))
    num_devices = getattr(torch, kind).device_count()
    if index >= num_devices:
        raise SettingsError(
            f"device: {kind}:{index}; this machine has {num_devices} ({kind}); expected a number below {num_devices}",
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


def _is_present(kind: str) -> bool:
    """torch.npu exists only once torch-npu is installed."""
    return kind == "cpu" or (hasattr(torch, kind) and bool(getattr(torch, kind).is_available()))


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
        share = f"{processes_here()} processes share {len(before)} cores"
        raise SettingsError.of("cpus_per_rank", number, f"{share}; expected at most {len(before) // processes_here()}")
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
