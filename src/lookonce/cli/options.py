"""Options of a verb and their help: parameters and docstring of its function, and all settings if it takes them."""

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from cyclopts import Group, Parameter, Token, convert

from lookonce.errors import SettingsError
from lookonce.log import get_logger, progress_of
from lookonce.on_ranks import RanksRequest
from lookonce.request import old_names_of, require_one_name
from lookonce.settings.aliases import ALIASES, BY_OLD_NAME, Given, Translation, for_verb, name_as_spelled, taken_not
from lookonce.settings.names import SAME, VERBS_WITH, suggestion, taken_for
from lookonce.settings.resolve import require_known
from lookonce.settings.schema import GROUPS, Settings, default_of, group_of, help_of, unit_of
from lookonce.settings.text import PLACES, TRUTH, choices_of, kinds_in_words, kinds_of, to_text
from lookonce.settings.yaml_file import Entry, read_entries

ON_PROGRESS = "on_progress"
OF_RANKS = frozenset(known.name for known in fields(RanksRequest))
# Options of verbs that choose what runs where; of settings their group says so.
ON_MACHINE = frozenset({"device", "runtime", "runtimes", "threads"})
KEY_VALUE = re.compile(r"([A-Za-z][\w-]*)=(.*)", re.DOTALL)
ONE_HYPHEN = re.compile(r"-([A-Za-z][\w-]*)(?:=.*)?", re.DOTALL)
OPTION = re.compile(r"--([A-Za-z][\w-]*)(?:=(.*))?", re.DOTALL)

NO_TRAITS: Mapping[str, Mapping[str, Any]] = {}


