"""YOLO text labels -> Annotations: a line is `class centre-x centre-y width height`, in fractions of the image (0..1).

A line `class x1 y1 x2 y2 x3 y3 ...` (a polygon) becomes its bounding box. The labels of `a/images/b/c.jpg` are in
`a/labels/b/c.txt` (the last `images` is replaced), or in `c.txt` beside the image; an image without a label file, or
with an empty one, is background. Images keep the order of a list file; those of a folder are sorted by path.
"""

import math
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lookonce.boxes import xyxy_to_cxcywh
from lookonce.data.annotations import Annotations, shortest, without_ids
from lookonce.data.dataset import Dataset
from lookonce.data.findings import Finding, Report, ignore
from lookonce.data.formats.names import checked_names, is_names_file, read_list
from lookonce.data.formats.shapes import around, of_centre
from lookonce.data.formats.yolo_rows import RowKind, choose_row_kind, joined_rows
from lookonce.data.headers import header_sizes_wh, missing_rows
from lookonce.data.listing import Listing, Locator, locate_images, split_of_folders
from lookonce.data.splits import DataSource, in_order
from lookonce.errors import DataError
from lookonce.settings.names import counted, few
from lookonce.storage import read_text_file

MAX_CLASSES = 100_000
# Text files that lie beside label files.
_NO_LABELS = re.compile(r"(train|val|valid|test|all|images|readme.*|license.*|changes|notes)\.txt$", re.IGNORECASE)
Row = tuple[float, float, float, float, float]  # class, then xyxy in fractions of the image


def read_yolo(
    image_paths: Sequence[Path],
    label_paths: Sequence[Path],
    class_names: tuple[str, ...],
    split: str,
    origin: Path,
    names_file: Path,
    report: Report,
    *,
    kpt_shape: tuple[int, int] | None = None,
    other_labels: Callable[[], Sequence[Path]] = list,
) -> Annotations:
    """Labels of the given images. origin lists the images, names_file the classes; both are for messages only.

    kpt_shape: K keypoints of D numbers follow each box. other_labels: the label files of the other splits, which are
    read if the rows of this one could be polygons or keypoints.
    """
    lines = [(row, *line) for row, path in enumerate(label_paths) for line in _lines(path, report)]

    def other_rows() -> list[list[str]]:
        with suppress(DataError):  # reported when that split is read
            return [words for path in other_labels() for _, words in _lines(path, ignore)]
        return []

    of_all = [words for _, _, words in lines]
    row_kind = choose_row_kind(of_all, kpt_shape, other_rows)
    if row_kind.doubt:
        report(Finding(name="uniform-rows", file=str(origin), message=f"{origin}: split {split!r}: {row_kind.doubt}"))
    joined = [] if row_kind.has_keypoints else joined_rows(of_all)
    for row, number, words in (lines[place] for place in joined):
        problem = f"line {number} has {len(words)} numbers, unlike nearly all others; are two boxes on one line?"
        report(Finding.at("joined-rows", label_paths[row], problem))
    rows, numbers, values = [], [], []
    for row, number, words in lines:
        try:
            values.append(_read_line(words, class_names, names_file, row_kind))
        except _BadLabel as bad:
            message = f"{label_paths[row]} line {number}: {bad}"
            report(Finding(name=bad.name, file=str(label_paths[row]), message=message))
        else:
            rows.append(row)
            numbers.append(number)
    image_rows = np.array(rows, dtype=np.int64)
    flat = np.array(values, dtype=np.float64).reshape(-1, 5)
    sizes = header_sizes_wh(image_paths, report)
    scale = sizes[image_rows].astype(np.float64)  # (M, 2)
    return Annotations(
        split=split,
        origin=origin,
        image_paths=image_paths,
        image_sizes_wh=sizes,
        image_rows=image_rows,
        boxes_xyxy=flat[:, 1:] * np.concatenate([scale, scale], axis=1),
        labels=flat[:, 0].astype(np.int64),
        crowd=np.zeros(len(flat), dtype=np.bool_),
        **without_ids(len(image_paths), len(flat), class_names),
        place=lambda row: f"{label_paths[rows[row]]} line {numbers[row]}",
        written="cxcywh",
    )


