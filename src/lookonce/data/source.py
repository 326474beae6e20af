"""`open_data`: recognises how a data set lies on the disk and reads its splits.

What is taken, and how it is told apart:

    folder with Annotations/ and ImageSets/          VOC (also where COCO files lie beside)
    folder with annotations/*.json                   COCO layout, as the model zoo document describes it
    folder with train/_annotations.coco.json         COCO, a file in each picture folder
    folder with shards.json                          COCO, the pictures in tar archives
    folder with data.yaml, or one other .yaml        that file
    .yaml whose train is a path or a list of paths   YOLO data.yaml
    .yaml whose train is {images:, annotations:}     lookonce's own description, for everything else: docs/data.md
    .json with `images`                              one COCO file
"""

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from lookonce.data.annotations import Annotations, assemble, leaves_folder
from lookonce.data.dataset import Dataset
from lookonce.data.findings import Finding, Report, StopAtError
from lookonce.data.formats import coco, voc, yolo
from lookonce.data.headers import report_missing
from lookonce.data.local_data import local_data
from lookonce.data.pictures import PICTURE_SUFFIXES
from lookonce.data.shards import INDEX
from lookonce.errors import DataError
from lookonce.log import get_logger
from lookonce.remote.local_copy import local_file

ReadSplit = Callable[[str, Report], Annotations]
SPLITS = ("train", "val", "test")
PICTURES_ALONE = "pictures"  # format of what has no annotations
_SPELLINGS = {"valid": "val", "validation": "val", "dev": "val"}
# "instances_train2017" -> "train", "2017"
_JSON_NAME = re.compile(
    r"(?:^|.*[^a-z])(train|valid|validation|val|dev|test)(?:[-_]?(\d{4}))?(?:[^a-z].*)?", re.IGNORECASE
)
_NOT_BOXES = ("person_keypoints", "captions", "image_info", "panoptic", "stuff")


class DataSource:
    """A data set on the disk. Splits are read when asked for, once.

    format: "coco", "voc", "yolo" or "mixed" (a description that mixes them). splits: the names it has.
    """

    def __init__(
        self, origin: Path, format_name: str, splits: Sequence[str], read: ReadSplit, *, any_split: bool = False
    ) -> None:
        """any_split: `read` knows what to do with names beyond `splits`."""
        self.origin = origin
        self.format = format_name
        self.splits = tuple(splits)
        self._read = read
        self._any_split = any_split
        self.needs_pictures = True  # False: the annotations are enough, as for scoring what another program found
        self._loaded: dict[str, Dataset] = {}

    def __repr__(self) -> str:
        return f"DataSource({str(self.origin)!r}, {self.format}, {', '.join(self.splits)})"

    @property
    def class_names(self) -> tuple[str, ...]:
        """C names, in the order of the labels. Reads a split if none has been read yet."""
        loaded = next(iter(self._loaded.values()), None) or self.split(
            "val" if "val" in self.splits else self.splits[0]
        )
        return loaded.class_names

    def split(self, name: str) -> Dataset:
        """One split; DataError at the first thing that cannot be used, a logged warning for what was left out."""
        if name not in self._loaded:
            report = StopAtError()
            self._loaded[name] = self.read(name, report)
            report.log()
        return self._loaded[name]

    def as_written(self, name: str, report: Report) -> Annotations:
        """One split before its boxes are clipped and sorted out, with what cannot be read told to `report`."""
        if name not in self.splits and not self._any_split:
            raise DataError(f"{self.origin}: has no split {name!r}; it has {', '.join(self.splits)}")
        return self._read(name, report)

    def read(self, name: str, report: Report) -> Dataset:
        """One split, with everything that is wrong told to `report`; read anew, and not kept."""
        found = self.as_written(name, report)
        dataset = assemble(found, report)
        if self.needs_pictures:
            report_missing(dataset.image_paths, found.origin, report)
        else:
            _require_sizes(dataset)
        self._same_classes(dataset)
        return dataset

    def _same_classes(self, dataset: Dataset) -> None:
        for other in self._loaded.values():
            if other.class_names != dataset.class_names:
                raise DataError(
                    f"{self.origin}: split {dataset.split!r} has the classes {_some(dataset.class_names)}, but split "
                    f"{other.split!r} has {_some(other.class_names)}; expected the same names in the same order"
                )


