"""The table of settings: defaults, ranges, and that every line teaches."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from lookonce.settings.schema import GROUPS, Settings, default_of, group_of, help_of, unit_of
from lookonce.settings.values import seconds_of

PROJECT = Path(__file__).parents[2]


def test_the_defaults_are_in_their_own_ranges():
    settings = Settings()  # validates them
    assert settings.batch_size == default_of("batch_size")


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_has_a_group_and_a_sentence(name: str):
    assert group_of(name) in GROUPS
    assert re.fullmatch(r".{15,}\.", help_of(name), re.DOTALL), help_of(name)
    assert unit_of(name) == unit_of(name).strip()


def test_image_size_names_the_nearest_sizes():
    with pytest.raises(ValidationError, match=r"multiple of 32.*: 416 or 448"):
        Settings(image_size=420)
    with pytest.raises(ValidationError, match=": 32 or 64"):
        Settings(image_size=0)


def test_settings_cannot_change_once_made():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().lr = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [
        ("30m", 1800),
        ("1h30m", 5400),
        ("1.5h", 5400),
        ("2 h", 7200),
        ("90s", 90),
        ("1D", 86400),
        ("", 0),
        (".5m ", 30),
        (" ", 0),
    ],
)
def test_times_have_a_unit(typed: str, seconds: float):
    assert seconds_of(Settings(time=typed).time) == seconds


@pytest.mark.parametrize("typed", ["30", "1h30", "1.2.3h", ".h", "h", "-1h"])
def test_a_time_that_is_none_is_refused_with_an_example(typed: str):
    with pytest.raises(ValidationError, match="30m"):
        Settings(time=typed)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValidationError, match="extra"):
        Settings(learning_rate=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "values",
    [
        {"scale_min": 2, "scale_max": 1},
        {"lr": 1e-6, "lr_floor": 1e-5},
        {"assignment": "neighbours", "dialect": "darknet"},
        {"anchors": [[10, 14]] * 5},
        {"anchors": [[10, 14]] * 5 + [[0, 3]]},
        {"width": [16, 32]},
        {"width": 0},
        {"device": "gpu"},
        {"name": "../elsewhere"},
        {"name": "a\0b"},
        {"lr": float("nan")},
        {"clip_norm": float("inf")},
        {"multi_scale": [320, 333]},
        {"start_epoch": 100},
        {"nominal_batch": 64, "accumulate": 2},
        {"freeze_stages": 3},
        {"weights": "scratch"},
        {"patience": 5, "eval_every": 0},
        {"time": "30"},
        {"time": "soon"},
    ],
)
def test_what_does_not_go_is_refused(values: dict[str, object]):
    with pytest.raises(ValidationError):
        Settings(**values)


def test_recipes_are_part_of_the_package():
    # uv_build packs every file below the package; a recipe outside of it would be missing from the wheel.
    assert tomllib.loads((PROJECT / "pyproject.toml").read_text())["build-system"]["build-backend"] == "uv_build"
    recipes = {path.stem for path in (PROJECT / "src/lookonce/settings/recipes").glob("*.yaml")}
    assert recipes == {"modelzoo", "modern", "finetune"}
