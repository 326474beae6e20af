"""A real S3 protocol server in a process of its own, behind a proxy that refuses what Huawei's OBS refuses."""

import http.client
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from ports import free_port

ACCEPTED_BODIES = {"UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"}
REFUSAL = b"<Error><Code>AccessDenied</Code><Message>x-amz-content-sha256 is not supported</Message></Error>"


class S3Server:
    """moto's server as a subprocess. It keeps its objects in memory, so an outage is the proxy's."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _wait_for(self.port)

    def stop(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


class ObsLikeProxy:
    """Hands requests on to the server, unless the body is signed in a way that OBS does not know.

    faults: what goes wrong, one a request: a status such as 503, or (404, "NoSuchUpload"), instead of handing on; "cut"
    for a body that ends half-way, "slow" for one that comes in drops, "lost" for a request that is done and never
    answered. `down()` closes the door, in the middle of whatever is said; `up()` opens it again. on_request is called
    for each request before anything is done about it.
    """

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.port = free_port()
        self.faults: list[Any] = []
        self.requests: list[str] = []
        self.refused: list[str] = []
        self.on_request: Callable[[str], None] = lambda _: None
        self._connections: set[socket.socket] = set()
        self._server: http.server.ThreadingHTTPServer | None = None
        self.up()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def up(self) -> None:
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                proxy._connections.add(self.connection)

            def finish(self) -> None:
                proxy._connections.discard(self.connection)
                with suppress(OSError):
                    super().finish()

            def handle_any(self) -> None:
                try:
                    proxy.answer(self)
                except OSError:  # the client, or the door, is gone
                    self.close_connection = True

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any  # noqa: N815 - the library's names

            def log_message(self, *arguments: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def down(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        self.requests.append(f"{request.command} {request.path}")
        self.on_request(self.requests[-1])
        if request.headers.get("x-amz-content-sha256") not in ACCEPTED_BODIES:
            self.refused.append(f"{request.command} {request.path}")
            return _reply(request, 403, {}, REFUSAL)
        fault = self.faults.pop(0) if self.faults else None
        if isinstance(fault, (int, tuple)):
            status, code = fault if isinstance(fault, tuple) else (fault, "InternalError")
            return _reply(request, status, {}, f"<Error><Code>{code}</Code></Error>".encode())
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream_port, timeout=30)
        headers = {name: value for name, value in request.headers.items() if name.lower() != "connection"}
        connection.request(request.command, request.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        sent = {k: v for k, v in answer.getheaders() if k.lower() not in {"transfer-encoding", "content-length"}}
        length = answer.getheader("Content-Length") if request.command == "HEAD" else str(len(content))
        if fault == "lost":
            request.connection.shutdown(socket.SHUT_RDWR)
            raise ConnectionAbortedError
        if fault == "cut":
            return _reply(request, answer.status, sent, content[: len(content) // 2], length=length, close=True)
        return _reply(request, answer.status, sent, content, length=length, drops=8 if fault == "slow" else 1)


def _reply(
    request: http.server.BaseHTTPRequestHandler,
    status: int,
    headers: dict[str, str],
    content: bytes,
    *,
    length: str | None = None,
    close: bool = False,
    drops: int = 1,
) -> None:
    request.send_response_only(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.send_header("Content-Length", length or str(len(content)))
    request.end_headers()
    if request.command != "HEAD":
        for drop in range(drops):
            request.wfile.write(content[drop * len(content) // drops : (drop + 1) * len(content) // drops])
            request.wfile.flush()
            time.sleep(0.02 if drops > 1 else 0)
    request.wfile.flush()
    if close:
        request.close_connection = True
        request.connection.shutdown(socket.SHUT_RDWR)


def _wait_for(port: int) -> None:
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"no server on port {port}")


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    pytest.importorskip("moto.server", reason="needs the development dependency moto[server]")
    pytest.importorskip("boto3", reason='needs: pip install "lookonce[s3]"')
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def s3(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObsLikeProxy]:
    """The proxy before an empty bucket `bucket`; the environment leads there."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "S3_", "OBS_", "LOOKONCE_BROUGHT"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    _moto(s3_server.port, "POST", "/moto-api/reset")
    _moto(s3_server.port, "PUT", "/bucket")
    proxy = ObsLikeProxy(s3_server.port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
    yield proxy
    proxy.down()


def _moto(port: int, method: str, path: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path)
    assert connection.getresponse().status == 200