def _require_sizes(dataset: Dataset) -> None:
    unknown = (dataset.image_sizes_wh == 0).any(axis=1)
    if unknown.any():
        raise DataError(
            f"{dataset.image_paths[int(unknown.argmax())]}: is not there, and the annotations do not say its width and "
            f"height ({int(unknown.sum())} such pictures); name the picture folder: --images FOLDER"
        )


def open_data(data: str | Path, images: Path | None = None, *, needs_pictures: bool = True) -> DataSource:
    """The data set at `data`, which may be a .zip or lie in object storage; `images` is the picture folder of an
    annotation JSON.

    Nothing but folder listings and small YAML files is read here. DataError when `data` is nothing we know, or two
    things at once. needs_pictures False: COCO and VOC annotations are read wherever the pictures may be.
    """
    source = _open(local_data(data), None if images is None else local_file(images), needs_pictures=needs_pictures)
    source.needs_pictures = needs_pictures
    return source


def _open(path: Path, images: Path | None, *, needs_pictures: bool) -> DataSource:
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; expected a data set (see docs/data.md)")
    if path.is_dir():
        if images is not None:
            raise DataError(f"{path}: is a folder, and --images {images} goes with an annotation JSON only")
        return _open_folder(path, needs_pictures=needs_pictures)
    suffix = path.suffix.lower()
    if suffix == ".json":
        return _open_json(path, images, needs_pictures=needs_pictures)
    if suffix not in {".yaml", ".yml"}:
        raise DataError(f"{path}: expected a folder, a .yaml or a COCO .json, not a {suffix or 'nameless'} file")
    if images is not None:
        raise DataError(f"{path}: is YAML, and --images {images} goes with an annotation JSON only")
    return _open_yaml(path)


def open_pictures(path: Path) -> DataSource | None:
    """Pictures without annotations, a file or those that lie in a folder, as the one split "pictures"; else None."""
    files = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
    pictures = [file for file in files if file.suffix.lower() in PICTURE_SUFFIXES]

    def read(split: str, report: Report) -> Annotations:
        return yolo.read_yolo(pictures, [], (), split, path, path, report)  # no labels

    return DataSource(path, PICTURES_ALONE, ["pictures"], read) if pictures else None


def _open_folder(root: Path, *, needs_pictures: bool) -> DataSource:
    names = {path.name for path in root.iterdir()}
    if {"Annotations", "ImageSets"} <= names:
        return _open_voc(root)
    coco_files = _coco_layout(root)
    if INDEX in names:
        return _open_shards(root, coco_files)
    yamls = sorted(path for path in root.iterdir() if path.suffix.lower() in {".yaml", ".yml"} and path.is_file())
    if "data.yaml" in names:
        yamls = [root / "data.yaml"]
    if coco_files and yamls:
        raise DataError(
            f"{root}: holds COCO files ({coco_files[0]}) and {yamls[0].name}; say which: --data {yamls[0]}, or "
            f"--data {coco_files[0]} --images FOLDER"
        )
    if coco_files:
        return _open_coco(root, coco_files, needs_pictures=needs_pictures)
    if len(yamls) == 1:
        return _open_yaml(yamls[0])
    if yamls:
        raise DataError(f"{root}: holds {len(yamls)} YAML files; say which: --data {yamls[0]}")
    missing = " without ImageSets/Main/train.txt and val.txt" if "Annotations" in names else ""
    found = ", ".join(sorted(names)[:8]) or "nothing"
    raise DataError(
        f"{root}: is no data set{missing}: expected annotations/*.json (COCO), Annotations and ImageSets (VOC) or "
        f"data.yaml (YOLO); found {found}"
    )


# COCO


def _coco_layout(root: Path) -> list[Path]:
    """Annotation files with boxes, in annotations/ or one in each picture folder."""
    files = [path for path in sorted(root.glob("annotations/*.json")) if not path.name.startswith(_NOT_BOXES)]
    instances = [path for path in files if path.name.startswith("instances")]
    return instances or files or sorted(root.glob("*/_annotations.coco.json"))


