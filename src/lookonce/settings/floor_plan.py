"""Generates docs/floor-plan.md: one sentence for every module, by room, in the order of the floors.

The sentence is the first line of the module's docstring.
"""

import ast
import tomllib
from pathlib import Path

MADE_BY = "<!-- Made by `./run python -m lookonce.settings.pages` from the docstrings of the modules. -->"
INTRODUCTION = """\
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
    parts = [MADE_BY, INTRODUCTION]
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
