"""Starting from other weights: what of a head is taken over is told apart row by row."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from raised import raises

from lookonce.errors import WeightsError
from lookonce.model.yolov3_tiny import YoloV3Tiny
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import DEFAULT_ANCHORS, ModelRecord
from lookonce.weights.checkpoint import Checkpoint
from lookonce.weights.transfer import Taken, account, transfer

MakeModel = Callable[..., YoloV3Tiny]


@pytest.fixture
def old(record: ModelRecord, make_model: MakeModel) -> Checkpoint:
    """Classes a and b."""
    return Checkpoint(folder=Path("old"), state=make_model(seed=2).state_dict(), record=record, training=None)


def like(record: ModelRecord, **changes: object) -> ModelRecord:
    names = changes.get("class_names", record.class_names)
    ids = tuple(range(len(names)))  # type: ignore[arg-type]
    return record.model_copy(update={"category_ids": ids, **changes})


def taken_by(model: YoloV3Tiny, record: ModelRecord, old: Checkpoint) -> Taken:
    taken = transfer(model, record, old)
    assert taken is not None
    return taken


def rows(array: torch.Tensor, num_classes: int) -> torch.Tensor:
    return array.view(3, 5 + num_classes, -1)


def test_the_same_network_is_taken_over_whole(old: Checkpoint, make_model: MakeModel) -> None:
    model = make_model(seed=1)
    taken = taken_by(model, old.record, old)
    assert (taken.class_names, taken.num_anchors) == (("a", "b"), 6)
    assert all(torch.equal(value, old.state[name]) for name, value in model.state_dict().items())


def test_class_rows_go_by_name_and_new_classes_start_afresh(old: Checkpoint, make_model: MakeModel) -> None:
    model, fresh = make_model(num_classes=3, seed=1), make_model(num_classes=3, seed=1).state_dict()
    taken = taken_by(model, like(old.record, class_names=("b", "new", "a")), old)
    assert (taken.class_names, taken.num_anchors) == (("b", "a"), 6)
    for name in ("head32.weight", "head16.bias"):
        ours, theirs, before = rows(model.state_dict()[name], 3), rows(old.state[name], 2), rows(fresh[name], 3)
        assert torch.equal(ours[:, :5], theirs[:, :5])
        assert torch.equal(ours[:, 5], theirs[:, 6])
        assert torch.equal(ours[:, 6], before[:, 6])
        assert torch.equal(ours[:, 7], theirs[:, 5])
    assert torch.equal(model.state_dict()["neck8.conv.weight"], old.state["neck8.conv.weight"])


def test_as_many_classes_of_other_names_are_other_classes(old: Checkpoint, make_model: MakeModel) -> None:
    model, fresh = make_model(seed=1), make_model(seed=1).state_dict()
    assert taken_by(model, like(old.record, class_names=("c", "d")), old).class_names == ()
    ours, before = (rows(state["head16.weight"], 2) for state in (model.state_dict(), fresh))
    assert torch.equal(ours[:, 5:], before[:, 5:])


def unnamed(old: Checkpoint) -> Checkpoint:
    record = like(old.record, class_names=("class 0", "class 1"), names_known=False)
    return replace(old, record=record)


def test_classes_without_names_are_as_many_in_the_same_order(old: Checkpoint, make_model: MakeModel) -> None:
    model = make_model(seed=1)
    taken = taken_by(model, like(old.record, class_names=("c", "d")), unnamed(old))
    assert (taken.class_names, taken.num_anchors) == (("c", "d"), 6)
    assert all(torch.equal(value, old.state[name]) for name, value in model.state_dict().items())


def test_classes_without_names_are_unknown_where_they_are_not_as_many(old: Checkpoint, make_model: MakeModel) -> None:
    model, fresh = make_model(num_classes=3, seed=1), make_model(num_classes=3, seed=1).state_dict()
    assert taken_by(model, like(old.record, class_names=("c", "d", "e")), unnamed(old)).class_names == ()
    ours, before = (rows(state["head16.weight"], 3) for state in (model.state_dict(), fresh))
    assert torch.equal(ours[:, 5:], before[:, 5:])


def test_anchors_of_another_size_keep_their_own_box_and_objectness(old: Checkpoint, make_model: MakeModel) -> None:
    """12x12 for 10x14 overlaps by 0.73; 46x54 for 23x27 by 0.25."""
    anchors = ((12, 12), (46, 54), *DEFAULT_ANCHORS[2:])
    model, fresh = make_model(seed=1), make_model(seed=1).state_dict()
    taken = taken_by(model, like(old.record, anchors=anchors), old)
    assert taken.num_anchors == 5
    states = (model.state_dict(), old.state, fresh)
    ours, theirs, before = (rows(state["head16.weight"], 2) for state in states)
    assert torch.equal(ours[0], theirs[0])
    assert torch.equal(ours[1, :5], before[1, :5])
    assert torch.equal(ours[1, 5:], theirs[1, 5:])


def test_other_masks_find_the_same_anchors_in_other_rows(old: Checkpoint, make_model: MakeModel) -> None:
    """1,2,3 after 0,1,2: rows 0 and 1 are the old rows 1 and 2; 81x82 is new at stride 16."""
    model, fresh = make_model(seed=1), make_model(seed=1).state_dict()
    taken = taken_by(model, like(old.record, masks=((3, 4, 5), (1, 2, 3))), old)
    assert taken.num_anchors == 5
    ours, theirs, before = (rows(s["head16.weight"], 2) for s in (model.state_dict(), old.state, fresh))
    assert torch.equal(ours[:2], theirs[1:])
    assert torch.equal(ours[2, :5], before[2, :5])


def test_the_account_gives_shares_and_the_nearest_names(old: Checkpoint, make_model: MakeModel) -> None:
    old = replace(old, record=like(old.record, class_names=("person", "dog")))
    new = like(old.record, class_names=("Pedestrians", "dog", "sofa"))
    first, *hints = account(transfer(make_model(num_classes=3), new, old), new, old)
    assert "neck: all" in first
    assert "6 of 6 anchors" in first
    assert "1 of 3 by name (dog)" in first
    assert "2 of 3 new (Pedestrians, sofa)" in first
    (hint,) = hints
    assert "'Pedestrians'" in hint
    assert "'person'" in hint
    assert "in line 1" in hint
    assert account(transfer(make_model(), old.record, old, backbone_only=True), old.record, old) == [
        "starting from old: backbone: all; neck and heads: new"
    ]


def test_classes_in_the_same_order_are_told_as_such(old: Checkpoint, make_model: MakeModel) -> None:
    new = like(old.record, class_names=("c", "d"))
    (line,) = account(transfer(make_model(), new, unnamed(old)), new, unnamed(old))
    assert "2 of 2 by position (c, d)" in line


def test_another_way_of_making_boxes_needs_other_rows_for_them(old: Checkpoint, make_model: MakeModel) -> None:
    model = make_model(seed=1)
    assert taken_by(model, like(old.record, dialect=DIALECTS["ultralytics"]), old).num_anchors == 0


def test_the_backbone_alone_leaves_neck_and_heads_fresh(old: Checkpoint, make_model: MakeModel) -> None:
    model, fresh = make_model(seed=1), make_model(seed=1).state_dict()
    transfer(model, old.record, old, backbone_only=True)
    for name, value in model.state_dict().items():
        assert torch.equal(value, old.state[name] if name.startswith("backbone.") else fresh[name])


def test_another_width_is_another_network(old: Checkpoint, make_model: MakeModel) -> None:
    with raises(WeightsError, "the width", value="backbone.conv0.conv.weight"):
        transfer(make_model(channels=(8,) * 11), old.record, old)
