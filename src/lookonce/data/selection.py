"""New data sets from others: select images or classes, rename classes, join data sets, split one.

All functions are pure; they read and write no files.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lookonce.data.dataset import Dataset, columns, joined_columns, offsets_of
from lookonce.errors import DataError
from lookonce.settings.names import few, suggested_value

Rows = NDArray[np.int64]


def even_choice(total: int, count: int) -> Rows:
    """Up to `count` of the indices 0..total-1, evenly spaced."""
    if not total or not count:
        return np.zeros(0, np.int64)
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(np.int64))


def take_images(dataset: Dataset, rows: Rows) -> Dataset:
    """The images `rows` (K,) with their boxes, in that order; without `never_found`, as in all new data sets."""
    return replace(dataset, never_found=None).take(rows)


def take_boxes(dataset: Dataset, keep: NDArray[np.bool_]) -> Dataset:
    """All images, with the boxes where `keep` (M,) is true; without `never_found`."""
    offsets = np.concatenate([[0], np.cumsum(keep)])[dataset.box_offsets].astype(np.int64)
    return replace(dataset, box_offsets=offsets, never_found=None, **columns(dataset, keep))


def rename_classes(dataset: Dataset, new_names: Mapping[str, str]) -> Dataset:
    """Rename classes (old name -> new name); classes with the same new name are merged, at the index of the first.

    DataError for an old name that no class has.
    """
    _require_classes(dataset, new_names, "rename")
    renamed = [new_names.get(name, name) for name in dataset.class_names]
    return _renumber(dataset, renamed, tuple(dict.fromkeys(renamed)))


def _require_classes(dataset: Dataset, names: Iterable[str], purpose: str) -> None:
    for name in names:
        if name not in dataset.class_names:
            hint = suggested_value(name, dataset.class_names) or f"; the classes are {few(dataset.class_names)}"
            raise DataError(f"unknown class {name!r} to {purpose}{hint}", value=name)


def keep_classes(dataset: Dataset, names: Sequence[str]) -> Dataset:
    """Only the classes `names`, in that order; images that lose all their boxes are dropped, background stays."""
    _require_classes(dataset, names, "keep")
    kept = take_boxes(dataset, np.isin(dataset.labels, [dataset.class_names.index(name) for name in names]))
    had, has = dataset.box_counts > 0, kept.box_counts > 0
    return with_classes(take_images(kept, np.flatnonzero(has | ~had)), tuple(names))


def with_classes(dataset: Dataset, class_names: tuple[str, ...]) -> Dataset:
    """The same boxes with another class list, which must contain every class that has boxes."""
    return _renumber(dataset, dataset.class_names, class_names)


def _renumber(dataset: Dataset, names: Sequence[str], class_names: tuple[str, ...]) -> Dataset:
    """names: the name of each label. Category ids are kept if every class has one and they ascend, else 1..C."""
    ids = dict(zip(reversed(names), reversed(dataset.category_ids), strict=True))
    known = all(name in ids for name in class_names)
    # Classes of a COCO file are ordered by category id, so that only ascending ids preserve the order.
    own = tuple(ids[name] for name in class_names) if known else ()
    keeps = known and list(own) == sorted(set(own))
    new_label = np.array([class_names.index(name) if name in class_names else -1 for name in names], dtype=np.int64)
    return replace(
        dataset,
        labels=new_label[dataset.labels],
        class_names=class_names,
        never_found=None,
        category_ids=own if keeps else tuple(range(1, len(class_names) + 1)),
    )


def unify_classes(datasets: Sequence[Dataset]) -> list[Dataset]:
    """All data sets with one class list, the union of theirs, and the same category ids."""
    if len({(dataset.class_names, dataset.category_ids) for dataset in datasets}) <= 1:
        return list(datasets)
    names = tuple(dict.fromkeys(name for dataset in datasets for name in dataset.class_names))
    ids = tuple(range(1, len(names) + 1))
    return [replace(with_classes(dataset, names), category_ids=ids) for dataset in datasets]


def join(datasets: Sequence[Dataset], split: str) -> Dataset:
    """Concatenate the images, with the union of the classes. Image ids are kept if all differ, else 1..N."""
    parts = unify_classes(datasets)
    counts = np.concatenate([part.box_counts for part in parts])
    image_ids = np.concatenate([part.image_ids for part in parts])
    if len(set(image_ids.tolist())) < len(image_ids):
        image_ids = np.arange(1, len(image_ids) + 1, dtype=np.int64)
    return Dataset(
        split=split,
        image_paths=[path for part in parts for path in part.image_paths],
        image_ids=image_ids,
        image_sizes_wh=np.concatenate([part.image_sizes_wh for part in parts]),
        box_offsets=offsets_of(counts),
        **joined_columns(parts),
        class_names=parts[0].class_names,
        category_ids=parts[0].category_ids,
    )


def sample(dataset: Dataset, count: int, seed: int) -> Dataset:
    """`count` images (all if there are fewer) drawn at random, in their original order."""
    generator = np.random.default_rng([seed, count])
    rows = generator.permutation(len(dataset))[:count]
    return take_images(dataset, np.sort(rows))


def cut_groups(groups: Rows, most: int) -> Rows:
    """(N,) groups of images, those of more than `most` cut into runs of consecutive images."""
    order = np.argsort(groups, kind="stable")
    index = np.empty(len(groups), np.int64)  # of each image in its group
    index[order] = np.arange(len(groups)) - np.searchsorted(groups[order], groups[order])
    runs = np.stack([groups, index // max(most, 1)], axis=1)
    return np.unique(runs, axis=0, return_inverse=True)[1].reshape(-1)


def share_out(
    dataset: Dataset, shares: Mapping[str, float], groups: Rows | None = None, *, stratify: bool, seed: int
) -> list[Dataset]:
    """Split the images at random: each into exactly one new split, in their original order within it.

    shares: split -> fraction of the images; they add up to 1. groups: (N,) of images that stay together, such as
    near-copies; those with more images than the smallest split are cut. stratify: give each split the same fraction of
    every class and of background, as far as images with several classes allow. Source: Sechidis et al. 2011, "On the
    stratification of multi-label data".
    """
    generator = np.random.default_rng([seed, len(dataset)])
    groups = np.arange(len(dataset)) if groups is None else cut_groups(groups, int(min(shares.values()) * len(dataset)))
    sizes = np.bincount(groups)
    order = generator.permutation(len(sizes))
    if stratify:
        homes = _stratified(dataset, groups, order, shares)
    else:  # consecutive parts of `order`
        ends = np.rint(np.cumsum(list(shares.values())) * len(dataset)).astype(np.int64)
        starts = np.cumsum(sizes[order]) - sizes[order]
        homes = np.empty(len(order), dtype=np.int64)
        homes[order] = np.minimum(np.searchsorted(ends, starts, side="right"), len(shares) - 1)
    homes = homes[groups]
    return [
        replace(take_images(dataset, np.flatnonzero(homes == place)), split=split) for place, split in enumerate(shares)
    ]


def _stratified(dataset: Dataset, groups: Rows, order: Rows, shares: Mapping[str, float]) -> Rows:
    """(G,) index of each group's split: the rarest class first, each group to the split that lacks it most."""
    # (G, C + 1) number of boxes of each class in each group; the last column counts background images.
    content = np.zeros((len(order), len(dataset.class_names) + 1))
    np.add.at(content, (groups[dataset.image_rows], dataset.labels), 1)
    np.add.at(content[:, -1], groups, dataset.box_counts == 0)
    sizes = np.bincount(groups)
    wanted_images = np.array(list(shares.values())) * len(dataset)  # (S,)
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
            wanted_images[home] -= sizes[row]
    return homes
