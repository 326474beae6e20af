"""The page of `lookonce --help`, written without the parser of options, so that it appears at once."""

import shutil
import textwrap

from lookonce.cli.verbs import VERBS
from lookonce.log import command_here

INTRODUCTION = "The complete YOLOv3-Tiny detector: train, evaluate, predict, export."
MODES = ("--quiet", "--json", "--traceback")  # of every verb
OPTIONS = {"--help, -h": "Show this page.", "--version": "Show the version."}
EPILOGUE = (
    "lookonce VERB --help lists the options of a verb.",
    "--batch-size 8, --batch_size=8 and batch_size=8 are equivalent.",
    "",
    (
        "For every verb: --quiet shows no progress, only warnings, errors and results. --json prints the result as "
        "JSON to standard output, and everything else to standard error. --traceback prints the Python traceback of an "
        "error."
    ),
    "",
    (
        "lookonce --install-completion [bash|zsh|fish] completes verbs and options with Tab; --show-completion only "
        "prints the script."
    ),
)
WIDEST = 80  # columns, also on wider terminals: long lines are hard to read


def overview() -> str:
    verbs = {name: verb.summary for name, verb in VERBS.items()}
    column = max(map(len, verbs)) + 4
    width = min(shutil.get_terminal_size().columns, WIDEST)

    def rows(texts: dict[str, str]) -> list[str]:
        return [
            textwrap.fill(text, width, initial_indent=f"  {name}".ljust(column), subsequent_indent=" " * column)
            for name, text in texts.items()
        ]

    return "\n".join(
        [
            command_here("Usage: lookonce VERB [OPTIONS]"),
            *("", INTRODUCTION, "", "Verbs:", *rows(verbs), "", "Options:", *rows(OPTIONS), ""),
            *(textwrap.fill(command_here(paragraph), width) for paragraph in EPILOGUE),
        ]
    )
