"""URLs with a user name and password: sent as basic authentication; shown.py masks them in all that is shown."""

import urllib.request
from base64 import b64encode
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import unquote, urlsplit, urlunsplit

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


def request_of(url: str, headers: Mapping[str, str] = NO_HEADERS) -> urllib.request.Request:
    """The request; user name and password of the URL are sent as basic authentication, as browsers do."""
    parts = urlsplit(url)
    request = urllib.request.Request(without_credentials(url), headers=dict(headers))
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {b64encode(pair.encode()).decode()}")
    return request


def without_credentials(url: str) -> str:
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
