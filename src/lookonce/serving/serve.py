"""`lookonce serve`: a server of detections; options.py has its options and help."""

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module

from lookonce.errors import MissingExtra, SettingsError
from lookonce.layout import Printed
from lookonce.request import takes
from lookonce.serving.options import ServeRequest, is_loopback, require_zmq_for_few
from lookonce.settings.names import counted

TOKEN = "LOOKONCE_TOKEN"
BACKLOG = 2048  # connections that wait to be accepted, as uvicorn's default


@dataclass(frozen=True, kw_only=True)
class Served(Printed):
    """What a server has done; models: their names."""

    models: Sequence[str]
    num_requests: int


@takes(ServeRequest)
def serve(request: ServeRequest) -> Served:
    token = required_token(request)
    if request.zmq:
        require_zmq_for_few(request.zmq, insecure=request.insecure)
    try:
        from lookonce.serving.json_log import json_log
        from lookonce.serving.running import run

        if request.zmq:
            import_module("lookonce.serving.doors.frigate")
    except ModuleNotFoundError as error:
        feature, extra = ("lookonce serve --zmq", "zmq") if error.name == "zmq" else ("lookonce serve", "serve")
        raise MissingExtra(feature, extra) from error
    weights = request.named_weights
    with listening(request.host, request.port) as listener, json_log() if request.json_log else nullcontext():
        return Served(models=list(weights), num_requests=run(request, weights, token, listener))


def required_token(request: ServeRequest) -> str:
    """The token, "" for none; SettingsError where others could ask without one."""
    token = os.environ.get(TOKEN, "")
    if not token and not is_loopback(request.host) and not request.insecure:
        problem = f"reachable for others, and {TOKEN} is not set; set it to a secret"
        raise SettingsError.of("host", request.host, f"{problem}, or add --insecure to let everybody ask")
    return token


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens; SettingsError if the address cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        is_port = isinstance(error, OSError) and error.errno in (errno.EADDRINUSE, errno.EACCES)
        setting, value = ("port", port) if is_port else ("host", host)
        problem = f"cannot be used ({error}); expected a free port of an address of this machine"
        raise SettingsError.of(setting, value, problem) from error
    with listener:
        yield listener


def as_text(served: Served) -> Iterator[str]:
    yield f"{counted(served.num_requests, 'request')} answered"
