"""A verb's function as the parser takes it: options with defaults and help text (docstring of the verb; schema.py).

Also their placeholders and groups, and all settings as options.
"""

import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from cyclopts import Group, Parameter, Token, convert

from lookonce.errors import SettingsError
from lookonce.log import command_here, progress_of
from lookonce.on_ranks import RanksRequest
from lookonce.request import list_names_of, old_names_of
from lookonce.settings.aliases import ALIASES
from lookonce.settings.schema import GROUPS, Settings, default_of, group_of, help_of, unit_of
from lookonce.settings.text import PLACES, choices_of, kinds_in_words, kinds_of, to_text

ON_PROGRESS = "on_progress"
OF_RANKS = frozenset(known.name for known in fields(RanksRequest))
# Options of verbs that choose what runs where; of settings their group says so.
ON_MACHINE = frozenset({"device", "runtime", "runtimes", "threads"})
NO_TRAITS: Mapping[str, Mapping[str, Any]] = {}


def command_of(
    function: Callable[..., Any],
    renames: Mapping[str, str],
    *,
    traits: Mapping[str, Mapping[str, Any]] = NO_TRAITS,
    tolerant: bool = False,
) -> Callable[..., Any]:
    """The function with the command line's signature: **flags expanded, parameters renamed.

    renames: parameter -> option. traits: parameter -> arguments of cyclopts' Parameter that its signature does not
    imply. A parameter `on_progress(done, total)` is bound to a progress bar. tolerant: **flags are kept and take
    options of any name.
    """
    signature, hints = inspect.signature(function), get_type_hints(function)
    parameters: list[inspect.Parameter] = []
    of_ranks: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD and tolerant:
            parameters.append(parameter.replace(annotation=Annotated[str, Parameter(show=False)]))
        elif parameter.kind is parameter.VAR_KEYWORD:
            taken = {known.name for known in parameters}
            parameters += [added for added in setting_parameters() if added.name not in taken]
        elif parameter.name in OF_RANKS:
            of_ranks.append(setting_parameter(parameter.name))
        elif parameter.name != ON_PROGRESS:
            name = renames.get(parameter.name, parameter.name)
            of_group = {"group": group("machine")} if name in ON_MACHINE else {}
            annotation = _annotated(
                parameter.replace(name=name),
                hints[parameter.name],
                of_group | {**traits.get(parameter.name, {})},
                takes_empty=tolerant,
            )
            parameters.append(parameter.replace(name=name, annotation=annotation))
    parameters = sorted([*parameters, *of_ranks], key=lambda parameter: parameter.kind)  # **flags stay last
    originals = {option: parameter for parameter, option in renames.items()}

    def call(*args: Any, **options: Any) -> Any:
        flags = {originals.get(name, name): value for name, value in options.items()}
        if ON_PROGRESS not in signature.parameters:
            return function(*args, **flags)
        with progress_of(function.__name__.replace("_", "-")) as on_progress:
            return function(*args, **flags, on_progress=on_progress)

    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    call.__doc__ = command_here(unwrapped(function.__doc__ or ""))
    for parameter_name, option in renames.items():
        call.__doc__ = re.sub(rf"\b{parameter_name}\b", option, call.__doc__)
    call.__name__ = function.__name__
    call.__old_names__ = old_names_of(function)  # type: ignore[attr-defined]
    call.__list_names__ = list_names_of(function)  # type: ignore[attr-defined]
    return call


def _annotated(parameter: inspect.Parameter, hint: Any, traits: Mapping[str, Any], *, takes_empty: bool) -> Any:
    """A switch that is off by default gets no --no-x, and help omits its default, as it omits an empty one.

    takes_empty: text may be empty, as a cloud platform passes what is not set.
    """
    implied: dict[str, Any] = {"negative": ()} if parameter.default is False else {}
    if parameter.default is False or parameter.default in ("", ()):
        implied |= {"show_default": False}
    elif parameter.default is True:
        implied |= {"show_default": to_text}  # true, as the defaults of settings are shown
    if CAN_NAME_VALUES and (word := placeholder_of(hint)):
        implied |= {"metavar": word}
    if int in (hint, *get_args(hint)) and str not in get_args(hint):
        implied |= {"converter": lambda _, tokens: int(tokens[0].value)}  # cyclopts would round 5.5
    elif parameter.default != "" and not ({Path} if takes_empty else {str, Path}).isdisjoint(_kinds(hint)):
        implied |= {"converter": _converter(parameter.name, _kinds(hint))}
    return Annotated[hint, Parameter(**{**implied, **traits})]


def _kinds(hint: Any) -> list[Any]:
    """The types of a parameter: of Path | None, list[Path] and tuple[Path, ...] it is Path."""
    return [kind for part in get_args(hint) for kind in _kinds(part)] or [hint]


