import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import torch
from forked import in_a_fork
from raised import raises

from lookonce import distributed
from lookonce.distributed import HangWatchdog, RankLost
from lookonce.errors import SettingsError
from lookonce.training.engine import choose_precision

CPU = torch.device("cpu")
LITTLE = timedelta(seconds=20)


def test_one_process_is_rank_0_of_1_and_its_sums_are_its_own() -> None:
    assert (distributed.rank(), distributed.world_size(), distributed.is_main()) == (0, 1, True)
    assert distributed.all_reduce_sum(torch.tensor([2.0])).tolist() == [2.0]
    distributed.begin_all_reduce_sum(torch.tensor([2.0]))()
    assert distributed.gather_objects("a") == ["a"]
    assert distributed.gather_objects_to_main("a") == ["a"]
    tensor = torch.ones(2)
    assert distributed.copy_to_device(tensor, CPU) is tensor
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


def test_cpu_is_always_there_and_auto_finds_something() -> None:
    assert distributed.resolve_device("cpu") == CPU
    assert distributed.resolve_device("auto").type in distributed.BACKENDS
    assert not distributed.supports_bfloat16(CPU)
    distributed.synchronize(CPU)


def test_an_unknown_device_names_the_known_ones() -> None:
    with raises(SettingsError, "cuda, npu, xpu, mps, cpu", setting="device", value="tpu"):
        distributed.resolve_device("tpu")


def test_a_device_that_is_not_there_says_what_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "_is_present", lambda kind: kind == "cpu")
    with raises(SettingsError, " cpu;", "device=auto", setting="device", value="cuda:1"):
        distributed.resolve_device("cuda:1")
    assert distributed.resolve_device("auto") == CPU


def test_a_name_without_a_number_is_the_device_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "_is_present", lambda _kind: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert distributed.resolve_device("auto") == torch.device("cuda", 1)
    with raises(SettingsError, " 2 ", setting="device", value="cuda:2"):
        distributed.resolve_device("cuda:2")


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


def leave_early() -> str:
    if distributed.rank() == 1:
        os._exit(1)
    distributed.all_reduce_sum(torch.zeros(3))
    return "never"


def test_who_loses_another_rank_names_it(in_ranks: Callable[..., list[Any]]) -> None:
    with raises(RankLost, "rank 0: ", "rank 1 (process "):
        in_ranks(2, leave_early)


class Words(dict[str, bytes]):
    """A store in memory."""

    def set(self, key: str, value: str) -> None:
        self[key] = value.encode()

    def get(self, key: str) -> bytes:  # type: ignore[override]
        return self[key]


def test_the_watch_knows_who_came_to_fewer_meetings() -> None:
    store = Words()
    first, second, third = (HangWatchdog(store, rank, 3, timeout_seconds=60) for rank in range(3))  # type: ignore[arg-type]
    for watch in (first, third):
        watch.arrive()
        watch._publish()
    assert list(first.late()) == [1]
    assert first.late()[1] == f"process {os.getpid()} on {socket.gethostname()}"
    assert second.late() == {}


def hang() -> None:
    distributed.barrier()
    if distributed.rank() == 1:
        time.sleep(2)
    distributed.barrier()


def test_a_rank_that_hangs_is_named_and_those_who_wait_end(
    in_ranks: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(distributed.HangWatchdog, "start", start_sooner)
    with raises(RuntimeError, " ended "):
        in_ranks(3, hang, timeout_seconds=10)
    said = capfd.readouterr().err
    assert re.search(r"rank 0: rank 1 \(process \d+ on \S+\) .* 0\.5 s", said)
    assert "2 of 3 ranks" in said
    assert said.count("rank 0: rank 1 ") == 1


def hang_alone(end: str) -> None:
    """Rank 1 ends; the others hang where no error reaches them, as in a call on an accelerator."""
    distributed.barrier()
    if distributed.rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL) if end == "died" else sys.exit(3)
    time.sleep(60)


