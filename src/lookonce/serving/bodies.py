"""The image of a request: raw bytes, a form's file, or base64 or a URL in JSON; and the options beside it."""

import base64
import binascii
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from lookonce.errors import DataError, LookonceError, SettingsError
from lookonce.parsed import parse_json
from lookonce.remote.urls import HTTP, NO_HEADERS, request_of, without_password
from lookonce.serving.gate import too_long
from lookonce.serving.refusals import Refused

FORM, JSON = "multipart/form-data", "application/json"
CURLS = "application/x-www-form-urlencoded"  # what curl -d and --data-binary send
RAW = ("image/", "application/octet-stream", CURLS)  # content types of an image file as the body
MOST_FIELDS = 20
CHUNK_BYTES = 1 << 16
SECONDS_WITHOUT_DATA = 5.0


@dataclass(frozen=True, kw_only=True)
class Upload:
    """content: the file's bytes, None if there is none; name: of the file; fields: the other fields."""

    content: bytes | None
    name: str = "image"
    fields: Mapping[str, Any] = field(default_factory=dict)


async def upload_of(request: Request, *, takes_json: bool = True) -> Upload:
    """The body of a request; DataError or Refused (415) for one that cannot be used."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == FORM:
        return await _form_of(request)
    if kind == JSON and takes_json:
        fields = json_object(await request.body())
        return Upload(content=from_base64(fields.pop("image", None)), fields=fields)
    if not kind or kind.startswith(RAW):
        content = await request.body()
        if kind == CURLS and content:
            _require_whole(content, takes_json=takes_json)
        return Upload(content=content or None)
    expected = f"an image type, {FORM}{f' or {JSON}' if takes_json else ''}"
    raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"Content-Type: {kind}; expected {expected}", value=kind)


def _require_whole(content: bytes, *, takes_json: bool) -> None:
    """DataError for what curl -d makes of JSON, of a name, and of a file, from which it drops these bytes."""
    if takes_json and content.lstrip().startswith(b"{"):
        raise DataError(f"body: JSON with the Content-Type {CURLS}; with curl: -H 'Content-Type: {JSON}'")
    if not any(byte in content for byte in b"\0\r\n"):
        raise DataError("body: no complete image file; with curl: --data-binary @photo.jpg")


def json_object(body: bytes) -> dict[str, Any]:
    """The JSON object; DataError for anything else."""
    try:
        value = parse_json(body)
    except ValueError as error:
        raise DataError(f"body: is not JSON ({error}); expected an object") from error
    if not isinstance(value, dict):
        raise DataError(f"body: {type(value).__name__}; expected a JSON object")
    return value


def from_base64(text: Any) -> bytes | None:
    """The bytes of base64 text or of a data URL; None stays None."""
    if text is None:
        return None
    try:
        return base64.b64decode("".join(str(text).rpartition(",")[2].split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise DataError(f"image: is not base64 ({error}); expected the file's bytes in base64") from error


class _InMemory(MultiPartParser):
    spool_max_size = 1 << 62  # the body is limited already; nothing is written to the disk

    def close(self) -> None:
        """Close all files: of a body cut short, the last is not in the form."""
        for file in self._files_to_close_on_error:
            file.close()


async def _form_of(request: Request) -> Upload:
    parser = _InMemory(request.headers, request.stream(), max_files=1, max_fields=MOST_FIELDS)
    with closing(parser):
        try:
            form = await parser.parse()
        except MultiPartException as error:
            told = f"form: {error.message}; expected one file and at most {MOST_FIELDS} fields"
            raise DataError(told) from error
        fields = {name: value for name, value in form.multi_items() if isinstance(value, str)}
        files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
        for name in {"file", "image"} & fields.keys():  # curl -F file=photo.jpg, without its @, sends the name
            raise DataError(f"{name}: a text; expected a file; with curl: -F {name}=@photo.jpg")
        content = await files[0].read() if files else None
        name = (files and files[0].filename) or "image"
        return Upload(content=content or None, name=name, fields=fields)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None  # the error that names the redirect's status follows


def fetch(
    url: str, hosts: Collection[str], *, max_bytes: int, seconds: float, headers: Mapping[str, str] = NO_HEADERS
) -> bytes:
    """The content of a URL on one of these hosts ("*": any). Redirects are not followed.

    Refused (403): the host is not among them; DataError: not reachable, or no answer within the seconds.
    """
    parts, name, end = _split(url), without_password(url), time.monotonic() + seconds
    if not {"*", parts.hostname} & {host.lower() for host in hosts}:
        told = f"url: {name}; expected a host of --allow-urls ({', '.join(hosts) or 'none'})"
        raise Refused(HTTPStatus.FORBIDDEN, told, setting="url", value=name)
    content = bytearray()
    try:
        opener = urllib.request.build_opener(_NoRedirects)
        with opener.open(request_of(url, headers), timeout=min(seconds, SECONDS_WITHOUT_DATA)) as response:
            while chunk := response.read1(CHUNK_BYTES):
                content += chunk
                if len(content) > max_bytes:
                    raise too_long(max_bytes)
                if time.monotonic() > end:
                    raise TimeoutError
    except LookonceError:  # a ValueError too
        raise
    except urllib.error.HTTPError as error:
        with error:
            raise DataError.at(name, f"HTTP status {error.code}; expected 200") from error
    except (OSError, HTTPException, ValueError) as error:
        late = f"not complete within {seconds:g} seconds"  # also if one read took all of them
        reason = late if time.monotonic() > end else getattr(error, "reason", error)
        raise DataError.at(name, f"not reachable: {reason}") from error
    return bytes(content)


def _split(url: str) -> Any:
    try:
        parts = urlsplit(url)
        if parts.scheme in HTTP and parts.hostname:
            return parts
    except ValueError:
        pass
    raise SettingsError(f"url: {url!r}; expected http:// or https:// and a host", setting="url", value=url)
