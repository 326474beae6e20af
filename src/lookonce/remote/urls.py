"""URLs of sources. User name and password are sent as basic authentication; shown.py masks them."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

if TYPE_CHECKING:
    from urllib.request import Request

HTTP = ("http", "https")
# Protocols that FFmpeg opens. Its others (file, concat, subfile ...) are not network sources.
STREAMS = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "tcp", "udp")
NO_HEADERS: Mapping[str, str] = MappingProxyType({})


def is_url(text: str) -> bool:
    """Whether `text` starts with the scheme of a URL that can be opened."""
    scheme, mark, _ = text.partition("://")
    return bool(mark) and scheme.lower() in (*HTTP, *STREAMS)


def without_password(url: str) -> str:
    """The URL with its password replaced by ***, for messages and result files."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{host}"))


def request_of(url: str, headers: Mapping[str, str] = NO_HEADERS) -> Request:
    """The request; user name and password of the URL are sent as basic authentication, as browsers do."""
    from urllib.request import Request

    parts = urlsplit(url)
    request = Request(without_credentials(url), headers=dict(headers))
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {b64encode(pair.encode()).decode()}")
    return request


def without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
