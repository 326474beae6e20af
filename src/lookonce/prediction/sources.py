"""Which pictures `predict SOURCE` means: a file, a folder, a pattern, a list of paths, or standard input."""

import glob
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.data.pictures import PICTURE_SUFFIXES, read_picture
from lookonce.errors import DataError

LIST_SUFFIX = ".txt"


@dataclass(frozen=True, kw_only=True)
class PictureSource:
    """One picture that has not been read yet.

    name: what errors and result files call it; place: the path under which results of it are kept, relative and
    different for each picture of one SOURCE; content: its bytes where it is not a file.
    """

    name: str
    place: Path
    path: Path | None = None
    content: bytes | None = None

    def read(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, upright; DataError when it cannot be read as a picture."""
        return read_picture(self.content if self.path is None else self.path, name=self.name)  # type: ignore[arg-type]


def find_pictures(source: str | Path) -> list[PictureSource]:
    """The pictures that SOURCE names, in the order of their names (of a list file: in its order), at least one.

    A folder is searched with all its subfolders, for files with the suffix of a picture; a pattern (`*`, `?`, `[...]`,
    `**` for any folders) takes every file that fits; a `.txt` file holds one path a line, from the folder it lies in
    or from the working folder; `-` is one picture's bytes on standard input.
    """
    text = str(source)
    if text == "-":
        return [PictureSource(name="standard input", place=Path("stdin.jpg"), content=sys.stdin.buffer.read())]
    path = Path(source)
    if path.is_dir():
        return _in_folder(path)
    if path.suffix.lower() == LIST_SUFFIX and path.is_file():
        return _in_list(path)
    if path.exists():
        return [PictureSource(name=text, place=Path(path.name), path=path)]
    if glob.has_magic(text):
        return _fitting(text)
    raise DataError(f"{text}: no such file or folder; expected a picture, a folder, a pattern, a .txt list or -")


def _in_folder(folder: Path) -> list[PictureSource]:
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in PICTURE_SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    if not found:
        raise DataError(f"{folder}: no pictures in it; looked for {', '.join(sorted(PICTURE_SUFFIXES))}")
    return _from_paths(sorted(found), folder)


def _fitting(pattern: str) -> list[PictureSource]:
    found = sorted(Path(name) for name in glob.glob(pattern, recursive=True) if Path(name).is_file())  # noqa: PTH207
    if not found:
        raise DataError(f"{pattern}: no file fits this pattern")
    return _from_paths(found, None)


def _in_list(listing: Path) -> list[PictureSource]:
    lines = [line.strip() for line in listing.read_text(encoding="utf-8-sig").splitlines()]
    paths = [Path(line) for line in lines if line]
    if not paths:
        raise DataError(f"{listing}: is empty; expected the path of a picture on each line")
    return _from_paths([_listed(path, listing.parent) for path in paths], None)


def _listed(path: Path, folder: Path) -> Path:
    beside = folder / path
    return beside if beside.exists() else path


def _from_paths(paths: Sequence[Path], folder: Path | None) -> list[PictureSource]:
    """Places as in the folder; else the names alone, and with a number in front where two are alike."""
    places = [path.relative_to(folder) if folder else Path(path.name) for path in paths]
    if len({str(place).casefold() for place in places}) < len(places):
        digits = len(str(len(places)))
        places = [place.with_name(f"{number:0{digits}}-{place.name}") for number, place in enumerate(places, start=1)]
    return [PictureSource(name=str(path), place=place, path=path) for path, place in zip(paths, places, strict=True)]
