"""Layouts of COCO data sets: a folder, one annotation file, or images in tar archives (shards)."""

import re
from pathlib import Path
from shlex import quote

from lookonce.data.annotations import Annotations
from lookonce.data.findings import Report
from lookonce.data.formats import coco
from lookonce.data.headers import missing_rows
from lookonce.data.listing import Listing, head_of, split_in, split_of_folders, split_word
from lookonce.data.shards import INDEX
from lookonce.data.splits import DataSource, in_order
from lookonce.errors import DataError
from lookonce.log import get_logger
from lookonce.parsed import parse_json
from lookonce.settings.names import few
from lookonce.storage import read_regular_file

# The images lie beside a folder of this name; beside any other folder they may be those of another data set.
_ANNOTATION_FOLDERS = frozenset({"annotations", "annotation", "anns", "ann", "labels", "label", "json", "coco"})
IS_COCO = re.compile(r'^\s*\{(?!(?s:.*)"dm_format_version")(?s:.*)"(images|annotations)"\s*:\s*\[').search
NOT_BOXES = ("person_keypoints", "captions", "image_info", "panoptic", "stuff")


def find_coco(listing: Listing) -> list[Path]:
    """Annotation files with boxes, in annotations/ or one in each image folder."""
    root = listing.root
    files = [path for path in sorted(root.glob("annotations/*.json")) if not path.name.startswith(NOT_BOXES)]
    # A damaged file may be COCO's, and is reported when it is read; an object of another program is not.
    heads = {path: head_of(path) for path in files}
    return (
        [path for path in files if path.name.startswith("instances")]
        or [path for path, head in heads.items() if not head.lstrip().startswith("{") or IS_COCO(head)]
        or sorted(root.glob("*/_annotations.coco.json"))
    )


def open_coco(listing: Listing, files: list[Path], needs_images: bool) -> DataSource:
    """A folder in COCO layout; files: the result of `find_coco`."""
    root = listing.root
    by_split = _file_of_each_split(root, files)

    def read(split: str, report: Report) -> Annotations:
        file = by_split[split]
        folder = _image_folder(root, file, split, must_exist=needs_images)
        return coco.read_coco(file, folder, split, report)

    return DataSource(root, "coco", in_order(by_split), read)


def find_shards(listing: Listing) -> list[Path]:
    """The index of the archives, if there is one."""
    return [listing.root / INDEX] if (listing.root / INDEX).exists() else []


def open_shards(listing: Listing, _index: list[Path], _needs_images: bool) -> DataSource:
    """A folder with shards.json; images in object storage are fetched when they are read."""
    root, files = listing.root, find_coco(listing)
    if not files:
        raise DataError.at(
            root,
            f"has {INDEX}, but no annotation file; expected annotations/instances_train.json; copy the whole folder",
        )
    by_split = _file_of_each_split(root, files)

    def read(split: str, report: Report) -> Annotations:
        return coco.read_coco(by_split[split], root, split, report)

    return DataSource(root, "shards", in_order(by_split), read)


def _file_of_each_split(root: Path, files: list[Path]) -> dict[str, Path]:
    by_split: dict[str, Path] = {}
    for file in files:
        relative = file.relative_to(root)
        split = split_in(file.stem) or split_of_folders(relative.as_posix())
        if split is None:
            continue
        if split in by_split:
            raise DataError.at(
                root,
                f"{by_split[split].name} and {file.name} both match split {split!r}; expected one file; choose it: "
                f"--data {quote(str(file))} --images FOLDER",
            )
        by_split[split] = file
    if not by_split and len(files) == 1:
        return {"train": files[0]}
    if not by_split:
        raise DataError.at(
            root,
            f"{few([file.name for file in files])}: no file name has a split; expected train, val or test, as in "
            f"instances_train2017.json; or choose one: --data {quote(str(files[0]))}",
        )
    return by_split


