from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from raised import raises

from lookonce.errors import SettingsError
from lookonce.training.schedule import SCHEDULES, Schedule

# Name of the array -> (first step, arguments). The original keeps float32, so 1e-9 is its own rounding.
GOLDEN: dict[str, tuple[int, dict[str, Any]]] = {
    "linear_warmup__all": (0, {"name": "constant", "warmup_epochs": 4}),
    "warmup_step__lr.001_e220,250_w4_m300_g.1__all": (
        0,
        {"name": "exponential", "warmup_epochs": 4, "milestones": (220, 250)},
    ),
    "multi_step__lr.001_m220,250_m300__all": (0, {"name": "exponential", "milestones": (220, 250)}),
    "step__lr.001_epochsize90_m300__all": (0, {"name": "exponential", "milestones": (90, 180, 270)}),
    "cosine__lr.001_w4_m300_t300_eta0__all": (0, {"name": "cosine_annealing", "warmup_epochs": 4}),
    "cosine__lr.001_w4_m300_t300_eta1e-5__all": (
        0,
        {"name": "cosine_annealing", "warmup_epochs": 4, "t_max": 300, "floor": 1e-5},
    ),
    "cosine__lr.0003_w20_m300_t300_spe21__all": (
        0,
        {"name": "cosine_annealing", "warmup_epochs": 20, "lr": 0.0003, "steps_per_epoch": 21},
    ),
    "cosine_V2__lr.001_w4_m300_t300__all": (0, {"name": "cosine_annealing_V2", "warmup_epochs": 4}),
    "cosine_V2__lr.001_w4_m300_t300_eta1e-5__all": (
        0,
        {"name": "cosine_annealing_V2", "warmup_epochs": 4, "floor": 1e-5},
    ),
    "cosine_sample__lr.001_w4_m300__all": (0, {"name": "cosine_annealing_sample", "warmup_epochs": 4}),
    "get_lr_cosine_resume10__all": (1000, {"name": "cosine_annealing", "warmup_epochs": 4}),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_every_value_of_the_original_schedules(name: str, shared: Callable[[str], Path]) -> None:
    first_step, arguments = GOLDEN[name]
    expected = np.load(shared("golden/lr_schedules.npz"))[name]
    schedule = Schedule(**{"lr": 0.001, "steps_per_epoch": 100, "epochs": 300, **arguments})
    ours = [schedule.lr_at(first_step + step) for step in range(len(expected))]
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-9)


def test_the_golden_file_holds_nothing_else(shared: Callable[[str], Path]) -> None:
    assert set(np.load(shared("golden/lr_schedules.npz")).files) == set(GOLDEN)


def test_the_warm_up_rises_in_equal_parts_to_the_peak() -> None:
    schedule = Schedule(name="cosine", lr=0.4, steps_per_epoch=8, epochs=3, warmup_epochs=0.5)
    assert [schedule.lr_at(step) for step in range(4)] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert schedule.lr_at(4) == 0.4


@pytest.mark.parametrize("name", ["cosine", "linear"])
def test_the_last_step_gets_the_floor(name: str) -> None:
    schedule = Schedule(name=name, lr=0.1, steps_per_epoch=5, epochs=4, warmup_epochs=1, floor=0.001)
    assert schedule.lr_at(19) == pytest.approx(0.001)
    assert schedule.lr_at(12) == pytest.approx((0.1 + 0.001) / 2, rel=0.1)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("epochs", [1, 2, 7])
def test_short_runs_stay_between_floor_and_peak(name: str, epochs: int) -> None:
    schedule = Schedule(
        name=name, lr=0.1, steps_per_epoch=3, epochs=epochs, warmup_epochs=1, floor=0.01, milestones=(2,), gamma=0.5
    )
    rates = [schedule.lr_at(step) for step in range(schedule.total_steps)]
    assert max(rates) == pytest.approx(0.1)
    assert min(rates[3:], default=0.01) >= 0.01 - 1e-12


def test_a_milestone_named_twice_counts_twice() -> None:
    schedule = Schedule(name="exponential", lr=1.0, steps_per_epoch=2, epochs=4, milestones=(1, 1, 2.5), gamma=0.1)
    assert [schedule.lr_at(step) for step in range(6)] == pytest.approx([1, 1, 0.01, 0.01, 0.01, 0.001])


def test_an_unknown_schedule_names_the_known_ones() -> None:
    with raises(SettingsError, "cosine, linear", setting="schedule", value="cosin"):
        Schedule(name="cosin", lr=0.1, steps_per_epoch=1, epochs=1)
