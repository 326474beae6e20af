import json
from pathlib import Path

import pytest
from raised import raises

from lookonce.data.findings import Finding
from lookonce.data.formats.via import parse_via
from lookonce.errors import DataError

RECT = {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4}


def region(shape: object, attributes: object) -> dict[str, object]:
    return {"shape_attributes": shape, "region_attributes": attributes}


def parse(path: Path, regions: object) -> tuple[list[tuple[str, tuple[float, ...]]], list[Finding]]:
    path.write_text(json.dumps({"a.jpg9": {"filename": "a.jpg", "size": 9, "regions": regions}}))
    findings: list[Finding] = []
    (image,) = parse_via(path, findings.append)
    assert image.name == "a.jpg"
    return [(box.name, box.box_xyxy) for box in image.boxes], findings


@pytest.mark.parametrize(
    ("shape", "box"),
    [
        (RECT, (1, 2, 4, 6)),
        ({"name": "polygon", "all_points_x": [1, 5, 3], "all_points_y": [7, 2, 9]}, (1, 2, 5, 9)),
        ({"name": "circle", "cx": 5, "cy": 6, "r": 2}, (3, 4, 7, 8)),
        ({"name": "ellipse", "cx": 5, "cy": 6, "rx": 2, "ry": 1, "theta": 0}, (3, 5, 7, 7)),
    ],
)
def test_a_shape_becomes_its_bounding_box(tmp_path: Path, shape: object, box: tuple[float, ...]) -> None:
    assert parse(tmp_path / "a.json", [region(shape, {"class": "cat"})]) == ([("cat", box)], [])


def test_a_point_has_no_box(tmp_path: Path) -> None:
    assert parse(tmp_path / "a.json", [region({"name": "point", "cx": 1, "cy": 2}, {"class": "cat"})]) == ([], [])


@pytest.mark.parametrize(
    ("attributes", "name"),
    [
        ({}, "object"),
        ({"kind": "cat"}, "cat"),
        ({"colour": "red", "Label": "cat"}, "cat"),
        ({"type": {"cat": True, "dog": False}}, "cat"),
    ],
)
def test_the_class_is_the_attribute_that_can_be_it(tmp_path: Path, attributes: object, name: str) -> None:
    numbered = {"0": region(RECT, attributes)}  # VIA 1
    assert parse(tmp_path / "a.json", numbered) == ([(name, (1, 2, 4, 6))], [])


@pytest.mark.parametrize(
    ("shape", "attributes"),
    [
        (RECT, {"colour": "red", "size": "big"}),
        (RECT, {"type": {"cat": True, "dog": True}}),
        (RECT, {"class": " "}),
        (RECT | {"x": "?"}, {"class": "cat"}),
        ({"name": "rect"}, {"class": "cat"}),
        ({"name": "polygon", "all_points_x": [], "all_points_y": []}, {"class": "cat"}),
    ],
)
def test_a_region_that_is_not_clear_is_named(tmp_path: Path, shape: object, attributes: object) -> None:
    boxes, (finding,) = parse(tmp_path / "a.json", [region(RECT, {"class": "cat"}), region(shape, attributes)])
    assert len(boxes) == 1
    assert (finding.name, finding.file) == ("malformed-entry", str(tmp_path / "a.json"))
    assert "region 2" in finding.message


def test_a_file_of_another_program_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[]")
    with raises(DataError, path="a.json"):
        parse_via(tmp_path / "a.json", [].append)
