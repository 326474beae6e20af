"""The code of docs/extending.md runs as written, and what it adds works."""

import json
import re
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest
import torch
from untrained import save_untrained

from lookonce.cli.main import run
from lookonce.cli.verbs import VERBS
from lookonce.data import layouts, source
from lookonce.exporters import formats
from lookonce.exporters.plan import ExportPlan
from lookonce.model.assign import HeadPrediction, Targets
from lookonce.weights.load import load_weights
from lookonce.workflows import build

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"```python\n# (\S+)\.py\n(.*?)```", re.DOTALL)
ADDED = ((layouts.KINDS, "json-lines"), (formats.FORMATS, "npz"), (VERBS, "count"), (build.ASSIGNERS, "inside_box"))


@pytest.fixture(autouse=True)
def extended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs every block in the module that its first line names, new or existing; afterwards all is as before."""
    for table, name in ADDED:
        monkeypatch.setitem(table, name, None)
    for path, code in BLOCK.findall((ROOT / "docs" / "extending.md").read_text(encoding="utf-8")):
        name = path.removeprefix("src/").replace("/", ".")
        if (ROOT / f"{path}.py").is_file():
            exec(code, dict(vars(import_module(name))))
        else:
            monkeypatch.setitem(sys.modules, name, ModuleType(name))
            exec(compile(code, path, "exec"), vars(sys.modules[name]))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    cv2.imwrite(str(folder / "a.png"), image)
    boxes = [[1, 2, 30, 40, "dog"], [5, 5, 60, 60, "cat"]]
    (folder / "train.jsonl").write_text(json.dumps({"image": "a.png", "boxes": boxes}) + "\n")
    return folder


def test_the_data_format_is_read(data: Path):
    dataset = source.open_data(data).split("train")
    assert dataset.class_names == ("cat", "dog")
    assert dataset.boxes_xyxy.tolist() == [[1, 2, 30, 40], [5, 5, 60, 60]]
    assert dataset.labels.tolist() == [1, 0]


def test_the_verb_counts(data: Path, capsys: pytest.CaptureFixture[str]):
    assert run(["count", str(data)]) == 0
    assert capsys.readouterr().out == "images 1, boxes 2\n"


def test_the_export_format_is_written(tmp_path: Path):
    save_untrained(tmp_path / "weights", ("cat", "dog"), (1, 2))
    model, record = load_weights(tmp_path / "weights")
    formats.FORMATS["npz"].write(model, record, ExportPlan(outputs="raw"), tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz") as written:
        assert json.loads(str(written["lookonce_record"]))["class_names"] == ["cat", "dog"]
        assert {"head32.weight", "head16.weight"} <= set(written)


def test_the_assigner_takes_the_cells_in_the_box():
    # One box over the left half of a 2x2 grid of stride 32.
    targets = Targets(torch.tensor([[[0.0, 0, 32, 64]]]), torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1) > 0)
    head = HeadPrediction(torch.zeros(1, 2, 2, 1, 4), torch.zeros(1, 2, 2, 1, 7), torch.ones(1, 2), 32)
    (assigned,) = build.ASSIGNERS["inside_box"](None)([head], targets)
    assert assigned[0, :, :, 0].tolist() == [[0, -1], [0, -1]]


def test_the_client_gets_a_message_for_each_image(data: Path, tmp_path: Path):
    save_untrained(tmp_path / "weights", ("cat", "dog"), (1, 2))
    (message,) = sys.modules["client"].messages(tmp_path / "weights", data / "a.png", 0.01)
    found = json.loads(message)
    assert len(found["boxes_xyxy"]) == len(found["scores"]) == len(found["names"]) > 0