def _open_coco(root: Path, files: list[Path], *, needs_pictures: bool) -> DataSource:
    by_split = _file_of_each_split(root, files)

    def read(split: str, report: Report) -> Annotations:
        file = by_split[split]
        folder = _picture_folder(root, file, split, must_exist=needs_pictures)
        return coco.read_coco(file, folder, split, report)

    return DataSource(root, "coco", _in_order(by_split), read)


def _open_shards(root: Path, files: list[Path]) -> DataSource:
    if not files:
        raise DataError(f"{root}: holds {INDEX}, but no annotations/instances_train.json; copy the whole folder")
    by_split = _file_of_each_split(root, files)

    def read(split: str, report: Report) -> Annotations:
        return coco.read_coco(by_split[split], root, split, report)

    return DataSource(root, "shards", _in_order(by_split), read)


def _file_of_each_split(root: Path, files: list[Path]) -> dict[str, Path]:
    by_split: dict[str, Path] = {}
    for file in files:
        in_folder_of_pictures = file.name == "_annotations.coco.json"
        split = _split_in(file.parent.name if in_folder_of_pictures else file.stem)
        if split is None:
            continue
        if split in by_split:
            raise DataError(
                f"{root}: {by_split[split].name} and {file.name} both look like split {split!r}; say which: "
                f"--data {file} --images FOLDER"
            )
        by_split[split] = file
    if not by_split:
        raise DataError(f"{files[0]}: no file name here says train, val or test; expected instances_train2017.json")
    return by_split


def _split_in(name: str) -> str | None:
    match = _JSON_NAME.fullmatch(name)
    if match is None:
        return None
    word = match[1].lower()
    return _SPELLINGS.get(word, word)


def _picture_folder(root: Path, file: Path, split: str, *, must_exist: bool) -> Path:
    """The first of the usual places that holds the file's first picture."""
    if file.name == "_annotations.coco.json":
        return file.parent
    match = _JSON_NAME.fullmatch(file.stem)
    year = (match[2] or "") if match else ""
    spelled = match[1] if match else split
    names = dict.fromkeys((f"{spelled}{year}", f"{split}{year}", split, spelled))
    folders = [root / name for name in names] + [root / "images" / name for name in names]
    folders += [root / "images", root / "JPEGImages", root]
    folders = [folder for folder in folders if folder.is_dir()]
    first = _first_file_name(file)
    for folder in folders:
        if first is None or (folder / first).is_file():
            return folder
    if not must_exist:
        return root
    places = ", ".join(str(folder.relative_to(root)) for folder in folders[:6])
    raise DataError(f"{file}: its first picture {first} is in none of {root}/{{{places}}}; say where: --images FOLDER")