class Typed(NamedTuple):
    """A typed option: its name with `_`, and its value, None if it has none."""

    name: str
    value: str | None


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a verb.

    verb: its name; names: its options, with `_`; positional: options that can be given without a name; switches:
    options that need no value; one_value_each: all others take exactly one, so that in `--ckpt_interval -1` the second
    word is a value; takes_old_names: the model zoo's names are passed on unchanged; tolerant: any other name too;
    words: the parameter `*files`, which the parser takes without a name only; new_names: old name of an option -> its
    name; synonyms: the field's other spellings, likewise, when typed: in a file that several verbs share,
    `score_threshold` is the one of training.
    """

    verb: str
    names: frozenset[str]
    positional: frozenset[str]
    switches: frozenset[str]
    one_value_each: bool
    takes_old_names: bool
    tolerant: bool = False
    words: frozenset[str] = frozenset()
    new_names: Mapping[str, str] = field(default_factory=dict)
    synonyms: Mapping[str, str] = field(default_factory=dict)

    @property
    def _typed_names(self) -> dict[str, str]:
        """Other spelling of an option, as typed -> its name. `for` is the option `for_`: a word of Python."""
        return {**self.synonyms, **self.new_names, **{name[:-1]: name for name in self.names if name.endswith("_")}}

    def normalised(self, tokens: Iterable[str]) -> list[str]:
        """`--batch_size 8`, `batch_size=8`, `--per_batch_size=8` -> `--batch-size=8`; unknown names raise.

        `--file options.yaml` sets options that were not typed, unless the verb has its own option `file`.
        """
        left = list(tokens)
        items: list[str | Typed] = []
        while left and left[0] != "--":
            token = left.pop(0)
            name, value = self._split(token)
            if name is None:
                self._require_two_hyphens(token)
                if self.one_value_each and not self.positional and not token.startswith("-"):
                    is_data = "data" in self.names and Path(token).exists()
                    expected = f"--data {token}" if is_data else "--epochs 30 or epochs=30"
                    raise SettingsError(f"{token!r}: no option before this value; expected {expected}", value=token)
                items.append(token)
                continue
            if value is None and left and self._takes(name, left[0]):
                value = left.pop(0)
            items.append(Typed(name, value))
        items = self._renamed(items)
        self._require_known(item.name for item in items if isinstance(item, Typed))
        if not self.takes_old_names and not self.tolerant:
            items = self._translated(items, self.positional if left or _has_words(items) else frozenset())
        return [*(item if isinstance(item, str) else self._option(*item) for item in items), *left]

    def _require_two_hyphens(self, token: str) -> None:
        """SettingsError for `-thresh`, as Darknet's options are typed, and for a letter; -h is help."""
        match = ONE_HYPHEN.fullmatch(token)
        if match is None or token == "-h" or Path(token).exists():
            return
        if self._is_known(name := match[1].replace("-", "_")) and len(name) > 1:
            raise SettingsError(f"{token}: expected two hyphens: --{match[1]}", setting=name)
        hint = self._hint(name) if len(name) > 1 else f"; `lookonce {self.verb} --help` lists the options"
        raise SettingsError(f"unknown option {token}{hint}", setting=name)

    def name_as_typed(self, error: SettingsError, typed: Collection[str]) -> None:
        """Name the option of an error as it was typed. typed: the names of the typed options."""
        name_as_spelled(error, {name: own for name, own in self._typed_names.items() if name in typed})

    def _renamed(self, items: Sequence[str | Typed]) -> list[str | Typed]:
        """Options under their new names; SettingsError if one is given under both."""
        new_names = self._typed_names
        of_switches = {f"no_{old}": f"no_{new}" for old, new in new_names.items()}
        given = {item.name.removeprefix("no_") for item in items if isinstance(item, Typed)}
        for old in new_names.keys() & given:
            require_one_name(old, new_names[old], given)
        names = {**new_names, **of_switches}
        return [
            item if isinstance(item, str) else item._replace(name=names.get(item.name, item.name)) for item in items
        ]

    def _translated(self, items: list[str | Typed], by_words: frozenset[str]) -> list[str | Typed]:
        """For a verb without settings: model zoo names translated to its own, and options of a file added.

        by_words: the options that are given by position.
        """
        typed = [item for item in items if isinstance(item, Typed)]
        files = [_not_empty("file", item.value or "", [Path]) for item in typed if self._is_file(item)]
        entries = [entry for file in files for entry in read_entries(Path(file))]
        require_known(entries, {*self.names, *self.new_names})
        for outdated in self.new_names.keys() & {entry.name for entry in entries}:
            require_one_name(outdated, self.new_names[outdated], [entry.name for entry in entries])
        entries = [entry._replace(name=self.new_names.get(entry.name, entry.name)) for entry in entries]
        by_file = {entry.name: entry.value for entry in entries if self._is_for_this_verb(entry)}
        below = for_verb({name: value for name, value in by_file.items() if self._is_old(name)}, self.names, self.verb)
        old = {name: "true" if value is None else value for name, value in typed if self._is_old(name)}
        above = for_verb(old, self.names, self.verb, below=by_file)
        for note in (*above.notes, *_replaced(above, below, old, by_file)):
            get_logger().warning(note)
        given = {item.name for item in typed} | above.settings.keys() | by_words
        of_file = dict(below.settings) | {name: value for name, value in by_file.items() if not self._is_old(name)}
        return [
            *(item for item in items if isinstance(item, str) or not (self._is_old(item.name) or self._is_file(item))),
            *(Typed(name, to_text(value)) for name, value in of_file.items() if not (value is None or name in given)),
            *(Typed(name, value) for name, value in above.settings.items()),
        ]

    def _is_file(self, item: Typed) -> bool:
        return item.name == "file" and item.name not in self.names

    def _is_old(self, name: str) -> bool:
        return name in BY_OLD_NAME and name not in self.names

    def _is_for_this_verb(self, entry: Entry) -> bool:
        """Whether an entry of a file shared by several verbs applies here.

        Values at the model zoo's default do not, unless the alias says so; nor does `weights`, which in a training
        file are the initial weights.
        """
        if self._is_old(entry.name):
            alias = BY_OLD_NAME[entry.name]
            return alias.means_in(self.verb, self.names) and (alias.default_holds or not entry.is_default)
        is_truth = str(entry.value).lower() in TRUTH  # `images` is a folder for eval, and a switch of predict
        is_other = entry.name == "weights" or (entry.name in self.switches and not is_truth)
        return entry.name in self.names and entry.value is not None and not is_other

    def _split(self, token: str) -> tuple[str | None, str | None]:
        """Split a token into (option name with `_`, value); name is None for anything that is not a lookonce option."""
        match = OPTION.fullmatch(token) or KEY_VALUE.fullmatch(token)
        if match is None:
            return None, None
        name = match[1].replace("-", "_")
        is_path = not self._is_known(name) and not token.startswith("--") and Path(token).exists()  # `a=b.jpg`
        if is_path or name in {"help", "version"}:
            return None, None
        return "file" if name == "config_path" else name, match[2]  # the model zoo's spelling

    def _takes(self, name: str, following: str) -> bool:
        """Whether the word after `--name` is its value."""
        pair = KEY_VALUE.fullmatch(following)
        if OPTION.fullmatch(following) or (pair and self._is_known(pair[1].replace("-", "_"))):
            return False
        name = self._typed_names.get(name, name)
        if name in self.switches:
            return following.lower() in TRUTH
        return self.one_value_each or name in self.words or name not in self.names

    def _is_known(self, name: str) -> bool:
        known = {*self.names, *self._typed_names, "file", "config_path"}
        return self.tolerant or name in known or name in BY_OLD_NAME

    def _require_known(self, names: Iterable[str]) -> None:
        of_switches = {f"no_{name}" for name in self.switches}
        unknown = [name for name in names if not self._is_known(name) and name not in of_switches]
        if unknown:
            words = "\n".join(f"unknown setting {name}{self._hint(name)}" for name in dict.fromkeys(unknown))
            raise SettingsError(words, setting=unknown[0])

    def _hint(self, name: str) -> str:
        of_verb = (old for old, alias in BY_OLD_NAME.items() if alias.means_in(self.verb, self.names))
        known = [*self.names, "file", *(BY_OLD_NAME if self.takes_old_names else of_verb)]
        return (
            suggestion(name, known, self.verb, similar=False)
            or _of_training(name)
            or suggestion(name, known)
            or f"; `lookonce {self.verb} --help` lists the options"
        )

    def _option(self, name: str, value: str | None) -> str:
        if name.startswith("no_") and name.removeprefix("no_") in self.switches and value is None:
            return f"--{name.replace('_', '-')}"
        if name not in self.names and self.tolerant:
            is_off = name.startswith("no_") and name.removeprefix("no_") in Settings.model_fields and value is None
            return f"--{name.removeprefix('no_')}=false" if is_off else f"--{name}={'true' if value is None else value}"
        if name in self.words and value is not None:
            return value
        option = f"--{name.rstrip('_').replace('_', '-')}"
        if value is None and name == "resume":
            value = "true"  # the only setting whose value is optional
        return option if value is None else f"{option}={value}"