def _lines(path: Path, report: Report) -> list[tuple[int, list[str]]]:
    """(line number, words) of each label."""
    try:
        text = read_text_file(path)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError) as error:
        report(Finding.at("unreadable-annotation", path, f"cannot be read as text: {error}"))
        return []
    return [(number, line.split()) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]


class _BadLabel(Exception):
    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def _read_line(words: Sequence[str], class_names: tuple[str, ...], names_file: Path, row_kind: RowKind) -> Row:
    try:
        label, *numbers = (float(word) for word in words)
    except ValueError:
        raise _BadLabel("malformed-entry", f"{' '.join(words)[:60]!r}; expected numbers only") from None
    if not row_kind.takes(len(words)):
        raise _BadLabel("malformed-entry", f"count of numbers is {len(words)}; expected {row_kind.expected}")
    if not all(map(math.isfinite, numbers)):
        raise _BadLabel("box-not-finite", f"{' '.join(words)[:60]!r} is not finite; expected fractions of the image")
    if not (label.is_integer() and 0 <= label < len(class_names)):
        count = len(class_names)
        raise _BadLabel(
            "unknown-class", f"class {words[0]} is outside 0..{count - 1} ({names_file.name}: {counted(count, 'name')})"
        )
    is_polygon = len(numbers) > 4 and not row_kind.has_keypoints
    box = around(zip(numbers[::2], numbers[1::2], strict=True)) if is_polygon else of_centre(*numbers[:4])
    return label, *box


def list_images(entry: Path, report: Report) -> list[Path]:
    """The images of a folder and its subfolders, sorted; or the lines of a list file, in their order.

    Lines are relative to the folder of the list file, or to its parent if the first image exists there only; images
    that are not there are looked for by their names (`locate_images`).
    """
    if entry.is_dir():
        listing = Listing(entry)
        report_other_images(listing, report)
        if not listing.images and (labels := label_files(Listing(folder := label_path(entry / "image").parent))):
            problem = f"holds no images, though {folder} has {counted(len(labels), 'label file')}; are they elsewhere?"
            report(Finding.at("label-without-image", entry, problem))
        return [entry / file for file in listing.images]
    if entry.suffix.lower() == ".txt" and entry.is_file():
        lines = read_list(entry)
        bases = (entry.parent, entry.parent.parent)
        base = next((base for base in bases if lines and not missing_rows([base / lines[0]])), entry.parent)
        located = locate_images(lines, base, None, entry, report)
        return [found or base / line for found, line in zip(located, lines, strict=True)]
    raise DataError.at(entry, "is no folder and no .txt file; expected a folder of images, or a list of them")


def report_other_images(listing: Listing, report: Report) -> None:
    for file in listing.other_images:
        problem = f"{Path(file).suffix} is not read and the image is left out"
        report(Finding.at("unreadable-suffix", listing.root / file, problem))


def label_path(image: Path) -> Path:
    """The label file of an image: in labels/ in place of images/, else beside the image if only that exists."""
    parts = list(image.parts)
    positions = [index for index, part in enumerate(parts[:-1]) if part == "images"]
    beside = image.with_suffix(".txt")
    if not positions:
        return beside
    parts[positions[-1]] = "labels"
    by_rule = Path(*parts).with_suffix(".txt")
    return beside if beside.is_file() and not by_rule.is_file() else by_rule


def label_paths(images: Sequence[Path], root: Path) -> list[Path]:
    """The label file of each image by `label_path`; if that finds none at all, the file in `root` with its name."""
    by_rule = [label_path(image) for image in images]
    if len(missing_rows(by_rule)) < len(by_rule) or not images:
        return by_rule
    listing = Listing(root)
    locator = Locator(label_files(listing))
    try:
        found = [locator.find(image.relative_to(root).with_suffix(".txt").as_posix()) for image in images]
    except ValueError:  # an image outside of `root`
        return by_rule
    return [root / file if file else rule for file, rule in zip(found, by_rule, strict=True)]


def label_files(listing: Listing) -> list[str]:
    """Text files that can be label files: not class names and not lists of images."""
    return [
        file
        for file in listing.with_suffix(".txt")
        if not is_names_file(file) and not _NO_LABELS.match(file.rpartition("/")[2])
    ]


