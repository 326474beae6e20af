"""Logging: plain lines on a terminal; lines with time and level in a log file or a redirected stderr.

All messages use the logger `lookonce`, so a program that imports lookonce can redirect or silence them.
"""

import logging
import os
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lookonce.collector import collecting_later
from lookonce.errors import COMMAND
from lookonce.shown import shown, shown_lines

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

# The line of the model zoo's document: `2021-07-21 14:45:21,688:INFO:epoch[0], iter[400], ...`.
FILE_FORMAT = "%(asctime)s:%(levelname)s:%(message)s"

Advance = Callable[[int, str], None]
SECONDS_BETWEEN_LINES = 60.0
# `lookonce check`, but not `where lookonce expects them`; a test compares these with the verbs of cli/verbs.py.
COMMAND_WORDS = (
    *("anchors", "bench", "check", "config", "convert", "convert-data", "demo", "diagnose", "doctor", "eval"),
    *("explain-assignment", "export", "info", "job", "job-file", "monitor", "page", "predict", "pull", "push"),
    *("report", "serve", "train", "verify"),
)
_BEFORE_A_VERB = re.compile(rf"\blookonce (?=(?:VERB|{'|'.join(COMMAND_WORDS)})(?![\w-]))")
QUIET = "LOOKONCE_QUIET"  # in the environment, so that ranks and other processes of ours are quiet too


def get_logger() -> logging.Logger:
    return logging.getLogger("lookonce")


def log_lines(lines: Iterable[str]) -> None:
    for line in lines:
        get_logger().info(line)


@contextmanager
def quiet() -> Iterator[None]:
    """Inside the block, stderr gets warnings and errors only; log files get all lines."""
    before = os.environ.get(QUIET)
    os.environ[QUIET] = "1"
    try:
        yield
    finally:
        os.environ.pop(QUIET)
        if before is not None:
            os.environ[QUIET] = before


def is_on(variable: str) -> bool:
    """Whether an environment variable is set, and not to 0, false or no."""
    return os.environ.get(variable, "").lower() not in {"", "0", "false", "no"}


def is_quiet() -> bool:
    return is_on(QUIET)


def command_here(text: str) -> str:
    """The text with `lookonce VERB` as it is typed here: in a checkout `./run VERB`, and `./run lookonce --help`."""
    command = os.environ.get(COMMAND)
    if not command:
        return text
    text = re.sub(rf"(?<!{re.escape(command)} )\blookonce (?=--[a-z])", f"{command} lookonce ", text)
    return _BEFORE_A_VERB.sub(f"{command} ", text)


@cache
def console() -> "Console":
    """The single console on stderr: a progress bar and the lines above it must use the same one."""
    from rich.console import Console

    return Console(stderr=True, soft_wrap=True)


def is_terminal() -> bool:
    """Whether stderr is a terminal, as Rich sees it: importing it takes 0.06 s, which a redirected stream does not
    need. Rich also takes a stream for a terminal if one of these variables says so."""
    can_be = sys.stderr.isatty() or any(os.environ.get(name) for name in ("FORCE_COLOR", "TTY_COMPATIBLE"))
    return can_be and console().is_terminal


class FileFormatter(logging.Formatter):
    """Lines of a log file: nothing in a name acts on the terminal that shows the file."""

    def format(self, record: logging.LogRecord) -> str:
        return shown_lines(super().format(record))


class ConsoleHandler(logging.Handler):
    """Prints each record as a line on stderr.

    On a terminal the line is plain and above a progress bar; elsewhere it has the format of a log file, so that
    `train ... 2>log.txt` writes one. The handler also keeps its records until a log file is opened, since a run logs
    before its folder exists. shows_table: a live table shows the values of records with `in_table`, so these records go
    to the file only.
    """

    def __init__(self) -> None:
        super().__init__()
        self.shows_table = self.has_shown = False
        self._file_formatter = logging.Formatter(FILE_FORMAT)
        self._kept: deque[logging.LogRecord] = deque(maxlen=1000)

    def emit(self, record: logging.LogRecord) -> None:
        self._kept.append(record)
        if is_quiet() and record.levelno < logging.WARNING:
            return
        self.has_shown = True
        if self.shows_table and getattr(record, "in_table", False):
            return
        if not is_terminal():
            # In one write: a launcher and its processes may share the file. Rich would print an emoji for `:WARNING:`.
            sys.stderr.write(f"{shown_lines(command_here(self._file_formatter.format(record)))}\n")
            return
        style = "yellow" if record.levelno == logging.WARNING else "red" if record.levelno > logging.WARNING else ""
        console().print(
            shown_lines(command_here(self.format(record))), style=style, markup=False, highlight=False, emoji=False
        )

    def repeat_to(self, other: logging.Handler) -> None:
        """Pass the kept records to another handler, and forget them."""
        while self._kept:
            other.handle(self._kept.popleft())


