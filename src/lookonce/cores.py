"""How many threads there are processors for."""

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def usable_threads() -> int:
    """What computes in this process gets so many: OMP_NUM_THREADS where it is set, else usable_cores()."""
    return wanted_threads() or usable_cores()


def wanted_threads() -> int | None:
    """OMP_NUM_THREADS, of which "4,2" is a form too; None where it is not set, or no number."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(wanted) if wanted.isdecimal() and int(wanted) > 0 else None


def usable_cores() -> int:
    """Physical cores that this process may use: sums gain nothing from two threads on one."""
    return _within_quota(len({_core_of(processor) for processor in _processors_allowed()}))


def usable_processors() -> int:
    """Processors as the system counts them, often two a core, that this process may use: for what reads and decodes."""
    return _within_quota(len(_processors_allowed()))


def _processors_allowed() -> set[int]:
    """What taskset or a cpuset leave to this process."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _within_quota(number: int) -> int:
    """No more than the time that a container's quota leaves, rounded up."""
    return max(1, math.ceil(min(number, cores_of_quota(CGROUPS, _own_cgroup()))))


def _core_of(cpu: int) -> str:
    """The processors that share a core with this one, in Linux's spelling: "0-1"."""
    siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    return _read(siblings) or str(cpu)


def _own_cgroup() -> str:
    """The path of this process in the second version of Linux's control groups: "/user.slice/..."; "" where none."""
    lines = _read(Path("/proc/self/cgroup")).splitlines()
    return next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "")


def cores_of_quota(root: Path, group: str) -> float:
    """Processors' worth of time that the group and those around it may use; infinite without a limit.

    root: where control groups are mounted. Both versions are read: `cpu.max` ("150000 100000": 1.5 processors) of the
    group and each one it lies in, and the older `cpu.cfs_quota_us`.
    """
    places = [root / group.strip("/"), *(root / group.strip("/")).parents]
    limits = [_share(*_read(place / "cpu.max").split()) for place in places if place.is_relative_to(root)]
    old = root / "cpu"
    limits.append(_share(_read(old / "cpu.cfs_quota_us"), _read(old / "cpu.cfs_period_us")))
    return min(limits)


def _share(quota: str = "max", period: str = "100000") -> float:
    """ "max" or -1 is no limit."""
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else math.inf


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
