import json
import re
from pathlib import Path

import pytest
from raised import raises

from lookonce.errors import DataError, SettingsError
from lookonce.storage import fresh_path
from lookonce.workflows import demo as demo_module
from lookonce.workflows.demo import (
    PLANS,
    Demonstration,
    Plan,
    as_text,
    demo,
    make_plan,
    measure,
    predict_photographs,
)
from lookonce.workflows.report import report


@pytest.fixture(scope="module")
def demonstration(tmp_path_factory: pytest.TempPathFactory) -> Demonstration:
    output = tmp_path_factory.mktemp("demo") / "demo"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo_module, "pulled", lambda name: None)
        return demo(output=output, image_size=64, epochs=1, num_images=4, held_out=2)


@pytest.fixture
def folder(demonstration: Demonstration) -> Path:
    return demonstration.folder


def test_the_text_gives_the_scores_and_files_that_exist(demonstration: Demonstration) -> None:
    text = "\n".join(as_text(demonstration))
    assert f"AP50 {demonstration.AP50:.3f}" in text
    named = [Path(word) for word in text.split() if word.startswith(str(demonstration.folder))]
    assert len(named) == 7
    assert all(path.exists() for path in named)
    assert list(as_text(Demonstration(folder=demonstration.folder, exit_code=75))) == []


def test_the_demo_leaves_everything_that_it_names(folder: Path) -> None:
    for name in ("data", "run-1/checkpoints/best", "detector.onnx", "eval/metrics.json", "predictions/results.json"):
        assert (folder / name).exists()
    assert len(list((folder / "predictions").glob("*.jpg"))) == 2
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert re.search(r"\b2 images .*\btest\b", page)
    assert page.count("data:image/jpeg") == 3  # two test images, the first batch


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
    assert fresh_path(mine) == mine
    mine.mkdir()
    assert fresh_path(mine) == mine
    (mine / "precious.txt").write_text("keep")
    assert fresh_path(mine) == tmp_path / "demo-2"
    (tmp_path / "demo-2").write_text("a file")
    assert fresh_path(mine) == tmp_path / "demo-3"


@pytest.mark.parametrize(
    ("images_per_second", "expected"),
    [
        (1000, PLANS[0]),
        (100, PLANS[0]),
        (99, PLANS[1]),
        (56.25, PLANS[1]),
        (56, PLANS[2]),
        (38, PLANS[3]),
        (1, PLANS[3]),
    ],
)
def test_the_best_plan_that_fits_is_taken(
    images_per_second: float, expected: Plan, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """1,200 images and 120 of 160 s: 10 epochs at 256 pixels need 12,000 / 120 images/s, at 192 pixels 9/16 of it, at
    160 pixels 25/64."""
    monkeypatch.setattr(demo_module, "measure", lambda data: (1200, images_per_second))
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


def test_photographs_are_shown_where_the_published_weights_are_at_hand(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_module, "pulled", lambda name: folder / "run-1")
    shown = predict_photographs(tmp_path / "photographs")
    assert shown is not None
    page = report(folder / "run-1", output=tmp_path / "page.html", evaluation=folder / "eval", predictions=shown)
    text = page.read_text(encoding="utf-8")
    assert 'id="predicted"' in text
    assert text.count("data:image/jpeg") == 4  # the two test images, the first batch, the photograph


def test_the_demo_downloads_no_weights(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKONCE_WEIGHTS", str(tmp_path / "weights"))
    assert predict_photographs(tmp_path / "photographs") is None
    assert list(tmp_path.iterdir()) == []


def test_a_demo_of_no_images_is_refused_by_name(tmp_path: Path) -> None:
    with raises(SettingsError, setting="num_images", value=0):
        demo(output=tmp_path / "demo", num_images=0)


def test_a_report_of_no_run_is_refused(tmp_path: Path) -> None:
    with raises(DataError, "settings.yaml", path=tmp_path):
        report(tmp_path)
