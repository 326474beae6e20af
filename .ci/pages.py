"""Writes the pages settings.md, floor-plan.md and exit-codes.md of docs/, and the option tables of modelzoo.md.

    ./run python .ci/pages.py

A test checks that they are up to date. The floor plan has the first line of each module's docstring, by room, in the
order of the floors.
"""

import ast
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

from lookonce.exit_codes import OF_CPP, ExitCode
from lookonce.settings.aliases import ALIASES, Alias, Program
from lookonce.settings.resolve import recipe_names, resolve
from lookonce.settings.schema import GROUPS, Settings, default_of, group_of, help_of, unit_of
from lookonce.settings.text import kind_in_words, to_text

MADE_BY = "<!-- Made by `./run python .ci/pages.py`; change the table in the source, not this page. -->"
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
BEGIN, END = "<!-- made by ./run python .ci/pages.py -->", "<!-- until here -->"
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


PLAN_MADE_BY = "<!-- Made by `./run python .ci/pages.py` from the docstrings of the modules. -->"
PLAN_INTRODUCTION = """\
# Floor plan

Every module of `src/lookonce` with what one finds in it: search this page for the field's word. The rooms are in the
order of the floors, from the command line down. A module imports only from its own room or from rooms further down
([CONTRIBUTING.md](../CONTRIBUTING.md)). Tests mirror this plan: `src/lookonce/model/loss.py` is tested in
`tests/model/test_loss.py`. The C++ runtime uses the same names: `cpp/src/letterbox.cc`, `decode.cc`, `nms.cc`; the
options of its program are in `cpp/program/options.cc`. JavaScript of the browser page: [page.md](page.md#the-files).
"""


def floor_plan(root: Path) -> str:
    """docs/floor-plan.md. root: a checkout; its pyproject.toml has the floors."""
    package = root / "src" / "lookonce"
    parts = [PLAN_MADE_BY, PLAN_INTRODUCTION]
    for floor in floors(root):
        files = [file for room in floor for file in modules(package / room)]
        lines = [f"- `{file.relative_to(package).as_posix()}`: {first_line(file)}\n" for file in files]
        parts.append(f"## {', '.join(floor)}\n\n{''.join(lines)}")
    return "\n".join(parts)


def floors(root: Path) -> list[list[str]]:
    """The rooms of each floor, from the command line down, as the import contract names them."""
    linter = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (layers,) = (contract["layers"] for contract in linter["contracts"] if contract["type"] == "layers")
    rooms = [[room.strip(" ()") for room in layer.split("|")] for layer in layers]
    return [[room for room in floor if modules(root / "src" / "lookonce" / room)] for floor in rooms]


def modules(room: Path) -> list[Path]:
    """The files of a room, a folder or one file; [] if it does not exist (the contract allows rooms to be missing)."""
    file = room.with_suffix(".py")
    return [file] if file.is_file() else sorted(path for path in room.rglob("*.py") if path.name != "__init__.py")


def first_line(file: Path) -> str:
    """What the module's docstring says first; "" without a docstring."""
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def pages(root: Path) -> dict[Path, str]:
    """Every page of a checkout with generated parts: path -> its full text."""
    made = {root / "docs" / "settings.md": settings_page(), root / "docs" / "floor-plan.md": floor_plan(root)}
    made[root / "docs" / "exit-codes.md"] = exit_codes_page()
    options = root / "docs" / "modelzoo.md"
    made[options] = with_section(options.read_text(encoding="utf-8"), option_tables())
    return made


if __name__ == "__main__":
    for path, text in pages(Path(__file__).parents[1]).items():
        path.write_text(text, encoding="utf-8")
