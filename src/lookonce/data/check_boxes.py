"""Checks of boxes and classes: duplicate boxes, implausible sizes, rare classes."""

from collections.abc import Iterator, Sequence
from itertools import permutations, takewhile

import numpy as np

from lookonce.boxes import area_xyxy, pairwise_iou_xyxy
from lookonce.data.annotations import numbers_of
from lookonce.data.dataset import Dataset, require_boxes
from lookonce.data.findings import Finding, Report
from lookonce.errors import DataError
from lookonce.settings.names import counted, few

# Below this size a labelling error of one pixel halves the IoU.
_TINY_PIXELS = 2.0
_HUGE_SHARE = 0.95
# Two people never draw boxes this similar; a program that labels one object twice does.
_SAME_IOU = 0.95
_IMBALANCE = 20
_MOSTLY_BACKGROUND = 0.9
_MISSPELT = 10
_LONG_NAME = 5  # letters


def check_boxes(dataset: Dataset, report: Report) -> None:
    """Check the boxes of one split, singly and in pairs."""
    # Each box that overlaps an earlier box of its image is reported once, with the first such box.
    for first, second, image_row in overlapping_pairs(dataset):
        names = [dataset.class_names[int(dataset.labels[row])] for row in (first, second)]
        if names[0] == names[1]:
            message = f"box {numbers_of(dataset.boxes_xyxy[second])} of class {names[1]!r} occurs twice"
            report(_of_box("repeated-box", dataset, second, image_row, message))
        else:
            message = f"box {numbers_of(dataset.boxes_xyxy[second])} has two classes, {names[0]!r} and {names[1]!r}"
            report(_of_box("box-of-two-classes", dataset, second, image_row, message))
    image_rows = dataset.image_rows
    sides = (dataset.boxes_xyxy[:, 2:] - dataset.boxes_xyxy[:, :2]).min(axis=1, initial=np.inf)
    for row in np.flatnonzero(sides < _TINY_PIXELS).tolist():
        message = f"box {numbers_of(dataset.boxes_xyxy[row])} is under {_TINY_PIXELS:g} pixels wide or high"
        report(_of_box("tiny-box", dataset, row, image_rows[row], message))
    areas = dataset.image_sizes_wh.prod(axis=1, dtype=np.int64)[image_rows]
    huge = (area_xyxy(dataset.boxes_xyxy) > _HUGE_SHARE * areas) & ~dataset.crowd
    for row in np.flatnonzero(huge).tolist():
        width, height = dataset.image_sizes_wh[image_rows[row]]
        message = f"box {numbers_of(dataset.boxes_xyxy[row])} covers over {100 * _HUGE_SHARE:g} % of the "
        message += f"{width}x{height} image"
        report(_of_box("huge-box", dataset, row, image_rows[row], message))


def check_classes(datasets: Sequence[Dataset], report: Report) -> None:
    """Check the classes of train: boxes per class, balance, background, and whether val evaluates each class."""
    _check_names(datasets, report)
    train = next((dataset for dataset in datasets if dataset.split == "train"), None)
    if train is None:
        return
    try:
        require_boxes(train)
    except DataError as error:
        report(Finding(name="no-boxes", file=train.split, message=str(error)))
        return
    counts = class_counts(train)
    for name, count in counts.items():
        if count == 0:
            message = f"split {train.split!r}: class {name!r} has no boxes; it cannot be learned"
            report(Finding(name="class-without-boxes", file=train.split, message=message))
    _check_spelling(train, counts, report)
    _check_balance(train, counts, report)
    if train.num_background > _MOSTLY_BACKGROUND * len(train):
        message = f"split {train.split!r}: {train.num_background} of {len(train)} images have no box; are annotations "
        message += "missing?"
        report(Finding(name="mostly-background", file=train.split, message=message))
    val = next((dataset for dataset in datasets if dataset.split == "val"), None)
    if val is not None and val.class_names == train.class_names:
        for name, count in class_counts(val).items():
            if counts[name] and not count:
                message = f"split {val.split!r}: class {name!r} has no boxes; its AP cannot be measured"
                report(Finding(name="unscored-class", file=val.split, message=message))


