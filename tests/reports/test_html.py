import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from raised import raises

from lookonce.data.dataset import Dataset
from lookonce.data.loader import Batch
from lookonce.detections import Detections
from lookonce.errors import DataError
from lookonce.reports.content import Content, Run, best_metrics, read_result, read_run
from lookonce.reports.elements import fraction
from lookonce.reports.html import render, write_plots
from lookonce.reports.images import ComparedImage
from lookonce.reports.sheets import write_batch
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord
from lookonce.settings.schema import Settings
from lookonce.training.run_folder import RunFolder

VOID = {"meta", "img"}
TWELVE = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
RECORD = ModelRecord(dialect=DIALECTS["darknet"], class_names=("cat", "d<g"), category_ids=(1, 2))


class Balanced(HTMLParser):
    """Every element that is opened is closed, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parse(page: str) -> None:
    parser = Balanced()
    parser.feed(page)
    assert parser.open == []


def dataset(split: str) -> Dataset:
    """Two pictures: a cat of 30 x 30 and a dog of 40 x 10 in the first, nothing in the second."""
    return Dataset(
        split=split,
        image_paths=[Path("1.jpg"), Path("2.jpg")],
        image_ids=np.array([1, 2]),
        image_sizes_wh=np.array([[64, 64], [64, 64]], np.int32),
        box_offsets=np.array([0, 2, 2]),
        boxes_xyxy=np.array([[0, 0, 30, 30], [10, 10, 50, 20]], np.float64),
        labels=np.array([0, 1]),
        crowd=np.zeros(2, np.bool_),
        areas=np.array([900.0, 400.0]),
        class_names=RECORD.class_names,
        category_ids=RECORD.category_ids,
    )


def full_content() -> Content:
    rows = [{"epoch": place, "loss": 3.0 - place, "lr": 0.01, "seconds": 50.0} for place in range(3)]
    rows[2] |= dict.fromkeys(TWELVE, 0.5) | {"APs": -1.0}
    per_class = {name: dict.fromkeys(("AP", "AP50", "AP75", "AR100"), 0.25) for name in RECORD.class_names}
    run = Run(
        folder=Path("runs/train-1"),
        settings=Settings(data="d", lr=0.02).model_dump(mode="json"),
        rows=rows,
        record=RECORD,
    )
    return Content(
        title="A <title>",
        run=run,
        datasets=[dataset("train"), dataset("val")],
        metrics=best_metrics(rows) | {"per_class": per_class},
        images=[
            ComparedImage(
                name="1.jpg",
                image=np.zeros((64, 64, 3), np.uint8),
                truth=Detections.none(),
                found=Detections.none(),
            )
        ],
        classes=(("cat", "#ff0000"), ("d<g", "#00ff00")),
        facts={"System": "any"},
        commands=("lookonce train --data d",),
    )


def test_the_whole_page_is_well_formed_and_has_every_section() -> None:
    page = render(full_content())
    parse(page)
    for anchor in ("images", "scores", "classes", "training", "data", "settings", "machine", "again"):
        assert f'<section id="{anchor}">' in page
    assert "&lt;title&gt;" in page
    assert "d&lt;g" in page


def test_what_verify_found_is_shown() -> None:
    reference = {"file": "runs/a-1", "runtime": "pytorch", "precision": "fp32", "image_size": [416, 416]}
    numbers = {"AP": 0.4321, "AP50": 0.8, "ms": 35.0, "size": 34_700_000}
    alone = {"raw": None, "box": None, "score": None, "missing": None, "wrong": []}
    beside = {"raw": 2e-5, "box": 0.7, "score": 1e-6, "missing": 0.0, "wrong": ["box"]}
    rows = [reference | numbers | alone, reference | numbers | beside | {"file": "runs/a-1/<a>.xml"}]
    page = render(replace(full_content(), verified={"images": 87, "split": "val", "rows": rows}))
    parse(page)
    assert '<section id="exported">' in page
    assert "&lt;a&gt;.xml, 416 " in page
    assert "differs: box" in page
    assert "0.432" in page


def test_the_page_asks_nothing_of_any_network() -> None:
    page = render(full_content())
    assert re.findall(r"https?://", page) == []
    references = re.findall(r'(?:src|href|url)\s*[=(]\s*"?([^")\s>]+)', page)
    assert references
    assert all(reference.startswith(("#", "data:")) for reference in references)
    assert "default-src 'none'" in page


def test_only_changed_settings_are_shown_first_and_a_dash_stands_for_nothing_to_find() -> None:
    page = render(full_content())
    first, _ = page.split("<details>")
    shown = first[first.index('id="settings"') :]
    assert ">lr<" in shown
    assert ">momentum<" not in shown
    assert ">momentum<" in page
    assert '<td class="number" data-value="-1.0">–</td>' in page


def test_a_class_without_objects_has_a_dash_and_no_bar() -> None:
    assert "meter" in fraction(0.0, meter=True)
    assert fraction(-1, meter=True) == '<td class="number" data-value="-1">–</td>'


def test_a_run_that_has_only_begun_gives_a_page_too(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(Settings(data="d").model_dump(mode="json")))
    (tmp_path / "metrics.jsonl").write_text('{"epoch": 0, "loss": 2.0}\n{"epoch": 1, "lo')
    run = read_run(tmp_path)
    assert run.rows == [{"epoch": 0, "loss": 2.0}]
    page = render(Content(title="begun", run=run))
    parse(page)
    assert "Not scored" in page
    assert 'id="data"' not in page


def test_a_folder_that_is_no_run_is_refused_by_name(tmp_path: Path) -> None:
    with raises(DataError, "settings.yaml", path=tmp_path):
        read_run(tmp_path)
    with raises(DataError, "object storage", path="s3://bucket/run"):
        read_run(Path("s3://bucket/run"))
    with raises(DataError, "no such folder", path=tmp_path / "absent"):
        read_run(tmp_path / "absent")


def test_a_file_without_scores_is_no_evaluation(tmp_path: Path) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"loss": 1}))
    with raises(DataError, " AP ", path=path):
        read_result(path)


def test_the_best_epoch_counts() -> None:
    rows = [{"epoch": 0, "AP": 0.1}, {"epoch": 1, "AP": 0.3, "AP50": 0.5, "loss": 1.0}, {"epoch": 2, "loss": 0.5}]
    assert best_metrics(rows) == {"AP": 0.3, "AP50": 0.5}
    assert best_metrics([]) == {}
    assert best_metrics([{"AP": 0.3, "AP50": 0.5}, {"AP": 0.2, "AP50": 0.6}], "AP50") == {"AP": 0.2, "AP50": 0.6}


def test_the_curves_are_files_too(tmp_path: Path) -> None:
    written = write_plots(tmp_path / "plots", full_content())
    assert [path.name for path in written] == ["loss.svg", "ap.svg", "lr.svg"]
    for path in written:
        assert ET.parse(path).getroot().tag.endswith("svg")


def test_the_first_batch_of_the_run_is_embedded(tmp_path: Path) -> None:
    batch = Batch(
        images=np.zeros((2, 32, 64, 3), np.uint8),
        boxes_xyxy=np.array([[0, 0, 20, 20]], np.float32),
        labels=np.array([1]),
        image_index=np.array([1]),
        crowd=np.zeros(1, np.bool_),
        positions=np.arange(2),
        image_ids=np.arange(2),
    )
    content = full_content()
    before = render(content).count("data:image/jpeg")
    write_batch(RunFolder(tmp_path).first_batch, batch, RECORD.class_names)
    page = render(replace(content, run=replace(content.run, folder=tmp_path)))
    parse(page)
    assert page.count("data:image/jpeg") == before + 1


def test_boxes_are_mapped_by_position_and_size() -> None:
    page = render(full_content())
    assert page.count("The strongest colour: 1 in a cell.") == 2  # two boxes in cells of their own; train only


def test_text_on_every_ground_of_the_page_has_the_contrast_of_wcag_aa() -> None:
    css = (resources.files("lookonce.reports") / "page.css").read_text(encoding="utf-8")
    for block in re.findall(r":root {([^}]*)}", css):
        colors = {name: rgb_of(value) for name, value in re.findall(r"--([\w-]+): #(\w{6})", block)}
        parts = {name: int(value) / 100 for name, value in re.findall(r"--([\w-]+): (\d+)%", block)}
        ground, surface, ink = colors["ground"], colors["surface"], colors["ink"]
        pairs = [(colors[text], below) for text in ("ink", "faint", "accent") for below in (ground, surface)]
        pairs += [(surface, colors[chip]) for chip in ("wrong", "alert", "series-6")]
        # The cells of the confusion matrix with a share of 100 %: the strongest colour below text.
        for part, series in (("good", "series-3"), ("bad", "series-2")):
            pairs.append((ink, parts[part] * colors[series] + (1 - parts[part]) * surface))
        assert min(contrast(*pair) for pair in pairs) >= 4.5


def rgb_of(value: str) -> NDArray[np.float64]:
    return np.array([int(value[place : place + 2], 16) for place in (0, 2, 4)], np.float64)


def contrast(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The contrast ratio of WCAG 2.2, 1 to 21."""
    parts = np.stack([first, second]) / 255
    linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
    low, high = sorted(linear @ [0.2126, 0.7152, 0.0722])
    return float((high + 0.05) / (low + 0.05))
