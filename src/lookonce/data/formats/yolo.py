"""YOLO text labels -> Annotations: a line is `class centre-x centre-y width height`, in fractions of the image (0..1).

A line `class x1 y1 x2 y2 x3 y3 ...` (a polygon) becomes its bounding box. The labels of `a/images/b/c.jpg` are in
`a/labels/b/c.txt` (the last `images` is replaced), or in `c.txt` beside the image; an image without a label file, or
with an empty one, is background. Images keep the order of a list file; those of a folder are sorted by path.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lookonce.boxes import xyxy_to_cxcywh
from lookonce.data.annotations import Annotations, shortest
from lookonce.data.dataset import Dataset
from lookonce.data.findings import Finding, Report
from lookonce.data.formats.voc import read_list
from lookonce.data.formats.yolo_rows import RowKind, choose_row_kind
from lookonce.data.headers import header_sizes_wh
from lookonce.data.images import IMAGE_SUFFIXES
from lookonce.data.splits import DataSource, in_order
from lookonce.errors import DataError

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
) -> Annotations:
    """Labels of the given images. origin lists the images, names_file the classes; both are for messages only.

    kpt_shape: K keypoints of D numbers follow each box.
    """
    lines = [(row, *line) for row, path in enumerate(label_paths) for line in _lines(path, report)]
    row_kind = choose_row_kind([words for _, _, words in lines], kpt_shape)
    if row_kind.doubt:
        report(Finding(name="uniform-rows", file=str(origin), message=f"{origin}: split {split!r}: {row_kind.doubt}"))
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
        image_ids=np.arange(1, len(image_paths) + 1, dtype=np.int64),
        image_sizes_wh=sizes,
        image_rows=image_rows,
        boxes_xyxy=flat[:, 1:] * np.concatenate([scale, scale], axis=1),
        labels=flat[:, 0].astype(np.int64),
        crowd=np.zeros(len(flat), dtype=np.bool_),
        areas=np.full(len(flat), math.nan),
        class_names=class_names,
        category_ids=tuple(range(1, len(class_names) + 1)),
        place=lambda row: f"{label_paths[rows[row]]} line {numbers[row]}",
        written="cxcywh",
    )


def _lines(path: Path, report: Report) -> list[tuple[int, list[str]]]:
    """(line number, words) of each label."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        return []
    except (OSError, ValueError) as error:
        message = f"{path}: cannot be read as text: {error}"
        report(Finding(name="unreadable-annotation", file=str(path), message=message))
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
            "unknown-class", f"class {words[0]} is outside 0..{count - 1} ({names_file.name}: {count} names)"
        )
    return label, *_box_of(numbers[:4] if row_kind.has_keypoints else numbers)


def _box_of(numbers: Sequence[float]) -> tuple[float, float, float, float]:
    """Centre and size, or the points of a polygon -> left, top, right, bottom."""
    if len(numbers) == 4:
        x, y, width, height = numbers
        return x - width / 2, y - height / 2, x + width / 2, y + height / 2
    return min(numbers[::2]), min(numbers[1::2]), max(numbers[::2]), max(numbers[1::2])


def list_images(entry: Path) -> list[Path]:
    """The images of a folder and its subfolders, sorted; or the lines of a list file, in their order.

    Lines are relative to the folder of the list file, or to its parent if the first image exists there only.
    """
    if entry.is_dir():
        return sorted(path for path in entry.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file())
    if entry.suffix.lower() == ".txt" and entry.is_file():
        return _listed_images(entry)
    raise DataError(
        f"{entry}: is no folder and no .txt file; expected a folder of images, or a list of them", path=entry
    )


def _listed_images(list_file: Path) -> list[Path]:
    lines = read_list(list_file)
    for base in (list_file.parent, list_file.parent.parent):
        if lines and (base / lines[0]).is_file():
            return [base / line for line in lines]
    return [list_file.parent / line for line in lines]


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


