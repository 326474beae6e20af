from pathlib import Path

import numpy as np

from lookonce.data.dataset import Dataset
from lookonce.data.findings import Finding
from lookonce.data.repair import repair


def split(name: str, pictures: list[str], boxes_each: int = 1) -> Dataset:
    count = len(pictures) * boxes_each
    return Dataset(
        split=name,
        image_paths=[Path(image) for image in pictures],
        image_ids=np.arange(1, len(pictures) + 1),
        image_sizes_wh=np.full((len(pictures), 2), 100, np.int32),
        box_offsets=np.arange(len(pictures) + 1) * boxes_each,
        boxes_xyxy=np.tile([1.0, 2, 3, 4], (count, 1)),
        labels=np.zeros(count, np.int64),
        crowd=np.zeros(count, bool),
        areas=np.ones(count),
        class_names=("a",),
        category_ids=(1,),
    )


def finding(name: str, file: str, twin: str = "") -> Finding:
    return Finding(name=name, file=file, message=f"{file} is meant", twin=twin)


def names(datasets: tuple[Dataset, ...]) -> dict[str, list[str]]:
    return {dataset.split: [str(path) for path in dataset.image_paths] for dataset in datasets}


def test_an_image_stays_in_the_last_of_its_splits_alone() -> None:
    datasets = [split("train", ["a", "b", "x"]), split("val", ["b", "c"]), split("test", ["a", "d"])]
    repaired = repair(datasets, [finding("leaked-image", "b"), finding("leaked-image", "a")])
    assert names(repaired.datasets) == {"train": ["x"], "val": ["b", "c"], "test": ["a", "d"]}


def test_copies_of_copies_leave_with_them() -> None:
    """train: a and its near copy b; val: c, found as a copy of a. All of train's would leak."""
    findings = [finding("near-copy", "b", "a"), finding("leaked-near-copy", "c", "a")]
    repaired = repair([split("train", ["a", "b", "x"]), split("val", ["c"])], findings)
    assert names(repaired.datasets) == {"train": ["x"], "val": ["c"]}


def test_near_copies_within_a_split_stay() -> None:
    repaired = repair([split("train", ["a", "b"])], [finding("near-copy", "b", "a")])
    assert names(repaired.datasets) == {"train": ["a", "b"]}
    assert repaired.changes == ()


def test_of_the_same_bytes_one_stays_also_where_both_leak() -> None:
    """train: a; val: b and c, all three the same bytes."""
    findings = [finding("leaked-image", "b", "a"), finding("leaked-image", "c", "a")]
    repaired = repair([split("train", ["a", "x"]), split("val", ["b", "c"])], findings)
    assert names(repaired.datasets) == {"train": ["x"], "val": ["b"]}


def test_a_split_that_loses_all_its_images_is_not_written() -> None:
    repaired = repair([split("train", ["a"]), split("val", ["b"])], [finding("leaked-image", "b", "a")])
    assert names(repaired.datasets) == {"val": ["b"]}


def test_what_is_listed_twice_is_kept_once_with_its_own_boxes() -> None:
    repaired = repair([split("train", ["a", "b", "a"])], [finding("listed-twice", "a")])
    assert names(repaired.datasets) == {"train": ["a", "b"]}
    assert repaired.datasets[0].box_offsets.tolist() == [0, 1, 2]


def test_repeated_boxes_go_only_when_that_was_looked_for() -> None:
    twice = [split("train", ["a"], boxes_each=2)]
    assert len(repair(twice, [finding("repeated-box", "a")]).datasets[0].labels) == 1
    assert len(repair(twice, []).datasets[0].labels) == 2


def test_lists_that_repeat_train_are_not_copied() -> None:
    datasets = [split("train", ["a"]), split("trainval", ["a"])]
    assert names(repair(datasets, []).datasets) == {"train": ["a"]}
