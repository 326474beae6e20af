from pathlib import Path

import pytest
import torch

from lookonce.config.dialects import DIALECTS
from lookonce.config.record import ModelRecord, Thresholds
from lookonce.errors import SettingsError
from lookonce.model.yolov3_tiny import YoloV3Tiny
from lookonce.weights.checkpoint import save_checkpoint
from lookonce.workflows.info import info


def test_the_papers_network_in_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    """8,858,734 floats as in yolov3-tiny.weights (35,434,956 bytes less a header of 20), 5.57 GFLOP at 416."""
    found = info()
    assert found.parameters == 8_858_734 == (35_434_956 - 20) // 4
    assert found.trainable == 8_852_366
    assert found.flops / 1e9 == pytest.approx(5.57, abs=0.01)
    assert [layer.name for layer in found.layers][:2] == ["backbone.conv0", "backbone.conv1"]
    printed = capsys.readouterr().out
    assert "255x13x13" in printed
    assert "8,858,734 floats" in printed


def test_the_first_convolution_by_hand() -> None:
    """3x3x3 to 16 channels at 64x64: 432 weights and 4 x 16 of BatchNorm; 432 x 64 x 64 MACs; the pool halves."""
    first = info(num_classes=2, image_size=64).layers[0]
    assert (first.parameters, first.macs, first.output) == (432 + 64, 432 * 64 * 64, (16, 32, 32))


def test_weights_show_their_record(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = ModelRecord(
        dialect=DIALECTS["darknet"],
        channels=(4,) * 11,
        class_names=("cat", "[dog]"),
        category_ids=(1, 2),
        image_size=(64, 96),
        metrics={"AP": 0.25},
        thresholds=Thresholds(per_class_score={"cat": 0.4}),
    )
    model = YoloV3Tiny(2, channels=record.channels)
    save_checkpoint(tmp_path / "best", state=model.state_dict(), record=record)
    found = info(tmp_path / "best")
    assert found.layers[-1].output == (21, 4, 6)
    printed = capsys.readouterr().out
    for text in ("classes     2: cat, [dog]", "96x64", "AP 0.250", "shown from  cat 0.4", "stride 16: 10x14"):
        assert text in printed


def test_the_network_is_described_without_touching_the_global_generator() -> None:
    before = torch.random.get_rng_state()
    info(num_classes=1, width=0.125, image_size=32)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_wrong_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="image_size=100: expected a multiple of 32"):
        info(image_size=100)
    with pytest.raises(SettingsError, match="num_classes=0"):
        info(num_classes=0)
    with pytest.raises(SettingsError, match="has its own"):
        info(tmp_path, width=0.5)
