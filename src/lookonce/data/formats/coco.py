"""COCO detection JSON -> Annotations. Format: https://cocodataset.org/#format-data, "Object Detection".

Classes are ordered by category id; ids may be any integers, or text. Masks are read only where an annotation has no
box; each box's `area` is read. 118,000 images with 860,000 boxes are read in seconds: annotations become arrays part by
part, each key is checked for all items of a part at once, and single items are converted only if that check fails.
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookonce.collector import collecting_later
from lookonce.data.annotations import Annotations, snap
from lookonce.data.dataset import Dataset
from lookonce.data.findings import Finding, Report, ignore
from lookonce.data.formats.coco_json import load_coco_json, show
from lookonce.data.formats.coco_values import annotation_values, category_values, image_values
from lookonce.data.headers import stated_or_header_sizes_wh
from lookonce.data.listing import locate_images
from lookonce.data.shards import is_in_shard
from lookonce.errors import DataError
from lookonce.log import get_logger
from lookonce.parsed import INT64
from lookonce.settings.names import few

Item = dict[str, Any]
Rule = tuple[Callable[[Any], bool], str]
Rules = dict[str, Rule]
Ids = NDArray[np.int64] | NDArray[np.object_]


@dataclass(frozen=True, kw_only=True)
class _Boxes:
    """Annotations as arrays of M. ids: None where an annotation has none. problems: of the items that are left out."""

    ids: Ids
    image_ids: Ids
    category_ids: Ids
    boxes_xywh: NDArray[np.float64]  # (M, 4) pixels
    crowd: NDArray[np.bool_]
    areas: NDArray[np.float64]  # NaN where the annotation has none
    problems: dict[int, str]
    num_items: int  # with those that are left out


_COLUMNS = ("ids", "image_ids", "category_ids", "boxes_xywh", "crowd", "areas")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_ID: Rule = (lambda value: type(value) in {int, str} and value != "", "an integer or a text")
_SIZE: Rule = (lambda value: type(value) is int and 0 < value < 2**31, "an integer above 0, in pixels")
_TEXT: Rule = (lambda value: isinstance(value, str) and bool(value), "a non-empty string")
_BOX: Rule = (
    lambda value: isinstance(value, list) and len(value) == 4 and all(map(_is_number, value)),
    "[left, top, width, height] in pixels",
)
_FLAG: Rule = (lambda value: value in (0, 1), "0 or 1")
_AREA: Rule = (lambda value: value is None or _is_number(value), "a number of pixels")


@collecting_later()
def read_coco(json_path: Path, images_dir: Path, split: str, report: Report) -> Annotations:
    """Read an annotation file, whose images are in `images_dir` under their `file_name`.

    DataError if the file is not COCO JSON; single invalid items are reported and left out.
    """
    content, parts = load_coco_json(json_path, _columns)
    boxes = _joined(parts, json_path, report)
    class_names, category_ids = _read_categories(content["categories"], boxes.category_ids, json_path)
    images, image_paths = _located(_images(content["images"], json_path, report), images_dir, split, json_path, report)
    own_ids = [image["id"] for image in images]
    file_names = [image["file_name"] for image in images]
    stated_wh = [(image.get("width", 0), image.get("height", 0)) for image in images]
    sizes_wh = stated_or_header_sizes_wh(stated_wh, image_paths, report)
    del content, images
    boxes, rows, labels = _known(boxes, own_ids, category_ids, json_path, report)
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is reported with the other boxes
        right_bottom = boxes.boxes_xywh[:, :2] + boxes.boxes_xywh[:, 2:]
    fitting_ids = are_int64(own_ids)

    def place(row: int) -> str:
        return f"{json_path} annotation {_id_of(boxes, row)} of {file_names[int(rows[row])]}"

    return Annotations(
        split=split,
        origin=json_path,
        image_paths=image_paths,
        image_ids=np.array(fitting_ids or range(1, len(own_ids) + 1), dtype=np.int64),
        own_ids=() if fitting_ids else own_ids,
        image_sizes_wh=sizes_wh,
        image_rows=rows,
        boxes_xyxy=np.concatenate([boxes.boxes_xywh[:, :2], right_bottom], axis=1),
        labels=labels,
        crowd=boxes.crowd,
        areas=boxes.areas,
        class_names=class_names,
        # Only integers can be the ids of a results file.
        category_ids=are_int64(category_ids) or tuple(range(1, len(category_ids) + 1)),
        place=place,
        written="xywh",
    )


def read_coco_names(path: Path) -> tuple[str, ...]:
    """The class names of an annotation file; DataError as `read_coco`."""
    content, parts = load_coco_json(path, _columns)
    return _read_categories(content["categories"], _joined(parts, path, ignore).category_ids, path)[0]


def _read_categories(categories: list[Any], used: Ids, path: Path) -> tuple[tuple[str, ...], tuple[int | str, ...]]:
    """Class names and category ids, by ascending id; text ids in the order of the file, after the integers.

    used: the category ids of the boxes.
    """
    categories = [category_values(item) for item in categories]
    problems = [_first_problem(item, {"id": _ID, "name": _TEXT}) for item in categories]
    for index, problem in enumerate(problems):
        if problem:
            raise DataError.at(path, f"categories[{index}]{problem}")
    if not categories:
        raise DataError.at(path, "'categories' is empty; expected at least one class")
    categories = _without_root(categories, used, path)
    ordered = sorted(categories, key=lambda category: (0, category["id"]) if type(category["id"]) is int else (1, 0))
    ids = tuple(category["id"] for category in ordered)
    names = tuple(category["name"] for category in ordered)
    for what, values in (("id", ids), ("name", names)):
        twice = [value for value, times in Counter(values).items() if times > 1]
        if twice:
            raise DataError.at(
                path, f"two categories have the {what} {twice[0]!r}; expected every {what} once", value=twice[0]
            )
    return names, ids


def _without_root(categories: list[Item], used: Ids, path: Path) -> list[Item]:
    """The categories without Roboflow's root: one that all others name as their supercategory, and that no box has.

    It is the name of the project and no class; often it even has the name of a class.
    """
    parents = [category.get("supercategory") for category in categories]
    roots = [
        row
        for row, category in enumerate(categories)
        if len(categories) > 1
        and parents[row] in (None, "", "none")
        and all(parent == category["name"] for parent in parents[:row] + parents[row + 1 :])
    ]
    if len(roots) != 1:
        return categories
    root = categories[roots[0]]
    # As text: some annotations may write the id so.
    if str(root["id"]) in set(map(str, set(used.tolist()))):
        return categories
    get_logger().info(
        f"{path}: category {root['id']} {root['name']!r} has no boxes and is the supercategory of all others; it is "
        "no class"
    )
    return categories[: roots[0]] + categories[roots[0] + 1 :]


def are_int64(ids: Sequence[int | str]) -> tuple[int, ...]:
    """The ids if all are integers of 64 bits, else ()."""
    numbers = tuple(number for number in ids if isinstance(number, int) and number in INT64)
    return numbers if len(numbers) == len(ids) else ()


def _images(items: list[Any], path: Path, report: Report) -> list[Item]:
    """The well-formed images with a unique id."""
    rules: Rules = {"id": _ID, "file_name": _TEXT}
    images, problems = _well_formed(items, rules, {"width": _SIZE, "height": _SIZE}, image_values)
    _report_problems(problems, "images", path, report)
    by_id = {image["id"]: image for image in reversed(images)}
    if len(by_id) < len(images):
        for image in images:
            first = by_id[image["id"]]
            if first is not image:
                both = f"images {first['file_name']!r} and {image['file_name']!r} have the id {image['id']}"
                report(Finding.at("duplicate-image-id", path, f"{both}; expected every id once"))
        images = [image for image in images if by_id[image["id"]] is image]
    return images


def _located(images: list[Item], folder: Path, split: str, path: Path, report: Report) -> tuple[list[Item], list[Path]]:
    """The images inside the image folder, and their paths."""
    located = locate_images([image["file_name"] for image in images], folder, split, path, report)
    kept, paths = [], []
    for image, place in zip(images, located, strict=True):
        if place is None:
            problem = f"image {image['id']}: file_name {image['file_name']!r} points outside the image folder"
            report(Finding.at("path-outside-folder", path, f"{problem}; expected a path inside it"))
        else:
            kept.append(image)
            paths.append(place)
    return kept, paths


def _columns(items: list[Any]) -> _Boxes:
    """The well-formed ones of some annotations; the problems of the others have their index among these annotations."""
    required: Rules = {"image_id": _ID, "category_id": _ID, "bbox": _BOX}
    optional: Rules = {"iscrowd": _FLAG, "area": _AREA}
    good, problems = _well_formed(items, required, optional, annotation_values)
    return _Boxes(
        ids=_id_column([item.get("id") for item in good]),
        image_ids=_id_column([item["image_id"] for item in good]),
        category_ids=_id_column([item["category_id"] for item in good]),
        boxes_xywh=np.fromiter(  # a quarter of the time of np.array
            chain.from_iterable(item["bbox"] for item in good), np.float64, 4 * len(good)
        ).reshape(-1, 4),
        crowd=np.array([item.get("iscrowd", 0) for item in good], dtype=np.bool_),
        areas=np.array([item.get("area") for item in good], dtype=np.float64),  # None becomes NaN
        problems=problems,
        num_items=len(items),
    )


def _id_column(values: list[Any]) -> Ids:
    """int64 if all are such integers, else the values themselves, of any type."""
    if set(map(type, values)) <= {int}:
        with suppress(OverflowError):
            return np.array(values, dtype=np.int64)
    return np.fromiter(values, dtype=object, count=len(values))


def _joined(parts: list[_Boxes], path: Path, report: Report) -> _Boxes:
    """All parts as one; reports the problems of all items."""
    start = 0
    for part in parts:
        problems = {start + index: problem for index, problem in part.problems.items()}
        _report_problems(problems, "annotations", path, report)
        start += part.num_items
    parts = parts or [_columns([])]
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _COLUMNS}
    return _Boxes(**joined, problems={}, num_items=start)


def _known(
    boxes: _Boxes, image_ids: list[int | str], category_ids: tuple[int | str, ...], path: Path, report: Report
) -> tuple[_Boxes, NDArray[np.int64], NDArray[np.int64]]:
    """The boxes of known images and classes, their image rows (M,) and labels (M,)."""
    rows = _find(boxes.image_ids, image_ids)
    labels = _find(boxes.category_ids, category_ids)
    for index in np.flatnonzero(labels < 0).tolist():
        wanted = show(boxes.category_ids[index : index + 1].tolist()[0])
        problem = f"annotation {_id_of(boxes, index)}: category_id {wanted} is unknown; 'categories' has "
        report(Finding.at("unknown-class", path, problem + few([*map(str, category_ids)])))
    for index in np.flatnonzero(rows < 0).tolist():
        wanted = show(boxes.image_ids[index : index + 1].tolist()[0])
        problem = f"annotation {_id_of(boxes, index)}: image_id {wanted} is not in 'images'; it is left out"
        report(Finding.at("annotation-without-image", path, problem))
    # lookonce ignores the ids of annotations, but other programs keep only one of two boxes.
    if boxes.ids.dtype == object or len(np.unique(boxes.ids)) < len(boxes.ids):
        for number, times in Counter(own for own in boxes.ids.tolist() if isinstance(own, int | str)).items():
            if times > 1:
                problem = f"{times} annotations have the id {number}; expected every id once"
                report(Finding.at("duplicate-annotation-id", path, problem))
    known = (rows >= 0) & (labels >= 0)
    if known.all():
        return boxes, rows, labels
    return replace(boxes, **{name: getattr(boxes, name)[known] for name in _COLUMNS}), rows[known], labels[known]


def _id_of(boxes: _Boxes, row: int) -> object:
    return "?" if boxes.ids[row] is None else boxes.ids[row]


def _find(values: Ids, known: Sequence[int | str]) -> NDArray[np.int64]:
    """The index of each value in `known`, whose values are all different; -1 for values that are not in it."""
    column = _id_column(list(known))
    if len(known) and values.dtype != object and column.dtype != object:
        order = np.argsort(column)
        places = order[np.minimum(np.searchsorted(column, values, sorter=order), len(known) - 1)]
        return np.where(column[places] == values, places, -1)
    index = {value: row for row, value in enumerate(known)}
    return np.fromiter((index.get(value, -1) for value in values.tolist()), dtype=np.int64, count=len(values))


def _well_formed(
    items: list[Any], required: Rules, optional: Rules, convert: Callable[[Any], Any]
) -> tuple[list[Item], dict[int, str]]:
    """The items that satisfy the rules, as they are or converted, and the problems of the others by their index.

    One check per key if all items satisfy the rules as they are.
    """
    if all(_column_keeps(items, key, rule, key in optional) for key, rule in {**required, **optional}.items()):
        return items, {}
    converted = list(map(convert, items))
    found = {index: _first_problem(item, required, optional) for index, item in enumerate(converted)}
    problems = {index: problem for index, problem in found.items() if problem}
    return [item for index, item in enumerate(converted) if index not in problems], problems


def _report_problems(problems: dict[int, str], name: str, path: Path, report: Report) -> None:
    """problems: by the index in the list `name`."""
    for index, problem in problems.items():
        report(Finding.at("malformed-entry", path, f"{name}[{index}]{problem}"))


def _column_keeps(items: list[Any], key: str, rule: Rule, may_miss: bool) -> bool:
    """Whether all items satisfy the rule of one key; a few checks of all values instead of one call per item."""
    try:
        column = [item[key] for item in items if key in item] if may_miss else [item[key] for item in items]
    except (KeyError, TypeError, IndexError):
        return False
    types = set(map(type, column))
    if rule is _ID:
        return types <= {int}
    if rule is _TEXT:
        return types <= {str} and all(column)
    if rule is _BOX:
        return (
            types <= {list}
            and set(map(len, column)) <= {4}
            and set(map(type, chain.from_iterable(column))) <= {int, float}
            and _fits_float64(list(chain.from_iterable(column)))
        )
    if rule is _AREA:
        return types <= {int, float, type(None)} and _fits_float64(column)
    return types <= {int} and all(map(rule[0], set(column)))


def _fits_float64(column: list[Any]) -> bool:
    try:
        np.array(column, dtype=np.float64)
    except OverflowError:  # an integer of over 308 digits
        return False
    return True


def _first_problem(item: Any, required: Rules, optional: Rules | None = None) -> str:
    """The first problem of an item, as the end of a message that names the item; empty if there is none."""
    if not isinstance(item, dict):
        return f" is {show(item)}; expected an object"
    for key, (keeps, expected) in {**required, **(optional or {})}.items():
        if key not in item:
            if key in required:
                return f" has no {key!r}; expected {expected}"
        elif not keeps(item[key]):
            return f".{key} is {show(item[key])}; expected {expected}"
    return ""


def write_coco(json_path: Path, dataset: Dataset) -> None:
    """Write one annotation file. Boxes on SNAP_GRID read back bit for bit, others to the last bit of rounding."""
    rows_of_box = dataset.image_rows
    corners = dataset.boxes_xyxy
    boxes_xywh = np.concatenate([corners[:, :2], snap(corners[:, 2:] - corners[:, :2])], axis=1)
    content = {
        "images": [
            {
                "id": int(image_id),
                "file_name": f"{path.parent.name}/{path.name}" if is_in_shard(path) else path.name,
                "width": int(width),
                "height": int(height),
            }
            for image_id, path, (width, height) in zip(
                dataset.image_ids, dataset.image_paths, dataset.image_sizes_wh, strict=True
            )
        ],
        "annotations": [
            {
                "id": row + 1,
                "image_id": int(dataset.image_ids[rows_of_box[row]]),
                "category_id": dataset.category_ids[dataset.labels[row]],
                "bbox": boxes_xywh[row].tolist(),
                "area": float(dataset.areas[row]),
                "iscrowd": int(dataset.crowd[row]),
            }
            for row in range(len(boxes_xywh))
        ],
        "categories": [
            {"id": category_id, "name": name}
            for category_id, name in zip(dataset.category_ids, dataset.class_names, strict=True)
        ],
    }
    json_path.write_text(json.dumps(content), encoding="utf-8")
