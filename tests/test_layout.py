"""Tables as they are shown on a terminal and in a file."""

import pytest
from rich.table import Table
from rich.text import Text

from lookonce.cli.main import _show
from lookonce.cli.verbs import VERBS, Verb
from lookonce.layout import PLAIN, Layout, Styled

NAME = "cat\x1b[31m"  # a class of somebody else's data


def table() -> Table:
    made = Table("class", box=None)
    made.add_row(Text(NAME))
    return made


def test_a_style_acts_on_a_terminal_and_a_name_does_not() -> None:
    head, row = Layout(width=40, is_terminal=True).lines(table())
    assert head.startswith("\x1b[1m")
    assert row.strip() == r"cat\x1b[31m"
    assert "\x1b" not in "".join(PLAIN.lines(table()))


def test_a_verb_prints_the_style_of_a_table_and_writes_out_what_a_name_would_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Verb, "lines", lambda *_: [Styled("\x1b[1mclass\x1b[0m"), NAME])
    _show(VERBS["info"], None, json=False)
    assert capsys.readouterr().out == "\x1b[1mclass\x1b[0m\ncat\\x1b[31m\n"


def test_in_a_notebook_a_table_is_part_of_the_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = list(PLAIN.lines(table()))
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)  # whose Rich shows what it prints by itself
    assert list(PLAIN.lines(table())) == outside
    assert capsys.readouterr().out == ""
