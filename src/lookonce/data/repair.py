"""The repairs of `check --fix`: corrected data sets in memory, and one line for each change.

Reading has already left out or clipped unusable annotations; the other repairs follow from the findings. Findings that
only a person can decide change nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from lookonce.data.check_boxes import overlapping_pairs
from lookonce.data.dataset import Dataset
from lookonce.data.finding_kinds import FINDING_KINDS
from lookonce.data.findings import Finding
from lookonce.data.images import SUFFIXES, image_header, turn_boxes_upright
from lookonce.data.selection import take_boxes, take_images, unify_classes
from lookonce.data.splits import SPLITS

# Images with one of these findings are left out.
_UNUSABLE = ("missing-image", "link-outside-folder", "truncated-image", "unreadable-image", "size-differs")
_SAME_BYTES = ("copied-image", "leaked-image")
_SAME_IMAGE = (*_SAME_BYTES, "near-copy", "leaked-near-copy")


@dataclass(frozen=True, kw_only=True)
class Repair:
    """datasets: to write; new_names: image -> its new file name; changes: one sentence for each change."""

    datasets: tuple[Dataset, ...]
    new_names: Mapping[Path, str] = field(default_factory=dict)
    changes: tuple[str, ...] = ()


def repair(datasets: Sequence[Dataset], findings: Sequence[Finding]) -> Repair:
    """datasets and findings: those of `check_data`."""
    by_name: dict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_name[finding.name].append(finding)
    # train, val and test; lists such as VOC's trainval only repeat their images.
    usual = [dataset for dataset in datasets if dataset.split in SPLITS] or list(datasets)
    unusable = {path for name in _UNUSABLE for path in _files(by_name[name])}
    doubles = _doubles(usual, by_name)
    repaired = []
    for dataset in usual:
        first_rows = {path: row for row, path in reversed(list(enumerate(dataset.image_paths)))}  # each image once
        kept = [row for path, row in first_rows.items() if path not in unusable | doubles[dataset.split]]
        dataset = take_images(dataset, np.array(sorted(kept), dtype=np.int64))
        dataset = _turned(dataset, _files(by_name["size-before-rotation"]))
        repeats = overlapping_pairs(dataset) if by_name["repeated-box"] else ()
        repeated = [second for first, second, _ in repeats if dataset.labels[first] == dataset.labels[second]]
        repaired.append(take_boxes(dataset, ~np.isin(np.arange(len(dataset.labels)), repeated)))
    return Repair(
        datasets=tuple(unify_classes([dataset for dataset in repaired if len(dataset)])),
        new_names={
            path: path.with_suffix(SUFFIXES[image_header(path).kind][0]).name
            for path in _files(by_name["wrong-suffix"])
        },
        changes=tuple(f"{fix}: {one.message}" for one in findings if (fix := FINDING_KINDS[one.name].fix)),
    )


def _files(findings: Iterable[Finding]) -> list[Path]:
    return [Path(finding.file) for finding in findings]


def _doubles(datasets: Sequence[Dataset], by_name: Mapping[str, Sequence[Finding]]) -> dict[str, set[Path]]:
    """For each split, the images to drop: those that a later split has too, and files with the bytes of another."""
    doubles: dict[str, set[Path]] = {dataset.split: set() for dataset in datasets}
    splits_of: dict[Path, list[str]] = defaultdict(list)
    for dataset in datasets:  # train, val, test
        for path in dict.fromkeys(dataset.image_paths):
            splits_of[path].append(dataset.split)
    order = [dataset.split for dataset in datasets]
    for group in _groups(found for name in _SAME_IMAGE for found in by_name[name]):
        last = max((order.index(split) for path in group for split in splits_of[path]), default=0)
        for split in order[:last]:
            doubles[split] |= group
    for group in _groups(found for name in _SAME_BYTES for found in by_name[name]):
        for split in order:
            there = [path for path in sorted(group) if split in splits_of[path] and path not in doubles[split]]
            doubles[split] |= set(there[1:])
    return doubles


def _groups(findings: Iterable[Finding]) -> list[set[Path]]:
    """Groups of copies. Copies of copies count: if A is a copy of B and B of C, all three form a group."""
    groups: dict[Path, set[Path]] = {}
    for finding in findings:
        one, two = Path(finding.file), Path(finding.twin or finding.file)
        both = groups.get(one, {one}) | groups.get(two, {two})
        groups |= dict.fromkeys(both, both)
    return list({id(group): group for group in groups.values()}.values())


def _turned(dataset: Dataset, paths: Sequence[Path]) -> Dataset:
    """The data set with the boxes of `paths`, annotated before EXIF rotation, rotated to the upright image."""
    wanted = set(paths)
    rows = [row for row, path in enumerate(dataset.image_paths) if path in wanted]
    if not rows:
        return dataset
    boxes, sizes = dataset.boxes_xyxy.copy(), dataset.image_sizes_wh.copy()
    for row in rows:
        header = image_header(dataset.image_paths[row])
        own = dataset.rows(row)
        boxes[own] = turn_boxes_upright(boxes[own], header.stored_wh, header.orientation)
        sizes[row] = header.size_wh
    return replace(dataset, boxes_xyxy=boxes, image_sizes_wh=sizes)
