"""Who may ask, and what a server does with slow, cut and too many requests: the next one is answered."""

import json
import logging
import socket
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from colours_served import Served, image_of, served

from lookonce.log import get_logger
from lookonce.serving.batching import Limits, ModelThreads
from lookonce.serving.json_log import json_log

IMAGE = image_of(250, 80, 10)
HEAD = f"POST /detect HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: {len(IMAGE)}\r\n\r\n"


@pytest.fixture(scope="module")
def server(weights: Path) -> Iterator[Served]:
    with served(weights, timeout=0.4, max_requests=3, max_queue=2, max_batch=1) as running:
        yield running


class Held:
    """Stands in for the model's thread of a server: what is detected waits until `go` is set."""

    def __init__(self, server: Served, limits: Limits) -> None:
        self.model, self.go, self.begun = server.context.models[""], threading.Event(), threading.Event()
        self.before = self.model.threads
        real = self.model._opened()

        def run(options: Any, images: Any) -> Any:
            self.begun.set()
            assert self.go.wait(20)
            return real(options, images)

        self.model.threads = ModelThreads(run, limits)

    def __enter__(self) -> "Held":
        return self

    def __exit__(self, *_: object) -> None:
        self.go.set()
        self.model.threads.close()
        self.model.threads = self.before


def connect(server: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=20)


def received(connection: socket.socket) -> bytes:
    """All until the server closes."""
    content = b""
    while part := connection.recv(1 << 16):
        content += part
    return content


def test_a_slow_upload_ends_at_the_time_limit(server: Served) -> None:
    with connect(server) as slow:
        slow.sendall(HEAD.encode() + IMAGE[:10])
        assert server.post("/detect", IMAGE).status == 200  # meanwhile
        assert received(slow).startswith(b"HTTP/1.1 408 ")
    assert server.post("/detect", IMAGE).status == 200


def test_a_detection_that_takes_too_long_is_given_up(server: Served) -> None:
    with Held(server, Limits(max_batch=1)):
        reply = server.post("/detect", IMAGE)
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
    assert server.post("/detect", IMAGE).status == 200


