"""The size of the network input is a side, or height x width."""

from typing import Any

import pytest
from raised import raises

from lookonce.errors import SettingsError
from lookonce.settings.image_size import hw_of, size_hw, size_in_words
from lookonce.settings.resolve import resolve
from lookonce.settings.text import to_text


@pytest.mark.parametrize(
    ("typed", "height_width"),
    [(416, (416, 416)), ("416", (416, 416)), ("416X224", (416, 224)), ("416,224", (416, 224)), ([64, 64], (64, 64))],
)
def test_every_spelling_is_height_and_width(typed: Any, height_width: tuple[int, int]) -> None:
    assert size_hw(typed) == height_width
    setting = resolve({"image_size": typed}).settings.image_size
    assert hw_of(setting) == height_width
    again = resolve({"image_size": to_text(setting)}).settings.image_size
    assert again == setting


@pytest.mark.parametrize("typed", [100, "416x100", "0", "a", "1x2x3", "", (32,) * 3])
def test_other_sizes_are_an_error_in_a_verb_and_in_training(typed: Any) -> None:
    with raises(SettingsError, setting="image_size", value=typed):
        size_hw(typed)
    with raises(SettingsError, setting="image_size"):
        resolve({"image_size": typed})


def test_a_square_size_is_one_number_in_words() -> None:
    assert [size_in_words(size) for size in ((416, 416), (416, 224))] == ["416", "416x224"]
