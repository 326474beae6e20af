"""What lies in a folder, listed once; and the image that a path written on another machine means."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lookonce.data.annotations import leaves_folder
from lookonce.data.findings import Finding, Report, ignore
from lookonce.data.headers import missing_rows
from lookonce.data.images import IMAGE_SUFFIXES
from lookonce.data.splits import SPELLINGS
from lookonce.data.stored import stored_below
from lookonce.log import get_logger
from lookonce.storage import read_regular_file

# "instances_train2017" -> "train", "2017"
_SPLIT_WORD = re.compile(
    r"(?:^|.*[^a-z])(train|valid|validation|val|dev|test)(?:ing)?(?:[-_]?(\d{4}))?(?:[^a-z].*)?", re.IGNORECASE
)
# Image formats that cameras and programs write and that are not read here; an image that is passed over is reported.
OTHER_IMAGE_SUFFIXES = frozenset(
    {".heic", ".heif", ".hif", ".jxl", ".jxr", ".dng", ".cr2", ".nef", ".arw", ".psd", ".svg", ".tga", ".exr", ".hdr"}
)
_OF_AN_UPLOAD = re.compile(r"^[0-9a-f]{8}-")  # Label Studio puts eight hex digits before the name of an upload
_AMBIGUOUS = ""
_HEAD_BYTES = 1 << 16
_OF_THE_SYSTEM = frozenset({"thumbs.db", "desktop.ini"})  # Windows puts them beside images


def split_word(name: str) -> tuple[str, str, str] | None:
    """`instances_valid2017` -> ("val", "valid", "2017"): the split, the word as written, the year; else None."""
    match = _SPLIT_WORD.fullmatch(name)
    if match is None:
        return None
    return SPELLINGS.get(match[1].lower(), match[1].lower()), match[1], match[2] or ""


def split_in(name: str) -> str | None:
    """The split in a file or folder name, None without one."""
    found = split_word(name)
    return found[0] if found else None


def split_of_folders(path: str) -> str | None:
    """The split in the nearest folder of a relative path that has one in its name."""
    return next(filter(None, map(split_in, reversed(path.split("/")[:-1]))), None)


def head_of(path: Path) -> str:
    """The first 64 KiB of a file, which say what kind of annotations it has; "" if it cannot be read."""
    try:
        return read_regular_file(path, _HEAD_BYTES).decode("utf-8-sig", errors="replace")
    except OSError:
        return ""


class Listing:
    """The files of a folder and its subfolders, also images in object storage, as sorted relative paths with /; without
    hidden files and those of the operating system."""

    def __init__(self, root: Path, depth: int = 64) -> None:
        """depth: levels of folders that are listed."""
        self.root = root
        self._depth = depth

    @cached_property
    def files(self) -> list[str]:
        seen: set[tuple[int, int]] = set()
        found: list[str] = []
        folders = [("", self.root, 1)]
        while folders:
            prefix, folder, level = folders.pop()
            try:
                entries = list(os.scandir(folder))
                inode = folder.stat()
            except (OSError, ValueError):
                continue
            if (inode.st_dev, inode.st_ino) in seen:  # links that lead in a circle
                continue
            seen.add((inode.st_dev, inode.st_ino))
            for entry in entries:
                if entry.name.startswith((".", "__MACOSX")) or entry.name.lower() in _OF_THE_SYSTEM:
                    continue
                with suppress(OSError):  # a link that leads to itself
                    if entry.is_dir():
                        if level < self._depth:
                            folders.append((f"{prefix}{entry.name}/", Path(entry.path), level + 1))
                    elif entry.is_file():
                        found.append(prefix + entry.name)
        return sorted({*found, *stored_below(self.root)})

    def with_suffix(self, *suffixes: str) -> list[str]:
        return [file for file in self.files if file[file.rfind(".") :].lower() in suffixes]

    @cached_property
    def images(self) -> list[str]:
        return self.with_suffix(*IMAGE_SUFFIXES)

    @cached_property
    def other_images(self) -> list[str]:
        return self.with_suffix(*OTHER_IMAGE_SUFFIXES)

    @cached_property
    def by_name(self) -> "Locator":
        return Locator(self.images)

    @cached_property
    def by_stem(self) -> "Locator":
        return Locator(self.images, stems=True)


class Locator:
    """Finds the one file whose path ends like a written path: in the most folders, uniquely or not at all; of an upload
    to Label Studio that is not there, the file with its original name."""

    def __init__(self, files: Iterable[str], *, stems: bool = False) -> None:
        self._stems = stems
        self._by_tail: dict[tuple[str | None, str], str] = {}
        for file in files:
            parts = _parts(file, stem=stems)
            split = split_of_folders(file)
            for start in range(len(parts)):
                tail = "/".join(parts[start:])
                for key in {(None, tail), (split, tail)}:
                    self._by_tail[key] = file if key not in self._by_tail else _AMBIGUOUS

    def find(self, written: str, split: str | None = None) -> str | None:
        """The relative path of the file that `written` means; of files of several splits, that of `split`."""
        if not self._by_tail:
            return None
        parts = _parts(_local(written), stem=self._stems)
        said = split_of_folders("/".join(parts)) or split
        for start in range(len(parts)):
            tail = "/".join(parts[start:])
            for key in (said, tail), (None, tail):
                file = self._by_tail.get(key)
                if file and said in {None, split_of_folders(file) or said}:
                    return file
            if (None, tail) in self._by_tail:
                return None
        original = _OF_AN_UPLOAD.sub("", parts[-1]) if parts else ""
        return self.find(original, said) if original and original != parts[-1] else None


def _local(written: str) -> str:
    """A path as other systems and programs write it, with / and without what is in front of it."""
    if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]+://", written):
        try:
            written = unquote(urlsplit(written).path)
        except ValueError:
            return written
    elif "?d=" in written:  # Label Studio: /data/local-files/?d=folder/image.jpg
        written = unquote(written.partition("?d=")[2])
    return re.sub(r"^[a-zA-Z]:", "", written.replace("\\", "/"))


def _parts(path: str, *, stem: bool) -> tuple[str, ...]:
    """Parts to compare: macOS decomposes accents in names, Windows ignores upper and lower case."""
    parts = [part for part in path.split("/") if part not in {"", ".", ".."}]
    if stem and parts:
        last = parts[-1]
        parts[-1] = last[: last.rfind(".")] if last[last.rfind(".") :].lower() in IMAGE_SUFFIXES else last
    return tuple(unicodedata.normalize("NFC", part).casefold() for part in parts)


def locate_images(
    names: Sequence[str], folder: Path, split: str | None, origin: Path, report: Report, *, stems: bool = False
) -> list[Path | None]:
    """The image files of written names in `folder`.

    A name that is no file there is compared with all that lies in the folder (`Locator`); two names never become one
    file. None: a name that leads out of the folder and is nowhere inside. stems: the names have no suffix; a missing
    image is expected as STEM.jpg in the folder of most others.
    """
    written = [folder / name for name in names]
    paths: list[Path | None] = [*written]
    inside = [row for row, name in enumerate(names) if not leaves_folder(name)]
    missing = {inside[row] for row in missing_rows([written[row] for row in inside])}
    missing |= set(range(len(names))) - set(inside)
    if not missing:
        return paths
    listing = Listing(folder)
    locator = listing.by_stem if stems else listing.by_name
    found = {row: locator.find(names[row], split) for row in missing}
    meant = Counter(file for file in {(names[row], file) for row, file in found.items()})
    times = Counter(file for _, file in meant)
    taken = {str(paths[row]) for row in inside if row not in missing}
    folders = Counter((folder / file).parent for file in found.values() if file)
    usual = folders.most_common(1)[0][0] if folders else folder
    moved = []
    for row, file in found.items():
        if file and times[file] == 1 and str(folder / file) not in taken:
            paths[row] = folder / file
            moved.append(row)
        elif leaves_folder(names[row]):
            paths[row] = None
        elif stems:
            paths[row] = usual / f"{Path(names[row]).name}.jpg"
    if moved and not stems:
        _report_moved(names, paths, moved, origin, report)
    return paths


def _report_moved(
    names: Sequence[str], paths: Sequence[Path | None], moved: list[int], origin: Path, report: Report
) -> None:
    first = min(moved)
    message = (
        f"{origin}: {len(moved)} of {len(names)} image paths are not there as written; found by their file names, for "
        f"example {names[first]!r} as {paths[first]}"
    )
    report(Finding(name="relocated-image", file=str(origin), message=message))
    if report is not ignore:  # the split is read again with a report, which would log it twice
        get_logger().info(message)
