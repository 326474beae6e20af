"""Options of a verb: from its Python signature, and one for each setting where it takes them all."""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Unpack, get_args, get_origin, get_type_hints

from cyclopts import Group, Parameter

from lookonce.config.aliases import ALIASES, Alias
from lookonce.config.names import suggestion
from lookonce.config.schema import GROUPS, Settings, default_of, group_of, help_of, unit_of
from lookonce.config.text import TRUTH, choices_of, kinds_of, to_text
from lookonce.errors import SettingsError
from lookonce.log import progress_bar

ON_PROGRESS = "on_progress"
KEY_VALUE = re.compile(r"([A-Za-z][\w-]*)=(.*)", re.DOTALL)
OPTION = re.compile(r"--([A-Za-z][\w-]*)(?:=(.*))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a verb can be told.

    names: its options, with `_`; switches: those that need no value; one_value_each: all others have exactly one, so
    that in `--ckpt_interval -1` the second word is no option; words: whether it takes words that belong to no option;
    aliases: the model zoo's names that are not in `names`; tolerant: any other name is handed on as it is.
    """

    names: frozenset[str]
    switches: frozenset[str]
    one_value_each: bool
    words: bool
    aliases: Mapping[str, Alias]
    tolerant: bool = False

    def normalised(self, tokens: Iterable[str]) -> list[str]:
        """`--batch_size 8`, `batch_size=8`, `--per_batch_size=8` -> `--batch-size=8`; unknown names are refused."""
        left = list(tokens)
        done: list[str] = []
        while left:
            token = left.pop(0)
            if token == "--":
                return [*done, token, *left]
            name, value = self._split(token)
            if name is None:
                if self.one_value_each and not self.words and not token.startswith("-"):
                    raise SettingsError(
                        f"{token}: which option is it for? Options look like --epochs 30 or epochs=30", value=token
                    )
                done.append(token)
                continue
            if value is None and left and self._takes(name, left[0]):
                value = left.pop(0)
            done.append(self._option(name, value))
        return done

    def _split(self, token: str) -> tuple[str | None, str | None]:
        """A token as (name with `_`, value); no name for what is not an option of ours."""
        match = OPTION.fullmatch(token) or KEY_VALUE.fullmatch(token)
        if match is None:
            return None, None
        name = match[1].replace("-", "_")
        if name in {"help", "version"} or (
            name not in self.names and name not in self.aliases and self._is_path(token)
        ):
            return None, None
        return name, match[2]

    def _is_path(self, token: str) -> bool:
        """A picture may be called `a=b.jpg`."""
        return not token.startswith("--") and Path(token).exists()

    def _takes(self, name: str, following: str) -> bool:
        """Whether the word after `--name` is its value."""
        pair = KEY_VALUE.fullmatch(following)
        if OPTION.fullmatch(following) or (pair and self._is_known(pair[1].replace("-", "_"))):
            return False
        if name in self.switches:
            return following.lower() in TRUTH
        return self.one_value_each or name not in self.names

    def _is_known(self, name: str) -> bool:
        return self.tolerant or name in self.names or name in self.aliases

    def _option(self, name: str, value: str | None) -> str:
        if name.startswith("no_") and name.removeprefix("no_") in self.switches and value is None:
            return f"--{name.replace('_', '-')}"
        if name not in self.names and self.tolerant:
            is_off = name.startswith("no_") and name.removeprefix("no_") in Settings.model_fields and value is None
            return f"--{name.removeprefix('no_')}=false" if is_off else f"--{name}={'true' if value is None else value}"
        if name not in self.names:
            name, value = self._translated(name, value)
        option = f"--{name.replace('_', '-')}"
        if value is None and name == "resume":
            value = "true"  # the one setting with a value that can be left out
        return option if value is None else f"{option}={value}"

    def _translated(self, name: str, value: str | None) -> tuple[str, str | None]:
        """An old name in another verb than train."""
        alias = self.aliases.get(name)
        if alias is None:
            hint = suggestion(name, [*self.names, *self.aliases]) or "; --help lists them all"
            raise SettingsError(f"unknown setting {name}{hint}", setting=name)
        if alias.new not in self.names:
            raise SettingsError(f"{name}: {alias.differs or 'this verb has no such option'}", setting=name)
        return alias.new, value if value is None else str(alias.in_verb(value))


def options_of(function: Callable[..., Any], verb: str) -> Options:
    """What `command_of` has made of a verb's function."""
    hints = get_type_hints(function)
    parameters = inspect.signature(function).parameters.values()
    handed_on = {parameter.name for parameter in parameters if parameter.kind is parameter.VAR_KEYWORD}
    names = frozenset(hints) - {"return", *handed_on}
    switches = frozenset(name for name in names if bool in (hints[name], *get_args(hints[name])))
    takes_settings = "recipe" in names
    aliases = {} if takes_settings else {alias.old: alias for alias in ALIASES if alias.program in {verb, "train"}}
    return Options(
        names=names,
        switches=switches,
        one_value_each=takes_settings or bool(handed_on),
        words=any(parameter.kind is parameter.POSITIONAL_OR_KEYWORD for parameter in parameters),
        aliases=aliases,
        tolerant=bool(handed_on),
    )


def command_of(
    function: Callable[..., Any], renames: Mapping[str, str], *, tolerant: bool = False
) -> Callable[..., Any]:
    """The function as the command line sees it: **flags or **ranks spelled out, some parameters under another name.

    renames: name of a parameter -> name of the option. A parameter `on_progress(done, total)` gets a progress bar.
    tolerant: **flags stay, and take options of any name.
    """
    signature, hints = inspect.signature(function), get_type_hints(function, include_extras=True)
    parameters: list[inspect.Parameter] = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD and tolerant:
            parameters.append(parameter.replace(annotation=Annotated[str, Parameter(show=False)]))
        elif parameter.kind is parameter.VAR_KEYWORD:
            taken = {known.name for known in parameters}
            parameters += [added for added in _settings_in(hints[parameter.name]) if added.name not in taken]
        elif parameter.name != ON_PROGRESS:
            name = renames.get(parameter.name, parameter.name)
            parameters.append(parameter.replace(name=name, annotation=hints[parameter.name]))
    originals = {option: parameter for parameter, option in renames.items()}

    def call(*args: Any, **options: Any) -> Any:
        flags = {originals.get(name, name): value for name, value in options.items()}
        if ON_PROGRESS not in signature.parameters:
            return function(*args, **flags)
        with progress() as on_progress:
            return function(*args, **flags, on_progress=on_progress)

    call.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    call.__doc__ = unwrapped(function.__doc__ or "")
    for parameter_name, option in renames.items():
        call.__doc__ = re.sub(rf"\b{parameter_name}\b", option, call.__doc__)
    call.__name__ = function.__name__
    return call


def _settings_in(hint: Any) -> list[inspect.Parameter]:
    """Of `**flags: Any` every setting, of `**ranks: Unpack[Ranks]` those that the TypedDict names."""
    every = setting_parameters()
    if get_origin(hint) is not Unpack:
        return every
    (some,) = get_args(hint)
    return [parameter for parameter in every if parameter.name in some.__annotations__]


def unwrapped(docstring: str) -> str:
    """Each paragraph on one line, for help to break where its own page ends; names of parameters stay on theirs."""
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


@contextmanager
def progress() -> Iterator[Callable[[int, int], None]]:
    """Gives `on_progress(done, total)`, which draws a bar; on a terminal only, for the length of the block."""
    with ExitStack() as stack:
        advance: list[Callable[[int, str], None]] = []

        def on_progress(done: int, total: int) -> None:
            if not advance:
                advance.append(stack.enter_context(progress_bar("", total)))
            advance[0](done, "")

        yield on_progress


def setting_parameters() -> list[inspect.Parameter]:
    """Keyword-only parameters, None by default, so that what was not typed is told from what was."""
    groups = {
        key: Group(title, sort_key=number, help="") for number, (key, title) in enumerate(GROUPS.items(), start=1)
    }
    shown = [_parameter("file", str, groups["run"], "YAML file of settings; what is typed beside it wins.", "")]
    shown += [
        _parameter(name, bool if kinds_of(name) == {bool} else str, groups[group_of(name)], _help(name), _default(name))
        for name in Settings.model_fields
    ]
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
    return [*shown, *old]


def _parameter(name: str, kind: type, group: Group, help_text: str, default: str) -> inspect.Parameter:
    words: dict[str, Any] = {"metavar": _placeholder(name)} if CAN_NAME_VALUES else {}
    shown_default = (lambda _: default) if default else False
    options = Parameter(help=help_text, group=group, show_default=shown_default, **words)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, options]
    )


