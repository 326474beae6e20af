"""Serves a written page, or one that is made anew for each request, on this machine only."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from lookonce.errors import SettingsError
from lookonce.web.site import headers

LOOPBACK = "127.0.0.1"
# Python reads the machine's table of types, which may lack these; a browser refuses modules of another type.
CONTENT_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".wasm": "application/wasm",
    ".html": "text/html",
    ".css": "text/css",
    ".json": "application/json",
    ".txt": "text/plain; charset=utf-8",
}


class Handler(SimpleHTTPRequestHandler):
    """The files of one folder."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | CONTENT_TYPES

    def __init__(self, *args: Any, added: dict[str, str], **kwargs: Any) -> None:
        self.added = added
        super().__init__(*args, **kwargs)

    def end_headers(self) -> None:
        for name, value in self.added.items():
            self.send_header(name, value)
        super().end_headers()

    def list_directory(self, *_: Any, **__: Any) -> None:
        self.send_error(HTTPStatus.NOT_FOUND)

    def log_message(self, *_: Any, **__: Any) -> None:
        """Requests are not logged."""


@contextmanager
def serving(folder: Path, port: int) -> Iterator[ThreadingHTTPServer]:
    """A server of `folder`, bound to a port of the loopback interface; 0: a free one. `serve_forever` answers."""
    with _bound(partial(Handler, directory=str(folder), added=headers(folder)), port) as server:
        yield server


class AnsweringHandler(BaseHTTPRequestHandler):
    """Answers of a function: path and query of the address -> (content type, content), or None: not found."""

    def __init__(self, *args: Any, answer: Callable[[str], tuple[str, bytes] | None], **kwargs: Any) -> None:
        self.answer = answer
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        # A page of another site whose name has come to mean this machine (DNS rebinding) sends that name.
        host = self.headers.get("Host", "").rpartition(":")[0]
        answer = self.answer(self.path) if host in {LOOPBACK, "localhost"} else None
        if answer is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        kind, content = answer
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-cache")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any, **__: Any) -> None:
        """Requests are not logged."""


@contextmanager
def serving_answers(answer: Callable[[str], tuple[str, bytes] | None], port: int) -> Iterator[ThreadingHTTPServer]:
    """Like `serving`, of what a function answers (see AnsweringHandler), which several threads call."""
    with _bound(partial(AnsweringHandler, answer=answer), port) as server:
        yield server


@contextmanager
def _bound(handler: Callable[..., BaseHTTPRequestHandler], port: int) -> Iterator[ThreadingHTTPServer]:
    try:
        server = ThreadingHTTPServer((LOOPBACK, port), handler)
    except (OSError, OverflowError) as error:
        problem = f"cannot be used ({error}); expected a free port, or 0 to choose one"
        raise SettingsError.of("port", port, problem) from error
    with server:
        yield server
