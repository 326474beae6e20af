"""A training run: epochs, evaluation, checkpoints, early stopping (`patience`), resume (`restore`), on a CPU bit-exact.

The model, its EMA, the optimizer state and the position in the run decide the weights. Everything else is a function
of the position: the learning rate, the order of the images and their augmentation.
"""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import NamedTuple, NoReturn, Protocol

import torch

from lookonce.data.loader import Batch
from lookonce.devices import memory_in_use
from lookonce.distributed import any_rank, broadcast_object, is_main, rank, world_size
from lookonce.errors import WeightsError
from lookonce.exit_codes import ExitCode
from lookonce.layout import InNotebooks
from lookonce.log import get_logger
from lookonce.settings.names import counted
from lookonce.settings.record import ModelRecord
from lookonce.shown import command
from lookonce.signals import StopRequest, stop_on_signals
from lookonce.training.engine import Learner, StepResult, train_one_epoch
from lookonce.training.finite import TrainingDiverged
from lookonce.training.progress import Progress, Speed, duration
from lookonce.training.resume import Position, restore, training_state, warn_about_differences
from lookonce.training.run_folder import RunFolder
from lookonce.weights.checkpoint import Checkpoint, fault_of, first_intact, load_checkpoint, save_checkpoint

OnEvaluated = Callable[[int], None]
OnEpoch = Callable[[Sequence[Mapping[str, float]]], None]
LOSSES = ("loss", "box", "objectness", "classes")
# Signals that a rank receives within this many seconds of the first count as one stop request.
SIGNALS_TOGETHER = 2.0


class Evaluate(Protocol):
    """Evaluates weights on the validation images and returns metrics by name, among them `AP`.

    on_progress: called from time to time with the number of evaluated images.
    """

    def __call__(
        self, model: torch.nn.Module, record: ModelRecord, on_progress: OnEvaluated
    ) -> Mapping[str, float]: ...


class Batches(Protocol):
    """The interface of lookonce.data.loader.Loader."""

    def __len__(self) -> int: ...
    def epoch(self, epoch: int, start_batch: int = 0) -> Generator[Batch]: ...


@dataclass(frozen=True, kw_only=True)
class TrainerOptions:
    """epochs: of the whole run. start_epoch: first epoch to train, 0-based.

    eval_every: evaluate every N epochs and after the last one; 0 evaluates after the last one only.
    save_every, save_steps, save_seconds: save `last` every N epochs and after the last one; also every N batches (0
    disables this) and this many seconds after the previous save, so that a power cut loses little of a long epoch.
    save_on_all: every rank writes its own `last`. keep: number of newest epochs whose weights are kept; 0: none.
    best_metric: metric that selects `best`. patience: early stopping after this many epochs without improvement; 0
    disables it. time_limit: seconds after which the run ends; 0 disables it.
    log_interval: batches per log line. against_waiting: hint to log when data loading limits the throughput.
    same_command: hint shown after a stop when repeating the command resumes the run.
    global_batch: images per batch over all ranks; saved, so that a resume with another world size keeps it.
    """

    epochs: int
    global_batch: int = 0
    start_epoch: int = 0
    eval_every: int = 1
    save_every: int = 1
    save_steps: int = 0
    save_seconds: float = 600
    save_on_all: bool = False
    keep: int = 0
    log_interval: int = 100
    best_metric: str = "AP"
    patience: int = 0
    time_limit: float = 0
    against_waiting: str = ""
    same_command: str = ""


@dataclass(frozen=True, kw_only=True)
class TrainResult(InNotebooks):
    """Taken in place of the path of its run folder: `lookonce.load(lookonce.train(...))`.

    metrics: last row of the metrics table. stopped: whether a stop request ended the run; --resume continues it.
    is_main: False on all ranks but 0.
    """

    run: RunFolder
    metrics: Mapping[str, float]
    stopped: bool
    is_main: bool = True

    def __str__(self) -> str:
        scores = ", ".join(f"{name} {self.metrics[name]:.3f}" for name in ("AP", "AP50") if name in self.metrics)
        end = "stopped" if self.stopped else "finished"
        return f"{self.run.path}: {end}, {scores or 'not evaluated'}"

    def __fspath__(self) -> str:
        return str(self.run.path)

    @property
    def exit_code(self) -> int:
        return ExitCode.STOPPED if self.stopped else 0


