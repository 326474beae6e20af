"""`lookonce eval`: what it writes, prints and refuses; scoring a results file needs no weights."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from lookonce.errors import DataError, SettingsError
from lookonce.workflows.evaluate import evaluate


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


def test_scores_a_foreign_results_file(
    coco: Path, foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluation = evaluate(
        data=coco, images=tmp_path, results=foreign, output=tmp_path / "out", resamples=20, against=foreign
    )
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written["AP50"] == evaluation.metrics.AP50 == pytest.approx(0.5)
    assert written["per_class"]["cup"]["num_objects"] == 1
    assert written["intervals"]["AP"]["value"] == pytest.approx(0.5)
    assert written["against"]["AP"]["p_value"] == 1
    assert json.loads((tmp_path / "out" / "results.json").read_text()) == json.loads(foreign.read_text())
    assert written["errors"]["missed"] == {"count": 1, "AP50": pytest.approx(0.5)}
    analysis = json.loads((tmp_path / "out" / "analysis.json").read_text())
    assert analysis["confusion"]["counts"] == [[0, 0, 1], [0, 1, 0], [0, 0, 0]]  # pen (id 3), cup (7)
    printed = capsys.readouterr().out
    assert printed.startswith(
        " Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.500\n"
        " Average Precision  (AP) @[ IoU=0.50      | area=   all | maxDets=100 ] = 0.500\n"
    )
    assert "[pen]" in printed


def test_a_folder_that_was_not_named_is_never_the_same_twice(
    coco: Path, foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    outputs = [evaluate(data=coco, images=tmp_path, results=foreign, resamples=0).output for _ in range(2)]
    assert outputs == [Path("runs/eval-1"), Path("runs/eval-2")]


def test_scoring_what_lies_in_the_output_folder_leaves_it_as_it_is(coco: Path, tmp_path: Path) -> None:
    ours = tmp_path / "results.json"
    ours.write_text('[{"image_id": 1, "category_id": 7, "bbox": [10, 10, 50, 50], "score": 0.5, "by": "them"}]')
    evaluate(data=coco, images=tmp_path, results=ours, output=tmp_path, resamples=0)
    assert '"by"' in ours.read_text()


def test_weights_and_results_are_one_or_the_other(coco: Path, foreign: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="neither was given"):
        evaluate(data=coco, images=tmp_path)
    with pytest.raises(SettingsError, match="both were given"):
        evaluate(data=coco, images=tmp_path, results=foreign, weights=tmp_path)
    with pytest.raises(SettingsError, match="resamples is 0, expected at least 1"):
        evaluate(data=coco, images=tmp_path, results=foreign, against=foreign, resamples=0)


def test_a_bad_row_is_named(coco: Path, foreign: Path, tmp_path: Path) -> None:
    foreign.write_text('[{"image_id": 8, "category_id": 7, "bbox": [10, 10, 50, 50], "score": 0.5}]')
    with pytest.raises(DataError, match=r"theirs\.json row 0: image_id is 8"):
        evaluate(data=coco, images=tmp_path, results=foreign)
