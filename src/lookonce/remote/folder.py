"""A folder of results on a disk or in object storage, with the same functions for both."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from lookonce.remote.objects import Location, is_remote
from lookonce.remote.store import open_store
from lookonce.storage import make_folder, new_file, os_errors_explained, temporary_folder


class Folder:
    """A folder on a disk, made when its first file is written. Files in it appear when they are complete."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __str__(self) -> str:
        return str(self._folder)

    def size(self, name: str) -> int | None:
        """Bytes of a file, None if it is not there."""
        path = self._folder / name
        with os_errors_explained(path):
            return path.stat().st_size if path.exists() else None

    def names(self, folder: str) -> list[str]:
        """The files in a folder of it; "": in itself."""
        with os_errors_explained(self._folder / folder):
            return [path.name for path in (self._folder / folder).glob("*")]

    def read(self, name: str) -> bytes:
        """A file that is there."""
        with os_errors_explained(self._folder / name):
            return (self._folder / name).read_bytes()

    def write(self, name: str, text: str) -> None:
        """A small file."""
        self.write_pieces(name, [text.encode()])

    def write_pieces(self, name: str, pieces: Iterable[bytes]) -> None:
        """A file of any size."""
        path = self._folder / name
        make_folder(path.parent)
        with new_file(path) as file:
            file.writelines(pieces)

    def remove(self, name: str) -> None:
        """A file, or a folder with its files; nothing if it is not there."""
        path = self._folder / name
        with os_errors_explained(path):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)  # another process may write into it
            else:
                path.unlink(missing_ok=True)

    def remove_leftovers(self, name: str) -> None:
        """What killed writers of a file have left beside it."""
        for path in self._folder.glob(f".{name}.*.new"):
            path.unlink(missing_ok=True)


class FolderInStore(Folder):
    """The same below an address of object storage."""

    def __init__(self, location: Location) -> None:
        self._location, self._store = location, open_store()

    def __str__(self) -> str:
        return str(self._location)

    def size(self, name: str) -> int | None:
        place = self._location / name
        return next((entry.size for entry in self._store.entries(place) if entry.location == place), None)

    def names(self, folder: str) -> list[str]:
        return [entry.name for entry in self._store.entries(self._location / folder if folder else self._location)]

    def read(self, name: str) -> bytes:
        return self._store.get_text(self._location / name).encode()

    def write(self, name: str, text: str) -> None:
        self._store.put_text(text, self._location / name)

    def write_pieces(self, name: str, pieces: Iterable[bytes]) -> None:
        with temporary_folder() as folder:
            path = folder / "joined"
            with path.open("wb") as file:
                file.writelines(pieces)
            self._store.upload(path, self._location / name)

    def remove(self, name: str) -> None:
        self._store.delete(self._store.entries(self._location / name))

    def remove_leftovers(self, name: str) -> None:
        """An upload that was not completed is no object."""


def open_folder(place: str | Path) -> Folder:
    """The folder at a path or an address."""
    return FolderInStore(Location.parse(str(place))) if is_remote(place) else Folder(Path(place))
