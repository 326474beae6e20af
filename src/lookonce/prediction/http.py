"""SOURCE on the network. Nothing here is used unless SOURCE is a URL."""

import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from fractions import Fraction
from http.client import HTTPException, HTTPResponse
from typing import Literal
from urllib.parse import unquote, urlsplit, urlunsplit

from lookonce.errors import DataError
from lookonce.prediction.byte_stream import MAX_IMAGE_BYTES, images_in
from lookonce.prediction.video import WAIT_SECONDS

HTTP = ("http", "https")
# What FFmpeg opens by itself. Its other protocols (file, concat, subfile ...) are no sources on a network.
STREAMS = ("rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "tcp", "udp")
IMAGE_TYPES = ("image/",)
MOTION_JPEG = "multipart/"


def is_url(text: str) -> bool:
    """Whether it begins as a URL that can be opened."""
    scheme, mark, _ = text.partition("://")
    return bool(mark) and scheme.lower() in (*HTTP, *STREAMS)


def without_password(url: str) -> str:
    """For messages and result files."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username}:***@{host}"))


class HttpResponse:
    """What an HTTP server sends: a picture, a camera's multipart JPEG pictures, or something for FFmpeg."""

    def __init__(self, response: HTTPResponse, name: str) -> None:
        self._response, self._name = response, name
        content_type = response.headers.get_content_type()
        self.kind: Literal["picture", "pictures", "video"] = (
            "picture"
            if content_type.startswith(IMAGE_TYPES)
            else "pictures"
            if content_type.startswith(MOTION_JPEG)
            else "video"
        )
        if self.kind == "video":
            response.close()

    def read(self) -> bytes:
        """The whole of it."""
        with self._response:
            try:
                return self._response.read(MAX_IMAGE_BYTES)
            except (OSError, HTTPException) as error:
                raise DataError(f"{self._name}: broke off: {error}", path=self._name) from error

    def pictures(self) -> Iterator[tuple[Fraction, bytes]]:
        """Seconds since the first, and the bytes of each picture, until the server ends."""
        started = time.monotonic()
        with self._response:
            try:
                for content in images_in(self._response, multipart=True):
                    yield Fraction(time.monotonic() - started).limit_denominator(90_000), content
            except (OSError, HTTPException) as error:
                raise DataError(f"{self._name}: broke off: {error}", path=self._name) from error


def open_url(url: str) -> HttpResponse | None:
    """The server's answer; None for the protocols that FFmpeg speaks alone. DataError when there is no good answer."""
    if urlsplit(url).scheme.lower() not in HTTP:
        return None
    name = without_password(url)
    try:
        response = urllib.request.urlopen(_request(url), timeout=WAIT_SECONDS)
    except urllib.error.HTTPError as error:
        raise DataError(f"{name}: the server answers {error.code} {error.reason}", path=name) from error
    except (OSError, HTTPException, ValueError) as error:
        raise DataError(f"{name}: cannot be reached: {getattr(error, 'reason', error)}", path=name) from error
    return HttpResponse(response, name)


def _request(url: str) -> urllib.request.Request:
    """Name and password of the URL go into a header (basic authentication), as browsers and cameras have it."""
    parts = urlsplit(url)
    request = urllib.request.Request(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        request.add_header("Authorization", f"Basic {b64encode(pair.encode()).decode()}")
    return request
