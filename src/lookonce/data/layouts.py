"""The table of data-set formats: what gives each layout away, and how it is read.

A layout with a description (data.yaml, obj.data, ImageSets, shards.json) or a name of its own (annotations/*.json) is
known by that. All others are known by the content of their annotation files, wherever these lie: `KINDS`. Their splits
are in the names of their files or folders, and their images are found by their names (`listing.Locator`).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from lookonce.data.annotations import Annotations
from lookonce.data.findings import Report, ignore
from lookonce.data.formats import coco_layout, darknet, description, voc, yolo
from lookonce.data.formats.createml import parse_createml
from lookonce.data.formats.csv_boxes import columns_of, parse_csv
from lookonce.data.formats.cvat import cvat_classes, parse_cvat
from lookonce.data.formats.datumaro import datumaro_classes, parse_datumaro
from lookonce.data.formats.fiftyone import fiftyone_classes, parse_fiftyone
from lookonce.data.formats.label_studio import parse_label_studio
from lookonce.data.formats.labelme import parse_labelme
from lookonce.data.formats.names import checked_names, read_list
from lookonce.data.formats.records import LabelledImage, ParseFile, RecordReader
from lookonce.data.formats.via import parse_via
from lookonce.data.images import IMAGE_SUFFIXES
from lookonce.data.listing import Listing, split_in, split_of_folders
from lookonce.data.splits import DataSource, in_order
from lookonce.errors import DataError
from lookonce.log import get_logger
from lookonce.parsed import parse_json
from lookonce.settings.names import counted
from lookonce.storage import read_regular_file, read_text_file

_HEAD_BYTES = 1 << 16  # of a file that is looked at
_SNIFFED_LABELS = 200


@dataclass(frozen=True, kw_only=True)
class FileKind:
    """A kind of annotation file. gives_away: a pattern in its first 64 KiB. per_image: a file for each image, whose
    folder says its split; else its name may say it. classes: the class list that the file declares."""

    suffixes: tuple[str, ...]
    gives_away: Callable[[str], object]
    parse: Callable[[Path, Path, Report], list[LabelledImage]]  # file, root, report
    per_image: bool
    classes: Callable[[Path], list[str]] = lambda _: []


def _without_root(parse: ParseFile) -> Callable[[Path, Path, Report], list[LabelledImage]]:
    return lambda file, _, report: parse(file, report)


# Add a new kind of annotation file here, and its reader in data/formats/.
KINDS: dict[str, FileKind] = {
    "voc": FileKind(
        suffixes=(".xml",),
        gives_away=re.compile(r"<annotation\b(?s:.*)<(object|size|filename)\b").search,
        parse=voc.parse_voc,
        per_image=True,
    ),
    "cvat": FileKind(
        suffixes=(".xml",),
        gives_away=re.compile(r"<annotations\b(?s:.*)<image\b|<annotations\b(?s:.*)<meta\b").search,
        parse=_without_root(parse_cvat),
        per_image=False,
        classes=cvat_classes,
    ),
    "labelme": FileKind(
        suffixes=(".json",),
        gives_away=re.compile(r'^\s*\{(?s:.*)"shapes"\s*:\s*\[').search,
        parse=_without_root(parse_labelme),
        per_image=True,
    ),
    "datumaro": FileKind(
        suffixes=(".json",),
        gives_away=re.compile(r'^\s*\{(?s:.*)"dm_format_version"\s*:').search,
        parse=_without_root(parse_datumaro),
        per_image=False,
        classes=datumaro_classes,
    ),
    "fiftyone": FileKind(
        suffixes=(".json",),
        gives_away=re.compile(
            r'^\s*\{\s*("classes"\s*:\s*(null|\[[^\[\]]*\])\s*,\s*)?"labels"\s*:\s*\{'
            r'|^\s*\{\s*"samples"\s*:\s*\[\s*(\]|\{(?s:.*)"filepath"\s*:)'
        ).search,
        parse=_without_root(parse_fiftyone),
        per_image=False,
        classes=fiftyone_classes,
    ),
    "csv": FileKind(
        suffixes=(".csv", ".tsv"),
        gives_away=lambda head: columns_of(head.partition("\n")[0].strip("\r\ufeff")),
        parse=_without_root(parse_csv),
        per_image=False,
    ),
    "via": FileKind(
        suffixes=(".json", ".csv"),
        gives_away=re.compile(
            r'"_via_img_metadata"\s*:|^\s*\{\s*"[^"]+"\s*:\s*\{[^{}\[\]]*"filename"\s*:(?s:.*)"regions"\s*:'
            r"|^#?filename,.*\bregion_shape_attributes\b"
        ).search,
        parse=_without_root(parse_via),
        per_image=False,
    ),
    "label-studio": FileKind(  # before createml, whose keys it has too
        suffixes=(".json",),
        gives_away=re.compile(r'^\s*\[\s*\{(?s:.*)("from_name"\s*:|"data"\s*:\s*\{)').search,
        parse=_without_root(parse_label_studio),
        per_image=False,
    ),
    "createml": FileKind(
        suffixes=(".json",),
        gives_away=re.compile(r'^\s*\[\s*\{(?=(?s:.*)"annotations?"\s*:\s*\[)(?s:.*)"image(filename)?"\s*:').search,
        parse=_without_root(parse_createml),
        per_image=False,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """find(listing): files or folders that give it away, [] if it is not there. open(listing, result of find,
    needs_images): the data set; reads small files only. wins: if it is found, no other is tried."""

    find: Callable[[Listing], list[Path]]
    open: Callable[[Listing, list[Path], bool], DataSource]
    wins: bool = False


def _in_root(find: Callable[[Path], list[Path]]) -> Callable[[Listing], list[Path]]:
    return lambda listing: find(listing.root)


def _open_root(
    open_: Callable[[Path, list[Path], bool], DataSource],
) -> Callable[[Listing, list[Path], bool], DataSource]:
    return lambda listing, files, needs_images: open_(listing.root, files, needs_images)


def _head(path: Path) -> str:
    try:
        return read_regular_file(path, _HEAD_BYTES).decode("utf-8-sig", errors="replace")
    except OSError:
        return ""


def kind_of(path: Path) -> str | None:
    """The kind of an annotation file: "coco", a key of KINDS, or None."""
    head = _head(path)
    for name, kind in KINDS.items():
        if path.suffix.lower() in kind.suffixes and kind.gives_away(head):
            return name
    return "coco" if path.suffix.lower() == ".json" and coco_layout.IS_COCO(head) else None


def _files_by_kind(listing: Listing) -> dict[str, list[Path]]:
    """The annotation files of each kind; the beginning of each file is read once."""
    suffixes = {".json"}.union(*(kind.suffixes for kind in KINDS.values()))
    found: dict[str, list[Path]] = {}
    for file in listing.with_suffix(*suffixes):
        path = listing.root / file
        if (name := kind_of(path)) and not (name == "coco" and path.name.startswith(coco_layout.NOT_BOXES)):
            found.setdefault(name, []).append(path)
    return found


def open_kind(name: str, listing: Listing, files: Sequence[Path], origin: Path) -> DataSource:
    """Annotation files of one kind, whose images lie in the folder of the listing."""
    kind = KINDS[name]

    def split_of(file: Path) -> str:
        folders = split_of_folders(file.relative_to(listing.root).as_posix())
        return folders or (not kind.per_image and split_in(file.stem)) or ("train" if kind.per_image else "")

    def classes_of(names: set[str]) -> tuple[str, ...]:
        declared = list(dict.fromkeys(name for file in files for name in kind.classes(file)))
        return tuple(declared) if declared and names <= set(declared) else _listed_classes(listing, names)

    def parse(file: Path, report: Report) -> list[LabelledImage]:
        return kind.parse(file, listing.root, report)

    reader = RecordReader(listing.root, [(file, split_of(file)) for file in files], parse, classes_of)
    return DataSource(origin, name, reader.splits(), reader.read)


def _listed_classes(listing: Listing, names: set[str]) -> tuple[str, ...]:
    """The first file of class names that has all names; else the names, sorted."""
    for file in yolo.names_files(listing):
        try:
            found = checked_names(read_list(file), file)
        except DataError:
            continue
        if names <= set(found):
            return found
    return tuple(sorted(names))


def _open_kind(name: str) -> Callable[[Listing, list[Path], bool], DataSource]:
    return lambda listing, files, _: open_kind(name, listing, files, files[0] if len(files) == 1 else listing.root)


def _find_darknet(listing: Listing) -> list[Path]:
    """Darknet's descriptions, those nearest to the root only."""
    files = [
        file for file in listing.with_suffix(".data") if re.search(r"(?m)^\s*train\s*=", _head(listing.root / file))
    ]
    nearest = min((file.count("/") for file in files), default=0)
    return [listing.root / file for file in files if file.count("/") == nearest]


