import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from planted_faults import plant_faults

from lookonce.data.check import CheckResult, check_data
from lookonce.data.finding_kinds import FINDING_KINDS
from lookonce.data.source import open_data
from lookonce.reports.advice import advise
from lookonce.reports.check_page import CheckPage, render_check, verdict


@pytest.fixture(scope="module")
def result(clean_data: Path, tmp_path_factory: pytest.TempPathFactory) -> CheckResult:
    folder = shutil.copytree(clean_data, tmp_path_factory.mktemp("page") / "data")
    plant_faults(folder)
    return check_data(open_data(folder))


@pytest.fixture(scope="module")
def page(result: CheckResult) -> str:
    advice = advise(result.datasets[0])
    return render_check(CheckPage(title="<mine>", result=result, advice=advice, changes=("a change",)))


class Elements(HTMLParser):
    """Ids, links, and everything that a browser would load."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open += [tag] if tag != "meta" else []
        self._look(tag, dict(attrs))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._look(tag, dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def _look(self, tag: str, attributes: dict[str, str | None]) -> None:
        self.ids += [attributes["id"] or ""] if "id" in attributes else []
        place = attributes.get("href") or attributes.get("src")
        if place:
            (self.links if tag == "a" else self.loaded).append(place)


def test_the_page_is_whole_and_loads_nothing(page: str) -> None:
    elements = Elements(page)
    assert elements.open == []
    assert all(place.startswith("data:image/jpeg;base64,") for place in elements.loaded)
    assert all(place.startswith("#") and place[1:] in elements.ids for place in elements.links)
    assert "http" not in page.replace("http-equiv", "")
    assert "&lt;mine&gt;" in page
    assert "<mine>" not in page


def test_every_finding_is_told_and_its_check_explained(page: str, result: CheckResult) -> None:
    for name in {finding.name for finding in result.findings}:
        assert f'<a href="#{name}">{name}</a>' in page
        assert FINDING_KINDS[name].finds.split("'")[0] in page


def test_images_of_box_findings_and_both_of_twins_are_shown(page: str, result: CheckResult) -> None:
    readable = [found for found in result.findings if found.box_xyxy or found.twin]
    shown = len(Elements(page).loaded)
    assert shown >= len(readable) + sum(bool(found.twin) for found in readable)


def test_a_box_without_area_is_drawn_as_a_line(page: str, result: CheckResult) -> None:
    finding = next(found for found in result.findings if found.name == "box-without-area")
    assert finding.box_xyxy is not None
    left, top, right, bottom = finding.box_xyxy
    assert f'<path d="M{left:.1f} {top:.1f}H{right:.1f}V{bottom:.1f}H{left:.1f}Z"' in page


def test_the_verdict_is_one_sentence(result: CheckResult, clean_data: Path) -> None:
    assert "errors" in verdict(result)
    clean = check_data(open_data(clean_data), decode=False)
    assert "errors" not in verdict(clean)
    assert "every check passed" in render_check(CheckPage(title="a", result=clean))


def test_a_chart_of_lost_objects_is_shown_only_if_some_are_lost(result: CheckResult) -> None:
    advice = advise(result.datasets[0])
    assert advice is not None
    for tiny in (0.0, 0.1):
        rows = tuple(replace(row, tiny=tiny, crowded=0.0) for row in advice.rows)
        page = render_check(CheckPage(title="a", result=result, advice=replace(advice, rows=rows)))
        assert ("Lost objects" in page) is (tiny > 0)
