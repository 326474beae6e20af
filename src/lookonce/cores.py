"""Number of CPU cores and threads that this process may use, how they wait, and the memory that it keeps."""

import ctypes
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def usable_threads() -> int:
    """Number of compute threads: OMP_NUM_THREADS if set, else usable_cores()."""
    return wanted_threads() or usable_cores()


def wanted_threads() -> int | None:
    """OMP_NUM_THREADS, or the first number of a list such as "4,2"; None if it is unset or not a positive number."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    return int(wanted) if wanted.isdecimal() and int(wanted) > 0 else None


def usable_cores() -> int:
    """Number of physical cores that this process may use: two compute threads on one core are no faster than one."""
    return _within_quota(len({_core_of(processor) for processor in _processors_allowed()}))


def usable_processors() -> int:
    """Number of logical CPUs, often two per core, that this process may use; for threads that read and decode."""
    return _within_quota(len(_processors_allowed()))


# Parameters of glibc's mallopt(3), and their values afterwards: those at which glibc's own adaptation ends, which a
# call of mallopt switches off.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
TRIM_THRESHOLD, MMAP_THRESHOLD, MMAP_MAX = 2**26, 2**25, 65536


@contextmanager
def memory_kept() -> Iterator[None]:
    """Inside the block this process keeps the memory that it frees for what it allocates next; with glibc only.

    By default glibc returns every array of over 32 MB to the system, and the next one's pages are cleared as they are
    touched: 165,000 page faults and 16 % of the processor time of a training step (8 images of 416 pixels, one thread).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:  # musl
        yield
        return
    mallopt(M_MMAP_MAX, 0)
    mallopt(M_TRIM_THRESHOLD, -1)
    try:
        yield
    finally:
        mallopt(M_MMAP_MAX, MMAP_MAX)
        mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD)
        mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD)
        ctypes.CDLL(None).malloc_trim(0)


# How long a waiting thread of GNU OpenMP, PyTorch's, spins before it sleeps (libgomp's manual, "GOMP_SPINCOUNT" and
# "OMP_WAIT_POLICY"). 20,000 rounds take 0.5 ms on an AMD EPYC, the default of 300,000 takes 7.6: while another program
# has one of the cores, the network's other threads spin until the missing one is back. With 20,000 a network takes half
# as long on a busy machine, and on an idle one 1 % longer; with 1,000 8 % longer (docs/bench.md).
SPIN_VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
SPIN_COUNT = 20_000


def let_waiting_threads_sleep() -> None:
    """Make the compute threads of this process and of those it starts sleep soon, unless the environment says how long.

    Only before PyTorch is imported: GNU OpenMP reads the environment when it is loaded.
    """
    if not any(os.environ.get(name) for name in SPIN_VARIABLES):
        os.environ[SPIN_VARIABLES[0]] = str(SPIN_COUNT)


NUM_FETCHERS = 16  # threads that fetch images from object storage: they wait for the network most of the time


def processes_here() -> int:
    """Number of ranks on this node."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def decoding_threads() -> int:
    """Number of threads of this rank that read and decode many images: one waits for the disk while others compute."""
    return min(32, usable_processors() // processes_here() + 1)


def _processors_allowed() -> set[int]:
    """Logical CPUs that taskset or a cpuset allow this process."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _within_quota(number: int) -> int:
    """`number`, limited to a container's CPU quota, rounded up; at least 1."""
    return max(1, math.ceil(min(number, cores_of_quota(CGROUPS, _own_cgroup()))))


def _core_of(cpu: int) -> str:
    """An identifier of the CPU's core: the list of its logical CPUs in Linux's notation, "0-1"."""
    siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    return _read(siblings) or str(cpu)


def _own_cgroup() -> str:
    """The path of this process in Linux's control groups, version 2: "/user.slice/..."; "" if none."""
    lines = _read(Path("/proc/self/cgroup")).splitlines()
    return next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "")


def cores_of_quota(root: Path, group: str) -> float:
    """CPU quota of the group and its parents, in CPUs; infinite without a limit.

    root: where control groups are mounted. Reads both versions: `cpu.max` ("150000 100000": 1.5 CPUs) of the group and
    each of its parents, and the older `cpu.cfs_quota_us`.
    """
    folders = [root / group.strip("/"), *(root / group.strip("/")).parents]
    limits = [_cpus(*_read(folder / "cpu.max").split()) for folder in folders if folder.is_relative_to(root)]
    old = root / "cpu"
    limits.append(_cpus(_read(old / "cpu.cfs_quota_us"), _read(old / "cpu.cfs_period_us")))
    return min(limits)


def _cpus(quota: str = "max", period: str = "100000") -> float:
    """quota / period; infinite if the quota is "max" or -1."""
    return int(quota) / int(period) if quota.isdecimal() and period.isdecimal() and int(period) else math.inf


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
