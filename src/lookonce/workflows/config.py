"""`lookonce config`: every setting, its value and where it comes from."""

import sys
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from lookonce.config.resolve import DEFAULT_ORIGIN, Resolved, resolve
from lookonce.config.schema import GROUPS, Settings, group_of, help_of, unit_of
from lookonce.config.text import to_text
from lookonce.config.yaml_file import to_yaml

Row = tuple[str, str, str, str, str]
HEADINGS: Row = ("setting", "value", "unit", "from", "what it is")

NAME_WIDTH = max(map(len, Settings.model_fields)) + 2


def config(
    *,
    yaml: bool = False,
    **flags: Any,
) -> Resolved:
    """Show every setting, its value and where it comes from.

    Takes all options of `lookonce train`, and says what it would make of them.

    Parameters
    ----------
    yaml
        Print a settings file to start from, in place of the table.
    """
    resolved = resolve(flags)
    if yaml:
        sys.stdout.write(to_yaml(resolved.settings, comments=True))
    elif sys.stdout.isatty():
        print_for_people(resolved, Console(highlight=False))
    else:
        sys.stdout.write(as_text(resolved))
    sys.stderr.writelines(f"{note}\n" for note in resolved.notes)
    return resolved


def rows(resolved: Resolved) -> Iterator[tuple[str, Row]]:
    """(group, (name, value, unit, origin, help)) of every setting, group by group."""
    for group in GROUPS:
        for name in Settings.model_fields:
            if group_of(name) == group:
                value = to_text(getattr(resolved.settings, name)) or "-"
                yield group, (name, value, unit_of(name), resolved.origins[name], help_of(name))


def as_text(resolved: Resolved) -> str:
    """One line a setting, in columns; for pipes and logs."""
    table = [HEADINGS, *(row for _, row in rows(resolved))]
    widths = [max(len(row[column]) for row in table) for column in range(len(HEADINGS) - 1)]
    lines = (
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]]) for row in table
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)


def print_for_people(resolved: Resolved, console: Console) -> None:
    """Two lines a setting, by group; what is not the default in green."""
    for group, members in groupby(rows(resolved), key=itemgetter(0)):
        console.print(Text(f"\n{GROUPS[group]}", "bold"))
        for _, (name, value, unit, origin, help_text) in members:
            style = "dim" if origin == DEFAULT_ORIGIN else "green"
            known = Text.assemble(
                (f"  {name:<{NAME_WIDTH}}", "cyan"),
                f"{value} {unit}".rstrip() if value[0].isdigit() else value,
                (f"  ({origin})", style),
            )
            console.print(known)
            console.print(Padding(Text(help_text, "dim"), (0, 0, 0, 6)))
