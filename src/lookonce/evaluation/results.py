"""The detections in a data set, as flat arrays and as a COCO results file."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import xyxy_to_xywh
from lookonce.data.dataset import Dataset
from lookonce.detections import Detections
from lookonce.errors import DataError
from lookonce.parsed import parse_json
from lookonce.settings.names import few
from lookonce.storage import read_regular_file

# A thousandth of a pixel is far too small to change a score, and JSON stores this decimal without loss. So the file,
# read by any program, scores exactly as the arrays in memory do.
BOX_DECIMALS = 3
Number = TypeVar("Number", np.int64, np.float64)


@dataclass(frozen=True, kw_only=True)
class Results:
    """D detections of a whole data set, in the order in which equal scores rank.

    image_ids (D,) as in the data set; labels (D,) 0..C-1, the index of the class name; boxes_xywh (D, 4) pixels of the
    upright image; scores (D,) any finite number, higher is more confident.
    """

    image_ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    boxes_xywh: NDArray[np.float64]
    scores: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.scores)

    @staticmethod
    def from_detections(image_ids: Iterable[int], detections: Sequence[Detections]) -> "Results":
        """Joins the detections of N images, one element for each image id; boxes are rounded to 0.001 pixel."""
        ids = np.asarray(list(image_ids), dtype=np.int64)
        boxes_xyxy = np.concatenate([np.zeros((0, 4)), *(item.boxes_xyxy for item in detections)]).astype(np.float64)
        return Results(
            image_ids=np.repeat(ids, [len(item) for item in detections]),
            labels=np.concatenate([np.zeros(0, np.int64), *(item.labels for item in detections)]),
            boxes_xywh=np.round(xyxy_to_xywh(boxes_xyxy), BOX_DECIMALS),
            scores=np.concatenate([np.zeros(0), *(item.scores for item in detections)]).astype(np.float64),
        )

    def select(self, rows: NDArray[np.bool_] | NDArray[np.integer]) -> "Results":
        """The given rows, in the given order."""
        return Results(
            image_ids=self.image_ids[rows],
            labels=self.labels[rows],
            boxes_xywh=self.boxes_xywh[rows],
            scores=self.scores[rows],
        )


def check_results(results: Results, dataset: Dataset, source: str = "results") -> None:
    """Raises DataError if a row cannot be scored on `dataset`: names `source`, first bad row (from 0) and its value."""
    boxes, num_classes = results.boxes_xywh, len(dataset.class_names)
    finite, negative = np.isfinite(boxes).all(axis=1), (boxes[:, 2:] < 0).any(axis=1)
    _refuse(~finite, boxes, source, "bbox", "four finite numbers [x, y, width, height] in pixels")
    expected = "width and height of at least 0, as in [x, y, width, height]; are these corners?"
    _refuse(negative, boxes, source, "bbox", expected)
    _refuse(~np.isfinite(results.scores), results.scores, source, "score", "a finite number")
    images = f"an image id of split '{dataset.split}' (images: {len(dataset)}); were the results made on another split?"
    _refuse(~np.isin(results.image_ids, dataset.image_ids), results.image_ids, source, "image_id", images)
    outside = (results.labels < 0) | (results.labels >= num_classes)
    _refuse(outside, results.labels, source, "label", f"0..{num_classes - 1} (classes of the data set: {num_classes})")


def _refuse(bad: NDArray[np.bool_] | np.bool_, values: NDArray[Any], source: str, field: str, expected: str) -> None:
    if bad.any():
        row, count = int(np.argmax(bad)), int(np.sum(bad))
        more = f" ({count} such rows)" if count > 1 else ""
        problem = f"{source} row {row}: {field} is {values[row].tolist()}; expected {expected}{more}"
        raise DataError(problem, path=source)


def write_coco_results(path: Path, results: Results, dataset: Dataset) -> None:
    """Writes COCO's results format: [{image_id, category_id, bbox [x, y, w, h], score}], one detection per line.

    Image and category ids are those of the annotations. Numbers are written with full precision.
    """
    category_ids = np.asarray(dataset.category_ids, dtype=np.int64)[results.labels].tolist()
    ids = results.image_ids.tolist()
    if dataset.own_ids:
        ids = [json.dumps(dataset.own_ids[image_id - 1]) for image_id in ids]
    columns = zip(ids, category_ids, results.boxes_xywh.tolist(), results.scores.tolist(), strict=True)
    lines = (f'{{"image_id":{i},"category_id":{c},"bbox":{list(b)},"score":{s!r}}}' for i, c, b, s in columns)
    with path.open("w", encoding="utf-8") as file:
        file.write("[\n" + ",\n".join(lines) + "\n]\n")


def read_coco_results(path: Path, dataset: Dataset) -> Results:
    """Reads a COCO results file of any program for `dataset`; DataError names the first row that cannot be scored."""
    rows = _with_image_ids(_read_rows(path), dataset)
    labels = {category_id: label for label, category_id in enumerate(dataset.category_ids)}
    try:
        results = Results(
            image_ids=_numbers([row["image_id"] for row in rows], np.int64),
            labels=_numbers([labels.get(row["category_id"], -1) for row in rows], np.int64),
            boxes_xywh=_numbers([row["bbox"] for row in rows], np.float64).reshape(len(rows), 4),
            scores=_numbers([row["score"] for row in rows], np.float64),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _first_malformed(path, rows) from error
    _refuse_unknown_categories(path, rows, results, dataset)
    check_results(results, dataset, str(path))
    return results


def _read_rows(path: Path) -> list[Any]:
    try:
        rows = parse_json(read_regular_file(path))
    except OSError as error:
        raise DataError.at(path, f"cannot be read ({error.strerror}); expected a COCO results file") from error
    except ValueError as error:
        problem = f"not JSON ({error}); expected a COCO results file, a list of detections"
        raise DataError.at(path, problem) from error
    if not isinstance(rows, list):
        kind = "an annotation file?" if isinstance(rows, dict) and "annotations" in rows else "another format?"
        problem = f"contains a {type(rows).__name__}; expected a list of detections; is this {kind}"
        raise DataError.at(path, problem)
    return rows


def _with_image_ids(rows: list[Any], dataset: Dataset) -> list[Any]:
    """The rows with the data set's image ids in place of text, such as file stems, and of integers over 64 bits."""
    written = {row["image_id"] for row in rows if isinstance(row, dict) and type(row.get("image_id")) in (str, int)}
    if not dataset.own_ids and not any(type(image_id) is str for image_id in written):
        return rows
    own = dataset.own_ids or dataset.image_ids.tolist()
    names: dict[int | str, int] = {}
    for spelled in ([path.name for path in dataset.image_paths], [path.stem for path in dataset.image_paths], own):
        names |= dict(zip(spelled, dataset.image_ids.tolist(), strict=True))
    names |= {str(own_id): image_id for own_id, image_id in zip(own, dataset.image_ids.tolist(), strict=True)}
    return [
        row | {"image_id": names.get(row["image_id"], row["image_id"])}
        if isinstance(row, dict) and type(row.get("image_id")) in (str, int)
        else row
        for row in rows
    ]


