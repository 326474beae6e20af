"""Every option of the model zoo's document: our equivalent setting, or the alternative where there is none.

An alias translates its value into our settings, or into an option of another verb. Every verb accepts every option at
the model zoo's default. Where an option has no effect, any other value raises an error that names the alternative, or
is noted; no option is ignored silently. The table of docs/modelzoo.md is generated from this one.
"""

import re
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from lookonce.errors import SettingsError
from lookonce.settings.modelzoo_options import OPTIONS

Program = Literal["train", "eval", "export", "job"]
Given = Mapping[str, Any]  # option name, as spelled in its source -> value; all options of one source
MULTI_SCALE_SIZES = tuple(range(320, 609, 32))
DEVICES = {"ascend": "npu", "gpu": "cuda", "cpu": "cpu"}
SIGNS = str.maketrans("()[],;", " " * 6)
FALSE_WORDS = {"", "0", "false", "no", "off", "none", "null"}


@dataclass(frozen=True)
class Translation:
    """Model zoo options translated to our settings (or options of a verb), and notes for the user.

    spelled: our name -> the model zoo's name under which it was given.
    """

    settings: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    spelled: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Alias:
    """One option of the document, a row of `modelzoo_options`.

    old: its name; new: our name, "" if there is none; program: the document's program that has it; default: the
    document's, as typed; differs: the difference from the model zoo, for docs and error messages; words: on its use,
    see `modelzoo_options`.
    """

    old: str
    new: str
    program: Program
    default: str
    differs: str
    words: Mapping[str, str]

    @property
    def training_only(self) -> bool:
        return "training only" in self.words

    @property
    def default_holds(self) -> bool:
        return "default holds" in self.words

    @property
    def has_no_effect(self) -> bool:
        return "noted" in self.words

    @property
    def is_in_training(self) -> bool:
        """Whether it has a meaning in training, or is refused there."""
        is_elsewhere = self.program != "train" and self.new and self.old not in MEANINGS
        return not (self.has_no_effect or is_elsewhere)

    def translate(self, given: Given) -> Translation:
        """All given options, this one included -> its meaning in training. SettingsError if it is refused."""
        if self.old in MEANINGS:
            return MEANINGS[self.old](given)
        value = given[self.old]
        if self.new:
            return Translation({self.new: value})
        accepted = {"", self.default.lower(), *self.words.get("harmless", "").split()}
        if str(value).strip().lower() not in accepted:
            raise SettingsError(self.explained(value), setting=self.old, value=value)
        return Translation({})

    def in_verb(self, given: Given) -> str | None:
        """All given options -> the value of option `new` of another verb; None if it does not set it."""
        if self.old in IN_VERBS:
            return IN_VERBS[self.old](given)
        if self.old in MEANINGS and self.program == "train":
            value = MEANINGS[self.old](given).settings.get(self.new)
            return None if value is None else str(value)
        return str(given[self.old]) if self.new else None

    @property
    def is_of_training(self) -> bool:
        """Whether training reads this option from a configuration file that all programs share."""
        return self.program == "train" or (self.program == "job" and self.is_in_training)

    def means_in(self, verb: str, options: Collection[str]) -> bool:
        """Whether it maps to one of these options of a verb; predict shares those of the document's eval.

        Not `images`, which is a folder for eval and a switch of predict.
        """
        programs = {"train", "eval" if verb == "predict" else verb}
        is_other = self.training_only or (verb == "predict" and self.new == "images")
        return self.new in options and self.program in programs and not is_other

    def is_default(self, value: Any) -> bool:
        """Whether a value equals the model zoo's default in any spelling: 0 and 0.0, text and list.

        For options without a meaning in training, an empty value counts as the default.
        """
        if self.default in {"True", "False"}:
            return is_true(value) == is_true(self.default)
        defaults = {self.default, self.words.get("in its file", self.default)}
        defaults |= set() if self.is_in_training else {""}
        return _plain(value) in {_plain(default) for default in defaults}

    def explained(self, value: Any, known: Container[str] = ()) -> str:
        """Message for a verb that has no such option. known: the verb's options that it may have been meant for."""
        verb = f"lookonce {self.program}"
        if self.new:
            option = f"--{self.new.replace('_', '-')}"
            step = f"did you mean {self.new}?" if self.new in known else f"pass it to {verb}"
            return f"{self.old}: {value}; no effect here; it is an option of {verb} ({option}); {step}"
        return f"{self.old}: {value}; {self.differs}"


