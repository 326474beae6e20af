"""Where a COCO data set's files lie: a folder of them, one file alone, or pictures in tar archives (shards)."""

import re
from pathlib import Path

from lookonce.data.annotations import Annotations
from lookonce.data.findings import Report
from lookonce.data.formats import coco
from lookonce.data.shards import INDEX
from lookonce.data.splits import SPELLINGS, DataSource, in_order
from lookonce.errors import DataError
from lookonce.log import get_logger

# "instances_train2017" -> "train", "2017"
_JSON_NAME = re.compile(
    r"(?:^|.*[^a-z])(train|valid|validation|val|dev|test)(?:[-_]?(\d{4}))?(?:[^a-z].*)?", re.IGNORECASE
)
_NOT_BOXES = ("person_keypoints", "captions", "image_info", "panoptic", "stuff")


def find_coco(root: Path) -> list[Path]:
    """Annotation files with boxes, in annotations/ or one in each picture folder."""
    files = [path for path in sorted(root.glob("annotations/*.json")) if not path.name.startswith(_NOT_BOXES)]
    instances = [path for path in files if path.name.startswith("instances")]
    return instances or files or sorted(root.glob("*/_annotations.coco.json"))


def open_coco(root: Path, files: list[Path], needs_images: bool) -> DataSource:
    """A folder in COCO layout; files: those of `find_coco`."""
    by_split = _file_of_each_split(root, files)

    def read(split: str, report: Report) -> Annotations:
        file = by_split[split]
        folder = _image_folder(root, file, split, must_exist=needs_images)
        return coco.read_coco(file, folder, split, report)

    return DataSource(root, "coco", in_order(by_split), read)


def find_shards(root: Path) -> list[Path]:
    """The index of the archives."""
    return [root / INDEX] if (root / INDEX).exists() else []


def open_shards(root: Path, _index: list[Path], _needs_images: bool) -> DataSource:
    """A folder with shards.json; its pictures may be fetched when they are asked for."""
    files = find_coco(root)
    if not files:
        raise DataError(
            f"{root}: holds {INDEX}, but no annotations/instances_train.json; copy the whole folder", path=root
        )
    by_split = _file_of_each_split(root, files)

    def read(split: str, report: Report) -> Annotations:
        return coco.read_coco(by_split[split], root, split, report)

    return DataSource(root, "shards", in_order(by_split), read)


def _file_of_each_split(root: Path, files: list[Path]) -> dict[str, Path]:
    by_split: dict[str, Path] = {}
    for file in files:
        in_folder_of_images = file.name == "_annotations.coco.json"
        split = _split_in(file.parent.name if in_folder_of_images else file.stem)
        if split is None:
            continue
        if split in by_split:
            raise DataError(
                f"{root}: {by_split[split].name} and {file.name} both look like split {split!r}; say which: "
                f"--data {file} --images FOLDER",
                path=root,
            )
        by_split[split] = file
    if not by_split:
        raise DataError(
            f"{files[0]}: no file name here says train, val or test; expected instances_train2017.json", path=files[0]
        )
    return by_split


def _split_in(name: str) -> str | None:
    match = _JSON_NAME.fullmatch(name)
    if match is None:
        return None
    word = match[1].lower()
    return SPELLINGS.get(word, word)


def _image_folder(root: Path, file: Path, split: str, *, must_exist: bool) -> Path:
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
    raise DataError(
        f"{file}: its first picture {first} is in none of {root}/{{{places}}}; say where: --images FOLDER", path=file
    )


def _first_file_name(file: Path) -> str | None:
    """The first `file_name` in a COCO file, without parsing hundreds of megabytes; None where it has none early."""
    try:
        with file.open("rb") as opened:
            start = opened.read(1 << 20).decode("utf-8", errors="replace")
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}", path=file) from error
    match = re.search(r'"file_name"\s*:\s*"([^"\\]+)"', start)
    return match[1] if match else None


def open_json(path: Path, images: Path | None, *, needs_images: bool) -> DataSource:
    """One annotation file, which is the split that its name says (else train).

    Whoever names one file means that file, so it answers for any split asked for; except that a training file leaves
    the others to its siblings, instances_train.json to instances_val.json.
    """
    if images is None and needs_images:
        raise DataError(f"{path}: an annotation JSON needs its picture folder: --images FOLDER", path=path)
    folder = path.parent if images is None else images
    if not folder.is_dir():
        raise DataError(
            f"{folder}: no such folder; --images names the folder that holds the pictures of {path}", path=folder
        )
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

    return DataSource(path, "coco", in_order(files), read, any_split=not siblings)


def _is_sibling(file: Path, path: Path) -> bool:
    """Whether two files are called alike but for the split: instances_train2017 and instances_val2017."""
    word = re.compile(r"train|validation|valid|val|dev|test")
    return file != path and word.sub("*", file.stem) == word.sub("*", path.stem)
