"""A client of S3-compatible storage (Amazon S3, Huawei OBS, MinIO): lists, downloads and uploads objects.

A file appears under its name when it is complete and its checksum is verified; an object appears when its last part is
uploaded. Interrupted downloads and uploads resume where they stopped.
"""

import base64
import hashlib
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any, Self, TypeVar

from lookonce.errors import DataError, LookonceError, needing_extra
from lookonce.log import get_logger

T = TypeVar("T")
ADDRESS = re.compile(r"(?:s3|obs)://?(?!/)(.*)", re.IGNORECASE)
MIB = 1 << 20
PART_BYTES = 8 * MIB
PATIENCE_SECONDS = 300.0
WARN_AFTER_SECONDS = 3.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0
# Environment variables of the clouds; the first one that is set is used.
ENDPOINT = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "S3_ENDPOINT", "OBS_ENDPOINT")
KEY_ID = ("AWS_ACCESS_KEY_ID", "ACCESS_KEY_ID", "OBS_ACCESS_KEY_ID")
SECRET = ("AWS_SECRET_ACCESS_KEY", "SECRET_ACCESS_KEY", "OBS_SECRET_ACCESS_KEY")
TOKEN = ("AWS_SESSION_TOKEN", "SECURITY_TOKEN", "OBS_SECURITY_TOKEN")
REGION = ("AWS_REGION", "AWS_DEFAULT_REGION", "S3_REGION", "OBS_REGION")
# Error codes worth a retry, like every 5xx.
PASSING = {"SlowDown", "RequestTimeout", "RequestTimeTooSkewed", "Throttling", "TooManyRequests", "OperationAborted"}
# Error codes of one object: no such key, a version that was deleted, one in an archive, a key that is too long.
OF_OBJECT = {"NoSuchKey", "NoSuchVersion", "MethodNotAllowed", "InvalidObjectState", "KeyTooLongError"}
DENIED = "AccessDenied"
OF_BUCKET = {"list_objects_v2", "list_multipart_uploads"}  # requests about a bucket; the others have a key


class RemoteError(LookonceError):
    """Object storage refused a request, does not exist, or was unreachable for too long."""


class UnreadableObject(RemoteError):
    """One object that is not there or cannot be read, in a bucket that can be."""


class RemoteAway(RemoteError):
    """The service was unreachable, or returned only temporary errors, until the retry time was over."""