def is_true(value: Any) -> bool:
    """Value of a model zoo switch: 0, "0", "False", "" and None are off."""
    return str(value).strip().lower() not in FALSE_WORDS


def _plain(value: Any) -> tuple[float | str, ...]:
    """The distinct words of a value, without brackets and commas; numbers as floats if all words are numbers."""
    words = str(value).strip().lower().translate(SIGNS).split()
    try:
        return tuple(dict.fromkeys(float(word) for word in words))
    except ValueError:
        return tuple(words)


def for_verb(given: Given, options: Collection[str], verb: str, below: Given | None = None) -> Translation:
    """Model zoo options translated for a verb that does not take training settings.

    given: model zoo name -> value. options: the verb's own options, with `_`. below: options of a source with lower
    priority, for options that are read together. Options without effect on the verb are noted at their default and
    raise SettingsError at other values, as do two spellings of one option with different values.
    """
    all_given = {**(below or {}), **given}
    found: dict[str, str] = {}
    spelled: dict[str, str] = {}
    notes: list[str] = []
    idle: list[str] = []
    for old, value in given.items():
        alias = BY_OLD_NAME[old]
        if not alias.means_in(verb, options):
            if alias.is_default(value):
                idle.append(old)
            elif alias.has_no_effect or alias.new == "device":  # export, for example, runs on the CPU in any case
                notes.append(alias.explained(value))
            elif alias.new or not alias.is_in_training:
                raise SettingsError(alias.explained(value), setting=old, value=value)
            else:
                notes += alias.translate(given).notes  # raises SettingsError unless the value is harmless
            continue
        text = alias.in_verb(all_given)
        if text is None:
            continue
        if found.get(alias.new, text) != text:
            before = (spelled[alias.new], all_given[spelled[alias.new]])
            chosen, left = chosen_of(alias.new, before, (old, value))
            notes.append(taken_not(chosen, left))
            if chosen[0] != old:
                continue
        found[alias.new], spelled[alias.new] = text, old
    return Translation(found, (*notes, *without_effect(idle, f"lookonce {verb}")), spelled)


Option = tuple[str, Any]  # name, value


def chosen_of(name: str, first: Option, second: Option) -> tuple[Option, Option]:
    """(the option that applies, the ignored one) of two spellings of setting `name` with different values.

    An option at the model zoo's default gives way to the other. SettingsError if neither is at its default.
    """
    is_choice = [old not in BY_OLD_NAME or not BY_OLD_NAME[old].is_default(value) for old, value in (first, second)]
    if not any(is_choice):  # batch_size is an export option in the model zoo
        return (second, first) if first[0] == "batch_size" else (first, second)
    if all(is_choice):
        both = f"{first[0]}={first[1]} and {second[0]}={second[1]}"
        words = f"{both}: two spellings of {name} with different values; keep one"
        raise SettingsError(words, setting=name, value=second[1])
    return (first, second) if is_choice[0] else (second, first)


def taken_not(chosen: Option, left: Option) -> str:
    """Note on two names of one setting with different values."""
    return f"{chosen[0]}={chosen[1]} is taken, not {left[0]}={left[1]}: both set the same setting"


def without_effect(names: Iterable[str], verb: str) -> tuple[str, ...]:
    """One note on all options that are at their default and have no effect on a verb."""
    listed = ", ".join(names)
    return (f"no effect on {verb} (at their model zoo defaults): {listed}",) if listed else ()


