"""What was typed for a verb: its options by any of their spellings, settings and words; their help: signatures.py."""

import inspect
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, takewhile
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple, get_args, get_type_hints

from lookonce.cli.signatures import require_typed
from lookonce.errors import SettingsError
from lookonce.log import get_logger
from lookonce.request import old_names_of, require_one_name
from lookonce.settings.aliases import BY_OLD_NAME, Given, Translation, for_verb, name_as_spelled, taken_not
from lookonce.settings.names import SAME, VERBS_WITH, suggestion, taken_for
from lookonce.settings.resolve import require_known
from lookonce.settings.schema import Settings
from lookonce.settings.text import TRUTH, to_text
from lookonce.settings.yaml_file import Entry, read_entries

KEY_VALUE = re.compile(r"([A-Za-z][\w-]*)=(.*)", re.DOTALL)
ONE_HYPHEN = re.compile(r"-([A-Za-z][\w-]*)(?:=.*)?", re.DOTALL)
WORD = re.compile(r"[\w-]+")  # no path
OPTION = re.compile(r"--([A-Za-z][\w-]*)(?:=(.*))?", re.DOTALL)


class Typed(NamedTuple):
    """A typed option: its name with `_`, and its value, None if it has none."""

    name: str
    value: str | None


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of a verb.

    verb: its name; names: its options, with `_`; positional: options that can be given without a name; switches:
    options that need no value; lists: those that take words separated by commas; one_value_each: all others take
    exactly one, so that in `--ckpt_interval -1` the second word is a value; takes_old_names: the model zoo's names are
    passed on unchanged; tolerant: any other name too; words: the parameter `*files`, which the parser takes without a
    name only; new_names: old name of an option -> its name; synonyms: the field's other spellings, likewise, when
    typed: in a file that several verbs share, `score_threshold` is the one of training.
    """

    verb: str
    names: frozenset[str]
    positional: frozenset[str]
    switches: frozenset[str]
    one_value_each: bool
    takes_old_names: bool
    tolerant: bool = False
    words: frozenset[str] = frozenset()
    lists: frozenset[str] = frozenset()
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
                    expected = f"--data {quote(token)}" if is_data else "--epochs 30 or epochs=30"
                    raise SettingsError(f"{token!r}: no option before this value; expected {expected}", value=token)
                items.append(token)
                continue
            if value is None and left and self._takes(name, left[0]):
                value = left.pop(0)
            items.append(Typed(name, value))
        items = self._renamed(items)
        self._require_commas(items)
        self._require_known(item.name for item in items if isinstance(item, Typed))
        if not self.takes_old_names and not self.tolerant:
            items = self._translated(items, self.positional if left or _has_words(items) else frozenset())
        if not left and any(one == "-" and isinstance(before, str) for before, one in pairwise(items)):
            items, left = [item for item in items if item != "-"], ["--", "-"]  # else the parser takes it for an option
        return [*(item if isinstance(item, str) else self._option(*item) for item in items), *left]

    def _require_commas(self, items: Sequence[str | Typed]) -> None:
        """SettingsError for `a.jpg --classes dog cat`, as other programs take lists."""
        for at, item in enumerate(items):
            if isinstance(item, Typed) and item.name in self.lists:
                following = takewhile(lambda one: isinstance(one, str), items[at + 1 :])
                given = [*([] if item.value is None else [item.value]), *map(str, following)]
                words = [*takewhile(lambda word: WORD.fullmatch(word) and not Path(word).exists(), given)]
                others = [*items[:at], *items[at + 1 + len(words) - (item.value is not None) :]]
                if len(words) > 2 or (len(words) == 2 and any(isinstance(other, str) for other in others)):
                    listed = f"--{item.name.replace('_', '-')} {','.join(words)}"
                    expected = f"expected commas between the words of a list: {listed}"
                    raise SettingsError.of(item.name, " ".join(words), expected)

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
        files = [require_typed("file", item.value or "", [Path]) for item in typed if self._is_file(item)]
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
        lists=getattr(function, "__list_names__", frozenset()),
        new_names=old_names_of(function),
        synonyms={word: name for word in SAME if word not in of_others and (name := taken_for(word, meant))},
    )
