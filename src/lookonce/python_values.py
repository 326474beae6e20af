"""What a Python program gives to a verb -> values of the types of its parameters, or an error that names the option."""

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from types import NoneType
from typing import Any, Literal, ParamSpec, TypeVar, cast, get_origin, get_type_hints

from lookonce.errors import SettingsError, shortened
from lookonce.request import LISTED, by_own_names, old_names_of, parts_of
from lookonce.settings.aliases import name_as_spelled
from lookonce.settings.names import PYTHON, suggestion, taken_for
from lookonce.settings.schema import Settings
from lookonce.settings.text import KINDS_IN_WORDS, kinds_in_words

P = ParamSpec("P")
Result = TypeVar("Result")

REPEATED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
SHOWN = (NoneType, bool, int, float, str, os.PathLike, list, tuple, dict)  # of others the type is named in errors


def takes_python_values(function: Callable[P, Result]) -> Callable[P, Result]:
    """The function, or class, for Python programs: the types are those of its parameters, checked and converted.

    A path may be text; text that is words separated by commas, a list; one value stands for a list of one; a number may
    be NumPy's. An option has the field's other names too (`conf`), as on the command line. SettingsError for another
    type, an unknown option and a missing one.
    """
    hints = get_type_hints(function, include_extras=True)
    parameters = inspect.signature(function).parameters
    known = {name for name, one in parameters.items() if one.kind not in REPEATED}
    takes_settings = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    if takes_settings:
        known |= Settings.model_fields.keys()
    required = [name for name, one in parameters.items() if one.default is one.empty and one.kind not in REPEATED]

    def own_name(name: str) -> str | None:
        return old_names_of(function).get(name) or taken_for(name, known)

    @wraps(function)
    def taking(*args: P.args, **options: P.kwargs) -> Result:
        names = list(_positional(parameters, len(args)))
        if len(names) < len(args):
            extra = shortened(args[len(names)])
            is_data = not {"data", "flags"}.isdisjoint(parameters) and Path(extra).exists()
            expected = f"expected the name of its option before it: {f'data={extra!r}' if is_data else 'NAME=VALUE'}"
            raise SettingsError(f"{function.__name__}: {extra}; {expected}", value=extra)
        named = dict(options) if takes_settings else _renamed(options, known, own_name)  # settings are read elsewhere
        for name in required:
            if name not in {*names, *named}:
                raise SettingsError(f"{name}: not given; expected {_words(name, hints[name])}", setting=name)
        positional = [converted(name, hints[name], value) for name, value in zip(names, args, strict=True)]
        named = {name: converted(name, hints.get(name, Any), value) for name, value in named.items()}
        try:
            return cast("Callable[..., Result]", function)(*positional, **named)
        except SettingsError as error:
            name_as_spelled(error, {name: own for name in options if (own := own_name(name))})
            raise

    return taking


def _positional(parameters: Mapping[str, inspect.Parameter], count: int) -> Iterator[str]:
    """The names of the first `count` positional values: those after `*more` are all named more."""
    for parameter in parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            yield from [parameter.name] * count
            return
        if count == 0 or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD):
            return
        yield parameter.name
        count -= 1


def _renamed(options: Mapping[str, Any], known: set[str], own_name: Callable[[str], str | None]) -> dict[str, Any]:
    """The options by their own names; SettingsError for one that is not known."""
    named = by_own_names(options, own_name)
    for name in named.keys() - known:
        raise SettingsError(f"{name}: unknown option{suggestion(name, known, PYTHON)}", setting=name, value=named[name])
    return named


def converted(name: str, hint: Any, value: Any) -> Any:
    """The value as the type of a parameter, which is named in the SettingsError for a value of another type."""
    kinds = parts_of(hint)
    origins = [get_origin(kind) or object for kind in kinds]
    if (value is None and NoneType in kinds) or Any in kinds or Callable in origins or Literal in origins:
        return value
    takes_sequence = any(isinstance(origin, type) and issubclass(origin, Sequence) for origin in origins)
    is_list = isinstance(value, list | tuple)
    if is_list and LISTED in kinds:
        return ",".join(str(_one(name, hint, each, listed=True)) for each in value)
    if takes_sequence:
        return [_one(name, hint, each, listed=is_list) for each in (value if is_list else [value])]
    return _one(name, hint, value)


def _one(name: str, hint: Any, given: Any, *, listed: bool = False) -> Any:
    """The value as one of the types; listed: it was in a list, which the error says."""
    kinds = [kind for kind in parts_of(hint) if kind in KINDS_IN_WORDS]
    value = given.item() if getattr(given, "ndim", None) == 0 else given  # a number of NumPy or PyTorch
    if (type(value) in kinds and value != "") or (type(value) is int and float in kinds):
        return value
    if type(value) is int and str in kinds:
        return str(value)
    if isinstance(value, str | os.PathLike):
        if Path in kinds and value == "":  # of an unset variable; as a path it would be the working folder
            raise SettingsError.of(name, value, f"expected {_words(name, hint)}")
        if Path in kinds and (str not in kinds or isinstance(value, Path)):
            return Path(value)
        if str in kinds:
            return os.fspath(value)
    told = shortened(value) if _is_shown(value) else type(value).__name__
    expected = _alone(name, hint) if listed else _words(name, hint)
    problem = f"{told} in a list; expected {expected}" if listed else f"{told}; expected {expected}"
    raise SettingsError(f"{name}: {problem}", setting=name, value=value)


def _is_shown(value: Any) -> bool:
    return isinstance(value, SHOWN) and (not isinstance(value, list | tuple) or all(map(_is_shown, value)))


def _words(name: str, hint: Any) -> str:
    return f"{_alone(name, hint)}, or a list" if LISTED in parts_of(hint) else _alone(name, hint)


def _alone(name: str, hint: Any) -> str:
    kinds = parts_of(hint)
    own_words = [kind for kind in kinds if isinstance(kind, str) and kind != LISTED]  # Annotated[str, "a path or ..."]
    return " or ".join(own_words or kinds_in_words(name, kinds))
