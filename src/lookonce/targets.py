"""Imports by text: "module:name" in a table, imported when the entry is used."""

from importlib import import_module
from typing import Any

from lookonce.collector import collecting_later


def imported(target: str) -> Any:
    """The object that "module:name" names."""
    module, _, name = target.partition(":")
    with collecting_later():
        return getattr(import_module(module), name)
