import os
import threading
from typing import Any

import pytest
import torch
from forked import in_a_fork
from raised import raises

from lookonce import devices, distributed
from lookonce.errors import SettingsError
from lookonce.training.engine import choose_precision

CPU = torch.device("cpu")


def test_cpu_is_always_there_and_auto_finds_something() -> None:
    assert devices.resolve_device("cpu") == CPU
    assert devices.resolve_device("auto").type in devices.BACKENDS
    assert not devices.supports_bfloat16(CPU)
    devices.synchronize(CPU)


def test_an_unknown_device_names_the_known_ones() -> None:
    with raises(SettingsError, "cuda, npu, xpu, mps, cpu", setting="device", value="tpu"):
        devices.resolve_device("tpu")


def test_a_device_that_is_not_there_says_what_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_is_present", lambda kind: kind == "cpu")
    with raises(SettingsError, " cpu;", "device=auto", setting="device", value="cuda:1"):
        devices.resolve_device("cuda:1")
    assert devices.resolve_device("auto") == CPU


def test_a_name_without_a_number_is_the_device_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_is_present", lambda _kind: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert devices.resolve_device("auto") == torch.device("cuda", 1)
    with raises(SettingsError, " 2 ", setting="device", value="cuda:2"):
        devices.resolve_device("cuda:2")


def test_a_mac_is_used_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_is_present", lambda kind: kind in ("mps", "cpu"))
    calls: list[str] = []
    monkeypatch.setattr(torch.mps, "device_count", lambda: 1)
    monkeypatch.setattr(torch.mps, "synchronize", lambda: calls.append("synchronize"))
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 42)
    device = devices.resolve_device("mps")
    assert device == torch.device("mps", 0)
    assert devices.resolve_device("auto") == CPU
    assert devices.count_devices("mps") == ("mps", 1)
    assert devices.count_devices("auto") == ("cpu", 1)
    assert not devices.supports_bfloat16(device)
    assert (devices.memory_in_use(device), devices.device_name(device)) == (42, "mps")
    assert choose_precision("auto", device) == "fp32"
    devices.synchronize(device)
    assert calls == ["synchronize"]
    monkeypatch.setenv("WORLD_SIZE", "2")
    with raises(SettingsError, setting="device", value="mps"), distributed.process_group(device):
        pass


def test_devices_are_counted() -> None:
    assert devices.count_devices("cpu") == ("cpu", 1)
    assert devices.count_devices("auto")[0] in devices.BACKENDS
    assert devices.count_devices("npu") == ("npu", 0)


# torch knows devices of other makers under a name that is given once in a process, so the fake has a fork of its own.
# Intel's module is there always, and finds no device.
FAKE = """
import os, types
import torch
from lookonce import devices, distributed
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
device = devices.resolve_device("auto")
assert str(device) == f"{kind}:3" == str(devices.resolve_device(kind)), device
assert devices.count_devices("auto") == (kind, 8)
assert f"devices: cpu, {kind}:0 Fake 0, {kind}:1 Fake 1" in _torch().text
assert devices.supports_bfloat16(device) and devices.memory_in_use(device) == 42
devices.synchronize(device)
try:
    with distributed.process_group(device):
        pass
except distributed.RankLost as error:
    assert "10.0.0.1:29500" in str(error)
try:
    devices.resolve_device(f"{kind}:8")
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
    monkeypatch.setattr(devices, "_is_present", lambda kind: kind == "cpu")
    with raises(SettingsError, "torch-npu", "CANN", setting="device", value="npu"):
        devices.resolve_device("npu")
    monkeypatch.setenv("TORCH_DEVICE_BACKEND_AUTOLOAD", "0")
    with raises(SettingsError, "unset TORCH_DEVICE_BACKEND_AUTOLOAD", setting="device"):
        devices.resolve_device("npu")


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to cores")
def test_each_rank_keeps_to_its_own_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.sched_getaffinity(0)
    with devices.pin_to_cores(0):
        assert os.sched_getaffinity(0) == before
    last = len(before) - 1
    monkeypatch.setenv("LOCAL_RANK", str(last))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(len(before)))
    over = threading.Event()
    older = threading.Thread(target=over.wait)
    older.start()
    with devices.pin_to_cores(1):
        assert os.sched_getaffinity(0) == {sorted(before)[last]} == os.sched_getaffinity(older.native_id or 0)
    assert os.sched_getaffinity(0) == before == os.sched_getaffinity(older.native_id or 0)
    over.set()
    with raises(SettingsError, f" {len(before)} cores", setting="cpus_per_rank", value=2), devices.pin_to_cores(2):
        pass
