import sys
from pathlib import Path

import pytest
from raised import raises

from lookonce.errors import MissingExtra
from lookonce.training.tensorboard import tensorboard_writer

ROWS = [
    {"epoch": 0, "step": 3, "loss": 2.0, "lr": 0.1, "memory_mb": 9.0},
    {"epoch": 1, "step": 6, "loss": 1.0, "lr": 0.2, "AP": 0.5},
]


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder)).Reload()
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_rows_become_scalars_and_those_done_again_are_replaced(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    write = tensorboard_writer(tmp_path)
    write(ROWS[:1])
    write(ROWS)
    tensorboard_writer(tmp_path)([*ROWS[:1], {**ROWS[1], "loss": 1.5}])  # resumed from the end of epoch 0
    found = scalars(tmp_path)
    assert found["loss/loss"] == [(3, 2.0), (6, 1.5)]
    assert found["validation/AP"] == [(6, 0.5)]
    assert found["optimisation/lr"][0] == (3, pytest.approx(0.1))
    assert found["speed/memory_mb"] == [(3, 9.0)]


def test_without_tensorboard_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with raises(MissingExtra, "tensorboard=true", extra="tensorboard"):
        tensorboard_writer(tmp_path)
