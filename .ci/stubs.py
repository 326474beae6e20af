"""Prints src/lookonce/__init__.pyi: the names of the package with their types, as type checkers and editors show them.

    ./run python .ci/stubs.py > src/lookonce/__init__.pyi

A verb takes each path also as text; see lookonce/python_values.py.
"""

import inspect
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path, PurePath
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import lookonce
from lookonce.request import Listed
from lookonce.settings.schema import Settings
from lookonce.settings.text import PLACES

HEAD = """\
# Made by `./run python .ci/stubs.py`; change the functions, not this file.
"""


def stub() -> str:
    imports = {"from os import PathLike", "from pathlib import Path"}
    parts = []
    for name in lookonce.__all__:
        known = getattr(lookonce, name)
        if isinstance(known, type):
            type_text(known, imports)
        else:
            parts.append(function_stub(name, known, imports))
    alias = "_Path = str | PathLike[str]"
    text = "\n".join([HEAD, *sorted(imports), alias, "__version__: str", "__all__: list[str]", *parts])
    for rule in (["check", "--select", "I", "--fix", "--quiet"], ["format"]):
        ruff = [sys.executable, "-m", "ruff", *rule, "--stdin-filename", "x.pyi", "-"]
        text = subprocess.run(ruff, input=text, capture_output=True, text=True, check=True).stdout
    return text


def function_stub(name: str, function: Callable[..., Any], imports: set[str]) -> str:
    hints = get_type_hints(function, include_extras=True)
    words: list[str] = []
    for one in inspect.signature(function).parameters.values():
        is_named = one.kind in (one.KEYWORD_ONLY, one.VAR_KEYWORD)
        if is_named and not any(word.startswith("*") for word in words):
            words.append("*")
        if one.kind is one.VAR_KEYWORD and name == "train":
            settings = Settings.model_fields.items()
            words += [parameter(setting, field.annotation, imports) + " = ..." for setting, field in settings]
        stars = "*" if one.kind is one.VAR_POSITIONAL else "**" if one.kind is one.VAR_KEYWORD else ""
        default = "" if one.default is one.empty else " = ..."
        words.append(f"{stars}{parameter(one.name, hints[one.name], imports)}{default}")
    result = "Path" if hints["return"] is Path else type_text(hints["return"], imports)
    return f"def {name}({', '.join(words)}) -> {result}: ..."


def parameter(name: str, hint: Any, imports: set[str]) -> str:
    """Name and type. Text that names a file or a folder, besides patterns and URLs, may be a path too."""
    text = type_text(hint, imports)
    is_place = name in PLACES and "str" in text
    return f"{name}: {text.replace('str', '_Path') if is_place and '_Path' not in text else text}"


def type_text(hint: Any, imports: set[str]) -> str:
    """The type of a parameter. imports: takes what the text needs."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        imports.add("from typing import Literal")
        return f"Literal[{', '.join(map(repr, parts))}]"
    if origin is Annotated:
        return type_text(str | Sequence[str | int] if hint == Listed else parts[0], imports)
    if origin is list or (origin is tuple and len(set(parts) - {Ellipsis}) == 1):  # verbs take any sequence
        return type_text(Sequence[parts[0]], imports)  # type: ignore[valid-type]
    if origin in (Union, UnionType):
        return " | ".join(dict.fromkeys(type_text(part, imports) for part in parts))
    if isinstance(hint, list):  # the parameters of a Callable
        return f"[{', '.join(type_text(part, imports) for part in hint)}]"
    if origin is not None:
        return f"{type_text(origin, imports)}[{', '.join(type_text(part, imports) for part in parts)}]"
    if hint in (NoneType, None):
        return "None"
    if isinstance(hint, type) and issubclass(hint, PurePath):
        return "_Path"
    if hint.__module__ != "builtins":
        again = f" as {hint.__name__}" if hint.__name__ in lookonce.__all__ else ""  # so that others can import it
        imports.add(f"from {hint.__module__} import {hint.__name__}{again}")
    return str(hint.__name__)


if __name__ == "__main__":
    print(stub(), end="")
