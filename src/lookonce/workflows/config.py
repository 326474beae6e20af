"""`lookonce config`: every setting, its value and where it comes from."""

import sys
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Annotated, Any

from cyclopts import Parameter
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lookonce.config.resolve import DEFAULT_ORIGIN, Resolved, resolve
from lookonce.config.schema import GROUPS, Settings, group_of, help_of, unit_of
from lookonce.config.text import to_text
from lookonce.config.yaml_file import to_yaml

Row = tuple[str, str, str, str, str]
HEADINGS: Row = ("setting", "value", "unit", "from", "what it is")


def config(
    *,
    yaml: Annotated[
        bool, Parameter(help="Print a settings file to start from, in place of the table.", negative=())
    ] = False,
    **flags: Any,
) -> Resolved:
    """Show every setting, its value and where it comes from.

    Takes all options of `lookonce train`, and says what it would make of them.
    """
    resolved = resolve(flags)
    if yaml:
        sys.stdout.write(to_yaml(resolved.settings, comments=True))
    elif sys.stdout.isatty():
        Console().print(as_table(resolved))
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


def as_table(resolved: Resolved) -> Table:
    """For a terminal: grouped, what differs from the defaults in green."""
    table = Table(*HEADINGS, box=box.SIMPLE_HEAD, pad_edge=False)
    for group, members in groupby(rows(resolved), key=itemgetter(0)):
        table.add_section()
        table.add_row(Text(GROUPS[group], "bold"))
        for _, (name, value, unit, origin, help_text) in members:
            style = "" if origin == DEFAULT_ORIGIN else "green"
            cells = (Text(name, "cyan"), Text(value, style), Text(unit), Text(origin, style), Text(help_text, "dim"))
            table.add_row(*cells)
    return table
