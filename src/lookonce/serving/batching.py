"""Threads that own a model: requests wait in a bounded queue and run in batches. They know no HTTP and no images."""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from lookonce.errors import LookonceError

Options = TypeVar("Options", bound=Hashable)
Item = TypeVar("Item")
Result = TypeVar("Result")
# (options, items) -> one result per item, in order.
Model = Callable[[Options, Sequence[Item]], Sequence[Result]]

WEIGHT_OF_LAST = 0.2  # of the last batch in the mean seconds per item


class NotRun(LookonceError):
    """A request that is right, but was not run. seconds: when to try again."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(message)
        self.seconds = seconds


class QueueFull(NotRun):
    """As many requests wait as may."""


class TooLate(NotRun):
    """The deadline of the request passed while it waited."""


class Stopped(NotRun):
    """No more requests are taken."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """max_batch: items per batch; max_wait: seconds that an item waits for others; max_queue: items that wait;
    num_threads: batches in the model at once."""

    max_batch: int = 8
    max_wait: float = 0.002
    max_queue: int = 64
    num_threads: int = 1


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What was run at once. waits: seconds that each item was in the queue; seconds: of the run; errors: items."""

    waits: Sequence[float]
    seconds: float
    errors: int


@dataclass(frozen=True, kw_only=True, eq=False)
class _Job(Generic[Options, Item, Result]):
    options: Options
    item: Item
    deadline: float
    since: float = field(default_factory=time.monotonic)
    result: "Future[Result]" = field(default_factory=Future)

    @property
    def is_late(self) -> bool:
        return time.monotonic() > self.deadline


class ModelThreads(Generic[Options, Item, Result]):
    """Runs a model for many callers. Items of one batch have run by one model, also while `replace` changes it.

    Of a batch, items with equal options run in one call. If a call raises, each of its items runs alone, so that an
    item's error reaches its own caller only. on_batch: called by a thread after each batch.
    """

    def __init__(
        self,
        model: Model[Options, Item, Result],
        limits: Limits,
        on_batch: Callable[[Batch], None] = lambda _batch: None,
    ) -> None:
        self._model, self._limits, self._on_batch = model, limits, on_batch
        self._waiting: deque[_Job[Options, Item, Result]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._seconds_each = 0.0
        names = [f"lookonce-model-{number}" for number in range(limits.num_threads)]
        self._threads = [threading.Thread(target=self._run, name=name, daemon=True) for name in names]
        for thread in self._threads:
            thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether requests are taken."""
        return not self._closed and all(thread.is_alive() for thread in self._threads)

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    @property
    def seconds_to_wait(self) -> float:
        """Expected seconds until a new item has run."""
        return self._seconds_each * (1 + len(self._waiting)) / len(self._threads)

    def submit(self, item: Item, options: Options, *, deadline: float) -> "Future[Result]":
        """The item's result, once it has run. A cancelled future does not run. deadline: value of time.monotonic().

        QueueFull and Stopped are raised; TooLate, and what the model raises, are exceptions of the future.
        """
        job = _Job[Options, Item, Result](options=options, item=item, deadline=deadline)
        with self._changed:
            if not self.is_alive:
                raise Stopped("stopping; expected requests before; try again", 1.0)
            if len(self._waiting) >= self._limits.max_queue:
                self._drop_dead()
            # One that would be late is refused at once: its caller may ask elsewhere, and others do not wait for it.
            is_late = self._waiting and self.seconds_to_wait > deadline - time.monotonic()
            if is_late or len(self._waiting) >= self._limits.max_queue:
                raise QueueFull(f"{len(self._waiting)} requests wait already; try again later", self.seconds_to_wait)
            self._waiting.append(job)
            self._changed.notify_all()
        return job.result

    def replace(self, model: Model[Options, Item, Result]) -> None:
        """From the next batch on, `model` runs."""
        self._model = model

    def close(self, *, seconds: float | None = None) -> None:
        """Take no more items, run those that wait, and end. seconds: after these, those still waiting get Stopped."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        end = None if seconds is None else time.monotonic() + seconds
        for thread in self._threads:
            thread.join(None if end is None else max(0.0, end - time.monotonic()))
        with self._changed:
            while self._waiting:
                job = self._waiting.popleft()
                if job.result.set_running_or_notify_cancel():
                    job.result.set_exception(Stopped("stopped before it ran; try again", 1.0))

    def _run(self) -> None:
        while batch := self._next_batch():
            model, started = self._model, time.monotonic()
            by_options: dict[Options, list[_Job[Options, Item, Result]]] = {}
            for job in batch:
                by_options.setdefault(job.options, []).append(job)
            errors = sum(_run_together(model, options, jobs) for options, jobs in by_options.items())
            seconds = time.monotonic() - started
            change = seconds / len(batch) - self._seconds_each
            self._seconds_each += change * (WEIGHT_OF_LAST if self._seconds_each else 1)
            self._on_batch(Batch(waits=[started - job.since for job in batch], seconds=seconds, errors=errors))

    def _next_batch(self) -> list[_Job[Options, Item, Result]]:
        """Blocks until items wait, and for the rest of their batch; empty: closed, and nothing waits."""
        limits = self._limits
        with self._changed:
            while True:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if not self._waiting:
                    return []
                # Meanwhile another thread may take them.
                until = self._waiting[0].since + limits.max_wait
                self._changed.wait_for(
                    lambda: len(self._waiting) >= limits.max_batch or self._closed, max(0, until - time.monotonic())
                )
                self._drop_dead()
                batch = [self._waiting.popleft() for _ in range(min(limits.max_batch, len(self._waiting)))]
                if running := [job for job in batch if job.result.set_running_or_notify_cancel()]:
                    return running

    def _drop_dead(self) -> None:
        """Remove the items that are late or cancelled."""
        for job in [job for job in self._waiting if job.is_late or job.result.cancelled()]:
            self._waiting.remove(job)
            if job.result.set_running_or_notify_cancel():
                job.result.set_exception(TooLate("waited until its deadline; try again later", self.seconds_to_wait))


def _run_together(
    model: Model[Options, Item, Result], options: Options, jobs: Sequence[_Job[Options, Item, Result]]
) -> int:
    """Run items with equal options; returns the number of errors."""
    try:
        pairs = list(zip(jobs, model(options, [job.item for job in jobs]), strict=True))
    except Exception as error:  # noqa: BLE001 (the caller gets it)
        if len(jobs) > 1:
            return sum(_run_together(model, options, [job]) for job in jobs)
        jobs[0].result.set_exception(error)
        return 1
    for job, result in pairs:
        job.result.set_result(result)
    return 0
