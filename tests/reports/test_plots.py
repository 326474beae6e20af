import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookonce.reports.plots import Series, axes, bar_chart, heat_map, line_chart, short, standalone, ticks


def test_ticks_are_round_and_lie_within() -> None:
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert ticks(0, 4.9) == [0, 1, 2, 3, 4]
    assert ticks(1, 12, 6) == [2, 4, 6, 8, 10, 12]


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_there_are_a_few_ticks_for_any_range(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert 1 <= len(found) <= 6
    assert all(low - span * 1e-3 <= tick <= low + span * 1.001 for tick in found)


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "0"), (0.0123, "0.0123"), (1234.5, "1,234"), (0.0005, "5e-4"), (12, "12")]
)
def test_numbers_on_axes_are_short(value: float, shown: str) -> None:
    assert short(value) == shown


def test_a_line_runs_from_the_first_point_to_the_last() -> None:
    # 480 x 250 with margins 62, 12, 12, 42: x 1..3 lies on 62..468, y 0..1 on 208..12.
    points = [(1, 0.0), (2, 0.5), (3, 1.0)]
    svg = line_chart("AP", [Series(name="AP", points=points, color=1)], y_label="AP, 0 to 1", y_high=1.0)
    assert "M62.0 208.0L265.0 110.0L468.0 12.0" in svg
    assert "AP, epoch 2: 0.5" in svg


@pytest.mark.parametrize("points", [[], [(1, 0.0)], [(1, float("nan")), (2, 3.0)]])
def test_charts_of_little_are_still_charts(points: list[tuple[float, float]]) -> None:
    svg = line_chart("loss", [Series(name="loss", points=points, color=1)], y_label="loss")
    assert "nan" not in svg
    ET.fromstring(svg)


def test_bars_have_a_height_in_proportion_and_names_are_escaped() -> None:
    svg = bar_chart("counts", ["a<b", "c"], [("train", [50.0, 100.0], 1)], x_label="class", y_label="objects")
    rects = ET.fromstring(svg).findall("rect")
    assert float(rects[1].get("height", 0)) == pytest.approx(2 * float(rects[0].get("height", 0)), abs=0.1)
    assert "a&lt;b" in svg


def test_a_chart_alone_brings_its_colours_for_day_and_night() -> None:
    svg = standalone(bar_chart("none", [], [], x_label="class", y_label="objects"), "none")
    assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme: dark" in svg


def texts(svg: str) -> list[str]:
    return [text.text or "" for text in ET.fromstring(svg).iter() if text.tag.endswith("text")]


def test_every_chart_names_its_axes_and_a_file_its_title_and_its_lines() -> None:
    lines = [Series(name=name, points=[(1, 0.5), (2, 1.0)], color=1) for name in ("loss", "val_loss")]
    across, up = axes((0, 1), 1)
    charts = [
        line_chart("a", lines, x_label="x, px", y_label="y, %"),
        bar_chart("b", ["c"], [("n", [1.0], 1)], x_label="x, px", y_label="y, %"),
        heat_map("h", np.eye(2, dtype=np.int64), across, up, x_ticks=[], y_ticks=[], x_label="x, px", y_label="y, %"),
    ]
    for chart in charts:
        assert {"x, px", "y, %"} <= set(texts(chart))
    assert {"Losses", "loss", "val_loss"} <= set(texts(standalone(charts[0], "Losses", lines)))


def test_the_cells_of_a_heat_map_start_at_the_low_end_of_the_axes() -> None:
    # 480 x 250 with margins 62, 12, 12, 42: cells of 203 x 98; one object in row 0, column 1, four in row 1, column 0.
    across, up = axes((0, 1), 1)
    svg = heat_map("h", np.array([[0, 1], [4, 0]]), across, up, x_ticks=[], y_ticks=[], x_label="", y_label="")
    paths = {path.get("style", "").rsplit(":", 1)[1]: path.get("d") for path in ET.fromstring(svg).findall("path")}
    assert paths == {"0.50": "M265.0 208.0h203.0v-98.0h-203.0z", "1.00": "M62.0 110.0h203.0v-98.0h-203.0z"}


def test_a_thin_line_is_one_path_and_level_stretches_have_two_points() -> None:
    points = [(0.0, 1.0), (0.25, 1.0), (0.5, 1.0), (0.75, 0.5), (1.0, 0.5)]
    line = Series(name="a", points=points, color=1, thin=True)
    svg = line_chart("pr", [line], y_label="precision", y_high=1.0, x_range=(0, 1))
    assert "circle" not in svg
    assert "M62.0 12.0L265.0 12.0L366.5 110.0L468.0 110.0" in svg


@pytest.mark.parametrize(
    ("y_high", "box"), [(1.0, "0 0 480 250"), (0.004, "-4.5 0 484.5 250"), (0.0004, "0 0 480 250")]
)
def test_long_numbers_at_the_y_axis_have_room_beside_its_label(y_high: float, box: str) -> None:
    line = Series(name="lr", points=[(1, 0.0), (2, y_high)], color=1)
    # "0.002": 5 * 8.5 + 24 - 62 = 4.5; "0.5" and "2e-4" fit.
    svg = line_chart("lr", [line], y_label="learning rate", y_high=y_high)
    assert f'viewBox="{box}"' in svg
    left, _, width, _ = box.split()
    assert f'viewBox="{left} -24 {width} 274"' in standalone(svg, "lr")


def test_one_point_stands_in_the_middle_of_its_axis_which_has_no_other_tick() -> None:
    svg = line_chart("loss", [Series(name="loss", points=[(1, 2.0)], color=1)], y_label="loss")
    assert 'cx="265.0"' in svg
    assert re.findall(r'text-anchor="middle" style[^>]*>([^<>]+)<', svg) == ["1", "epoch"]


def test_a_narrow_page_leaves_out_labels_of_bars_that_would_touch_there() -> None:
    labels = [f"{edge}+" for edge in (0, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512)]
    svg = bar_chart("sizes", labels, [("train", [1.0] * len(labels), 1)], x_label="pixels", y_label="objects")
    shown = re.findall(r'<text [^>]*?(class="wide")? style[^>]*>(\d+\+)</text>', svg)
    assert [text for kind, text in shown if not kind] == ["0+", "16+", "64+", "128+", "256+", "512+"]
    assert [text for _, text in shown] == labels
