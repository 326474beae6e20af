"""Five mistakes that people make, each planted in a real training of a tiny network, each named by the diagnosis."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from raised import raises

from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.errors import DataError, SettingsError
from lookonce.evaluation.diagnosis import Diagnosis
from lookonce.settings.schema import Settings
from lookonce.training.run_folder import RunFolder
from lookonce.training.trainer import TrainResult
from lookonce.workflows.diagnose import ScoreMonitor, as_text, diagnose
from lookonce.workflows.evaluate import evaluate
from lookonce.workflows.train import open_splits, train
from lookonce.workflows.validation_split import data_of_run

SIDE = 96
COLORS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 80, 230)}
Box = list[float]
Change = Callable[[int, Box], tuple[int, Box]]
SETTINGS: dict[str, Any] = {
    "image_size": SIDE,
    "width": 0.125,
    "epochs": 24,
    "batch_size": 8,
    "optimizer": "adamw",
    "lr": 0.005,
    "ema_decay": 0.9,
    "eval_every": 4,
    "save_every": 100,
    "log_interval": 1000,
    "device": "cpu",
    "mosaic": 0,
    "hue": 0,
    "saturation": 1,
}


def as_it_is(category: int, bbox: Box) -> tuple[int, Box]:
    return category, bbox


def write_squares(folder: Path, *, train: Change = as_it_is, val: Change = as_it_is) -> Path:
    """COCO: 48 and 16 grey pictures with one to three coloured squares of 18 to 40 pixels; `train` and `val` change
    how their boxes [left, top, width, height] and category ids (1, 2, 3) are written down."""
    for split, count, change in (("train", 48, train), ("val", 16, val)):
        rng = np.random.default_rng([count])
        images, annotations = [], []
        (folder / split).mkdir(parents=True)
        for number in range(1, count + 1):
            image = rng.integers(90, 120, (SIDE, SIDE, 3)).astype(np.uint8)
            for _ in range(int(rng.integers(1, 4))):
                category, side = int(rng.integers(3)), int(rng.integers(18, 41))
                left, top = (int(place) for place in rng.integers(0, SIDE - side, 2))
                image[top : top + side, left : left + side] = list(COLORS.values())[category]
                written, bbox = change(category + 1, [left, top, side, side])
                annotations.append(
                    {"id": len(annotations) + 1, "image_id": number, "category_id": written, "bbox": bbox}
                )
            cv2.imwrite(str(folder / split / f"{number}.png"), image[..., ::-1])
            images.append({"id": number, "file_name": f"{number}.png", "width": SIDE, "height": SIDE})
        categories = [{"id": number, "name": name} for number, name in enumerate(COLORS, start=1)]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return folder


def trained(data: Path, **changes: Any) -> TrainResult:
    return train(data=str(data), runs=str(data.parent / "runs"), **{**SETTINGS, **changes})


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def named(data: Path, **changes: Any) -> tuple[str, str, Diagnosis]:
    """Trains, and gives the cause that the diagnosis names, its evidence, and the whole of it."""
    run = trained(data, **changes).run
    diagnosis = diagnose(run.path).diagnosis
    assert diagnosis.cause is not None
    assert json.loads((run.path / "diagnosis" / "diagnosis.json").read_text())["cause"] == diagnosis.cause.name
    assert (run.path / "diagnosis" / "overlay.jpg").stat().st_size > 1000
    return diagnosis.cause.name, diagnosis.cause.evidence, diagnosis


def test_weights_that_never_learned_are_suspected_and_every_check_is_told(tmp_path: Path) -> None:
    data = write_squares(tmp_path / "data")
    result = trained(data, epochs=1, eval_every=0)
    diagnosed = diagnose(result.run.last, data=data, num_images=6, output=tmp_path / "out")
    text = list(as_text(diagnosed))
    for number, check in enumerate(diagnosed.diagnosis.checks, start=1):
        assert any(line.startswith(f"{number}. {check.name}: ") for line in text)
    names = [check.name for check in diagnosed.diagnosis.checks]
    words = ("mapping", "class", "labels", "overlay", "anchors", "learning rate", "training", "score")
    assert all(word in name for word, name in zip(words, names, strict=True)), names
    assert diagnosed.diagnosis.checks[6].evidence.startswith("AP50 0.0")
    assert "no run folder" in diagnosed.diagnosis.checks[5].evidence
    assert diagnosed.exit_code == 0


def test_a_run_that_has_no_weights_is_diagnosed_from_its_settings_and_log(tmp_path: Path) -> None:
    data = write_squares(tmp_path / "data")
    run = tmp_path / "run"
    run.mkdir()
    settings = {**SETTINGS, "data": str(data), "optimizer": "sgd", "lr": 0.01}
    (run / "settings.yaml").write_text(yaml.safe_dump(Settings(**settings).model_dump(mode="json")))
    assert diagnose(run).diagnosis.cause is None
    (run / "log.txt").write_text("epoch 0, batch 3: the loss is not finite (loss nan: box nan, ...)")
    diagnosed = diagnose(run)
    assert diagnosed.exit_code == 1
    assert "lr 0.01 with sgd" in list(as_text(diagnosed))[11]


def test_what_the_reader_refuses_is_the_cause(tmp_path: Path) -> None:
    data = write_squares(tmp_path / "data", train=lambda category, bbox: (category - 1, bbox))
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(Settings(data=str(data)).model_dump(mode="json")))
    cause = diagnose(tmp_path).diagnosis.cause
    assert cause is not None
    assert (cause.name, "category_id 0" in cause.evidence) == ("reading the annotations", True)


def test_weights_without_a_run_need_data(tmp_path: Path) -> None:
    result = trained(write_squares(tmp_path / "data"), epochs=1, eval_every=0)
    with raises(SettingsError, "--data", setting="data", path=result.run.last):
        diagnose(result.run.last)
    with raises(SettingsError, setting="num_images", value=0):
        diagnose(result.run.path, num_images=0)


@pytest.mark.parametrize(
    ("scores", "epochs", "told"),
    [
        ([0.0, 0.001, 0.0], 15, "0.01"),
        ([0.0, 0.001], 15, ""),  # may be a slow start
        ([0.0, 0.02, 0.0], 15, ""),
        ([0.0] * 9, 100, ""),
        ([0.0] * 10, 100, "0.01"),
        ([0.3, 0.6, 0.19, 0.19], 20, "third"),
        ([0.3, 0.6, 0.19, 0.21], 20, ""),
        ([0.3, 0.3, 0.6, 0.19], 20, ""),  # one low score
        ([0.3, 0.6, 0.19, 0.19], 100, ""),  # may be a slow start
        ([-1.0, -1.0, -1.0], 15, ""),  # nothing to be found
        ([], 15, ""),
    ],
)
def test_training_asks_why_when_the_score_stays_at_nothing_or_falls(
    scores: list[float], epochs: int, told: str, tmp_path: Path
) -> None:
    watch = ScoreMonitor({"epochs": epochs}, lambda: pytest.fail("nothing was to be looked at"), tmp_path)
    symptom = watch.symptom([{"AP50": score, "loss": 1.0} for score in scores])
    assert told in symptom
    assert bool(symptom) == bool(told)


def test_a_few_objects_are_too_few_to_judge(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="lookonce")
    data = write_synthetic(tmp_path / "data", train=2, val=1, options=SceneOptions(sides=(64, 96)))
    settings = {"epochs": 3, "images": None, "data": str(data), "val_split": "val", "train_split": "train"}
    watch = ScoreMonitor(settings, lambda: pytest.fail("nothing was to be looked at"), tmp_path)
    watch([{"AP50": 0.0}] * 3)
    assert [record.levelname for record in caplog.records if record.name == "lookonce"][-2:] == ["WARNING", "INFO"]


def test_a_diagnosis_that_fails_leaves_the_run_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = {"epochs": 3, "images": None, "data": str(tmp_path / "gone")}
    watch = ScoreMonitor(settings, lambda: pytest.fail("there is no data to look at"), tmp_path)
    for _ in range(2):  # it asks once
        watch([{"AP50": 0.0}] * 3)
    asked, failed = [record.message for record in caplog.records]
    assert re.match(r"AP50 .*0\.01 \(epoch 3\)", asked)
    assert str(tmp_path / "gone") in failed


@pytest.mark.slow
def test_a_sound_training_has_no_cause(tmp_path: Path) -> None:
    result = trained(write_squares(tmp_path / "data"))
    diagnosis = diagnose(result.run.path).diagnosis
    assert diagnosis.AP50 > 0.5
    assert diagnosis.cause is None
    assert {check.verdict for check in diagnosis.checks} <= {"fine", "look", "suspect"}
    assert "lookonce diagnose" not in result.run.log.read_text()


@pytest.mark.slow
def test_shifted_category_ids_are_named(tmp_path: Path) -> None:
    shifted = write_squares(tmp_path / "data", val=lambda category, bbox: (category % 3 + 1, bbox))
    name, evidence, _ = named(shifted)
    assert "mapping" in name
    assert "'val'" in evidence
    assert "'red' as 'blue', 'green' as 'red', 'blue' as 'green'" in evidence


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "read_as"),
    [
        # A VOC reader gets xmin, ymin, width, height: the corners become (x, y, w, h).
        (lambda c, b: (c, [b[0], b[1], b[2] - b[0], b[3] - b[1]]), "xywh.*xyxy"),
        (lambda c, b: (c, [b[0], b[1], b[0] + b[2], b[1] + b[3]]), "xyxy.*xywh"),
        (lambda c, b: (c, [value / SIDE for value in b]), "fractions.*0 to 1.*pixels"),
    ],
    ids=["xywh", "xyxy", "normalised"],
)
def test_boxes_in_another_convention_are_named(change: Change, read_as: str, tmp_path: Path) -> None:
    name, evidence, _ = named(write_squares(tmp_path / "data", train=change, val=change), epochs=4)
    assert "labels" in name
    assert re.search(read_as, evidence)


@pytest.mark.slow
def test_wrong_anchors_are_named(tmp_path: Path) -> None:
    anchors = [[300, 310], [320, 330], [340, 350], [360, 370], [380, 390], [400, 410]]
    name, evidence, diagnosis = named(write_squares(tmp_path / "data"), anchors=anchors, epochs=4)
    assert "anchors" in name
    assert re.match(r"0 % .*300x310", evidence)
    assert diagnosis.cause is not None
    assert "anchors=auto" in diagnosis.cause.advice


@pytest.mark.slow
def test_a_learning_rate_a_hundred_times_too_high_is_named_during_training_and_after(tmp_path: Path) -> None:
    data = write_squares(tmp_path / "data")
    result = trained(data, lr=SETTINGS["lr"] * 100, schedule="constant", epochs=6, eval_every=3)
    diagnosis = diagnose(result.run.path).diagnosis
    assert diagnosis.AP50 < 0.1
    assert diagnosis.cause is not None
    assert "learning rate" in diagnosis.cause.name
    assert re.search(r"lr 0\.5 with adamw .*3e-05 to 0\.008.* high", diagnosis.cause.evidence)
    assert "lr=0.0005" in diagnosis.cause.advice
    log = result.run.log.read_text()
    assert len(re.findall(r"AP50 .*0\.01 \(epoch 3\)", log)) == 1
    assert diagnosis.cause.name in log


def test_data_that_were_moved_after_training_name_the_run_and_its_settings(tmp_path: Path) -> None:
    run, data = tmp_path / "run", str(tmp_path / "gone")
    (run / "checkpoints").mkdir(parents=True)
    (run / "settings.yaml").write_text(f"data: {data}\n")
    for read in (
        lambda: data_of_run({"data": data}, run),
        lambda: diagnose(run),
        lambda: evaluate(weights=run / "checkpoints"),
        lambda: open_splits(Settings(data=data), RunFolder(run)),
    ):
        with raises(DataError, str(run / "settings.yaml"), path="gone"):
            read()
