"""`lookonce report` on real, tiny runs; and what a browser makes of the pages."""

import json
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from chromium import Page, chromium_page, find_chromium
from raised import raises

from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.errors import DataError, SettingsError
from lookonce.reports.content import Run
from lookonce.workflows.evaluate import evaluate
from lookonce.workflows.report import as_text, commands, report, run_names
from lookonce.workflows.train import train


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two runs on the same nine pictures; 世界 is in their path."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("世界 & 1")
    data = write_synthetic(
        folder / "table", train=6, val=3, test=2, options=SceneOptions(sides=(64, 96), smallest=16, max_things=3)
    )
    settings = {"batch_size": 3, "image_size": 64, "width": 0.0625, "log_interval": 9, "device": "cpu"}
    made = [
        train(data=str(data), runs=str(folder / "runs"), epochs=2, seed=seed, **settings).run.path for seed in (0, 1)
    ]
    return made[0], made[1]


def test_the_run_is_scored_once_and_its_page_and_card_are_written(
    runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = report(runs[0], output=tmp_path / "page.html")
    assert str(written) in "".join(as_text(written))
    page = written.read_text(encoding="utf-8")
    for anchor in ("short", "scores", "classes", "images", "errors", "training", "data", "settings", "again"):
        assert f'<section id="{anchor}">' in page
    assert re.search(r"\b3 images .*\bval\b", page)
    assert page.count("data:image/jpeg") == 4  # the worst are among them, and embedded once; the first batch
    assert re.search(r"predict would show (little|nothing): .*--threshold 0\.\d+", page)
    card = (tmp_path / "page-model-card.md").read_text(encoding="utf-8")
    metrics = json.loads((runs[0] / "evaluation" / "metrics.json").read_text())
    assert re.search(rf"\| AP50 \|.*\| {metrics['AP50']:.3f} \|", card)
    # The scores are those that training wrote down, to the last digit.
    rows = [json.loads(line) for line in (runs[0] / "metrics.jsonl").read_text().splitlines()]
    assert max(row["AP"] for row in rows) == metrics["AP"]

    def scored_again(*_: object, **__: object) -> None:
        raise AssertionError("scored a second time")

    monkeypatch.setattr("lookonce.workflows.evaluate.find", scored_again)
    report(runs[0], output=tmp_path / "page.html")
    with pytest.raises(AssertionError, match="a second time"):
        report(runs[0], output=tmp_path / "page.html", split="test")


def test_an_evaluation_that_is_named_is_shown_and_its_split_is_taken(runs: tuple[Path, Path], tmp_path: Path) -> None:
    data = runs[0].parent.parent / "table"
    evaluate(weights=runs[0], data=data, split="test", output=tmp_path / "eval", resamples=0, sheet_images=0)
    page = report(runs[0], output=tmp_path / "page.html", evaluation=tmp_path / "eval").read_text(encoding="utf-8")
    assert re.search(r"\b2 images .*\btest\b", page)
    with raises(SettingsError, "test", setting="split", value="val"):
        report(runs[0], output=tmp_path / "page.html", evaluation=tmp_path / "eval", split="val")


def test_without_scoring_the_page_shows_what_training_noted(
    runs: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lookonce.workflows.evaluate.find", lambda *_, **__: pytest.fail("was scored"))
    page = report(runs[1], output=tmp_path / "page.html", score=False).read_text(encoding="utf-8")
    assert 'id="errors"' not in page
    assert 'id="training"' in page


def test_two_runs_are_compared_on_the_same_images(runs: tuple[Path, Path], tmp_path: Path) -> None:
    page = report(*runs, output=tmp_path / "both.html").read_text(encoding="utf-8")
    assert "chance" in page
    assert "<td>seed</td>" in page
    assert page.count("data:image/jpeg") == 3
    assert not list(tmp_path.glob("*model-card.md"))


def test_wrong_input_is_named(runs: tuple[Path, Path], tmp_path: Path) -> None:
    with raises(DataError, "settings.yaml", path=tmp_path):
        report(tmp_path)
    with raises(SettingsError, setting="num_images", value=-1):
        report(runs[0], num_images=-1)
    with raises(SettingsError, " 2 ", setting="evaluation, weights, predictions"):
        report(*runs, weights=runs[0])
    with raises(SettingsError, setting="split", value="unheard"):
        report(runs[0], split="unheard")
    with raises(SettingsError, "same run"):
        report(runs[0], runs[0])


def test_the_commands_name_the_images_of_the_data_and_can_be_pasted() -> None:
    settings = {"data": "my labels.json", "images": "my images"}
    run = Run(folder=Path("runs/a b"), settings=settings, rows=(), record=None)
    given = ["--weights", "runs/a b", "--data", "my labels.json", "--images", "my images"]
    assert shlex.split(commands(run)[1]) == ["lookonce", "eval", *given]


def test_runs_are_called_by_as_much_of_their_path_as_tells_them_apart() -> None:
    assert run_names([Path("/x/a-1"), Path("/x/a-2")]) == ["a-1", "a-2"]
    assert run_names([Path("/x/a-1"), Path("/y/a-1")]) == ["x/a-1", "y/a-1"]


needs_chromium = pytest.mark.skipif(
    find_chromium() is None or sys.platform == "win32", reason="no chromium to open pages in: apt-get install chromium"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium_page(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def pages(runs: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    return {"run": report(runs[0], output=folder / "run.html"), "both": report(*runs, output=folder / "both.html")}


@needs_chromium
@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["run", "both"])
def test_a_browser_has_nothing_to_complain_of_and_nothing_to_fetch(
    name: str, width: int, dark: bool, browser: Page, pages: dict[str, Path], tmp_path: Path
) -> None:
    browser.requests.clear()
    browser.errors.clear()
    browser.open(pages[name], width=width, dark=dark)
    assert browser.errors == []
    own = pages[name].resolve().as_uri()
    assert [url for url in browser.requests if url != own and not url.startswith("data:")] == []
    # Nothing is wider than the window: what is too wide scrolls in its own card.
    assert browser.value("document.documentElement.scrollWidth") <= width
    ground = browser.value("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(14, 18, 23)" if dark else "rgb(245, 247, 250)")
    browser.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000


@needs_chromium
@pytest.mark.slow
def test_a_click_sorts_the_table_of_classes_and_another_turns_it_round(browser: Page, pages: dict[str, Path]) -> None:
    browser.open(pages["run"], width=1280)
    objects = "[...document.querySelectorAll('#classes tbody tr')].map(row => Number(row.cells[1].dataset.value))"
    before = browser.value(objects)
    click = "document.querySelectorAll('#classes th button')[1].click()"
    browser.value(click)
    assert browser.value(objects) == sorted(before, reverse=True)
    assert browser.value("document.querySelectorAll('#classes th')[1].getAttribute('aria-sort')") == "descending"
    browser.value(click)
    assert browser.value(objects) == sorted(before)


@needs_chromium
@pytest.mark.slow
def test_the_page_itself_forbids_what_it_does_not_do(browser: Page, pages: dict[str, Path]) -> None:
    browser.open(pages["run"], width=1280)
    browser.errors.clear()
    browser.value("fetch('https://example.org/').catch(() => 0); document.body.append(new Image()); 1")
    browser.value("document.images[0].src = 'https://example.org/x.png'; 1")
    browser.browser.wait(lambda: len(browser.errors) >= 2)
    assert all("Content Security Policy" in error for error in browser.errors)
