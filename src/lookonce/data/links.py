"""Symbolic links that lead out of a data set: a data set from elsewhere could show any file of this machine."""

import os
from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from lookonce.data.findings import Finding, Report


def report_links(paths: Sequence[Path], root: Path, report: Report) -> None:
    """Report each image of a data set in `root` that is read through a link to a place outside it.

    `root` may be a link itself. An image outside it, which annotations or a list name, must not leave its own folder.
    """
    for path, link in links_that_leave(paths, root):
        message = (
            f"{link}: a link that leads out of {root}, to {os.path.realpath(link)}; expected images inside that "
            "folder; to read what such links lead to, set --follow-links"
        )
        report(Finding(name="link-outside-folder", file=str(path), message=message))


def links_that_leave(paths: Sequence[Path], root: Path) -> Iterator[tuple[Path, Path]]:
    """(image, link): the image itself, or a folder that it is in.

    Each folder is listed once: on a network disk, a query per file takes minutes.
    """
    folders: dict[str, tuple[Path, Path | None, set[str]]] = {}
    for path in paths:
        folder, _, name = str(path).rpartition(os.sep)
        if folder not in folders:
            folders[folder] = (*_home_of(path.parent, root), _links_in(path.parent))
        home, link, links = folders[folder]
        if link is not None:
            yield path, link
        elif name in links and not _real(path).is_relative_to(home):
            yield path, path


def _home_of(folder: Path, root: Path) -> tuple[Path, Path | None]:
    """Where the files of a folder have to lie, and the link by which the folder itself leads elsewhere."""
    top, written = (Path(os.path.normpath(path.absolute())) for path in (root, folder))
    if not written.is_relative_to(top):
        return _real(written), None
    home = _real(top)
    places = accumulate(written.relative_to(top).parts, Path.joinpath, initial=top)
    return home, next((place for place in places if not _real(place).is_relative_to(home)), None)


def _real(path: Path) -> Path:
    """Where links lead; Path.resolve raises RuntimeError for one that leads to itself."""
    return Path(os.path.realpath(path))


def _links_in(folder: Path) -> set[str]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name for entry in entries if entry.is_symlink()}
    except (OSError, ValueError):  # no such folder, a shard, or a name that cannot be one
        return set()