def class_counts(dataset: Dataset) -> dict[str, int]:
    """Number of boxes of each class, without crowd boxes."""
    counts = np.bincount(dataset.labels[~dataset.crowd], minlength=len(dataset.class_names))
    return dict(zip(dataset.class_names, counts.tolist(), strict=True))


def _check_names(datasets: Sequence[Dataset], report: Report) -> None:
    for names in dict.fromkeys(dataset.class_names for dataset in datasets):
        seen: dict[str, str] = {}
        for name in names:
            first = seen.setdefault("".join(name.casefold().split()), name)
            if first != name:
                message = f"classes {first!r} and {name!r} differ only by upper and lower case, or by spaces; "
                message += "are they the same class?"
                report(Finding(name="case-clash-class", file=datasets[0].split, message=message))


def _check_spelling(train: Dataset, counts: dict[str, int], report: Report) -> None:
    """Report rare classes that are spelled nearly as a common one. RBC and WBC, cat and car are too short to tell."""
    for rare, common in permutations((name for name, count in counts.items() if count and len(name) >= _LONG_NAME), 2):
        if counts[common] > _MISSPELT * counts[rare] and _differ_by_a_letter(rare.casefold(), common.casefold()):
            message = f"split {train.split!r}: class {rare!r} has {counted(counts[rare], 'box')} and {common!r} has "
            message += f"{counts[common]}; are they the same class? "
            rows = np.unique(train.image_rows[train.labels == train.class_names.index(rare)]).tolist()
            message += f"{rare!r} is in {few([train.image_paths[row].name for row in rows])}"
            report(Finding(name="misspelt-class", file=train.split, message=message))


def _differ_by_a_letter(one: str, other: str) -> bool:
    """Whether the words become equal when one letter is added, removed or changed, or two neighbours are swapped.
    Digits are no typing errors: sign10 and sign11. Unlike `num_edits` fast enough for all pairs of 1,000 classes."""
    same = sum(1 for _ in takewhile(bool, map(str.__eq__, one, other)))
    rest, others = one[same:], other[same:]
    if not (rest[:1] + others[:1]).isalpha():
        return False
    swapped = others[1:2] + others[:1] + others[2:]
    return rest == swapped or rest[1:] == others[1:] or rest[1:] == others or rest == others[1:]


def _check_balance(train: Dataset, counts: dict[str, int], report: Report) -> None:
    seen = {name: count for name, count in counts.items() if count}
    most, least = max(seen, key=seen.__getitem__), min(seen, key=seen.__getitem__)
    if seen[most] > _IMBALANCE * seen[least]:
        rare = sum(seen[most] > _IMBALANCE * count for count in seen.values())
        more = f"; {rare} classes are below 1/{_IMBALANCE} of that" if rare > 1 else ""
        message = f"split {train.split!r}: class {least!r} has {counted(seen[least], 'box')}, {most!r} has "
        message += f"{seen[most]}{more}"
        report(Finding(name="class-imbalance", file=train.split, message=message))


def overlapping_pairs(dataset: Dataset) -> Iterator[tuple[int, int, int]]:
    """(first box row, second box row, image row) of boxes with IoU over 0.95, the earlier first; no crowd boxes."""
    for index in np.flatnonzero(dataset.box_counts > 1).tolist():
        rows = dataset.rows(index)
        boxes, real = dataset.boxes_xyxy[rows], ~dataset.crowd[rows]
        same = np.triu(pairwise_iou_xyxy(boxes, boxes) > _SAME_IOU, k=1) & real & real[:, None]  # (N, N)
        for second in np.flatnonzero(same.any(axis=0)).tolist():
            yield rows.start + int(same[:, second].argmax()), rows.start + second, index


def _of_box(name: str, dataset: Dataset, row: int, image_row: int, message: str) -> Finding:
    image = dataset.image_paths[image_row]
    left, top, right, bottom = dataset.boxes_xyxy[row].tolist()
    return Finding.at(name, image, message, box_xyxy=(left, top, right, bottom))
