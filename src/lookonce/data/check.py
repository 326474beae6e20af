"""Looks at a whole data set before training does: every annotation, every picture, and what they say together.

Nothing stops it: what training would refuse becomes a finding like the rest. What is looked for: data/finding_kinds.py.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from lookonce.data.check_boxes import check_boxes, check_classes, class_counts, num_background
from lookonce.data.check_images import check_pictures
from lookonce.data.dataset import Dataset
from lookonce.data.finding_kinds import FINDING_KINDS, SEVERITIES, Severity
from lookonce.data.findings import Finding, Report
from lookonce.data.splits import DataSource
from lookonce.errors import DataError

# Formats whose annotations say how large the pictures are.
_SIZES_STATED = frozenset({"coco", "voc", "shards"})


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
    """Findings in the order they were met (worst first through `sorted_findings`), and the counts of each split.

    checks: names of what was looked for. pictures: files listed; seconds: how long it took to look at them, 0 where no
    check needed that.
    """

    origin: str
    format: str
    class_names: tuple[str, ...]
    splits: tuple[SplitSummary, ...]
    findings: tuple[Finding, ...]
    checks: frozenset[str] = frozenset(FINDING_KINDS)
    pictures: int = 0
    seconds: float = 0.0
    datasets: tuple[Dataset, ...] = field(default=(), repr=False)

    @property
    def num_errors(self) -> int:
        return self.count("error")

    def count(self, severity: Severity) -> int:
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def sorted_findings(self) -> list[Finding]:
        """Errors, then warnings, then notes; those of a check together, in the order of FINDING_KINDS."""
        places = {name: place for place, name in enumerate(FINDING_KINDS)}
        return sorted(self.findings, key=lambda found: (SEVERITIES.index(found.severity), places[found.name]))


def check_data(
    source: DataSource,
    *,
    splits: Sequence[str] | None = None,
    checks: frozenset[str] = frozenset(FINDING_KINDS),
    decode: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
) -> CheckResult:
    """Everything of `checks` that is wrong with the splits (all of them, unless named).

    decode False looks at the headers of the pictures only: quick, but a damaged picture passes.
    on_progress(done, total) counts pictures.
    """
    if not decode:
        checks = frozenset(name for name in checks if not FINDING_KINDS[name].needs_pixels)
    findings: list[Finding] = []
    datasets = list(_read_splits(source, splits or source.splits, findings.append))
    _check_class_lists(source, datasets, findings.append)
    for dataset in datasets:
        check_boxes(dataset, findings.append)
    check_classes(datasets, findings.append)
    start, looks_at_files = (
        time.perf_counter(),
        any(FINDING_KINDS[name].group in {"pictures", "copies"} for name in checks),
    )
    if looks_at_files:
        findings += check_pictures(
            datasets,
            decode=any(FINDING_KINDS[name].needs_pixels for name in checks),
            sizes_stated=source.format in _SIZES_STATED,
            on_progress=on_progress,
        )
    return CheckResult(
        origin=str(source.origin),
        format=source.format,
        class_names=datasets[0].class_names if datasets else (),
        splits=tuple(map(summarise, datasets)),
        findings=tuple(found for found in dict.fromkeys(findings) if found.name in checks),  # trainval repeats train's
        checks=checks,
        pictures=len({path for dataset in datasets for path in dataset.image_paths}),
        seconds=time.perf_counter() - start if looks_at_files else 0.0,
        datasets=tuple(datasets),
    )


def _read_splits(source: DataSource, splits: Sequence[str], report: Report) -> Iterator[Dataset]:
    for split in splits:
        try:
            yield source.read(split, report)
        except DataError as error:
            report(Finding(name="unreadable-annotations", file=str(source.origin), message=str(error)))
    for split in ("train", "val"):
        if split not in source.splits:
            message = f"{source.origin}: has no split {split!r}; train needs one, unless another is named"
            report(Finding(name="missing-split", file=str(source.origin), message=message))


def _check_class_lists(source: DataSource, datasets: Sequence[Dataset], report: Report) -> None:
    for dataset in datasets[1:]:
        if dataset.class_names != datasets[0].class_names:
            message = f"{source.origin}: splits {datasets[0].split!r} and {dataset.split!r} have different classes: "
            message += f"{', '.join(datasets[0].class_names[:8])} and {', '.join(dataset.class_names[:8])}"
            report(Finding(name="different-classes", file=str(source.origin), message=message))


def summarise(dataset: Dataset) -> SplitSummary:
    """The counts of one split."""
    sizes = dataset.image_sizes_wh[dataset.image_sizes_wh.all(axis=1)]
    areas = sizes.prod(axis=1, dtype=np.int64)
    ends = (int(areas.argmin()), int(areas.argmax())) if len(areas) else None
    return SplitSummary(
        split=dataset.split,
        pictures=len(dataset),
        background=num_background(dataset),
        boxes=len(dataset.labels),
        crowd=int(dataset.crowd.sum()),
        class_boxes=class_counts(dataset),
        smallest_wh=_pair(sizes[ends[0]]) if ends else (0, 0),
        largest_wh=_pair(sizes[ends[1]]) if ends else (0, 0),
    )


def _pair(size: np.ndarray[tuple[int, ...], np.dtype[np.int32]]) -> tuple[int, int]:
    return int(size[0]), int(size[1])
