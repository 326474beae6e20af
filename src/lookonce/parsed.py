"""JSON and YAML that others wrote: one error, ValueError, for all that such a text can hold."""

import json
from collections.abc import Iterable
from typing import Any

import yaml
from yaml.constructor import BaseConstructor, SafeConstructor

# A list of settings or class names has thousands of values; nested aliases reach billions from a few lines.
MOST_VALUES = 1_000_000
INT64 = range(-(2**63), 2**63)


def parse_json(text: str | bytes | bytearray) -> Any:
    """The value; ValueError for what is no JSON, not UTF-8, nested too deeply, or has a number of thousands of digits.

    Integers may be over 64 bits, and text may hold lone surrogates.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_yaml(text: str) -> tuple[Any, Any]:
    """(the value, the same with every scalar as text) of one document; ValueError as in `compose_yaml`."""
    root = compose_yaml(text)
    if root is None:
        return None, None
    return construct_yaml(root), construct_yaml(root, BaseConstructor)


def compose_yaml(text: str) -> yaml.Node | None:
    """The root of the first document, None if there is none.

    yaml.YAMLError with a place where there is one; ValueError if it is nested too deeply or if its aliases repeat more
    than a million values, or themselves.
    """
    try:
        root = next(yaml.compose_all(text, yaml.SafeLoader), None)
        if root is not None and _num_values(root, {}) > MOST_VALUES:
            raise ValueError(f"its aliases repeat over {MOST_VALUES:,} values")
    except RecursionError:
        raise ValueError("nested too deeply") from None
    return root


def construct_yaml(node: yaml.Node, kind: type[BaseConstructor] = SafeConstructor) -> Any:
    """The value of a node. ValueError for one that cannot be read, such as a number of thousands of digits."""
    try:
        return kind().construct_document(node)
    except (yaml.YAMLError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from error


def _num_values(node: yaml.Node, known: dict[int, int]) -> int:
    """How many nodes there are below a node and with it, each alias counted as what it stands for."""
    if id(node) not in known:
        known[id(node)] = MOST_VALUES + 1  # for an alias inside of what it stands for
        parts = node.value if isinstance(node, yaml.CollectionNode) else []
        below = [part for entry in parts for part in (entry if isinstance(entry, tuple) else (entry,))]
        known[id(node)] = 1 + sum(_num_values(part, known) for part in below)
    return known[id(node)]


def are_numbers(words: Iterable[str]) -> bool:
    """Whether every word is a number, as `float` reads it."""
    try:
        return all(float(word) is not None for word in words)
    except ValueError:
        return False


def has_only_int64(value: Any) -> bool:
    """Whether all integers of a value, also in lists, fit 64 bits with their sign, as arrays and PyTorch need them."""
    if isinstance(value, list | tuple):
        return all(map(has_only_int64, value))
    return not isinstance(value, int) or value in INT64
