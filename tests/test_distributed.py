import pytest
import torch

from lookonce import distributed
from lookonce.errors import SettingsError

CPU = torch.device("cpu")


def test_one_process_is_rank_0_of_1_and_its_sums_are_its_own() -> None:
    assert (distributed.rank(), distributed.world_size(), distributed.is_main()) == (0, 1, True)
    assert distributed.all_reduce_sum(torch.tensor([2.0])).tolist() == [2.0]
    assert distributed.gather_objects("a") == ["a"]
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
    with pytest.raises(SettingsError, match=r"device: got 'tpu', expected auto, or one of cuda, npu, cpu"):
        distributed.resolve_device("tpu")


def test_a_device_that_is_not_there_says_what_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "_is_present", lambda kind: kind == "cpu")
    with pytest.raises(SettingsError, match=r"'cuda:1' was asked for, but this machine offers cpu; try device=auto"):
        distributed.resolve_device("cuda:1")
    assert distributed.resolve_device("auto") == CPU


def test_a_name_without_a_number_is_the_device_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "_is_present", lambda _kind: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert distributed.resolve_device("auto") == torch.device("cuda", 1)
    with pytest.raises(SettingsError, match=r"cuda:2 was asked for, but there are 2"):
        distributed.resolve_device("cuda:2")
