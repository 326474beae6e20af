"""What weights were trained with holds for a training that starts from them, unless the user says otherwise."""

import logging
from pathlib import Path
from typing import Any

import pytest
from one_box_each import dataset
from raised import raises

from lookonce.errors import WeightsError
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord, Preprocessing
from lookonce.settings.resolve import resolve
from lookonce.settings.schema import Settings
from lookonce.settings.text import to_text
from lookonce.weights.checkpoint import save_checkpoint
from lookonce.weights.convolutions import model_from_record
from lookonce.workflows.starting_weights import COSTS, OF_NETWORK, anchor_lines, at_weights, log_facts

CHANNELS = (4,) * 11
ANCHORS = ((9, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))


def saved(folder: Path, **changes: Any) -> Path:
    """Weights in no way like those that the defaults describe."""
    mindspore = DIALECTS["mindspore"].model_copy(
        update={"activation": "silu", "batchnorm_eps": 0.25, "pool_edge": "zero", "center_scales": {32: 1.05, 16: 1.05}}
    )
    known = {"dialect": mindspore, "channels": CHANNELS, "class_names": ("a",), "category_ids": (1,)} | {
        "anchors": ANCHORS,
        "masks": ((3, 4, 5), (1, 2, 3)),
        "preprocessing": Preprocessing(resize="stretch", pad_value=7, mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)),
    }
    record = ModelRecord(**(known | changes))
    save_checkpoint(folder, state=model_from_record(record).state_dict(), record=record)
    return folder


TRAINED_WITH = {
    "width": CHANNELS,
    "dialect": "mindspore",
    "activation": "silu",
    "batchnorm_eps": 0.25,
    "pool_edge": "zero",
    "normalize": ((0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
    "resize_mode": "stretch",
    "anchors": ANCHORS,
    "masks": ((3, 4, 5), (1, 2, 3)),
}


@pytest.mark.parametrize("recipe", ["modern", "modelzoo", "finetune"])
def test_all_that_the_weights_were_trained_with_holds(tmp_path: Path, recipe: str) -> None:
    started = at_weights(resolve({"weights": saved(tmp_path / "w"), "recipe": recipe}))
    assert {name: getattr(started.settings, name) for name in TRAINED_WITH} == TRAINED_WITH
    assert set(TRAINED_WITH) == set(OF_NETWORK) == set(COSTS)
    assert started.origins["masks"] == f"weights {tmp_path / 'w'}"
    again = resolve({name: getattr(started.settings, name) for name in TRAINED_WITH}).settings
    assert again.normalize == started.settings.normalize


SAID = {
    "width": 0.5,
    "dialect": "darknet",
    "activation": "leaky",
    "batchnorm_eps": "auto",
    "pool_edge": "repeat",
    "normalize": "unit",
    "resize_mode": "letterbox",
    "anchors": "auto",
    "masks": "[[3,4,5],[0,1,2]]",
}


@pytest.mark.parametrize("name", SAID)
def test_what_the_user_says_stays_and_its_cost_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    weights = saved(tmp_path / "w")
    said = {name: SAID[name], "dialect": "darknet"} if name == "batchnorm_eps" else {name: SAID[name]}
    started = at_weights(resolve({"weights": weights, **said}))
    assert getattr(started.settings, name) == getattr(resolve(said).settings, name)
    others = TRAINED_WITH.keys() - said.keys() - ({"masks"} if name == "anchors" else set())
    assert all(getattr(started.settings, other) == TRAINED_WITH[other] for other in others)
    with caplog.at_level(logging.WARNING):
        log_facts(started.settings, ModelRecord.model_validate_json((weights / "record.json").read_bytes()))
    assert {message.partition(":")[0] for message in caplog.messages} == set(said)


def test_a_value_that_the_weights_have_too_costs_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    weights = saved(tmp_path / "w")
    started = at_weights(
        resolve({"weights": weights, "activation": "silu", "pool_edge": "zero", "masks": ((3, 4, 5), (1, 2, 3))})
    )
    with caplog.at_level(logging.WARNING):
        log_facts(started.settings, ModelRecord.model_validate_json((weights / "record.json").read_bytes()))
    assert caplog.messages == []


@pytest.mark.parametrize("anchors", ["auto", "default", ANCHORS])
def test_masks_come_with_the_anchors_whose_rows_they_are(tmp_path: Path, anchors: Any) -> None:
    started = at_weights(resolve({"weights": saved(tmp_path / "w"), "anchors": anchors})).settings
    assert started.masks == (TRAINED_WITH["masks"] if anchors == ANCHORS else Settings.model_fields["masks"].default)


def test_a_backbone_brings_no_anchors_masks_or_dialect(tmp_path: Path) -> None:
    started = at_weights(resolve({"backbone_weights": saved(tmp_path / "w")})).settings
    assert (started.activation, started.resize_mode, started.width) == ("silu", "stretch", CHANNELS)
    left = ("anchors", "masks", "dialect")
    assert [getattr(started, name) for name in left] == [Settings.model_fields[name].default for name in left]


def test_three_heads_are_refused(tmp_path: Path) -> None:
    eight = DIALECTS["darknet"].model_copy(update={"center_scales": {32: 1, 16: 1, 8: 1}})
    three = {"dialect": eight, "channels": (4,) * 13, "strides": (32, 16, 8), "masks": ((4, 5), (2, 3), (0, 1))}
    with raises(WeightsError, "3 heads", path="w"):
        at_weights(resolve({"weights": saved(tmp_path / "w", **three)}))


def test_without_weights_nothing_changes() -> None:
    resolved = resolve({"lr": 0.5})
    assert at_weights(resolved) is resolved


def test_anchors_that_fit_far_worse_than_fitted_ones_are_told(tmp_path: Path) -> None:
    """Boxes of 300x20 pixels: their best IoU is 0.15, with 81x82; fitted anchors are the boxes themselves."""
    settings = at_weights(resolve({"weights": saved(tmp_path / "w")})).settings
    record = ModelRecord(
        dialect=DIALECTS["darknet"],
        class_names=("a",),
        category_ids=(1,),
        anchors=ANCHORS,
        masks=((3, 4, 5), (1, 2, 3)),
        image_size=(416, 416),
    )
    flat = dataset([(300, 20)] * 8, image_wh=(416, 416))
    (told,) = anchor_lines(settings, record, flat)
    assert " 1.00" in told
    assert "--anchors auto" in told
    assert anchor_lines(settings, record, dataset(list(ANCHORS), image_wh=(416, 416))) == []
    assert anchor_lines(Settings(anchors="default"), record, flat) == []
    assert to_text(ANCHORS) in anchor_lines(Settings(), record, flat)[0]
