"""CSV with one box a line: TensorFlow's, Pascal's, Open Images', Kaggle's, and RetinaNet's without a header -> records.

Columns are known by their names, in any order. A line without a box is an image without boxes. Boxes are fractions of
the image if no coordinate is above 1. Kaggle's column bbox is "[left, top, width, height]"; it may lack a class.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lookonce.data.findings import Report
from lookonce.data.formats.records import ONLY_CLASS, LabelledBox, LabelledImage, entry_of, size_wh
from lookonce.data.formats.shapes import of_size
from lookonce.data.listing import split_in
from lookonce.errors import DataError
from lookonce.parsed import are_numbers
from lookonce.storage import read_text_file

# Column -> its names, in lower case and without _ and spaces.
COLUMNS: dict[str, tuple[str, ...]] = {
    "image": ("filename", "imagepath", "imagename", "filepath", "imageid", "image", "file", "path", "img"),
    "class": ("class", "label", "labelname", "classname", "categoryname", "category", "name"),
    "left": ("xmin", "x1", "left"),
    "top": ("ymin", "y1", "top"),
    "right": ("xmax", "x2", "right"),
    "bottom": ("ymax", "y2", "bottom"),
    "bbox": ("bbox",),
    "width": ("width", "imagewidth", "imgwidth"),
    "height": ("height", "imageheight", "imgheight"),
    "crowd": ("isgroupof", "iscrowd", "difficult"),
    "split": ("split", "subset"),
}
_SIDES = ("left", "top", "right", "bottom")
_NEEDED = ("image", "class", *_SIDES)
_WITHOUT_HEADER = dict(zip(("image", "left", "top", "right", "bottom", "class"), range(6), strict=True))

Columns = dict[str, int]


def columns_of(line: str) -> tuple[str, Columns, bool] | None:
    """First line of a file -> its delimiter, column -> index, and whether it is a header; None if it is no such CSV."""
    delimiter = max(",;\t", key=line.count)
    words = [word.strip().strip('"') for word in line.split(delimiter)]
    plain = [word.lower().replace("_", "").replace(" ", "") for word in words]
    found = {
        column: next(plain.index(name) for name in names if name in plain)
        for column, names in COLUMNS.items()
        if set(names) & set(plain)
    }
    if all(column in found for column in _NEEDED) or {"image", "bbox"} <= found.keys():
        return delimiter, found, True
    if len(words) == 6 and (are_numbers(words[1:5]) or not any(words[1:])):
        return delimiter, _WITHOUT_HEADER, False
    return None


def parse_csv(path: Path, report: Report) -> list[LabelledImage]:
    """The images of the file, in the order of their first line."""
    try:
        text = read_text_file(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError.at(path, f"cannot be read as UTF-8 text: {error}") from error
    found = columns_of(text.partition("\n")[0].strip("\r"))
    if found is None:
        raise DataError.at(path, f"line 1 names no columns {', '.join(_NEEDED)}; see docs/data.md", line=1)
    delimiter, columns, has_header = found
    images: dict[str, LabelledImage] = {}
    boxes: dict[str, list[LabelledBox]] = {}
    names = _names_of_codes(path)
    for number, row in _rows(text, delimiter, path):
        if (number == 1 and has_header) or not any(row):
            continue
        place, written = f"{path} line {number}", repr(delimiter.join(row)[:80])
        with entry_of(path, place, written, "an image, a class and four numbers", report):
            image, box = _read_row(row, columns, path, place)
            images.setdefault(image.name, image)
            boxes.setdefault(image.name, [])
            if box:
                boxes[image.name].append(replace(box, name=names.get(box.name, box.name)))
    fractions = all(max(map(abs, box.box_xyxy)) <= 1 for found_boxes in boxes.values() for box in found_boxes)
    return [replace(image, boxes=tuple(boxes[name]), fractions=fractions) for name, image in images.items()]


def _rows(text: str, delimiter: str, path: Path) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    try:
        for row in reader:
            yield reader.line_num, [word.strip() for word in row]
    except csv.Error as error:
        line = reader.line_num
        raise DataError(f"{path} line {line}: cannot be read as CSV ({error})", path=path, line=line) from error


def _read_row(row: Sequence[str], columns: Columns, path: Path, place: str) -> tuple[LabelledImage, LabelledBox | None]:
    cells = {column: row[index] for column, index in columns.items()}
    if not cells["image"]:
        raise ValueError
    image = LabelledImage(
        file=path,
        name=cells["image"],
        boxes=(),
        size_wh=size_wh(cells.get("width", ""), cells.get("height", "")),
        split=split_in(cells.get("split", "")) or "",
    )
    name = cells.get("class", ONLY_CLASS)
    written = [cells[side] for side in _SIDES] if "left" in cells else cells["bbox"].strip("[]()").split(",")
    if not any(written) and ("class" not in cells or not name):
        return image, None
    left, top, right, bottom = map(float, written)
    box = (left, top, right, bottom) if "left" in cells else of_size(left, top, right, bottom)
    crowd = cells.get("crowd", "0").lower() in {"1", "true"}
    return image, LabelledBox(name=name, box_xyxy=box, place=place, crowd=crowd)


def _names_of_codes(path: Path) -> dict[str, str]:
    """Open Images writes codes such as /m/01g317; class-descriptions*.csv, beside or above, has their names."""
    for folder in (path.parent, path.parent.parent):
        for file in sorted(folder.glob("*class-descriptions*.csv")):
            try:
                rows = list(_rows(read_text_file(file), ",", file))
            except (OSError, UnicodeDecodeError):
                continue
            return {row[0]: row[1] for _, row in rows if len(row) >= 2}
    return {}
