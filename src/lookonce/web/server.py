"""Serves a written page on this machine only, with the headers that threads in the browser need."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
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
    handler = partial(Handler, directory=str(folder), added=headers(folder))
    try:
        server = ThreadingHTTPServer((LOOPBACK, port), handler)
    except (OSError, OverflowError) as error:
        raise SettingsError(
            f"port: {port} cannot be used ({error}); expected a free port, or 0 to choose one",
            setting="port",
            value=port,
        ) from error
    with server:
        yield server
