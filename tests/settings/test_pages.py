"""The pages, and parts of pages, that are made from tables are as the tables say."""

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lookonce.settings.aliases import BY_OLD_NAME
from lookonce.settings.floor_plan import floor_plan
from lookonce.settings.pages import BEGIN, END, TRAIN_PARAMETERS, option_tables, pages, settings_page, with_section

ROOT = Path(__file__).parents[2]
# What a newcomer looks for.
WORDS = (
    *("loss", "NMS", "IoU", "label assignment", "EMA", "early stopping", "resume", "batch size", "confusion matrix"),
    *("mixed precision", "label smoothing", "warm-up", "gradient accumulation", "multi-scale"),
    *("mosaic", "DDP", "workers"),
    *("letterbox", "augmentation", "learning-rate", "quantisation", "mAP", "anchors", "--threshold"),
    *("table of data-set formats", "table of export formats", "table of the verbs", "table of runtimes"),
)


@pytest.mark.parametrize(("path", "page"), pages(ROOT).items(), ids=lambda value: getattr(value, "name", ""))
def test_the_page_is_up_to_date(path: Path, page: str):
    assert path.read_text(encoding="utf-8") == page, "run: ./run python -m lookonce.settings.pages"


def test_rows_have_as_many_cells_as_headings():
    for page in (settings_page(), option_tables()):
        rows = [line.replace("\\|", "") for line in page.splitlines() if line.startswith("|")]
        assert {row.count("|") for row in rows} <= {6, 7}


def test_what_stands_between_the_marks_is_replaced_and_nothing_else():
    page = with_section(f"before\n{BEGIN}\n\nold\n\n{END}\nafter\n", "new")
    assert page == f"before\n{BEGIN}\n\nnew\n{END}\nafter\n"
    assert with_section(page, "new") == page


def test_the_parameters_are_those_of_the_document(shared: Callable[[str], Path]):
    text = shared("reference/modelzoo-document.md").read_text(encoding="utf-8")
    section = text[text.index("Major parameters train.py") : text.index("## [Training Process]")]
    assert tuple(name for name in re.findall(r"^  --(\w+)", section, re.MULTILINE)) == TRAIN_PARAMETERS
    for name, default in re.findall(r"--(\w+) [A-Z_]+\s(?:[^-]*?)Default: ?\"?([^\s\"]*)", section):
        assert BY_OLD_NAME[name].is_default(default.rstrip(".")), name


def test_the_floor_plan_has_one_sentence_for_every_module():
    package = ROOT / "src" / "lookonce"
    files = [file for file in package.rglob("*.py") if file.name != "__init__.py"]
    plan = floor_plan(ROOT)
    assert plan.count("\n- `") == len(files)
    for file in files:
        docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        sentence, _, rest = docstring.partition("\n")
        assert sentence.endswith((".", "?")), f"{file}: its first line is no sentence"
        assert not rest.partition("\n")[0], f"{file}: its first sentence takes two lines"
        assert f"- `{file.relative_to(package).as_posix()}`: {sentence}\n" in plan


@pytest.mark.parametrize("word", WORDS)
def test_the_floor_plan_is_searched_by_the_words_of_the_field(word: str):
    assert word.lower() in floor_plan(ROOT).lower()
