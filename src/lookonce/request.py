"""A verb whose options are the fields of one dataclass; options with an old name; options that are paths."""

import inspect
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import wraps
from pathlib import Path
from types import NoneType
from typing import Any, ParamSpec, TypeVar, cast, get_args, get_origin, get_type_hints

from lookonce.errors import SettingsError, shortened
from lookonce.parsed import has_only_int64

PARAMETERS = "Parameters\n----------\n"  # the heading that cyclopts reads
P = ParamSpec("P")
Request = TypeVar("Request")
Result = TypeVar("Result")
Taking = TypeVar("Taking", bound=Callable[..., Any])


def takes(request: Callable[P, Request]) -> Callable[[Callable[[Request], Result]], Callable[P, Result]]:
    """A function of one request becomes one of its fields: verb(Request(a=1)) is called as verb(a=1).

    Signature and docstring are those of the dataclass, so each option and its help stand in one place.
    """

    def decorate(function: Callable[[Request], Result]) -> Callable[P, Result]:
        @wraps(function)
        def verb(*args: P.args, **options: P.kwargs) -> Result:
            asked = request(*args, **options)
            for name, value in vars(asked).items():
                if not has_only_int64(value):
                    told = f"{name}: {shortened(value)}; expected whole numbers of up to 64 bits"
                    raise SettingsError(told, setting=name, value=value)
            return function(asked)

        result = get_type_hints(function)["return"]
        known = cast("Any", verb)  # to mypy a Callable has no attributes
        known.__signature__ = inspect.signature(request).replace(return_annotation=result)
        known.__annotations__ = get_type_hints(request, include_extras=True) | {"return": result}
        known.__doc__ = _documented(request)
        known.__old_names__ = old_names_of(request)
        return verb

    return decorate


def _documented(request: Any) -> str | None:
    """The docstring, with the parameters that the docstrings of its bases describe."""
    texts = [inspect.cleandoc(kind.__doc__ or "") for kind in inspect.getmro(request)[1:]]
    inherited = [text.partition(PARAMETERS)[2] for text in texts if PARAMETERS in text]
    own = inspect.cleandoc(request.__doc__ or "")
    return "\n".join([own, *([] if PARAMETERS in own or not inherited else [PARAMETERS]), *inherited])


def takes_text_paths(function: Callable[P, Result]) -> Callable[P, Result]:
    """The function, or class, with every path also accepted as text: a str where only Path is in its type.

    One path stands for a list of one. SettingsError for a value that is no path, which names the parameter.
    """
    hints = {name: _kinds(hint) for name, hint in get_type_hints(function).items()}
    paths = {name for name, kinds in hints.items() if Path in kinds and str not in kinds}
    lists = {name for name in paths if any(issubclass(get_origin(kind) or object, Sequence) for kind in hints[name])}
    parameters = list(inspect.signature(function).parameters.values())
    # The values after `*more` are all named more.
    in_order = [one.name for one in parameters if one.kind is not one.KEYWORD_ONLY]
    repeated = in_order[-1] if any(one.kind is one.VAR_POSITIONAL for one in parameters) else ""

    def as_path(name: str, value: Any) -> Path:
        if not isinstance(value, str | os.PathLike):
            raise SettingsError(f"{name}: {shortened(value)}; expected a path", setting=name, value=value)
        return Path(value)

    def taken(name: str, value: Any) -> Any:
        if name not in paths or (value is None and NoneType in hints[name]):
            return value
        if name not in lists:
            return as_path(name, value)
        return [as_path(name, one) for one in (value if isinstance(value, list | tuple) else [value])]

    @wraps(function)
    def taking(*args: P.args, **options: P.kwargs) -> Result:
        names = [*in_order, *[repeated] * len(args)]
        positional = [taken(name, value) for value, name in zip(args, names, strict=False)]
        named = {name: taken(name, value) for name, value in options.items()}
        return cast("Callable[..., Result]", function)(*positional, **named)

    return taking


def _kinds(hint: Any) -> list[Any]:
    """The type and the types inside it: Path | tuple[str, ...] -> Path, str and the two around them."""
    return [hint, *(kind for part in get_args(hint) for kind in _kinds(part))]


def old_names(**names: str) -> Callable[[Taking], Taking]:
    """A function or dataclass takes its options under their old names too: old name=new name.

    Signature and help show the new names alone.
    """

    def decorate(taking: Taking) -> Taking:
        is_class = isinstance(taking, type)
        called = cast("Any", taking).__init__ if is_class else taking

        @wraps(called)
        def renaming(*args: Any, **options: Any) -> Any:
            for old in names.keys() & options.keys():
                require_one_name(old, names[old], options)
                options[names[old]] = options.pop(old)
            return called(*args, **options)

        result = cast("Any", taking if is_class else renaming)
        if is_class:
            result.__init__ = renaming
        result.__old_names__ = names
        return cast("Taking", result)

    return decorate


def old_names_of(function: Callable[..., Any]) -> Mapping[str, str]:
    names: Mapping[str, str] = getattr(function, "__old_names__", {})
    return names


def require_one_name(old: str, new: str, given: Collection[str]) -> None:
    """SettingsError if an option is given under its new name beside its old one."""
    if new in given:
        raise SettingsError(f"{old}, {new}: two names of one option; remove {old}", setting=new)
