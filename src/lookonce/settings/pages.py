"""Generates the pages settings.md, floor-plan.md, exit-codes.md, and the option tables of modelzoo.md.

`./run python -m lookonce.settings.pages` writes them in the current checkout; a test checks that they are up to date.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from lookonce.exit_codes import OF_CPP, ExitCode
from lookonce.settings.aliases import ALIASES, Alias, Program
from lookonce.settings.floor_plan import floor_plan
from lookonce.settings.resolve import recipe_names, resolve
from lookonce.settings.schema import GROUPS, Settings, default_of, group_of, help_of, unit_of
from lookonce.settings.text import kind_in_words, to_text

MADE_BY = "<!-- Made by `./run python -m lookonce.settings.pages`; change the table in the source, not this page. -->"
SETTINGS_INTRODUCTION = """\
# Settings

All settings of `lookonce train`. Each of these sources overrides those before it:

1. the defaults on this page,
2. a recipe: `--recipe modelzoo`,
3. a YAML file: `--file mine.yaml`, with lines such as `batch_size: 32`,
4. the command line: `--batch-size 32`, `--batch_size=32` or `batch_size=32`.

`lookonce config` takes the same options and prints every value with its origin; `lookonce config --yaml` prints a
settings file to start from. For an unknown name, the error suggests a similar one. Lists are written `320,352` or
`[[10,14], [23,27]]`. Every option name of the model zoo's document works
too: [modelzoo.md](modelzoo.md).
"""
BEGIN, END = "<!-- made by ./run python -m lookonce.settings.pages -->", "<!-- until here -->"
PROGRAMS: dict[Program, str] = {
    "train": "Training (`lookonce train`)",
    "eval": "Evaluation (`lookonce eval`)",
    "export": "Export (`lookonce export`)",
    "job": "Cloud jobs",
}


def settings_page() -> str:
    """docs/settings.md."""
    parts = [MADE_BY, SETTINGS_INTRODUCTION]
    columns = ("setting", "default", "in `modelzoo`", "allowed values", "unit", "description")
    recipe = resolve({"recipe": "modelzoo"}).settings
    for group, title in GROUPS.items():
        members = [name for name in Settings.model_fields if group_of(name) == group]
        lines = []
        for name in members:
            default, other = (_code(to_text(value)) for value in (default_of(name), getattr(recipe, name)))
            changed = "" if default == other or name == "recipe" else other
            lines.append((f"`{name}`", default, changed, kind_in_words(name), unit_of(name), help_of(name)))
        parts.append(f"## {title}\n\n{_table(columns, lines)}")
    parts.append("## Recipes\n\n" + ", ".join(f"`{name}`" for name in recipe_names()) + RECIPES)
    return "\n".join(parts)


RECIPES = """. A recipe is a file in `src/lookonce/settings/recipes` with the settings that differ from the defaults.
Its header gives the training data, the time and the machine, the score and the command.
"""


def exit_codes_page() -> str:
    """docs/exit-codes.md."""
    rows = [(f"{code}", code.meaning, "yes" if code in OF_CPP else "") for code in ExitCode]
    return "\n".join(
        [MADE_BY, "# Exit codes\n", _table(("code", "meaning", "also of `lookonce-infer`"), rows), SIGNALLED]
    )


SIGNALLED = """\
A process that a signal ends has the shell's code for it: 128 + the signal's number, such as 143 for SIGTERM and 137
for SIGKILL (which the system sends when memory is used up). So `eval`, `check` and `predict` of files end with 143
after SIGTERM and with 129 after SIGHUP; `predict` of a camera or stream completes its files and ends with 0. `serve`
answers the requests that it has taken and ends with 0.

Messages and errors go to standard error, results to standard output.
"""


def option_tables() -> str:
    """All options of the document, by program, for docs/modelzoo.md."""
    columns = ("model zoo option", "lookonce option", "model zoo default", "lookonce default", "differences")
    parts = []
    for program, title in PROGRAMS.items():
        lines = [_alias_row(alias) for alias in ALIASES if alias.program == program]
        parts.append(f"### {title}\n\n{_table(columns, lines)}")
    return "\n".join(parts)


def with_section(text: str, section: str) -> str:
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{section}\n{END}{after}"


def _alias_row(alias: Alias) -> Sequence[str]:
    in_training = alias.program == "train" and alias.new in Settings.model_fields
    here = _code(to_text(default_of(alias.new))) if in_training else ""
    new = f"`--{alias.new.replace('_', '-')}`" if alias.program in {"eval", "export"} else f"`{alias.new}`"
    return (f"`{alias.old}`", new if alias.new else "-", _code(alias.default), here, alias.differs)


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def pages(root: Path) -> dict[Path, str]:
    """Every page of a checkout with generated parts: path -> its full text."""
    made = {root / "docs" / "settings.md": settings_page(), root / "docs" / "floor-plan.md": floor_plan(root)}
    made[root / "docs" / "exit-codes.md"] = exit_codes_page()
    options = root / "docs" / "modelzoo.md"
    made[options] = with_section(options.read_text(encoding="utf-8"), option_tables())
    return made


if __name__ == "__main__":
    for path, text in pages(Path()).items():
        path.write_text(text, encoding="utf-8")
