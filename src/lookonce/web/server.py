"""Serves a written page, or one that is made anew for each request, on this machine only."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from lookonce.errors import SettingsError
from lookonce.log import get_logger
from lookonce.web.site import headers

LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = frozenset({LOOPBACK, "::1", "localhost"})
NOT_KEPT = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}
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


def names_this_machine(host: str) -> bool:
    """Whether the header Host, with or without a port, is a name of this machine. A page of another site whose name has
    come to mean this machine (DNS rebinding) has the browser send that name."""
    try:
        return urlsplit(f"//{host}").hostname in LOOPBACK_NAMES
    except ValueError:
        return False


def serving(folder: Path, port: int) -> AbstractContextManager[ThreadingHTTPServer]:
    """A server of the files of `folder`; see `serving_answers`."""

    def answer(address: str) -> tuple[str, bytes] | None:
        path = folder / (unquote(address.partition("?")[0]).removeprefix("/") or "index.html")
        if path.parent != folder or not path.is_file():
            return None
        return CONTENT_TYPES.get(path.suffix, "application/octet-stream"), path.read_bytes()

    return serving_answers(answer, port, headers(folder))


Answer = Callable[[str], tuple[str, bytes] | None]  # path and query of an address -> (content type, content), or None


class Handler(BaseHTTPRequestHandler):
    """Answers of a function, with further headers; None: not found."""

    def __init__(self, *args: Any, answer: Answer, added: Mapping[str, str], **kwargs: Any) -> None:
        self.answer, self.added = answer, added
        super().__init__(*args, **kwargs)

    def do_GET(self) -> None:
        answer = self.answer(self.path) if names_this_machine(self.headers.get("Host", "")) else None
        if answer is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        kind, content = answer
        self.send_response(HTTPStatus.OK)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **self.added}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            with suppress(ConnectionError):  # the browser has left
                self.wfile.write(content)

    def do_HEAD(self) -> None:
        """As curl -I asks, to see the headers."""
        self.do_GET()

    def log_message(self, *_: Any, **__: Any) -> None:
        """Requests are not logged."""


@contextmanager
def serving_answers(answer: Answer, port: int, added: Mapping[str, str] = NOT_KEPT) -> Iterator[ThreadingHTTPServer]:
    """A server of what a function answers, which several threads call, bound to a port of the loopback interface; 0: a
    free one. `serve_forever` answers."""
    with _bound(port, partial(Handler, answer=answer, added=added)) as server:
        yield server


def serve_until_interrupted(server: ThreadingHTTPServer) -> None:
    """Answer until Ctrl-C; the address is logged."""
    get_logger().info(f"open http://{LOOPBACK}:{server.server_port}/ in a browser; Ctrl-C ends the server")
    with suppress(KeyboardInterrupt):
        server.serve_forever()


def require_free_port(port: int) -> None:
    """SettingsError if a server could not be bound to the port: known before the work of making what it serves."""
    _bound(port, BaseHTTPRequestHandler).server_close()


def _bound(port: int, handler: Callable[..., BaseHTTPRequestHandler]) -> ThreadingHTTPServer:
    try:
        return ThreadingHTTPServer((LOOPBACK, port), handler)
    except (OSError, OverflowError) as error:
        problem = f"cannot be used ({error}); expected a free port, or 0 to choose one"
        raise SettingsError.of("port", port, problem) from error
