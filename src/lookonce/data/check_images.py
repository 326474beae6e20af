"""What the picture files of a data set say: damage, sizes, names, and the same picture twice.

Missing files are told when the annotations are read.
"""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lookonce.data.dataset import Dataset
from lookonce.data.findings import Finding
from lookonce.data.fingerprint import Fingerprint, Likeness, find_likenesses, fingerprint
from lookonce.data.headers import missing_rows, unreadable
from lookonce.data.images import SUFFIXES, ImageHeader, image_header, read_image
from lookonce.data.shards import read_file
from lookonce.data.splits import SPLITS
from lookonce.errors import DataError

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class _ImageRow:
    """A picture of a split, and what its annotation says of its size."""

    path: Path
    split: str
    size_wh: tuple[int, int]
    has_boxes: bool
    missing: bool


@dataclass(frozen=True, kw_only=True)
class _ImageFacts:
    """What one file says. `digest` is of its bytes, empty where it was not read."""

    findings: tuple[Finding, ...] = ()
    digest: bytes = b""
    print: Fingerprint | None = None


def check_pictures(
    datasets: Sequence[Dataset], *, decode: bool, sizes_stated: bool, on_progress: OnProgress | None = None
) -> Iterator[Finding]:
    """decode False: the headers alone. sizes_stated: whether the annotations tell the pictures' sizes themselves."""
    images = _unique_images(datasets)
    yield from _listed_twice(datasets)
    yield from _case_clashes(images)
    looks: list[_ImageFacts] = []
    with ThreadPoolExecutor(min(32, (os.cpu_count() or 1) + 1)) as pool:
        for look in pool.map(lambda picture: _look_at(picture, decode, sizes_stated), images):
            looks.append(look)
            yield from look.findings
            if on_progress:
                on_progress(len(looks), len(images))
    yield from _copies(images, looks)


def _unique_images(datasets: Sequence[Dataset]) -> list[_ImageRow]:
    """Every file once, as in the first split that lists it."""
    first: dict[Path, _ImageRow] = {}
    for dataset in datasets:
        missing = set(missing_rows(dataset.image_paths))
        for row, path in enumerate(dataset.image_paths):
            if path not in first:
                width, height = dataset.image_sizes_wh[row].tolist()
                first[path] = _ImageRow(
                    path=path,
                    split=dataset.split,
                    size_wh=(width, height),
                    has_boxes=bool(dataset.box_offsets[row + 1] > dataset.box_offsets[row]),
                    missing=row in missing,
                )
    return list(first.values())


def _listed_twice(datasets: Sequence[Dataset]) -> Iterator[Finding]:
    """In one split, or in two of train, val and test; VOC's trainval repeats train's on purpose."""
    split_of: dict[Path, str] = {}
    for dataset in datasets:
        seen: set[Path] = set()
        for path in dataset.image_paths:
            if path in seen:
                message = f"{path}: is listed twice in split {dataset.split!r}; it would count twice"
                yield Finding(name="listed-twice", file=str(path), message=message)
            seen.add(path)
        if dataset.split in SPLITS:
            for path in dataset.image_paths:
                first = split_of.setdefault(path, dataset.split)
                if first != dataset.split:
                    message = f"{path}: is in split {first!r} and in {dataset.split!r}; its score would be too good"
                    yield Finding(name="leaked-picture", file=str(path), message=message)


def _case_clashes(images: Sequence[_ImageRow]) -> Iterator[Finding]:
    seen: dict[str, Path] = {}
    for image in images:
        first = seen.setdefault(str(image.path).casefold(), image.path)
        if first != image.path:
            message = f"{image.path}: differs from {first.name} only by upper and lower case"
            yield Finding(name="case-clash-picture", file=str(image.path), message=message, twin=str(first))


def _look_at(image: _ImageRow, decode: bool, sizes_stated: bool) -> _ImageFacts:
    path = image.path
    if image.missing:
        return _ImageFacts()
    try:
        header = image_header(path)
        findings = (*_name_findings(path, header), *_size_findings(image, header, sizes_stated))
        if not decode:
            return _ImageFacts(findings=findings)
        data = read_file(path)
        pixels = read_image(data, name=str(path))
    except (DataError, OSError) as error:
        return _ImageFacts(findings=(unreadable(path, error),))
    return _ImageFacts(findings=findings, digest=hashlib.sha256(data).digest(), print=fingerprint(pixels))


def _name_findings(path: Path, header: ImageHeader) -> Iterator[Finding]:
    if path.suffix.lower() not in SUFFIXES[header.kind]:
        message = f"{path}: is a {header.kind} picture; expected the suffix {SUFFIXES[header.kind][0]}"
        yield Finding(name="wrong-suffix", file=str(path), message=message)


def _size_findings(image: _ImageRow, header: ImageHeader, sizes_stated: bool) -> Iterator[Finding]:
    """An annotation's size against the picture's. Sizes are upright: what a viewer shows."""
    stated, upright, stored = image.size_wh, header.size_wh, header.stored_wh
    if stated in {upright, (0, 0)}:
        if header.orientation != 1 and image.has_boxes and (upright == stored or not sizes_stated):
            message = f"{image.path}: EXIF orientation {header.orientation} turns it; are its boxes drawn upright?"
            yield Finding(name="rotation-unproven", file=str(image.path), message=message)
        return
    said = f"{image.path}: the annotation says {_by(stated)}, the picture is {_by(upright)}"
    if stated == stored:
        reason = f"as its EXIF orientation {header.orientation} turns it; the boxes were drawn on the unturned picture"
        yield Finding(name="size-before-rotation", file=str(image.path), message=f"{said} {reason}")
    else:
        reason = "; the boxes belong to another version of it"
        yield Finding(name="size-differs", file=str(image.path), message=said + reason)


def _by(size_wh: tuple[int, int]) -> str:
    return f"{size_wh[0]}x{size_wh[1]}"


def _copies(images: Sequence[_ImageRow], looks: Sequence[_ImageFacts]) -> Iterator[Finding]:
    """The same bytes, then the same picture in other bytes; each picture once."""
    first_row: dict[bytes, int] = {}
    prints = [look.print for look in looks]
    for row, look in enumerate(looks):
        first = first_row.setdefault(look.digest, row) if look.digest else row
        if first != row:
            prints[row] = None
            across = images[row].split != images[first].split
            name = "leaked-picture" if across else "copied-picture"
            yield _twins(name, images[row], "has the same bytes as", images[first])
    for likeness in find_likenesses(prints):
        yield from _like(images[likeness.second], images[likeness.first], likeness)


def _like(image: _ImageRow, twin: _ImageRow, likeness: Likeness) -> Iterator[Finding]:
    across = image.split != twin.split
    if likeness.copy:
        relation = "is a mirrored copy of" if likeness.mirrored else "is a resized or re-encoded copy of"
        yield _twins("leaked-near-copy" if across else "near-copy", image, relation, twin)
    elif across:
        yield _twins("same-scene", image, "shows the scene of", twin)


def _twins(name: str, image: _ImageRow, relation: str, twin: _ImageRow) -> Finding:
    message = f"{image.path} ({image.split}): {relation} {twin.path} ({twin.split})"
    consequence = "; the score of one split would be too good" if name.startswith("leaked") else ""
    return Finding(name=name, file=str(image.path), message=message + consequence, twin=str(twin.path))