def _converter(name: str, kinds: Collection[Any]) -> Callable[[Any, Sequence[Token]], Any]:
    """The parser's conversion to a type, for an option that takes no empty text."""

    def converted(kind: Any, tokens: Sequence[Token]) -> Any:
        for token in tokens:
            require_typed(name.rstrip("_"), token.value, kinds)
        return convert(kind, tokens)

    return converted


def require_typed(name: str, text: str, kinds: Collection[Any]) -> str:
    """SettingsError if a typed value is empty: Path("") would be the working folder, and training would start from
    random weights."""
    if not text:
        expected = " or ".join(kinds_in_words(name, kinds))
        raise SettingsError.of(name, text, f"expected {expected}; is a variable of the shell unset?")
    return text


def unwrapped(docstring: str) -> str:
    """Join each paragraph into one line, which help wraps to its width; parameter names keep their own lines."""
    lines: list[str] = []
    in_parameters = False
    for line in inspect.cleandoc(docstring).splitlines():
        in_parameters |= line == "Parameters"
        is_text = not in_parameters or line.startswith(" ")
        if lines and lines[-1].strip() and line.strip() and is_text and _indent(lines[-1]) == _indent(line):
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    return "\n".join(lines)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


@cache
def setting_parameters() -> tuple[inspect.Parameter, ...]:
    """Keyword-only parameters for all settings; default None, which means not typed."""
    shown = [_parameter("file", str, group("run"), "YAML file with settings; typed options override it.", "")]
    shown += [setting_parameter(name) for name in Settings.model_fields]
    old = [
        inspect.Parameter(
            alias.old,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[str | None, Parameter(show=False, negative=())],
        )
        for alias in ALIASES
        if alias.old.isidentifier() and alias.old not in Settings.model_fields
    ]
    return (*shown, *old)


def setting_parameter(name: str) -> inspect.Parameter:
    kind = bool if kinds_of(name) == {bool} else str
    return _parameter(name, kind, group(group_of(name)), _help(name), _default(name))


@cache
def group(key: str) -> Group:
    """A group of options in help, in the order of GROUPS."""
    return Group(GROUPS[key], sort_key=list(GROUPS).index(key) + 1, help="")


def _parameter(name: str, kind: type, group: Group, help_text: str, default: str) -> inspect.Parameter:
    words: dict[str, Any] = {"metavar": _placeholder(name)} if CAN_NAME_VALUES else {}
    if name == "file" or Path in kinds_of(name) or name in PLACES:  # "none" is none
        words |= {"converter": _converter(name, [Path])}
    shown_default = (lambda _: default) if default else False
    options = Parameter(help=help_text, group=group, show_default=shown_default, **words)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, options]
    )


# cyclopts has it since a release after 4.0; without it help shows STR.
CAN_NAME_VALUES = "metavar" in inspect.signature(Parameter).parameters
PLACEHOLDERS: dict[Any, str] = {Path: "PATH", int: "N", float: "NUMBER", tuple: "LIST", Literal: "WORD", str: "TEXT"}


def placeholder_of(hint: Any) -> str:
    """Placeholder of a value of that type, such as N, N|TEXT or PATH...; "" for a switch."""
    kind, parts = get_origin(hint), get_args(hint)
    if kind in (tuple, list, Sequence):
        return f"{placeholder_of(parts[0])}..."
    if kind in (Union, UnionType):
        return "|".join(filter(None, map(placeholder_of, parts)))
    return PLACEHOLDERS.get(kind or hint, "")


def _placeholder(name: str) -> str:
    """Placeholder of the value in help: `--epochs N`."""
    kinds = kinds_of(name) if name in Settings.model_fields else {Path}
    return "|".join(
        word for kind, word in PLACEHOLDERS.items() if kind in kinds and not (kind is Literal and len(kinds) > 1)
    )


def _help(name: str) -> str:
    words = choices_of(name)
    are_named = len(words) < 2 or all(word in help_of(name) for word in words)
    choices = "" if are_named else f" One of {', '.join(words)}."
    unit = f" Unit: {unit_of(name)}." if unit_of(name) and not _is_number(default_of(name)) else ""
    return f"{help_of(name)}{choices}{unit}"


def _default(name: str) -> str:
    """The default with its unit: `416 pixels`; "" if there is none."""
    value = default_of(name)
    if not unit_of(name) or not _is_number(value):
        return to_text(value)
    unit = SINGULAR.get(unit_of(name), unit_of(name).removesuffix("s")) if value == 1 else unit_of(name)
    return f"{to_text(value)} {unit}"


SINGULAR = {"batches": "batch", "boxes": "box"}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
