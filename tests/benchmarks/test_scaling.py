"""The benchmark of scaling, at sizes that take milliseconds; its own curves are judged by hand-made points."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

NARROW = (2, 4, 8, 8, 8, 8, 8, 8, 8, 8, 8)
Script = Callable[[str], ModuleType]


@pytest.mark.parametrize(
    ("points", "kind", "exponent", "holds"),
    [
        ([(1, 9), (2, 3), (4, 6)], {}, 1.0, True),  # the two largest sizes count
        ([(2, 3), (4, 12)], {}, 2.0, False),
        ([(2, 3), (4, 12)], {"linear": False}, 2.0, True),
        ([(1, 100), (2, 104)], {"flat": True}, 0.057, True),
        ([(1, 100), (2, 106)], {"flat": True}, 0.084, False),
    ],
)
def test_a_curve_holds_while_it_grows_no_faster_than_its_size(
    points: list[tuple[float, float]], kind: dict[str, bool], exponent: float, holds: bool, script: Script
) -> None:
    curve = script("scaling").Curve(name="n", x_label="x", y_label="y", points=points, **kind)
    assert curve.exponent == pytest.approx(exponent, abs=1e-3)
    assert curve.holds is holds


def test_every_curve_is_measured_and_drawn(script: Script, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scaling = script("scaling")
    monkeypatch.setattr(scaling, "ROUNDS", 2)
    monkeypatch.setattr(scaling, "NUM_GRADIENTS", 1000)
    curves = [
        scaling.by_images((5, 10), 5),
        scaling.by_pixels((64, 96), NARROW),
        scaling.by_classes((2, 4), 64),
        scaling.by_boxes((1, 2), 16),
        scaling.by_workers((1, 2), 16, 64),
        scaling.by_ranks((1,)),
        scaling.memory_by_epochs(2, 16),
    ]
    names = ["images", "size", "classes", "boxes", "workers", "ranks", "memory"]
    assert [curve.name for curve in curves] == names
    assert all(y > 0 for curve in curves for _, y in curve.points)
    scaling.write(curves, tmp_path)
    assert list(json.loads((tmp_path / "scaling.json").read_text())) == names
    assert {path.stem for path in tmp_path.glob("*.svg")} == set(names)
    assert scaling.as_text(curves[0]).startswith("COCO's metric, ms, by images:  5: ")