@contextmanager
def logging_to(file: Path | None = None, *, to_console: bool = True) -> Iterator[logging.Logger]:
    """Inside the block, log to stderr and append to `file`.

    Blocks may be nested: stderr gets each line once; the file also gets the earlier lines of the outer block.
    """
    logger = get_logger()
    terminal = next(iter(_console_handlers()), None)
    handlers: list[logging.Handler] = [ConsoleHandler()] if to_console and terminal is None else []
    if file is not None:
        handlers.append(logging.FileHandler(file, encoding="utf-8"))
        handlers[-1].setFormatter(FileFormatter(FILE_FORMAT))
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


def has_logged() -> bool:
    """Whether stderr has got a line of the log, or gets none."""
    return get_logger().disabled or is_quiet() or any(handler.has_shown for handler in _console_handlers())


def _console_handlers() -> list[ConsoleHandler]:
    return [handler for handler in get_logger().handlers if isinstance(handler, ConsoleHandler)]


@contextmanager
def loading_torch() -> Iterator[None]:
    """Around the first import of PyTorch, which takes seconds: a line says what is awaited."""
    if "torch" not in sys.modules and find_spec("torch"):  # without it the error alone is of interest
        get_logger().info("loading PyTorch")
    with collecting_later():
        yield


@contextmanager
def silenced(silent: bool) -> Iterator[None]:
    """Inside the block, with `silent`, log nothing and draw no progress bar; all ranks but one use it."""
    logger = get_logger()
    before = logger.disabled
    logger.disabled = silent
    try:
        yield
    finally:
        logger.disabled = before


@contextmanager
def live_table(table: "RenderableType") -> Iterator[bool]:
    """Inside the block a terminal shows the table and refreshes it; yields whether stderr is a terminal."""
    if not is_terminal() or is_quiet():
        yield False
        return
    from rich.live import Live

    handlers = _console_handlers()
    for handler in handlers:
        handler.shows_table = True
    try:
        with Live(table, console=console(), refresh_per_second=4, redirect_stdout=False, redirect_stderr=False):
            yield True
    finally:
        for handler in handlers:
            handler.shows_table = False


def pace(done: int, total: int | None, seconds: float, unit: str = "images") -> str:
    """`24.1 images/s, 0:35 left`."""
    rate = done / seconds
    if total is None or done > total:
        return f"{rate:.1f} {unit}/s"
    minutes, rest = divmod(round((total - done) / rate), 60)
    return f"{rate:.1f} {unit}/s, {minutes}:{rest:02} left"


@contextmanager
def progress_bar(title: str, total: int | None) -> Iterator[Advance]:
    """Yields `advance(done, text)`: number done out of `total` (None: unknown), and a short text to show.

    Draws a bar on a terminal. Elsewhere (a file, a CI log) it logs one line per minute, since a bar would fill the log.
    """
    if not is_terminal() or get_logger().disabled or is_quiet():
        yield _line_per_minute(title, total)
        return
    from rich.markup import escape
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
            bars.update(bar, completed=done, text=escape(shown(text)))

        yield advance


@contextmanager
def progress_of(title: str, text: str = "") -> Iterator[Callable[[int, int], None]]:
    """Yields `on_progress(done, total)`: a progress bar whose total is known once the work has begun."""
    with ExitStack() as stack:
        advance: list[Advance] = []

        def on_progress(done: int, total: int) -> None:
            if not advance:
                advance.append(stack.enter_context(progress_bar(title, total)))
            advance[0](done, text)

        yield on_progress


def _line_per_minute(title: str, total: int | None) -> Advance:
    logged_at = time.monotonic()

    def advance(done: int, text: str) -> None:
        nonlocal logged_at
        if time.monotonic() - logged_at >= SECONDS_BETWEEN_LINES:
            logged_at = time.monotonic()
            get_logger().info(f"{title or 'so far'}: {done:,}{'' if total is None else f' of {total:,}'} {text}")

    return advance