def _image_folder(root: Path, file: Path, split: str, *, must_exist: bool) -> Path:
    """The first of the usual folders that contains the file's first image; else `root`, if it is anywhere in it."""
    spelled, year = (split_word(file.stem) or (split, split, ""))[1:]
    names = dict.fromkeys((f"{spelled}{year}", f"{split}{year}", split, spelled))
    folders = [file.parent] if file.parent not in {root, root / "annotations"} else []
    folders += [root / name for name in names] + [root / "images" / name for name in names]
    folders += [root / "images", root / "JPEGImages", root / "data", root]
    folders = [folder for folder in folders if folder.is_dir()]
    first = _first_file_name(file)
    for folder in folders:
        if first is None or not missing_rows([folder / first]):
            return folder
    if not must_exist or Listing(root).by_name.find(first or "", split):
        return root
    tried = ", ".join(str(folder.relative_to(root)) for folder in folders[:6])
    raise DataError.at(
        file,
        f"its first image {first!r} was not found in {root}; expected it in one of {tried}; set the image folder: "
        f"--data {quote(str(file))} --images FOLDER",
    )


def _first_file_name(file: Path) -> str | None:
    """The first `file_name` in the first MiB of a COCO file, without parsing the whole file; None if there is none."""
    try:
        start = read_regular_file(file, 1 << 20).decode("utf-8", errors="replace")
    except OSError as error:
        raise DataError.at(file, f"cannot be read: {error.strerror or error}") from error
    match = re.search(r'"file_name"\s*:\s*("(?:[^"\\]|\\.)+")', start)
    try:
        return str(parse_json(match[1])) if match else None
    except ValueError:  # a control character, say; `read_coco` reports it
        return None


def open_json(path: Path, images: Path | None, *, needs_images: bool) -> DataSource:
    """One annotation file, as the split in its name (default: train).

    The user named this file, so it is read for every requested split; except that the other splits of a training file
    are read from its siblings (instances_val.json beside instances_train.json), if there are any.
    """
    folder = _folder_around(path, needs_images=needs_images) if images is None else images
    if not folder.is_dir():
        raise DataError.at(
            folder, f"no such folder; expected the folder with the images of {path}; set it: --images FOLDER"
        )
    own = split_in(path.stem) or "train"
    siblings = {}
    if split_in(path.stem) == "train":
        # Files whose names differ only by the split: instances_train2017 and instances_val2017.
        word = re.compile(r"train|validation|valid|val|dev|test")
        alike = (file for file in path.parent.glob("*.json") if word.sub("*", file.stem) == word.sub("*", path.stem))
        siblings = {split_in(file.stem) or "": file for file in alike if file != path}
    files = {**siblings, own: path}

    def folder_of(file: Path) -> Path:
        """Images of instances_val.json may lie in another folder than those of instances_train.json."""
        around = file.parent if images or file == path else _folder_around(file, needs_images=False)
        return folder if around == file.parent else around

    def read(split: str, report: Report) -> Annotations:
        file = files.get(split, path)
        if file != path:
            get_logger().info(f"split {split!r}: read from {file}, beside {path.name}")
        elif split != own:
            get_logger().info(f"split {split!r}: read from {path}, the only annotation file")
        return coco.read_coco(file, folder_of(file), split, report)

    return DataSource(path, "coco", in_order(files), read, any_split=not siblings)


def _folder_around(path: Path, *, needs_images: bool) -> Path:
    """The image folder of an annotation file: around it, or around its folder of annotations."""
    first = _first_file_name(path)
    split = split_in(path.stem) or "train"
    around = [path.parent]
    if path.resolve().parent.name.lower() in _ANNOTATION_FOLDERS:
        around.append(path.resolve().parent.parent)
    for folder in around:
        if first is None or Listing(folder).by_name.find(first, split):
            return _image_folder(folder, path, split, must_exist=True)
    if not needs_images:
        return path.parent
    raise DataError.at(
        path,
        f"its first image {first!r} is not in {path.parent} or beside that folder; set the image folder: --images "
        "FOLDER",
    )
