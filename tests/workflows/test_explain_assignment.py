from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.support.raised import raises

from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.errors import SettingsError
from lookonce.workflows.explain_assignment import as_text, explain_assignment
from lookonce.workflows.train import train

TINY = {"width": 0.0625, "image_size": 64}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    options = SceneOptions(sides=(64, 96), smallest=16, max_things=3)
    return str(write_synthetic(tmp_path_factory.mktemp("scenes") / "tisch ä", train=5, val=1, options=options))


def test_every_box_is_learnt_by_its_best_anchor(data: str, tmp_path: Path) -> None:
    found = explain_assignment(
        data, sheet_images=2, output=tmp_path / "bögen" / "sheet.png", assignment="best_anchors", assign_iou=1, **TINY
    )
    assert (found.num_images, found.num_unanswered) == (2, 0)
    # One prediction a box, unless two boxes want the same one.
    assert 1 <= sum(anchor.predictions for anchor in found.anchors) <= found.num_boxes
    assert len(found.anchors) == 6
    image = cv2.imdecode(np.frombuffer(found.sheet.read_bytes(), "uint8"), cv2.IMREAD_COLOR)
    assert image.shape[0] >= 480
    assert [line.split()[0] for line in as_text(found)][2:8] == ["16"] * 3 + ["32"] * 3


def test_weights_bring_their_own_anchors_and_settings(data: str, tmp_path: Path) -> None:
    anchors = [[4, 4], [8, 8], [12, 12], [20, 20], [30, 30], [50, 50]]
    run = train(
        data=data, runs=tmp_path, epochs=1, batch_size=2, eval_every=0, anchors=anchors, assignment="neighbours", **TINY
    ).run
    found = explain_assignment(data, weights=run.path, output=tmp_path / "a.png")
    assert found.assignment == "neighbours"
    assert [anchor.anchor_wh for anchor in found.anchors] == [(side, side) for side, _ in anchors]
    other = explain_assignment(data, weights=run.path, output=tmp_path / "a.png", assignment="best_anchors")
    assert other.assignment == "best_anchors"
    assert [path.name for path in (found.sheet, other.sheet)] == ["a.png", "a-2.png"]


def test_no_image_is_too_few(data: str) -> None:
    with raises(SettingsError, setting="sheet_images", value=0):
        explain_assignment(data, sheet_images=0)


def test_real_images(shared: Callable[[str], Path], tmp_path: Path) -> None:
    found = explain_assignment(
        str(shared("data/bccd")), sheet_images=2, output=tmp_path / "b.png", assignment="best_anchors", width=0.0625
    )
    assert found.num_boxes > 10
    assert found.num_unanswered == 0