def _of_training(name: str) -> str:
    """ "; it is an option of lookonce train (--epochs)" for a setting that another verb lacks; else ""."""
    setting = name if name in Settings.model_fields else taken_for(name, Settings.model_fields)
    if setting is None:
        return ""
    option = setting.replace("_", "-")
    return f"; it is an option of lookonce {VERBS_WITH.get(setting, f'train (--{option})')}"


def _has_words(items: Iterable[str | Typed]) -> bool:
    """Whether any word is not the value of the option before it."""
    before: str | Typed = ""
    for item in items:
        if isinstance(item, str) and (isinstance(before, str) or before.value is not None):
            return True
        before = item
    return False


def _replaced(above: Translation, below: Translation, typed: Given, by_file: Given) -> Iterator[str]:
    """Notes on options of a file that were also typed, under another name."""
    for name, left in below.spelled.items():
        chosen = above.spelled.get(name, left)
        if chosen != left and above.settings[name] != below.settings[name]:
            yield taken_not((chosen, typed[chosen]), (left, by_file[left]))


def options_of(function: Callable[..., Any], verb: str) -> Options:
    """The options of a function made by `command_of`."""
    hints = get_type_hints(function)
    parameters = inspect.signature(function).parameters.values()
    flags = {parameter.name for parameter in parameters if parameter.kind is parameter.VAR_KEYWORD}
    names = frozenset(hints) - {"return", *flags}
    switches = frozenset(name for name in names if bool in (hints[name], *get_args(hints[name])))
    takes_settings = "recipe" in names
    positional = {parameter.name for parameter in parameters if parameter.kind is parameter.POSITIONAL_OR_KEYWORD}
    meant = names | (Settings.model_fields.keys() if flags else frozenset())
    of_others = {old for old, alias in BY_OLD_NAME.items() if takes_settings or alias.means_in(verb, names)}
    return Options(
        verb=verb,
        names=names,
        positional=frozenset(positional),
        switches=switches,
        one_value_each=takes_settings or bool(flags),
        takes_old_names=takes_settings,
        tolerant=bool(flags),
        words=frozenset(parameter.name for parameter in parameters if parameter.kind is parameter.VAR_POSITIONAL),
        new_names=old_names_of(function),
        synonyms={word: name for word in SAME if word not in of_others and (name := taken_for(word, meant))},
    )


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
    call.__doc__ = unwrapped(function.__doc__ or "")
    for parameter_name, option in renames.items():
        call.__doc__ = re.sub(rf"\b{parameter_name}\b", option, call.__doc__)
    call.__name__ = function.__name__
    call.__old_names__ = old_names_of(function)  # type: ignore[attr-defined]
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
    if CAN_NAME_VALUES and (word := _placeholder_of(hint)):
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
            _not_empty(name.rstrip("_"), token.value, kinds)
        return convert(kind, tokens)

    return converted


def _not_empty(name: str, text: str, kinds: Collection[Any]) -> str:
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


def _placeholder_of(hint: Any) -> str:
    """Placeholder of a value of that type, such as N, N|TEXT or PATH...; "" for a switch."""
    kind, parts = get_origin(hint), get_args(hint)
    if kind in (tuple, list, Sequence):
        return f"{_placeholder_of(parts[0])}..."
    if kind in (Union, UnionType):
        return "|".join(filter(None, map(_placeholder_of, parts)))
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
