"""`lookonce config`: every setting, its value and where it comes from."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from rich.padding import Padding
from rich.text import Text

from lookonce.errors import how_to_install
from lookonce.layout import PLAIN, Layout, Printed
from lookonce.log import get_logger
from lookonce.settings.resolve import DEFAULT_ORIGIN, Resolved, resolve
from lookonce.settings.schema import GROUPS, Settings, group_of, help_of, unit_of
from lookonce.settings.text import to_text
from lookonce.settings.yaml_file import to_yaml
from lookonce.weights.published import PUBLISHED
from lookonce.weights.pull import pulled

Row = tuple[str, str, str, str, str]
HEADINGS: Row = ("setting", "value", "unit", "from", "what it is")

NAME_WIDTH = max(map(len, Settings.model_fields)) + 2


@dataclass(frozen=True, kw_only=True)
class Configuration(Printed):
    """resolved: every setting, with its origin; yaml: to be shown as a settings file."""

    resolved: Resolved
    yaml: bool


def config(
    *,
    yaml: bool = False,
    **flags: Any,
) -> Configuration:
    """Show every setting, its value and where it comes from.

    Takes all options of `lookonce train`, and says what it would make of them. With --weights the values that training
    takes over from the weights are among them.

    Parameters
    ----------
    yaml
        Print a settings file to start from, in place of the table.
    """
    resolved = resolve(flags)
    for note in resolved.notes:
        get_logger().warning(note)
    return Configuration(resolved=at_weights(resolved), yaml=yaml)


def at_weights(resolved: Resolved) -> Resolved:
    """The settings with the values that `train` takes over from the weights; unchanged, and a warning, if the weights
    cannot be read here."""
    path = resolved.settings.weights or resolved.settings.backbone_weights
    if path is None:
        return resolved
    if str(path) in PUBLISHED and pulled(str(path)) is None:
        _warn_of_unread(path, f"they are not on this machine: lookonce pull {path}")
        return resolved
    try:
        from lookonce.workflows.starting_weights import at_weights as with_values_of_weights
    except ModuleNotFoundError:
        _warn_of_unread(path, f"reading them needs: {how_to_install('train')}")
        return resolved
    return with_values_of_weights(resolved)


def _warn_of_unread(path: Path, reason: str) -> None:
    get_logger().warning(f"weights: {path}; not read, so `train` takes over further values than these; {reason}")


def as_text(shown: Configuration, layout: Layout = PLAIN) -> Iterator[str]:
    """A settings file; or the table, in groups on a terminal, a line a setting elsewhere."""
    if shown.yaml:
        yield from to_yaml(shown.resolved.settings, comments=True).splitlines()
    elif layout.is_terminal:
        yield from _in_groups(shown.resolved, layout)
    else:
        table = [HEADINGS, *(row for _, row in rows(shown.resolved))]
        widths = [max(len(row[column]) for row in table) for column in range(len(HEADINGS) - 1)]
        for row in table:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=False))
            yield "  ".join([*cells, row[-1]]).rstrip()


def rows(resolved: Resolved) -> Iterator[tuple[str, Row]]:
    """(group, (name, value, unit, origin, help)) of every setting, group by group."""
    for group in GROUPS:
        for name in Settings.model_fields:
            if group_of(name) == group:
                value = to_text(getattr(resolved.settings, name)) or "-"
                yield group, (name, value, unit_of(name), resolved.origins[name], help_of(name))


def _in_groups(resolved: Resolved, layout: Layout) -> Iterator[str]:
    """Two lines a setting, by group; what is not the default in green."""
    for group, members in groupby(rows(resolved), key=itemgetter(0)):
        yield from layout.lines(Text(f"\n{GROUPS[group]}", "bold"))
        for _, (name, value, unit, origin, help_text) in members:
            style = "dim" if origin == DEFAULT_ORIGIN else "green"
            known = Text.assemble(
                (f"  {name:<{NAME_WIDTH}}", "cyan"),
                f"{value} {unit}".rstrip() if value[0].isdigit() else value,
                (f"  ({origin})", style),
            )
            yield from layout.lines(known)
            yield from layout.lines(Padding(Text(help_text, "dim"), (0, 0, 0, 6)))
