"""`train` from a data set on the disk to a run folder, with a network of some thousand weights."""

import hashlib
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from raised import raises

from lookonce.cli.verbs import VERBS
from lookonce.data.source import open_data
from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.errors import DataError, SettingsError, WeightsError
from lookonce.evaluation.evaluate import evaluate
from lookonce.layout import PLAIN
from lookonce.model.yolov3_tiny import initialise
from lookonce.runtimes.detector import Detector
from lookonce.runtimes.pytorch import PyTorchRuntime
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord, Preprocessing
from lookonce.settings.resolve import resolve
from lookonce.storage import StorageError
from lookonce.training.trainer import TrainResult
from lookonce.weights.checkpoint import read_record, save_checkpoint
from lookonce.weights.convolutions import model_from_record
from lookonce.weights.load import load_weights
from lookonce.workflows.check import check
from lookonce.workflows.evaluate import evaluate as evaluate_verb
from lookonce.workflows.export_reference import calibration_set, canvases_of
from lookonce.workflows.resumed_run import settings_and_run
from lookonce.workflows.train import train
from lookonce.workflows.validation_split import with_val_of


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = SceneOptions(sides=(64, 96), smallest=16, max_things=3)
    return write_synthetic(tmp_path_factory.mktemp("scenes") / "table", train=6, val=3, options=options)


def quick(data: Path, runs: Path, /, **flags: Any) -> TrainResult:
    settings = {"epochs": 2, "batch_size": 3, "image_size": 64, "width": 0.0625, "log_interval": 1, "device": "cpu"}
    return train(**{"data": str(data), "runs": str(runs), **settings, **flags})


def sha256(result: TrainResult) -> str:
    return hashlib.sha256((result.run.last / "model.safetensors").read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainResult:
    torch.set_num_threads(1)
    return quick(data, tmp_path_factory.mktemp("runs"))


def test_the_run_folder_is_called_after_the_data_and_holds_what_is_promised(trained: TrainResult) -> None:
    assert trained.run.path.name == "table-1"
    assert (trained.exit_code, trained.stopped) == (0, False)
    for name in ("settings.yaml", "log.txt", "metrics.csv", "metrics.jsonl"):
        assert (trained.run.path / name).stat().st_size > 0
    for name in ("last", "best"):
        assert (trained.run.path / "checkpoints" / name / "model.safetensors").is_file()
    assert [row["epoch"] for row in trained.run.metrics()] == [0, 1]


def test_the_command_line_shows_the_run_folder_once_for_all_ranks(trained: TrainResult) -> None:
    written, next_step = VERBS["train"].lines(trained, PLAIN)
    assert written == f"written: {trained.run.path}"
    assert next_step.endswith(f"lookonce report {trained.run.path}")
    assert not list(VERBS["train"].lines(replace(trained, is_main=False), PLAIN))


def test_the_settings_file_gives_the_settings_back(trained: TrainResult, data: Path) -> None:
    again = resolve({}, file=trained.run.settings).settings
    assert (again.data, again.width, again.epochs, again.name) == (str(data), 0.0625, 2, "table")


def test_the_log_begins_with_what_is_trained_and_has_the_documents_line(trained: TrainResult) -> None:
    log = trained.run.log.read_text()
    assert "6 images" in log
    assert "2 epochs x 2 batches of 3" in log
    assert ":INFO:epoch[1], iter[3], loss:" in log
    assert "finished; best weights (AP " in log


def test_thresholds_of_the_settings_are_those_that_are_scored_with(data: Path, tmp_path: Path) -> None:
    few = quick(data, tmp_path, epochs=1, max_detections=1, score_threshold=0.0005)
    _, record = load_weights(few.run.last)
    assert (record.thresholds.max_detections, record.thresholds.evaluation_score) == (1, 0.0005)
    quick_eval: dict[str, Any] = {"weights": few.run.last, "data": data, "resamples": 0, "sheet_images": 0}
    scored = evaluate_verb(**quick_eval, output=tmp_path / "eval")
    assert len(scored.results) <= 3  # one a picture
    assert few.metrics["AP"] == scored.metrics.AP
    more = evaluate_verb(**quick_eval, output=tmp_path / "more", max_detections=50)
    assert len(more.results) > len(scored.results)


def test_a_box_of_one_class_is_what_training_and_evaluation_score_with(data: Path, tmp_path: Path) -> None:
    single = quick(data, tmp_path, epochs=1, multi_label=False, multi_scale=[[64, 64], [96, 96]], score_threshold=0)
    assert "multi-scale: 64, 96 pixels" in single.run.log.read_text()
    _, record = load_weights(single.run.last)
    assert not record.thresholds.multi_label
    quick_eval: dict[str, Any] = {"weights": single.run.last, "data": data, "resamples": 0, "sheet_images": 0}
    scored = evaluate_verb(**quick_eval, output=tmp_path / "eval")
    both = evaluate_verb(**quick_eval, output=tmp_path / "both", multi_label=True)
    assert single.metrics["AP"] == scored.metrics.AP
    assert 0 < len(scored.results) <= 3 * 60  # of each picture the boxes of (2 * 2 + 4 * 4) cells with 3 anchors
    assert len(scored.results) < len(both.results)


def test_the_checkpoint_scores_what_training_said(trained: TrainResult, data: Path) -> None:
    model, record = load_weights(trained.run.last)
    metrics, _ = evaluate(Detector(PyTorchRuntime(model, record)), open_data(data).split("val"))
    assert metrics.twelve() == {name: trained.metrics[name] for name in metrics.twelve()}


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("link", "link"),
        ("../straße/link/", "link"),
        ("table/data.yaml", "table"),
        (".", "straße"),
        ("table/..", "straße"),
    ],
)
def test_a_run_is_called_after_the_data_as_typed(tmp_path: Path, monkeypatch, typed: str, name: str) -> None:
    (tmp_path / "straße" / "table").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "straße")
    Path("link").symlink_to("table")
    assert settings_and_run({"data": typed})[0].name == name