# cyclopts learnt it after 4.0; without it help says STR.
CAN_NAME_VALUES = "metavar" in inspect.signature(Parameter).parameters
PLACEHOLDERS: dict[Any, str] = {Path: "PATH", int: "N", float: "NUMBER", tuple: "LIST", Literal: "WORD", str: "TEXT"}


def _placeholder(name: str) -> str:
    """What stands for the value in help: `--epochs N`."""
    kinds = kinds_of(name) if name in Settings.model_fields else {Path}
    return "|".join(
        word for kind, word in PLACEHOLDERS.items() if kind in kinds and not (kind is Literal and len(kinds) > 1)
    )


def _help(name: str) -> str:
    words = choices_of(name)
    told = len(words) < 2 or all(word in help_of(name) for word in words)
    choices = "" if told else f" One of {', '.join(words)}."
    unit = f" Unit: {unit_of(name)}." if unit_of(name) and not _is_number(default_of(name)) else ""
    return f"{help_of(name)}{choices}{unit}"


def _default(name: str) -> str:
    """The default with its unit: `416 pixels`; "" for none."""
    value = default_of(name)
    if not unit_of(name) or not _is_number(value):
        return to_text(value)
    unit = SINGULAR.get(unit_of(name), unit_of(name).removesuffix("s")) if value == 1 else unit_of(name)
    return f"{to_text(value)} {unit}"


SINGULAR = {"batches": "batch", "boxes": "box"}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
