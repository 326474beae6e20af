"""Looks at a whole data set before training does: every annotation, every picture, and what they say together.

Nothing stops it: what training would refuse becomes a finding like the rest.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lookonce.data.dataset import Dataset, require_boxes
from lookonce.data.findings import Finding, Report, Severity
from lookonce.data.pictures import PictureHeader, picture_header, read_picture
from lookonce.data.source import DataSource
from lookonce.errors import DataError

_THREADS = 4
# Below this a box is mostly its own border, and one pixel of labelling error moves its IoU by half.
_TINY_PIXELS = 2.0
_MOSTLY_BACKGROUND = 0.9


@dataclass(frozen=True, kw_only=True)
class SplitSummary:
    """Counts of one split. `background` pictures have no box; `class_boxes` leaves crowd boxes out."""

    split: str
    pictures: int
    background: int
    boxes: int
    crowd: int
    class_boxes: dict[str, int]
    smallest_wh: tuple[int, int]
    largest_wh: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """Findings in the order they were met (worst first through `sorted_findings`), and the counts of each split."""

    origin: str
    format: str
    class_names: tuple[str, ...]
    splits: tuple[SplitSummary, ...]
    findings: tuple[Finding, ...]

    @property
    def num_errors(self) -> int:
        return sum(finding.severity == "error" for finding in self.findings)

    @property
    def sorted_findings(self) -> list[Finding]:
        """Errors, then warnings, then notes; kinds together."""
        severities = ["error", "warning", "note"]
        return sorted(self.findings, key=lambda finding: (severities.index(finding.severity), finding.name))


def check_data(
    source: DataSource,
    *,
    splits: Sequence[str] | None = None,
    decode: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
) -> CheckResult:
    """Everything that is wrong with the splits (all of them, unless named).

    decode False looks at the headers of the pictures only: quick, but a damaged picture passes.
    on_progress(done, total) counts pictures.
    """
    findings: list[Finding] = []
    datasets = list(_read_splits(source, splits or source.splits, findings.append))
    _check_class_lists(source, datasets, findings.append)
    for dataset in datasets:
        _check_boxes(dataset, findings.append)
    findings += _check_pictures(datasets, decode, on_progress)
    return CheckResult(
        origin=str(source.origin),
        format=source.format,
        class_names=datasets[0].class_names if datasets else (),
        splits=tuple(map(summarise, datasets)),
        findings=tuple(dict.fromkeys(findings)),  # VOC's trainval repeats those of train
    )


def _read_splits(source: DataSource, splits: Sequence[str], report: Report) -> Iterator[Dataset]:
    for split in splits:
        try:
            yield source.read(split, report)
        except DataError as error:
            report(_finding("unreadable annotations", "error", source.origin, str(error)))
    for split in ("train", "val"):
        if split not in source.splits:
            message = f"{source.origin}: has no split {split!r}; train needs one, unless another is named"
            report(_finding("no such split", "warning", source.origin, message))


def _check_class_lists(source: DataSource, datasets: Sequence[Dataset], report: Report) -> None:
    for dataset in datasets[1:]:
        if dataset.class_names != datasets[0].class_names:
            message = f"{source.origin}: splits {datasets[0].split!r} and {dataset.split!r} have different classes: "
            message += f"{', '.join(datasets[0].class_names[:8])} and {', '.join(dataset.class_names[:8])}"
            report(_finding("different classes", "error", source.origin, message))


def summarise(dataset: Dataset) -> SplitSummary:
    """The counts of one split."""
    learned = dataset.labels[~dataset.crowd]
    counts = np.bincount(learned, minlength=len(dataset.class_names))
    sizes = dataset.image_sizes_wh[dataset.image_sizes_wh.all(axis=1)]
    areas = sizes.prod(axis=1, dtype=np.int64)
    ends = (int(areas.argmin()), int(areas.argmax())) if len(areas) else None
    return SplitSummary(
        split=dataset.split,
        pictures=len(dataset),
        background=int((np.diff(dataset.box_offsets) == 0).sum()),
        boxes=len(dataset.labels),
        crowd=int(dataset.crowd.sum()),
        class_boxes=dict(zip(dataset.class_names, counts.tolist(), strict=True)),
        smallest_wh=_pair(sizes[ends[0]]) if ends else (0, 0),
        largest_wh=_pair(sizes[ends[1]]) if ends else (0, 0),
    )


def _pair(size: Sequence[int] | np.ndarray[tuple[int, ...], np.dtype[np.int32]]) -> tuple[int, int]:
    return int(size[0]), int(size[1])


def _check_boxes(dataset: Dataset, report: Report) -> None:
    """What the boxes of one split say together."""
    _check_repeated_boxes(dataset, report)
    _check_tiny_boxes(dataset, report)
    if dataset.split != "train":
        return
    try:
        require_boxes(dataset)
    except DataError as error:
        report(_finding("no boxes", "error", dataset.split, str(error)))
        return
    summary = summarise(dataset)
    for name, count in summary.class_boxes.items():
        if count == 0:
            message = f"split {dataset.split!r}: class {name!r} has no box; it cannot be learned"
            report(_finding("class without boxes", "warning", dataset.split, message))
    if summary.background > _MOSTLY_BACKGROUND * summary.pictures:
        message = f"split {dataset.split!r}: {summary.background} of {summary.pictures} pictures have no box"
        report(_finding("mostly background", "warning", dataset.split, f"{message}; are annotations missing?"))


def _check_repeated_boxes(dataset: Dataset, report: Report) -> None:
    if not len(dataset.labels):
        return
    rows = np.repeat(np.arange(len(dataset)), np.diff(dataset.box_offsets))
    keys = np.column_stack([dataset.boxes_xyxy[:, ::-1], dataset.labels, rows])  # (M, 6), the picture counts first
    order = np.lexsort(keys.T)
    same = (keys[order][1:] == keys[order][:-1]).all(axis=1)
    for row in order[1:][same]:
        picture = dataset.image_paths[int(rows[row])]
        name = dataset.class_names[int(dataset.labels[row])]
        message = f"{picture}: box {_corners(dataset, int(row))} of class {name!r} comes twice"
        report(_finding("repeated box", "warning", picture, message))


def _check_tiny_boxes(dataset: Dataset, report: Report) -> None:
    sides = (dataset.boxes_xyxy[:, 2:] - dataset.boxes_xyxy[:, :2]).min(axis=1, initial=np.inf)
    tiny = np.flatnonzero(sides < _TINY_PIXELS)
    rows = np.searchsorted(dataset.box_offsets, tiny, side="right") - 1
    for row, picture_row in zip(tiny, rows, strict=True):
        picture = dataset.image_paths[int(picture_row)]
        message = f"{picture}: box {_corners(dataset, int(row))} is under {_TINY_PIXELS:g} pixels wide or high"
        report(_finding("tiny box", "note", picture, message))


def _corners(dataset: Dataset, row: int) -> str:
    return "(" + ", ".join(f"{value:.6g}" for value in dataset.boxes_xyxy[row]) + ")"


@dataclass(frozen=True, kw_only=True)
class _Picture:
    """A picture of a split, and what its annotation says of its size."""

    path: Path
    split: str
    size_wh: tuple[int, int]


def _check_pictures(
    datasets: Sequence[Dataset], decode: bool, on_progress: Callable[[int, int], None] | None
) -> list[Finding]:
    """Damage, sizes and copies. Missing files were told when the annotations were read."""
    pictures = [
        _Picture(path=path, split=dataset.split, size_wh=_pair(size))
        for dataset in datasets
        for path, size in zip(dataset.image_paths, dataset.image_sizes_wh, strict=True)
    ]
    first_of = {picture.path: picture for picture in reversed(pictures)}
    unique = [picture for picture in pictures if first_of[picture.path] is picture]
    findings = _listed_twice(datasets)
    seen: dict[bytes, _Picture] = {}
    with ThreadPoolExecutor(_THREADS) as pool:
        looks = pool.map(lambda picture: _look_at(picture, decode), unique)
        for done, (picture, (found, digest)) in enumerate(zip(unique, looks, strict=True), start=1):
            findings += found
            twin = seen.setdefault(digest, picture) if digest else picture
            if twin is not picture:
                findings.append(_copy_of(picture, twin))
            if on_progress:
                on_progress(done, len(unique))
    return findings


def _listed_twice(datasets: Sequence[Dataset]) -> list[Finding]:
    findings = []
    for dataset in datasets:
        seen: set[Path] = set()
        for path in dataset.image_paths:
            if path in seen:
                message = f"{path}: is listed twice in split {dataset.split!r}; it would count twice"
                findings.append(_finding("picture listed twice", "warning", path, message))
            seen.add(path)
    train = next((set(dataset.image_paths) for dataset in datasets if dataset.split == "train"), set())
    for dataset in datasets:
        if dataset.split in {"val", "test"}:
            for path in dataset.image_paths:
                if path in train:
                    message = f"{path}: is in split 'train' and in {dataset.split!r}; its score would be too good"
                    findings.append(_finding("picture in two splits", "warning", path, message))
    return findings


def _copy_of(picture: _Picture, twin: _Picture) -> Finding:
    message = f"{picture.path} ({picture.split}): has the same bytes as {twin.path} ({twin.split})"
    across = picture.split != twin.split
    name = "picture in two splits" if across else "copied picture"
    consequence = "; the score of one split would be too good" if across else ""
    return _finding(name, "warning", picture.path, message + consequence)


def _look_at(picture: _Picture, decode: bool) -> tuple[list[Finding], bytes]:
    """Findings about one picture file, and a digest of its bytes (empty where it was not read)."""
    path = picture.path
    if not path.exists():
        return [], b""
    try:
        header = picture_header(path)
        digest = b""
        if decode:
            data = path.read_bytes()
            digest = hashlib.sha256(data).digest()
            read_picture(data, name=str(path))
    except (DataError, OSError) as error:
        return [_finding("unreadable picture", "error", path, str(error))], b""
    return list(_size_findings(picture, header)), digest


def _size_findings(picture: _Picture, header: PictureHeader) -> Iterator[Finding]:
    """An annotation's size against the picture's. Sizes are upright: what a viewer shows."""
    stated, upright, stored = picture.size_wh, header.size_wh, header.stored_wh
    if stated in {upright, (0, 0)}:
        return
    said = f"{picture.path}: the annotation says {_by(stated)}, the picture is {_by(upright)}"
    if stated == stored:
        reason = f"as its EXIF orientation {header.orientation} turns it; the boxes were drawn on the unturned picture"
        yield _finding("size before EXIF rotation", "error", picture.path, f"{said} {reason}")
    else:
        yield _finding("size differs", "error", picture.path, f"{said}; the boxes belong to another version of it")


def _by(size_wh: tuple[int, int]) -> str:
    return f"{size_wh[0]}x{size_wh[1]}"


def _finding(name: str, severity: Severity, file: Path | str, message: str) -> Finding:
    return Finding(name=name, severity=severity, file=str(file), message=message)