def _open_darknet(listing: Listing, files: list[Path], _needs_images: bool) -> DataSource:
    if len(files) > 1:
        raise DataError.at(
            listing.root, f"has {len(files)} Darknet .data files; expected one; choose one: --data {files[0]}"
        )
    return darknet.open_darknet(files[0])


def _find_labels(listing: Listing) -> list[Path]:
    """YOLO label files that have an image with their name, if the first rows are rows of numbers."""
    stems = {Path(file).stem for file in listing.images}
    files = [file for file in yolo.label_files(listing) if Path(file).stem in stems]
    heads = (_head(listing.root / file).split("\n")[0].split() for file in files[:_SNIFFED_LABELS])
    rows = [head for head in heads if head]
    return [listing.root / file for file in files] if rows and sum(map(_is_row, rows)) * 2 > len(rows) else []


def _is_row(words: Sequence[str]) -> bool:
    try:
        return len([float(word) for word in words]) >= 5
    except ValueError:
        return False


def _open_labels(listing: Listing, files: list[Path], _needs_images: bool) -> DataSource:
    """Images with YOLO labels and no description: splits are list files or folders, classes a file of names."""
    entries = _yolo_lists(listing) or _yolo_folders(listing)
    names = yolo_names(listing, files)

    root = listing.root

    def other_labels(split: str) -> list[Path]:
        others = [image for other, images in entries.items() if other != split for image in images(ignore)]
        return yolo.label_paths(others, root)

    def read(split: str, report: Report) -> Annotations:
        images = entries[split](report)
        labels = yolo.label_paths(images, root)
        yolo.report_pairs(images, labels, report)
        yolo.report_other_images(listing, report)
        return yolo.read_yolo(
            images, labels, names, split, root, root, report, other_labels=partial(other_labels, split)
        )

    return DataSource(root, "yolo", in_order(entries), read)


