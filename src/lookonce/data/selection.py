"""New data sets out of others: fewer pictures, fewer or other classes, several joined, one shared out into splits.

Everything here is a pure function of its arguments; nothing is read or written.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lookonce.data.dataset import Dataset
from lookonce.errors import DataError

Rows = NDArray[np.int64]


def take_images(dataset: Dataset, rows: Rows) -> Dataset:
    """The pictures `rows` (K,) with their boxes, in that order."""
    counts = np.diff(dataset.box_offsets)[rows]
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    # For each box taken: where its picture's boxes begin, plus its place among them.
    boxes = np.repeat(dataset.box_offsets[:-1][rows] - offsets[:-1], counts) + np.arange(offsets[-1])
    return replace(
        _take_columns(dataset, boxes),
        image_paths=[dataset.image_paths[row] for row in rows.tolist()],
        image_ids=dataset.image_ids[rows],
        image_sizes_wh=dataset.image_sizes_wh[rows],
        box_offsets=offsets,
    )


def take_boxes(dataset: Dataset, keep: NDArray[np.bool_]) -> Dataset:
    """All pictures, with the boxes where `keep` (M,) holds."""
    before = np.concatenate([[0], np.cumsum(keep)])
    offsets = before[dataset.box_offsets].astype(np.int64)
    return replace(_take_columns(dataset, np.flatnonzero(keep)), box_offsets=offsets)


def _take_columns(dataset: Dataset, boxes: Rows) -> Dataset:
    """What is known of the boxes `boxes`; the offsets do not fit yet."""
    return replace(
        dataset,
        boxes_xyxy=dataset.boxes_xyxy[boxes],
        labels=dataset.labels[boxes],
        crowd=dataset.crowd[boxes],
        areas=dataset.areas[boxes],
    )


def rename_classes(dataset: Dataset, new_names: Mapping[str, str]) -> Dataset:
    """Classes under new names; several that get the same one become one, in the place of the first.

    DataError for a name that no class has.
    """
    unknown = sorted(set(new_names) - set(dataset.class_names))
    if unknown:
        raise DataError(
            f"class {unknown[0]!r} cannot be renamed; the classes are {', '.join(dataset.class_names)}",
            value=unknown[0],
        )
    renamed = [new_names.get(name, name) for name in dataset.class_names]
    return _renumber(dataset, renamed, tuple(dict.fromkeys(renamed)))


def keep_classes(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """Only the classes `names`, in that order; pictures that lose all their boxes go too, background stays."""
    unknown = [name for name in names if name not in dataset.class_names]
    if unknown:
        raise DataError(
            f"there is no class {unknown[0]!r}; the classes are {', '.join(dataset.class_names)}", value=unknown[0]
        )
    kept = take_boxes(dataset, np.isin(dataset.labels, [dataset.class_names.index(name) for name in names]))
    had, has = np.diff(dataset.box_offsets) > 0, np.diff(kept.box_offsets) > 0
    return with_classes(take_images(kept, np.flatnonzero(has | ~had)), tuple(names))


def with_classes(dataset: Dataset, class_names: tuple[str, ...]) -> Dataset:
    """The same boxes under a list of classes that has all names in use."""
    return _renumber(dataset, dataset.class_names, class_names)


def _renumber(dataset: Dataset, names: Sequence[str], class_names: tuple[str, ...]) -> Dataset:
    """names: what each label is called. Category ids go with the names where all have one, else they are 1..C."""
    ids = dict(zip(reversed(names), reversed(dataset.category_ids), strict=True))
    known = all(name in ids for name in class_names)
    # A COCO file is read in the order of its ids: they have to rise for the order of the classes to come back.
    own = tuple(ids[name] for name in class_names) if known else ()
    keeps = known and list(own) == sorted(set(own))
    new_label = np.array([class_names.index(name) if name in class_names else -1 for name in names], dtype=np.int64)
    return replace(
        dataset,
        labels=new_label[dataset.labels],
        class_names=class_names,
        category_ids=own if keeps else tuple(range(1, len(class_names) + 1)),
    )


def unify_classes(datasets: Sequence[Dataset]) -> list[Dataset]:
    """All under one list of classes, the union of theirs, with the same category ids."""
    if len({(dataset.class_names, dataset.category_ids) for dataset in datasets}) <= 1:
        return list(datasets)
    names = tuple(dict.fromkeys(name for dataset in datasets for name in dataset.class_names))
    ids = tuple(range(1, len(names) + 1))
    return [replace(with_classes(dataset, names), category_ids=ids) for dataset in datasets]


def join(datasets: Sequence[Dataset], split: str) -> Dataset:
    """All pictures one after another, under the union of the classes. Picture ids stay if no two are the same."""
    parts = unify_classes(datasets)
    counts = np.concatenate([np.diff(part.box_offsets) for part in parts])
    image_ids = np.concatenate([part.image_ids for part in parts])
    if len(set(image_ids.tolist())) < len(image_ids):
        image_ids = np.arange(1, len(image_ids) + 1, dtype=np.int64)
    return Dataset(
        split=split,
        image_paths=[path for part in parts for path in part.image_paths],
        image_ids=image_ids,
        image_sizes_wh=np.concatenate([part.image_sizes_wh for part in parts]),
        box_offsets=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes_xyxy=np.concatenate([part.boxes_xyxy for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        crowd=np.concatenate([part.crowd for part in parts]),
        areas=np.concatenate([part.areas for part in parts]),
        class_names=parts[0].class_names,
        category_ids=parts[0].category_ids,
    )


def sample(dataset: Dataset, count: int, seed: int) -> Dataset:
    """`count` pictures (all, where there are no more) drawn at random, in their old order."""
    generator = np.random.default_rng([seed, count])
    rows = generator.permutation(len(dataset))[:count]
    return take_images(dataset, np.sort(rows))


def share_out(dataset: Dataset, shares: Mapping[str, float], *, stratify: bool, seed: int) -> list[Dataset]:
    """Every picture in exactly one new split, in their old order within it; shares add up to 1.

    stratify: so that each class, and background, is shared out in the same proportions as the pictures, as far as
    pictures with several classes allow. Source: Sechidis et al. 2011, "On the stratification of multi-label data".
    """
    generator = np.random.default_rng([seed, len(dataset)])
    order = generator.permutation(len(dataset))
    homes = _stratified(dataset, order, shares) if stratify else _cut(order, shares)
    splits = list(shares)
    return [
        replace(take_images(dataset, np.flatnonzero(homes == place)), split=split) for place, split in enumerate(splits)
    ]


def _cut(order: Rows, shares: Mapping[str, float]) -> Rows:
    """(N,) number of the split of each picture: the first share of the order, then the next."""
    ends = np.rint(np.cumsum(list(shares.values())) * len(order)).astype(np.int64)
    homes = np.empty(len(order), dtype=np.int64)
    homes[order] = np.searchsorted(ends, np.arange(len(order)), side="right")
    return np.minimum(homes, len(shares) - 1)


def _stratified(dataset: Dataset, order: Rows, shares: Mapping[str, float]) -> Rows:
    """(N,) number of each picture's split: the rarest class first, each picture to the split that lacks it most."""
    content = _content(dataset)  # (N, C + 1)
    wanted_images = np.array(list(shares.values())) * len(order)  # (S,)
    wanted = np.outer(list(shares.values()), content.sum(axis=0))  # (S, C + 1)
    homes = np.full(len(order), -1, dtype=np.int64)
    while (homes < 0).any():
        left = content[homes < 0].sum(axis=0)
        rarest = int(np.where(left > 0, left, np.inf).argmin())
        for row in order[(homes[order] < 0) & (content[order, rarest] > 0)]:
            need = np.lexsort([wanted_images, wanted[:, rarest]])  # the last key counts first
            home = int(need[-1])
            homes[row] = home
            wanted[home] -= content[row]
            wanted_images[home] -= 1
    return homes


def _content(dataset: Dataset) -> NDArray[np.float64]:
    """(N, C + 1) boxes of each class in each picture; the last column is 1 where there is none."""
    num_classes = len(dataset.class_names)
    counts = np.zeros((len(dataset), num_classes + 1))
    rows = np.repeat(np.arange(len(dataset)), np.diff(dataset.box_offsets))
    np.add.at(counts, (rows, dataset.labels), 1)
    counts[:, num_classes] = np.diff(dataset.box_offsets) == 0
    return counts
