"""`open_data`: recognises the layout of a data set on disk and opens it; `layouts.py` has the table of layouts."""

from collections import Counter
from pathlib import Path
from shlex import quote

from lookonce.data.annotations import Annotations
from lookonce.data.findings import Report
from lookonce.data.formats import coco_layout, darknet, description, yolo
from lookonce.data.formats.names import read_list
from lookonce.data.images import IMAGE_SUFFIXES
from lookonce.data.layouts import KINDS, LAYOUTS, described_above, kind_of, layouts_by_content, open_kind, yolo_names
from lookonce.data.listing import Listing, split_in
from lookonce.data.local_data import local_data
from lookonce.data.splits import DataSource
from lookonce.errors import DataError
from lookonce.log import get_logger
from lookonce.remote.local_copy import local_file
from lookonce.remote.objects import is_remote
from lookonce.settings.names import counted, suggested_path
from lookonce.storage import require_content

IMAGES_ALONE = "images"  # format, and name of the only split, of images without annotations
# Files of these kinds beside images can be labels.
_LABEL_SUFFIXES = frozenset(
    {".json", ".jsonl", ".ndjson", ".xml", ".csv", ".tsv", ".txt", ".yaml", ".yml", ".tfrecord", ".record", ".parquet"}
    | {".mat", ".npy", ".npz", ".pkl", ".h5", ".hdf5", ".db", ".sqlite", ".geojson", ".arrow", ".data"}
    | {".manifest", ".pickle", ".rec", ".lst", ".xls", ".xlsx", ".ann", ".lmdb", ".mdb"}
)
_DOCUMENTS = ("readme", "license", "copying", "changelog", "requirements", "citation", "notes")


class NoAnnotations(DataError):
    """A folder of images in which nothing looks like labels."""


def open_data(
    data: str | Path,
    images: str | Path | None = None,
    *,
    needs_images: bool = True,
    follow_links: bool = False,
    streamed: bool = False,
) -> DataSource:
    """The data set at `data`: a folder, a file, a .zip or an address in object storage.

    images: the image folder of an annotation JSON. needs_images False: COCO and VOC annotations are read even if the
    images do not exist. follow_links: images may be read through symbolic links that lead out of the data set.
    streamed: images may stay in object storage until they are read, as `local_data` describes. Reads folder listings
    and small YAML files only. DataError if `data` matches no format, or two.
    """
    path = local_data(data, streamed=streamed)
    folder = None
    if images:  # settings hold an empty text for none
        folder = local_data(images, streamed=True) if streamed and is_remote(images) else local_file(images)
    try:
        source = _open(path, folder, needs_images=needs_images)
    except DataError as error:
        if path == Path(data):
            raise
        raise type(error)(f"{data}: {error}", **error.fields) from error  # a copy's place alone says little
    source.needs_images = needs_images
    return source if follow_links else bounded(source, folder or path)


def bounded(source: DataSource, place: Path) -> DataSource:
    """The data set, whose links have to stay in `place`, a folder, or in the folder of `place`, a file."""
    source.links_stay_in = place if place.is_dir() else place.parent
    return source


def require_data_source(data: str | Path) -> None:
    """DataError if `data` is a path and nothing is there; an address in object storage is not looked up."""
    if not is_remote(data) and not Path(data).exists():
        open_data(data)  # raises


def _open(path: Path, images: Path | None, *, needs_images: bool) -> DataSource:
    if not path.exists():
        raise DataError.at(
            path, f"no such file or folder; expected a data set (see docs/data.md){suggested_path(path)}"
        )
    if images is not None and (path.is_dir() or path.suffix.lower() not in {".json", ".csv", ".tsv", ".xml"}):
        what = "a folder" if path.is_dir() else "no annotation file"
        raise DataError.at(path, f"is {what}; --images {images} is valid only with an annotation file; leave it out")
    if path.is_dir():
        return _open_folder(path, needs_images=needs_images)
    require_content(path, DataError)
    suffix = path.suffix.lower()
    if suffix in {".yaml", ".yml"}:
        return description.open_yaml(path)
    if suffix == ".data":
        return darknet.open_darknet(path)
    if suffix == ".txt":
        return _open_list(path)
    kind = kind_of(path)
    if kind in KINDS:
        _note_others_beside(path, kind)
        return open_kind(kind, Listing(images or path.parent), [path], path)
    if suffix == ".json":
        return coco_layout.open_json(path, images, needs_images=needs_images)
    if suffix in IMAGE_SUFFIXES:
        raise DataError.at(path, "is an image; expected a data set: the folder that holds both images and labels")
    raise DataError.at(
        path,
        f"has {f'the suffix {suffix}' if suffix else 'no suffix'} and no boxes that are understood; expected a "
        f"folder, a .yaml, a COCO .json, or one of {', '.join(KINDS)}; see docs/data.md",
    )


def _note_others_beside(path: Path, kind: str) -> None:
    """Warns of the labels of one image among those of others."""
    if KINDS[kind].per_image and any(
        other != path and kind_of(other) == kind for other in path.parent.glob(f"*{path.suffix}")
    ):
        get_logger().warning(
            f"{path}: has the labels of one image, and files beside it those of others; did you mean --data "
            f"{quote(str(path.parent))}?"
        )


