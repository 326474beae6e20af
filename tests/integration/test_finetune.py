"""docs/finetune.md, command by command, with a slim network and small images."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from lookonce.cli.main import main
from lookonce.config.dialects import DIALECTS
from lookonce.config.record import ModelRecord
from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.model.yolov3_tiny import initialise
from lookonce.weights.convolutions import model_from_record
from lookonce.weights.darknet import to_darknet

PAGE = Path(__file__).resolve().parents[2] / "docs" / "finetune.md"
SMALL = {"--image-size 320": "--image-size 64 --epochs 1 --batch-size 3"}


def commands() -> list[str]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def write_weights(folder: Path) -> None:
    names = ("button", "leaf")
    record = ModelRecord(
        dialect=DIALECTS["darknet"], channels=(4,) * 11, class_names=names, category_ids=(1, 2), image_size=(64, 64)
    )
    model = model_from_record(record)
    initialise(model, torch.Generator().manual_seed(0))
    for suffix, content in to_darknet(record, model.state_dict(), "x").items():
        (folder / f"yolov3-tiny{suffix}").write_bytes(content)


def test_every_command_of_the_page_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_synthetic(tmp_path / "mine", train=6, val=3, options=SceneOptions(sides=(64, 96), smallest=16, max_things=3))
    write_weights(tmp_path)
    for command in commands():
        for long, short in SMALL.items():
            command = command.replace(long, short)
        program, *words = shlex.split(command)
        assert program == "lookonce"
        assert main(words) == 0, command
    for written in ("check.html", "coco/COMPLETE", "runs/mine-1/log.txt", "mine.onnx", "found/detections.json"):
        assert (tmp_path / written).is_file(), written
    log = (tmp_path / "runs/mine-1/log.txt").read_text()
    assert "dialect=darknet" in log
    assert "6 of 6 anchors" in log
