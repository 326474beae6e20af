"""The pages, and parts of pages, that are made from tables are as the tables say."""

import ast
import re
import runpy
from collections.abc import Callable
from pathlib import Path

from lookonce.settings.aliases import BY_OLD_NAME

ROOT = Path(__file__).parents[1]
MADE = runpy.run_path(str(ROOT / ".ci" / "pages.py"))
BEGIN, END = MADE["BEGIN"], MADE["END"]
FLOOR_PLAN = ROOT / "docs" / "floor-plan.md"
# What a newcomer looks for.
WORDS = (
    *("loss", "NMS", "IoU", "label assignment", "EMA", "early stopping", "resume", "batch size", "confusion matrix"),
    *("mixed precision", "label smoothing", "warm-up", "gradient accumulation", "multi-scale"),
    *("mosaic", "DDP", "workers"),
    *("letterbox", "augmentation", "learning-rate", "learning rate", "quantisation", "mAP", "anchors", "--threshold"),
    *("table of data-set formats", "table of export formats", "table of the verbs", "table of runtimes"),
)


def test_the_pages_are_up_to_date():
    made = MADE["pages"](ROOT)
    assert FLOOR_PLAN in made
    for path, page in made.items():
        assert path.read_text(encoding="utf-8") == page, f"{path}: run: ./run python .ci/pages.py"


def test_rows_have_as_many_cells_as_headings():
    for page in (MADE["settings_page"](), MADE["option_tables"]()):
        rows = [line.replace("\\|", "") for line in page.splitlines() if line.startswith("|")]
        assert {row.count("|") for row in rows} <= {6, 7}


def test_what_stands_between_the_marks_is_replaced_and_nothing_else():
    page = MADE["with_section"](f"before\n{BEGIN}\n\nold\n\n{END}\nafter\n", "new")
    assert page == f"before\n{BEGIN}\n\nnew\n{END}\nafter\n"
    assert MADE["with_section"](page, "new") == page


def test_the_tables_have_every_parameter_of_the_document(shared: Callable[[str], Path]):
    text = shared("reference/modelzoo-document.md").read_text(encoding="utf-8")
    section = text[text.index("Major parameters train.py") : text.index("## [Training Process]")]
    names = re.findall(r"^  --(\w+)", section, re.MULTILINE)
    assert len(names) == 28
    assert [name for name in names if f"| `{name}` |" not in MADE["option_tables"]()] == []
    for name, default in re.findall(r"--(\w+) [A-Z_]+\s(?:[^-]*?)Default: ?\"?([^\s\"]*)", section):
        assert BY_OLD_NAME[name].is_default(default.rstrip(".")), name


def test_the_floor_plan_has_one_sentence_for_every_module():
    package = ROOT / "src" / "lookonce"
    files = [file for file in package.rglob("*.py") if file.name != "__init__.py"]
    plan = FLOOR_PLAN.read_text(encoding="utf-8")
    assert plan.count("\n- `") == len(files)
    for file in files:
        start = file.read_text(encoding="utf-8").split('"""', 2)[:2]  # to parse all takes seconds
        docstring = ast.get_docstring(ast.parse('"""'.join([*start, ""]))) or ""
        sentence, _, rest = docstring.partition("\n")
        assert sentence.endswith((".", "?")), f"{file}: its first line is no sentence"
        assert not rest.partition("\n")[0], f"{file}: its first sentence takes two lines"
        assert f"- `{file.relative_to(package).as_posix()}`: {sentence}\n" in plan


def test_the_floor_plan_is_searched_by_the_words_of_the_field():
    plan = FLOOR_PLAN.read_text(encoding="utf-8").lower()
    assert [word for word in WORDS if word.lower() not in plan] == []
