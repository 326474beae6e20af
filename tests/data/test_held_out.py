"""The validation split that is made where the data have none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookonce.data.annotations import Annotations
from lookonce.data.findings import ignore
from lookonce.data.held_out import choose_held_out, hold_out, lacks_val, relative_names, take_annotations, with_held_out
from lookonce.data.source import open_data


def labelled(images: list[list[int]], num_classes: int) -> Annotations:
    """Images with a box of each class of their list."""
    rows = [row for row, labels in enumerate(images) for _ in labels]
    labels = [label for labels in images for label in labels]
    return Annotations(
        split="train",
        origin=Path("data"),
        image_paths=[Path(f"data/{row}.png") for row in range(len(images))],
        image_ids=np.arange(1, len(images) + 1),
        image_sizes_wh=np.full((len(images), 2), 100, np.int32),
        image_rows=np.array(rows, np.int64),
        boxes_xyxy=np.tile([0.0, 0.0, 9.0, 9.0], (len(rows), 1)),
        labels=np.array(labels, np.int64),
        crowd=np.zeros(len(rows), np.bool_),
        areas=np.full(len(rows), np.nan),
        class_names=tuple(map(str, range(num_classes))),
        category_ids=tuple(range(num_classes)),
        place=lambda row: f"box {row}",
    )


def test_each_class_and_background_give_the_same_fraction() -> None:
    found = labelled([[0]] * 100 + [[1]] * 20 + [[]] * 40, 2)
    held = hold_out(found, np.arange(160), 0.1, 0)
    assert [int(held[part].sum()) for part in (slice(0, 100), slice(100, 120), slice(120, 160))] == [10, 2, 4]
    assert not np.array_equal(held, hold_out(found, np.arange(160), 0.1, 1))
    np.testing.assert_array_equal(held, hold_out(found, np.arange(160), 0.1, 0))


def test_near_copies_stay_together() -> None:
    groups = np.arange(200) // 5 * 5
    held = hold_out(labelled([[0, 1]] * 200, 2), groups, 0.15, 0)
    assert held.sum() == 30
    assert not set(groups[held]) & set(groups[~held])


def test_the_frames_of_a_fixed_camera_are_held_out_as_one_run() -> None:
    held = hold_out(labelled([[0]] * 100, 1), np.zeros(100, np.int64), 0.15, 0)
    assert (held.sum(), np.abs(np.diff(held.astype(int))).sum() <= 2) == (15, True)


@given(
    images=st.lists(st.lists(st.integers(0, 3), max_size=4), max_size=12),
    fraction=st.floats(0.01, 0.9),
    seed=st.integers(0, 3),
)
def test_a_tiny_set_is_divided_whenever_both_parts_can_have_a_box(
    images: list[list[int]], fraction: float, seed: int
) -> None:
    held = hold_out(labelled(images, 4), np.arange(len(images)), fraction, seed).tolist()
    with_boxes = {split: [row for row, one in enumerate(images) if one and held[row] == split] for split in (0, 1)}
    can = sum(map(bool, images)) > 1
    assert (bool(with_boxes[0]) or not any(images), bool(with_boxes[1])) == (True, can)
    if not can:
        assert not any(held)


def test_the_rarest_class_is_in_both_parts() -> None:
    images = [[0]] * 30
    images[3], images[20] = [0, 1], [1]
    held = hold_out(labelled(images, 2), np.arange(30), 0.1, 0)
    assert held[[3, 20]].sum() == 1


def test_a_part_keeps_ids_boxes_and_places() -> None:
    part = take_annotations(labelled([[0], [1, 2], []], 3), np.array([1, 2]), "val")
    assert (part.split, part.image_ids.tolist(), part.image_rows.tolist()) == ("val", [2, 3], [0, 0])
    assert (part.labels.tolist(), part.place(1)) == ([1, 2], "box 2")


def test_names_do_not_change_when_the_data_move() -> None:
    names = relative_names([Path("/a/b/x/1.png"), Path("/a/b/y/1.png")])
    assert names == relative_names([Path("/elsewhere/x/1.png"), Path("/elsewhere/y/1.png")]) == ["x/1.png", "y/1.png"]
    assert relative_names([]) == []


@pytest.mark.parametrize("other", ["test", "val"])
def test_the_parts_of_a_data_set_are_its_training_split(
    tmp_path: Path, save_image: Callable[..., Path], save_coco: Callable[..., Path], other: str
) -> None:
    boxes = [(number, 1, (1.0, 1.0, 9.0, 9.0)) for number in range(1, 9)]
    for split in ("train", other):
        save_coco(tmp_path / f"annotations/{split}.json", boxes, images=[{}] * 8)
        for number in range(1, 9):
            save_image(tmp_path / split / f"{number}.png")
    source = open_data(tmp_path)
    assert lacks_val(source, "train") == (other == "test")
    names = choose_held_out(source, "train", fraction=0.2, seed=0)
    divided = with_held_out(source, "train", names)
    assert set(divided.splits) == {"train", "val", other}
    train, val = divided.split("train"), divided.split("val")
    assert sorted(path.name for path in val.image_paths) == sorted(names)
    assert {*train.image_ids.tolist(), *val.image_ids.tolist()} == set(range(1, 9))
    assert divided.read("train", ignore).image_paths == train.image_paths
