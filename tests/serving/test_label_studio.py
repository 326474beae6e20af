"""The door of Label Studio: its tasks, labelling interface and files."""

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from colours_served import Served, image_of, save_colours, served

IMAGE = image_of(250, 80, 140)
CONFIG = """<View><!-- <!x --><Text name="t" value="$text"/><Image name="img" value="$picture"/>
<Labels name="l" toName="t"><Label value="red"/></Labels>
<RectangleLabels name="boxes" toName="img"><Label value="Red"/><Label value="Sky" predicted_values="blue thing, sea"/>
</RectangleLabels></View>"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    weights = save_colours(tmp_path_factory.mktemp("weights") / "colours.onnx")
    with served(weights) as running:
        yield running


def task(number: int, image: bytes | str) -> dict[str, Any]:
    place = image if isinstance(image, str) else f"data:image/png;base64,{base64.b64encode(image).decode()}"
    return {"id": number, "data": {"picture": place, "text": "a"}}


def predict(server: Served, *tasks: dict[str, Any], config: str = CONFIG) -> Any:
    body = {"tasks": list(tasks), "label_config": config, "project": "1.2", "params": {"context": None}}
    return server.post("/predict", body)


def test_rectangles_are_in_percent_with_the_names_of_the_interface(server: Served) -> None:
    reply = predict(server, task(1, IMAGE), task(2, b"damaged"), task(3, image_of(0, 0, 0)))
    assert reply.status == 200, reply.body
    first, damaged, empty = reply.json["results"]
    assert (damaged["result"], empty["result"], empty["score"]) == ([], [], 0)
    found = {one["class"]: one for one in server.post("/detect", IMAGE).json["detections"]}
    assert [one["value"]["rectanglelabels"] for one in first["result"]] == [["Red"], ["Sky"]]
    for region, name in zip(first["result"], ("red", "Blue thing"), strict=True):
        assert (region["from_name"], region["to_name"], region["type"]) == ("boxes", "img", "rectanglelabels")
        assert (region["original_width"], region["original_height"]) == (48, 48)
        assert region["score"] == found[name]["score"]
        left, top, right, bottom = (side / 48 * 100 for side in found[name]["box_xyxy"])
        value = [region["value"][side] for side in ("x", "y", "width", "height")]
        assert value == pytest.approx([left, top, right - left, bottom - top])
    assert first["score"] == pytest.approx(sum(one["score"] for one in first["result"]) / 2)
    assert first["model_version"] == reply.json["model_version"] == "colours-1"


def test_setup_health_and_webhook_answer(server: Served) -> None:
    assert server.post("/setup", {"project": "1.2", "schema": CONFIG}).json == {"model_version": "colours-1"}
    assert server.get("/health").json["status"] == "UP"
    assert server.post("/webhook", {"action": "ANNOTATION_CREATED"}).status == 201


@pytest.mark.parametrize(
    "config", ["", "<View>", "<View/>", '<View><RectangleLabels name="a" toName="b"/></View>', "<!DOCTYPE a []><a/>"]
)
def test_an_interface_without_rectangles_is_refused(config: str, server: Served) -> None:
    reply = predict(server, task(1, IMAGE), config=config)
    assert (reply.status, "label_config" in reply.json["error"]) == (422, True)


def test_other_hosts_are_not_asked(server: Served) -> None:
    assert predict(server, task(1, "http://127.0.0.1:1/a.png")).status == 403
    assert predict(server, task(1, "/data/upload/a.png")).status == 422


def test_files_of_label_studio_are_fetched_with_its_token(server: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Authorization"]))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(IMAGE)

        def log_message(self, *_: Any) -> None:
            """Silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as studio:
        thread = threading.Thread(target=studio.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv("LABEL_STUDIO_URL", f"http://127.0.0.1:{studio.server_port}")
        monkeypatch.setenv("LABEL_STUDIO_API_KEY", "key")
        assert predict(server, task(1, "/data/upload/1/a.png")).json["results"][0]["result"]
        assert predict(server, task(1, f"http://localhost:{studio.server_port}/a.png")).status == 403
        studio.shutdown()
        thread.join()
    assert asked == [("/data/upload/1/a.png", "Token key")]
