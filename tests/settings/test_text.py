"""Settings as text, there and back."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from raised import raises

from lookonce.errors import SettingsError
from lookonce.settings.resolve import coerce
from lookonce.settings.schema import Settings, default_of
from lookonce.settings.text import choices_of, kind_in_words, kinds_of, range_of, to_text
from lookonce.settings.values import require_device


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "true"),
        (0.5, "0.5"),
        (0.123456789, "0.123456789"),
        (1.0, "1"),
        ((320, 352), "320,352"),
        ((), ""),
        (((10.0, 14.0), (23.0, 27.5)), "[[10,14],[23,27.5]]"),
        (Path("runs"), "runs"),
    ],
)
def test_values_are_written_as_they_can_be_typed(value: object, text: str):
    assert to_text(value) == text


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_default_can_be_typed(name: str):
    assert coerce(name, to_text(default_of(name))) == default_of(name)


@given(st.floats(min_value=0, max_value=1e6))
def test_numbers_come_back_from_text(number: float):
    assert coerce("clip_norm", to_text(number)) == number


def test_what_may_be_typed_is_said_in_words():
    assert all(choice in kind_in_words("activation") for choice in ("auto", "leaky", "silu"))
    assert range_of("momentum") == "at least 0, under 1"
    assert kind_in_words("workers").startswith("auto ")
    assert range_of("workers") == "at least 0, up to 256"
    assert range_of("width") == "over 0, up to 4"
    assert range_of("name") == ""
    assert choices_of("box_loss") == ("giou", "diou", "ciou")
    assert choices_of("lr") == ()
    assert kinds_of("width") == {float, tuple}
    assert kinds_of("weights") == {Path, type(None)}


@pytest.mark.parametrize(
    ("device", "meant"),
    [("gpu", "cuda?"), ("cuda0", "cuda:0?"), ("0", "cuda:0?"), ("GPU:1", "cuda:1?"), ("ascend", "npu?")],
)
def test_a_device_of_another_program_is_answered_with_pytorchs(device: str, meant: str) -> None:
    with raises(SettingsError, meant, setting="device", value=device):
        require_device(device)


def test_an_optimizer_of_another_name_is_answered_with_ours() -> None:
    with raises(SettingsError, "adamw?", setting="optimizer"):
        coerce("optimizer", "adam")
