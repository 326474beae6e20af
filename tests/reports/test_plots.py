import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookonce.reports.plots import Series, bar_chart, line_chart, short, standalone, ticks


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
    # 480 x 250 with margins 50, 12, 12, 38: x 1..3 lies on 50..468, y 0..1 on 212..12.
    svg = line_chart("AP", [Series(name="AP", points=[(1, 0.0), (2, 0.5), (3, 1.0)], color=1)], y_high=1.0)
    assert "M50.0 212.0L259.0 112.0L468.0 12.0" in svg
    assert "AP, epoch 2: 0.5" in svg


@pytest.mark.parametrize("points", [[], [(1, 0.0)], [(1, float("nan")), (2, 3.0)]])
def test_charts_of_little_are_still_charts(points: list[tuple[float, float]]) -> None:
    svg = line_chart("loss", [Series(name="loss", points=points, color=1)])
    assert "nan" not in svg
    ET.fromstring(svg)


def test_bars_have_a_height_in_proportion_and_names_are_escaped() -> None:
    svg = bar_chart("counts", ["a<b", "c"], [("train", [50.0, 100.0], 1)])
    rects = ET.fromstring(svg).findall("rect")
    assert float(rects[1].get("height", 0)) == pytest.approx(2 * float(rects[0].get("height", 0)), abs=0.1)
    assert "a&lt;b" in svg


def test_a_chart_alone_brings_its_colours_for_day_and_night() -> None:
    svg = standalone(bar_chart("none", [], []))
    assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert "prefers-color-scheme: dark" in svg
