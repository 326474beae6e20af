"""YAML descriptions of a data set: YOLO's data.yaml, or lookonce's own, which can mix formats (docs/data.md)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lookonce.data.annotations import Annotations, leaves_folder
from lookonce.data.findings import Finding, Report, ignore
from lookonce.data.formats import coco, voc, yolo
from lookonce.data.formats.names import checked_names, read_list
from lookonce.data.formats.records import annotations_of
from lookonce.data.listing import Listing
from lookonce.data.splits import SPELLINGS, SPLITS, DataSource, in_order
from lookonce.errors import DataError
from lookonce.parsed import parse_yaml
from lookonce.settings.names import few
from lookonce.storage import read_text_file


def find_yaml(listing: Listing) -> list[Path]:
    """data.yaml, or all YAML files of the folder that name a split. One with nothing but class names is no layout."""
    root, named = listing.root, listing.root / "data.yaml"
    files = sorted(path for path in root.iterdir() if path.suffix.lower() in {".yaml", ".yml"} and path.is_file())
    files = [named] if named.exists() else [path for path in files if _has_split(path)] or files[:1]
    return [path for path in files if _has_split(path) or not names_of_yaml(path)]


def names_of_yaml(path: Path) -> tuple[str, ...]:
    """The class names of a data.yaml, () without any."""
    try:
        return yolo.class_names_in(_load_yaml(path), path)
    except DataError:
        return ()


def _has_split(path: Path) -> bool:
    try:
        return bool({*SPLITS, *SPELLINGS} & set(map(str, _load_yaml(path))))
    except DataError:
        return True  # it may be a description with an error, which is reported when it is opened


def open_yaml(path: Path) -> DataSource:
    content = _load_yaml(path)
    entries: dict[str, Any] = {
        SPELLINGS.get(key, key): content[key] for key in (*SPLITS, *SPELLINGS) if content.get(key)
    }
    if not entries:
        keys = few([str(key) for key in content]) or "none"
        raise DataError.at(path, f"has no split; expected train, val or test; found the keys {keys}")
    described = [split for split, entry in entries.items() if isinstance(entry, dict)]
    if len(described) == len(entries):
        return open_description(path, content, entries)
    if described:
        problem = f"{described[0]} is a mapping, other splits are paths; expected all mappings or all paths"
        raise DataError.at(path, problem, setting=described[0])
    return yolo.open_yolo(path, content, entries)


def _load_yaml(path: Path) -> dict[str, Any]:
    try:
        text = read_text_file(path)
        content, as_text = parse_yaml(text)
    except (yaml.YAMLError, ValueError, OSError) as error:
        raise DataError.at(path, f"is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        found = "is empty" if content is None else f"is a YAML {type(content).__name__}"
        raise DataError.at(path, f"{found}; expected keys such as train, val, names")
    if "names" in content:  # no, 010 and null are names too, not False, 8 and None
        content["names"] = as_text["names"]
    return content


def open_description(path: Path, content: dict[str, Any], entries: dict[str, dict[str, Any]]) -> DataSource:
    """lookonce's description: for each split {images: FOLDER, annotations: FILE or FOLDER, list: FILE}, and `names`."""
    names: tuple[str, ...] | None = None
    if isinstance(content.get("names"), str):
        file = path.parent / content["names"]
        names = checked_names(read_list(file), file)
    elif "names" in content:
        names = yolo.class_names_in(content, path)
    parts = {split: _Part(path, split, entry, names) for split, entry in entries.items()}
    formats = {part.format for part in parts.values()}
    format_name = formats.pop() if len(formats) == 1 else "mixed"
    return DataSource(path, format_name, in_order(entries), lambda split, report: parts[split].read(parts, report))


