"""What `export --for` writes, run by the clients' own code in its environment (`./run clients -c 1` makes it)."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

import lookonce
from lookonce.prediction.result import PredictedImage

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-clients" / "bin" / "python"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="no clients here: `./run clients -c 1` makes their environment"),
]
# Options of our own prediction by which it selects as the client does.
SELECTION = {"triton": {}, "opencv4": {}, "cvat": {"threshold": 0.3}, "label-studio": {}, "oak": {"multi_label": False}}


@pytest.fixture(scope="module")
def weights(shared: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real network of 60 classes at 320 pixels; letterboxed, which its makers did not, as most others are."""
    folder, path = shared("data/aix2022"), tmp_path_factory.mktemp("weights") / "aix2022"
    files = (folder / f"yolov3-tiny-aix2022{suffix}" for suffix in (".cfg", ".weights"))
    lookonce.convert(*files, names=folder / "yolohw.names", resize="letterbox", output=path)
    return path


@pytest.fixture(scope="module")
def photograph(shared: Callable[[str], Path]) -> Path:
    return min(shared("data/aix2022/pictures").glob("*.jpg"))


@pytest.fixture(scope="module")
def network_input(photograph: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photograph at the size of the network input, for clients that do not resize."""
    path = tmp_path_factory.mktemp("input") / "input.png"
    cv2.imwrite(str(path), cv2.resize(cv2.imread(str(photograph)), (320, 320)))
    return path


def detections_of(client: str, weights: Path, image: Path, folder: Path) -> list[list[object]]:
    """[class, score, left, top, right, bottom] of each, by the client's code from the files of its folder."""
    lookonce.export(weights, for_=client, output=folder)
    command = [PYTHON, ROOT / "tests" / "support" / "client_programs.py", client, folder, image]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found: list[list[object]] = json.loads(done.stdout.splitlines()[-1])  # DepthAI logs before it
    return found


def ours(weights: Path, image: Path, **options: object) -> PredictedImage:
    return lookonce.load(weights).predict(image, **options)[0]


@pytest.mark.parametrize("client", SELECTION)
def test_a_client_finds_what_lookonce_finds(
    client: str, weights: Path, photograph: Path, network_input: Path, tmp_path: Path
) -> None:
    """Measured: boxes within 0.001 pixel, DepthAI's, which rounds values to 16 bits, within 0.02."""
    image = network_input if client in {"triton", "oak"} else photograph
    wanted, given = ours(weights, image, **SELECTION[client]), image
    if client == "label-studio":
        done = lookonce.predict(str(image), weights=weights, output=tmp_path, as_labels=client, save="json")
        given = done.pre_labels / "tasks_train.json"
    found = detections_of(client, weights, given, tmp_path / client)
    assert len(wanted) > 5
    assert [row[0] for row in found] == wanted.names
    np.testing.assert_allclose([row[2:] for row in found], wanted.boxes_xyxy, atol=0.05)
    if client != "cvat":  # its rectangles have no score
        np.testing.assert_allclose([row[1] for row in found], wanted.scores, atol=1e-3)


@pytest.mark.skipif("FRIGATE_SOURCE" not in os.environ, reason="no source of Frigate: set FRIGATE_SOURCE to its folder")
def test_frigate_finds_boxes_of_lookonce(weights: Path, network_input: Path, tmp_path: Path) -> None:
    """Frigate's non-maximum suppression takes corners for sizes, so it keeps fewer; each is one of ours."""
    found = detections_of("frigate", weights, network_input, tmp_path / "frigate")
    wanted = ours(weights, network_input, threshold=0.4, iou_threshold=1.0, multi_label=False)
    assert found
    assert found[0][0] == wanted.names[0]
    for name, score, *box in found:
        (row,) = np.flatnonzero(np.abs(wanted.scores - score) < 1e-6)
        assert wanted.names[row] == name
        np.testing.assert_allclose(np.clip(box, 0, 320), wanted.boxes_xyxy[row], atol=0.01)
