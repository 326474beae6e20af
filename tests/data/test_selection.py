from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from raised import raises

from lookonce.data.dataset import Dataset
from lookonce.data.selection import (
    join,
    keep_classes,
    rename_classes,
    sample,
    share_out,
    take_boxes,
    take_images,
    unify_classes,
)
from lookonce.errors import DataError


def dataset(labels: list[list[int]], names: tuple[str, ...] = ("a", "b", "c"), split: str = "train") -> Dataset:
    """One picture a list, one box a label; box k lies at (k, k, k + 1, k + 1)."""
    flat = np.array([label for image in labels for label in image], np.int64)
    corner = np.arange(len(flat), dtype=np.float64)
    return Dataset(
        split=split,
        image_paths=[Path(f"{number}.jpg") for number in range(len(labels))],
        image_ids=np.arange(10, 10 + len(labels)),
        image_sizes_wh=np.full((len(labels), 2), 100, np.int32),
        box_offsets=np.concatenate([[0], np.cumsum([len(image) for image in labels])]).astype(np.int64),
        boxes_xyxy=np.stack([corner, corner, corner + 1, corner + 1], axis=1),
        labels=flat,
        crowd=np.zeros(len(flat), bool),
        areas=np.ones(len(flat)),
        class_names=names,
        category_ids=tuple(range(1, len(names) + 1)),
    )


def labels_of(data: Dataset) -> list[list[str]]:
    return [[data.class_names[label] for label in data.labels[data.rows(row)]] for row in range(len(data))]


def test_images_are_taken_in_the_order_asked_for_with_their_boxes() -> None:
    taken = take_images(dataset([[0, 1], [], [2], [1, 1]]), np.array([3, 1, 0]))
    assert [path.name for path in taken.image_paths] == ["3.jpg", "1.jpg", "0.jpg"]
    assert taken.image_ids.tolist() == [13, 11, 10]
    assert labels_of(taken) == [["b", "b"], [], ["a", "b"]]
    assert taken.boxes_xyxy[:, 0].tolist() == [3, 4, 0, 1]


def test_no_image_taken_is_an_empty_data_set() -> None:
    taken = take_images(dataset([[0, 1], [2]]), np.array([], np.int64))
    assert (len(taken), taken.box_offsets.tolist(), taken.boxes_xyxy.shape) == (0, [0], (0, 4))


def test_boxes_go_and_their_images_stay() -> None:
    kept = take_boxes(dataset([[0, 1], [2]]), np.array([False, True, False]))
    assert labels_of(kept) == [["b"], []]


def test_two_classes_of_one_new_name_become_one_in_the_place_of_the_first() -> None:
    renamed = rename_classes(dataset([[0, 1, 2]]), {"c": "x", "a": "x"})
    assert renamed.class_names == ("x", "b")
    assert renamed.labels.tolist() == [0, 1, 0]
    with raises(DataError, "a, b, c", value="dog"):
        rename_classes(dataset([[0]]), {"dog": "cat"})


def test_images_that_lose_all_their_boxes_go_and_background_stays() -> None:
    kept = keep_classes(dataset([[0, 1], [], [2]]), ["b"])
    assert labels_of(kept) == [["b"], []]
    assert [path.name for path in kept.image_paths] == ["0.jpg", "1.jpg"]


def test_category_ids_go_with_their_names_as_long_as_they_rise() -> None:
    assert keep_classes(dataset([[0, 2]]), ["a", "c"]).category_ids == (1, 3)
    swapped = keep_classes(dataset([[0, 2]]), ["c", "a"])
    assert (swapped.class_names, swapped.category_ids, swapped.labels.tolist()) == (("c", "a"), (1, 2), [1, 0])


def test_joined_data_have_all_classes_and_ids_that_differ() -> None:
    joined = join([dataset([[0, 1]]), dataset([[0], [1]], names=("b", "d"))], "val")
    assert (joined.split, joined.class_names) == ("val", ("a", "b", "c", "d"))
    assert labels_of(joined) == [["a", "b"], ["b"], ["d"]]
    assert joined.image_ids.tolist() == [1, 2, 3]


def test_different_class_lists_become_one() -> None:
    one, two = unify_classes([dataset([[0, 1]]), dataset([[0, 1]], names=("b", "a"))])
    assert one.class_names == two.class_names == ("a", "b", "c")
    assert one.category_ids == two.category_ids
    assert (labels_of(one), labels_of(two)) == ([["a", "b"]], [["b", "a"]])
    same = [dataset([[0]]), dataset([[1]])]
    assert unify_classes(same) == same


def test_a_sample_keeps_the_order_and_takes_all_where_there_are_no_more() -> None:
    data = dataset([[0]] * 9)
    drawn = [int(path.stem) for path in sample(data, 4, seed=1).image_paths]
    assert len(set(drawn)) == 4
    assert drawn == sorted(drawn)
    assert len(sample(data, 100, seed=1)) == 9


IMAGES = st.lists(st.lists(st.integers(0, 2), max_size=4), min_size=3, max_size=60)


@given(IMAGES, st.booleans(), st.integers(0, 5))
def test_every_image_is_shared_out_once(labels: list[list[int]], stratify: bool, seed: int) -> None:
    shares = {"train": 0.7, "val": 0.2, "test": 0.1}
    parts = share_out(dataset(labels), shares, stratify=stratify, seed=seed)
    assert [part.split for part in parts] == list(shares)
    names = sorted(int(path.stem) for part in parts for path in part.image_paths)
    assert names == list(range(len(labels)))
    shown = {path.name: boxes for part in parts for path, boxes in zip(part.image_paths, labels_of(part), strict=True)}
    assert shown == {f"{number}.jpg": ["abc"[label] for label in boxes] for number, boxes in enumerate(labels)}


@given(st.lists(st.integers(0, 5), min_size=10, max_size=60), st.booleans(), st.integers(0, 5))
def test_groups_stay_together_unless_they_are_larger_than_a_part(owners: list[int], stratify: bool, seed: int) -> None:
    groups, most = np.array(owners), int(0.2 * len(owners))
    parts = share_out(dataset([[0]] * len(owners)), {"train": 0.8, "val": 0.2}, groups, stratify=stratify, seed=seed)
    homes = {int(path.stem): part.split for part in parts for path in part.image_paths}
    assert sorted(homes) == list(range(len(owners)))
    for group in set(owners):
        members = np.flatnonzero(groups == group).tolist()
        for start in range(0, len(members), most):
            assert len({homes[row] for row in members[start : start + most]}) == 1


def test_stratified_parts_have_the_rare_class_in_proportion() -> None:
    """100 pictures, 10 with the rare class: by chance alone a tenth of them often has none."""
    data = dataset([[0, 0, 1] if number % 10 == 0 else [0, 2] for number in range(100)])
    for seed in range(5):
        parts = share_out(data, {"train": 0.8, "val": 0.1, "test": 0.1}, stratify=True, seed=seed)
        assert [int((part.labels == 1).sum()) for part in parts] == [8, 1, 1]
        assert [len(part) for part in parts] == [80, 10, 10]


def test_background_is_shared_out_in_proportion_too() -> None:
    data = dataset([[] if number % 5 == 0 else [0] for number in range(50)])
    parts = share_out(data, {"train": 0.8, "val": 0.2}, stratify=True, seed=0)
    assert [int((np.diff(part.box_offsets) == 0).sum()) for part in parts] == [8, 2]
