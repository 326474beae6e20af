"""/detect, health, metrics and OpenAPI of a real server on loopback; its detector names the colours of an image."""

import base64
import json
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from colours_served import NAMES, Served, form_of, image_of, save_colours, served

import lookonce
from lookonce.data.images import read_image
from lookonce.serving.bodies import CURLS

RED, GREEN = image_of(250, 80, 10), image_of(10, 200, 10, suffix=".jpg")


@pytest.fixture(scope="module")
def server(weights: Path) -> Iterator[Served]:
    second = save_colours(weights.with_name("second.onnx"), ("rot", "gruen", "blau"))
    with served(weights, second, max_pixels=0.1, max_body=0.2) as running:
        yield running


def predicted(content: bytes, weights: Path, **options: Any) -> Any:
    """What `lookonce predict` returns for the same bytes, as JSON has it."""
    (one,) = lookonce.load(weights).predict(content, **options)
    return json.loads(json.dumps(one.to_dict()["detections"]))


WAYS: dict[str, Callable[[bytes], dict[str, Any]]] = {
    "raw": lambda image: {"body": image, "Content_Type": "image/png"},
    "bytes": lambda image: {"body": image, "Content_Type": "application/octet-stream"},
    "curl": lambda image: {"body": image, "Content_Type": "application/x-www-form-urlencoded"},
    "no type": lambda image: {"body": image},
    "form": lambda image: dict(zip(("body", "Content_Type"), form_of(image, field="file"), strict=True)),
    "base64": lambda image: {"body": {"image": base64.b64encode(image).decode()}},
    "data URL": lambda image: {"body": {"image": f"data:image/png;base64,{base64.b64encode(image).decode()}"}},
    "chunked": lambda image: {"body": iter([image[:100], image[100:]]), "Content_Type": "image/png"},
}


@pytest.mark.parametrize("way", WAYS)
def test_detections_equal_predicts_whatever_way_the_image_comes(way: str, server: Served, weights: Path) -> None:
    for image in (RED, GREEN):
        reply = server.post("/detect", **WAYS[way](image))
        assert reply.status == 200, reply.body
        assert reply.json["detections"] == predicted(image, weights) != []
        assert (reply.json["model"], reply.json["version"]) == ("colours", 1)
        assert (reply.json["width"], reply.json["height"]) == (48, 48)


def test_thresholds_are_those_of_a_request(server: Served, weights: Path) -> None:
    assert [one["class"] for one in server.post("/detect", RED).json["detections"]] == ["red", "green"]
    options = {"threshold": 0.01, "iou_threshold": 0.3, "max_detections": 2, "classes": "Blue thing,red"}
    query = "&".join(f"{name}={value}".replace(" ", "%20") for name, value in options.items())
    wanted = predicted(RED, weights, **options)
    assert [one["class"] for one in wanted] == ["red", "Blue thing"]
    assert server.post(f"/detect?{query}", RED).json["detections"] == wanted
    in_form = {name: str(value) for name, value in options.items()}
    assert server.post_form("/detect", RED, **in_form).json["detections"] == wanted
    body = {"image": base64.b64encode(RED).decode(), **options}
    assert server.post("/detect?threshold=0.9", body).json["detections"] == wanted


def test_the_file_name_is_that_of_the_form_and_an_empty_field_is_none(server: Served) -> None:
    assert server.post_form("/detect", RED, threshold="").json["file"] == "a.png"


def test_requests_at_once_get_their_own_detections_at_their_own_thresholds(server: Served, weights: Path) -> None:
    images = [image_of(red, 60, 255 - red) for red in range(0, 250, 50)]
    asked = [(image, threshold) for image in images for threshold in (0.05, 0.3, 0.7)] * 2
    wanted = {key: predicted(key[0], weights, threshold=key[1]) for key in set(asked)}
    with ThreadPoolExecutor(8) as pool:
        replies = pool.map(lambda key: server.post(f"/detect?threshold={key[1]}", key[0]), asked)
        assert all(reply.json["detections"] == wanted[key] for key, reply in zip(asked, replies, strict=True))