def class_names_in(content: dict[str, object], path: Path) -> tuple[str, ...]:
    """`names` of a data.yaml: a list, or a mapping 0..C-1 -> name; `nc`, if present, must be C."""
    names = content.get("names")
    if isinstance(names, dict):
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise DataError(
                f"{path}: names has the keys {list(names)[:8]}; expected 0..{len(names) - 1} without gaps",
                path=path,
                setting="names",
            )
        names = [names[label] for label in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(
            f"{path}: names is {names!r}; expected a list of class names, or a mapping index: name",
            path=path,
            setting="names",
        )
    texts = tuple(str(name) for name in names)
    if len(set(texts)) < len(texts):
        twice = next(name for name in texts if texts.count(name) > 1)
        raise DataError(
            f"{path}: class {twice!r} occurs twice in names; expected every name once",
            path=path,
            setting="names",
            value=twice,
        )
    if content.get("nc", len(texts)) != len(texts):
        raise DataError(
            f"{path}: nc is {content['nc']!r}; expected {len(texts)}, the number of names", path=path, setting="nc"
        )
    return texts


def open_yolo(path: Path, content: dict[str, Any], entries: dict[str, Any]) -> DataSource:
    """The data set of a data.yaml. content: the whole file; entries: split -> path or list of paths."""
    class_names = class_names_in(content, path)

    def read(split: str, report: Report) -> Annotations:
        written = entries[split] if isinstance(entries[split], list) else [entries[split]]
        found = [_yolo_entry(path, content.get("path"), entry, split) for entry in written]
        images = [image for entry in found for image in list_images(entry)]
        labels = [label_path(image) for image in images]
        return read_yolo(images, labels, class_names, split, found[0], path, report)

    return DataSource(path, "yolo", in_order(entries), read)


def _yolo_entry(file: Path, root: object, entry: object, split: str) -> Path:
    """Resolve a path in a data.yaml: relative to `path`, else to the folder of the file.

    Some programs export a `path` relative to their own folder, or one `../` too many; then the path relative to the
    folder of the file is used.
    """
    if not isinstance(entry, str):
        raise DataError(
            f"{file}: {split} is {entry!r}; expected a folder, a .txt list, or a list of these",
            path=file,
            setting=split,
            value=entry,
        )
    here = file.parent
    bases = [here / str(root), here] if root else [here]
    candidates = [base / entry for base in bases] + [here / entry.removeprefix("../")]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise DataError(
        f"{file}: {split} is {entry!r}, but {candidates[0]} does not exist; expected a path relative to {bases[0]}",
        path=file,
        setting=split,
        value=entry,
    )


def write_yolo(folder: Path, datasets: Sequence[Dataset]) -> None:
    """Write data.yaml, labels/SPLIT/*.txt and SPLIT.txt for splits whose images are in images/SPLIT/.

    Fractions are written with all digits, so that corners read back to within SNAP_PIXELS.
    The format has no flag for crowd boxes: they are left out.
    """
    for dataset in datasets:
        labels = folder / "labels" / dataset.split
        labels.mkdir(parents=True)
        for index, path in enumerate(dataset.image_paths):
            (labels / f"{path.stem}.txt").write_text(_label_lines(dataset, index), encoding="utf-8")
        lines = "".join(f"./images/{dataset.split}/{path.name}\n" for path in dataset.image_paths)
        (folder / f"{dataset.split}.txt").write_text(lines, encoding="utf-8")
    splits = {dataset.split: f"{dataset.split}.txt" for dataset in datasets}
    content = {**splits, "names": dict(enumerate(datasets[0].class_names))}
    (folder / "data.yaml").write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")


def _label_lines(dataset: Dataset, index: int) -> str:
    rows = dataset.rows(index)
    fractions = xyxy_to_cxcywh(dataset.boxes_xyxy[rows]) / np.tile(dataset.image_sizes_wh[index], 2)
    labelled = zip(dataset.labels[rows], fractions, dataset.crowd[rows], strict=True)
    lines = (" ".join([str(label), *map(shortest, box)]) + "\n" for label, box, crowd in labelled if not crowd)
    return "".join(lines)