def device_target_meaning(given: Given) -> Translation:
    value = given["device_target"]
    device = DEVICES.get(str(value).strip().lower())
    if device is None:
        expected = "expected Ascend, GPU or CPU; or set device to auto, cuda, npu or cpu"
        raise SettingsError.of("device_target", value, expected)
    number = str(given.get("device_id", 0)).strip()
    return Translation({"device": f"{device}:{number}" if number not in {"", "0"} and device != "cpu" else device})


def device_id_meaning(given: Given) -> Translation:
    value = given["device_id"]
    if "device_target" in given:
        return device_target_meaning(given)
    if str(value).strip() in {"", "0"}:
        return Translation({})
    expected = f"expected together with device_target; or set device, for example device=cuda:{value}"
    raise SettingsError.of("device_id", value, expected)


def is_distributed_meaning(given: Given) -> Translation:
    """The switch alone starts no processes: the document's own file sets it, for one device."""
    if is_true(given["is_distributed"]) and not {"group_size", "devices"} & given.keys():
        return Translation({}, ("is_distributed=1: starts no processes by itself; set devices=N, or use torchrun",))
    return Translation({})


def training_shape_meaning(given: Given) -> Translation:
    value = given["training_shape"]
    if not is_true(value):
        return Translation({"multi_scale": given.get("multi_scale", MULTI_SCALE_SIZES)})
    return Translation({"image_size": value, "multi_scale": ()})


def label_smooth_meaning(given: Given) -> Translation:
    factor = given.get("label_smooth_factor", 0.1)
    return Translation({"label_smoothing": factor if is_true(given["label_smooth"]) else 0})


def label_smooth_factor_meaning(given: Given) -> Translation:
    value = given["label_smooth_factor"]
    if "label_smooth" in given:
        return label_smooth_meaning(given)
    if _plain(value) == (0.1,):
        return Translation({})
    expected = f"expected together with label_smooth=1; or set label_smoothing={value} alone"
    raise SettingsError.of("label_smooth_factor", value, expected)


def ckpt_interval_meaning(given: Given) -> Translation:
    value = given["ckpt_interval"]
    try:
        steps = int(str(value))
    except ValueError:
        expected = "expected a whole number of batches (save_steps); -1 saves after each epoch (save_every=1)"
        raise SettingsError.of("ckpt_interval", value, expected) from None
    return Translation({"save_steps": steps} if steps > 0 else {"save_every": 1, "save_steps": 0})


def factor_meaning(old: str, new: str) -> Callable[[Given], Translation]:
    """The document samples a factor between 1 and the number, or its inverse: 0.4 and 2.5 are the same range."""

    def translate(given: Given) -> Translation:
        try:
            number = float(given[old])
        except (TypeError, ValueError):
            return Translation({new: given[old]})  # the setting's own validation raises the error
        return Translation({new: 1 / number if 0 < number < 1 else number})

    return translate


def anchor_scales_meaning(given: Given) -> Translation:
    """The document's list of pairs; as text also `10,13 23,27 ...` with or without brackets."""
    value = given["anchor_scales"]
    if not isinstance(value, str):
        return Translation({"anchors": value})
    numbers = value.translate(SIGNS).split()
    return Translation({"anchors": [numbers[row : row + 2] for row in range(0, len(numbers), 2)]})


def test_img_shape_meaning(given: Given) -> str:
    value = given["test_img_shape"]
    sides = _plain(value)
    if len(sides) != 1:
        raise SettingsError.of("test_img_shape", value, "expected a square size, for example [416, 416]")
    return f"{sides[0]:g}" if isinstance(sides[0], float) else sides[0]


