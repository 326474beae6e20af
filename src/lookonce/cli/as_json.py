"""The result of a verb as JSON, for `--json`: whatever a verb returns, without a description of its own."""

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from lookonce.shown import to_json


def as_json(result: Any) -> str:
    """One line of JSON. Numbers that JSON does not have (NaN, infinity) are null."""
    return to_json(jsonable(result), allow_nan=False)


def jsonable(value: Any) -> Any:
    """Values of JSON for a value of Python.

    An object is what its `to_dict`, `as_json`, `model_dump` (pydantic) or `tolist` (numpy) returns; another dataclass
    is its fields with `repr`, and its exit code or number of errors.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): jsonable(part) for key, part in value.items()}
    if isinstance(value, AbstractSet):
        return sorted(map(jsonable, value), key=str)
    if isinstance(value, list | tuple):
        return list(map(jsonable, value))
    if isinstance(value, Path):
        return str(value)
    return _of_object(value)


def _of_object(value: Any) -> Any:
    for method, options in (("to_dict", {}), ("as_json", {}), ("model_dump", {"mode": "json"}), ("tolist", {})):
        if callable(own := getattr(value, method, None)):
            return jsonable(own(**options))
    if is_dataclass(value) and not isinstance(value, type):
        shown = [field.name for field in fields(value) if field.repr and field.name != "is_main"]
        codes = [name for name in ("exit_code", "num_errors") if isinstance(getattr(type(value), name, None), property)]
        return {name: jsonable(getattr(value, name)) for name in (*shown, *codes)}
    return str(value)
