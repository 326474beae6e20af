"""Defaults < recipe < YAML file < command line: one place where they meet, with the origin of every value."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from lookonce.config.aliases import BY_OLD_NAME
from lookonce.config.names import suggestion
from lookonce.config.schema import WITH_SGD, Settings, default_of
from lookonce.config.text import explain, parse_text
from lookonce.config.yaml_file import Entry, read_entries
from lookonce.errors import SettingsError

DEFAULT_ORIGIN = "default"


@dataclass(frozen=True)
class Resolved:
    """settings; origins: for each setting where its value comes from ("default", "recipe modelzoo",
    "mine.yaml line 3", "command line", the latter two with the spelling if it was not ours); notes to show the user."""

    settings: Settings
    origins: dict[str, str]
    notes: tuple[str, ...] = ()


@dataclass
class _Layer:
    """The values of one source under our names, coerced to their kinds."""

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def resolve(flags: Mapping[str, Any], *, recipe: str | None = None, file: Path | None = None) -> Resolved:
    """Settings from everything that was said.

    flags: name -> value, as typed (text) or as Python values; names of ours or of the model zoo, `-` or `_`. Among
    them may be `recipe` and `file`, like the arguments of those names. None means not given.
    """
    given = {name.replace("-", "_"): value for name, value in flags.items() if value is not None}
    if given.get("file") or file:
        file = Path(given.get("file") or file or "")
    from_file = read_entries(file) if file else []
    from_flags = [Entry(name, value, "command line") for name, value in given.items() if name != "file"]
    argument = [Entry("recipe", recipe, "command line")] if recipe else []
    chosen = next((entry for entry in (*from_flags, *argument, *from_file) if entry.name == "recipe"), None)
    name = str(chosen.value if chosen else default_of("recipe"))
    return _merge([_layer(_recipe_entries(name)), _layer(from_file), _layer(from_flags), _layer(argument)])


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
    notes: list[str] = []
    for layer in layers:
        values |= layer.values
        origins |= layer.origins
        notes += layer.notes
    if values.get("optimizer", default_of("optimizer")) == "sgd":
        origins |= dict.fromkeys(WITH_SGD.keys() - values.keys(), "optimizer sgd")
        values = WITH_SGD | values
    try:
        return Resolved(Settings(**values), origins, tuple(dict.fromkeys(notes)))
    except ValidationError as error:
        # Each value alone is in order by now: what is left is a pair that does not go together.
        raise SettingsError("; ".join(str(problem["ctx"]["error"]) for problem in error.errors())) from None


def _layer(entries: list[Entry]) -> _Layer:
    """Translate and coerce the values of one source; two spellings of a setting must say the same."""
    layer = _Layer()
    given = {entry.name: entry.value for entry in entries}
    spelled: dict[str, Entry] = {}
    for entry in entries:
        try:
            meaning, notes = _meaning(entry, given)
            layer.notes += notes
            for name, value in meaning.items():
                coerced = coerce(name, value)
                if name in spelled and layer.values[name] != coerced:
                    raise SettingsError(
                        f"{_typed(spelled[name])} and {_typed(entry)} are two spellings of {name} with different "
                        "values; keep one",
                        setting=name,
                    )
                layer.values[name] = coerced
                layer.origins[name] = _origin(entry, name)
                spelled[name] = entry
        except SettingsError as error:
            place = "" if entry.place == "command line" else f"{entry.place}: "
            raise SettingsError(
                f"{place}{error}", **(error.fields | {"path": entry.path, "line": entry.line})
            ) from None
    return layer


def _meaning(entry: Entry, given: Mapping[str, Any]) -> tuple[Mapping[str, Any], tuple[str, ...]]:
    """Our settings that one option stands for, and the notes."""
    if entry.name == "multi_scale" and "training_shape" in given:
        return {}, ()  # training_shape decides whether the sizes count
    if entry.name in BY_OLD_NAME:
        translation = BY_OLD_NAME[entry.name].translate(given)
        return translation.settings, translation.notes
    if entry.name in Settings.model_fields:
        return {entry.name: entry.value}, ()
    known = [*Settings.model_fields, *BY_OLD_NAME, "file"]
    hint = suggestion(entry.name, known) or "; `lookonce config` lists them all"
    raise SettingsError(f"unknown setting {entry.name}{hint}", setting=entry.name)


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


def _typed(entry: Entry) -> str:
    return f"{entry.name}={entry.value}"
