"""Chooses the client of object storage: the S3 protocol, or moxing on request.

moxing is Huawei's library; only ModelArts' container images contain it. In some of them only moxing has credentials for
OBS. It is imported only if LOOKONCE_MOXING=1.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any

from lookonce.log import is_on
from lookonce.remote.objects import Entry, Location, ObjectStore, RemoteError, UnreadableObject, etag_of

ASKED_FOR = "LOOKONCE_MOXING"


def open_store() -> ObjectStore:
    """The client that the environment variables select."""
    return MoxingStore() if is_on(ASKED_FOR) else ObjectStore()


class MoxingStore(ObjectStore):
    """OBS through moxing.file, which retries by itself.

    It reports no checksums: downloads are compared by size, and files uploaded by another process are uploaded again.
    """

    @cached_property
    def _file(self) -> Any:
        try:
            return import_module("moxing").file
        except ImportError as error:
            raise RemoteError(
                f"{ASKED_FOR} selects moxing, which cannot be imported ({error}); only ModelArts' images contain it. "
                "Unset the variable to use OBS through the S3 protocol",
                setting=ASKED_FOR,
            ) from error

    def entries(self, location: Location) -> list[Entry]:
        with _errors_explained(location):
            if not self._file.exists(_address(location)):
                return []
            if not self._file.is_directory(_address(location)):
                return [self._entry(location, location.key.rpartition("/")[2])]
            names = sorted(self._file.list_directory(_address(location), recursive=True))
            folders = {str(parent) for name in names for parent in Path(name).parents}
            files = [name for name in names if not name.endswith("/") and name not in folders]
            return [self._entry(location / name, name) for name in files]

    def _entry(self, location: Location, name: str) -> Entry:
        stat = self._file.stat(_address(location))
        return Entry(location=location, name=name, size=stat.length, etag=f"of {stat.mtime_nsec}")

    def download(self, entry: Entry, path: Path, on_bytes: Callable[[int], None] = lambda _: None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part")
        with _errors_explained(entry.location):
            self._file.copy(_address(entry.location), str(part))
        if part.stat().st_size != entry.size:
            problem = f"{part.stat().st_size:,} of {entry.size:,} bytes were downloaded; try again"
            raise RemoteError.at(str(entry.location), problem)
        part.rename(path)
        on_bytes(entry.size)

    def upload(self, path: Path, location: Location) -> str:
        with _errors_explained(location):
            self._file.copy(str(path), _address(location))
        return etag_of(path)

    def put_text(self, text: str, location: Location) -> None:
        with _errors_explained(location):
            self._file.write(_address(location), text)

    def delete(self, entries: list[Entry]) -> None:
        for entry in entries:
            with _errors_explained(entry.location):
                self._file.remove(_address(entry.location))

    def get(self, location: Location, max_bytes: int) -> bytes:
        try:
            return self._body(location, max_bytes=max_bytes)
        except RemoteError as error:
            with _errors_explained(location):
                is_there = self._file.exists(_address(location))
            if is_there:
                raise
            raise UnreadableObject.at(str(location), "no such object") from error

    def _body(self, location: Location, *, max_bytes: int | None = None, **request: str) -> bytes:
        first, _, last = request.get("Range", "").removeprefix("bytes=").partition("-")
        most = -1 if max_bytes is None else max_bytes + 1
        with _errors_explained(location), self._file.File(_address(location), "rb") as file:
            file.seek(int(first or 0))
            content = bytes(file.read(int(last) + 1 - int(first) if last else most))
        if max_bytes is not None and len(content) > max_bytes:
            raise UnreadableObject.at(str(location), f"too large; expected an image of at most {max_bytes:,} bytes")
        return content


@contextmanager
def _errors_explained(location: Location) -> Iterator[None]:
    try:
        yield
    except RemoteError:
        raise
    except Exception as error:  # moxing's exceptions have no common base class
        raise RemoteError.at(str(location), f"moxing: {error}") from error


def _address(location: Location) -> str:
    return f"obs://{location.bucket}/{location.key}"
