from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from lookonce.data.check_boxes import check_boxes, check_classes
from lookonce.data.dataset import Dataset
from lookonce.data.findings import Finding

Box = tuple[float, float, float, float]


def dataset(
    pictures: list[list[tuple[int, Box]]],
    *,
    names: tuple[str, ...] = ("a", "b"),
    split: str = "train",
    crowd: bool = False,
) -> Dataset:
    """Pictures of 100x100, each a list of (label, corners)."""
    boxes = [box for image in pictures for box in image]
    return Dataset(
        split=split,
        image_paths=[Path(f"{number}.jpg") for number in range(len(pictures))],
        image_ids=np.arange(1, len(pictures) + 1),
        image_sizes_wh=np.full((len(pictures), 2), 100, np.int32),
        box_offsets=np.concatenate([[0], np.cumsum([len(image) for image in pictures])]).astype(np.int64),
        boxes_xyxy=np.array([corners for _, corners in boxes], np.float64).reshape(-1, 4),
        labels=np.array([label for label, _ in boxes], np.int64),
        crowd=np.full(len(boxes), crowd),
        areas=np.ones(len(boxes)),
        class_names=names,
        category_ids=tuple(range(1, len(names) + 1)),
    )


def found_in(data: Dataset) -> list[Finding]:
    findings: list[Finding] = []
    check_boxes(data, findings.append)
    return findings


def found_in_classes(*datasets: Dataset) -> Counter[str]:
    findings: list[Finding] = []
    check_classes(datasets, findings.append)
    return Counter(finding.name for finding in findings)


SQUARE: Box = (10, 10, 30, 30)


def test_two_boxes_a_hundredth_apart_are_one_object_labelled_twice() -> None:
    """20 x 20 against 20.4 x 20.4 around it: IoU 400 / 416.16 = 0.961."""
    findings = found_in(dataset([[(0, SQUARE), (0, (9.8, 9.8, 30.2, 30.2))]]))
    assert [(finding.name, finding.file) for finding in findings] == [("repeated-box", "0.jpg")]
    assert findings[0].box_xyxy == (9.8, 9.8, 30.2, 30.2)
    assert not found_in(dataset([[(0, SQUARE), (0, (9.5, 9.5, 30.5, 30.5))]]))  # 0.907


def test_two_classes_on_one_object_are_told_apart_from_a_repeated_box() -> None:
    findings = found_in(dataset([[(0, SQUARE), (1, SQUARE), (1, SQUARE)]]))
    assert [finding.name for finding in findings] == ["box-of-two-classes", "box-of-two-classes"]


def test_the_same_box_in_two_images_is_no_repetition() -> None:
    assert not found_in(dataset([[(0, SQUARE)], [(0, SQUARE)]]))


def test_crowd_boxes_may_lie_on_each_other_and_cover_the_image() -> None:
    assert not found_in(dataset([[(0, (0, 0, 100, 100)), (0, (0, 0, 100, 100))]], crowd=True))


def test_boxes_beyond_sensible_sizes_are_noted() -> None:
    findings = found_in(dataset([[(0, (5, 5, 6.9, 50))], [], [(0, (0, 0, 98, 98))]]))
    assert [(finding.name, finding.file) for finding in findings] == [("tiny-box", "0.jpg"), ("huge-box", "2.jpg")]
    assert not found_in(dataset([[(0, (5, 5, 7, 50)), (0, (0, 0, 100, 95))]]))


def test_twenty_to_one_is_the_least_imbalance_told() -> None:
    assert not found_in_classes(dataset([[(0, SQUARE)]] * 20 + [[(1, SQUARE)]]))
    assert found_in_classes(dataset([[(0, SQUARE)]] * 21 + [[(1, SQUARE)]])) == Counter(["class-imbalance"])


@pytest.mark.parametrize(
    ("rare", "common", "is_told"),
    [
        ("racoon", "raccoon", True),  # a letter less
        ("Persons", "person", True),
        ("bicicle", "bicycle", True),  # another letter
        ("perosn", "person", True),  # two letters swapped
        ("sign10", "sign11", False),
        ("WBC", "RBC", False),
        ("truck", "train", False),
    ],
)
def test_a_rare_class_that_is_spelled_nearly_as_a_common_one_is_told(rare: str, common: str, is_told: bool) -> None:
    boxes = [[(0, SQUARE)]] + [[(1, SQUARE)]] * 11
    expected = Counter(["misspelt-class"] * is_told)
    assert found_in_classes(dataset(boxes, names=(rare, common))) == expected
    assert not found_in_classes(dataset(boxes[:-1], names=(rare, common)))


def test_a_class_that_is_learned_and_never_scored_is_noted() -> None:
    train, val = dataset([[(0, SQUARE), (1, SQUARE)]]), dataset([[(0, SQUARE)]], split="val")
    assert found_in_classes(train, val) == Counter(["unscored-class"])
    assert not found_in_classes(train, dataset([[(0, SQUARE), (1, SQUARE)]], split="val"))


def test_a_training_split_of_background_is_told_from_nine_tenths_on() -> None:
    assert not found_in_classes(dataset([[(0, SQUARE), (1, SQUARE)]] + [[]] * 9))
    assert found_in_classes(dataset([[(0, SQUARE), (1, SQUARE)]] + [[]] * 10)) == Counter(["mostly-background"])


def test_class_names_that_only_look_different_are_told_once() -> None:
    both = dataset([[(0, SQUARE), (1, SQUARE)]], names=("Red cell", "redcell"))
    assert found_in_classes(both) == Counter(["case-clash-class"])
