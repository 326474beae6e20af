import logging
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from lookonce import log
from lookonce.log import console, get_logger, loading_torch, logging_to, progress_bar, progress_of


def test_the_file_has_the_documents_time_and_level(tmp_path: Path) -> None:
    with logging_to(tmp_path / "log.txt", to_console=False):
        get_logger().info("epoch[0], iter[400], loss:503.8")
    line = (tmp_path / "log.txt").read_text()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}:INFO:epoch\[0\], iter\[400\], loss:503.8\n", line)


def test_lines_are_appended_by_a_resumed_run(tmp_path: Path) -> None:
    for text in ("one", "two"):
        with logging_to(tmp_path / "log.txt", to_console=False):
            get_logger().info(text)
    assert len((tmp_path / "log.txt").read_text().splitlines()) == 2


def test_outside_the_block_nothing_is_left_behind(tmp_path: Path) -> None:
    before = list(get_logger().handlers)
    with logging_to(tmp_path / "log.txt"):
        assert len(get_logger().handlers) == len(before) + 2
    assert get_logger().handlers == before
    assert get_logger().level == logging.NOTSET


def test_a_block_inside_a_block_prints_once(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to(), logging_to():
        assert sum(type(handler).__name__ == "ConsoleHandler" for handler in get_logger().handlers) == 1


def test_only_the_first_import_of_pytorch_has_a_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    with loading_torch():
        pass
    assert caplog.messages == []
    monkeypatch.delitem(sys.modules, "torch")
    with loading_torch():
        assert caplog.messages == ["loading PyTorch"]


def test_where_pytorch_is_not_installed_its_loading_is_not_announced(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))  # put back afterwards, also if it was not there
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr("lookonce.log.find_spec", lambda _name: None)
    with loading_torch():
        assert not caplog.messages


def test_without_a_terminal_a_line_is_that_of_the_log_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to(tmp_path / "log.txt"):
        get_logger().info("epoch[0], iter[400], loss:503.8")
        get_logger().warning("2 boxes of :fire:.jpg left out")
    told = capsys.readouterr().err
    assert told == (tmp_path / "log.txt").read_text()
    assert re.fullmatch(r"[\d-]{10} [\d:]{8},\d{3}:WARNING:2 boxes of :fire:.jpg left out", told.splitlines()[1])


def test_on_a_terminal_a_line_is_plain(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    console.cache_clear()
    monkeypatch.setenv("FORCE_COLOR", "1")  # Rich takes it for a terminal
    with logging_to():
        get_logger().info("2 boxes of :fire:.jpg left out")
    console.cache_clear()
    assert capsys.readouterr().err == "2 boxes of :fire:.jpg left out\n"


def test_without_a_terminal_a_bar_draws_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar("epoch", 3) as advance:
        advance(1, "text")
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_long_work_tells_how_far_it_is_once_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with logging_to(), progress_bar("fetching", 18_000) as advance:
        advance(1000, "MiB")
        monkeypatch.setattr(log, "SECONDS_BETWEEN_LINES", 0)  # as if they had passed
        advance(2000, "MiB")
    assert caplog.messages == ["fetching: 2,000 of 18,000 MiB"]


def test_a_bar_shows_a_total_that_is_known_once_the_work_has_begun(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "SECONDS_BETWEEN_LINES", 0)
    with logging_to(), progress_of("unpacking", "files") as on_progress:
        on_progress(2, 59)
    assert caplog.messages == ["unpacking: 2 of 59 files"]


def test_what_was_said_before_the_file_was_opened_is_in_it_once(tmp_path: Path) -> None:
    with logging_to():
        get_logger().warning("2 boxes left out")
        for name in ("one.txt", "two.txt"):
            with logging_to(tmp_path / name):
                get_logger().info("begin")
    assert "2 boxes left out" in (tmp_path / "one.txt").read_text()
    assert len((tmp_path / "two.txt").read_text().splitlines()) == 2  # the first file's line, not the warning again
