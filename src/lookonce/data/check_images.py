"""Checks of the image files of a data set: damage, sizes, file names, and copies.

Missing files are reported when the annotations are read.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lookonce.cores import decoding_threads
from lookonce.data.dataset import Dataset
from lookonce.data.findings import Finding
from lookonce.data.fingerprint import Fingerprint, find_likenesses, fingerprint
from lookonce.data.headers import missing_rows, unreadable
from lookonce.data.images import SUFFIXES, ImageHeader, image_header, lacks_end_marker, read_image
from lookonce.data.shards import read_file
from lookonce.data.splits import SPLITS
from lookonce.errors import DataError

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class _ImageRow:
    """An image of a split; size_wh is the size its annotation states."""

    path: Path
    split: str
    size_wh: tuple[int, int]
    has_boxes: bool
    missing: bool


@dataclass(frozen=True, kw_only=True)
class _ImageFacts:
    """Result of one file. `digest`: SHA-256 of its bytes, empty where it was not read."""

    findings: tuple[Finding, ...] = ()
    digest: bytes = b""
    print: Fingerprint | None = None


def check_images(
    datasets: Sequence[Dataset], *, decode: bool, sizes_stated: bool, on_progress: OnProgress | None = None
) -> Iterator[Finding]:
    """decode False: headers only. sizes_stated: whether the annotations state the image sizes."""
    images = _unique_images(datasets)
    yield from _listed_twice(datasets)
    seen: dict[str, Path] = {}
    for image in images:
        first = seen.setdefault(str(image.path).casefold(), image.path)
        if first != image.path:
            problem = f"differs from {first.name} only by upper and lower case"
            yield Finding.at("case-clash-image", image.path, problem, twin=str(first))
    results: list[_ImageFacts] = []
    with ThreadPoolExecutor(decoding_threads()) as pool:
        for facts in pool.map(lambda image: _check_image(image, decode, sizes_stated), images):
            results.append(facts)
            yield from facts.findings
            if on_progress:
                on_progress(len(results), len(images))
    yield from _copies(images, results)


def _unique_images(datasets: Sequence[Dataset]) -> list[_ImageRow]:
    """Every file once, with the annotation of the first split that lists it."""
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
    """Images listed twice in one split, or in two of train, val and test; VOC's trainval repeats train by design."""
    split_of: dict[Path, str] = {}
    for dataset in datasets:
        seen: set[Path] = set()
        for path in dataset.image_paths:
            if path in seen:
                problem = f"is listed twice in split {dataset.split!r} and would count twice; list it once"
                yield Finding.at("listed-twice", path, problem)
            seen.add(path)
        if dataset.split in SPLITS:
            for path in dataset.image_paths:
                first = split_of.setdefault(path, dataset.split)
                if first != dataset.split:
                    problem = f"is in splits {first!r} and {dataset.split!r}, which makes a score too high"
                    yield Finding.at("leaked-image", path, problem)


def _check_image(image: _ImageRow, decode: bool, sizes_stated: bool) -> _ImageFacts:
    path = image.path
    if image.missing:
        return _ImageFacts()
    try:
        header = image_header(path)
        findings = tuple(_header_findings(image, header, sizes_stated))
        if not decode:
            return _ImageFacts(findings=findings)
        data = read_file(path)
        pixels = read_image(data, name=str(path))
        if lacks_end_marker(data):
            problem = "JPEG without its end marker; all its pixels are there"
            findings = (*findings, Finding.at("missing-end-marker", path, problem))
    except (DataError, OSError) as error:
        return _ImageFacts(findings=(unreadable(path, error),))
    return _ImageFacts(findings=findings, digest=hashlib.sha256(data).digest(), print=fingerprint(pixels))


def _header_findings(image: _ImageRow, header: ImageHeader, sizes_stated: bool) -> Iterator[Finding]:
    """Compare the suffix with the content, and the annotated size with the upright one (as a viewer shows it)."""
    if image.path.suffix.lower() not in SUFFIXES[header.kind]:
        problem = f"the content is {header.kind}; expected the suffix {SUFFIXES[header.kind][0]}"
        yield Finding.at("wrong-suffix", image.path, problem)
    stated, upright, stored = image.size_wh, header.size_wh, header.stored_wh
    if stated in {upright, (0, 0)}:
        if header.orientation != 1 and image.has_boxes and (upright == stored or not sizes_stated):
            problem = f"EXIF orientation {header.orientation} rotates it; are its boxes drawn upright?"
            yield Finding.at("rotation-unproven", image.path, problem)
        return
    mismatch = f"the annotated size is {stated[0]}x{stated[1]}, the image is {upright[0]}x{upright[1]}"
    if stated == stored:
        reason = f"after EXIF orientation {header.orientation}; the boxes were drawn before the rotation"
        yield Finding.at("size-before-rotation", image.path, f"{mismatch} {reason}")
    else:
        reason = "; the boxes belong to another version of the image"
        yield Finding.at("size-differs", image.path, mismatch + reason)


def _copies(images: Sequence[_ImageRow], results: Sequence[_ImageFacts]) -> Iterator[Finding]:
    """Files with the same bytes, then the same image in other bytes; each image once."""
    first_row: dict[bytes, int] = {}
    prints = [facts.print for facts in results]
    for row, facts in enumerate(results):
        first = first_row.setdefault(facts.digest, row) if facts.digest else row
        if first != row:
            prints[row] = None
            across = images[row].split != images[first].split
            name = "leaked-image" if across else "copied-image"
            yield _twins(name, images[row], "has the same bytes as", images[first])
    for likeness in find_likenesses(prints):
        image, twin = images[likeness.second], images[likeness.first]
        across = image.split != twin.split
        if likeness.copy:
            relation = "is nearly the mirror image of" if likeness.mirrored else "is nearly the same image as"
            yield _twins("leaked-near-copy" if across else "near-copy", image, relation, twin)
        elif across:
            yield _twins("same-scene", image, "shows the same scene as", twin)


def _twins(name: str, image: _ImageRow, relation: str, twin: _ImageRow) -> Finding:
    message = f"{image.path} ({image.split}): {relation} {twin.path} ({twin.split})"
    consequence = "; the score of one split would be too high" if name.startswith("leaked") else ""
    return Finding(name=name, file=str(image.path), message=message + consequence, twin=str(twin.path))
