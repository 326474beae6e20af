"""Tasks as Label Studio's server exports them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lookonce.data.findings import Finding, ignore
from lookonce.data.formats.label_studio import parse_label_studio
from lookonce.data.source import open_data


def task(image: str, *results: dict, **others: object) -> dict:
    return {"id": 1, "annotations": [{"id": 9, "result": list(results)}], "data": {"image": image}, **others}


def rectangle(x: float, y: float, width: float, height: float, **value: object) -> dict:
    return {
        "type": "rectanglelabels",
        "original_width": 200,
        "original_height": 100,
        "from_name": "label",
        "value": {"x": x, "y": y, "width": width, "height": height, "rectanglelabels": ["dog"], **value},
    }


def parsed(tmp_path: Path, *tasks: object, report=ignore) -> list:
    (tmp_path / "tasks.json").write_text(json.dumps(tasks))
    return parse_label_studio(tmp_path / "tasks.json", report)


def test_percentages_become_pixels(tmp_path):
    (image,) = parsed(tmp_path, task("a.jpg", rectangle(10, 20, 30, 40)))
    assert (image.name, image.size_wh, image.boxes[0].name) == ("a.jpg", (200, 100), "dog")
    np.testing.assert_allclose(image.boxes[0].box_xyxy, (20, 20, 80, 60))


def test_a_rectangle_turns_about_its_top_left_corner(tmp_path):
    """60 x 40 pixels at (100, 20), turned by 90 degrees clockwise: 40 wide, to the left, and 60 high."""
    (image,) = parsed(tmp_path, task("a.jpg", rectangle(50, 20, 30, 40, rotation=90)))
    np.testing.assert_allclose(image.boxes[0].box_xyxy, (60, 20, 100, 80))


def test_a_polygon_becomes_its_box_and_other_results_are_left_out(tmp_path):
    polygon = rectangle(0, 0, 0, 0) | {
        "type": "polygonlabels",
        "value": {"points": [[10, 10], [20, 30], [5, 20]], "polygonlabels": ["cat"]},
    }
    (image,) = parsed(tmp_path, task("a.jpg", {"type": "choices", "value": {"choices": ["good"]}}, polygon))
    assert [box.name for box in image.boxes] == ["cat"]
    np.testing.assert_allclose(image.boxes[0].box_xyxy, (10, 10, 40, 30))


def test_the_last_annotation_counts_then_the_prediction(tmp_path):
    first, last = rectangle(0, 0, 10, 10), rectangle(50, 50, 10, 10)
    cancelled = {"result": [rectangle(90, 90, 5, 5)], "was_cancelled": True}
    corrected = task("a.jpg") | {"annotations": [{"result": [first]}, {"result": [last]}, cancelled]}
    predicted = task("b.jpg", annotations=[], predictions=[{"result": [first]}])
    one, other = parsed(tmp_path, corrected, predicted)
    assert one.boxes[0].box_xyxy[0] == 100
    assert other.boxes[0].box_xyxy[0] == 0


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("/data/local-files/?d=set/train/a%20b.jpg", "set/train/a b.jpg"),
        ("/data/upload/3/0a1b2c3d-a.jpg", "3/0a1b2c3d-a.jpg"),
        ("s3://bucket/train/a.jpg", "s3://bucket/train/a.jpg"),
    ],
)
def test_the_servers_part_of_an_address_is_removed(tmp_path, written, name):
    (image,) = parsed(tmp_path, task(written))
    assert image.name == name


def test_a_malformed_task_is_reported_and_left_out(tmp_path):
    findings: list[Finding] = []
    images = parsed(tmp_path, {"annotations": []}, task("a.jpg"), "no task", {"data": {"n": 1}}, report=findings.append)
    assert [image.name for image in images] == ["a.jpg"]
    assert [finding.name for finding in findings] == ["malformed-entry"] * 3


@pytest.mark.parametrize("name", ["a.jpg", "0a1b2c3d-a.jpg", "upload/3/0a1b2c3d-a.jpg"])
def test_a_folder_with_tasks_is_a_data_set_with_the_images_as_they_were_or_as_the_server_names_them(tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (200, 100)).save(tmp_path / name)
    parsed(tmp_path, task("/data/upload/3/0a1b2c3d-a.jpg", rectangle(10, 20, 30, 40)))
    dataset = open_data(tmp_path).split("train")
    assert (dataset.class_names, len(dataset.labels)) == (("dog",), 1)
    assert dataset.image_paths == [tmp_path / name]
