"""Defaults < recipe < YAML file < command line: one place where they meet, with the origin of every value."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from lookonce.config.aliases import BY_OLD_NAME, chosen_of, is_true, taken_not, without_effect
from lookonce.config.names import suggestion
from lookonce.config.schema import WITH_SGD, Settings, default_of
from lookonce.config.text import explain, parse_text
from lookonce.config.yaml_file import Entry, read_entries
from lookonce.errors import SettingsError

DEFAULT_ORIGIN = "default"
COMMAND_LINE = "command line"
DOCUMENTS_RECIPE = "modelzoo"
AT_DEFAULT = "the model zoo's default"


@dataclass(frozen=True)
class Resolved:
    """settings; origins: for each setting where its value comes from ("default", "recipe modelzoo",
    "mine.yaml line 3", "command line", the latter two with the spelling if it was not ours); notes to show the user."""

    settings: Settings
    origins: dict[str, str]
    notes: tuple[str, ...] = ()


@dataclass
class _Layer:
    """The values of one source under our names, coerced to their kinds. said: our name -> the option that said it."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    said: dict[str, Entry] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def resolve(
    flags: Mapping[str, Any], *, recipe: str | None = None, file: Path | Sequence[Entry] | None = None
) -> Resolved:
    """Settings from everything that was said.

    flags: name -> value, as typed (text) or as Python values; names of ours or of the model zoo, `-` or `_`. Among
    them may be `recipe` and `file`, like the arguments of those names. None means not given. file: a YAML file, or
    what was read from one.

    A name that the model zoo alone has implies recipe modelzoo, unless a recipe is named. In a file with such a name, a
    value at the original's default is no choice: it gives way to everything else.
    """
    given = {name.replace("-", "_"): value for name, value in flags.items() if value is not None}
    if given.get("file") or isinstance(file, Path):
        file = read_entries(Path(given.get("file") or str(file)))
    from_file = list(file or ())
    from_flags = [Entry(name, value, COMMAND_LINE) for name, value in given.items() if name != "file"]
    argument = [Entry("recipe", recipe, COMMAND_LINE)] if recipe else []
    require_known([*from_file, *from_flags])
    chosen, notes = _recipe([*from_flags, *argument, *from_file])
    held, choices, more = _of_document(from_file, str(chosen.value))
    below = {entry.name: entry.value for entry in choices}
    of_recipe = _layer(_recipe_entries(str(chosen.value)))
    of_file = _layer(held, origin=AT_DEFAULT), _layer(choices, beside=from_file)
    merged = _merge([of_recipe, *of_file, _layer(from_flags, below), _layer(argument)])
    settings = merged.settings.model_copy(update={"recipe": str(chosen.value)})
    origins = merged.origins | {"recipe": chosen.place}
    return Resolved(settings, origins, tuple(dict.fromkeys((*notes, *more, *merged.notes))))


def is_said(origin: str) -> bool:
    """Whether somebody chose a value, on the command line or in a file."""
    return origin != DEFAULT_ORIGIN and not origin.startswith(("recipe ", "optimizer ", "implied ", AT_DEFAULT))


def _recipe(entries: Sequence[Entry]) -> tuple[Entry, list[str]]:
    """The recipe that is named first, or that the model zoo's names imply, or the default; and what to say of it."""
    named = next((entry for entry in entries if entry.name == "recipe"), None)
    if named is not None:
        return named, []
    for entry in entries:
        if entry.is_documents:
            place = "" if entry.place == COMMAND_LINE else f" ({entry.place})"
            note = f"recipe modelzoo, as {entry.name}{place} is the model zoo's name; --recipe modern overrides it"
            return Entry("recipe", DOCUMENTS_RECIPE, f"implied by {entry.name}"), [note]
    return Entry("recipe", default_of("recipe"), DEFAULT_ORIGIN), []


def _of_document(entries: Sequence[Entry], recipe: str) -> tuple[list[Entry], list[Entry], list[str]]:
    """Of a file: what holds where nothing else says it, what somebody chose, and notes.

    A file in the model zoo's names tells all of the document's programs, so that options of another one are passed
    over here, and batch_size is that of its export.
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
    note = f"recipe {recipe} was chosen, so these of the file count as not given, at the model zoo's default: {listed}"
    return [], choices, [note] if listed else []


def recipe_names() -> list[str]:
    """The recipes that come with lookonce."""
    folder = resources.files("lookonce.config") / "recipes"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def coerce(name: str, value: Any) -> Any:
    """A setting's value in its own kind, from text or from YAML; SettingsError says what was expected."""
    try:
        return _adapter(name).validate_python(parse_text(name, value))
    except ValidationError as error:
        raise SettingsError(f"{name}={value}: {explain(name, error)}", setting=name, value=value) from None


