"""Options keep their old names: for the command line, in a file, and from Python."""

from pathlib import Path
from typing import Any

import pytest
from tests.support.raised import raises

from lookonce.cli.main import main
from lookonce.cli.options import options_of
from lookonce.cli.signatures import command_of
from lookonce.cli.verbs import VERBS
from lookonce.errors import SettingsError
from lookonce.request import old_names, old_names_of
from lookonce.workflows.predict_request import PredictRequest

# Verb -> (old name, new name) of an option.
EXPECTED = {
    ("eval", "pictures", "sheet_images"),
    ("diagnose", "pictures", "num_images"),
    ("predict", "pictures", "images"),
    ("export", "pictures", "images"),
    ("explain-assignment", "pictures", "sheet_images"),
    ("convert-data", "pictures", "image_files"),
    ("bench", "pictures", "images"),
    ("report", "pictures", "num_images"),
    ("demo", "pictures", "num_images"),
}
# From a file, `--file` gives a verb with settings these alone.
OF_FILES = sorted(row for row in EXPECTED if row[0] not in {"explain-assignment", "diagnose"})


def options(verb: str) -> Any:
    return options_of(command_of(VERBS[verb].load(), VERBS[verb].renames), verb)


def test_each_old_name_is_listed_here() -> None:
    found = {(name, old, new) for name, verb in VERBS.items() for old, new in old_names_of(verb.load()).items()}
    assert found == EXPECTED


@pytest.mark.parametrize(("verb", "old", "new"), sorted(EXPECTED))
def test_the_command_line_takes_the_old_name(verb: str, old: str, new: str) -> None:
    option = f"--{new.replace('_', '-')}"
    is_switch = new in options(verb).switches
    spellings = [f"--{old}=2", f"{old}=2"] + ([] if is_switch else [f"--{old} 2"])
    for spelling in spellings:
        assert "=".join(options(verb).normalised(spelling.split())) == f"{option}=2"
    if is_switch:
        assert options(verb).normalised([f"--no-{old}"]) == [f"--no-{new}"]


@pytest.mark.parametrize(("verb", "old", "new"), OF_FILES)
def test_a_file_takes_the_old_name(verb: str, old: str, new: str, tmp_path: Path) -> None:
    value = "false" if new in options(verb).switches else "2"
    file = tmp_path / "options.yaml"
    file.write_text(f"{old}: {value}\n")
    assert options(verb).normalised([f"--file={file}"]) == [f"--{new.replace('_', '-')}={value}"]
    file.write_text(f"{old}: {value}\n{new}: {value}\n")
    with raises(SettingsError, setting=new):
        options(verb).normalised([f"--file={file}"])


@pytest.mark.parametrize(("verb", "old", "new"), sorted(EXPECTED))
def test_both_names_at_once_are_refused(verb: str, old: str, new: str) -> None:
    with raises(SettingsError, setting=new):
        options(verb).normalised([f"--{old}=2", f"--{new}=2"])
    with raises(SettingsError, setting=new):
        VERBS[verb].load()(**{old: 2, new: 2})


@pytest.mark.parametrize(("verb", "old", "new"), sorted(EXPECTED))
def test_help_shows_the_new_name_alone(verb: str, old: str, new: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([verb, "--help"])
    shown = capsys.readouterr().out
    assert f"--{new.replace('_', '-')}" in shown
    assert f"--{old}" not in shown


def test_a_function_gets_the_value_under_its_new_name() -> None:
    @old_names(pictures="images")
    def verb(*, images: int) -> int:
        return images

    assert verb(pictures=3) == verb(images=3) == 3  # type: ignore[call-arg]


def test_predict_takes_the_old_switch_and_the_old_word_of_save() -> None:
    request: Any = {"source": "a.png", "weights": Path("w")}
    assert PredictRequest(**request, save="pictures,csv").saves == ["images", "csv"]
    assert PredictRequest(**request, save="pictures,csv", pictures=False).saves == ["csv"]


@pytest.mark.parametrize("line", ["images: val2017", "img_path: val2017"])
def test_a_folder_of_images_in_a_file_is_not_for_the_switch_of_predict(line: str, tmp_path: Path) -> None:
    file = tmp_path / "options.yaml"
    file.write_text(f"{line}\n")
    if line.startswith("images"):
        assert options("predict").normalised([f"--file={file}"]) == []
    else:
        with raises(SettingsError, setting="img_path", value="val2017"):
            options("predict").normalised(["--img_path=val2017"])
        assert options("predict").normalised([f"--file={file}"]) == []
