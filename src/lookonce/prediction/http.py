"""Opens a SOURCE that is a URL. No other SOURCE imports this module, which takes 0.08 s."""

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.client import HTTPException, HTTPResponse
from typing import Literal
from urllib.parse import urlsplit

from lookonce.errors import DataError
from lookonce.prediction.byte_stream import images_in, max_image_bytes
from lookonce.prediction.video import WAIT_SECONDS, seconds_since
from lookonce.remote.urls import HTTP, request_of, without_password
from lookonce.storage import stand_in

IMAGE_TYPES = ("image/",)
MOTION_JPEG = "multipart/"
PAUSES_SECONDS = (1.0, 3.0, None)  # after each attempt to fetch an image; None: it was the last
PASSING = (408, 425, 429)  # HTTP statuses below 500 that are worth another attempt


class HttpResponse:
    """Response of an HTTP server: an image, multipart JPEG images (MJPEG camera), or a video for FFmpeg.

    num_bytes: of a file; None for a stream, whose end the server does not know.
    """

    def __init__(self, response: HTTPResponse, name: str) -> None:
        self._response, self._name = response, name
        content_type = response.headers.get_content_type()
        self.kind: Literal["image", "images", "video"] = (
            "image"
            if content_type.startswith(IMAGE_TYPES)
            else "images"
            if content_type.startswith(MOTION_JPEG)
            else "video"
        )
        self.num_bytes = response.length
        if self.num_bytes == 0:
            raise DataError.at(name, "is empty (0 bytes); copy it to the server again")
        if self.kind == "video":
            if content_type == "text/html" and stand_in(self._start()):
                problem = "is a web page; expected the address of an image, a video or a camera's stream"
                raise DataError.at(name, problem)
            response.close()

    def _start(self) -> bytes:
        with _received(self._response, self._name) as response:
            return response.read(256)

    def read(self) -> bytes:
        return _whole(self._response, self._name)

    def images(self) -> Iterator[tuple[Fraction, bytes]]:
        """Seconds since the start and the bytes of each image, until the server closes the connection."""
        started = time.monotonic()
        with _received(self._response, self._name) as response:
            for content in images_in(response, multipart=True):
                yield seconds_since(started), content


def open_url(url: str) -> HttpResponse | None:
    """Response of an HTTP server; None for other protocols, which FFmpeg opens. DataError when the request fails."""
    if urlsplit(url).scheme.lower() not in HTTP:
        return None
    name = without_password(url)
    return HttpResponse(_answered(url, name), name)


def fetch(url: str) -> bytes:
    """The image at an http:// or https:// URL, of whatever type the server calls it. DataError after three attempts, or
    at once if the server answers that the URL is wrong."""
    name = without_password(url)
    for pause in PAUSES_SECONDS:
        try:
            return _whole(_answered(url, name), name)
        except DataError as error:
            status = getattr(error.__cause__, "code", None)
            if pause is None or (status is not None and status < 500 and status not in PASSING):
                raise
        time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _answered(url: str, name: str) -> HTTPResponse:
    try:
        response: HTTPResponse = urllib.request.urlopen(request_of(url), timeout=WAIT_SECONDS)
    except urllib.error.HTTPError as error:
        raise DataError.at(name, f"the server returned HTTP status {error.code} {error.reason}") from error
    except (OSError, HTTPException, ValueError) as error:
        raise DataError.at(name, f"not reachable: {getattr(error, 'reason', error)}") from error
    return response


def _whole(response: HTTPResponse, name: str) -> bytes:
    with _received(response, name):
        return response.read(max_image_bytes())


@contextmanager
def _received(response: HTTPResponse, name: str) -> Iterator[HTTPResponse]:
    with response:
        try:
            yield response
        except (OSError, HTTPException) as error:
            raise DataError.at(name, f"connection lost: {error}") from error
