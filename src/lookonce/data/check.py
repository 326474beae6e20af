"""Check a whole data set before training: every annotation, every image, and whether they agree.

An error that would stop training becomes a finding here. The checks are listed in data/finding_kinds.py.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lookonce.data.box_conventions import convention_evidence, likely_convention
from lookonce.data.check_boxes import check_boxes, check_classes, class_counts
from lookonce.data.check_images import check_images
from lookonce.data.dataset import Dataset
from lookonce.data.finding_kinds import FINDING_KINDS, SEVERITIES, Severity
from lookonce.data.findings import Finding, Report
from lookonce.data.splits import DataSource
from lookonce.errors import DataError
from lookonce.settings.names import counted, few

# Formats whose annotations state the image sizes.
_SIZES_STATED = frozenset({"coco", "voc", "shards"})


@dataclass(frozen=True, kw_only=True)
class SplitSummary:
    """Counts of one split. `background`: images without boxes; `class_boxes` excludes crowd boxes."""

    split: str
    images: int
    background: int
    boxes: int
    crowd: int
    class_boxes: dict[str, int]
    smallest_wh: tuple[int, int]
    largest_wh: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """Findings in the order of the checks (worst first: `sorted_findings`), and the counts of each split.

    checks: names of the checks that ran. num_images: of the listed image files. seconds: time to read the image files,
    0 where no check needed them.
    """

    origin: str
    format: str
    class_names: tuple[str, ...]
    splits: tuple[SplitSummary, ...]
    findings: tuple[Finding, ...]
    checks: frozenset[str] = frozenset(FINDING_KINDS)
    num_images: int = 0
    seconds: float = 0.0
    datasets: tuple[Dataset, ...] = field(default=(), repr=False)

    @property
    def num_errors(self) -> int:
        return self.count("error")

    def count(self, severity: Severity) -> int:
        return sum(finding.severity == severity for finding in self.findings)

    @property
    def sorted_findings(self) -> list[Finding]:
        """Errors, then warnings, then notes; within a severity in the order of FINDING_KINDS."""
        order = {name: index for index, name in enumerate(FINDING_KINDS)}
        return sorted(self.findings, key=lambda found: (SEVERITIES.index(found.severity), order[found.name]))


def check_data(
    source: DataSource,
    *,
    checks: frozenset[str] = frozenset(FINDING_KINDS),
    decode: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
) -> CheckResult:
    """Run `checks` on all splits.

    decode False reads image headers only: fast, but damaged pixels are not detected.
    on_progress(done, total) counts images.
    """
    if not decode:
        checks = frozenset(name for name in checks if not FINDING_KINDS[name].needs_pixels)
    findings: list[Finding] = []
    datasets = list(_read_splits(source, findings.append))
    for dataset in datasets:
        if dataset.class_names != datasets[0].class_names:
            both = f"{few(datasets[0].class_names)} and {few(dataset.class_names)}"
            problem = f"splits {datasets[0].split!r} and {dataset.split!r} have different classes: {both}"
            findings.append(Finding.at("different-classes", source.origin, problem))
        check_boxes(dataset, findings.append)
    check_classes(datasets, findings.append)
    start = time.perf_counter()
    reads_files = any(FINDING_KINDS[name].group in {"images", "copies"} for name in checks)
    if reads_files:
        findings += check_images(
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
        num_images=len({path for dataset in datasets for path in dataset.image_paths}),
        seconds=time.perf_counter() - start if reads_files else 0.0,
        datasets=tuple(datasets),
    )


def _read_splits(source: DataSource, report: Report) -> Iterator[Dataset]:
    for split in source.splits:
        try:
            found = source.as_written(split, report)
            convention = likely_convention(found.boxes_xyxy, found.box_sizes_wh, found.written)
            if convention is not None:
                message = f"{convention_evidence(found, convention)}; {convention.remedy}"
                report(Finding(name="box-convention", file=str(found.origin), message=message))
            yield source.assemble(found, report)
        except DataError as error:
            # Roboflow names a folder of test images in exports without any; training does not read it.
            name = "missing-split" if error.fields.get("setting") == "test" else "unreadable-annotations"
            report(Finding(name=name, file=str(source.origin), message=str(error)))
    if "train" not in source.splits:
        problem = "has no split 'train'; training uses it unless you name another split"
        report(Finding.at("missing-split", source.origin, problem))
    elif source.num_held_out == 0:
        problem = "has no split 'val', and too few images to hold some out for it"
        report(Finding.at("missing-split", source.origin, problem))
    elif source.num_held_out or "val" not in source.splits:
        count = counted(source.num_held_out, "image") if source.num_held_out else "a part of the images"
        problem = f"has no split 'val'; training holds out {count} of train, unless val_split is none"
        report(Finding.at("held-out-val", source.origin, problem))


def summarise(dataset: Dataset) -> SplitSummary:
    known = dataset.image_sizes_wh[dataset.image_sizes_wh.all(axis=1)]
    sizes = sorted(((int(width), int(height)) for width, height in known), key=math.prod) or [(0, 0)]
    return SplitSummary(
        split=dataset.split,
        images=len(dataset),
        background=dataset.num_background,
        boxes=len(dataset.labels),
        crowd=int(dataset.crowd.sum()),
        class_boxes=class_counts(dataset),
        smallest_wh=sizes[0],
        largest_wh=sizes[-1],
    )
