"""`lookonce eval`: what it writes, prints and refuses; scoring a results file needs no weights."""

import contextlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from raised import raises

import lookonce
from lookonce.data.source import open_data
from lookonce.errors import DataError, SettingsError
from lookonce.evaluation.analysis import analyse
from lookonce.evaluation.matching import match
from lookonce.evaluation.results import read_coco_results
from lookonce.model.yolov3_tiny import YoloV3Tiny, initialise
from lookonce.remote.objects import Location, ObjectStore
from lookonce.runtimes.detector import Detector
from lookonce.runtimes.registry import load_runtime
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord, Thresholds
from lookonce.weights.checkpoint import load_checkpoint, read_record, save_checkpoint
from lookonce.workflows.evaluate import as_text, assess, evaluate
from lookonce.workflows.stored_thresholds import store_thresholds


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Three pictures, two objects; category ids that do not begin at 1."""
    for number in (1, 2, 3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((200, 300, 3), np.uint8))
    annotations = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 300, "height": 200} for n in (1, 2, 3)],
        "categories": [{"id": 7, "name": "cup"}, {"id": 3, "name": "[pen]"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 7, "bbox": [10, 10, 50, 50], "area": 2500, "iscrowd": 0},
            {"id": 2, "image_id": 3, "category_id": 3, "bbox": [100, 20, 150, 40], "area": 6000, "iscrowd": 0},
        ],
    }
    path = tmp_path / "instances_val.json"
    path.write_text(json.dumps(annotations))
    return path


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """Finds the cup, not the pen."""
    path = tmp_path / "theirs.json"
    path.write_text('[{"image_id": 1, "category_id": 7, "bbox": [10, 10, 50, 50], "score": 0.5}]')
    return path


def test_scores_a_foreign_results_file(coco: Path, foreign: Path, tmp_path: Path) -> None:
    evaluation = evaluate(
        data=coco, images=tmp_path, results=foreign, output=tmp_path / "out", resamples=20, against=foreign
    )
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written["AP50"] == evaluation.metrics.AP50 == pytest.approx(0.5)
    assert written["per_class"]["cup"]["num_objects"] == 1
    assert written["intervals"]["AP"]["value"] == pytest.approx(0.5)
    assert written["against"]["AP"]["p_value"] == 1
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == json.loads(foreign.read_text())
    assert written["errors"]["undetected"] == {"count": 1, "AP50": pytest.approx(0.5)}
    analysis = json.loads((tmp_path / "out" / "analysis.json").read_text())
    assert analysis["confusion"]["counts"] == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]  # pen (id 3), cup (7)
    printed = "\n".join(as_text(evaluation))
    assert printed.startswith(
        " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.500\n"
        " Average Precision  (AP) @[ IoU=0.50      | area=   all | maxDets=100 ] = 0.500\n"
    )
    assert "[pen]" in printed
    assert "; -: none" in printed  # pen is not detected


def test_scoring_a_results_file_needs_no_images(coco: Path, foreign: Path, tmp_path: Path) -> None:
    for image in tmp_path.glob("*.png"):
        image.unlink()
    evaluation = evaluate(data=coco, results=foreign, output=tmp_path / "out", resamples=0)
    assert pytest.approx(0.5) == evaluation.metrics.AP50
    assert not list((tmp_path / "out").glob("*.jpg"))


def test_sheets_show_the_worst_images_and_a_choice_of_all(coco: Path, foreign: Path, tmp_path: Path) -> None:
    evaluation = evaluate(data=coco, images=tmp_path, results=foreign, output=tmp_path / "out", resamples=0)
    assert evaluation.files[-2:] == ("worst.jpg", "images.jpg")
    worst, every = (cv2.imread(str(tmp_path / "out" / name)) for name in ("worst.jpg", "images.jpg"))
    # One picture has an error (its pen is missed): one row; three pictures are two rows.
    assert every.shape[0] - 8 == 2 * (worst.shape[0] - 8)
    red = (worst[..., 2] > 200) & (worst[..., :2] < 60).all(axis=-1)
    assert red.sum() > 500  # the frame around the missed pen
    assert analysis_of(tmp_path / "out")["worst_images"] == [{"image_id": 3, "file": "3.png", "missed": 1, "wrong": 0}]


def analysis_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "analysis.json").read_text())
    return content


def test_other_overlaps_are_scored_beside_the_twelve(coco: Path, foreign: Path, tmp_path: Path) -> None:
    foreign.write_text('[{"image_id": 1, "category_id": 7, "bbox": [10, 10, 50, 20], "score": 0.5}]')  # IoU 0.4
    evaluation = evaluate(data=coco, results=foreign, output=tmp_path / "out", resamples=0, iou=(0.3, 0.45))
    low, high = json.loads((tmp_path / "out" / "metrics.json").read_text())["at_iou"]
    assert (low["iou"], high["iou"]) == (0.3, 0.45)
    assert (low["AP"], high["AP"]) == (pytest.approx(0.5), 0)
    assert low["per_class"]["cup"] == {"AP": pytest.approx(1), "AR": 1}
    assert "IoU 0.3, area = all, maxDets = 100: 0.500, 0.500" in "\n".join(as_text(evaluation))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """An untrained network that knows the cup, and a fork that the data does not have."""
    record = ModelRecord(
        dialect=DIALECTS["darknet"],
        channels=(4, 4, 4, 4, 4, 4, 8, 4, 4, 4, 4),
        class_names=("fork", "cup"),
        category_ids=(1, 2),
        image_size=(64, 64),
    )
    model = YoloV3Tiny(2, channels=record.channels)
    initialise(model, torch.Generator().manual_seed(0))
    save_checkpoint(tmp_path / "run" / "checkpoints" / "best", state=model.state_dict(), record=record)
    return tmp_path / "run"


def test_the_best_thresholds_are_stored_in_the_checkpoint_on_request(
    coco: Path, foreign: Path, weights: Path, tmp_path: Path
) -> None:
    best = weights / "checkpoints" / "best"
    evaluate(weights=weights, data=coco, images=tmp_path, output=tmp_path / "out", resamples=0, sheet_images=0)
    assert read_record(best).thresholds.per_class_score == {}
    dataset = open_data(coco, tmp_path).split("val")
    found = read_coco_results(foreign, dataset)  # the cup at 0.5: 0.00 .. 0.50 find it, 0.25 is the middle
    analysis = analyse(dataset, found, match(dataset, found))
    assert store_thresholds(best, dataset, analysis) == {"cup": 0.25}
    assert Detector(load_runtime(weights)).record.thresholds.per_class_score == {"cup": 0.25}
    assert load_checkpoint(best).record.thresholds.score == 0.25


def test_a_detector_whose_detections_are_nearly_all_wrong_is_named(coco: Path, foreign: Path, tmp_path: Path) -> None:
    foreign.write_text(foreign.read_text().replace("[10, 10", "[90, 90"))
    dataset = open_data(coco, tmp_path).split("val")
    found = read_coco_results(foreign, dataset)
    for score, is_said in ((0.25, True), (0.6, False)):  # the detection's is 0.5
        thresholds = Thresholds(score=score)
        evaluation = assess(dataset, found, tmp_path / "out", {}, resamples=0, thresholds=thresholds)
        assert any("1 of 1 detection" in line for line in as_text(evaluation)) is is_said


def test_images_in_object_storage_give_the_same_files_and_stay_there(
    coco: Path, weights: Path, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for path in (coco, *tmp_path.glob("*.png")):
        ObjectStore().upload(path, Location.parse("s3://bucket/set") / path.name)
    written = []
    for data, images in ((coco, tmp_path), (Path("s3://bucket/set/instances_val.json"), Path("s3://bucket/set"))):
        output = tmp_path / f"out {len(written)}"
        evaluate(weights=weights, data=data, images=images, output=output, resamples=0)
        metrics = json.loads((output / "metrics.json").read_text())
        del metrics["evaluated"]["data"]
        files = ("analysis.json", "results.json", "worst.jpg", "images.jpg")
        written.append([metrics, *((output / name).read_bytes() for name in files)])
    assert written[0] == written[1]
    assert not list((tmp_path / "here").rglob("*.png"))


def test_thresholds_are_stored_where_there_is_a_checkpoint(coco: Path, foreign: Path, tmp_path: Path) -> None:
    with raises(SettingsError, "--weights", setting="store_thresholds"):
        evaluate(data=coco, results=foreign, store_thresholds=True)
    with raises(SettingsError, setting="score_threshold", value=0.5):
        evaluate(data=coco, weights=tmp_path, store_thresholds=True, score_threshold=0.5)
    exported = tmp_path / "detector.onnx"
    exported.write_bytes(b"a graph")
    with raises(SettingsError, setting="store_thresholds", path=exported):
        evaluate(data=coco, images=tmp_path, weights=exported, store_thresholds=True)


def test_the_batch_size_is_checked_before_data_and_weights():
    with raises(SettingsError, setting="batch_size", value=0):
        evaluate(data="none", weights="none", batch_size=0)


def test_without_data_that_of_the_run_is_scored(
    coco: Path, weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options: dict[str, Any] = {"resamples": 0, "sheet_images": 0}
    with raises(SettingsError, setting="data"):
        evaluate(weights=weights, **options)
    (weights / "settings.yaml").write_text(f"data: {coco}\nimages: {tmp_path}\n")
    asked = evaluate(weights=weights, data=coco, images=tmp_path, **options, output=tmp_path / "asked")
    for number, inside in enumerate((weights, weights / "checkpoints" / "best")):
        caplog.clear()
        with caplog.at_level("INFO", logger="lookonce"):
            own = evaluate(weights=inside, **options, output=tmp_path / str(number))
        assert own.metrics == asked.metrics
        assert str(coco) in caplog.messages[0]
    assert lookonce.load(weights).evaluate(**options, output=tmp_path / "python").metrics == asked.metrics


def test_storing_thresholds_is_offered_for_checkpoints_alone(
    coco: Path, foreign: Path, weights: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"data": coco, "images": tmp_path, "resamples": 0, "sheet_images": 0}
    for detector, is_offered in (({"weights": weights}, True), ({"results": foreign}, False)):
        evaluation = evaluate(**detector, **options, output=tmp_path / f"out {is_offered}")
        assert ("--store-thresholds" in "\n".join(as_text(evaluation))) is is_offered


def test_the_only_split_is_scored_where_results_have_no_val(coco: Path, foreign: Path, tmp_path: Path) -> None:
    alone = coco.rename(coco.with_name("instances_train.json"))
    options: dict[str, Any] = {"results": foreign, "resamples": 0, "sheet_images": 0}
    scored = evaluate(data=alone, **options, output=tmp_path / "out")
    assert evaluate(data=alone, split="train", **options, output=tmp_path / "same").metrics == scored.metrics


def test_a_folder_that_was_not_named_is_never_the_same_twice(
    coco: Path, foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outputs = [evaluate(data=coco, images=tmp_path, results=foreign, resamples=0).output for _ in range(2)]
    assert outputs == [Path("runs/eval-1"), Path("runs/eval-2")]


def test_an_interruption_leaves_no_empty_folder(
    coco: Path, foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lookonce.workflows.evaluate.bootstrap", interrupted)
    with pytest.raises(KeyboardInterrupt):
        evaluate(data=coco, images=tmp_path, results=foreign)
    assert not Path("runs").exists()


def test_scoring_what_lies_in_the_output_folder_leaves_it_as_it_is(coco: Path, tmp_path: Path) -> None:
    ours = tmp_path / "results.json"
    ours.write_text('[{"image_id": 1, "category_id": 7, "bbox": [10, 10, 50, 50], "score": 0.5, "by": "them"}]')
    evaluate(data=coco, images=tmp_path, results=ours, output=tmp_path, resamples=0)
    assert '"by"' in ours.read_text()


def test_weights_and_results_are_one_or_the_other(coco: Path, foreign: Path, tmp_path: Path) -> None:
    with raises(SettingsError, "neither", setting="weights, results"):
        evaluate(data=coco, images=tmp_path)
    with raises(SettingsError, "both", setting="weights, results"):
        evaluate(data=coco, images=tmp_path, results=foreign, weights=tmp_path)
    with raises(SettingsError, setting="iou", value=1.5):
        evaluate(data=coco, images=tmp_path, results=foreign, iou=(0.5, 1.5))
    with raises(SettingsError, setting="resamples", value=0):
        evaluate(data=coco, images=tmp_path, results=foreign, against=foreign, resamples=0)


def test_a_real_data_set_scores_as_pycocotools_does(shared: Callable[[str], Path], tmp_path: Path) -> None:
    annotations = shared("data/bccd/annotations/instances_test.json")
    truth = json.loads(annotations.read_text())
    rng = np.random.default_rng(0)
    found = [
        {
            "image_id": item["image_id"],
            "category_id": int(rng.choice([item["category_id"], 1], p=[0.9, 0.1])),
            "bbox": np.round(np.array(item["bbox"]) * rng.uniform(0.85, 1.15, 4), 2).tolist(),
            "score": round(float(rng.random()), 2),
        }
        for item in truth["annotations"]
        for _ in range(3)
    ]
    (tmp_path / "found.json").write_text(json.dumps(found))
    metrics = evaluate(
        data=annotations, results=tmp_path / "found.json", split="test", output=tmp_path / "out", resamples=0
    ).metrics
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(annotations))
        oracle = COCOeval(coco, coco.loadRes(str(tmp_path / "found.json")), "bbox")
        oracle.evaluate()
        oracle.accumulate()
        oracle.summarize()
    assert list(metrics.twelve().values()) == oracle.stats.tolist()


def test_a_bad_row_is_named(coco: Path, foreign: Path, tmp_path: Path) -> None:
    foreign.write_text('[{"image_id": 8, "category_id": 7, "bbox": [10, 10, 50, 50], "score": 0.5}]')
    with raises(DataError, "row 0", "image_id is 8", path="theirs.json"):
        evaluate(data=coco, images=tmp_path, results=foreign)
