"""`lookonce convert-data`: copies a data set to another format, optionally with other splits or classes."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from lookonce.data.box_conventions import BOX_CONVENTIONS
from lookonce.data.dataset import Dataset
from lookonce.data.fingerprint import near_copy_groups
from lookonce.data.held_out import fingerprints
from lookonce.data.selection import join, keep_classes, rename_classes, sample, share_out, unify_classes
from lookonce.data.source import open_data
from lookonce.data.splits import SPLITS, DataSource
from lookonce.data.write import Copy, Format, Placing, own_format, require_format, require_new, write_data
from lookonce.errors import DataError, SettingsError
from lookonce.log import progress_of
from lookonce.request import old_names
from lookonce.settings.names import counted, few, require_one_of, split_list


@old_names(pictures="image_files")
def convert_data(
    source: str | Path,
    destination: Path,
    *,
    to: Format | None = None,
    images: Path | None = None,
    follow_links: bool = False,
    splits: Sequence[str] | None = None,
    merge: Sequence[Path] | None = None,
    rename: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    count: int = 0,
    split: str | None = None,
    stratify: bool = False,
    seed: int = 0,
    image_files: Placing = "copy",
    boxes: str = "",
    on_progress: Callable[[int, int], None] | None = None,
) -> Copy:
    """Copy a data set to another format, optionally with other splits and classes.

    The copy is read back and compared before it is published. As in training, boxes without an area are dropped and
    boxes are clipped to the image. The originals are never changed.

    Parameters
    ----------
    source
        Labelled images: a data set in any layout of docs/data.md, or an annotation JSON together with --images.
    destination
        Folder to create; it must be new or empty.
    to
        Format of the copy. Default: that of SOURCE; COCO if lookonce only reads it.
    images
        Image folder of an annotation JSON.
    follow_links
        Read images through symbolic links that lead out of the data set; without it they are refused.
    splits
        Splits to copy; default: train, val and test, those that exist.
    merge
        Further data sets to merge, split by split; classes of the same name become one.
    rename
        Classes to rename, each as OLD:NEW; several with the same NEW become one class.
    classes
        Classes to keep, in this order, by their names after renaming; images that lose all their boxes are left out.
    count
        Random sample: images to keep per split; 0 keeps all.
    split
        New random split of all images: fractions for train, val and, optionally, test; 0.8/0.1/0.1 or 0.8/0.2.
        Near-copies, such as frames of one scene, stay together, unless they are more than the smallest split.
    stratify
        With --split: stratified, i.e. similar class proportions in each split.
    seed
        Random seed; the same seed selects the same images.
    image_files
        copy, or link: hard links need no space but share their bytes with the original images.
    boxes
        What the numbers of a box are, if not what the format says; names as in the finding box-convention of check:
        corners or top-left (YOLO rows of fractions), pixels or pixel-corners (YOLO rows of pixels), xyxy-as-xywh or
        centres (COCO), xywh-as-xyxy (corner formats), fractions (formats of pixels).
    on_progress
        Called with (images copied, images in total).
    """
    if to is not None:
        require_format(to)
    require_new(destination)
    shares = read_shares(split or "")
    if stratify and not shares:
        problem = "expected together with split, e.g. --split 0.8/0.1/0.1 --stratify"
        raise SettingsError(f"stratify: {problem}", setting="stratify")
    if count < 0:
        raise SettingsError.of("count", count, "expected 0 (all) or more")
    opened = open_data(source, images, follow_links=follow_links)
    if boxes:
        require_one_of("boxes", boxes, BOX_CONVENTIONS)
        opened.boxes = BOX_CONVENTIONS[boxes]
    sources = [opened, *(open_data(more, follow_links=follow_links) for more in merge or ())]
    datasets = [_with_classes(dataset, rename or (), classes or ()) for dataset in _merged(sources, splits)]
    if count:
        datasets = [sample(dataset, count, seed) for dataset in datasets]
    if shares:
        joined = join(datasets, "all")
        with progress_of("compare images") as on_compared:
            groups = near_copy_groups(fingerprints(joined.image_paths, on_compared))
        datasets = share_out(joined, shares, groups, stratify=stratify, seed=seed)
    for dataset in datasets:
        if not len(dataset):
            problem = "would have no images; choose fewer splits or larger fractions"
            raise DataError(f"split: {dataset.split!r} {problem}", setting="split", value=dataset.split)
    to = to or own_format(opened.format)
    return write_data(datasets, destination, to=to, placing=image_files, on_progress=on_progress)


def as_text(copy: Copy) -> Iterator[str]:
    for split, count in copy.images.items():
        boxes = copy.boxes[split]
        yield f"{split}: {counted(count, 'image')}, {counted(boxes, 'box')}"
    if copy.crowd_left_out:
        yield f"crowd boxes left out: {copy.crowd_left_out}; {copy.format} files cannot mark them"
    if copy.renamed:
        path, name = next(iter(copy.renamed.items()))
        yield f"images renamed because of duplicate names: {len(copy.renamed)}, e.g. {path} to {name}"
    exact = copy.largest_difference == 0
    difference = "bit-exact" if exact else f"within {copy.largest_difference:.1g} pixels"
    yield f"written: {copy.folder} ({copy.format}); its boxes read back {difference}"


def read_shares(text: str) -> dict[str, float]:
    """`0.8/0.1/0.1` -> {"train": 0.8, "val": 0.1, "test": 0.1}; "" -> {}. Else SettingsError."""
    if not text:
        return {}
    try:
        numbers = [float(part) for part in text.split("/")]
    except ValueError:
        numbers = []
    right = 2 <= len(numbers) <= 3 and all(number > 0 for number in numbers) and math.isclose(sum(numbers), 1)
    if not right:
        expected = "expected 2 or 3 fractions with sum 1 for train, val and test, e.g. 0.8/0.1/0.1"
        raise SettingsError.of("split", text, expected)
    return dict(zip(SPLITS, numbers, strict=False))


def read_renames(words: Sequence[str], class_names: Sequence[str]) -> dict[str, str]:
    """`OLD:NEW` each -> {old: new}. Names may contain colons: OLD is the longest prefix that is a class name."""
    renames = {}
    for word in words:
        cuts = [place for place, letter in enumerate(word) if letter == ":" and word[:place] in class_names]
        if not cuts or not word[cuts[-1] + 1 :].strip():
            raise SettingsError.of("rename", word, f"expected OLD:NEW, where OLD is one of {few(class_names)}")
        renames[word[: cuts[-1]]] = word[cuts[-1] + 1 :].strip()
    return renames


def _merged(sources: Sequence[DataSource], splits: Sequence[str] | None) -> list[Dataset]:
    """The splits of all sources with unified classes; splits of the same name are merged.

    By default train, val and test, or all splits of a source that has none of these; others, such as VOC's trainval,
    repeat images.
    """
    read = []
    for source in sources:
        usual = [split for split in source.splits if split in SPLITS] or list(source.splits)
        read += [source.split(name) for name in splits or usual]
    names = dict.fromkeys(dataset.split for dataset in read)
    unified = unify_classes(read)
    return [join([dataset for dataset in unified if dataset.split == name], name) for name in names]


def _with_classes(dataset: Dataset, rename: Sequence[str], classes: Sequence[str]) -> Dataset:
    renamed = rename_classes(dataset, read_renames(rename, dataset.class_names)) if rename else dataset
    if not classes:
        return renamed
    # `car,bus` equals `car bus`, unless a class has the name `car,bus`.
    known = ([word] if word in renamed.class_names else split_list(word) for word in classes)
    return keep_classes(renamed, [name for names in known for name in names])