Images = Callable[[Report], list[Path]]


def _yolo_lists(listing: Listing) -> dict[str, Images]:
    """train.txt, val.txt, test.txt in the root, if their lines are images."""
    found: dict[str, Images] = {}
    for file in listing.with_suffix(".txt"):
        split = split_in(Path(file).stem) if "/" not in file else None
        lines = [line.strip() for line in islice(_head(listing.root / file).splitlines(), 5)] if split else []
        if split and lines and all(line.lower().endswith(tuple(IMAGE_SUFFIXES)) for line in lines if line):
            found[split] = partial(yolo.list_images, listing.root / file)
    return found


def _yolo_folders(listing: Listing) -> dict[str, Images]:
    found: dict[str, list[Path]] = {}
    for file in listing.images:
        found.setdefault(split_of_folders(file) or "train", []).append(listing.root / file)
    return {split: partial(_given, images) for split, images in found.items()}


def _given(images: list[Path], _: Report) -> list[Path]:
    return images


def yolo_names(listing: Listing, labels: Sequence[Path]) -> tuple[str, ...]:
    """Class names of YOLO labels: of a file of names, of Label Studio's notes.json; else the numbers."""
    lists = {checked_names(read_list(file), file): file for file in reversed(yolo.names_files(listing))}
    if len(lists) > 1:
        files = list(lists.values())
        raise DataError.at(
            listing.root,
            f"{files[-1]} and {files[0]} have different class names; expected one list; remove one, or write a "
            "data.yaml",
        )
    if lists:
        return next(iter(lists))
    for file in listing.with_suffix(".yaml", ".yml"):
        if names := description.names_of_yaml(listing.root / file):
            return names
    if names := _names_of_notes(listing.root / "notes.json"):
        return names
    count = 1 + max(map(_largest_class, labels), default=0)
    get_logger().warning(
        f"{listing.root}: no file has the class names; {counted(count, 'class')} named by number; write "
        "classes.txt, one name a line"
    )
    return tuple(map(str, range(count)))


def _names_of_notes(path: Path) -> tuple[str, ...]:
    try:
        categories = parse_json(read_regular_file(path))["categories"]
        return tuple(str(item["name"]) for item in sorted(categories, key=lambda item: item["id"]))
    except (OSError, ValueError, KeyError, TypeError):
        return ()


def _largest_class(path: Path) -> int:
    """The largest class number of a label file, 0 without one; absurd numbers are reported when it is read."""
    try:
        words = [line.split()[0] for line in read_text_file(path).splitlines() if line.strip()]
    except (OSError, ValueError):
        return 0
    numbers = [int(word) for word in words if word.isdecimal() and len(word) < 6]
    return max(numbers, default=0)


# In the order in which they are tried.
LAYOUTS: dict[str, Layout] = {
    "voc": Layout(find=_in_root(voc.find_voc), open=_open_root(voc.open_voc), wins=True),
    "shards": Layout(find=_in_root(coco_layout.find_shards), open=_open_root(coco_layout.open_shards), wins=True),
    "coco": Layout(find=_in_root(coco_layout.find_coco), open=_open_root(coco_layout.open_coco)),
    "yaml": Layout(find=_in_root(description.find_yaml), open=_open_root(description.open_only_yaml)),
}


def layouts_by_content(listing: Listing) -> dict[str, Layout]:
    """Tried if none of LAYOUTS is there."""
    files = _files_by_kind(listing)

    def of_kind(name: str) -> Callable[[Listing], list[Path]]:
        return lambda _: files.get(name, [])

    return {
        "darknet": Layout(find=_find_darknet, open=_open_darknet, wins=True),
        "coco": Layout(find=of_kind("coco"), open=_open_root(coco_layout.open_coco)),
        **{name: Layout(find=of_kind(name), open=_open_kind(name)) for name in KINDS},
        "yolo": Layout(find=_find_labels, open=_open_labels),
    }
