"""What the table on a terminal shows."""

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from lookonce.log import get_logger, logging_to
from lookonce.training.live_table import NUM_EPOCHS, LiveTable
from lookonce.training.progress import Progress

ROW = {"loss": 1.25, "lr": 0.01, "images_per_second": 99.96, "waiting_share": 0.25, "memory_mb": 1234.0, "AP": 0.5}


def drawn(table: LiveTable, width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(table)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_the_newest_epochs_the_one_under_way_and_a_bar_fit_into_80_columns() -> None:
    rows = [{"epoch": float(epoch), "box": 0.5, "objectness": 0.5, "classes": 0.25, **ROW} for epoch in range(12)]
    table = LiveTable(
        rows=rows, current={"epoch": 12, "loss": 1.0}, doing="epoch 13/20", done=3, total=40, left="ETA 1"
    )
    header, *lines, bar = drawn(table)
    assert header.split()[:3] == ["epoch", "loss", "box"]
    assert len(lines) == NUM_EPOCHS + 1
    assert lines[-2].split() == [
        "12",
        "1.250",
        "0.500",
        "0.500",
        "0.250",
        "0.01",
        "100.0",
        "25",
        "%",
        "1,234",
        "MB",
        "0.500",
    ]
    assert lines[-1].split() == ["13", "1.000"]
    assert bar.startswith("epoch 13/20 ")
    assert bar.endswith(" 3/40 ETA 1")
    assert max(map(len, (header, *lines, bar))) <= 80


def test_a_table_without_rows_is_its_heading() -> None:
    assert len(drawn(LiveTable())) == 1


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Console:
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    monkeypatch.setattr("lookonce.log.console", lambda: console)
    monkeypatch.setenv("FORCE_COLOR", "1")
    return console


def test_on_a_terminal_the_table_stands_for_the_lines_and_the_file_has_them(terminal: Console, tmp_path: Any) -> None:
    progress = Progress(epochs=1, steps_per_epoch=1, log_interval=1)
    row = {"epoch": 0.0, "box": 0.5, "objectness": 0.5, "classes": 0.25, **ROW, "waiting_share": 0.0}
    with logging_to(tmp_path / "log.txt"), progress.shown([row]):
        progress.epoch_line(0, row)
        get_logger().info("something else")
    shown = terminal.file.getvalue()  # type: ignore[attr-defined]
    assert "images/s" in shown
    assert "something else" in shown
    assert "epoch 1/1" not in shown
    assert "epoch 1/1  loss 1.250" in (tmp_path / "log.txt").read_text()


@pytest.mark.parametrize(("share", "expected"), [(0.1, 0), (0.3, 1)])
def test_advice_is_given_once_where_much_time_goes_into_waiting(
    share: float, expected: int, caplog: pytest.LogCaptureFixture, make_row: Callable[..., dict[str, float]]
) -> None:
    progress = Progress(epochs=2, steps_per_epoch=1, log_interval=1, against_waiting="more --workers")
    with caplog.at_level("INFO", logger="lookonce"):
        for epoch in (0, 1):
            progress.epoch_line(epoch, make_row(waiting_share=share))
    told = [record.getMessage() for record in caplog.records if "more --workers" in record.getMessage()]
    assert len(told) == expected
    assert all(line.startswith("30 % ") for line in told)


@pytest.fixture
def make_row() -> Callable[..., dict[str, float]]:
    return lambda **changes: {"epoch": 0.0, "box": 0.5, "objectness": 0.5, "classes": 0.25, **ROW, **changes}