class Asks(NamedTuple):
    """What a rank asks for between two batches: to stop, to end the run with this epoch, to save."""

    stop: bool = False
    end: bool = False
    save: bool = False


class _Stopped(Exception):
    """The run was asked to stop; the checkpoint is saved."""


class Trainer:
    """Trains a learner on batches and writes a run folder. evaluate: None without validation images; then no `best`.

    on_epoch: callbacks that rank 0 calls after each epoch with the metrics table so far.
    """

    def __init__(
        self,
        learner: Learner,
        batches: Batches,
        *,
        evaluate: Evaluate | None,
        record: ModelRecord,
        run: RunFolder,
        options: TrainerOptions,
        on_epoch: Sequence[OnEpoch] = (),
        stop: StopRequest | None = None,
    ) -> None:
        self.learner = learner
        self.batches = batches
        self.evaluate = evaluate
        self.record = record
        self.run_folder = run
        self.options = options
        self.on_epoch = on_epoch
        self.position = Position(epoch=options.start_epoch)
        self.rows: list[dict[str, float]] = []
        self._started, self._last_evaluation = time.perf_counter(), 0.0
        self._stop = StopRequest() if stop is None else stop
        self._asked = Asks()  # by any rank
        self._saved_at, self._saved_step = time.perf_counter(), self._step()

    def run(self) -> TrainResult:
        """Train to the last epoch, or until SIGTERM or Ctrl-C, which finishes and saves the current step first."""
        self._progress = Progress(
            epochs=self.options.epochs,
            steps_per_epoch=len(self.batches),
            log_interval=self.options.log_interval,
            num_ranks=world_size(),
            against_waiting=self.options.against_waiting,
            memory=lambda: memory_in_use(self.learner.options.device),
        )
        stopped = False
        table = self._progress.shown(self.rows) if is_main() else nullcontext()
        with stop_on_signals(self._stop, insist_after=SIGNALS_TOGETHER if world_size() > 1 else 0.0), table:
            try:
                while not self._is_over():
                    self._run_epoch()
            except _Stopped:
                stopped = True
            except TrainingDiverged as error:
                if is_main():  # the batches of the step are written for inspection
                    dump = self.run_folder.dump
                    folders = [dump(error.epoch, error.index, *given) for given in error.batches.items()]
                    error.args = (f"{error}. The images as the network got them: {', '.join(map(str, folders))}",)
                raise
        metrics = self.rows[-1] if self.rows else {}
        return TrainResult(run=self.run_folder, metrics=metrics, stopped=stopped, is_main=is_main())

    def resume(self) -> None:
        """Restore the run from its last checkpoint. WeightsError if the checkpoint has no training state."""
        checkpoint = broadcast_object(self._checkpoint() if is_main() else None)
        if checkpoint.training is None:
            problem = "contains weights without training state; expected a checkpoint of a run"
            raise WeightsError.at(checkpoint.folder, f"{problem}; start a new run from it with --weights")
        restore(self.learner, checkpoint.state, checkpoint.training)
        self.position = Position(**checkpoint.training.values["position"])
        self._started, self._saved_step = time.perf_counter() - self.position.seconds, self._step()
        warn_about_differences(checkpoint.training.values, self.learner.options.device)
        rows = broadcast_object(self.run_folder.metrics() if is_main() else None)
        self.rows = [row for row in rows if row["epoch"] < self.position.epoch]

    def _checkpoint(self) -> Checkpoint:
        """`last`, or the save before it if `last` is damaged."""
        last, chosen = self.run_folder.last, first_intact(self.run_folder.saves)
        if chosen != last:
            get_logger().warning(f"{fault_of(last)}; the run resumes from the save before it, {chosen}")
        return load_checkpoint(chosen)

    def _run_epoch(self) -> None:
        speed = Speed()
        if not self.position.over:  # over: the time limit was reached, and the run was killed before its evaluation
            self._train(speed)
        row = self._row(speed)
        epoch, every = self.position.epoch + 1, self.options.eval_every
        is_due = self.position.over or epoch == self.options.epochs or (every > 0 and epoch % every == 0)
        if self.evaluate is not None and is_due:
            if self._is_save_late(self._step()):
                self._save_last()
            row |= self._score(self.evaluate)
        self._finish_epoch(row)

    def _is_over(self) -> bool:
        """Whether the run is complete. An epoch that the time limit cut short must still be evaluated."""
        return self.position.epoch >= self.options.epochs or (self.position.over and self.position.batch == 0)

    def _is_save_late(self, step: int) -> bool:
        by_steps = 0 < self.options.save_steps <= step - self._saved_step
        return by_steps or time.perf_counter() - self._saved_at > self.options.save_seconds

    def _seconds(self) -> float:
        """Of the run, including those before a resume."""
        return time.perf_counter() - self._started

    def _step(self) -> int:
        """Batches done in the whole run."""
        return self.position.epoch * len(self.batches) + self.position.batch

    def _train(self, speed: Speed) -> None:
        epoch, first_batch = self.position.epoch, self.position.batch
        self._progress.begin(f"epoch {epoch + 1}/{self.options.epochs}", len(self.batches))
        with closing(self.batches.epoch(epoch, first_batch)) as source:
            for result in train_one_epoch(
                self.learner, source, epoch=epoch, first_batch=first_batch, asks=self._asks, settle=self._is_due
            ):
                self._count(result, speed)
                if not result.skipped:
                    self._progress.step(epoch, result)
                if world_size() > 1:
                    self._asked = Asks(*result.asked)
                if result.is_newest:
                    self._save_or_stop()
                if self.position.over:
                    break

    def _asks(self, batch: int) -> Asks:
        """What this rank asks for, once `batch` is done."""
        step = self.position.epoch * len(self.batches) + batch + 1
        limit = self.options.time_limit
        is_time_up = 0 < limit <= self._seconds() + self._last_evaluation  # only the last evaluation fits in
        return Asks(stop=self._stop.asked, end=is_time_up, save=self._is_save_late(step))

    def _is_due(self, batch: int) -> bool:
        """Whether anything is asked for. Several ranks learn what the others ask for from the result of a batch."""
        if world_size() == 1:
            self._asked = self._asks(batch)
        return any(self._asked)

    def _count(self, result: StepResult, speed: Speed) -> None:
        self.position.batch = result.batch + 1
        if result.skipped:
            self.position.skipped += 1
            get_logger().warning(
                f"epoch {self.position.epoch}, batch {result.batch}: skipped, its loss or gradient is not "
                f"finite (skipped in this epoch: {self.position.skipped})"
            )
            return
        for name in LOSSES:
            self.position.sums[name] = self.position.sums.get(name, 0.0) + getattr(result, name)
        speed.images += result.num_images * world_size()
        speed.waiting += result.waited

    def _save_or_stop(self) -> None:
        """Save or stop if due, after an optimizer step only: a checkpoint holds no accumulated gradients."""
        is_last = self.position.batch == len(self.batches)
        if not is_last and self.position.batch % self.learner.options.accumulate:
            return
        asked, self._asked = self._asked, Asks()
        if asked.end:
            self.position.over = True
            get_logger().info(
                f"time limit of {duration(self.options.time_limit)} reached; stopping after a final evaluation"
            )
        if is_last:
            return
        if any(asked):
            self._save_last()
        if asked.stop:
            self._end_on_request()

    def _score(self, evaluate: Evaluate) -> Mapping[str, float]:
        """Evaluate, and save the weights if they are the best so far. After a stop, the resume evaluates again."""
        started = time.perf_counter()
        self._progress.begin("evaluate", None)
        metrics = evaluate(self.learner.result_model, self.record, self._on_evaluated)
        self._last_evaluation = time.perf_counter() - started
        self._progress.evaluated(self._last_evaluation)
        score = metrics[self.options.best_metric]
        if self.position.best is None or score > self.position.best:
            self.position.best, self.position.best_epoch = score, self.position.epoch
            if is_main():
                save_checkpoint(
                    self.run_folder.best, state=self.learner.result_model.state_dict(), record=self._described(metrics)
                )
        return metrics

    def _on_evaluated(self, done: int) -> None:
        self._progress.advance(done)
        if self._stop_asked():
            self._save_last()
            self._end_on_request()

    def _finish_epoch(self, row: dict[str, float]) -> None:
        self.rows.append(row)
        self._progress.epoch_line(self.position.epoch, row)
        self.position.over = self._ends_early()
        self.position = self.position.next_epoch()
        if is_main():
            self.run_folder.write_metrics(self.rows)
            for callback in self.on_epoch:
                callback(self.rows)
        is_over = self._is_over()
        stop = not is_over and self._stop_asked()
        if stop or is_over or self.position.epoch % self.options.save_every == 0:
            self._save_last(row)
            # Keep the weights of the `keep` newest epochs.
            if self.options.keep and is_main():
                folder = self.run_folder.of_epoch(self.position.epoch - 1)
                save_checkpoint(folder, state=self.learner.result_model.state_dict(), record=self._described(row))
                self.run_folder.forget_epochs(self.options.keep)
        if stop:
            self._end_on_request()

    def _row(self, speed: Speed) -> dict[str, float]:
        """The epoch's row of the metrics table; epoch counts from 0; losses are means over its finite batches."""
        epoch = self.position.epoch
        step = self._step()
        counted = max(self.position.batch - self.position.skipped, 1)
        means = {name: self.position.sums.get(name, 0.0) / counted for name in LOSSES}
        num_bad = len(getattr(self.batches, "bad_rows", ()))  # left out on this rank, in this process
        skipped = {"skipped": self.position.skipped} if self.position.skipped else {}
        return {
            "epoch": epoch,
            "step": step,
            "lr": self.learner.schedule.lr_at(step - 1),
            **means,
            **skipped,
            **({"bad_images": num_bad} if num_bad else {}),
            "seconds": round(speed.seconds, 3),
            "images_per_second": round(speed.images_per_second, 3),
            "waiting_share": round(speed.waiting_share, 4),
            "memory_mb": round(memory_in_use(self.learner.options.device) / 1e6, 1),
        }

    def _save_last(self, metrics: Mapping[str, float] | None = None) -> None:
        self._saved_at, self._saved_step = time.perf_counter(), self._step()
        self.position.seconds = self._seconds()
        if not (is_main() or self.options.save_on_all):
            return
        save_checkpoint(
            self.run_folder.last if is_main() else self.run_folder.last_of_rank(rank()),
            state=self.learner.result_model.state_dict(),
            record=self._described(metrics or {}),
            training_state=training_state(self.learner, self.position, self.options.global_batch),
            previous=self.run_folder.previous if is_main() else None,
        )

    def _ends_early(self) -> bool:
        """Whether the run ends with this epoch, by early stopping or the time limit."""
        waited = self.position.epoch - self.position.best_epoch
        if self.options.patience and self.position.best is not None and waited >= self.options.patience:
            get_logger().info(
                f"early stopping: no improvement of {self.options.best_metric} for {counted(waited, 'epoch')} (best in "
                f"epoch {self.position.best_epoch + 1})"
            )
            return True
        return self.position.over

    def _described(self, metrics: Mapping[str, float]) -> ModelRecord:
        return self.record.model_copy(update={"metrics": {name: float(value) for name, value in metrics.items()}})

    def _stop_asked(self) -> bool:
        return any_rank(self._stop.asked, self.learner.options.device)

    def _end_on_request(self) -> NoReturn:
        position = f"epoch {self.position.epoch + 1}, batch {self.position.batch} of {len(self.batches)}"
        again = self.options.same_command or command("train", "--resume", self.run_folder.path)
        get_logger().info(f"stopped on request at {position}; resume with: {again}")
        raise _Stopped