@dataclass(frozen=True, kw_only=True)
class Location:
    """An object, or all objects whose keys begin with `key/`."""

    bucket: str
    key: str = ""

    @classmethod
    def parse(cls, url: str) -> Self:
        """Parses s3://bucket/some/key or obs://...; ignores a final /, and accepts `s3:/` (as Path writes it)."""
        match = ADDRESS.fullmatch(url)
        bucket, _, key = match[1].partition("/") if match else ("", "", "")
        if not bucket:
            raise RemoteError(f"{url}: expected s3://BUCKET/KEY or obs://BUCKET/KEY", path=url)
        return cls(bucket=bucket, key=key.strip("/"))

    def __truediv__(self, name: str) -> Self:
        return replace(self, key=f"{self.key}/{name}" if self.key else name)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An object of a listing. etag: without quotes; name: the key relative to the listed location."""

    location: Location
    name: str
    size: int
    etag: str


def is_remote(place: str | Path) -> bool:
    """Whether a path is the address of an object."""
    return ADDRESS.fullmatch(str(place)) is not None


class ObjectStore:
    """Object storage; endpoint, region and credentials come from the usual environment variables.

    patience_seconds: how long an operation is retried while the service returns 5xx or does not respond, counted from
    the last success.
    """

    def __init__(
        self, environment: Mapping[str, str] | None = None, *, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self.environment = os.environ if environment is None else environment
        self.patience_seconds = patience_seconds
        self._warned = False
        self._connecting = Lock()

    def entries(self, location: Location) -> list[Entry]:
        """All objects at or below a location, sorted by key; folder placeholders are omitted."""
        pages = self._pages("list_objects_v2", location, "ContinuationToken", Prefix=location.key)
        rows = (row for page in pages for row in page.get("Contents", []))
        return [entry for row in rows if (entry := _entry(location, row)) is not None]

    def download(self, entry: Entry, path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> None:
        """Downloads an object to `path`, which appears when it is complete. Resumes an interrupted download.

        on_bytes(n) is called after each n bytes. Raises RemoteError if the content differs from the listing.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        mark = hashlib.sha256(f"{entry.etag} {entry.size}".encode()).hexdigest()[:12]
        part = path.with_name(f".{path.name}.{mark}.part")

        def fetch_the_rest() -> None:
            done = part.stat().st_size
            if done >= entry.size:
                return
            answer = self._client.get_object(
                Bucket=entry.location.bucket,
                Key=entry.location.key,
                Range=f"bytes={done}-{entry.size - 1}",
                IfMatch=f'"{entry.etag}"',
            )
            for piece in answer["Body"].iter_chunks(MIB):
                with part.open("ab") as file:
                    file.write(piece)
                on_bytes(len(piece))

        part.touch()
        on_bytes(part.stat().st_size)
        self._patiently(entry.location, fetch_the_rest, progress=lambda: part.stat().st_size)
        if not agrees(part, entry.size, entry.etag):
            part.unlink()
            problem = f"the downloaded bytes differ from the stored object (ETag {entry.etag}); try again"
            raise RemoteError.at(str(entry.location), problem)
        part.rename(path)

    def upload(self, path: Path, location: Location) -> str:
        """Uploads a file, visible as an object when it is complete; returns the ETag. Resumes an interrupted upload."""
        if path.stat().st_size <= PART_BYTES:
            return self._put(path.read_bytes(), location)
        digests = list(_part_digests(path, PART_BYTES))
        upload, etags = self._upload_to_resume(location, digests)
        with path.open("rb") as file:
            for number, digest in enumerate(digests, start=1):
                content = file.read(PART_BYTES)
                if number not in etags:
                    part = {"UploadId": upload, "PartNumber": number, "Body": content}
                    answer = self._ask("upload_part", location, ContentMD5=base64.b64encode(digest).decode(), **part)
                    etags[number] = answer["ETag"]
        parts = [{"PartNumber": number, "ETag": etag} for number, etag in sorted(etags.items())]
        try:
            self._ask("complete_multipart_upload", location, UploadId=upload, MultipartUpload={"Parts": parts})
        except RemoteAway:
            raise
        except RemoteError:
            # If the upload was completed but the response was lost, the service no longer knows its id.
            if (location, etag_of_parts(digests)) not in {(one.location, one.etag) for one in self.entries(location)}:
                raise
        return etag_of_parts(digests)

    def put_text(self, text: str, location: Location) -> None:
        self._put(text.encode(), location)

    def _put(self, content: bytes, location: Location) -> str:
        """Uploads in one piece; returns the ETag."""
        digest = base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
        answer = self._ask("put_object", location, Body=content, ContentMD5=digest)
        return str(answer["ETag"]).strip('"')

    def get_text(self, location: Location) -> str:
        return self._body(location).decode()

    def delete(self, entries: list[Entry]) -> None:
        """Deletes objects one by one: not every service supports deleting many in one call."""
        for entry in entries:
            self._ask("delete_object", entry.location)

    def read(self, location: Location, start: int, length: int) -> bytes:
        """Reads `length` bytes of an object from offset `start`."""
        return self._body(location, Range=f"bytes={start}-{start + length - 1}")

    def get(self, location: Location, max_bytes: int) -> bytes:
        """Reads an object of at most max_bytes. UnreadableObject: it alone cannot be read; RemoteError: nor can others,
        because of the bucket, the credentials or the network."""
        try:
            return self._body(location, max_bytes=max_bytes)
        except RemoteError as error:
            # Without the right to list the bucket, the service answers "denied" for an object that is not there, too.
            if error.value in OF_OBJECT or (error.value == DENIED and self._is_listed(location.bucket)):
                raise UnreadableObject.at(str(location), error.value, value=error.value) from error
            raise

    def _is_listed(self, bucket: str) -> bool:
        """Whether the bucket exists, and the credentials list its objects."""
        try:
            self._ask("list_objects_v2", Location(bucket=bucket), MaxKeys=1)
        except RemoteAway:
            raise
        except RemoteError:
            return False
        return True

    def _body(self, location: Location, *, max_bytes: int | None = None, **request: str) -> bytes:
        def fetch() -> bytes:
            answer = self._client.get_object(Bucket=location.bucket, Key=location.key, **request)
            size = answer["ContentLength"]
            if max_bytes is not None and size > max_bytes:
                answer["Body"].close()
                problem = f"{size:,} bytes; expected an image of at most {max_bytes:,}"
                raise UnreadableObject.at(str(location), problem)
            return bytes(answer["Body"].read())

        return self._patiently(location, fetch)

    def _upload_to_resume(self, location: Location, digests: list[bytes]) -> tuple[str, dict[int, str]]:
        """(upload id, ETag of each uploaded part) of an interrupted upload of the same bytes, or of a new one."""
        begun = self._ask("list_multipart_uploads", location, Prefix=location.key)
        for upload in (row["UploadId"] for row in begun.get("Uploads", []) if row["Key"] == location.key):
            pages = self._pages("list_parts", location, "PartNumberMarker", UploadId=upload)
            there = {row["PartNumber"]: row["ETag"] for page in pages for row in page.get("Parts", [])}
            hexes = {number: etag.strip('"') for number, etag in there.items()}
            if all(number <= len(digests) and digests[number - 1].hex() == etag for number, etag in hexes.items()):
                return upload, there
            self._ask("abort_multipart_upload", location, UploadId=upload)
        return self._ask("create_multipart_upload", location)["UploadId"], {}

    def _pages(self, method: str, location: Location, marker: str, **request: Any) -> Iterator[Mapping[str, Any]]:
        """The answers to a request that lists in pages. marker: name of the option at which the next page begins."""
        while True:
            page = self._ask(method, location, **request)
            yield page
            if not page.get("IsTruncated"):
                return
            request[marker] = page[f"Next{marker}"]

    def _ask(self, method: str, location: Location, **request: Any) -> Any:
        """The answer to a request of boto3's client about an object, or about its bucket (list_...)."""
        if method not in OF_BUCKET:
            request["Key"] = location.key
        return self._patiently(location, lambda: getattr(self._client, method)(Bucket=location.bucket, **request))

    def _patiently(self, location: Location, operation: Callable[[], T], progress: Callable[[], int] = lambda: 0) -> T:
        """Retries with growing pauses while the error may be temporary; growing `progress` restarts the clock."""
        last_good, level, pause = time.monotonic(), progress(), FIRST_PAUSE_SECONDS
        while True:
            try:
                result = operation()
                self._warned = False
                return result
            except self._errors as error:
                if not self._may_pass(error):
                    raise _refused(error, location) from error
                if progress() > level:
                    last_good, level, pause = time.monotonic(), progress(), FIRST_PAUSE_SECONDS
                waited = time.monotonic() - last_good
                if waited + pause > self.patience_seconds:
                    problem = f"{_words(error)}, for {waited:.0f} seconds; try again later"
                    raise RemoteAway.at(str(location), problem) from error
                if waited > WARN_AFTER_SECONDS and not self._warned:
                    self._warned = True  # once for all waiting threads, until a request succeeds
                    patience = f"retrying for {self.patience_seconds - waited:.0f} more seconds"
                    get_logger().warning(f"{location}: {_words(error)}; {patience}")
            # Random pauses: many nodes that lost the service together must not return at the same moment.
            time.sleep(pause * (0.5 + random.SystemRandom().random()))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _may_pass(self, error: Exception) -> bool:
        answer = getattr(error, "response", None)
        if answer is None:
            from botocore.exceptions import BotoCoreError, NoCredentialsError, PartialCredentialsError

            settled = isinstance(error, (NoCredentialsError, PartialCredentialsError))
            return not settled and (isinstance(error, BotoCoreError) or not isinstance(error, ValueError))
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or answer.get("Error", {}).get("Code") in PASSING

    @cached_property
    def _errors(self) -> tuple[type[Exception], ...]:
        from botocore.exceptions import BotoCoreError, ClientError
        from urllib3.exceptions import HTTPError

        return BotoCoreError, ClientError, HTTPError, ConnectionError, TimeoutError

    @property
    def _client(self) -> Any:
        with self._connecting:  # boto3.client is not safe in several threads; the clients that it makes are
            return self._connected

    @cached_property
    def _connected(self) -> Any:
        with needing_extra("object storage (s3://, obs://)", "s3"):
            import boto3
            from botocore.config import Config
        # OBS refuses the checksums and signed bodies that boto3 sends by default since 1.36; S3 does not need them.
        config = Config(
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"payload_signing_enabled": False},
            retries={"max_attempts": 1, "mode": "standard"},  # retries are done here, for longer
            connect_timeout=10,
            read_timeout=60,
            max_pool_connections=32,
        )
        endpoint = self._first(ENDPOINT)
        return boto3.client(
            "s3",
            endpoint_url=endpoint if endpoint is None or "://" in endpoint else f"https://{endpoint}",
            region_name=self._first(REGION) or "us-east-1",
            aws_access_key_id=self._first(KEY_ID),
            aws_secret_access_key=self._first(SECRET),
            aws_session_token=self._first(TOKEN),
            config=config,
        )

    def _first(self, names: tuple[str, ...]) -> str | None:
        return next((self.environment[name] for name in names if self.environment.get(name)), None)


