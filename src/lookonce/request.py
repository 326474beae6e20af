"""A verb whose options are the fields of one dataclass; options with an old name; options that are lists."""

import inspect
from collections.abc import Callable, Collection, Mapping
from functools import wraps
from typing import Annotated, Any, ParamSpec, TypeVar, cast, get_args, get_type_hints

from lookonce.errors import SettingsError, shortened
from lookonce.parsed import has_only_int64

LISTED = "words separated by commas"
Listed = Annotated[str, LISTED]  # an option that Python programs may give as a list
PARAMETERS = "Parameters\n----------\n"  # the heading that cyclopts reads
P = ParamSpec("P")
Request = TypeVar("Request")
Result = TypeVar("Result")
Taking = TypeVar("Taking", bound=Callable[..., Any])


def takes(request: Callable[P, Request]) -> Callable[[Callable[[Request], Result]], Callable[P, Result]]:
    """A function of one request becomes one of its fields: verb(Request(a=1)) is called as verb(a=1).

    Signature and docstring are those of the dataclass, so each option and its help stand in one place; its own options
    come before those of its bases.
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
        own, signature = inspect.get_annotations(cast("Any", request)), inspect.signature(request)
        options = sorted(signature.parameters.values(), key=lambda option: (option.kind, option.name not in own))
        known.__signature__ = signature.replace(parameters=options, return_annotation=result)
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


def list_names_of(function: Callable[..., Any]) -> frozenset[str]:
    """The options that are `Listed`."""
    hints = get_type_hints(function, include_extras=True)
    return frozenset(name for name, hint in hints.items() if LISTED in parts_of(hint))


def parts_of(hint: Any) -> list[Any]:
    """The type and the types inside it: Path | tuple[str, ...] -> Path, str and the two around them."""
    return [hint, *(inner for part in get_args(hint) for inner in parts_of(part))]


def old_names(**names: str) -> Callable[[Taking], Taking]:
    """A function or dataclass takes its options under their old names too: old name=new name.

    Signature and help show the new names alone.
    """

    def decorate(taking: Taking) -> Taking:
        is_class = isinstance(taking, type)
        called = cast("Any", taking).__init__ if is_class else taking

        @wraps(called)
        def renaming(*args: Any, **options: Any) -> Any:
            return called(*args, **by_own_names(options, names.get))

        result = cast("Any", taking if is_class else renaming)
        if is_class:
            result.__init__ = renaming
        result.__old_names__ = names
        return cast("Taking", result)

    return decorate


def old_names_of(function: Callable[..., Any]) -> Mapping[str, str]:
    names: Mapping[str, str] = getattr(function, "__old_names__", {})
    return names


def by_own_names(options: Mapping[str, Any], own_name: Callable[[str], str | None]) -> dict[str, Any]:
    """The options by their own names; own_name: of another name, None for the rest. SettingsError if an option is given
    under two names."""
    spelled: dict[str, str] = {}
    for name in options:
        own = own_name(name) or name
        if own in spelled:
            raise SettingsError(f"{spelled[own]}, {name}: two names of one option; remove one of them", setting=own)
        spelled[own] = name
    return {own: options[name] for own, name in spelled.items()}


def require_one_name(old: str, new: str, given: Collection[str]) -> None:
    """SettingsError if an option is given under its new name beside its old one."""
    if new in given:
        raise SettingsError(f"{old}, {new}: two names of one option; remove {old}", setting=new)
