"""Settings as text: parses typed text, explains validation errors, and formats values."""

from collections.abc import Iterable
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from annotated_types import Ge, Gt, Le, Lt
from pydantic import ValidationError

from lookonce.parsed import parse_yaml
from lookonce.settings.names import suggested_value
from lookonce.settings.schema import Settings, unit_of

NOTHING = {"", "none", "null"}
BRACKETS = str.maketrans("()", "[]")
TRUTH = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def parse_text(name: str, value: Any) -> Any:
    """Typed text -> a value for pydantic to validate. Lists: `1,2`, `[1, 2]`, `[[1, 2], ...]` or `(1, 2), ...`.

    "" and "none" mean None for optional settings. A path is text where the setting also takes addresses. Other types,
    and malformed lists, are returned unchanged.
    """
    if isinstance(value, Path) and str in kinds_of(name):
        return str(value)
    if not isinstance(value, str):
        return value
    text = value.strip()
    kinds = kinds_of(name)
    if bool in kinds and text.lower() in TRUTH:
        return TRUTH[text.lower()]
    if type(None) in kinds and text.lower() in NOTHING:
        return None
    if tuple not in kinds:
        return text
    if tuple in kinds and len(kinds) == 1 and text.lower() in NOTHING | {"off", "false"}:
        return ()
    if text.startswith(("[", "(")):
        try:
            lists, _ = parse_yaml(f"[{text.translate(BRACKETS)}]")
        except (yaml.YAMLError, ValueError):
            return text
        return lists[0] if len(lists) == 1 else lists
    parts = text.replace(",", " ").split()
    return parts if len(parts) > 1 or len(kinds) == 1 else text


def kinds_of(name: str) -> set[Any]:
    """The types of a setting without their limits: {float, tuple}, {Path, NoneType}, {Literal}, ..."""
    return {get_origin(kind) or kind for kind in _alternatives(Settings.model_fields[name].annotation)}


def choices_of(name: str) -> tuple[str, ...]:
    """The allowed words of a setting; () if it has none."""
    return tuple(
        str(word)
        for kind in _alternatives(Settings.model_fields[name].annotation)
        if get_origin(kind) is Literal
        for word in get_args(kind)
    )


def range_of(name: str) -> str:
    """ "over 0, up to 1"; "" if there are no limits."""
    field = Settings.model_fields[name]
    limits = [*field.metadata, *_nested_limits(field.annotation)]
    words = [
        f"{word} {getattr(limit, attribute)}"
        for limit in limits
        for kind, attribute, word in LIMIT_WORDS
        if isinstance(limit, kind)
    ]
    return ", ".join(words)


LIMIT_WORDS = ((Ge, "ge", "at least"), (Gt, "gt", "over"), (Le, "le", "up to"), (Lt, "lt", "under"))


def _nested_limits(annotation: Any) -> list[Any]:
    """Limits of the members of a union, from their Field(ge=0, le=4)."""
    if get_origin(annotation) in (Union, UnionType):
        return [limit for part in get_args(annotation) for limit in _nested_limits(part)]
    if get_origin(annotation) is Annotated:
        return [limit for extra in get_args(annotation)[1:] for limit in getattr(extra, "metadata", ())]
    return []


KINDS_IN_WORDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "a path",
    tuple: "a list of numbers",
    str: "text",
}
# Options whose type is text, since they also take patterns and URLs.
PLACES = frozenset({"file", "data", "source", "more", "calibration", "images", "probe"})


def kinds_in_words(name: str, kinds: Iterable[Any]) -> list[str]:
    """The types that an option takes: ["a path or URL", "true or false"]."""
    in_words = KINDS_IN_WORDS | ({str: "a path or URL"} if name in PLACES else {})
    return [words for kind, words in in_words.items() if kind in kinds and not (kind is Path and str in kinds)]


def kind_in_words(name: str) -> str:
    """Allowed values in words: "a whole number, at least 1", "auto, leaky or silu"."""
    kinds = kinds_of(name)
    choices = [*choices_of(name), *kinds_in_words(name, kinds)]
    alternatives = " or ".join(filter(None, [", ".join(choices[:-1]), *choices[-1:]]))
    return ", ".join(part for part in (alternatives, range_of(name)) if part)


def explain(name: str, error: ValidationError) -> str:
    """The expected value, for an error message."""
    own_words = [problem["ctx"]["error"] for problem in error.errors() if problem["type"] == "value_error"]
    if own_words:
        return str(own_words[0])
    unit, given = unit_of(name), str(error.errors()[0]["input"])
    in_unit = f", in {unit}" if unit and unit not in name else ""
    return f"expected {kind_in_words(name)}{in_unit}{suggested_value(given, choices_of(name))}"


def to_text(value: Any) -> str:
    """A value as it would be typed: `true`, `320,352`, `[[10,14],[23,27]]`, "" for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        short = f"{value:g}"
        return short if float(short) == value else repr(value)
    if isinstance(value, tuple):
        nested = bool(value) and isinstance(value[0], tuple)
        joined = ",".join(f"[{to_text(part)}]" if nested else to_text(part) for part in value)
        return f"[{joined}]" if nested else joined
    return str(value)


def _alternatives(annotation: Any) -> list[Any]:
    """The members of a union, without their limits."""
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [kind for part in get_args(annotation) for kind in _alternatives(part)]
    return [annotation]
