"""The door of Roboflow Inference's clients."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from colours_served import Reply, Served, image_of, save_colours, served

IMAGE = image_of(250, 80, 140)
GIVEN = {"type": "base64", "value": base64.b64encode(IMAGE).decode()}


@pytest.fixture(scope="module")
def server(weights: Path) -> Iterator[Served]:
    second = save_colours(weights.with_name("second.onnx"), ("rot", "gruen", "blau"))
    with served(weights, second) as running:
        yield running


def infer(server: Served, **fields: Any) -> Reply:
    body = json.dumps({"model_id": "colours", "image": GIVEN, **fields}).encode()
    return server.post("/infer/object_detection", body, **{"Content-Type": "application/json"})


def test_boxes_are_by_their_centre_and_equal_those_of_detect(server: Served) -> None:
    wanted = server.post("/detect?threshold=0.3", IMAGE).json["detections"]
    answer = infer(server, confidence=0.3, api_key="any", source="sdk").json
    assert answer["image"] == {"width": 48, "height": 48}
    assert len(answer["predictions"]) == len(wanted) > 1
    for one, other in zip(answer["predictions"], wanted, strict=True):
        left, top, right, bottom = other["box_xyxy"]
        assert (one["class"], one["class_id"], one["confidence"]) == (other["class"], other["label"], other["score"])
        assert (one["x"], one["y"]) == pytest.approx(((left + right) / 2, (top + bottom) / 2))
        assert (one["width"], one["height"]) == pytest.approx((right - left, bottom - top), rel=1e-5)


def test_a_list_of_images_gets_a_list_and_the_model_is_the_one_asked_for(server: Served) -> None:
    assert infer(server, max_detections=10**30).status == 200
    answers = infer(server, image=[GIVEN, GIVEN], model_id="second", class_filter=["rot"], max_detections=1).json
    assert [[one["class"] for one in answer["predictions"]] for answer in answers] == [["rot"], ["rot"]]


def test_the_registry_names_the_served_models(server: Served) -> None:
    models = [{"model_id": name, "task_type": "object-detection"} for name in ("colours", "second")]
    assert server.get("/model/registry").json == {"models": models}


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"model_id": "third"}, 404),
        ({"confidence": 2}, 422),
        ({"image": []}, 422),
        ({"image": {"type": "numpy", "value": ""}}, 422),
        ({"image": {"type": "base64", "value": "aGVsbG8="}}, 422),
        ({"image": {"type": "url", "value": "http://example.org/a.jpg"}}, 403),
        ({"class_filter": ["dog"]}, 422),
    ],
)
def test_what_cannot_be_answered_is_refused(fields: dict[str, Any], status: int, server: Served) -> None:
    assert infer(server, **fields).status == status


def test_a_list_of_the_largest_images_does_not_use_up_the_pixels_of_its_own_request(weights: Path) -> None:
    with served(weights, max_pixels=48 * 48 / 1e6) as server:
        answer = infer(server, image=[GIVEN] * 9)
    assert (answer.status, len(answer.json)) == (200, 9)
