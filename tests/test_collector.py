import gc
from collections.abc import Iterator

import pytest

from lookonce.collector import collecting_later


@pytest.fixture
def nothing_is_frozen() -> Iterator[None]:
    """conftest.py freezes what it has imported."""
    gc.unfreeze()
    yield
    gc.freeze()


@pytest.mark.usefixtures("nothing_is_frozen")
def test_new_objects_are_old_ones_afterwards() -> None:
    with collecting_later():
        assert not gc.isenabled()
        made: list[list[int]] = [[] for _ in range(10_000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    young = {id(one) for generation in (0, 1) for one in gc.get_objects(generation)}
    assert young.isdisjoint(map(id, made))


@pytest.mark.usefixtures("nothing_is_frozen")
def test_garbage_made_meanwhile_is_still_found() -> None:
    with collecting_later():
        cycle: list[object] = []
        cycle.append(cycle)
        del cycle
    assert gc.collect() > 0


def test_a_collector_that_is_off_stays_off_and_frozen_objects_stay_frozen() -> None:
    frozen = gc.get_freeze_count()
    assert frozen > 0
    gc.disable()
    try:
        with pytest.raises(ZeroDivisionError), collecting_later(), collecting_later():
            _ = 1 / 0
        assert not gc.isenabled()
    finally:
        gc.enable()
    with collecting_later():
        pass
    assert gc.isenabled()
    assert gc.get_freeze_count() == frozen
