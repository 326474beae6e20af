"""What a run tells while it works: speed, time left, the share of time spent waiting for pictures."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from lookonce.log import get_logger, live_table
from lookonce.training.engine import StepResult
from lookonce.training.live_table import LiveTable

# The line of a step or an epoch is for the log file where a live table shows the same.
IN_TABLE = {"in_table": True}
# Above this share of the time the accelerator, or the other core, stands idle often enough to do something about it.
MUCH_WAITING = 0.2


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
    On a terminal a table is shown besides (`shown`). against_waiting: what helps when pictures come too slowly; said
    once. memory: bytes in use.
    """

    def __init__(
        self,
        *,
        epochs: int,
        steps_per_epoch: int,
        log_interval: int,
        num_ranks: int = 1,
        against_waiting: str = "",
        memory: Callable[[], int] = lambda: 0,
    ) -> None:
        self.epochs = epochs
        self.steps_per_epoch = steps_per_epoch
        self.log_interval = log_interval
        self.num_ranks = num_ranks
        self.run = Speed()
        self.evaluation_seconds = 0.0
        self._since_line = Speed()
        self._losses: list[float] = []
        self._against_waiting = against_waiting
        self._memory = memory
        self._table = LiveTable()

    @contextmanager
    def shown(self, rows: Sequence[Mapping[str, float]]) -> Iterator[None]:
        """Show the table of metrics, as it grows, on a terminal."""
        self._table.rows = rows
        with live_table(self._table):
            yield
            self._table.doing = ""

    def begin(self, doing: str, total: int | None) -> None:
        """What follows is `total` batches or pictures of this."""
        self._table.doing, self._table.done, self._table.total = doing, 0, total

    def advance(self, done: int) -> None:
        self._table.done = done

    def step(self, epoch: int, result: StepResult, waited: float) -> None:
        """Count one batch; `waited` seconds were spent on getting it."""
        for speed in (self.run, self._since_line):
            speed.images += result.num_images * self.num_ranks
            speed.steps += 1
            speed.waiting += waited
        self._losses.append(result.loss)
        step = epoch * self.steps_per_epoch + result.batch
        if step % self.log_interval == 0:
            self._write_line(epoch, step, result.lr)
        self._show(epoch, result, step)

    def _show(self, epoch: int, result: StepResult, step: int) -> None:
        self._table.done = result.batch + 1
        self._table.left = self.left(step + 1)
        self._table.current = {
            "epoch": epoch,
            "loss": result.loss,
            "box": result.box,
            "objectness": result.objectness,
            "classes": result.classes,
            "lr": result.lr,
            "images_per_second": self.run.images_per_second,
            "waiting_share": self.run.waiting_share,
            "memory_mb": self._memory() / 1e6,
        }

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
        """One line for people at the end of an epoch, and advice where much of it was spent on waiting."""
        self._table.current = {}
        scores = "  ".join(f"{name} {row[name]:.3f}" for name in ("AP", "AP50") if name in row)
        get_logger().info(
            f"epoch {epoch + 1}/{self.epochs}  loss {row['loss']:.3f} (box {row['box']:.3f}, objectness "
            f"{row['objectness']:.3f}, classes {row['classes']:.3f})  {scores}{'  ' if scores else ''}"
            f"{row['images_per_second']:.1f} images/s, {row['waiting_share']:.0%} waiting for data  "
            f"{self.left((epoch + 1) * self.steps_per_epoch)}",
            extra=IN_TABLE,
        )
        if row["waiting_share"] > MUCH_WAITING and self._against_waiting:
            get_logger().info(
                f"{row['waiting_share']:.0%} of the time goes into waiting for pictures: {self._against_waiting}"
            )
            self._against_waiting = ""

    def _write_line(self, epoch: int, step: int, lr: float) -> None:
        loss = sum(self._losses) / len(self._losses)
        speed = self._since_line.images_per_second
        get_logger().info(
            f"epoch[{epoch}], iter[{step}], loss:{loss:.6f}, fps:{speed:.2f} imgs/sec, lr:{lr}", extra=IN_TABLE
        )
        self._losses.clear()
        self._since_line = Speed()


def duration(seconds: float) -> str:
    """3723 -> `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
