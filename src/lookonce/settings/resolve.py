"""Merges defaults < recipe < YAML file < command line, with the origin of every value."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from lookonce.errors import SettingsError, shortened
from lookonce.parsed import has_only_int64
from lookonce.request import by_own_names
from lookonce.settings.aliases import BY_OLD_NAME, as_named, chosen_of, is_true, taken_not, without_effect
from lookonce.settings.names import suggested_value, suggestion, taken_for
from lookonce.settings.schema import WITH_SGD, Settings, default_of
from lookonce.settings.text import explain, parse_text
from lookonce.settings.yaml_file import Entry, read_entries

DEFAULT_ORIGIN = "default"
COMMAND_LINE = "command line"
DOCUMENTS_RECIPE = "modelzoo"
AT_DEFAULT = "the model zoo's default"


@dataclass(frozen=True)
class Resolved:
    """Settings, the origin of each value, and notes for the user.

    origins: setting -> "default", "recipe modelzoo", "mine.yaml line 3" or "command line"; the latter two with the
    option's spelling if it was the model zoo's.
    """

    settings: Settings
    origins: dict[str, str]
    notes: tuple[str, ...] = ()


@dataclass
class _Layer:
    """The values of one source under our names, with validated types. given: our name -> the option that set it."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    given: dict[str, Entry] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def resolve(flags: Mapping[str, Any], *, file: Path | Sequence[Entry] | None = None) -> Resolved:
    """Merge all sources into settings.

    flags: name -> value, as text or as Python values; our names, the field's or the model zoo's, with `-` or `_`.
    `file` among them acts as the argument of that name. None means not given. file: a YAML file, or its entries.

    A name that only the model zoo has implies recipe modelzoo, unless a recipe is given. In a file with such a name, a
    value at the model zoo's default is overridden by every other source.
    """
    given = with_own_names(flags)
    if given.get("file") or isinstance(file, Path):
        file = read_entries(Path(given.get("file") or str(file)))
    from_file = list(file or ())
    from_flags = [Entry(name, value, COMMAND_LINE) for name, value in given.items() if name != "file"]
    require_known([*from_file, *from_flags])
    chosen, notes = _recipe([*from_flags, *from_file])
    held, choices, more = _of_document(from_file, str(chosen.value))
    below = {entry.name: entry.value for entry in choices}
    try:
        of_recipe = _layer(_recipe_entries(str(chosen.value)))
        of_file = _layer(held, origin=AT_DEFAULT), _layer(choices, beside=from_file)
        merged = _merge([of_recipe, *of_file, _layer(from_flags, below)])
    except SettingsError as error:
        raise as_named(error, [entry.name for entry in (*from_file, *from_flags)], "train") from error
    settings = merged.settings.model_copy(update={"recipe": str(chosen.value)})
    origins = merged.origins | {"recipe": chosen.place}
    return Resolved(settings, origins, tuple(dict.fromkeys((*notes, *more, *merged.notes))))