def test_the_record_says_where_the_weights_come_from(trained: TrainResult, data: Path) -> None:
    _, record = load_weights(trained.run.path)
    assert record.class_names == open_data(data).class_names
    assert record.image_size == (64, 64)
    assert record.settings["width"] == 0.0625
    assert len(record.data_hash) == 64
    assert set(record.versions) == {"lookonce", "torch", "numpy"}


def test_the_same_seed_gives_the_same_bits_with_any_number_of_workers_and_another_seed_others(
    trained: TrainResult, data: Path, tmp_path: Path
) -> None:
    torch.manual_seed(123)  # the global generator is nobody's business
    again = quick(data, tmp_path, workers=3)
    other = quick(data, tmp_path, seed=1, epochs=1)
    assert sha256(again) == sha256(trained) != sha256(other)
    assert other.run.path.name == "table-2"


def test_the_export_is_tried_before_the_first_step_and_changes_no_bit(
    trained: TrainResult, data: Path, tmp_path: Path
) -> None:
    checked = quick(data, tmp_path, export_check="torchscript")
    log = checked.run.log.read_text()
    assert "torchscript" in log
    assert log.index("to torchscript") < log.index("epoch[0]")
    assert sha256(checked) == sha256(trained)


def test_a_network_that_does_not_export_is_not_trained(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lookonce.model.backbone.activate", lambda x, _: x + torch.rand(()))
    with raises(WeightsError, "too much"):
        quick(data, tmp_path / "runs", export_check="torchscript")
    assert not (tmp_path / "runs").exists()


def test_training_starts_from_other_weights(trained: TrainResult, data: Path, tmp_path: Path) -> None:
    result = quick(
        data, tmp_path, weights=str(trained.run.path), lr=1e-9, lr_floor=0, freeze_bn=True, epochs=1, ema_decay=0
    )
    ours, theirs = load_weights(result.run.last)[0].state_dict(), load_weights(trained.run.best)[0].state_dict()
    assert all(torch.allclose(ours[name].float(), theirs[name].float(), atol=1e-5) for name in ours)
    assert str(trained.run.path) in result.run.log.read_text()


def test_at_learning_rate_0_a_network_of_any_dialect_detects_what_its_weights_detect(
    data: Path, tmp_path: Path
) -> None:
    """Nothing here is a default: scale_x_y, epsilon, pool, masks, normalisation, stretched images, slim channels."""
    classes = open_data(data).split("train")
    dialect = DIALECTS["darknet"].model_copy(
        update={"center_scales": {32: 1.05, 16: 1.1}, "batchnorm_eps": 1e-4, "pool_edge": "zero", "activation": "silu"}
    )
    preprocessing = Preprocessing(resize="stretch", pad_value=7, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4))
    record = ModelRecord(
        dialect=dialect,
        channels=(4, 8, 4, 8, 4, 8, 4, 0, 0, 8, 4),
        class_names=classes.class_names,
        category_ids=classes.category_ids,
        anchors=((5, 5), (9, 9), (14, 14), (20, 20), (30, 30), (50, 50)),
        masks=((3, 4, 5), (1, 2, 3)),
        image_size=(64, 64),
        preprocessing=preprocessing,
    )
    model = model_from_record(record)
    initialise(model, torch.Generator().manual_seed(1), objectness_prior=0.5)
    save_checkpoint(tmp_path / "start", state=model.state_dict(), record=record)
    still = {"lr": 0, "lr_floor": 0, "freeze_bn": True, "epochs": 1, "width": None}
    run = quick(data, tmp_path / "runs", weights=tmp_path / "start", **still).run
    for number, weights in enumerate((run.last, tmp_path / "start")):
        quick_eval: dict[str, Any] = {"weights": weights, "data": data, "resamples": 0, "sheet_images": 0}
        assert len(evaluate_verb(**quick_eval, output=tmp_path / str(number)).results) > 0
    assert (tmp_path / "0" / "results.json").read_bytes() == (tmp_path / "1" / "results.json").read_bytes()
    kept = ("dialect", "channels", "anchors", "masks", "preprocessing")
    assert read_record(run.last).model_dump(include=set(kept)) == record.model_dump(include=set(kept))


