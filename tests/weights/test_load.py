from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from raised import raises

from lookonce.errors import SettingsError, WeightsError
from lookonce.model.yolov3_tiny import YoloV3Tiny
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord
from lookonce.weights.checkpoint import save_checkpoint
from lookonce.weights.darknet import to_darknet
from lookonce.weights.load import load_state, load_weights, open_checkpoint
from lookonce.weights.mindspore import to_mindspore
from lookonce.weights.pull import find_checkpoint

CHANNELS = (4, 6, 4, 8, 4, 4, 8, 4, 6, 4, 8)
MakeModel = Callable[..., YoloV3Tiny]


def save_run(run: Path, record: ModelRecord, make_model: MakeModel, **seeds: int) -> None:
    for name, seed in seeds.items():
        save_checkpoint(run / "checkpoints" / name, state=make_model(seed=seed).state_dict(), record=record)


def test_a_checkpoint_gives_the_network_ready_for_use(
    checkpoint: Path, record: ModelRecord, make_model: MakeModel
) -> None:
    model, loaded = load_weights(checkpoint)
    assert loaded == record
    assert not model.training
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for ours, theirs in zip(model(images), make_model().eval()(images), strict=True):
        assert torch.equal(ours, theirs)


def test_a_run_folder_means_its_best_else_its_last(tmp_path: Path, record: ModelRecord, make_model: MakeModel) -> None:
    save_run(tmp_path / "a", record, make_model, last=1, best=2)
    save_run(tmp_path / "b", record, make_model, last=1)
    assert find_checkpoint(tmp_path / "a") == tmp_path / "a" / "checkpoints" / "best"
    assert find_checkpoint(tmp_path / "b") == tmp_path / "b" / "checkpoints" / "last"
    settings = tmp_path / "c" / "settings.yaml"
    settings.parent.mkdir()
    settings.touch()
    with raises(WeightsError, f"train --file {settings}", path=settings.parent):
        find_checkpoint(settings.parent)


def test_of_a_folder_without_a_checkpoint_the_weights_in_it_are_named(
    tmp_path: Path, record: ModelRecord, make_model: MakeModel
) -> None:
    with raises(WeightsError, "expected a run", path=tmp_path):
        find_checkpoint(tmp_path)
    save_run(tmp_path / "a", record, make_model, last=1)
    (tmp_path / "b.onnx").touch()
    with raises(WeightsError, f"{tmp_path / 'a'}, {tmp_path / 'b.onnx'}", path=tmp_path):
        find_checkpoint(tmp_path)


def test_a_url_is_no_place_of_weights() -> None:
    with raises(WeightsError, "download it first", path="http://localhost/a.onnx"):
        find_checkpoint(Path("http://localhost/a.onnx"))


def test_the_safetensors_file_of_a_checkpoint_means_the_checkpoint(checkpoint: Path) -> None:
    assert find_checkpoint(checkpoint / "model.safetensors") == checkpoint


def test_paths_without_weights_say_what_was_expected(tmp_path: Path) -> None:
    (tmp_path / "yolov3-tiny.weights").write_bytes(b"")
    with raises(WeightsError, path="nowhere"):
        load_weights(tmp_path / "nowhere")
    with raises(WeightsError, path="yolov3-tiny.weights"):
        load_weights(tmp_path / "yolov3-tiny.weights")
    with raises(WeightsError, "checkpoints/best", path=tmp_path):
        load_weights(tmp_path)


def test_files_of_other_programs_are_opened_as_they_are(
    tmp_path: Path, make_state: Callable[..., dict[str, torch.Tensor]], caplog: pytest.LogCaptureFixture
) -> None:
    """A .ckpt alone; a .weights with the .cfg of its name; classes from the .names of its name."""
    zoo = ModelRecord(
        dialect=DIALECTS["mindspore"],
        channels=CHANNELS,
        class_names=("a", "b"),
        category_ids=(1, 2),
        image_size=(64, 64),
    )
    state = make_state(zoo)
    (tmp_path / "0-300_.ckpt").write_bytes(to_mindspore(zoo, state, "x")[".ckpt"])
    model, record = load_weights(tmp_path / "0-300_.ckpt")
    assert torch.equal(model.state_dict()["head32.weight"], state["head32.weight"])
    assert (record.class_names, record.image_size) == (("class 0", "class 1"), (640, 640))
    assert "'class 0' to 'class 1'" in caplog.text
    darknet = zoo.model_copy(update={"dialect": DIALECTS["darknet"]})
    for ending, content in to_darknet(darknet, state, "x").items():
        (tmp_path / f"tiny{ending}").write_bytes(content)
    assert load_weights(tmp_path / "tiny.weights")[1].class_names == ("a", "b")
    (tmp_path / "tiny.cfg").unlink()
    with raises(WeightsError, ".cfg", path="tiny.weights"):
        load_weights(tmp_path / "tiny.weights")


def test_names_rename_the_classes_of_a_checkpoint_by_position_only_when_asked(checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.names").write_text("person\nb\n")
    renamed = open_checkpoint(checkpoint, tmp_path / "mine.names", rename=True)
    assert renamed.record.class_names == ("person", "b")
    assert renamed.record.category_ids == open_checkpoint(checkpoint).record.category_ids
    with raises(SettingsError, setting="names"):
        open_checkpoint(checkpoint, tmp_path / "mine.names")
    (tmp_path / "mine.names").write_text("person\n")
    with raises(SettingsError, "1 name;", "expected 2", setting="names", value=tmp_path / "mine.names"):
        open_checkpoint(checkpoint, tmp_path / "mine.names", rename=True)


def test_a_pickle_is_left_to_convert(tmp_path: Path) -> None:
    (tmp_path / "x.pt").write_bytes(b"PK\x03\x04")
    with raises(WeightsError, f"convert {tmp_path / 'x.pt'} --output weights/x`", path="x.pt"):  # a whole command
        load_weights(tmp_path / "x.pt")


def test_an_array_too_few_or_too_many_is_named(make_model: MakeModel) -> None:
    state = make_model().state_dict()
    bias = state.pop("head32.bias")
    with raises(WeightsError, path="file", value="head32.bias"):
        load_state(make_model(), state, "file")
    with raises(WeightsError, path="file", value="extra"):
        load_state(make_model(), {**state, "head32.bias": bias, "extra": bias}, "file")
    with raises(WeightsError, "(3,)", "(21,)", value="head32.bias"):
        load_state(make_model(), {**state, "head32.bias": bias[:3]}, "file")