def read_entries(
    entries: Sequence[Path],
    class_names: tuple[str, ...],
    split: str,
    file: Path,
    report: Report,
    *,
    kpt_shape: tuple[int, int] | None = None,
    other_entries: Callable[[], Sequence[Path]] = list,
) -> Annotations:
    """The images of folders and list files, with their labels. file: the description that names them.

    other_entries: the folders and list files of the other splits, see `read_yolo`.
    """

    def pairs(entries: Sequence[Path], report: Report) -> tuple[list[Path], list[Path]]:
        images = [image for entry in entries for image in list_images(entry, report)]
        return images, label_paths(images, file.parent)

    def other_labels() -> list[Path]:
        return pairs(other_entries(), ignore)[1]

    images, labels = pairs(entries, report)
    report_pairs(images, labels, report)
    return read_yolo(
        images,
        labels,
        class_names,
        split,
        entries[0],
        file,
        report,
        kpt_shape=kpt_shape,
        other_labels=other_labels,
    )


def report_pairs(images: Sequence[Path], labels: Sequence[Path], report: Report) -> None:
    """Report images without a label file, label files of two images, and label files beside these without an image.

    The image of a label file may be in another split: splits are often lists of images in one folder.
    """
    missing = set(missing_rows(labels))
    owner: dict[Path, Path] = {}
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        if row in missing:
            report(Finding.at("no-label-file", image, f"has no label file {label} and counts as background"))
        elif owner.setdefault(label, image) != image:
            message = f"{label}: is the label file of {owner[label].name} and {image.name}; expected one file an image"
            report(Finding(name="shared-label-file", file=str(image), message=message, twin=str(owner[label])))
    image_folders: dict[Path, set[Path]] = defaultdict(set)
    for image, label in zip(images, labels, strict=True):
        image_folders[label.parent].add(image.parent)
    for folder, places in image_folders.items():
        listings = [Listing(place, depth=1) for place in places]
        stems = {Path(file).stem for listing in listings for file in listing.images + listing.other_images}
        for file in label_files(Listing(folder, depth=1)):
            if Path(file).stem not in stems:
                report(Finding.at("label-without-image", folder / file, "belongs to no image"))


