"""Names with escape sequences, ends of lines, formulas, markup, and bytes that are not UTF-8."""

import io
import json
import os
import sys
from pathlib import Path

import pytest

from lookonce.cli.main import main
from lookonce.errors import DataError
from lookonce.exit_codes import ExitCode
from lookonce.log import get_logger, logging_to
from lookonce.shown import csv_cell, csv_text, shown, shown_lines, to_json

NOT_UTF8 = os.fsdecode(b"caf\xe9.jpg")
ACTING = "a\x1b[31mb\nc\x9b2J\u202e"


def test_a_name_is_shown_on_one_line_without_control_characters():
    assert shown(ACTING) == r"a\x1b[31mb\nc\x9b2J\u202e"
    assert shown("猫ü :smile: [bold]") == "猫ü :smile: [bold]"
    assert shown(NOT_UTF8) == r"caf\udce9.jpg"
    assert shown_lines("a\n\tb\x1b") == "a\n\tb\\x1b"


def test_json_gives_back_the_bytes_of_a_name():
    text = to_json({"file": NOT_UTF8, "class": "猫"})
    assert "猫" in text
    assert os.fsencode(json.loads(text.encode())["file"]) == b"caf\xe9.jpg"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\tx"])
def test_a_formula_is_text_and_a_number_stays_one(text: str):
    assert csv_cell(text).startswith("'")
    assert csv_cell(-1.5) == -1.5
    assert csv_cell("a=b") == "a=b"
    assert csv_text([{"n": 1}, {text: text}]).splitlines() == [f"n,{csv_cell(text)}", "1,", f",{csv_cell(text)}"]


def test_a_log_file_and_an_error_show_a_name_escaped(tmp_path: Path):
    with logging_to(tmp_path / "log.txt", to_console=False):
        get_logger().warning("%s", DataError(f"{ACTING}: damaged", path=ACTING))
    lines = (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1
    assert shown(ACTING) in lines[0]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_no_encoding_of_the_terminal_ends_a_verb(encoding: str, monkeypatch: pytest.MonkeyPatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    assert main(["check", f"no-猫-{NOT_UTF8}"]) == ExitCode.FAILED
    stream.flush()
    assert b"udce9" in stream.buffer.getvalue()  # type: ignore[attr-defined]
