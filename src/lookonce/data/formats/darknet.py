"""Darknet's own description, obj.data: `key = value` lines that name the image lists and the class names.

Darknet reads its paths from the folder where it runs, usually the parent of data/; exporters write them as if the file
lay there. A path is tried from the file's folder, then from the folders above, then without its leading folders.
"""

from pathlib import Path

from lookonce.data.annotations import Annotations
from lookonce.data.findings import Report
from lookonce.data.formats import yolo
from lookonce.data.formats.names import checked_names, read_list
from lookonce.data.splits import DataSource, in_order
from lookonce.errors import DataError
from lookonce.log import get_logger

_SPLITS = {"train": ("train",), "val": ("valid", "val"), "test": ("test",)}


def read_darknet_data(path: Path) -> dict[str, str]:
    """key -> value; # and ; begin a comment line."""
    pairs = (line.partition("=") for line in read_list(path) if not line.startswith(("#", ";")))
    return {key.strip(): value.strip() for key, equals, value in pairs if equals}


def open_darknet(path: Path) -> DataSource:
    content = read_darknet_data(path)
    lists = {split: content[key] for split, keys in _SPLITS.items() for key in keys if content.get(key)}
    if not lists:
        raise DataError.at(path, "has no train, valid or test; expected key = value lines, such as train = train.txt")
    entries = {split: yolo.described_path(path, written, split) for split, written in lists.items()}
    if entries.get("val") == entries.get("train") and "train" in entries:
        get_logger().info(f"{path}: valid is the list of train; there is no split val")
        entries.pop("val", None)
    names = _names(path, content)

    def read(split: str, report: Report) -> Annotations:
        others = [entry for other, entry in entries.items() if other != split]
        return yolo.read_entries([entries[split]], names, split, path, report, other_entries=lambda: others)

    return DataSource(path, "yolo", in_order(entries), read)


def _names(path: Path, content: dict[str, str]) -> tuple[str, ...]:
    if content.get("names"):
        file = yolo.described_path(path, content["names"], "names")
        return checked_names(read_list(file), file)
    if content.get("classes", "").isdecimal() and 0 < int(content["classes"]) <= yolo.MAX_CLASSES:
        get_logger().warning(f"{path}: names no file of class names; the classes are named by their numbers")
        return tuple(map(str, range(int(content["classes"]))))
    raise DataError.at(path, "has neither names nor classes; expected names = FILE", setting="names")