# Options whose value is converted -> their meaning in training.
MEANINGS: dict[str, Callable[[Given], Translation]] = {
    "device_target": device_target_meaning,
    "device_id": device_id_meaning,
    "ckpt_interval": ckpt_interval_meaning,
    "is_save_on_master": lambda given: Translation(
        {"save_on": "main" if is_true(given["is_save_on_master"]) else "all"}
    ),
    "label_smooth": label_smooth_meaning,
    "label_smooth_factor": label_smooth_factor_meaning,
    "anchor_scales": anchor_scales_meaning,
    "training_shape": training_shape_meaning,
    "saturation": factor_meaning("saturation", "saturation"),
    "value": factor_meaning("value", "brightness"),
    "batch_size": lambda given: Translation({"batch_size": given["batch_size"]}),  # in training it is our own setting
    "is_distributed": is_distributed_meaning,
}
# Options of the document's eval and export whose value is converted for our verbs.
IN_VERBS: dict[str, Callable[[Given], str]] = {
    "test_img_shape": test_img_shape_meaning,
    "file_format": lambda given: str(given["file_format"]).lower(),
    "keep_detect": lambda given: "decoded" if is_true(given["keep_detect"]) else "raw",
}


def _aliases() -> Iterator[Alias]:
    for program, options in re.findall(r"^(\w+)\n((?: .*\n)+)", OPTIONS, re.MULTILINE):
        for head, below in re.findall(r"^  (\S.*)\n((?:    .*\n)*)", options, re.MULTILINE):
            head, _, beside = head.partition(" -- ")
            old, new, default, *words = head.split(" | ")
            pairs = (word.partition(": ") for word in "".join(words).split(", ") if word)
            yield Alias(
                old=old,
                new="" if new == "-" else new,
                program=program,
                default="" if default == '""' else default,
                differs=" ".join(f"{beside}{below}".split()),
                words={name: value for name, _, value in pairs},
            )


ALIASES = tuple(_aliases())
BY_OLD_NAME: dict[str, Alias] = {alias.old: alias for alias in ALIASES}


def as_named(error: SettingsError, typed: Collection[str], verb: str, *, from_document: bool = False) -> SettingsError:
    """The error with the model zoo's name beside ours, for a setting that the user knows by that name.

    typed: names of all given options; from_document: whether a setting that was not given has that name too, as in
    `export.py` without ckpt_file.
    """
    known = [alias for alias in ALIASES if alias.new not in {"", alias.old} and alias.program in {"train", verb}]
    known = [alias for alias in known if alias.program == verb or not alias.training_only]
    meant = [alias for alias in known if alias.old in typed and _concerns(alias, error)]
    if not meant and from_document and error.setting not in typed:
        own = [alias for alias in known if alias.program == verb or alias.means_in(verb, {alias.new})]
        meant = [alias for alias in own if alias.new == error.setting]
    text = str(error)
    for new in dict.fromkeys(alias.new for alias in meant):
        text = _beside(text, new, [alias.old for alias in meant if alias.new == new])
    return SettingsError(text, **error.fields)


def name_as_spelled(error: SettingsError, names: Mapping[str, str]) -> None:
    """Name the setting of an error as the user spelled it, beside our name: `confidence (threshold): 30; ...`.

    names: spelling -> our name, of the given options. The error itself is changed: one raised from itself is a chain
    without an end.
    """
    spelled = [name for name, own in names.items() if own == error.setting]
    if spelled:
        error.args = (_beside(str(error), error.setting or "", spelled),)


def _beside(text: str, new: str, names: Sequence[str]) -> str:
    """A message with other names of a setting beside ours, unless it names one of them."""
    if any(_word(name).search(text) for name in names):
        return text
    both = f"{', '.join(names)} ({new})"
    return _word(new).sub(both, text, count=1) if _word(new).search(text) else f"{both}: {text}"


def _concerns(alias: Alias, error: SettingsError) -> bool:
    """An error without a setting concerns all settings that its message names."""
    return alias.new == error.setting if error.setting else bool(_word(alias.new).search(str(error)))


def _word(name: str) -> re.Pattern[str]:
    """A setting's name in a message, also as an option, and not as a part of a path."""
    return re.compile(rf"(?<![\w./-])(?:--)?{name.replace('_', '[_-]')}(?![\w/-])")