def with_own_names(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The given flags, those that are not None, with `_` and our name for a spelling of the field, such as imgsz."""
    given = {name.replace("-", "_"): value for name, value in flags.items() if value is not None}
    return by_own_names(given, lambda name: None if name in BY_OLD_NAME else taken_for(name, Settings.model_fields))


def is_said(origin: str) -> bool:
    """Whether a value was set by the user, on the command line or in a file."""
    return origin != DEFAULT_ORIGIN and not origin.startswith(
        ("recipe ", "optimizer ", "implied ", "weights ", AT_DEFAULT)
    )


def with_defaults(resolved: Resolved, values: Mapping[str, Any], origin: str) -> Resolved:
    """`values` replace the values of defaults and recipes; those that the user set stay."""
    left = {name: value for name, value in values.items() if not is_said(resolved.origins[name])}
    settings = _validated(dict(resolved.settings) | left)
    return Resolved(settings, resolved.origins | dict.fromkeys(left, origin), resolved.notes)


def _recipe(entries: Sequence[Entry]) -> tuple[Entry, list[str]]:
    """The recipe that is given first, or that the model zoo's names imply, or the default; and notes on it."""
    named = next((entry for entry in entries if entry.name == "recipe"), None)
    if named is not None:
        return named, []
    for entry in entries:
        if entry.is_documents and not (entry.place == COMMAND_LINE and BY_OLD_NAME[entry.name].has_no_effect):
            place = "" if entry.place == COMMAND_LINE else f" ({entry.place})"
            note = (
                f"recipe modelzoo is implied by the model zoo option {entry.name}{place}; --recipe modern overrides it"
            )
            return Entry("recipe", DOCUMENTS_RECIPE, f"implied by {entry.name}"), [note]
    return Entry("recipe", default_of("recipe"), DEFAULT_ORIGIN), []


def _of_document(entries: Sequence[Entry], recipe: str) -> tuple[list[Entry], list[Entry], list[str]]:
    """Split a file's entries: (defaults that still apply, values that the user chose, notes).

    A file with the model zoo's names configures all of the document's programs: options of the other programs are
    skipped, and batch_size is that of its export.
    """
    names = {entry.name for entry in entries}
    if not any(entry.is_documents for entry in entries):
        return [], list(entries), []
    own = [entry for entry in entries if entry.name not in BY_OLD_NAME or BY_OLD_NAME[entry.name].is_of_training]
    if "recipe" in names and recipe != DOCUMENTS_RECIPE:
        return [], own, []
    at_default = [entry for entry in own if entry.is_default]
    choices = [entry for entry in own if not entry.is_default]
    if recipe == DOCUMENTS_RECIPE:
        return [entry for entry in at_default if BY_OLD_NAME[entry.name].default_holds], choices, []
    listed = ", ".join(entry.name for entry in at_default)
    note = f"recipe {recipe} overrides these options of the file, which are at their model zoo defaults: {listed}"
    return [], choices, [note] if listed else []


def recipe_names() -> list[str]:
    folder = resources.files("lookonce.settings") / "recipes"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def coerce(name: str, value: Any) -> Any:
    """Validated value of a setting, from text or YAML; SettingsError states the expected value."""
    try:
        valid = _adapter(name).validate_python(parse_text(name, value))
    except ValidationError as error:
        raise _wrong(name, value, explain(name, error)) from None
    if not has_only_int64(valid):
        raise _wrong(name, value, "expected whole numbers of up to 64 bits")
    return valid


def _wrong(name: str, value: Any, problem: str) -> SettingsError:
    shown = "empty" if value == "" else shortened(value)
    return SettingsError(f"{name}: {shown}; {problem}", setting=name, value=value)


def _merge(layers: Iterable[_Layer]) -> Resolved:
    origins = dict.fromkeys(Settings.model_fields, DEFAULT_ORIGIN)
    values: dict[str, Any] = {}
    given: dict[str, Entry] = {}
    notes: list[str] = []
    for layer in layers:
        notes += layer.notes
        notes += [
            taken_not(*((option.name, option.value) for option in (layer.given[name], given[name])))
            for name in layer.given.keys() & given.keys()
            if layer.given[name].name != given[name].name and layer.values[name] != values[name]
        ]
        values |= layer.values
        origins |= layer.origins
        given |= {name: entry for name, entry in layer.given.items() if is_said(layer.origins[name])}
    if values.get("optimizer", default_of("optimizer")) == "sgd":
        origins |= dict.fromkeys(WITH_SGD.keys() - values.keys(), "optimizer sgd")
        values = WITH_SGD | values
    return Resolved(_validated(values), origins, tuple(notes))


def _validated(values: Mapping[str, Any]) -> Settings:
    try:
        return Settings(**values)
    except ValidationError as error:
        # Each value is valid by itself here: only contradictions between settings are left.
        raise SettingsError("; ".join(str(problem["ctx"]["error"]) for problem in error.errors())) from None


def _layer(
    entries: Sequence[Entry],
    below: Mapping[str, Any] | None = None,
    *,
    beside: Sequence[Entry] = (),
    origin: str = "",
) -> _Layer:
    """Translate and validate the values of one source; two spellings of a setting must agree.

    below: options of a source with lower priority, for options that are read together; beside: all entries of the same
    file.
    """
    layer = _Layer()
    own = {entry.name: entry.value for entry in (*beside, *entries)}
    idle = [entry.name for entry in entries if _is_idle(entry)]
    for entry in entries:
        try:
            meaning, notes = _meaning(entry, own, {**(below or {}), **own})
            layer.notes += notes
            for name, value in meaning.items():
                own_place = entry.place if entry.name == name else f"{entry.place}, {entry.name}"
                _set(layer, name, coerce(name, value), entry, origin or own_place)
        except SettingsError as error:
            place = "" if entry.place == COMMAND_LINE else f"{entry.place}: "
            raise SettingsError(
                f"{place}{error}", **(error.fields | {"path": entry.path, "line": entry.line})
            ) from None
    layer.notes += without_effect(idle, "training")
    return layer


def _set(layer: _Layer, name: str, value: Any, entry: Entry, origin: str) -> None:
    before = layer.given.get(name)
    if before is not None and layer.values[name] != value:
        options = (before.name, before.value), (entry.name, entry.value)
        chosen, left = chosen_of(name, *options)
        layer.notes.append(taken_not(chosen, left))
        if chosen == options[0]:
            return
    layer.values[name], layer.origins[name], layer.given[name] = value, origin, entry


def _is_idle(entry: Entry) -> bool:
    """Whether it has no effect in training, and is at its default."""
    return entry.is_documents and entry.is_default and BY_OLD_NAME[entry.name].program != "train"


def _meaning(
    entry: Entry, own: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """(our settings that an option sets, notes). own: all options of its source; given: and of those below it."""
    if entry.name == "multi_scale" and "training_shape" in own:  # training_shape decides whether the sizes apply
        is_idle = is_true(own["training_shape"]) and not entry.is_default
        return {}, (f"multi_scale: no effect with training_shape={own['training_shape']}",) if is_idle else ()
    alias = BY_OLD_NAME.get(entry.name)
    if alias is None:
        return {entry.name: entry.value}, ()
    if _is_idle(entry):
        return {}, ()
    if alias.has_no_effect:
        return {}, () if entry.is_default else (alias.explained(entry.value),)
    if not alias.is_in_training:
        raise SettingsError(alias.explained(entry.value, Settings.model_fields), setting=entry.name, value=entry.value)
    translation = alias.translate(given)
    return translation.settings, translation.notes


def require_known(entries: Iterable[Entry], more: Iterable[str] = ()) -> None:
    """SettingsError lists all unknown names. more: a verb's own options."""
    known = [*Settings.model_fields, *BY_OLD_NAME, "file", *more]
    unknown = []
    for entry in entries:
        if entry.name not in known:
            place = "" if entry.place == COMMAND_LINE else f"{entry.place}: "
            hint = suggestion(entry.name, known, "train") or "; `lookonce config` lists all settings"
            unknown.append((entry, f"{place}unknown setting {entry.name}{hint}"))
    if unknown:
        first = unknown[0][0]
        words = "\n".join(message for _, message in unknown)
        raise SettingsError(words, setting=first.name, path=first.path, line=first.line)


def _recipe_entries(recipe: str) -> list[Entry]:
    if recipe not in recipe_names():
        expected = f"expected {' or '.join(recipe_names())}; pass your own YAML file with --file"
        raise SettingsError.of("recipe", recipe, f"{expected}{suggested_value(recipe, recipe_names())}")
    with resources.as_file(resources.files("lookonce.settings") / "recipes" / f"{recipe}.yaml") as path:
        return [Entry(entry.name, entry.value, f"recipe {recipe}") for entry in read_entries(path)]


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    info = Settings.model_fields[name]
    kind: Any = Annotated[info.annotation, info]
    return TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False))
