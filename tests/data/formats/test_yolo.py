from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from raised import raises

from lookonce.data.source import open_data
from lookonce.errors import DataError

Save = Callable[..., Path]


@pytest.fixture
def dogs(tmp_path: Path, save_image: Save) -> Save:
    """images/train/{a,dog}.png of 100x50 with the given labels of dog.png."""

    def make(labels: str, names: str = "[dog, cat]", entries: str = "train: images/train") -> Path:
        save_image(tmp_path / "images" / "train" / "dog.png")
        save_image(tmp_path / "images" / "train" / "a.png")
        (tmp_path / "labels" / "train").mkdir(parents=True, exist_ok=True)
        (tmp_path / "labels" / "train" / "dog.txt").write_text(labels)
        (tmp_path / "data.yaml").write_text(f"{entries}\nnames: {names}\n")
        return tmp_path

    return make


def test_fractions_become_pixels_and_an_image_without_labels_is_background(dogs: Save) -> None:
    dataset = open_data(dogs("1 0.5 0.5 0.2 0.4\n\n0 0.25 0.5 0.5 1\n")).split("train")
    assert [path.name for path in dataset.image_paths] == ["a.png", "dog.png"]
    np.testing.assert_array_equal(dataset.box_offsets, [0, 0, 2])
    np.testing.assert_array_equal(dataset.boxes_xyxy, [(40, 15, 60, 35), (0, 0, 50, 50)])
    np.testing.assert_array_equal(dataset.labels, [1, 0])
    assert dataset.class_names == ("dog", "cat")


def test_a_polygon_becomes_the_box_around_it(dogs: Save) -> None:
    dataset = open_data(dogs("0 0.1 0.2 0.5 0.1 0.3 0.8\n")).split("train")
    np.testing.assert_array_equal(dataset.boxes_xyxy, [(10, 5, 50, 40)])


@pytest.mark.parametrize("names", ["{0: dog, 1: cat}", "{1: cat, 0: dog}", "[dog, cat]\nnc: 2"])
def test_names_as_list_or_mapping(dogs: Save, names: str) -> None:
    assert open_data(dogs("", names)).split("train").class_names == ("dog", "cat")


@pytest.mark.parametrize(
    ("names", "setting", "told"),
    [
        ("{0: dog, 2: cat}", "names", "[0, 2]"),
        ("[]", "names", "[]"),
        ("[dog, dog]", "names", "'dog'"),
        ("[dog, cat]\nnc: 3", "nc", "3"),
    ],
)
def test_wrong_names_are_refused(dogs: Save, names: str, setting: str, told: str) -> None:
    with raises(DataError, told, path="data.yaml", setting=setting):
        open_data(dogs("", names))


@pytest.mark.parametrize(
    ("line", "check", "told"),
    [
        ("80 .5 .5 .1 .1", "unknown-class", "class 80"),
        ("-1 .5 .5 .1 .1", "unknown-class", "class -1"),
        ("0.5 .5 .5 .1 .1", "unknown-class", "class 0.5"),
        ("dog .5 .5 .1 .1", "malformed-entry", "'dog .5 "),
        ("0 .5 .5 .1", "malformed-entry", "is 4"),
        ("0 .5 .5 .1 .1 .9", "malformed-entry", "is 6"),
        ("0 .5 nan .1 .1", "box-not-finite", "'0 .5 nan "),
        ("0 320 240 64 48", "not-a-fraction", "320 "),
    ],
)
def test_a_bad_line_is_named_and_a_collector_goes_on(dogs: Save, line: str, check: str, told: str) -> None:
    root = dogs(f"0 .5 .5 .1 .1\n\n{line}\n")
    with raises(DataError, "line 3", told, path="dog.txt", check=check):
        open_data(root).split("train")
    findings = []
    assert len(open_data(root).read("train", findings.append).labels) == 1
    assert [finding.severity for finding in findings if finding.name != "no-label-file"] == ["error"]


def test_list_files_keep_their_order_and_folders_can_be_several(dogs: Save, save_image: Save) -> None:
    root = dogs("0 .5 .5 .1 .1")
    (root / "train.txt").write_text("./images/train/dog.png\nimages/train/a.png\n")
    save_image(root / "more" / "z.png")
    (root / "more" / "z.txt").write_text("1 .5 .5 .1 .1")  # beside its picture
    (root / "data.yaml").write_text("path: .\ntrain: [train.txt, more]\nval: images\nnames: [dog, cat]\n")
    source = open_data(root)
    assert [path.stem for path in source.split("train").image_paths] == ["dog", "a", "z"]
    np.testing.assert_array_equal(source.split("train").labels, [0, 1])
    assert [path.stem for path in source.split("val").image_paths] == ["a", "dog"]


@pytest.mark.parametrize("written", ["path: ../datasets/dogs\ntrain: images/train", "train: ../images/train"])
def test_paths_that_mean_another_programs_folder_are_understood(dogs: Save, written: str) -> None:
    assert len(open_data(dogs("0 .5 .5 .1 .1", entries=written)).split("train")) == 2


def test_a_path_that_is_nowhere_is_named(dogs: Save) -> None:
    with raises(DataError, path="data.yaml", setting="train", value="pictures"):
        open_data(dogs("", entries="train: pictures")).split("train")


def test_listed_images_that_are_missing_or_damaged_are_named(dogs: Save) -> None:
    root = dogs("", entries="train: train.txt")
    (root / "train.txt").write_text("./images/train/gone.png\n")
    with raises(DataError, "train.txt", path="gone.png", check="missing-picture"):
        open_data(root).split("train")
    (root / "train.txt").write_text("./images/train/dog.png\n")
    (root / "images" / "train" / "dog.png").write_bytes(b"no picture")
    with raises(DataError, path="dog.png", check="unreadable-picture"):
        open_data(root).split("train")