@pytest.mark.parametrize("end", ["died", "failed"])
def test_survivors_that_hang_outside_of_a_collective_name_the_lost_rank_and_end(
    end: str, in_ranks: Callable[..., list[Any]], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(distributed, "GRACE_SECONDS", 0.2)
    with raises(RuntimeError, " ended "):
        in_ranks(3, hang_alone, end, timeout_seconds=10)
    said = capfd.readouterr().err
    assert re.search(rf"rank 0: rank 1 \(process \d+ on \S+: {end}\)", said)
    assert said.count("lookonce: rank ") == 1


def test_a_silent_rank_is_lost_and_one_that_was_done_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Words()
    watches = [HangWatchdog(store, rank, 3, timeout_seconds=60) for rank in range(3)]  # type: ignore[arg-type]
    watches[2].end("done")
    assert watches[0].lost() == {}
    monkeypatch.setattr(distributed, "SILENT_SECONDS", -1.0)
    assert list(watches[0].lost()) == [1]
    watches[1].end("failed")
    assert watches[0].lost() == {1: f"process {os.getpid()} on {socket.gethostname()}: failed"}


def start_sooner(watch: HangWatchdog) -> None:
    watch.timeout_seconds = 0.5
    threading.Thread(target=watch._run, daemon=True).start()


def test_a_word_for_the_next_start_needs_torchrun() -> None:
    distributed.remember_for_job("run", "runs/a-1")
    assert distributed.recall_for_job("run") is None


def test_a_mac_is_used_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "_is_present", lambda kind: kind in ("mps", "cpu"))
    calls: list[str] = []
    monkeypatch.setattr(torch.mps, "device_count", lambda: 1)
    monkeypatch.setattr(torch.mps, "synchronize", lambda: calls.append("synchronize"))
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 42)
    device = distributed.resolve_device("mps")
    assert device == torch.device("mps", 0)
    assert distributed.resolve_device("auto") == CPU
    assert distributed.count_devices("mps") == ("mps", 1)
    assert distributed.count_devices("auto") == ("cpu", 1)
    assert not distributed.supports_bfloat16(device)
    assert (distributed.memory_in_use(device), distributed.device_name(device)) == (42, "mps")
    assert choose_precision("auto", device) == "fp32"
    distributed.synchronize(device)
    assert calls == ["synchronize"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    with raises(SettingsError, setting="device", value="mps"), distributed.process_group(device):
        pass


def test_devices_are_counted() -> None:
    assert distributed.count_devices("cpu") == ("cpu", 1)
    assert distributed.count_devices("auto")[0] in distributed.BACKENDS
    assert distributed.count_devices("npu") == ("npu", 0)


# torch knows devices of other makers under a name that is given once in a process, so the fake has a fork of its own.
# Intel's module is there always, and finds no device.
FAKE = """
import os, types
import torch
from lookonce import distributed
from lookonce.workflows.doctor import _torch

calls = []
fake = torch.xpu if kind == "xpu" else types.ModuleType("torch.npu")
fake.get_device_name = lambda number: f"Fake {number}"
fake.is_available = lambda: True
fake.device_count = lambda: 8
fake.is_bf16_supported = lambda: True
fake.max_memory_allocated = lambda device: 42
fake.synchronize = lambda device: calls.append(f"synchronize {device}")
fake.set_device = lambda device: calls.append(f"set_device {device}")
torch.cuda.is_available = lambda: False
if kind == "npu":
    torch.utils.rename_privateuse1_backend("npu")
    torch._register_device_module("npu", fake)

def joins(backend, **_):
    calls.append(f"joins by {backend}")
    raise RuntimeError("nobody there")

distributed.dist.init_process_group = joins
distributed._shared_store = lambda *_, **__: distributed.dist.HashStore()
distributed._find_each_other = lambda *_: "start"
distributed._rank_by_machine = lambda *_: 3
os.environ |= {"LOCAL_RANK": "3", "RANK": "3", "WORLD_SIZE": "8", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500"}
device = distributed.resolve_device("auto")
assert str(device) == f"{kind}:3" == str(distributed.resolve_device(kind)), device
assert distributed.count_devices("auto") == (kind, 8)
assert f"devices: cpu, {kind}:0 Fake 0, {kind}:1 Fake 1" in _torch().text
assert distributed.supports_bfloat16(device) and distributed.memory_in_use(device) == 42
distributed.synchronize(device)
try:
    with distributed.process_group(device):
        pass
except distributed.RankLost as error:
    assert "10.0.0.1:29500" in str(error)
try:
    distributed.resolve_device(f"{kind}:8")
except distributed.SettingsError as error:
    assert (error.setting, error.value) == ("device", f"{kind}:8") and "has 8" in str(error)
"""


@pytest.mark.parametrize(("kind", "backend"), [("npu", "hccl"), ("xpu", "xccl")])
def test_another_maker_s_device_is_found_chosen_by_rank_and_joined_by_its_library(kind: str, backend: str) -> None:
    def calls() -> Any:
        known: dict[str, Any] = {"kind": kind}
        exec(FAKE, known)
        return known["calls"]

    assert in_a_fork(calls) == [f"synchronize {kind}:3", f"set_device {kind}:3", f"joins by {backend}"]


def test_an_ascend_device_that_is_not_there_leads_to_its_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "_is_present", lambda kind: kind == "cpu")
    with raises(SettingsError, "torch-npu", "CANN", setting="device", value="npu"):
        distributed.resolve_device("npu")
    monkeypatch.setenv("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
    with raises(SettingsError, "unset TORCH_DEVICE_BACKEND_AUTOLOAD", setting="device"):
        distributed.resolve_device("npu")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_each_rank_keeps_to_its_own_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.sched_getaffinity(0)
    with distributed.pin_to_cores(0):
        assert os.sched_getaffinity(0) == before
    last = len(before) - 1
    monkeypatch.setenv("LOCAL_RANK", str(last))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(len(before)))
    over = threading.Event()
    older = threading.Thread(target=over.wait)
    older.start()
    with distributed.pin_to_cores(1):
        assert os.sched_getaffinity(0) == {sorted(before)[last]} == os.sched_getaffinity(older.native_id or 0)
    assert os.sched_getaffinity(0) == before == os.sched_getaffinity(older.native_id or 0)
    over.set()
    with raises(SettingsError, f" {len(before)} cores", setting="cpus_per_rank", value=2), distributed.pin_to_cores(2):
        pass


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


def test_a_machine_knows_its_address_towards_the_meeting_point() -> None:
    assert distributed._address_towards("127.0.0.1:29400") == "127.0.0.1"
    assert distributed._address_towards("no.such.host.invalid:1") is None
    assert distributed._address_towards("nonsense") is None
