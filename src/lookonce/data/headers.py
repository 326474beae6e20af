"""Sizes and existence of many image files, without decoding them."""

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.data.decoders import TruncatedImage
from lookonce.data.findings import Finding, Report
from lookonce.data.images import image_size_wh
from lookonce.data.shards import SUFFIX, names_in_shard
from lookonce.data.stored import stored_in
from lookonce.errors import DataError
from lookonce.storage import read_text_file

_THREADS = 8  # they wait for the disk or the network; parsing a header takes microseconds


def header_sizes_wh(paths: Sequence[Path], report: Report) -> NDArray[np.int32]:
    """(N, 2) upright pixels from the files' headers; (0, 0) for damaged files, which are reported here, and for missing
    files, which `report_missing` reports."""

    def size_or_error(path: Path) -> tuple[int, int] | DataError:
        try:
            return image_size_wh(path)
        except DataError as error:
            return (0, 0) if isinstance(error.__cause__, FileNotFoundError) else error

    sizes = np.zeros((len(paths), 2), dtype=np.int32)
    with ThreadPoolExecutor(_THREADS) as pool:
        for row, result in enumerate(pool.map(size_or_error, paths)):
            if isinstance(result, DataError):
                report(unreadable(paths[row], result))
            else:
                sizes[row] = result
    return sizes


def stated_or_header_sizes_wh(
    stated_wh: Sequence[tuple[int, int]], paths: Sequence[Path], report: Report
) -> NDArray[np.int32]:
    """(N, 2) pixels: the sizes that annotations state, those of the files' headers where they state none, (0, 0)."""
    sizes = np.array(stated_wh, dtype=np.int32).reshape(-1, 2)
    unknown = np.flatnonzero((sizes == 0).any(axis=1))
    sizes[unknown] = header_sizes_wh([paths[row] for row in unknown.tolist()], report)
    return sizes


def unreadable(path: Path, error: Exception) -> Finding:
    """The finding for an image file that cannot be read."""
    name = "truncated-image" if isinstance(error, TruncatedImage) else "unreadable-image"
    return Finding(name=name, file=str(path), message=str(error))


def missing_rows(paths: Sequence[Path]) -> list[int]:
    """Rows of the paths that do not exist. Each folder is listed once: on a network disk, a query per file takes
    minutes."""
    listed: dict[str, set[str]] = {}
    missing = []
    for row, path in enumerate(paths):
        folder, _, name = str(path).rpartition(os.sep)  # a third of the time of path.parent and path.name
        if folder not in listed:
            listed[folder] = _names_in(path.parent)
        if name not in listed[folder]:
            missing.append(row)
    return missing


def _names_in(folder: Path) -> set[str]:
    if folder.suffix == SUFFIX:
        return names_in_shard(folder)
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries} | stored_in(folder)
    except (OSError, ValueError):  # no such folder, or a name that cannot be one
        return set()


def report_missing(paths: Sequence[Path], origin: Path, report: Report) -> None:
    """Report each image file that does not exist. origin: the folder or file that lists it, of a .txt with the line."""
    missing = missing_rows(paths)
    count = f" ({len(missing)} of {len(paths)} are missing)" if len(missing) > 1 else ""
    listed = read_text_file(origin).splitlines() if missing and origin.suffix.lower() == ".txt" else []
    lines = {re.split(r"[/\\]", line.strip())[-1]: number for number, line in enumerate(listed, start=1)}
    for row in missing:
        number = lines.get(paths[row].name) or lines.get(paths[row].stem)  # VOC lists names without a suffix
        named = f"line {number} of {origin} names it" if number else f"the annotations of {origin} name it"
        problem = f"no such image file, though {named}{count}; restore it, or correct the image folder"
        report(Finding.at("missing-image", paths[row], problem))
