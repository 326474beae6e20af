"""The explaining sections, the comparison and the model card, on one analysis that a person can follow."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lookonce.data.dataset import Dataset
from lookonce.detections import Detections
from lookonce.reports import comparison, error_analysis_page
from lookonce.reports.comparison import Compared
from lookonce.reports.content import Content, Run
from lookonce.reports.html import render_comparison
from lookonce.reports.images import ComparedImage
from lookonce.reports.model_card import model_card
from lookonce.reports.summary import sentences
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord
from lookonce.settings.schema import Settings

NAMES = ("cat", "d<g|")
RECORD = ModelRecord(dialect=DIALECTS["darknet"], class_names=NAMES, category_ids=(1, 2))


def analysis(names: tuple[str, ...] = NAMES) -> dict[str, Any]:
    """Two right at a score of 0.9, one wrong at 0.6; a cat was called a dog, a dog was not found."""
    count = len(names) + 1
    confusion = np.zeros((count, count), int)
    confusion[0, 1], confusion[0, 0], confusion[1, count - 1] = 3, 5, 2
    curve = {
        "precision": np.linspace(0, 1, 101).tolist(),
        "recall": np.linspace(1, 0, 101).tolist(),
        "f1": [0.5] * 101,
        "precision_at_recall": [1.0] * 51 + [0.0] * 50,
        "best_threshold": 0.4,
        "best_f1": 0.8,
    }
    histogram = {"right": [7, *[0] * 17, 2, 0], "wrong": [9, *[0] * 11, 1, *[0] * 7]}
    group = {"num_objects": 30, "AP50": 0.5, "recall": 0.75}
    return {
        "errors": {"undetected": {"count": 4, "AP50": 0.125}, "class": {"count": 3, "AP50": 0.05}},
        "groups": {
            "size": {"title": "Size", "groups": [{"name": "large", **group}, {"name": "tiny", **group, "AP50": 0.1}]}
        },
        "confusion": {"classes": [*names, "(background)"], "score_threshold": 0.25, "counts": confusion.tolist()},
        "calibration": {"counts": [0] * 10, "mean_scores": [-1.0] * 10, "precision": [-1.0] * 10, "error": 0.125},
        "thresholds": np.linspace(0, 1, 101).tolist(),
        "recalls": np.linspace(0, 1, 101).tolist(),
        "curves": dict.fromkeys(names, curve),
        "scores": dict.fromkeys(names, histogram),
        "worst_images": [],
    }


def dataset() -> Dataset:
    return Dataset(
        split="val",
        image_paths=[Path("1.jpg")],
        image_ids=np.array([1]),
        image_sizes_wh=np.array([[64, 64]], np.int32),
        box_offsets=np.array([0, 2]),
        boxes_xyxy=np.array([[0, 0, 30, 30], [10, 10, 50, 20]], np.float64),
        labels=np.array([0, 1]),
        crowd=np.zeros(2, np.bool_),
        areas=np.array([900.0, 400.0]),
        class_names=NAMES,
        category_ids=(1, 2),
    )


def content(name: str = "run", *, lr: float = 0.01, ap50: float = 0.5) -> Content:
    rows = [{"epoch": n, "loss": 3.0 - n, "AP": 0.1 * n, "AP50": 0.2 * n, "seconds": 30.0} for n in range(3)]
    per_class = {
        name: {"AP": 0.2, "AP50": value, "AP75": 0.1, "AR100": 0.4, "num_objects": objects, "num_detections": 9}
        for name, value, objects in (("cat", 0.75, 30), ("d<g|", 0.25, 3))
    }
    interval = {"value": ap50, "low": ap50 - 0.05, "high": ap50 + 0.05}
    return Content(
        title=name,
        run=Run(
            folder=Path(name),
            settings=Settings(data="d", lr=lr, weights="weights/coco").model_dump(mode="json"),
            rows=rows,
            record=RECORD,
        ),
        datasets=[dataset()],
        metrics={
            "AP": 0.25,
            "AP50": ap50,
            "per_class": per_class,
            "intervals": {"AP50": interval},
            "class_intervals": {"cat": {"AP50": interval}},
            "best_thresholds": {"cat": {"threshold": 0.4, "f1": 0.8}},
        },
        analysis=analysis(),
        images=[
            ComparedImage(
                name="1.jpg", image=np.zeros((8, 8, 3), np.uint8), truth=Detections.none(), found=Detections.none()
            )
        ],
        classes=(("cat", "#ff0000"), ("d<g|", "#00ff00")),
        commands=("lookonce train --data d",),
    )


def test_errors_are_listed_by_what_they_cost() -> None:
    html = error_analysis_page.error_analysis(content())
    assert html.index("<b>undetected</b>") < html.index("<b>class</b>")
    assert "12.5<" in html
    assert re.search(r"\b14 \w+ and 18 \w+ .*0\.05", html)
    assert "0.125." in html
    assert error_analysis_page.error_analysis(Content(title="", run=content().run)) == ""


def test_confusions_of_few_classes_are_a_table_and_of_many_a_list() -> None:
    html = error_analysis_page.error_analysis(content())
    # 3 of 8 cats
    assert (
        '<td class="number bad" style="--part:0.38">38 %<small class="interval">3</small></td>' in html
    )  # 3 of 8 cats
    many = content()
    names = tuple(f"class {number}" for number in range(40))
    html = error_analysis_page.error_analysis(Content(title="", run=many.run, analysis=analysis(names)))
    assert "<td>class 0</td><td>class 1</td>" in html
    assert "matrix" not in html


def test_precision_is_drawn_only_where_there_are_detections() -> None:
    known = analysis()
    known["curves"]["cat"]["precision"][50:] = [-1.0] * 51  # and the other class's with it: one list
    html = error_analysis_page.error_analysis(Content(title="", run=content().run, analysis=known))
    ends = [float(x) for x in re.findall(r"precision, confidence threshold ([\d.]+):", html)]
    assert 0.4 < max(ends) <= 0.49
    assert float(re.findall(r"recall, confidence threshold ([\d.]+):", html)[-1]) == 1


def test_of_many_classes_each_has_a_thin_line_and_the_extremes_a_colour() -> None:
    names = tuple(f"class {number}" for number in range(12))
    html = error_analysis_page.error_analysis(Content(title="", run=content().run, analysis=analysis(names)))
    assert html.count("stroke-opacity:.45") == 8


def test_a_weak_run_is_said_in_the_summary() -> None:
    said = sentences(replace(content(), weak="No detection.", counts=(30, 29, 1), shown_from="a score of 0.05"))
    assert said[1] == "No detection."
    assert re.search(r"0\.05 up, 1 of 30 objects .* 29 missed; .* 1\.", said[2])


def test_the_summary_says_what_matters_and_warns_of_few_objects() -> None:
    said = " ".join(sentences(content()))
    assert re.search(r"AP50 0\.500 .*0\.450 to 0\.550", said)
    assert re.search(r"'cat' \(AP50 0\.750\), worst .*'d<g\|' \(0\.250\)", said)
    assert re.search(r"20 objects .*'d<g\|'", said)
    assert re.search(r"undetected .*\(12\.5\) .*class .*\(5\.0\)", said)
    assert "tiny (AP50 0.100)" in said
    assert "last epoch" in said
    [alone] = sentences(Content(title="", run=Run(folder=Path(), settings={}, rows=[], record=None)))
    assert "not been scored" in alone


def test_the_model_card_is_markdown_whose_tables_have_equal_lines() -> None:
    text = model_card(content())
    assert re.match(r"# run\n\nYOLOv3-Tiny .*darknet.* 2 classes", text)
    assert "| cat | 30 | 0.750 | 0.450 to 0.550 | 0.200 | 0.400 | 0.400 |" in text
    assert "d\\<g\\|" in text
    assert "| val | 1 | 0 | 2 |" in text
    assert "| weights | weights/coco |" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        columns = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(columns) == 1, table


def test_a_model_card_of_a_run_that_has_only_begun_says_so() -> None:
    text = model_card(Content(title="begun", run=Run(folder=Path(), settings={}, rows=[], record=None)))
    assert "no weights" in text


def difference(value: float, p_value: float) -> dict[str, Any]:
    return {"difference": {"value": value, "low": value - 0.1, "high": value + 0.1}, "p_value": p_value}


@pytest.fixture
def runs() -> list[Compared]:
    return [
        Compared(name="one", content=content("one"), parameters=1000),
        Compared(
            name="t<o",
            content=content("t<o", lr=0.02, ap50=0.6),
            differences={"AP50": difference(0.1, 0.002), "AP": difference(-0.01, 0.5)},
        ),
    ]


def test_the_better_number_of_each_line_is_bold_and_equal_ones_are_not(runs: list[Compared]) -> None:
    html = comparison.scores(runs)
    assert '0.500 <small class="interval">0.450–0.550</small>' in html
    assert '<b>0.600</b> <small class="interval">0.550–0.650</small>' in html
    assert "<b>0.250</b>" not in html


def test_a_difference_is_told_from_chance(runs: list[Compared]) -> None:
    html = comparison.scores(runs)
    assert re.search(r"<td>AP50</td>.*\+0\.100.*0\.002</td><td>better</td>", html)
    assert re.search(r"<td>AP</td>.*0\.500</td><td>(?!better)\w", html)


def test_only_settings_that_differ_are_compared(runs: list[Compared]) -> None:
    html = comparison.settings(runs)
    assert "<td>lr</td>" in html
    assert "momentum" not in html
    named = replace(runs[0], content=replace(runs[0].content, run=replace(runs[0].content.run, settings={"run": "a"})))
    assert "<td>run</td>" not in comparison.settings([named, runs[1]])
    assert re.fullmatch(r"<p>[^<]*same settings[^<]*</p>", comparison.settings(runs[:1] * 2))


def test_the_page_of_several_runs_has_every_section_and_each_image_once(runs: list[Compared]) -> None:
    page = render_comparison("one and two", runs)
    for _, anchor, _ in comparison.SECTIONS:
        assert f'<section id="{anchor}">' in page
    assert page.count("data:image/jpeg") == 1
    assert page.count('<use href="#compared-0"/>') == 2
    assert "t&lt;o" in page
    assert "t<o" not in page


def test_runs_without_scores_can_be_compared_too() -> None:
    bare = Content(title="", run=Run(folder=Path(), settings={}, rows=[], record=None))
    runs = [Compared(name=name, content=bare) for name in ("a", "b")]
    assert re.fullmatch(r"<p>[^<]*scored[^<]*</p>", comparison.scores(runs))
    assert comparison.curves(runs) == comparison.classes(runs) == comparison.error_costs(runs) == ""


def test_the_calibration_error_is_also_given_without_the_bin_of_nearly_all_detections() -> None:
    counts, scores, precision = [990, 10, *[0] * 8], [0.01, 0.15, *[-1.0] * 8], [0.02, 0.75, *[-1.0] * 8]
    known = {"counts": counts, "mean_scores": scores, "precision": precision, "error": 0.0159}
    note = error_analysis_page.calibration_note(known)
    assert re.findall(r"0\.\d{3}|[\d.]+ %", note) == ["0.016", "99 %", "0.600"]
