"""docs/finetune.md, command by command, and published weights by name in `train`: small images, few steps."""

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from raised import raises

import lookonce
from lookonce.cli.main import main
from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.errors import WeightsError
from lookonce.settings.record import ModelRecord
from lookonce.settings.resolve import resolve
from lookonce.weights.checkpoint import load_checkpoint, read_record
from lookonce.weights.transfer import BACKBONE, BOX_ROWS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "finetune.md"
SMALL = {"--image-size 320": "--image-size 64 --epochs 1 --batch-size 3"}
FEW_STEPS: dict[str, Any] = {"image_size": 64, "epochs": 1, "batch_size": 2, "workers": 0}
UNCHANGED: dict[str, Any] = {"lr": 0, "lr_floor": 0, "freeze_bn": True}


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def test_every_command_of_the_page_does_what_it_says(tmp_path: Path, published_coco: bytes) -> None:
    write_synthetic(tmp_path / "mine", train=6, val=3, options=SceneOptions(sides=(64, 96), smallest=16, max_things=3))
    for command in commands():
        for long, short in SMALL.items():
            command = command.replace(long, short)
        program, *words = shlex.split(command)
        assert program == "lookonce"
        assert main(words) == 0, command
    for written in ("check.html", "weights/coco/COMPLETE", "runs/mine-1/log.txt", "mine.onnx", "found/detections.json"):
        assert (tmp_path / written).is_file(), written
    log = (tmp_path / "runs/mine-1/log.txt").read_text()
    assert "dialect=darknet" in log
    assert "6 of 6 anchors" in log


def write_data(folder: Path, names: Sequence[str]) -> Path:
    """Two synthetic images in train and in val, whose classes have these names."""
    write_synthetic(folder, train=2, val=2, options=SceneOptions(sides=(64, 64), smallest=16, max_things=3))
    for path in folder.glob("annotations/*.json"):
        document = json.loads(path.read_text(encoding="utf-8"))
        document["categories"] = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
        for box in document["annotations"]:
            box["category_id"] = 1 + box["category_id"] % len(names)
        path.write_text(json.dumps(document), encoding="utf-8")
    return folder


def class_rows(folder: Path, name: str) -> list[torch.Tensor]:
    """The weights of a class, for each anchor of each head."""
    checkpoint = load_checkpoint(folder)
    row = BOX_ROWS + checkpoint.record.class_names.index(name)
    rows_per_anchor = BOX_ROWS + checkpoint.record.num_classes
    return [checkpoint.state[f"{head}.weight"][row::rows_per_anchor] for head in ("head32", "head16")]


def require_start_from_coco(tmp_path: Path) -> Path:
    """Train at learning rate 0 on two classes, one of them COCO's; returns the run, which holds coco's weights."""
    run = lookonce.train(
        data=write_data(tmp_path / "two", ("dog", "raccoon")), weights="coco", run="two", **FEW_STEPS, **UNCHANGED
    ).run
    coco = load_checkpoint(Path("weights/coco"))
    trained = load_checkpoint(run.last)
    taken = [name for name in coco.state if not name.startswith("head")]
    assert all(torch.equal(trained.state[name], coco.state[name]) for name in taken)
    for ours, theirs in zip(class_rows(run.last, "dog"), class_rows(Path("weights/coco"), "dog"), strict=True):
        assert torch.equal(ours, theirs)
    assert trained.record.masks == coco.record.masks
    return Path(run.path)


def test_a_run_from_published_weights_resumes_without_their_name_and_without_a_network(
    tmp_path: Path, published_coco: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "lookonce"):
        run = require_start_from_coco(tmp_path)
    assert any(str(Path("weights/coco")) in line for line in caplog.messages)
    assert resolve({}, file=run / "settings.yaml").settings.weights == Path("weights/coco")
    monkeypatch.setenv("LOOKONCE_OFFLINE", "1")
    (tmp_path / "mirror.weights").unlink()
    more = {"data": tmp_path / "two", "weights": "coco", "run": "two", "log_interval": 1}
    assert lookonce.train(**more).run.path == Path("runs/two")
    assert lookonce.train(resume=True).run.path == Path("runs/two")


def test_a_backbone_of_published_weights_named_in_a_file(tmp_path: Path, published_coco: bytes) -> None:
    data = write_data(tmp_path / "two", ("dog", "raccoon"))
    (tmp_path / "mine.yaml").write_text("backbone_weights: coco\n", encoding="utf-8")
    run = lookonce.train(data=data, file=tmp_path / "mine.yaml", **FEW_STEPS, **UNCHANGED).run
    coco, trained = load_checkpoint(Path("weights/coco")), load_checkpoint(run.last)
    backbone = [name for name in coco.state if name.startswith(BACKBONE)]
    assert backbone
    assert all(torch.equal(trained.state[name], coco.state[name]) for name in backbone)
    assert resolve({}, file=run.settings).settings.backbone_weights == Path("weights/coco")


def test_offline_and_a_wrong_name_are_errors_before_anything_is_written(
    tmp_path: Path, published_coco: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKONCE_OFFLINE", "1")
    for setting in ("weights", "backbone_weights"):
        with raises(WeightsError, "LOOKONCE_OFFLINE", value="coco"):
            lookonce.train(data=tmp_path, **{setting: "coco"})
        with raises(WeightsError, "coco, modelzoo-coco", "mean coco?", path=Path("cocoo")):
            lookonce.train(data=tmp_path, **{setting: "cocoo"})
    assert not Path("runs").exists()
    assert not Path("weights").exists()


@pytest.mark.network
def test_the_genuine_weights_keep_their_detections_at_learning_rate_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shared: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOOKONCE_WEIGHTS", raising=False)
    image = shared("data/media/pictures/person.jpg")
    coco = lookonce.load("coco").predict(image)
    record: ModelRecord = read_record(Path("weights/coco"))
    same = {"iou_threshold": record.thresholds.iou, "image_size": record.image_size[0]}
    data = write_data(tmp_path / "eighty", record.class_names)
    run = lookonce.train(data=data, weights="coco", run="eighty", **(FEW_STEPS | same), **UNCHANGED).run
    trained = lookonce.load(run.path).predict(image)
    (before,), (after,) = coco.images, trained.images
    assert list(after.class_names) == list(before.class_names)
    assert len(before.scores) >= 3
    for name in ("boxes_xyxy", "scores", "labels"):
        np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
    require_start_from_coco(tmp_path)