def _numbers(values: list[Any], dtype: type[Number]) -> NDArray[Number]:
    """The values as an array. Raises ValueError for text, and for fractions where integers are expected."""
    array = np.asarray(values) if values else np.zeros(0, dtype)
    if array.dtype.kind not in ("if" if dtype is np.float64 else "i"):
        raise ValueError
    return array.astype(dtype)


def _first_malformed(path: Path, rows: list[Any]) -> DataError:
    expected = (
        'expected {"image_id": int or file name, "category_id": int, "bbox": [x, y, width, height], "score": number}'
    )
    for number, row in enumerate(rows):
        try:
            values = row["image_id"], row["category_id"], *row["bbox"], row["score"]
            is_right = all(type(value) is int for value in values[:2]) and -(2**63) < values[0] < 2**63
            is_right &= len(values) == 7 and all(type(value) in (int, float) for value in values[2:])
        except (TypeError, KeyError):
            is_right = False
        if not is_right:
            return DataError(f"{path} row {number}: {json.dumps(row)[:200]}; {expected}", path=path)
    return DataError.at(path, f"not a list of detections; {expected}")


def _refuse_unknown_categories(path: Path, rows: list[Any], results: Results, dataset: Dataset) -> None:
    unknown = results.labels < 0
    if unknown.any():
        row = int(unknown.argmax())
        known = zip(dataset.category_ids, dataset.class_names, strict=True)
        expected = few([f"{number} '{name}'" for number, name in known], 10)
        raise DataError(
            f"{path} row {row}: category_id is {rows[row]['category_id']!r}; expected one of the data set's: "
            f"{expected} ({int(unknown.sum())} such rows)",
            path=path,
        )