@pytest.mark.parametrize(
    ("query", "accept", "kind"),
    [
        ("", "image/jpeg", "image/jpeg"),
        ("", "text/html, image/png;q=0.9, */*", "image/png"),
        ("?format=png", "application/json", "image/png"),
        ("?format=json", "image/jpeg", "application/json"),
        ("", "*/*", "application/json"),
    ],
)
def test_the_annotated_image_comes_by_accept_or_format(query: str, accept: str, kind: str, server: Served) -> None:
    reply = server.post(f"/detect{query}", RED, Accept=accept)
    assert reply.headers["content-type"] == kind
    if kind == "image/png":
        pixels = cv2.imdecode(np.frombuffer(reply.body, np.uint8), cv2.IMREAD_COLOR_RGB)
        (one,) = lookonce.load(server.context.models["colours"].source.path).predict(RED)
        assert pixels is not None
        assert np.array_equal(pixels, one.plot())
        assert not np.array_equal(pixels, read_image(RED))


def test_models_are_chosen_by_name(server: Served) -> None:
    assert [one["class"] for one in server.post("/detect?model=second", RED).json["detections"]] == ["rot", "gruen"]
    unknown = server.post("/detect?model=secnd", RED)
    assert unknown.status == 404
    assert "second" in unknown.json["error"]


BOMB = image_of(0, 0, 0, side=400)  # 160,000 pixels in a few hundred bytes
REFUSED: dict[str, tuple[int, str, dict[str, Any]]] = {
    "no image": (422, "image", {"body": b""}),
    "an empty object": (422, "image", {"body": {}}),
    "not JSON": (422, "body", {"body": b"{", "Content_Type": "application/json"}),
    "a list": (422, "list", {"body": b"[]", "Content_Type": "application/json"}),
    "not base64": (422, "base64", {"body": {"image": "?!"}}),
    "not an image": (422, "image", {"body": b"hello"}),
    "truncated": (422, "image", {"body": RED[:-40]}),
    "JSON of curl -d": (422, "-H 'Content-Type: ", {"body": b'{"threshold": 1}', "Content_Type": CURLS}),
    "an image of curl -d": (422, "--data-binary", {"body": RED.translate(None, b"\0\r\n"), "Content_Type": CURLS}),
    "a name of curl -d": (422, "--data-binary", {"body": b"photo.jpg", "Content_Type": CURLS}),
    "an unknown key": (422, "url, image", {"body": {"img": "eA=="}}),
    "another type": (415, "text/plain", {"body": RED, "Content_Type": "text/plain"}),
    "compressed": (415, "gzip", {"body": RED, "Content_Encoding": "gzip"}),
    "too many pixels": (413, "160,000", {"body": BOMB}),
    "too long": (413, "200,000", {"body": b"0" * 200_001}),
    "too long in chunks": (413, "200,000", {"body": iter([b"0" * 50_000] * 5)}),
    "a form without a file": (422, "image", {"body": b"--e--\r\n", "Content_Type": "multipart/form-data; boundary=e"}),
    "a form with a file's name": (
        422,
        "-F file=@",
        {
            "body": b'--e\r\nContent-Disposition: form-data; name="file"\r\n\r\na.png\r\n--e--\r\n',
            "Content_Type": "multipart/form-data; boundary=e",
        },
    ),
    "a form without an edge": (422, "form", {"body": RED, "Content_Type": "multipart/form-data"}),
    "a form cut short": (
        422,
        "image",
        {"body": form_of(RED, field="file")[0][:200], "Content_Type": "multipart/form-data; boundary=edge"},
    ),
    "a URL, which is off": (403, "--allow-urls", {"body": {"url": "http://127.0.0.1:1/a.jpg"}}),
    "a file as a URL": (422, "file:///etc/passwd", {"body": {"url": "file:///etc/passwd"}}),
    "both": (422, "URL", {"body": {"url": "http://a/", "image": base64.b64encode(RED).decode()}}),
    "another site": (403, "Origin", {"body": RED, "Origin": "https://example.com"}),
    "another name": (403, "Host", {"body": RED, "Host": "example.com"}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_answered_is_refused_and_the_next_request_is_answered(case: str, server: Served) -> None:
    status, named, request = REFUSED[case]
    reply = server.post("/detect", **request)
    assert (reply.status, named in reply.json["error"]) == (status, True), reply.json
    assert server.post("/detect", RED).status == 200


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("threshold=2", "threshold"),
        ("threshold=nan", "threshold"),
        ("max_detections=0", "max_detections"),
        ("max_detections=99999999999999999999", "max_detections"),
        ("classes=yellow", "yellow"),
        ("format=gif", "format"),
        ("thresold=0.5", "threshold"),
    ],
)
def test_a_wrong_option_is_named(query: str, named: str, server: Served) -> None:
    reply = server.post(f"/detect?{query}", RED)
    assert (reply.status, named in reply.json["error"]) == (422, True), reply.json


