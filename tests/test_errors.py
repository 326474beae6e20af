"""How an extra is installed depends on where lookonce came from; how errors of other programs are quoted."""

import json
from types import SimpleNamespace

import pytest

from lookonce.errors import SettingsError, first_line, how_to_install

REPOSITORY = {"url": "https://host/lookonce.git", "vcs_info": {"vcs": "git"}}


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (None, 'pip install "lookonce[train]"'),
        ({"url": "file:///home/a/lookonce"}, 'pip install "lookonce[train] @ file:///home/a/lookonce"'),
        (REPOSITORY, 'pip install "lookonce[train] @ git+https://host/lookonce.git"'),
    ],
)
def test_pip_takes_the_extra_from_where_lookonce_came(
    origin: dict[str, str] | None, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = None if origin is None else json.dumps(origin)
    monkeypatch.setattr("importlib.metadata.distribution", lambda _: SimpleNamespace(read_text=lambda _: text))
    assert how_to_install("train") == command


def test_a_checkout_has_an_environment_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKONCE_COMMAND", "./run")
    assert how_to_install("video").startswith("./run uv sync ")


def test_a_value_that_cannot_be_seen_is_told_in_words() -> None:
    assert str(SettingsError.of("threads", "", "expected 1 or more")) == "threads: empty; expected 1 or more"


def test_the_first_line_of_an_error_without_a_text_is_its_type() -> None:
    assert first_line(OSError("no route\nto the host")) == "no route"
    assert first_line(TimeoutError()) == "TimeoutError"
