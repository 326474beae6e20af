"""Progress of a run: throughput, remaining time, and the share of time spent waiting for images."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from lookonce.log import get_logger, live_table
from lookonce.shown import percent, three_digits
from lookonce.training.engine import StepResult
from lookonce.training.live_table import LiveTable

# Marks the lines of steps and epochs: where a live table shows the same values, they go to the log file only.
IN_TABLE = {"in_table": True}
# Above this share of waiting time, the device is idle often enough to log a hint.
MUCH_WAITING = 0.2


@dataclass
class Speed:
    """Images, steps and seconds since creation. waiting: seconds spent waiting for images, part of `seconds`."""

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
    """Reports a run of `epochs` epochs with `steps_per_epoch` global batches over `num_ranks` ranks.

    Every log_interval steps it logs the line of the model zoo's document, with the mean loss since the previous line.
    On a terminal it also shows a live table (`shown`). against_waiting: hint to log once when data loading limits the
    throughput. memory: returns the bytes in use.
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
        """Inside the block a terminal shows the growing metrics table."""
        self._table.rows = rows
        with live_table(self._table):
            yield
            self._table.doing = ""

    def begin(self, doing: str, total: int | None) -> None:
        """Start a progress bar with the title `doing` over `total` batches or images (None: unknown)."""
        self._table.doing, self._table.done, self._table.total = doing, 0, total

    def advance(self, done: int) -> None:
        self._table.done = done

    def step(self, epoch: int, result: StepResult) -> None:
        """Count one batch."""
        for speed in (self.run, self._since_line):
            speed.images += result.num_images * self.num_ranks
            speed.steps += 1
            speed.waiting += result.waited
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
        """Remaining time, estimated from the steps and evaluations so far: `ETA 1:02:03`."""
        if not self.run.steps:
            return "ETA -"
        steps = self.epochs * self.steps_per_epoch - steps_done
        return f"ETA {duration(steps * (self.run.seconds + self.evaluation_seconds) / self.run.steps)}"

    def evaluated(self, seconds: float) -> None:
        """Count the duration of an evaluation: part of the remaining time, not of the training throughput."""
        self.evaluation_seconds += seconds
        for speed in (self.run, self._since_line):
            speed.started += seconds

    def epoch_line(self, epoch: int, row: Mapping[str, float]) -> None:
        """Log the summary line of an epoch, and a hint once if it spent much time waiting for images."""
        self._table.current = {}
        scores = "  ".join(f"{name} {three_digits(row[name])}" for name in ("AP", "AP50") if name in row)
        get_logger().info(
            f"epoch {epoch + 1}/{self.epochs}  loss {row['loss']:.3f} (box {row['box']:.3f}, objectness "
            f"{row['objectness']:.3f}, classes {row['classes']:.3f})  {scores}{'  ' if scores else ''}"
            f"{row['images_per_second']:.1f} images/s, {percent(row['waiting_share'])} waiting for data  "
            f"{self.left((epoch + 1) * self.steps_per_epoch)}",
            extra=IN_TABLE,
        )
        if row["waiting_share"] > MUCH_WAITING and self._against_waiting:
            get_logger().info(
                f"{percent(row['waiting_share'])} of the time is spent waiting for images: {self._against_waiting}"
            )
            self._against_waiting = ""

    def _write_line(self, epoch: int, step: int, lr: float) -> None:
        loss = sum(self._losses) / len(self._losses)
        speed = self._since_line.images_per_second
        get_logger().info(
            f"epoch[{epoch}], iter[{step}], loss:{loss:.6f}, fps:{speed:.2f} imgs/sec, lr:{lr:.6g}", extra=IN_TABLE
        )
        self._losses.clear()
        self._since_line = Speed()


def duration(seconds: float) -> str:
    """3723 -> `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