class _Part:
    """One split of a description. Paths are relative to the YAML file."""

    def __init__(self, file: Path, split: str, entry: dict[str, Any], names: tuple[str, ...] | None) -> None:
        unknown = [key for key in entry if key not in {"images", "annotations", "list"}]
        if unknown:
            problem = f"{split} has the unknown key {unknown[0]!r}; expected images, annotations and optionally list"
            raise DataError.at(file, problem, setting=split, value=unknown[0])
        for key in ("images", "annotations", *(["list"] if entry.get("list") else [])):
            if not isinstance(entry.get(key), str):
                problem = f"{split}.{key} is {entry.get(key)!r}; expected a path"
                raise DataError.at(file, problem, setting=f"{split}.{key}", value=entry.get(key))
        self._file = file
        self._split = split
        self._names = names
        self._images = file.parent / entry["images"]
        self._annotations = file.parent / entry["annotations"]
        self._list = file.parent / entry["list"] if entry.get("list") else None
        for key, path in (("images", self._images), ("annotations", self._annotations), ("list", self._list)):
            if path is not None and not path.exists():
                expected = f"expected a path relative to {file.parent}{yolo.or_without(split)}"
                problem = f"{split}.{key}: {path} does not exist; {expected}"
                raise DataError.at(file, problem, setting=f"{split}.{key}", value=path)
        self.format = self._recognise()

    def _recognise(self) -> str:
        if self._annotations.suffix.lower() == ".json":
            return "coco"
        if self._annotations.is_dir():
            suffixes = {path.suffix.lower() for path in self._annotations.iterdir()}
            if ".xml" in suffixes and ".txt" not in suffixes:
                return "voc"
            if ".txt" in suffixes and ".xml" not in suffixes:
                return "yolo"
            if suffixes >= {".txt", ".xml"}:
                raise DataError.at(self._annotations, "has .xml and .txt files; expected annotations of one format")
        raise DataError.at(
            self._annotations, "no annotations; expected a COCO .json, or a folder of VOC .xml or YOLO .txt files"
        )

    def read(self, parts: Mapping[str, "_Part"], report: Report) -> Annotations:
        """parts: those of all splits."""
        if self.format == "coco":
            found = coco.read_coco(self._annotations, self._images, self._split, report)
            if self._names not in {None, found.class_names}:
                raise DataError.at(
                    self._annotations,
                    f"has the classes {few(found.class_names)}, by category id; expected names of {self._file}: "
                    f"{few(self._names or ())}; leave out names, or put them in this order",
                )
            return found
        if self.format == "voc":
            stems = read_list(self._list) if self._list else [p.stem for p in sorted(self._annotations.glob("*.xml"))]
            origin = self._list or self._annotations
            images = voc.read_voc_images(self._annotations, stems, origin, report)
            names = self._names or tuple(sorted({box.name for image in images for box in image.boxes}))
            paths = voc.image_paths_of(images, self._annotations, self._images)
            return annotations_of(images, paths, names, self._split, origin, report)
        others = [part for part in parts.values() if part is not self and part.format == "yolo"]
        return self._read_yolo(others, report)

    def _read_yolo(self, others: Sequence["_Part"], report: Report) -> Annotations:
        if self._names is None:
            problem = "has no class names, and YOLO labels have none; expected names: [...] or names: FILE"
            raise DataError.at(self._file, problem, setting="names")
        origin = self._list or self._images
        images, labels = self.label_pairs(report)
        yolo.report_pairs(images, labels, report)
        return yolo.read_yolo(
            images,
            labels,
            self._names,
            self._split,
            origin,
            self._file,
            report,
            other_labels=lambda: [label for other in others for label in other.label_pairs(ignore)[1]],
        )

    def label_pairs(self, report: Report) -> tuple[list[Path], list[Path]]:
        """Images and their YOLO label files."""
        images = yolo.list_images(self._images, report)
        if self._list:
            lines = read_list(self._list)
            for line in filter(leaves_folder, lines):
                problem = f"{line!r} points outside the image folder; expected a path in {self._images}"
                report(Finding.at("path-outside-folder", self._list, problem))
            images = [self._images / line for line in lines if not leaves_folder(line)]
        return images, [self._annotations / path.relative_to(self._images).with_suffix(".txt") for path in images]
