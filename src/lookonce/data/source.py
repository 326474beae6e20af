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

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lookonce.data.annotations import Annotations
from lookonce.data.findings import Report
from lookonce.data.formats import coco_layout, description, voc, yolo
from lookonce.data.images import IMAGE_SUFFIXES
from lookonce.data.local_data import local_data
from lookonce.data.splits import DataSource
from lookonce.errors import DataError
from lookonce.remote.local_copy import local_file

IMAGES_ALONE = "pictures"  # format of what has no annotations


@dataclass(frozen=True, kw_only=True)
class DataFormat:
    """find: what shows that a folder is of this format, [] where it is not. open(folder, what find has found,
    needs_pictures): the folder as a data set, of which nothing is read yet but small files. wins: where it is found,
    nothing else is asked; of the other formats a folder may show one only."""

    find: Callable[[Path], list[Path]]
    open: Callable[[Path, list[Path], bool], DataSource]
    wins: bool = False


# In the order in which they are tried. Another format has its place here, and its reader in data/formats/.
FORMATS: dict[str, DataFormat] = {
    "voc": DataFormat(find=voc.find_voc, open=voc.open_voc, wins=True),
    "shards": DataFormat(find=coco_layout.find_shards, open=coco_layout.open_shards, wins=True),
    "coco": DataFormat(find=coco_layout.find_coco, open=coco_layout.open_coco),
    "yaml": DataFormat(find=description.find_yaml, open=description.open_only_yaml),
}


def open_data(data: str | Path, images: Path | None = None, *, needs_images: bool = True) -> DataSource:
    """The data set at `data`, which may be a .zip or lie in object storage; `images` is the picture folder of an
    annotation JSON.

    Nothing but folder listings and small YAML files is read here. DataError when `data` is nothing we know, or two
    things at once. needs_pictures False: COCO and VOC annotations are read wherever the pictures may be.
    """
    source = _open(local_data(data), None if images is None else local_file(images), needs_images=needs_images)
    source.needs_images = needs_images
    return source


def _open(path: Path, images: Path | None, *, needs_images: bool) -> DataSource:
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; expected a data set (see docs/data.md)", path=path)
    if path.is_dir():
        if images is not None:
            raise DataError(f"{path}: is a folder, and --images {images} goes with an annotation JSON only", path=path)
        return _open_folder(path, needs_images=needs_images)
    suffix = path.suffix.lower()
    if suffix == ".json":
        return coco_layout.open_json(path, images, needs_images=needs_images)
    if suffix not in {".yaml", ".yml"}:
        raise DataError(
            f"{path}: expected a folder, a .yaml or a COCO .json, not a {suffix or 'nameless'} file", path=path
        )
    if images is not None:
        raise DataError(f"{path}: is YAML, and --images {images} goes with an annotation JSON only", path=path)
    return description.open_yaml(path)


def open_images(path: Path) -> DataSource | None:
    """Pictures without annotations, a file or those that lie in a folder, as the one split "pictures"; else None."""
    files = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]

    def read(split: str, report: Report) -> Annotations:
        return yolo.read_yolo(images, [], (), split, path, path, report)  # no labels

    return DataSource(path, IMAGES_ALONE, ["pictures"], read) if images else None


def _open_folder(root: Path, *, needs_images: bool) -> DataSource:
    found: dict[str, list[Path]] = {}
    for name, data_format in FORMATS.items():
        if files := data_format.find(root):
            if data_format.wins:
                return data_format.open(root, files, needs_images)
            found[name] = files
    if len(found) > 1:
        coco_file, yaml_file = found["coco"][0], found["yaml"][0]
        raise DataError(
            f"{root}: holds COCO files ({coco_file}) and {yaml_file.name}; say which: --data {yaml_file}, or "
            f"--data {coco_file} --images FOLDER",
            path=root,
        )
    for name, files in found.items():
        return FORMATS[name].open(root, files, needs_images)
    names = {path.name for path in root.iterdir()}
    missing = " without ImageSets/Main/train.txt and val.txt" if "Annotations" in names else ""
    there = ", ".join(sorted(names)[:8]) or "nothing"
    raise DataError(
        f"{root}: is no data set{missing}: expected annotations/*.json (COCO), Annotations and ImageSets (VOC) or "
        f"data.yaml (YOLO); found {there}",
        path=root,
    )