def test_a_wrong_option_is_shown_with_its_value_and_without_the_name_of_a_type(server: Served) -> None:
    in_json = json.dumps({"image": base64.b64encode(RED).decode(), "threshold": 7}).encode()
    as_json = {"Content-Type": "application/json"}
    for reply in (server.post("/detect?threshold=7", RED), server.post("/detect", in_json, **as_json)):
        assert reply.json["error"].startswith("threshold: 7; expected"), reply.json


def test_other_paths_and_methods_are_refused_in_json(server: Served) -> None:
    assert (server.get("/none").status, server.get("/detect").status) == (404, 405)
    assert server.get("/none").json["error"].startswith("/none: ")
    assert server.get("/detect").json["error"] == "/detect: GET; expected POST"


def test_health_is_live_and_ready(server: Served) -> None:
    assert (server.get("/health/live").status, server.get("/health/ready").status) == (200, 200)


def test_metrics_count_requests_batches_and_waits(server: Served) -> None:
    server.post("/detect", RED)
    server.post("/detect", b"no image")
    text = server.get("/metrics").body.decode()
    values = dict(re.findall(r"^(\S+) (\S+)$", text, re.MULTILINE))
    assert float(values['lookonce_requests_total{path="/detect",status="200"}']) >= 1
    assert float(values['lookonce_requests_total{path="/detect",status="422"}']) >= 1
    assert float(values['lookonce_batch_size_count{model="colours"}']) >= 1
    assert float(values['lookonce_queue_seconds_count{model="colours"}']) >= 1
    assert float(values['lookonce_request_seconds_count{path="/detect"}']) >= 2
    assert values['lookonce_queue_length{model="second"}'] == "0.0"
    assert values['lookonce_model_version{model="second"}'] == "1.0"


def test_the_example_of_openapi_works_and_no_answer_is_for_other_sites(server: Served) -> None:
    described = server.get("/openapi.json")
    body = described.json["components"]["schemas"]["Body"]["example"]
    reply = server.post("/detect", body)
    assert reply.status == 200, reply.json
    assert "access-control-allow-origin" not in {*described.headers, *reply.headers}
    assert (server.get("/docs").status, server.get("/redoc").status) == (404, 404)
    assert {"/detect", "/health/live", "/health/ready", "/metrics"} <= described.json["paths"].keys()
    assert "url" in described.json["components"]["schemas"]["FormBody"]["properties"]


def test_without_a_page_a_form_is_shown(server: Served) -> None:
    reply = server.get("/")
    assert reply.headers["content-type"].startswith("text/html")
    assert 'action="detect"' in reply.body.decode()
    assert "http" not in reply.body.decode().partition("<body>")[2]


def test_names_are_those_of_the_record(server: Served) -> None:
    assert server.context.models[""].record.class_names == NAMES
