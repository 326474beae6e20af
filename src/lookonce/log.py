"""What a run says: plainly on a terminal; with the time of day in its log file, and wherever else stderr goes.

Everything goes through the logger `lookonce`, so a program that uses lookonce as a library can redirect or silence it.
"""

import logging
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

# The line of the model zoo's document: `2021-07-21 14:45:21,688:INFO:epoch[0], iter[400], ...`.
FILE_FORMAT = "%(asctime)s:%(levelname)s:%(message)s"

Advance = Callable[[int, str], None]
SECONDS_BETWEEN_LINES = 60.0


def get_logger() -> logging.Logger:
    return logging.getLogger("lookonce")


@cache
def console() -> "Console":
    """The one terminal: a progress bar and the lines above it must come from the same console."""
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True)


class ConsoleHandler(logging.Handler):
    """Prints each record as a line on stderr: on a terminal plain, above a progress bar where there is one; elsewhere
    just as it stands in a log file, so that `train ... 2>log.txt` makes one.

    It also keeps what it printed until a log file is opened: a run has something to say before it has a folder.
    shows_table: a live table says what records with `in_table` say, so these go to the file only.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shows_table = False
        self._as_in_a_file = logging.Formatter(FILE_FORMAT)
        self._said: deque[logging.LogRecord] = deque(maxlen=1000)

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record)
        if self.shows_table and getattr(record, "in_table", False):
            return
        if not console().is_terminal:
            # In one piece: a launcher and its processes may share the file. Rich would turn `:WARNING:` into an emoji.
            sys.stderr.write(f"{self._as_in_a_file.format(record)}\n")
            return
        style = "yellow" if record.levelno == logging.WARNING else "red" if record.levelno > logging.WARNING else ""
        console().print(self.format(record), style=style, markup=False, highlight=False, emoji=False)

    def repeat_to(self, other: logging.Handler) -> None:
        """Tell another handler what was said so far, once."""
        while self._said:
            other.handle(self._said.popleft())


@contextmanager
def logging_to(file: Path | None = None, *, to_console: bool = True) -> Iterator[logging.Logger]:
    """For the length of the block, lines go to the terminal and are appended to `file`.

    Blocks may lie in one another: the terminal gets each line once, the file also those of the block around it so far.
    """
    logger = get_logger()
    terminal = next((handler for handler in logger.handlers if isinstance(handler, ConsoleHandler)), None)
    handlers: list[logging.Handler] = [ConsoleHandler()] if to_console and terminal is None else []
    if file is not None:
        handlers.append(_file_handler(file))
        if terminal is not None:
            terminal.repeat_to(handlers[-1])
    level = logger.level
    logger.setLevel(logging.INFO)
    for handler in handlers:
        logger.addHandler(handler)
    try:
        yield logger
    finally:
        logger.setLevel(level)
        for handler in handlers:
            logger.removeHandler(handler)
            handler.close()


@contextmanager
def silenced(silent: bool) -> Iterator[None]:
    """With `silent`, nothing is said and no bar drawn for the length of the block: of several ranks only one speaks."""
    logger = get_logger()
    before = logger.disabled
    logger.disabled = silent
    try:
        yield
    finally:
        logger.disabled = before


def _file_handler(file: Path) -> logging.Handler:
    handler = logging.FileHandler(file, encoding="utf-8")
    handler.setFormatter(logging.Formatter(FILE_FORMAT))
    return handler


@contextmanager
def live_table(table: "RenderableType") -> Iterator[bool]:
    """For the length of the block a terminal shows the table, refreshed; yields whether it does, which a file never."""
    if not console().is_terminal:
        yield False
        return
    from rich.live import Live

    handlers = [handler for handler in get_logger().handlers if isinstance(handler, ConsoleHandler)]
    for handler in handlers:
        handler.shows_table = True
    try:
        with Live(table, console=console(), refresh_per_second=4, redirect_stdout=False, redirect_stderr=False):
            yield True
    finally:
        for handler in handlers:
            handler.shows_table = False


@contextmanager
def progress_bar(title: str, total: int | None) -> Iterator[Advance]:
    """Gives `advance(done, text)`: how many of `total` (None: nobody knows) are done, and a few words.

    Draws only on a terminal: elsewhere (a file, a CI log) a bar would be thousands of lines, so there is one a minute.
    """
    if not console().is_terminal or get_logger().disabled:
        yield _line_a_minute(title, total)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}"),
    )
    with Progress(*columns, console=console(), transient=True) as bars:
        bar = bars.add_task(title, total=total, text="")

        def advance(done: int, text: str) -> None:
            bars.update(bar, completed=done, text=text)

        yield advance


def _line_a_minute(title: str, total: int | None) -> Advance:
    told_at = time.monotonic()

    def advance(done: int, text: str) -> None:
        nonlocal told_at
        if time.monotonic() - told_at >= SECONDS_BETWEEN_LINES:
            told_at = time.monotonic()
            get_logger().info(f"{title or 'so far'}: {done:,}{'' if total is None else f' of {total:,}'} {text}")

    return advance
