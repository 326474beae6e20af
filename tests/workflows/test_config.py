"""`lookonce config` shows values, units, help and origins."""

import re
from pathlib import Path

import pytest

from lookonce.cli.main import main
from lookonce.layout import Layout
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord
from lookonce.settings.resolve import resolve
from lookonce.settings.schema import GROUPS, Settings
from lookonce.weights.checkpoint import save_checkpoint
from lookonce.weights.convolutions import model_from_record
from lookonce.workflows.config import as_text, config, rows


def test_every_setting_is_there_once():
    names = [row[0] for _, row in rows(resolve({}))]
    assert sorted(names) == sorted(Settings.model_fields)


def test_text_has_a_line_a_setting_in_columns():
    lines = list(as_text(config(per_batch_size=4)))
    assert len(lines) == len(Settings.model_fields) + 1
    (line,) = [line for line in lines if line.startswith("batch_size ")]
    assert line.split()[:3] == ["batch_size", "4", "images"]
    assert "command line, per_batch_size" in line
    assert line.index("command line") == lines[0].index("from")


def test_a_terminal_gets_groups():
    shown = config(anchors="[[1,2],[3,4],[5,6],[7,8],[9,10],[11,12]]")
    coloured = as_text(shown, Layout(width=80, is_terminal=True))
    lines = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in coloured]
    assert set(GROUPS.values()) <= set(lines)
    assert any("[[1,2],[3,4]" in line for line in lines)
    assert max(map(len, lines)) <= 80


def test_yaml_can_be_read_again(tmp_path: Path):
    shown = config(yaml=True, recipe="modelzoo", epochs="3")
    path = tmp_path / "mine.yaml"
    path.write_text("\n".join(as_text(shown)), encoding="utf-8")
    assert resolve({}, file=path).settings == shown.resolved.settings


def test_notes_go_to_the_error_stream(capsys: pytest.CaptureFixture[str]):
    assert main(["config", "--num_classes=3", "--recipe=modern"]) == 0
    captured = capsys.readouterr()
    assert "num_classes: 3; " in captured.err
    assert captured.out.startswith("setting ")


@pytest.mark.parametrize("name", ["weights", "backbone_weights"])
def test_weights_that_are_not_here_are_not_passed_over_in_silence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOOKONCE_WEIGHTS", str(tmp_path))
    assert main(["config", f"--{name}=coco"]) == 0
    assert "weights: coco" in capsys.readouterr().err


def test_what_training_takes_over_from_the_weights_is_shown(tmp_path: Path) -> None:
    silu = DIALECTS["darknet"].model_copy(update={"activation": "silu"})
    masks = ((3, 4, 5), (1, 2, 3))
    record = ModelRecord(dialect=silu, channels=(4,) * 11, masks=masks, class_names=("a",), category_ids=(1,))
    save_checkpoint(tmp_path / "w", state=model_from_record(record).state_dict(), record=record)
    shown = config(weights=tmp_path / "w", activation="leaky").resolved
    assert (shown.settings.dialect, shown.settings.masks, shown.settings.activation) == ("darknet", masks, "leaky")
    assert shown.origins["masks"] == f"weights {tmp_path / 'w'}"