def _first_file_name(file: Path) -> str | None:
    """The first `file_name` in a COCO file, without parsing hundreds of megabytes; None where it has none early."""
    try:
        with file.open("rb") as opened:
            start = opened.read(1 << 20).decode("utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
    match = re.search(r'"file_name"\s*:\s*"([^"\\]+)"', start)
    return match[1] if match else None


def _open_json(path: Path, images: Path | None, *, needs_pictures: bool) -> DataSource:
    """One annotation file, which is the split that its name says (else train).

    Whoever names one file means that file, so it answers for any split asked for; except that a training file leaves
    the others to its siblings, instances_train.json to instances_val.json.
    """
    if images is None and needs_pictures:
        raise DataError(f"{path}: an annotation JSON needs its picture folder: --images FOLDER")
    folder = path.parent if images is None else images
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; --images names the folder that holds the pictures of {path}")
    own = _split_in(path.stem) or "train"
    siblings = {}
    if _split_in(path.stem) == "train":
        siblings = {_split_in(file.stem) or "": file for file in path.parent.glob("*.json") if _is_sibling(file, path)}
    files = {**siblings, own: path}

    def read(split: str, report: Report) -> Annotations:
        file = files.get(split, path)
        if file != path:
            get_logger().info(f"split {split} is that of {file}, beside {path.name}")
        elif split != own:
            get_logger().info(f"split {split} is {path}, the only file there is")
        return coco.read_coco(file, folder, split, report)

    return DataSource(path, "coco", _in_order(files), read, any_split=not siblings)


def _is_sibling(file: Path, path: Path) -> bool:
    """Whether two files are called alike but for the split: instances_train2017 and instances_val2017."""
    word = re.compile(r"train|validation|valid|val|dev|test")
    return file != path and word.sub("*", file.stem) == word.sub("*", path.stem)


# VOC


def _open_voc(root: Path) -> DataSource:
    lists = voc.list_splits(root)
    if not lists:
        raise DataError(f"{root / 'ImageSets' / 'Main'}: holds no list of pictures; expected train.txt and val.txt")
    reader = _VocReader(root, lists)
    return DataSource(root, "voc", _in_order(lists), reader.read)


def _ignore(_: Finding) -> None: ...


class _VocReader:
    """Reads the XML files of all lists to know the classes, once; the pictures of a split after that."""

    def __init__(self, root: Path, lists: Mapping[str, Path]) -> None:
        self._root = root
        self._lists = lists
        self._class_names: tuple[str, ...] = ()

    def read(self, split: str, report: Report) -> Annotations:
        pictures = self._pictures(split, report)
        names = self._classes(split, pictures)
        return voc.voc_annotations(pictures, self._root / "JPEGImages", names, split, self._lists[split], report)

    def _pictures(self, split: str, report: Report) -> list[voc.VocPicture]:
        file = self._lists[split]
        return voc.read_voc_pictures(self._root / "Annotations", voc.read_list(file), file, report)

    def _classes(self, split: str, pictures: list[voc.VocPicture]) -> tuple[str, ...]:
        if not self._class_names:
            everything = list(pictures)
            known = set(voc.read_list(self._lists[split]))
            for other, file in self._lists.items():
                new = [stem for stem in voc.read_list(file) if stem not in known]
                known.update(new)
                if other != split:  # its own problems are told when it is read
                    everything += voc.read_voc_pictures(self._root / "Annotations", new, file, _ignore)
            self._class_names = voc.class_names_of(self._root, everything)
        if not self._class_names:
            raise DataError(f"{self._root}: no object in any list has a class; expected at least one box")
        return self._class_names


# YAML: YOLO's data.yaml and our own


def _open_yaml(path: Path) -> DataSource:
    content = _load_yaml(path)
    entries = {_SPELLINGS.get(key, key): content[key] for key in (*SPLITS, *_SPELLINGS) if content.get(key)}
    if not entries:
        raise DataError(f"{path}: names no train, val or test; found the keys {', '.join(map(str, content)) or 'none'}")
    described = [split for split, entry in entries.items() if isinstance(entry, dict)]
    if len(described) == len(entries):
        return _open_description(path, content, entries)
    if described:
        raise DataError(f"{path}: {described[0]} is a mapping and others are paths; expected all of one kind")
    return _open_yolo(path, content, entries)


def _load_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: is a YAML {type(content).__name__}; expected keys such as train, val, names")
    return content


def _open_yolo(path: Path, content: dict[str, Any], entries: dict[str, Any]) -> DataSource:
    class_names = yolo.class_names_in(content, path)

    def read(split: str, report: Report) -> Annotations:
        written = entries[split] if isinstance(entries[split], list) else [entries[split]]
        found = [_yolo_entry(path, content.get("path"), entry, split) for entry in written]
        pictures = [picture for entry in found for picture in yolo.list_pictures(entry)]
        labels = [yolo.label_path(picture) for picture in pictures]
        return yolo.read_yolo(pictures, labels, class_names, split, found[0], path, report)

    return DataSource(path, "yolo", _in_order(entries), read)


def _yolo_entry(file: Path, root: object, entry: object, split: str) -> Path:
    """A path in a data.yaml -> where it is: from `path`, else from the file's own folder.

    Data sets are exported with `path` relative to another program's folder, and with a `../` too many; where only the
    reading from the file's own folder exists, that is what was meant.
    """
    if not isinstance(entry, str):
        raise DataError(f"{file}: {split} is {entry!r}; expected a folder, a .txt list, or a list of these")
    here = file.parent
    bases = [here / str(root), here] if root else [here]
    candidates = [base / entry for base in bases] + [here / entry.removeprefix("../")]
    for candidate in candidates:
        if candidate.exists():
            return candidate
    raise DataError(f"{file}: {split} is {entry!r}, but {candidates[0]} does not exist; paths start at {bases[0]}")


def _open_description(path: Path, content: dict[str, Any], entries: dict[str, dict[str, Any]]) -> DataSource:
    """Our own YAML: for each split {images: FOLDER, annotations: FILE or FOLDER, list: FILE}, and `names`."""
    names = _described_names(path, content)
    parts = {split: _Part(path, split, entry, names) for split, entry in entries.items()}
    formats = {part.format for part in parts.values()}
    format_name = formats.pop() if len(formats) == 1 else "mixed"
    return DataSource(path, format_name, _in_order(entries), lambda split, report: parts[split].read(report))


def _described_names(path: Path, content: dict[str, Any]) -> tuple[str, ...] | None:
    if "names" not in content:
        return None
    if isinstance(content["names"], str):
        file = path.parent / content["names"]
        return voc.checked_names(voc.read_list(file), file)
    return yolo.class_names_in(content, path)


class _Part:
    """One split of our own YAML. Paths are relative to the YAML file."""

    def __init__(self, file: Path, split: str, entry: dict[str, Any], names: tuple[str, ...] | None) -> None:
        unknown = sorted(set(entry) - {"images", "annotations", "list"})
        if unknown:
            raise DataError(f"{file}: {split} has {unknown[0]!r}; expected images, annotations and perhaps list")
        for key in ("images", "annotations"):
            if not isinstance(entry.get(key), str):
                raise DataError(f"{file}: {split}.{key} is {entry.get(key)!r}; expected a path")
        self._file = file
        self._split = split
        self._names = names
        self._images = file.parent / entry["images"]
        self._annotations = file.parent / entry["annotations"]
        self._list = file.parent / entry["list"] if entry.get("list") else None
        for key, path in (("images", self._images), ("annotations", self._annotations), ("list", self._list)):
            if path is not None and not path.exists():
                raise DataError(f"{file}: {split}.{key}: {path} does not exist; paths start at {file.parent}")
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
                raise DataError(f"{self._annotations}: holds .xml and .txt files; expected annotations of one format")
        raise DataError(f"{self._annotations}: expected a COCO .json, or a folder of VOC .xml or YOLO .txt files")

    def read(self, report: Report) -> Annotations:
        if self.format == "coco":
            return self._with_names(coco.read_coco(self._annotations, self._images, self._split, report))
        return self._read_voc(report) if self.format == "voc" else self._read_yolo(report)

    def _with_names(self, found: Annotations) -> Annotations:
        if self._names is not None and self._names != found.class_names:
            raise DataError(
                f"{self._annotations}: has the classes {_some(found.class_names)}, but names in {self._file} is "
                f"{_some(self._names)}; a COCO file brings its own order, by category id"
            )
        return found

    def _read_voc(self, report: Report) -> Annotations:
        stems = voc.read_list(self._list) if self._list else [p.stem for p in sorted(self._annotations.glob("*.xml"))]
        origin = self._list or self._annotations
        pictures = voc.read_voc_pictures(self._annotations, stems, origin, report)
        names = self._names or tuple(sorted({thing.name for picture in pictures for thing in picture.objects}))
        return voc.voc_annotations(pictures, self._images, names, self._split, origin, report)

    def _read_yolo(self, report: Report) -> Annotations:
        if self._names is None:
            raise DataError(f"{self._file}: YOLO labels name no classes; expected names: [...] or names: FILE")
        origin = self._list or self._images
        pictures = yolo.list_pictures(self._images)
        if self._list:
            pictures = [self._images / line for line in self._inside(voc.read_list(self._list), report)]
        labels = [self._annotations / path.relative_to(self._images).with_suffix(".txt") for path in pictures]
        return yolo.read_yolo(pictures, labels, self._names, self._split, origin, self._file, report)

    def _inside(self, lines: Sequence[str], report: Report) -> list[str]:
        """The lines of a list that stay in the picture folder."""
        for line in lines:
            if leaves_folder(line):
                message = f"{self._list}: {line!r} leaves the picture folder {self._images}; expected a path inside it"
                report(Finding(name="path-outside-folder", file=str(self._list), message=message))
        return [line for line in lines if not leaves_folder(line)]


def _in_order(splits: Mapping[str, object]) -> list[str]:
    """train, val, test first, in that order."""
    return [split for split in SPLITS if split in splits] + sorted(split for split in splits if split not in SPLITS)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f", ... ({len(names)})" if len(names) > 6 else "")
