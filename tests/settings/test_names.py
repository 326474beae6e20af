"""Numbers and nouns agree; lists of names, and names that are unknown."""

from pathlib import Path
from shlex import quote

import pytest
from raised import raises

from lookonce.errors import SettingsError
from lookonce.settings.names import (
    counted,
    num_edits,
    require_one_of,
    split_list,
    suggested_path,
    suggested_value,
    suggestion,
)


@pytest.mark.parametrize(
    ("number", "noun", "text"),
    [
        (1, "image", "1 image"),
        (0, "image", "0 images"),
        (3, "class", "3 classes"),
        (1200, "batch", "1,200 batches"),
        (2, "epoch", "2 epochs"),
    ],
)
def test_number_and_noun_agree(number: int, noun: str, text: str) -> None:
    assert counted(number, noun) == text


def test_a_list_between_commas_has_no_empty_words() -> None:
    assert split_list(" a, b,,") == ["a", "b"]
    assert split_list("") == []


def test_an_unknown_name_is_answered_with_a_similar_one_or_with_all() -> None:
    require_one_of("to", "onnx", ["onnx", "ncnn"])
    with raises(SettingsError, "'onx'", "onnx?", setting="to", value="onx"):
        require_one_of("to", "onx", ["onnx", "ncnn"])
    with raises(SettingsError, "'zzzzz'", "onnx, ncnn", setting="to", value="zzzzz"):
        require_one_of("to", "zzzzz", ["onnx", "ncnn"])


@pytest.mark.parametrize(
    ("first", "second", "edits"),
    [
        ("", "ab", 2),
        ("lr", "lr", 0),
        ("lrr", "lr", 1),
        ("wieghts", "weights", 1),
        ("epch", "epochs", 2),
        ("ca", "abc", 3),
    ],
)
def test_a_swap_of_two_neighbours_is_one_edit(first: str, second: str, edits: int) -> None:
    assert num_edits(first, second) == num_edits(second, first) == edits


def test_a_similar_name_is_one_edit_away_and_two_in_a_long_word() -> None:
    assert suggestion("imges", ["images"]).endswith(" images?")
    assert suggestion("imgs", ["images"]) == ""
    assert suggestion("val_fractoin_", ["val_fraction"]).endswith(" val_fraction?")
    assert suggestion("to", ["top"]) == ""
    assert suggestion("of", []) == ""


@pytest.mark.parametrize(
    ("value", "known", "meant"),
    [
        ("gpu", ["cpu", "cuda"], "cuda"),
        ("GPU", ["cpu", "cuda"], "cuda"),
        ("bycicle", ["person", "bicycle"], "bicycle"),
        ("Person", ["person", "bicycle"], "person"),
        ("validation", ["train", "val"], "val"),
        ("val", ["train", "validation"], "validation"),
        ("engine", ["onnx", "tensorrt"], "tensorrt"),
        ("exported-program", ["onnx", "torch-export"], "torch-export"),
        ("adam", ["sgd", "adamw"], "adamw"),
        ("fine-tune", ["finetune", "modern"], "finetune"),
        ("half", ["fp32", "fp16"], "fp16"),
    ],
)
def test_a_value_is_answered_with_the_one_of_the_same_meaning(value: str, known: list[str], meant: str) -> None:
    assert suggested_value(value, known) == f"; did you mean {meant}?"


def test_a_value_without_a_similar_one_suggests_nothing() -> None:
    assert suggested_value("gpu", ["train", "val"]) == suggested_value("sofa", ["cat", "dog"]) == ""


def test_a_path_that_is_not_there_suggests_the_one_it_is_a_typo_of(tmp_path: Path) -> None:
    (tmp_path / "my data" / "raccoon").mkdir(parents=True)
    shown = quote(str(tmp_path / "my data" / "raccoon"))
    assert shown in suggested_path(tmp_path / "my data" / "raccon")
    assert shown in suggested_path(tmp_path / "my dat" / "raccoon")  # a folder above it
    assert suggested_path(tmp_path / "my dat" / "cups") == suggested_path(tmp_path / "sofa") == ""
    assert suggested_path(tmp_path / "no such folder" / "raccoon") == ""


def test_a_relative_path_suggests_a_relative_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raccoon").mkdir()
    assert suggested_path(Path("raccon")).endswith(" raccoon?")
