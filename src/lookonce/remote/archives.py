"""Unpacks archives safely: names, types and sizes are checked before the first byte is written."""

import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from lookonce.errors import DataError
from lookonce.storage import os_errors_explained, require_space

MAX_FILES = 5_000_000
MAX_RATIO = 200  # images and annotation files shrink to a twentieth at best, zip bombs to a thousandth
MIN_SUSPECT_BYTES = 1 << 20  # smaller entries may have any ratio


def unzip(archive: Path, folder: Path, on_files: Callable[[int, int], None] | None = None) -> None:
    """Unpacks a .zip into `folder`, which must not exist and appears when it is complete.

    Raises DataError, before anything is written, for an entry that leaves the folder, is a link, is encrypted, or is
    compressed more than MAX_RATIO times. on_files(done, total) is called after each file.
    """
    if folder.exists():
        raise DataError(
            f"{folder}: exists already, not from this {archive.name}; remove it or move it away, and repeat",
            path=folder,
        )
    try:
        packed = zipfile.ZipFile(archive)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError.at(archive, f"not a readable zip file ({error}); copy or download it again") from error
    with packed:
        entries = packed.infolist()
        for entry in entries:
            _require_harmless(entry, archive)
        if len(entries) > MAX_FILES:
            raise DataError.at(archive, f"{len(entries):,} entries; expected at most {MAX_FILES:,}, in one data set")
        require_space(folder, sum(entry.file_size for entry in entries), f"the content of {archive.name}")
        unfinished = folder.with_name(f".{folder.name}.unpacking")
        shutil.rmtree(unfinished, ignore_errors=True)
        for done, entry in enumerate(entries, start=1):
            _extract(packed, entry, unfinished, archive)
            if on_files is not None:
                on_files(done, len(entries))
        unfinished.mkdir(parents=True, exist_ok=True)
        unfinished.rename(folder)


def _require_harmless(entry: zipfile.ZipInfo, archive: Path) -> None:
    name = entry.filename
    parts = PurePosixPath(name.replace("\\", "/")).parts
    problem = ""
    if not parts or name.startswith(("/", "\\")) or ".." in parts or ":" in parts[0] or "\0" in name:
        problem = "leads outside the folder"
    elif stat.S_ISLNK(entry.external_attr >> 16):
        problem = "is a link"
    elif entry.flag_bits & 1:
        problem = "is encrypted"
    elif entry.file_size > MIN_SUSPECT_BYTES and entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
        problem = f"unpacks from {entry.compress_size:,} to {entry.file_size:,} bytes"
    if problem:
        raise DataError.at(archive, f"its entry {name!r} {problem}; nothing was unpacked")


def _extract(packed: zipfile.ZipFile, entry: zipfile.ZipInfo, folder: Path, archive: Path) -> None:
    target = folder / PurePosixPath(entry.filename.replace("\\", "/"))
    with os_errors_explained(target):
        if entry.is_dir():
            target.mkdir(parents=True, exist_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Reads at most file_size bytes and verifies the CRC at the end.
            with packed.open(entry) as source, target.open("wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
        except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
            raise DataError.at(archive, f"its entry {entry.filename!r} is damaged ({error}); copy it again") from error