def class_names_in(content: dict[str, object], path: Path) -> tuple[str, ...]:
    """`names` of a data.yaml, all texts: a list, or a mapping 0..C-1 -> name; `nc`, if present, must be C."""
    names = content.get("names")
    if isinstance(names, dict):
        by_index = {int(key): name for key, name in names.items() if isinstance(key, str) and key.isdecimal()}
        if len(by_index) < len(names) or sorted(by_index) != list(range(len(names))):
            shown = few([*map(str, names)])
            raise DataError.at(
                path, f"names has the keys [{shown}]; expected 0..{len(names) - 1} without gaps", setting="names"
            )
        names = [by_index[label] for label in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError.at(
            path, f"names is {names!r}; expected a list of class names, or a mapping index: name", setting="names"
        )
    wrong = [name for name in names if not isinstance(name, str) or not name]
    if wrong:
        raise DataError.at(path, f"names has {wrong[0]!r}; expected texts", setting="names", value=wrong[0])
    texts = checked_names(names, path)
    if content.get("nc", len(texts)) != len(texts):
        raise DataError.at(path, f"nc is {content['nc']!r}; expected {len(texts)}, the number of names", setting="nc")
    return texts


def open_yolo(path: Path, content: dict[str, Any], entries: dict[str, Any]) -> DataSource:
    """The data set of a data.yaml. content: the whole file; entries: split -> path or list of paths."""
    files = [] if "names" in content else names_files(Listing(path.parent, depth=1))
    class_names = checked_names(read_list(files[0]), files[0]) if files else class_names_in(content, path)
    kpt_shape = shape = content.get("kpt_shape")
    if shape is not None:
        whole = isinstance(shape, list) and len(shape) == 2 and all(type(number) is int for number in shape)
        if not whole or shape[0] < 1 or shape[1] not in {2, 3}:
            problem = f"kpt_shape is {shape!r}; expected [number of keypoints, 2 or 3]"
            raise DataError.at(path, problem, setting="kpt_shape", value=shape)
        kpt_shape = (shape[0], shape[1])

    def found(split: str) -> list[Path]:
        written = entries[split] if isinstance(entries[split], list) else [entries[split]]
        return [described_path(path, entry, split, content.get("path")) for entry in written]

    def read(split: str, report: Report) -> Annotations:
        return read_entries(
            found(split),
            class_names,
            split,
            path,
            report,
            kpt_shape=kpt_shape,
            other_entries=lambda: [entry for other in entries if other != split for entry in found(other)],
        )

    return DataSource(path, "yolo", in_order(entries), read)


def names_files(listing: Listing) -> list[Path]:
    """Files of class names, those nearest to the root first."""
    files = [file for file in listing.files if is_names_file(file)]
    return [listing.root / file for file in sorted(files, key=lambda file: (file.count("/"), file))]


def described_path(file: Path, entry: object, setting: str, root: object = None) -> Path:
    """Resolve a path in a description: relative to `root` (`path` of a data.yaml), else to the folder of the file.

    Some programs export a path of their own machine, relative to another folder, or one `../` too many: then the
    longest end of it that exists in the folder of the file, or in that above, is used.
    """
    if not isinstance(entry, str) or "\0" in entry:
        problem = f"{setting} is {entry!r}; expected a folder, a .txt list, or a list of these"
        raise DataError.at(file, problem, setting=setting, value=entry)
    here = file.parent
    bases = [here / str(root), here] if isinstance(root, str) and root else [here]
    parts = [part for part in entry.replace("\\", "/").split("/") if part not in {"", ".", ".."}]
    whole = "/".join(parts)
    ends = ["/".join(parts[start:]) for start in range(len(parts))]
    ends = [end for end in ends if split_of_folders(f"{end}/") == split_of_folders(f"{whole}/")]  # val is not train
    candidates = [base / entry for base in bases] + [base / end for end in ends for base in bases]
    candidates += [here.parent / whole]
    for candidate in candidates:
        with suppress(OSError):  # a name that is too long
            if candidate.exists():
                return candidate
    above = entry.startswith("../")  # Roboflow writes ../valid/images, and means valid/images
    absent = f"neither {candidates[0]} nor {bases[0] / whole} exists" if above else f"{candidates[0]} does not exist"
    expected = f"expected a path relative to {bases[0]}{or_without(setting)}"
    raise DataError.at(file, f"{setting} is {entry!r}, but {absent}; {expected}", setting=setting, value=entry)


def or_without(split: str) -> str:
    """The other next step where the files of a described split are missing; "" for train and for other entries."""
    more = {"val": ": training then holds out a part of train", "test": ""}.get(split)
    return "" if more is None else f"; if there are no {split} images, remove this entry{more}"


def write_yolo(folder: Path, datasets: Sequence[Dataset]) -> None:
    """Write data.yaml, labels/SPLIT/*.txt and SPLIT.txt for splits whose images are in images/SPLIT/.

    Fractions are written with all digits, so that corners read back to within SNAP_PIXELS.
    The format has no flag for crowd boxes: they are left out.
    """
    for dataset in datasets:
        labels = folder / "labels" / dataset.split
        labels.mkdir(parents=True)
        for index, path in enumerate(dataset.image_paths):
            rows = dataset.rows(index)
            fractions = xyxy_to_cxcywh(dataset.boxes_xyxy[rows]) / np.tile(dataset.image_sizes_wh[index], 2)
            labelled = zip(dataset.labels[rows], fractions, dataset.crowd[rows], strict=True)
            text = "".join(f"{label} {' '.join(map(shortest, box))}\n" for label, box, crowd in labelled if not crowd)
            (labels / f"{path.stem}.txt").write_text(text, encoding="utf-8")
        lines = "".join(f"./images/{dataset.split}/{path.name}\n" for path in dataset.image_paths)
        (folder / f"{dataset.split}.txt").write_text(lines, encoding="utf-8")
    splits = {dataset.split: f"{dataset.split}.txt" for dataset in datasets}
    content = {**splits, "names": dict(enumerate(datasets[0].class_names))}
    (folder / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
