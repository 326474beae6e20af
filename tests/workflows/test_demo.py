import json
import re
from pathlib import Path

import pytest
from raised import raises

from lookonce.errors import DataError, SettingsError
from lookonce.workflows import demo as demo_module
from lookonce.workflows.demo import PLANS, Plan, demo, fresh_folder, make_plan, measure
from lookonce.workflows.report import report


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("demo") / "demo"
    return demo(output=output, image_size=64, epochs=1, num_images=4, held_out=2).folder


def test_the_demo_leaves_everything_that_it_names(folder: Path) -> None:
    for name in ("data", "run-1/checkpoints/best", "detector.onnx", "eval/metrics.json", "predictions/results.json"):
        assert (folder / name).exists()
    assert len(list((folder / "predictions").glob("*.jpg"))) == 2
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert re.search(r"\b2 images .*\btest\b", page)
    assert page.count("data:image/jpeg") == 2


def test_the_scores_shown_are_those_of_the_exported_file(folder: Path) -> None:
    metrics = json.loads((folder / "eval" / "metrics.json").read_text())
    assert metrics["evaluated"]["of"].endswith("detector.onnx")
    assert f"{metrics['AP50']:.3f}" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_report_of_a_run_whose_data_are_gone_still_has_its_curves(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copy = tmp_path / "run"
    copy.mkdir()
    settings = (folder / "run-1" / "settings.yaml").read_text().replace(str(folder / "data"), str(tmp_path / "gone"))
    (copy / "settings.yaml").write_text(settings)
    (copy / "metrics.jsonl").write_bytes((folder / "run-1" / "metrics.jsonl").read_bytes())
    page = report(copy).read_text(encoding="utf-8")
    assert 'id="training"' in page
    assert 'id="images"' not in page
    assert str(tmp_path / "gone") in caplog.text


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    mine = tmp_path / "demo"
    assert fresh_folder(mine) == mine
    mine.mkdir()
    assert fresh_folder(mine) == mine
    (mine / "precious.txt").write_text("keep")
    assert fresh_folder(mine) == tmp_path / "demo-2"
    (tmp_path / "demo-2").write_text("a file")
    assert fresh_folder(mine) == tmp_path / "demo-3"


@pytest.mark.parametrize(
    ("images_per_second", "expected"),
    [(1000, PLANS[0]), (100, PLANS[0]), (99, PLANS[1]), (56.25, PLANS[1]), (56, PLANS[2]), (1, PLANS[2])],
)
def test_the_best_plan_that_fits_is_taken(
    images_per_second: float, expected: Plan, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """1,500 images and 120 of 160 s: 8 epochs of 256 pixels need 12,000 / 120 images/s; 192 pixels cost 9/16 of it."""
    monkeypatch.setattr(demo_module, "measure", lambda data: (1500, images_per_second))
    with caplog.at_level("INFO", logger="lookonce"):
        assert make_plan(Path(), 0, 0, seconds=160) == expected
    assert f"{expected.image_size} pixels" in caplog.text


def test_an_option_replaces_what_would_be_chosen(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = (folder / "run-1" / "settings.yaml").read_text()
    assert "image_size: 64" in settings
    assert "epochs: 1" in settings
    monkeypatch.setattr(demo_module, "measure", lambda data: (1500, 10))
    assert make_plan(Path(), 0, 3, seconds=160) == Plan(image_size=PLANS[-1].image_size, epochs=3)
    assert make_plan(Path(), 320, 0, seconds=160) == Plan(image_size=320, epochs=PLANS[-1].epochs)


def test_the_machine_is_measured_on_the_images_made(folder: Path) -> None:
    images, images_per_second = measure(folder / "data")
    assert images == 4
    assert images_per_second > 0


def test_a_demo_of_no_images_is_refused_by_name(tmp_path: Path) -> None:
    with raises(SettingsError, setting="num_images", value=0):
        demo(output=tmp_path / "demo", num_images=0)


def test_a_report_of_no_run_is_refused(tmp_path: Path) -> None:
    with raises(DataError, "settings.yaml", path=tmp_path):
        report(tmp_path)
