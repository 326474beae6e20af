import hashlib
import re
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from raised import raises

from lookonce.data.loader import Batch
from lookonce.data.order import STREAM_VERSION
from lookonce.errors import WeightsError
from lookonce.settings.record import ModelRecord
from lookonce.training.engine import Learner
from lookonce.training.finite import TrainingDiverged
from lookonce.training.run_folder import RunFolder
from lookonce.training.trainer import OnEvaluated, Trainer, TrainerOptions, TrainResult
from lookonce.weights.checkpoint import load_checkpoint, save_checkpoint

MakeLearner = Callable[..., Learner]
EPOCHS = 3


class Score:
    """A made-up AP, another one each time it is called; `during` is called in the middle of an evaluation."""

    def __init__(self, *scores: float, during: Callable[[], None] = lambda: None) -> None:
        self.scores = list(scores)
        self.during = during
        self.models: list[torch.nn.Module] = []

    def __call__(self, model: torch.nn.Module, record: ModelRecord, on_progress: OnEvaluated) -> Mapping[str, float]:
        self.models.append(model)
        self.during()
        on_progress(1)
        return {"AP": self.scores.pop(0) if self.scores else 0.5, "AP50": 0.75}


@pytest.fixture
def make_trainer(make_learner: MakeLearner, squares: Callable[..., Any], record: ModelRecord, run: RunFolder) -> Any:
    """make_trainer(evaluate=, before=, run=, learner=, **TrainerOptions) -> three epochs of three batches."""

    def make(
        *,
        evaluate: Any = None,
        before: Callable[[int, int], None] = lambda _epoch, _batch: None,
        run: RunFolder = run,
        learner: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Trainer:
        return Trainer(
            make_learner(epochs=EPOCHS, **(learner or {})),
            squares(before),
            evaluate=evaluate,
            record=record,
            run=run,
            options=TrainerOptions(**{"epochs": EPOCHS, "log_interval": 2, **options}),
        )

    return make


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def arrays_of(run: RunFolder) -> tuple[str, str]:
    return sha256(run.last / "model.safetensors"), sha256(run.last / "training.safetensors")


def resumed(trainer: Trainer) -> TrainResult:
    trainer.resume()
    return trainer.run()


def run_beside(run: RunFolder, name: str) -> RunFolder:
    folder = RunFolder(run.path.with_name(name))
    folder.path.mkdir()
    return folder


@pytest.fixture
def other_run(run: RunFolder) -> RunFolder:
    return run_beside(run, "squares-2")


@pytest.mark.parametrize(
    ("stops", "learner"),
    [
        # (0, 2) is the last batch of an epoch: evaluated first, then stopped; (2, 2) the very last: nothing is left.
        ([(0, 0), (0, 2), (1, 1), (2, 2)], {}),
        ([(1, 0)], {"ema_decay": 0.0, "name": "adamw", "lr": 0.001}),
        ([(1, 0)], {"accumulate": 2}),  # in the middle of an update
    ],
)
def test_a_stopped_and_resumed_run_ends_with_the_bits_of_a_straight_one(
    make_trainer: Any, other_run: RunFolder, stops: list[tuple[int, int]], learner: dict[str, Any]
) -> None:
    straight = make_trainer(run=other_run, evaluate=Score(0.1, 0.3, 0.2), learner=learner).run()
    for stop_at in stops:

        def stop(epoch: int, batch: int, stop_at: tuple[int, int] = stop_at) -> None:
            if (epoch, batch) == stop_at:
                signal.raise_signal(signal.SIGTERM)

        run, scores = run_beside(other_run, f"stopped at {stop_at}"), Score(0.1, 0.3, 0.2)
        stopped = make_trainer(run=run, before=stop, evaluate=scores, learner=learner).run()
        finished = resumed(make_trainer(run=run, evaluate=scores, learner=learner))
        assert (stopped.stopped, stopped.exit_code) == (True, 75), stop_at
        assert (finished.stopped, finished.exit_code) == (False, 0), stop_at
        assert arrays_of(run) == arrays_of(other_run), stop_at
        assert sha256(run.best / "model.safetensors") == sha256(other_run.best / "model.safetensors"), stop_at
        assert rows_of(run) == rows_of(other_run), stop_at
        assert straight.metrics["AP"] == finished.metrics["AP"] == 0.2


def rows_of(run: RunFolder) -> list[dict[str, Any]]:
    timings = {"seconds", "images_per_second", "waiting_share", "memory_mb"}
    return [{name: value for name, value in row.items() if name not in timings} for row in run.metrics()]


def test_a_stop_during_evaluation_leaves_it_to_the_resume(
    make_trainer: Any, run: RunFolder, other_run: RunFolder
) -> None:
    make_trainer(run=other_run, evaluate=Score()).run()
    stopped = make_trainer(evaluate=Score(during=lambda: signal.raise_signal(signal.SIGINT))).run()
    assert stopped.stopped
    assert run.metrics() == []
    assert load_checkpoint(run.last).training.values["position"]["batch"] == 3  # type: ignore[union-attr]
    resumed(make_trainer(evaluate=Score()))
    assert [row["epoch"] for row in run.metrics()] == [0, 1, 2]
    assert arrays_of(run) == arrays_of(other_run)


def test_a_run_resumed_at_its_end_has_nothing_left_to_do(make_trainer: Any, run: RunFolder) -> None:
    make_trainer(evaluate=Score()).run()
    before = arrays_of(run)
    score = Score()
    result = resumed(make_trainer(evaluate=score))
    assert not result.stopped
    assert result.metrics["epoch"] == EPOCHS - 1
    assert score.models == []
    assert arrays_of(run) == before


def test_rows_of_an_epoch_that_is_done_again_are_replaced(make_trainer: Any, run: RunFolder) -> None:
    """A kill between the table and the checkpoint of epoch 2: its row is there, its checkpoint is not."""
    make_trainer(evaluate=Score()).run()
    rows = run.metrics()
    half = make_trainer(evaluate=Score())
    half.resume()
    half.position.epoch, half.position.batch = 1, 0
    half._save_last()
    resumed(make_trainer(evaluate=Score()))
    assert [row["epoch"] for row in run.metrics()] == [row["epoch"] for row in rows]


def test_best_keeps_the_epoch_with_the_highest_ap_and_holds_no_training_state(
    make_trainer: Any, run: RunFolder
) -> None:
    make_trainer(evaluate=Score(0.1, 0.3, 0.2)).run()
    best = load_checkpoint(run.best)
    assert best.record.metrics["AP"] == 0.3
    assert best.training is None
    assert load_checkpoint(run.last).record.metrics["AP"] == 0.2


def test_the_average_is_what_is_evaluated_and_saved(make_trainer: Any, run: RunFolder) -> None:
    score = Score()
    trainer = make_trainer(evaluate=score)
    trainer.run()
    average = trainer.learner.ema.model
    assert all(model is average for model in score.models)
    saved = load_checkpoint(run.last).state
    assert all(torch.equal(saved[name], value) for name, value in average.state_dict().items())


@pytest.mark.parametrize(("eval_every", "expected"), [(1, 3), (2, 2), (0, 1), (5, 1)])
def test_the_last_epoch_is_always_evaluated(make_trainer: Any, eval_every: int, expected: int) -> None:
    score = Score()
    make_trainer(evaluate=score, eval_every=eval_every).run()
    assert len(score.models) == expected


def test_without_validation_images_there_is_no_best(make_trainer: Any, run: RunFolder) -> None:
    result = make_trainer().run()
    assert not run.best.exists()
    assert "AP" not in result.metrics


def test_a_diverged_run_keeps_the_checkpoint_before(make_trainer: Any, run: RunFolder) -> None:
    def spoil(epoch: int, batch: int) -> None:
        if (epoch, batch) == (1, 1):
            with torch.no_grad():
                trainer.learner.model.head16.bias.fill_(torch.nan)

    trainer = make_trainer(before=spoil, evaluate=Score())
    with raises(TrainingDiverged, epoch=1, index=1):
        trainer.run()
    checkpoint = load_checkpoint(run.last)
    assert checkpoint.training is not None
    assert checkpoint.training.values["position"]["epoch"] == 1
    assert all(
        torch.isfinite(array).all() for array in (*checkpoint.state.values(), *checkpoint.training.tensors.values())
    )


def test_the_log_has_the_line_of_the_document_and_one_for_each_epoch(
    make_trainer: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="lookonce"):
        make_trainer(evaluate=Score()).run()
    lines = [record.getMessage() for record in caplog.records]
    assert sum(line.startswith("epoch[0], iter[0], loss:") for line in lines) == 1
    in_epoch_1 = next(line for line in lines if line.startswith("epoch[1], iter[4], loss:"))
    assert in_epoch_1.endswith(", lr:0.0452254")
    assert sum(line.startswith("epoch 3/3  loss ") and "AP 0.500  AP50 0.750" in line for line in lines) == 1


def test_the_table_is_there_as_csv_and_json_lines(make_trainer: Any, run: RunFolder) -> None:
    make_trainer(evaluate=Score(0.1, 0.2, 0.3), eval_every=2).run()
    header, *lines = (run.path / "metrics.csv").read_text().splitlines()
    columns = "epoch step lr loss box objectness classes seconds images_per_second waiting_share memory_mb AP AP50"
    assert header.split(",")[:13] == columns.split()
    assert [line.split(",")[0] for line in lines] == ["0", "1", "2"]
    assert lines[0].endswith(",,")  # not evaluated
    assert [row.get("AP") for row in run.metrics()] == [None, 0.1, 0.2]


def test_weights_alone_cannot_be_resumed(make_trainer: Any, run: RunFolder, record: ModelRecord) -> None:
    trainer = make_trainer()
    save_checkpoint(run.last, state=trainer.learner.model.state_dict(), record=record)
    with raises(WeightsError, path=run.last):
        trainer.resume()


def test_a_run_that_began_with_other_random_numbers_is_told(
    make_trainer: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("lookonce.training.resume.STREAM_VERSION", 7)
    make_trainer(epochs=1).run()
    monkeypatch.undo()
    make_trainer(epochs=2).resume()
    assert re.search(rf"image_stream is {STREAM_VERSION}, .* 7\b", caplog.text)


def test_another_number_of_threads_is_told(make_trainer: Any, caplog: pytest.LogCaptureFixture) -> None:
    make_trainer().run()
    trainer = make_trainer()
    torch.set_num_threads(2)
    with caplog.at_level("WARNING", logger="lookonce"):
        trainer.resume()
    assert re.search(r"threads is 2, .* 1\b", caplog.text)


def test_what_is_best_is_decided_by_the_metric_that_was_named(make_trainer: Any, run: RunFolder) -> None:
    class Swapped(Score):
        def __call__(self, *args: Any) -> Mapping[str, float]:
            metrics = super().__call__(*args)
            return {"AP": metrics["AP"], "AP50": 1 - metrics["AP"]}

    make_trainer(evaluate=Swapped(0.1, 0.3, 0.2), best_metric="AP50").run()
    assert load_checkpoint(run.best).record.metrics["AP50"] == 0.9


def test_a_run_without_progress_ends_when_patience_does(
    make_trainer: Any, run: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger="lookonce"):
        result = make_trainer(evaluate=Score(0.4, 0.3, 0.2), patience=1).run()
    assert not result.stopped
    assert [row["AP"] for row in run.metrics()] == [0.4, 0.3]
    assert re.search(r"of AP .*\b1 epoch\b.*epoch 1\b", caplog.text)
    score = Score()
    assert not resumed(make_trainer(evaluate=score, patience=1)).stopped
    assert score.models == []  # the end is the end


@pytest.mark.parametrize("cut_at", [(1, 0), (1, 2)])
def test_when_the_time_is_up_the_run_ends_evaluated(make_trainer: Any, run: RunFolder, cut_at: tuple[int, int]) -> None:
    def wait(epoch: int, batch: int) -> None:
        if (epoch, batch) == cut_at:
            trainer._started -= 3600

    trainer = make_trainer(before=wait, evaluate=Score(0.1, 0.2), time_limit=60, eval_every=10)
    result = trainer.run()
    assert not result.stopped
    rows = run.metrics()
    assert [row["step"] for row in rows] == [3, 4 + cut_at[1]]
    assert "AP" not in rows[0]
    assert result.metrics["AP"] == load_checkpoint(run.best).record.metrics["AP"] == 0.1


def test_a_kill_after_the_time_was_up_leaves_the_evaluation_to_the_resume(make_trainer: Any, run: RunFolder) -> None:
    def kill() -> None:
        raise RuntimeError("killed")

    def wait(epoch: int, batch: int) -> None:
        if (epoch, batch) == (0, 1):
            trainer._started -= 3600

    trainer = make_trainer(before=wait, evaluate=Score(during=kill), time_limit=60)
    with pytest.raises(RuntimeError, match="killed"):
        trainer.run()
    result = resumed(make_trainer(evaluate=Score(0.3), time_limit=60))
    assert (result.metrics["step"], result.metrics["AP"]) == (2, 0.3)


def test_the_weights_of_the_newest_epochs_are_kept(make_trainer: Any, run: RunFolder) -> None:
    make_trainer(evaluate=Score(0.1, 0.3, 0.2), keep=2).run()
    kept = sorted((run.path / "checkpoints").glob("epoch-*"))
    assert [folder.name for folder in kept] == ["epoch-0001", "epoch-0002"]
    assert load_checkpoint(kept[0]).record.metrics["AP"] == 0.3
    assert load_checkpoint(kept[0]).training is None


def test_a_run_may_begin_at_a_later_epoch_with_its_learning_rate(make_trainer: Any, run: RunFolder) -> None:
    trainer = make_trainer(start_epoch=2)
    result = trainer.run()
    assert [row["epoch"] for row in run.metrics()] == [2]
    assert result.metrics["lr"] == trainer.learner.schedule.lr_at(8)


def test_checkpoints_come_every_so_many_batches(make_trainer: Any, run: RunFolder) -> None:
    saved = []

    def look(epoch: int, batch: int) -> None:
        if run.has_checkpoint:
            position = load_checkpoint(run.last).training.values["position"]  # type: ignore[union-attr]
            saved.append((position["epoch"], position["batch"]))

    make_trainer(before=look, save_steps=2).run()
    assert saved == [(0, 2), (1, 0), (1, 0), (1, 2), (2, 0), (2, 0), (2, 2)]


def test_with_collected_batches_checkpoints_come_after_the_next_update(make_trainer: Any, run: RunFolder) -> None:
    """Every batch is asked for, every second makes an update; the third makes the epoch's last one alone."""
    saved = []

    def look(epoch: int, batch: int) -> None:
        saved.append(load_checkpoint(run.last).training.values["position"] if run.has_checkpoint else None)  # type: ignore[union-attr]

    make_trainer(before=look, save_steps=1, learner={"accumulate": 2}, epochs=1).run()
    assert [position and position["batch"] for position in saved] == [None, None, 2]


def test_each_rank_may_keep_a_last_of_its_own(
    make_trainer: Any, run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("is_main", False), ("rank", 3)):
        monkeypatch.setattr(f"lookonce.training.trainer.{name}", lambda value=value: value)
    make_trainer(epochs=1).run()
    assert not (run.path / "checkpoints").exists()
    make_trainer(epochs=1, save_on_all=True).run()
    assert load_checkpoint(run.last_of_rank(3)).training is not None
    assert not run.last.exists()


def test_observers_see_the_table_after_each_epoch(make_trainer: Any) -> None:
    seen: list[int] = []
    trainer = make_trainer()
    trainer.on_epoch = [lambda rows: seen.append(len(rows))]
    trainer.run()
    assert seen == [1, 2, 3]


def test_a_long_epoch_is_saved_in_between(make_trainer: Any, run: RunFolder) -> None:
    positions = []

    def look(epoch: int, batch: int) -> None:
        if batch:
            positions.append(load_checkpoint(run.last).training.values["position"]["batch"])  # type: ignore[union-attr]

    make_trainer(before=look, save_seconds=0.0).run()
    assert positions == [1, 2] * EPOCHS


def test_what_spoiled_the_loss_is_kept_with_its_boxes(
    make_trainer: Any, run: RunFolder, make_batch: Callable[..., Batch], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer()
    with torch.no_grad():
        trainer.learner.model.head16.bias.fill_(torch.nan)
    with raises(TrainingDiverged, "nonfinite-epoch0-batch0"):
        trainer.run()
    folder = run.path / "nonfinite-epoch0-batch0" / "rank0"
    kept = np.load(folder / "batch.npz")
    expected = make_batch((0, 8), (8, 0), noise=0)
    for name in ("images", "boxes_xyxy", "labels", "image_index", "crowd", "image_ids"):
        np.testing.assert_array_equal(kept[name], getattr(expected, name))
    assert sorted(path.name for path in folder.glob("*.png")) == ["000-image1.png", "001-image2.png"]
    image = cv2.imread(str(folder / "001-image2.png"))
    assert image.shape == (64, 64, 3)
    np.testing.assert_array_equal(image[40:, 40:], expected.images[1][40:, 40:, ::-1])  # no box there


def test_skipped_batches_are_counted_and_leave_no_trace_in_the_checkpoint(make_trainer: Any, run: RunFolder) -> None:
    def spoil(epoch: int, batch: int) -> None:
        if (epoch, batch) == (1, 1):
            hook = trainer.learner.model.register_forward_pre_hook(
                lambda _model, given: (hook.remove(), given[0] * torch.nan)[1:]
            )

    trainer = make_trainer(before=spoil, evaluate=Score(), learner={"skip_nonfinite": True})
    trainer.run()
    rows = run.metrics()
    assert [row.get("skipped") for row in rows] == [None, 1, None]
    assert all(np.isfinite(row["loss"]) for row in rows)
    checkpoint = load_checkpoint(run.last)
    assert checkpoint.training is not None
    arrays = (*checkpoint.state.values(), *checkpoint.training.tensors.values())
    assert all(torch.isfinite(array).all() for array in arrays)