def _open_list(path: Path) -> DataSource:
    """A list of images with YOLO labels, as Darknet reads it."""
    split = split_in(path.stem) or "train"
    lines = read_list(path)
    num_images = sum(line.lower().endswith(tuple(IMAGE_SUFFIXES)) for line in lines)
    if 2 * num_images <= len(lines):
        raise DataError.at(
            path,
            f"{num_images} of {len(lines)} lines are the path of an image; expected a list of images; open its "
            f"folder: --data {quote(str(path.parent))}; see docs/data.md",
        )

    def read(_: str, report: Report) -> Annotations:
        images = yolo.list_images(path, report)
        names = yolo_names(Listing(path.parent), yolo.label_paths(images, path.parent))
        return yolo.read_entries([path], names, split, path, report)

    return DataSource(path, "yolo", [split], read)


def open_images(path: Path) -> DataSource | None:
    """Images without annotations, one file or the files of a folder, as the one split "images"; None without images."""
    files = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]

    def read(split: str, report: Report) -> Annotations:
        return yolo.read_yolo(images, [], (), split, path, path, report)  # no labels

    return DataSource(path, IMAGES_ALONE, [IMAGES_ALONE], read) if images else None


def _open_folder(root: Path, *, needs_images: bool) -> DataSource:
    listing = Listing(root)
    for tried in (lambda _: LAYOUTS, layouts_by_content):
        layouts = tried(listing)
        found: dict[str, list[Path]] = {}
        for name, layout in layouts.items():
            if files := layout.find(listing):
                found[name] = files
                if layout.wins:
                    break
        if found:
            name = list(found)[-1] if layouts[list(found)[-1]].wins else next(iter(found))
            if len(found) > 1 and not layouts[name].wins:
                firsts = {kind: files[0] for kind, files in found.items()}
                seen = " and ".join(f"{len(found[kind])} {kind} ({firsts[kind].relative_to(root)})" for kind in found)
                choices = ", or ".join(f"--data {quote(str(file))}" for kind, file in firsts.items() if kind != "yolo")
                raise DataError.at(
                    root,
                    f"has annotations of several formats: {seen}; expected one; choose a file: {choices}; or describe "
                    f"the folder: {_description(root, found[name])}",
                )
            return layouts[name].open(listing, found[name], needs_images)
    inner = [entry for entry in root.iterdir() if not entry.name.startswith((".", "__MACOSX"))]
    if len(inner) == 1 and inner[0].is_dir() and listing.files:
        return _open_folder(inner[0], needs_images=needs_images)
    raise _not_understood(listing)


def _not_understood(listing: Listing) -> DataError:
    """What lies in a folder that has no layout: labels of another kind, class folders, images alone, or nothing."""
    root = listing.root
    if not listing.images:
        there = ", ".join(sorted(entry.name for entry in root.iterdir())[:8]) or "nothing"
        return DataError.at(
            root,
            "has no images; expected the folder that holds both images and labels: annotations/*.json (COCO), "
            "Annotations and ImageSets/Main/train.txt (VOC) or data.yaml (YOLO), or another layout of docs/data.md; "
            f"found {there}{described_above(root)}",
        )
    labels = [
        file
        for file in listing.files
        if Path(file).suffix.lower() in _LABEL_SUFFIXES and not Path(file).name.lower().startswith(_DOCUMENTS)
    ]
    if labels:
        # The label file of an image without objects may be empty.
        filled = next((file for file in labels if (root / file).stat().st_size), None)
        if filled:
            require_content(root / filled, DataError)
        suffixes = Counter(Path(file).suffix.lower() for file in labels)
        counts = ", ".join(f"{count} {suffix}" for suffix, count in suffixes.most_common(4))
        return DataError.at(
            root,
            f"has labels that are not understood: {counts}, for example {labels[0]}; expected one of the layouts of "
            "docs/data.md, which names converters for others; or describe COCO .json, VOC .xml or YOLO .txt in a YAML "
            f"file:\n{_description(root, [root / labels[0]])}",
            value=labels[0],
        )
    folders = Counter(file.split("/")[-2] for file in listing.images if "/" in file)
    if len(folders) > 1 and not any(map(split_in, folders)):
        shown = ", ".join(f"{name} ({count})" for name, count in folders.most_common(5))
        return DataError.at(
            root,
            f"is a data set for classification: the folders {shown} have images and no boxes; expected boxes, drawn "
            "with a labelling program; see docs/data.md",
        )
    return NoAnnotations(
        f"{root}: has {counted(len(listing.images), 'image')} and no annotations; expected the folder that holds both "
        "images and labels, in one of the layouts of docs/data.md; without labels yet, see docs/label-loop.md"
        f"{described_above(root)}",
        path=root,
    )


def _description(root: Path, files: list[Path]) -> str:
    """A YAML description that can be completed; relative to `root`."""
    images = next(iter(Listing(root).images), "images/x.jpg").rpartition("/")[0] or "."
    annotations = files[0].relative_to(root)
    place = annotations.parent if len(files) > 1 else annotations
    return f"names: [first, second]\ntrain:\n  images: {images}\n  annotations: {place.as_posix()}\n"