def test_what_is_chosen_by_the_data_is_written_down_and_a_run_resumes_without_its_first_weights(
    trained: TrainResult, data: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained.run.last, tmp_path / "start")
    auto = {"epochs": 0, "ema_decay": "auto", "objectness_prior": "auto", "start_epoch": 0, "run": "r"}
    flags = {"weights": tmp_path / "start", "recipe": "finetune", "time": "10s", **auto}
    run = quick(data, tmp_path, **flags).run
    chosen = resolve({}, file=run.settings).settings
    assert chosen.epochs >= 1
    assert 0 <= chosen.ema_decay < 1
    assert 0 < chosen.objectness_prior < 1
    assert read_record(run.last).settings["epochs"] == chosen.epochs
    shutil.rmtree(tmp_path / "start")
    assert train(resume=str(run.path)).exit_code == 0
    assert train(**{"data": str(data), "runs": str(tmp_path), **flags, "epochs": 0}).exit_code == 0


def test_a_run_fitted_to_a_time_is_the_run_of_that_many_epochs(
    trained: TrainResult, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """1,000 seconds, of which 900 are planned with; an epoch of two steps is made to look as if it took 400."""
    monkeypatch.setattr("lookonce.workflows.choices.seconds_a_step", lambda *_: 200.0)
    monkeypatch.setattr("lookonce.workflows.choices.seconds_to_score", lambda *_: 0.0)
    fitted = quick(data, tmp_path, epochs=50, time="1000s")
    assert "0:16:40: 2 of 50 epochs fit" in fitted.run.log.read_text()
    assert resolve({}, file=fitted.run.settings).settings.epochs == 2  # what a resume goes by
    assert sha256(fitted) == sha256(trained)
    mosaic = {"mosaic": 1, "close_mosaic": 1, "eval_every": 0}
    assert sha256(quick(data, tmp_path, epochs=50, time="1000s", **mosaic)) == sha256(quick(data, tmp_path, **mosaic))


def test_the_time_of_a_step_and_of_an_evaluation_is_measured(data: Path, tmp_path: Path) -> None:
    result = quick(data, tmp_path, epochs=1, time="1h")
    told = re.search(
        r"1:00:00: 1 of 1 epochs fit \((\S+) s a step, (\S+) s an evaluation\)", result.run.log.read_text()
    )
    assert told is not None
    assert all(0 < float(seconds) < 30 for seconds in told.groups())


def test_a_profile_trains_nothing(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lookonce.training.profile.SKIPPED_STEPS", 0)
    monkeypatch.setattr("lookonce.training.profile.PROFILED_STEPS", 2)  # of 10: training/test_profile.py takes them all
    result = quick(data, tmp_path, profile=True)
    assert result.exit_code == 0
    assert "assignment and loss" in (result.run.path / "profile.txt").read_text()
    assert not result.run.has_checkpoint
    assert result.run.metrics() == []


def test_the_curves_are_drawn_while_it_runs(trained: TrainResult) -> None:
    assert trained.run.validation_sheet.stat().st_mtime > trained.run.first_batch.stat().st_mtime
    drawn = {path.name for path in trained.run.plots.glob("*.svg")}
    assert {"loss.svg", "precision.svg"} <= drawn


def test_the_model_zoos_recipe_trains(data: Path, tmp_path: Path) -> None:
    result = quick(data, tmp_path, recipe="modelzoo", epochs=1, max_epoch=None)
    assert result.metrics["loss"] > 0


def test_without_a_validation_split_there_is_a_last_checkpoint_only(data: Path, tmp_path: Path) -> None:
    result = quick(data, tmp_path, val_split="none", epochs=1)
    assert not result.run.best.exists()
    assert load_weights(result.run.path)[1].num_classes == 6
    assert "val_split none" in result.run.log.read_text()
    with raises(SettingsError, setting="val_split", value="holdout"):
        quick(data, tmp_path, val_split="holdout", epochs=1)


@pytest.fixture(scope="module")
def without_val(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undivided") / "scenes"
    shutil.copytree(data, folder, ignore=shutil.ignore_patterns("*val*"))
    return folder


def test_data_without_a_validation_split_are_divided_alike_in_every_command(
    without_val: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    result = quick(without_val, tmp_path / "runs", epochs=1, val_fraction=0.3, seed=3)
    held_out = (result.run.path / "val.txt").read_text().split()
    assert 1 <= len(held_out) <= 3
    assert "AP" in result.run.metrics()[-1]
    log = result.run.log.read_text()
    assert re.search(rf"train +{6 - len(held_out)} image", log)
    assert re.search(rf"val +{len(held_out)} image.*val_fraction 0.3, seed 3", log)

    elsewhere = shutil.copytree(result.run.last, tmp_path / "weights")  # knows its settings, not its run folder
    for weights in (result.run.path, elsewhere):
        source = with_val_of(open_data(without_val), weights)
        assert sorted(path.name for path in source.split("val").image_paths) == sorted(held_out)
    checked = check(without_val, val_fraction=0.3, seed=3, advice=False).result
    assert [sorted(path.name for path in one.image_paths) for one in checked.datasets if one.split == "val"] == [
        sorted(held_out)
    ]
    quick_eval: dict[str, Any] = {"data": without_val, "resamples": 0, "sheet_images": 0}
    scored = evaluate_verb(weights=result.run.path, output=tmp_path / "scores", **quick_eval)
    assert set(scored.results.image_ids.tolist()) <= set(source.split("val").image_ids.tolist())
    with caplog.at_level("INFO", logger="lookonce"):
        evaluate_verb(weights=result.run.path, split="train", output=tmp_path / "on-train", **quick_eval)
    assert f", also the {len(held_out)} that" in caplog.text

    record = load_weights(result.run.path)[1]
    assert canvases_of(record, None, 0, result.run.path)[1].endswith("split 'val'")
    calibration = calibration_set(record, None, result.run.path)
    assert calibration.labelled is not None
    assert sorted(path.name for path in calibration.labelled.image_paths) == sorted(held_out)
    assert len(calibration.canvases) == 6 - len(held_out)

    (result.run.path / "val.txt").write_text("\n".join(held_out[:1]))  # the run's list decides, not the rule
    with raises(DataError, path=result.run.path):
        train(resume=str(result.run.path))


def test_a_run_without_validation_is_not_scored_on_what_it_was_trained_on(without_val: Path, tmp_path: Path) -> None:
    run = quick(without_val, tmp_path, val_split="none", epochs=1).run
    assert with_val_of(open_data(without_val), run.path).splits == ("train",)
    with raises(DataError, setting="split", value="val"):
        evaluate_verb(weights=run.path, data=without_val)


@pytest.fixture
def damaged(data: Path, tmp_path: Path) -> tuple[Path, Path, Path]:
    """(data set, a truncated image of train, one of val)."""
    folder = shutil.copytree(data, tmp_path / "damaged")
    source = open_data(folder)
    train_image, val_image = (source.split(split).image_paths[1] for split in ("train", "val"))
    for path in (train_image, val_image):
        path.write_bytes(path.read_bytes()[:-60])
    return folder, train_image, val_image


def test_damaged_images_end_a_run_before_its_first_step_or_are_left_out(
    damaged: tuple[Path, Path, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data, train_image, val_image = damaged
    with raises(DataError, train_image.name, setting="on_bad_image"):
        quick(data, tmp_path / "runs", epochs=1)
    assert not (tmp_path / "runs").exists()
    result = quick(data, tmp_path / "runs", epochs=1, on_bad_image="skip")
    row = result.run.metrics()[-1]
    assert (row["bad_images"], "AP" in row) == (1, True)
    assert val_image.name in caplog.text
    assert "on_bad_image: skip" in result.run.settings.read_text()


def test_an_image_that_is_not_checked_first_ends_the_run_only_if_it_is_of_train(
    damaged: tuple[Path, Path, Path], data: Path, tmp_path: Path
) -> None:
    folder, train_image, _ = damaged
    with raises(DataError, path=train_image):
        quick(folder, tmp_path / "runs", epochs=1, check_images=False)
    shutil.copy(data / train_image.relative_to(folder), train_image)
    assert "AP" in quick(folder, tmp_path / "runs", epochs=1, check_images=False).run.metrics()[-1]


def test_the_loss_of_a_small_network_falls(data: Path, tmp_path: Path) -> None:
    plain = {
        "mosaic": 0,
        "flip": 0,
        "scale_min": 1,
        "scale_max": 1,
        "aspect_jitter": 0,
        "saturation": 1,
        "brightness": 1,
    }
    result = quick(data, tmp_path, width=0.125, epochs=20, batch_size=6, lr=0.1, eval_every=0, save_every=20, **plain)
    rows = result.run.metrics()
    assert rows[-1]["loss"] < 0.7 * rows[0]["loss"]


@pytest.mark.parametrize(
    ("flags", "error", "setting", "told"),
    [
        ({"data": ""}, SettingsError, "data", "--data"),
        ({"data": "nowhere"}, DataError, None, "nowhere: "),
        ({"train_split": "trian"}, DataError, "split", "'trian'"),
        ({"image_size": 100}, SettingsError, "image_size", "32"),
        ({"epohcs": 3}, SettingsError, "epohcs", " epochs?"),
        ({"precision": "fp16"}, SettingsError, "precision", "fp16"),
        ({"weights": "nowhere"}, WeightsError, None, "nowhere: "),
    ],
)
def test_wrong_input_is_named_and_leaves_no_run_folder(
    flags: dict[str, Any], error: type[Exception], setting: str | None, told: str, data: Path, tmp_path: Path
) -> None:
    with raises(error, told, setting=setting):
        quick(data, tmp_path / "runs", **flags)
    assert not (tmp_path / "runs").exists()


def test_a_runs_folder_that_cannot_be_made_is_named(data: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with raises(StorageError, path=tmp_path / "runs"):
        quick(data, tmp_path / "runs")


def test_a_batch_larger_than_the_data_set_trains(data: Path, tmp_path: Path) -> None:
    """Six pictures, batches of sixteen: the order goes on into further passes."""
    result = quick(data, tmp_path, batch_size=16, epochs=1)
    assert "1 batch of 16" in result.run.log.read_text()
    assert result.metrics["loss"] > 0


@pytest.mark.slow
def test_memory_stays_flat_over_epochs(data: Path, tmp_path: Path) -> None:
    """Once caches are full, sixty epochs take less than 3 MB; a batch kept of each would be 4.4."""
    result = quick(data, tmp_path, epochs=80, eval_every=0, save_every=80, batch_size=6)
    memory = [row["memory_mb"] for row in result.run.metrics()]
    assert 0 < memory[-2] < memory[19] + 3
