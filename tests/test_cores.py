"""How many threads a runtime takes: as the user says, else as many as there are cores for this process."""

import math
import os
import subprocess
import sys

import pytest

from lookonce import cores as threads
from lookonce.cli.main import main
from lookonce.cores import SPIN_COUNT, SPIN_VARIABLES, cores_of_quota, usable_processors, usable_threads


@pytest.mark.parametrize(("variable", "expected"), [("3", 3), ("2,4", 2)])
def test_omp_num_threads_is_honoured(monkeypatch, variable, expected):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert usable_threads() == expected


@pytest.mark.parametrize("variable", ["", "0", "many"])
def test_without_a_wish_there_is_a_thread_for_each_core(monkeypatch, variable):
    monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert 1 <= usable_threads() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_a_process_held_to_one_processor_gets_one_thread(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0})
    assert usable_threads() == 1


def test_two_processors_of_one_core_are_one_thread(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(threads, "_core_of", lambda cpu: f"{cpu // 2}")
    monkeypatch.setattr(threads, "cores_of_quota", lambda _root, _group: math.inf)
    assert (usable_threads(), usable_processors()) == (2, 4)


def test_a_container_with_a_quota_gets_threads_for_it(monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(64)), raising=False)
    monkeypatch.setattr(threads, "_core_of", str)
    monkeypatch.setattr(threads, "cores_of_quota", lambda _root, _group: 1.5)
    assert (usable_threads(), usable_processors()) == (2, 2)


def test_a_wish_for_threads_is_none_for_processors(monkeypatch):
    """torchrun sets OMP_NUM_THREADS to 1; pictures are read by as many threads as before."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(threads, "_processors_allowed", lambda: set(range(6)))
    monkeypatch.setattr(threads, "cores_of_quota", lambda _root, _group: math.inf)
    assert (usable_threads(), usable_processors()) == (1, 6)


def test_the_narrowest_quota_around_a_group_holds(tmp_path):
    group = tmp_path / "pod" / "box"
    group.mkdir(parents=True)
    (group / "cpu.max").write_text("max 100000\n")
    assert cores_of_quota(tmp_path, "/pod/box") == math.inf
    (tmp_path / "pod" / "cpu.max").write_text("150000 100000\n")
    (tmp_path / "cpu.max").write_text("400000 100000\n")
    assert cores_of_quota(tmp_path, "/pod/box") == 1.5


def test_the_older_control_groups_are_read_too(tmp_path):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert cores_of_quota(tmp_path, "") == math.inf
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("200000\n")
    assert cores_of_quota(tmp_path, "") == 2


# Page faults of writing 48 MB after as many were freed, in the block and after it. A fresh process has no free memory.
FAULTS = """
import resource
from lookonce.cores import memory_kept

def faults():
    len(b"1" * 48_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    len(b"1" * 48_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

with memory_kept():
    kept = faults()
print(kept, faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc only")
def test_freed_memory_is_kept_inside_the_block_only() -> None:
    done = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True)
    kept, returned = map(int, done.stdout.split())
    assert kept < returned / 2


def test_a_command_lets_waiting_compute_threads_sleep(monkeypatch):
    for name in SPIN_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert main(["version"]) == 0
    assert os.environ["GOMP_SPINCOUNT"] == str(SPIN_COUNT)


@pytest.mark.parametrize("name", SPIN_VARIABLES)
def test_a_chosen_way_of_waiting_is_kept(monkeypatch, name):
    for other in SPIN_VARIABLES:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "active")
    main(["version"])
    assert {other: os.environ[other] for other in SPIN_VARIABLES if other in os.environ} == {name: "active"}
