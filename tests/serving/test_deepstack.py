"""The door of DeepStack and CodeProject.AI."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from colours_served import Served, image_of, save_colours, served

IMAGE = image_of(250, 80, 140)


@pytest.fixture(scope="module")
def server(weights: Path) -> Iterator[Served]:
    second = save_colours(weights.with_name("second.onnx"), ("rot", "gruen", "blau"))
    with served(weights, second, token="secret") as running:
        yield running


def test_predictions_are_sorted_in_lower_case_and_whole_pixels(server: Served) -> None:
    reply = server.post_form("/v1/vision/detection", IMAGE, api_key="secret", min_confidence="0.25")
    wanted = server.post("/detect?threshold=0.25", IMAGE, Authorization="Bearer secret").json["detections"]
    assert (reply.status, reply.json["success"], reply.json["count"]) == (200, True, len(wanted))
    assert [one["label"] for one in reply.json["predictions"]] == ["red", "blue thing", "green"]
    assert [one["confidence"] for one in reply.json["predictions"]] == [one["score"] for one in wanted]
    sides = ("x_min", "y_min", "x_max", "y_max")
    for prediction, one in zip(reply.json["predictions"], wanted, strict=True):
        assert [prediction[side] for side in sides] == [round(side) for side in one["box_xyxy"]]


def test_a_custom_model_is_named_in_the_path(server: Served) -> None:
    reply = server.post_form("/v1/vision/custom/second", IMAGE, api_key="secret", min_confidence="0.9")
    assert [one["label"] for one in reply.json["predictions"]] == ["rot"]
    assert server.post_form("/v1/vision/custom/third", IMAGE, api_key="secret").status == 404
    names = server.post("/v1/vision/custom/list", Authorization="Bearer secret")
    assert names.json == {"success": True, "models": ["colours", "second"]}
    assert server.post("/v1/vision/custom/list").status == 401
    assert server.get("/v1/status/ping").json == {"success": True}


@pytest.mark.parametrize(
    ("fields", "status"), [({}, 401), ({"api_key": "wrong"}, 401), ({"api_key": "secret", "min_confidence": "2"}, 400)]
)
def test_a_wrong_key_or_confidence_fails(fields: dict[str, str], status: int, server: Served) -> None:
    reply = server.post_form("/v1/vision/detection", IMAGE, **fields)
    assert (reply.status, reply.json["success"]) == (status, False)


def test_what_is_no_image_has_status_400(server: Served) -> None:
    reply = server.post_form("/v1/vision/detection", b"hello", api_key="secret")
    assert (reply.status, reply.json["success"], "predictions" in reply.json) == (400, False, False)
