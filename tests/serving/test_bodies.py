"""Images by URL: of allowed hosts only, no redirects, limited in size and time."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from colours_served import Served, image_of, save_colours, served
from raised import raises

from lookonce.errors import DataError
from lookonce.serving.bodies import fetch

IMAGE = image_of(250, 80, 10)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/a.png")
            self.end_headers()
            return
        self.send_response(404 if self.path == "/none" else 200)
        self.end_headers()
        if self.path == "/slow":
            for _ in range(40):
                self.wfile.write(b"0")
                time.sleep(0.01)
        elif self.path == "/long":
            self.wfile.write(b"0" * 300_000)
        elif self.path != "/none":
            self.wfile.write(IMAGE)

    def log_message(self, *_: Any) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as images:
        thread = threading.Thread(target=images.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{images.server_port}"
        images.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    weights = save_colours(tmp_path_factory.mktemp("weights") / "colours.onnx")
    with served(weights, allow_urls="127.0.0.1, Images.Example", max_body=0.2) as running:
        yield running


def test_an_image_of_an_allowed_host_is_fetched(server: Served, origin: str) -> None:
    wanted = server.post("/detect", IMAGE).json["detections"]
    assert server.post("/detect", {"url": f"{origin}/a.png"}).json["detections"] == wanted
    assert server.post(f"/detect?url={origin}/a.png").json["detections"] == wanted


@pytest.mark.parametrize(
    ("path", "status", "named"),
    [("/moved", 422, "302"), ("/none", 422, "404"), ("/long", 413, "200,000")],
)
def test_what_is_no_image_is_refused(path: str, status: int, named: str, server: Served, origin: str) -> None:
    reply = server.post("/detect", {"url": origin + path})
    assert (reply.status, named in reply.json["error"]) == (status, True), reply.json


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("http://localhost:1/a.png", 403),
        ("http://images.example:x/a.png", 422),
        ("http://127.0.0.1@other.example/", 403),
        ("http://127.0.0.1.other.example/", 403),
        ("http://127.0.0.1:1/a.png", 422),
        ("http://127.0.0.1:x/a.png", 422),
        ("ftp://127.0.0.1/a.png", 422),
        ("http://[/", 422),
        ("//127.0.0.1/a.png", 422),
    ],
)
def test_other_hosts_and_schemes_are_refused(url: str, status: int, server: Served) -> None:
    assert server.post("/detect", {"url": url}).status == status


def test_the_time_for_a_url_is_limited_as_a_whole(origin: str) -> None:
    with raises(DataError, "0.05 seconds"):
        fetch(f"{origin}/slow", ["*"], max_bytes=1000, seconds=0.05)
