"""`open_data`: recognises the format of a data set and opens it; the table of data-set formats.

The layouts, and how each is recognised:

    folder with Annotations/ and ImageSets/          VOC (also if the folder has COCO files too)
    folder with annotations/*.json                   COCO layout, as the model zoo document describes it
    folder with train/_annotations.coco.json         COCO, one file in each image folder
    folder with shards.json                          COCO, the images in tar archives
    folder with data.yaml, or one other .yaml        that file
    .yaml whose train is a path or a list of paths   YOLO data.yaml
    .yaml whose train is {images:, annotations:}     lookonce's own description, for all other layouts: docs/data.md
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

IMAGES_ALONE = "images"  # format, and name of the only split, of images without annotations


@dataclass(frozen=True, kw_only=True)
class DataFormat:
    """find(folder): files or folders that identify the format, [] if the folder is not of this format.
    open(folder, result of find, needs_images): the data set; reads small files only. wins: if this format is found, no
    other is tried; of the formats without `wins`, a folder may match only one."""

    find: Callable[[Path], list[Path]]
    open: Callable[[Path, list[Path], bool], DataSource]
    wins: bool = False


# In the order in which they are tried. Add a new format here, and its reader in data/formats/.
FORMATS: dict[str, DataFormat] = {
    "voc": DataFormat(find=voc.find_voc, open=voc.open_voc, wins=True),
    "shards": DataFormat(find=coco_layout.find_shards, open=coco_layout.open_shards, wins=True),
    "coco": DataFormat(find=coco_layout.find_coco, open=coco_layout.open_coco),
    "yaml": DataFormat(find=description.find_yaml, open=description.open_only_yaml),
}


def open_data(data: str | Path, images: Path | None = None, *, needs_images: bool = True) -> DataSource:
    """The data set at `data`: a folder, a file, a .zip or an address in object storage.

    images: the image folder of an annotation JSON. needs_images False: COCO and VOC annotations are read even if the
    images do not exist. Reads folder listings and small YAML files only. DataError if `data` matches no format, or two.
    """
    source = _open(local_data(data), None if images is None else local_file(images), needs_images=needs_images)
    source.needs_images = needs_images
    return source


def _open(path: Path, images: Path | None, *, needs_images: bool) -> DataSource:
    if not path.exists():
        raise DataError(f"{path}: no such file or folder; expected a data set (see docs/data.md)", path=path)
    if path.is_dir():
        if images is not None:
            raise DataError(
                f"{path}: is a folder; --images {images} is valid only with an annotation JSON; leave it out", path=path
            )
        return _open_folder(path, needs_images=needs_images)
    suffix = path.suffix.lower()
    if suffix == ".json":
        return coco_layout.open_json(path, images, needs_images=needs_images)
    if suffix not in {".yaml", ".yml"}:
        raise DataError(
            f"{path}: has {f'the suffix {suffix}' if suffix else 'no suffix'}; expected a folder, a .yaml or a COCO "
            ".json",
            path=path,
        )
    if images is not None:
        raise DataError(
            f"{path}: is YAML; --images {images} is valid only with an annotation JSON; leave it out", path=path
        )
    return description.open_yaml(path)


def open_images(path: Path) -> DataSource | None:
    """Images without annotations, one file or the files of a folder, as the one split "images"; None without images."""
    files = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]

    def read(split: str, report: Report) -> Annotations:
        return yolo.read_yolo(images, [], (), split, path, path, report)  # no labels

    return DataSource(path, IMAGES_ALONE, [IMAGES_ALONE], read) if images else None


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
            f"{root}: contains COCO files ({coco_file}) and {yaml_file.name}; expected one format; choose one: --data "
            f"{yaml_file}, or --data {coco_file} --images FOLDER",
            path=root,
        )
    for name, files in found.items():
        return FORMATS[name].open(root, files, needs_images)
    names = {path.name for path in root.iterdir()}
    missing = " without ImageSets/Main/train.txt and val.txt" if "Annotations" in names else ""
    there = ", ".join(sorted(names)[:8]) or "nothing"
    raise DataError(
        f"{root}: is not a data set{missing}; expected annotations/*.json (COCO), Annotations and ImageSets (VOC) or "
        f"data.yaml (YOLO); found {there}; see docs/data.md",
        path=root,
    )
