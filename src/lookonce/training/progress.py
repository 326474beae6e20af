"""What a run tells while it works: speed, time left, the share of time spent waiting for pictures."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from lookonce.log import Advance, get_logger
from lookonce.training.engine import StepResult


@dataclass
class Speed:
    """Pictures and seconds since it was made; waiting for pictures is part of the seconds."""

    images: int = 0
    steps: int = 0
    waiting: float = 0.0
    started: float = field(default_factory=time.perf_counter)

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self.started

    @property
    def images_per_second(self) -> float:
        return self.images / max(self.seconds, 1e-9)

    @property
    def waiting_share(self) -> float:
        return self.waiting / max(self.seconds, 1e-9)


class Progress:
    """Follows a run of `epochs` epochs with `steps_per_epoch` batches of all `num_ranks` ranks together.

    Every log_interval steps it writes the line of the model zoo's document, with the mean loss since the one before.
    """

    def __init__(self, *, epochs: int, steps_per_epoch: int, log_interval: int, num_ranks: int = 1) -> None:
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.log_interval = log_interval
        self.num_ranks = num_ranks
        self.run = Speed()
        self.evaluation_seconds = 0.0
        self._since_line = Speed()
        self._losses: list[float] = []

    def step(self, epoch: int, result: StepResult, waited: float, advance: Advance) -> None:
        """Count one batch; `waited` seconds were spent on getting it."""
        for speed in (self.run, self._since_line):
            speed.images += result.num_images * self.num_ranks
            speed.steps += 1
            speed.waiting += waited
        self._losses.append(result.loss)
        step = epoch * self.steps_per_epoch + result.batch
        if step % self.log_interval == 0:
            self._write_line(epoch, step, result.lr)
        advance(
            result.batch + 1,
            f"loss {result.loss:.3f}  {self.run.images_per_second:.1f} images/s  {self.left(step + 1)}",
        )

    def left(self, steps_done: int) -> str:
        """Time to go when steps and evaluations go on as they did so far: `ETA 1:02:03`."""
        if not self.run.steps:
            return "ETA -"
        steps = self.epochs * self.steps_per_epoch - steps_done
        return f"ETA {duration(steps * (self.run.seconds + self.evaluation_seconds) / self.run.steps)}"

    def evaluated(self, seconds: float) -> None:
        """An evaluation took so long: it counts for the time to go, and not against the speed of training."""
        self.evaluation_seconds += seconds
        for speed in (self.run, self._since_line):
            speed.started += seconds

    def epoch_line(self, epoch: int, row: Mapping[str, float]) -> None:
        """One line for people at the end of an epoch."""
        scores = "  ".join(f"{name} {row[name]:.3f}" for name in ("AP", "AP50") if name in row)
        get_logger().info(
            f"epoch {epoch + 1}/{self.epochs}  loss {row['loss']:.3f} (box {row['box']:.3f}, objectness "
            f"{row['objectness']:.3f}, classes {row['classes']:.3f})  {scores}{'  ' if scores else ''}"
            f"{row['images_per_second']:.1f} images/s, {row['waiting_share']:.0%} waiting for data  "
            f"{self.left((epoch + 1) * self.steps_per_epoch)}"
        )

    def _write_line(self, epoch: int, step: int, lr: float) -> None:
        loss = sum(self._losses) / len(self._losses)
        speed = self._since_line.images_per_second
        get_logger().info(f"epoch[{epoch}], iter[{step}], loss:{loss:.6f}, fps:{speed:.2f} imgs/sec, lr:{lr}")
        self._losses.clear()
        self._since_line = Speed()


def duration(seconds: float) -> str:
    """3723 -> `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
