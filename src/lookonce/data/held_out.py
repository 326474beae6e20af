"""A validation split for data that have none: held out of the training split, near-copies together, by class.

The split is a function of the data, `fraction` and `seed`, so that `train`, `check` and `eval` make the same one. A run
keeps the names of its images, which then decide.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.cores import decoding_threads
from lookonce.data.annotations import Annotations
from lookonce.data.dataset import columns
from lookonce.data.findings import Report, ignore
from lookonce.data.fingerprint import Fingerprint, fingerprint, near_copy_groups
from lookonce.data.images import read_image
from lookonce.data.selection import cut_groups
from lookonce.data.splits import DataSource, in_order
from lookonce.errors import DataError

VAL = "val"
Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]
OnProgress = Callable[[int, int], None]


def lacks_val(source: DataSource, train_split: str) -> bool:
    """Whether `source` has a training split and no validation split."""
    return VAL not in source.splits and train_split in source.splits


def with_held_out(source: DataSource, train_split: str, names: Collection[str]) -> DataSource:
    """The data set with the images `names` (see `relative_names`) of train_split as the split val."""
    chosen = frozenset(names)
    whole: list[Annotations] = []

    def read(split: str, report: Report) -> Annotations:
        if split not in {train_split, VAL}:
            return source.as_written(split, report)
        if not whole:  # else reported before
            whole.append(source.as_written(train_split, report))
        held = np.array([name in chosen for name in relative_names(whole[0].image_paths)], dtype=np.bool_)
        return take_annotations(whole[0], np.flatnonzero(held if split == VAL else ~held), split)

    divided = DataSource(source.origin, source.format, in_order(dict.fromkeys((*source.splits, VAL))), read)
    divided.needs_images = source.needs_images
    divided.num_held_out = len(chosen)
    return divided


def choose_held_out(
    source: DataSource, train_split: str, *, fraction: float, seed: int, on_progress: OnProgress | None = None
) -> list[str]:
    """Names of the images to hold out; none if the data cannot be divided, or read.

    fraction: of the images, 0..1. Decodes all images, for their near-copies. on_progress(done, total) counts them.
    """
    try:
        found = source.as_written(train_split, ignore)
    except DataError:  # raised or reported when the split is used
        return []
    groups = near_copy_groups(fingerprints(found.image_paths, on_progress))
    names = relative_names(found.image_paths)
    return [names[row] for row in np.flatnonzero(hold_out(found, groups, fraction, seed)).tolist()]


def relative_names(paths: Sequence[Path]) -> list[str]:
    """The paths relative to the folder that all are in, with /: these names stay when the data set is moved."""
    full = [str(path.absolute()) for path in paths]
    folder = os.path.commonpath(list(map(os.path.dirname, full))) if full else ""
    return [path[len(folder) :].replace(os.sep, "/").lstrip("/") for path in full]


def fingerprints(paths: Sequence[Path], on_progress: OnProgress | None) -> list[Fingerprint | None]:
    """None for an image that cannot be read, which is reported elsewhere."""

    def print_of(path: Path) -> Fingerprint | None:
        try:
            return fingerprint(read_image(path))
        except DataError:
            return None

    prints: list[Fingerprint | None] = []
    with ThreadPoolExecutor(decoding_threads(), thread_name_prefix="fingerprint") as pool:
        for one in pool.map(print_of, paths):
            prints.append(one)
            if on_progress is not None:
                on_progress(len(prints), len(paths))
    return prints


def hold_out(found: Annotations, groups: Rows, fraction: float, seed: int) -> Mask:
    """(N,) images to hold out: whole groups (N,), about `fraction` of the images and of the boxes of each class.

    The frames of a fixed camera are one group. If whole groups give less than half of the images, groups that are
    larger than the validation split are cut into runs of consecutive images.
    """
    num_images = len(found.image_paths)
    aim = int(np.ceil(fraction * num_images))
    chosen = _choose(found, groups, fraction, aim, seed)
    if 2 * chosen.sum() < aim:
        chosen = _choose(found, cut_groups(groups, aim), fraction, aim, seed)
    return chosen


def _choose(found: Annotations, groups: Rows, fraction: float, aim: int, seed: int) -> Mask:
    """The rarest class first; of each class about `fraction` of its boxes, at least one group and never all."""
    groups = np.unique(groups, return_inverse=True)[1].reshape(-1)
    sizes = np.bincount(groups)
    content, holders, boxes = _content(found, groups)
    order = np.random.default_rng([seed, len(sizes)]).permutation(len(sizes))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    rest = {label: len(of_class) for label, of_class in holders.items()}  # groups that stay
    taken: dict[int, int] = defaultdict(int)  # boxes held out
    decided: set[int] = set()
    chosen: set[int] = set()
    room = 2 * aim
    for label in sorted(holders, key=lambda label: (len(holders[label]), label)):
        for group in sorted(holders[label] - decided, key=lambda group: int(rank[group])):
            decided.add(group)
            missing = fraction * boxes[label] - taken[label]
            fits = sizes[group] <= room and (not taken[label] or content[group][label] < 2 * missing)
            if fits and all(rest[other] > 1 for other in content[group]):
                chosen.add(group)
                room -= int(sizes[group])
                for other, count in content[group].items():
                    taken[other] += count
                    rest[other] -= 1
    labelled = [group for group in order.tolist() if set(content[group]) - {len(found.class_names)}]
    if chosen.isdisjoint(labelled):  # every class is in one group only: the first group, if another has boxes too
        chosen = set([group for group in labelled if sizes[group] <= 2 * aim][:1]) if len(labelled) > 1 else set()
    return np.isin(groups, list(chosen))


def _content(found: Annotations, groups: Rows) -> tuple[dict[int, dict[int, int]], dict[int, set[int]], dict[int, int]]:
    """Boxes by group and class, groups by class, boxes by class; an image without boxes counts as a class, C."""
    real = ~found.crowd
    background = np.setdiff1d(np.arange(len(groups)), found.image_rows[real])
    num_kinds = len(found.class_names) + 1
    owners = np.concatenate([groups[found.image_rows[real]], groups[background]])
    labels = np.concatenate([found.labels[real], np.full(len(background), num_kinds - 1)])
    content: dict[int, dict[int, int]] = defaultdict(dict)
    holders: dict[int, set[int]] = defaultdict(set)
    boxes: dict[int, int] = defaultdict(int)
    for pair, count in zip(*(array.tolist() for array in np.unique_counts(owners * num_kinds + labels)), strict=True):
        group, label = divmod(pair, num_kinds)
        content[group][label] = count
        holders[label].add(group)
        boxes[label] += count
    return content, holders, boxes


def take_annotations(found: Annotations, rows: Rows, split: str) -> Annotations:
    """The images `rows` with their boxes, as a split."""
    new_rows = np.full(len(found.image_paths), -1, np.int64)
    new_rows[rows] = np.arange(len(rows))
    boxes = np.flatnonzero(new_rows[found.image_rows] >= 0)
    return replace(
        found,
        split=split,
        image_paths=[found.image_paths[row] for row in rows.tolist()],
        image_ids=found.image_ids[rows],
        image_sizes_wh=found.image_sizes_wh[rows],
        image_rows=new_rows[found.image_rows[boxes]],
        **columns(found, boxes),
        own_ids=[found.own_ids[row] for row in rows.tolist()] if found.own_ids else (),
        place=lambda row: found.place(int(boxes[row])),
    )