def _merge(layers: Iterable[_Layer]) -> Resolved:
    origins = dict.fromkeys(Settings.model_fields, DEFAULT_ORIGIN)
    values: dict[str, Any] = {}
    said: dict[str, Entry] = {}
    notes: list[str] = []
    for layer in layers:
        notes += layer.notes
        notes += [
            taken_not(*((option.name, option.value) for option in (layer.said[name], said[name])))
            for name in layer.said.keys() & said.keys()
            if layer.said[name].name != said[name].name and layer.values[name] != values[name]
        ]
        values |= layer.values
        origins |= layer.origins
        said |= {name: entry for name, entry in layer.said.items() if is_said(layer.origins[name])}
    if values.get("optimizer", default_of("optimizer")) == "sgd":
        origins |= dict.fromkeys(WITH_SGD.keys() - values.keys(), "optimizer sgd")
        values = WITH_SGD | values
    try:
        return Resolved(Settings(**values), origins, tuple(notes))
    except ValidationError as error:
        # Each value alone is in order by now: what is left is a pair that does not go together.
        raise SettingsError("; ".join(str(problem["ctx"]["error"]) for problem in error.errors())) from None


def _layer(
    entries: Sequence[Entry],
    below: Mapping[str, Any] | None = None,
    *,
    beside: Sequence[Entry] = (),
    origin: str = "",
) -> _Layer:
    """Translate and coerce the values of one source; two spellings of a setting must say the same.

    below: what a source that gives way has said, for options that go together; beside: all entries of the same file.
    """
    layer = _Layer()
    own = {entry.name: entry.value for entry in (*beside, *entries)}
    idle = [entry.name for entry in entries if _is_idle(entry)]
    for entry in entries:
        try:
            meaning, notes = _meaning(entry, own, {**(below or {}), **own})
            layer.notes += notes
            for name, value in meaning.items():
                _say(layer, name, coerce(name, value), entry, origin or _origin(entry, name))
        except SettingsError as error:
            place = "" if entry.place == COMMAND_LINE else f"{entry.place}: "
            raise SettingsError(
                f"{place}{error}", **(error.fields | {"path": entry.path, "line": entry.line})
            ) from None
    layer.notes += without_effect(idle, "training")
    return layer


def _say(layer: _Layer, name: str, value: Any, entry: Entry, origin: str) -> None:
    before = layer.said.get(name)
    if before is not None and layer.values[name] != value:
        options = (before.name, before.value), (entry.name, entry.value)
        chosen, left = chosen_of(name, *options)
        layer.notes.append(taken_not(chosen, left))
        if chosen == options[0]:
            return
    layer.values[name], layer.origins[name], layer.said[name] = value, origin, entry


def _is_idle(entry: Entry) -> bool:
    """Whether it means nothing in training, and stands at its default."""
    return entry.is_documents and entry.is_default and BY_OLD_NAME[entry.name].program != "train"


def _meaning(
    entry: Entry, own: Mapping[str, Any], given: Mapping[str, Any]
) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Our settings that one option stands for, and notes. own: all options of its source; given: of those below too."""
    if entry.name == "multi_scale" and "training_shape" in own:  # which decides whether the sizes count
        is_idle = is_true(own["training_shape"]) and not entry.is_default
        return {}, (f"multi_scale: without effect beside training_shape={own['training_shape']}",) if is_idle else ()
    alias = BY_OLD_NAME.get(entry.name)
    if alias is None:
        return {entry.name: entry.value}, ()
    if _is_idle(entry):
        return {}, ()
    if alias.has_no_effect:
        return {}, () if entry.is_default else (alias.explained(entry.value),)
    if alias.translate is None:
        raise SettingsError(alias.explained(entry.value), setting=entry.name, value=entry.value)
    translation = alias.translate(given)
    return translation.settings, translation.notes


def require_known(entries: Iterable[Entry], more: Iterable[str] = ()) -> None:
    """SettingsError names all unknown names at once. more: names of a verb's own."""
    known = [*Settings.model_fields, *BY_OLD_NAME, "file", *more]
    unknown = []
    for entry in entries:
        if entry.name not in known:
            place = "" if entry.place == COMMAND_LINE else f"{entry.place}: "
            hint = suggestion(entry.name, known) or "; `lookonce config` lists them all"
            unknown.append((entry, f"{place}unknown setting {entry.name}{hint}"))
    if unknown:
        first = unknown[0][0]
        words = "\n".join(message for _, message in unknown)
        raise SettingsError(words, setting=first.name, path=first.path, line=first.line)


def _origin(entry: Entry, name: str) -> str:
    return entry.place if entry.name == name else f"{entry.place}, {entry.name}"


def _recipe_entries(recipe: str) -> list[Entry]:
    if recipe not in recipe_names():
        raise SettingsError(
            f"recipe={recipe}: expected one of {', '.join(recipe_names())}{suggestion(recipe, recipe_names())} "
            "A YAML file of your own goes with --file",
            setting="recipe",
            value=recipe,
        )
    with resources.as_file(resources.files("lookonce.config") / "recipes" / f"{recipe}.yaml") as path:
        return [Entry(entry.name, entry.value, f"recipe {recipe}") for entry in read_entries(path)]


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    info = Settings.model_fields[name]
    kind: Any = Annotated[info.annotation, info]
    return TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False))