def require_inside(entry: Entry) -> None:
    """Raises DataError for a name that leads outside the download folder."""
    path = PurePosixPath(entry.name)
    if path.is_absolute() or ".." in path.parts or "\\" in entry.name or ":" in path.parts[0]:
        raise DataError.at(str(entry.location), "its name leads outside the download folder")


def agrees(path: Path, size: int, etag: str) -> bool:
    """Whether a file matches an object's size and, if it is an MD5, its ETag.

    The ETag of an object uploaded in parts of unknown size proves nothing; then only the size is compared (archives
    and checkpoints carry their own checksums).
    """
    return path.stat().st_size == size and (len(etag) != 32 or _hex_md5(path) == etag)


def etag_of_parts(digests: Sequence[bytes]) -> str:
    """The ETag of a file uploaded in parts: the MD5 of the parts' MD5s, a dash, and their number."""
    return f"{hashlib.md5(b''.join(digests), usedforsecurity=False).hexdigest()}-{len(digests)}"


def etag_of(path: Path) -> str:
    """The ETag of a file after `ObjectStore.upload`."""
    is_one = path.stat().st_size <= PART_BYTES
    return _hex_md5(path) if is_one else etag_of_parts(list(_part_digests(path, PART_BYTES)))


def _entry(location: Location, row: Mapping[str, Any]) -> Entry | None:
    key = str(row["Key"])
    name = key.removeprefix(location.key).lstrip("/")
    is_below = not location.key or key == location.key or key.startswith(f"{location.key}/")
    if key.endswith("/") or not is_below:
        return None
    return Entry(
        location=Location(bucket=location.bucket, key=key),
        name=name or key.rpartition("/")[2],
        size=int(row["Size"]),
        etag=str(row["ETag"]).strip('"'),
    )


def _part_digests(path: Path, part_bytes: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while content := file.read(part_bytes):
            yield hashlib.md5(content, usedforsecurity=False).digest()


def _hex_md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _words(error: Exception) -> str:
    answer = getattr(error, "response", {}).get("Error", {})
    return f"{answer['Code']}: {answer.get('Message', '')}".strip(": ") if "Code" in answer else str(error)


def _refused(error: Exception, location: Location) -> RemoteError:
    code = str(getattr(error, "response", {}).get("Error", {}).get("Code", ""))
    advice = "set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL; check the permissions of their user"
    if code in {"NoSuchBucket", "NoSuchKey", "404"}:
        advice = "check bucket and key of the address"
    return RemoteError.at(str(location), f"{_words(error)}; {advice}", value=code)
