import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from raised import raises

from lookonce.errors import DataError, SettingsError
from lookonce.model.yolov3_tiny import YoloV3Tiny, scaled_channels
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord, Thresholds
from lookonce.weights.checkpoint import save_checkpoint
from lookonce.workflows.info import as_text, info


def test_the_papers_network_in_numbers() -> None:
    """8,858,734 floats as in yolov3-tiny.weights (35,434,956 bytes less a header of 20), 5.57 GFLOP at 416."""
    found = info()
    assert found.parameters == 8_858_734 == (35_434_956 - 20) // 4
    assert found.trainable == 8_852_366
    assert found.flops / 1e9 == pytest.approx(5.57, abs=0.01)
    assert [layer.name for layer in found.layers][:2] == ["backbone.conv0", "backbone.conv1"]
    printed = "\n".join(as_text(found))
    assert "255x13x13" in printed
    assert "8,858,734 floats" in printed


def test_the_first_convolution_by_hand() -> None:
    """3x3x3 to 16 channels at 64x64: 432 weights and 4 x 16 of BatchNorm; 432 x 64 x 64 MACs; the pool halves."""
    first = info(num_classes=2, image_size=64).layers[0]
    assert (first.parameters, first.macs, first.output) == (432 + 64, 432 * 64 * 64, (16, 32, 32))


def test_weights_show_their_record(tmp_path: Path) -> None:
    record = ModelRecord(
        dialect=DIALECTS["darknet"],
        channels=(4,) * 11,
        class_names=("cat", "[dog]"),
        category_ids=(1, 2),
        image_size=(64, 96),
        metrics={"AP": 0.25, "APs": -1.0},
        thresholds=Thresholds(per_class_score={"cat": 0.4}),
    )
    model = YoloV3Tiny(2, channels=record.channels)
    save_checkpoint(tmp_path / "best", state=model.state_dict(), record=record)
    found = info(tmp_path / "best")
    assert found.layers[-1].output == (21, 4, 6)
    printed = "\n".join(as_text(found))
    for text in (
        "classes     2: cat, [dog]",
        "64x96 (height x width)",
        "AP 0.250",
        "shown from  cat 0.4",
        "stride 16: 10x14",
    ):
        assert text in printed
    assert "APs -" in printed  # -1: there are no small objects
    assert "-1" not in printed


def test_the_network_is_described_without_touching_the_global_generator() -> None:
    before = torch.random.get_rng_state()
    info(num_classes=1, width=0.125, image_size=32)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with raises(SettingsError, setting="image_size", value=100):
        info(image_size=100)
    with raises(SettingsError, setting="num_classes", value=0):
        info(num_classes=0)
    with raises(SettingsError, setting="num_classes, width"):
        info(tmp_path, width=0.5)


def weights_of(folder: Path) -> Path:
    record = ModelRecord(
        dialect=DIALECTS["darknet"],
        channels=scaled_channels(1 / 8),
        class_names=("cat", "dog"),
        category_ids=(1, 2),
        image_size=(64, 64),
    )
    save_checkpoint(folder / "best", state=YoloV3Tiny(2, channels=record.channels).state_dict(), record=record)
    return folder / "best"


def test_the_budget_says_what_each_step_costs(tmp_path: Path) -> None:
    """At 416 the first pool needs most memory: it reads 16 maps of 416x416 and makes 16 of 208x208."""
    found = info(budget=True, output=tmp_path)
    printed = "\n".join(as_text(found))
    assert "2.782 billion MACs" in printed
    assert "1,179,648" in printed
    content = json.loads((tmp_path / "budget.json").read_text())
    assert content["macs"] == 2_782_480_896
    assert content["largest_tensor"] == {
        "name": "conv0",
        "shape": [16, 416, 416],
        "bytes": {"fp32": 4 * 16 * 416**2, "fp16": 2 * 16 * 416**2, "int8": 16 * 416**2},
    }
    assert content["peak"]["step"] == "pool0"
    assert content["peak"]["values"] == 16 * 416**2 + 16 * 208**2
    with (tmp_path / "budget.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["macs"]) for row in rows) == content["macs"]
    assert [row["name"] for row in rows] == [step["name"] for step in content["steps"]]
    assert int(rows[0]["weight_bytes_int8"]) == 432 + 16 * 8  # and an int32 bias and a float scale for each channel
    assert not (tmp_path / "int8-scales.json").exists()


def test_scales_of_weights_need_no_images_and_those_of_activations_do(tmp_path: Path) -> None:
    weights = weights_of(tmp_path)
    info(weights, output=tmp_path / "1")
    content = json.loads((tmp_path / "1" / "int8-scales.json").read_text())
    assert len(content["weights"]["conv0"]["scales"]) == 4
    assert (content["activations"], content["images"]) == ({}, 0)
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(cv2.imencode(".png", np.full((50, 60, 3), 200, np.uint8))[1].tobytes())
    info(weights, int8_scales=str(tmp_path / "*.png"), output=tmp_path / "2")
    content = json.loads((tmp_path / "2" / "int8-scales.json").read_text())
    assert content["images"] == 2
    assert content["activations"]["images"]["high"] == pytest.approx(200 / 255)
    assert set(content["activations"]) == {"images", *content["weights"]}


def test_scales_of_activations_need_weights_and_a_place(tmp_path: Path) -> None:
    with raises(SettingsError, "without weights", setting="int8_scales"):
        info(int8_scales="*.png", output=tmp_path)
    with raises(DataError, "*.png"):
        info(tmp_path, int8_scales=str(tmp_path / "*.png"), output=tmp_path / "2")  # not even the weights are opened
    with raises(SettingsError, "--output DIR", setting="int8_scales"):
        info(weights_of(tmp_path), int8_scales="*.png")
