"""Learning-rate schedules with warm-up: the learning rate as a function of the step alone; a resume needs no state.

The model zoo's four schedules follow its formulas step by step, with its constant values within an epoch; `cosine` and
`linear` change at every step. All begin with the same linear warm-up from 0.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from lookonce.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """The parameters of all schedules.

    lr: peak learning rate; floor: lowest one; warmup_epochs: length of the linear warm-up. milestones: epochs at which
    `exponential` multiplies by gamma (a repeated epoch counts twice). t_max: length of the model zoo's cosine in
    epochs; raised to `epochs` if smaller.
    """

    name: str
    lr: float
    steps_per_epoch: int
    epochs: int
    warmup_epochs: float = 0
    floor: float = 0
    t_max: float = 0
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1

    def __post_init__(self) -> None:
        if self.name not in SCHEDULES:
            raise SettingsError.of("schedule", self.name, f"expected one of {', '.join(SCHEDULES)}")

    @property
    def warmup_steps(self) -> int:
        return int(self.warmup_epochs * self.steps_per_epoch)

    @property
    def total_steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    def lr_at(self, step: int) -> float:
        """Learning rate of step 0, 1, ..., counted over the whole run."""
        if step < self.warmup_steps:
            return self.lr * (step + 1) / self.warmup_steps
        return SCHEDULES[self.name](self, step)


def cosine(schedule: Schedule, step: int) -> float:
    """Half a cosine from lr after the warm-up to floor at the last step."""
    return _half_cosine(schedule.lr, schedule.floor, _share_done(schedule, step))


def linear(schedule: Schedule, step: int) -> float:
    """Linear from lr after the warm-up to floor at the last step."""
    return schedule.lr + (schedule.floor - schedule.lr) * _share_done(schedule, step)


def constant(schedule: Schedule, _step: int) -> float:
    return schedule.lr


def exponential(schedule: Schedule, step: int) -> float:
    """lr, multiplied by gamma at each milestone after the warm-up."""
    reached = [
        epoch for epoch in schedule.milestones if schedule.warmup_steps <= epoch * schedule.steps_per_epoch <= step
    ]
    return float(schedule.lr * schedule.gamma ** len(reached))


def cosine_annealing(schedule: Schedule, step: int) -> float:
    """Half a cosine over t_max epochs from the start of the run; one value per epoch."""
    epoch = step // schedule.steps_per_epoch
    return _half_cosine(schedule.lr, schedule.floor, epoch / max(schedule.t_max, schedule.epochs))


def cosine_annealing_v2(schedule: Schedule, step: int) -> float:
    """`cosine_annealing` for two thirds of the run, then a faster half cosine from the value reached to floor."""
    last_slow_step = math.ceil(schedule.total_steps * 2 / 3) - 1
    if step <= last_slow_step:
        return cosine_annealing(schedule, step)
    epochs_since = step // schedule.steps_per_epoch - last_slow_step // schedule.steps_per_epoch
    quick_epochs = max(schedule.epochs // 3, 1)
    return _half_cosine(cosine_annealing(schedule, last_slow_step), schedule.floor, epochs_since / quick_epochs)


# The model zoo's constants: between epochs 60 and 180 the cosine advances at double speed.
FAST_FROM_EPOCH = 60
FAST_EPOCHS = 60


def cosine_annealing_sample(schedule: Schedule, step: int) -> float:
    """Half a cosine over epochs + 60, which skips every second epoch between 60 and 180."""
    epoch = step // schedule.steps_per_epoch
    left_out = min(max(epoch - FAST_FROM_EPOCH + 1, 0), FAST_EPOCHS)  # epoch 60 uses the value of 61
    return _half_cosine(schedule.lr, schedule.floor, (epoch + left_out) / (schedule.epochs + FAST_EPOCHS))


SCHEDULES: dict[str, Callable[[Schedule, int], float]] = {
    "cosine": cosine,
    "linear": linear,
    "constant": constant,
    "exponential": exponential,
    "cosine_annealing": cosine_annealing,
    "cosine_annealing_V2": cosine_annealing_v2,
    "cosine_annealing_sample": cosine_annealing_sample,
}


def _share_done(schedule: Schedule, step: int) -> float:
    """0 at the first step after the warm-up, 1 at the last step."""
    num_steps = max(schedule.total_steps - schedule.warmup_steps - 1, 1)
    return min((step - schedule.warmup_steps) / num_steps, 1.0)


def _half_cosine(start: float, floor: float, share: float) -> float:
    return floor + (start - floor) * (1 + math.cos(math.pi * share)) / 2
