"""docs/settings.md and docs/modelzoo.md, made from the tables that the program itself reads.

`./run python -m lookonce.config.pages docs` writes them; a test compares.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from lookonce.config.aliases import ALIASES, Alias, Program
from lookonce.config.resolve import recipe_names, resolve
from lookonce.config.schema import GROUPS, Settings, default_of, group_of, help_of, unit_of
from lookonce.config.text import kind_in_words, to_text

MADE_BY = (
    "<!-- Made by `./run python -m lookonce.config.pages docs`; change the table in the source, not this page. -->"
)
SETTINGS_INTRODUCTION = """\
# Settings

What `lookonce train` can be told. Each of these sources overrides those before it:

1. the defaults in this page,
2. a recipe: `--recipe modelzoo`,
3. a YAML file: `--file mine.yaml`, with lines such as `batch_size: 32`,
4. the command line: `--batch-size 32`, `--batch_size=32` or `batch_size=32`.

`lookonce config`, with the same options, prints every value and where it comes from; `lookonce config --yaml` prints a
file to start from. An unknown name is an error that suggests the right one. Lists are written `320,352` or
`[[10,14], [23,27]]`. Every option name of the model zoo's document works too: [modelzoo.md](modelzoo.md).
"""
MODELZOO_INTRODUCTION = """\
# Coming from the model zoo

Every option of the model zoo's YOLOv3-Tiny and what it is here. The old names work as they are, on the command line and
in YAML files; two spellings of one setting with different values are an error. An option without a counterpart is
accepted at its default and refused otherwise, with the way to go: nothing is silently ignored.

`--recipe modelzoo` sets the document's defaults, given in the third column. The fourth column is the default of
`lookonce train` without a recipe.
"""
PROGRAMS: dict[Program, str] = {
    "train": "Training (`lookonce train`)",
    "eval": "Evaluation (`lookonce eval`)",
    "export": "Export (`lookonce export`)",
    "job": "Cloud jobs",
}


def settings_page() -> str:
    """docs/settings.md."""
    parts = [MADE_BY, SETTINGS_INTRODUCTION]
    columns = ("setting", "default", "in `modelzoo`", "may be", "unit", "what it is")
    recipe = resolve({"recipe": "modelzoo"}).settings
    for group, title in GROUPS.items():
        members = [name for name in Settings.model_fields if group_of(name) == group]
        lines = [_settings_row(name, recipe) for name in members]
        parts.append(f"## {title}\n\n{_table(columns, lines)}")
    parts.append("## Recipes\n\n" + ", ".join(f"`{name}`" for name in recipe_names()) + RECIPES)
    return "\n".join(parts)


RECIPES = """. A recipe is a file in `src/lookonce/config/recipes` that holds what differs from the defaults and
opens with what it trains, how long on which machine, the score reached and the command.
"""


def modelzoo_page() -> str:
    """docs/modelzoo.md."""
    parts = [MADE_BY, MODELZOO_INTRODUCTION]
    columns = ("old name", "here", "default there", "default here", "what differs")
    for program, title in PROGRAMS.items():
        lines = [_alias_row(alias) for alias in ALIASES if alias.program == program]
        parts.append(f"## {title}\n\n{_table(columns, lines)}")
    return "\n".join(parts)


def _settings_row(name: str, recipe: Settings) -> Sequence[str]:
    default, other = (_code(to_text(value)) for value in (default_of(name), getattr(recipe, name)))
    changed = "" if default == other or name == "recipe" else other
    return (f"`{name}`", default, changed, kind_in_words(name), unit_of(name), help_of(name))


def _alias_row(alias: Alias) -> Sequence[str]:
    in_training = alias.program == "train" and alias.new in Settings.model_fields
    here = _code(to_text(default_of(alias.new))) if in_training else ""
    new = f"`--{alias.new.replace('_', '-')}`" if alias.program in {"eval", "export"} else f"`{alias.new}`"
    return (f"`{alias.old}`", new if alias.new else "-", _code(alias.default), here, alias.differs)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def write_pages(folder: Path) -> None:
    (folder / "settings.md").write_text(settings_page(), encoding="utf-8")
    (folder / "modelzoo.md").write_text(modelzoo_page(), encoding="utf-8")


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
