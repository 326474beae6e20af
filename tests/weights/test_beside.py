"""The record beside another program's weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lookonce.errors import SettingsError, WeightsError
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord, Preprocessing, Thresholds
from lookonce.weights.beside import record_file, text_beside
from lookonce.weights.foreign import ReadOptions
from lookonce.weights.load import load_weights, read_foreign
from lookonce.weights.mindspore import to_mindspore

CHANNELS = (4, 6, 4, 8, 4, 4, 8, 4, 6, 4, 8)
MakeState = Callable[..., dict[str, torch.Tensor]]
ZOO = ModelRecord(
    dialect=DIALECTS["mindspore"],
    channels=CHANNELS,
    class_names=("button", "key"),
    category_ids=(5, 40),
    image_size=(64, 96),
    anchors=((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12)),
    preprocessing=Preprocessing(resize="letterbox", pad_value=7),
    thresholds=Thresholds(iou=0.4, max_detections=17),
    metrics={"AP": 0.25},
)


@pytest.fixture
def ckpt(tmp_path: Path, make_state: MakeState) -> Path:
    """x.ckpt with its record beside it."""
    path = tmp_path / "x.ckpt"
    path.write_bytes(to_mindspore(ZOO, make_state(ZOO), "x")[".ckpt"])
    record_file(path).write_text(text_beside(ZOO, path.read_bytes()))
    return path


@pytest.fixture
def names(tmp_path: Path) -> Path:
    path = tmp_path / "two.names"
    path.write_text("knob\nlock\n")
    return path


def test_the_record_is_that_beside_the_weights(ckpt: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert record_file(ckpt).name == "x.ckpt.json"
    assert load_weights(ckpt)[1] == ZOO
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_what_is_asked_for_comes_before_the_record(ckpt: Path, names: Path) -> None:
    assert load_weights(ckpt, names)[1] == ZOO.model_copy(update={"class_names": ("knob", "lock")})
    read = read_foreign([ckpt], ReadOptions(image_size=128, resize="stretch")).record
    assert (read.image_size, read.preprocessing.resize) == ((128, 128), "stretch")
    assert (read.preprocessing.pad_value, read.category_ids) == (7, (5, 40))


def test_without_it_names_and_the_rest_are_assumed(ckpt: Path, names: Path) -> None:
    record_file(ckpt).unlink()
    bare, named = load_weights(ckpt)[1], load_weights(ckpt, names)[1]
    assert (bare.class_names, bare.names_known, bare.category_ids) == (("class 0", "class 1"), False, (1, 2))
    assert (named.class_names, named.names_known, named.category_ids) == (("knob", "lock"), True, (1, 2))
    assert bare.image_size == (640, 640)


@pytest.mark.parametrize("content", ["", "[]", '{"images": []}', text_beside(ZOO, b"").replace("sha256", "md5")])
def test_another_file_in_its_place_is_refused_by_name(ckpt: Path, content: str) -> None:
    record_file(ckpt).write_text(content)
    with pytest.raises(WeightsError, match=r"x\.ckpt\.json"):
        load_weights(ckpt)


def test_the_record_of_other_weights_is_refused_by_name(ckpt: Path, make_state: MakeState) -> None:
    ckpt.write_bytes(to_mindspore(ZOO, make_state(ZOO, seed=1), "x")[".ckpt"])
    with pytest.raises(WeightsError, match=r"x\.ckpt\.json"):
        load_weights(ckpt)
    three = ZOO.model_copy(update={"class_names": ("a", "b", "c"), "category_ids": (1, 2, 3)})
    record_file(ckpt).write_text(text_beside(three, ckpt.read_bytes()))
    with pytest.raises(WeightsError, match=r"x\.ckpt\.json"):
        load_weights(ckpt)


def test_names_must_be_as_many_as_the_classes(ckpt: Path, names: Path) -> None:
    names.write_text("knob\nlock\nbolt\n")
    with pytest.raises(WeightsError, match="3 class names"):
        load_weights(ckpt, names)


def test_a_checkpoint_of_ours_takes_no_names(checkpoint: Path, names: Path) -> None:
    with pytest.raises(SettingsError, match="names: "):
        load_weights(checkpoint, names)
