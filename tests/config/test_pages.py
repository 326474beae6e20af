"""The pages made from the tables are those in docs."""

from pathlib import Path

import pytest

from lookonce.config.pages import modelzoo_page, settings_page, write_pages

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(("name", "page"), [("settings.md", settings_page()), ("modelzoo.md", modelzoo_page())])
def test_the_page_is_up_to_date(name: str, page: str):
    assert (DOCS / name).read_text(encoding="utf-8") == page, "run: ./run python -m lookonce.config.pages docs"


def test_rows_have_as_many_cells_as_headings():
    for page in (settings_page(), modelzoo_page()):
        rows = [line.replace("\\|", "") for line in page.splitlines() if line.startswith("|")]
        assert {row.count("|") for row in rows} <= {6, 7}


def test_pages_are_written(tmp_path: Path):
    write_pages(tmp_path)
    assert (tmp_path / "settings.md").read_text(encoding="utf-8") == settings_page()
