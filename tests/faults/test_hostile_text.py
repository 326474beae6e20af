"""Numbers, nesting, aliases and names that no program writes: each ends in a result or in one sentence."""

import json
from pathlib import Path

import pytest
from raised import raises

from lookonce.cli.main import main
from lookonce.data.source import open_data
from lookonce.errors import DataError, LookonceError, SettingsError, WeightsError
from lookonce.exit_codes import ExitCode
from lookonce.parsed import compose_yaml, construct_yaml, parse_json
from lookonce.settings.resolve import resolve
from lookonce.weights.checkpoint import load_checkpoint, read_training_values

DEEP_JSON = "[" * 100_000 + "]" * 100_000
DEEP_YAML = "[" * 600 + "]" * 600  # Python refuses about 200; 5,000 take PyYAML seconds
DIGITS = "7" * 5_000
ALIAS_BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 10)
)
OWN_ALIAS = "a: &a [*a]\n"
YAML = {"deep": f"lr: {DEEP_YAML}", "digits": f"seed: {DIGITS}", "aliases": ALIAS_BOMB, "own alias": OWN_ALIAS}
YAML |= {"int64": f"seed: {2**63}", "date": "lr: 2026-99-99", "binary": "lr: !!binary '@'", "tag": "lr: !!python/x y"}
YAML |= {"surrogate": 'lr: "\\ud800"', "set": "lr: !!set {[1]: }"}


@pytest.mark.parametrize("text", ["[" * 100_000, DEEP_JSON, DIGITS, b"\xff", "{"])
def test_json_that_cannot_be_read_is_a_value_error(text: str | bytes):
    with pytest.raises(ValueError, match=r"\w"):
        parse_json(text)


def test_an_alias_counts_as_often_as_it_is_used():
    root = compose_yaml("names: &n [a, b]\nothers: *n\n")
    assert root is not None
    assert construct_yaml(root) == {"names": ["a", "b"], "others": ["a", "b"]}
    with pytest.raises(ValueError, match="aliases"):
        compose_yaml(ALIAS_BOMB)


@pytest.mark.parametrize("name", YAML)
def test_a_file_of_settings_is_refused(name: str, tmp_path: Path):
    path = tmp_path / "mine.yaml"
    path.write_text(YAML[name], encoding="utf-8")
    with raises(SettingsError, path="mine.yaml"):
        resolve({}, file=path)


@pytest.mark.parametrize("name", YAML)
def test_a_file_of_data_is_refused(name: str, tmp_path: Path):
    path = tmp_path / "data.yaml"
    path.write_text(f"train: images\nnames: [a]\n{YAML[name]}\n", encoding="utf-8")
    with raises(DataError):
        open_data(path).split("train")


@pytest.mark.parametrize("value", [str(2**63), "-" + str(2**63 + 1), DIGITS])
@pytest.mark.parametrize("option", ["--seed", "--batch-size", "--max-boxes", "--image-size", "--channels"])
def test_a_typed_number_over_64_bits_is_wrong_use(option: str, value: str, capsys: pytest.CaptureFixture[str]):
    assert main(["config", f"{option}={value}"]) == ExitCode.WRONG_USE
    assert len(capsys.readouterr().err) < 2000


@pytest.mark.parametrize("name", ["x" * 300, "a\ud800.jpg", "x/" * 3000, "a\0b"])
@pytest.mark.parametrize(
    "line",
    [
        ["predict", "{}"],
        ["check", "{}"],
        ["eval", "--weights", "{}", "--data", "x"],
        ["report", "{}"],
        ["config", "--file", "{}"],
    ],
)
def test_a_name_that_no_file_can_have_is_one_sentence(name: str, line: list[str], capsys: pytest.CaptureFixture[str]):
    assert main([word.format(name) for word in line]) in {ExitCode.FAILED, ExitCode.WRONG_USE}
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    "manifest",
    [
        *("{}", "[]", DEEP_JSON, DIGITS, '{"model.safetensors": 7}'),
        '{"model.safetensors": {"sha257": "", "bytes": 1}}',
        '{"../../x": {"sha256": "", "bytes": 1}}',
        f'{{"training.json": {{"sha256": "", "bytes": {DIGITS}}}}}',
    ],
)
def test_a_damaged_manifest_is_named(manifest: str, tmp_path: Path):
    (tmp_path / "COMPLETE").touch()
    (tmp_path / "training.json").write_text("{}")
    (tmp_path / "manifest.json").write_text(manifest)
    with raises(WeightsError, path="manifest.json"):
        load_checkpoint(tmp_path)


def test_values_of_a_run_are_verified_before_they_are_read(tmp_path: Path):
    (tmp_path / "COMPLETE").touch()
    (tmp_path / "training.json").write_text(json.dumps({"position": {}}))
    (tmp_path / "manifest.json").write_text(json.dumps({"training.json": {"sha256": 1, "bytes": "2"}}))
    with raises(LookonceError):
        read_training_values(tmp_path)