@pytest.mark.parametrize("sent", ["POST /det", HEAD, f"{HEAD}abc", HEAD + "x" * len(IMAGE)])
def test_a_cut_connection_disturbs_nobody(sent: str, server: Served, caplog: pytest.LogCaptureFixture) -> None:
    with connect(server) as cut:
        cut.sendall(sent.encode())
    assert server.post("/detect", IMAGE).status == 200
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    ("path", "length", "more", "status"),
    [
        ("/detect?threshold=2", 190_000, "", 422),  # refused before its body is read
        ("/detect", 190_000, "Content-Encoding: gzip\r\n", 415),
        ("/detect", 300_000, "", 413),
        ("/detect", 300_000, "Expect: 100-continue\r\n", 413),
    ],
)
def test_a_client_gets_the_answer_though_it_still_sends(
    path: str, length: int, more: str, status: int, weights: Path
) -> None:
    """The connection stays open for the next request, unless the body was not sent."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{more}\r\n".encode()
    with served(weights, max_body=0.2) as server, connect(server) as client:
        client.sendall(head)
        if "Expect" not in more:
            time.sleep(0.05)
            client.sendall(b"0" * length)
            client.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answers = received(client)
    assert answers.startswith(f"HTTP/1.1 {status} ".encode())
    assert (b'"live"' in answers) == ("Expect" not in more)


def test_what_is_no_http_gets_400(server: Served) -> None:
    with connect(server) as other:
        other.sendall(b"\x16\x03\x01\x02\x00\x01\r\n\r\n")
        assert received(other).startswith(b"HTTP/1.1 400 ")


def test_above_capacity_requests_get_429_or_503_and_afterwards_200(weights: Path) -> None:
    with served(weights, max_requests=6) as server:
        with Held(server, Limits(max_batch=1, max_queue=3)) as held, ThreadPoolExecutor(12) as pool:
            first = pool.submit(server.post, "/detect", IMAGE)
            assert held.begun.wait(20)
            others = [pool.submit(server.post, "/detect", IMAGE) for _ in range(11)]
            while sum(one.done() for one in others) < 8:  # three wait
                time.sleep(0.005)
            held.go.set()
            replies = [one.result() for one in (first, *others)]
        statuses = [reply.status for reply in replies]
        assert statuses.count(200) == 4
        assert {429} <= {*statuses} <= {200, 429, 503}
        assert all(int(reply.headers["retry-after"]) >= 1 for reply in replies if reply.status != 200)
        assert server.get("/health/ready").status == 200
        assert all(server.post("/detect", IMAGE).status == 200 for _ in range(6))


def test_large_images_at_once_are_limited_together(weights: Path) -> None:
    with (
        served(weights, max_pixels=48 * 48 / 1e6) as server,
        Held(server, Limits()) as held,
        ThreadPoolExecutor(5) as pool,
    ):
        replies = [pool.submit(server.post, "/detect", IMAGE) for _ in range(5)]
        while not any(one.done() for one in replies):
            time.sleep(0.005)
        held.go.set()
        assert sorted(one.result().status for one in replies) == [200] * 4 + [429]


def test_stopping_answers_what_was_taken(weights: Path) -> None:
    with served(weights) as server, Held(server, Limits(max_batch=1)) as held, ThreadPoolExecutor(3) as pool:
        replies = [pool.submit(server.post, "/detect", IMAGE) for _ in range(3)]
        while server.context.models[""].threads.num_waiting < 2:
            time.sleep(0.005)
        server.server.should_exit = True
        while server.server.servers and server.server.servers[0].sockets:
            time.sleep(0.005)
        held.go.set()
        assert [one.result().status for one in replies] == [200] * 3


def test_an_unforeseen_error_has_status_500_and_is_logged_once(
    weights: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret detail")

    with served(weights) as server:
        with monkeypatch.context() as patch:
            patch.setattr(server.context.models, "detect", fail)
            reply = server.post("/detect", IMAGE)
        assert (reply.status, "RuntimeError" in reply.json["error"], b"secret" in reply.body) == (500, True, False)
        assert len([record for record in caplog.records if record.levelno >= logging.ERROR]) == 1
        assert server.post("/detect", IMAGE).status == 200
        assert 'status="500"' in server.get("/metrics").body.decode()


def test_a_model_whose_thread_has_ended_is_not_ready(weights: Path) -> None:
    with served(weights) as server:
        server.context.models[""].threads.close()
        assert (server.get("/health/live").status, server.get("/health/ready").status) == (200, 503)
        assert server.post("/detect", IMAGE).status == 503


def test_a_token_is_required_as_bearer_or_as_a_browsers_password(weights: Path) -> None:
    with served(weights, token="secret") as server:
        basic = b64encode(b"anyone:secret").decode()
        for given, status in (
            ("Bearer secret", 200),
            ("bearer secret", 200),
            (f"Basic {basic}", 200),
            ("Bearer secre", 401),
            ("Bearer", 401),
            ("Basic !", 401),
            ("secret", 401),
            ("Bearer \xe9", 401),
        ):
            assert server.post("/detect", IMAGE, Authorization=given).status == status, given
        refused = server.post("/detect", IMAGE)
        assert (refused.status, refused.headers["www-authenticate"].partition(" ")[0]) == (401, "Basic")
        assert [server.get(path).status for path in ("/metrics", "/openapi.json", "/")] == [401] * 3
        assert [server.get(path).status for path in ("/health/live", "/health/ready")] == [200] * 2
        assert server.post("/detect", IMAGE, Authorization="Bearer secret", Host="a.example").status == 200


def test_each_request_is_a_line_of_json(server: Served, capsys: pytest.CaptureFixture[str]) -> None:
    logger, level = get_logger(), get_logger().level
    logger.setLevel(logging.INFO)
    try:
        with json_log():
            server.post("/detect?threshold=0.5", IMAGE)
            while '"/detect"' not in (text := capsys.readouterr().err):
                time.sleep(0.005)
            logger.info("a\nb")
    finally:
        logger.setLevel(level)
    line = json.loads(text)
    assert (line["method"], line["path"], line["status"], line["bytes"]) == ("POST", "/detect", 200, len(IMAGE))
    assert line["level"] == "INFO"
    assert json.loads(capsys.readouterr().err)["message"] == "a\nb"
