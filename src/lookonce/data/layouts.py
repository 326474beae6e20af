"""The table of data-set formats: what gives each layout away, and how it is read; a new format is added here.

A layout with a description (data.yaml, obj.data, ImageSets, shards.json) or a name of its own (annotations/*.json) is
known by that. All others are known by the content of their annotation files, wherever these lie: `KINDS`. Their splits
are in the names of their files or folders, and their images are found by their names (`listing.Locator`).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shlex import quote

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
from lookonce.data.formats.records import ParseFile, RecordReader
from lookonce.data.formats.via import parse_via
from lookonce.data.images import IMAGE_SUFFIXES
from lookonce.data.listing import Listing, head_of, split_in, split_of_folders
from lookonce.data.splits import DataSource, in_order
from lookonce.errors import DataError
from lookonce.log import get_logger
from lookonce.parsed import are_numbers, parse_json
from lookonce.settings.names import counted
from lookonce.storage import read_regular_file, read_text_file

_SNIFFED_LABELS = 200


@dataclass(frozen=True, kw_only=True)
class FileKind:
    """A kind of annotation file. gives_away: a pattern in its first 64 KiB. per_image: a file for each image, whose
    folder says its split; else its name may say it. classes: the class list that the file declares."""

    suffixes: tuple[str, ...] = (".json",)
    gives_away: Callable[[str], object]
    parse: ParseFile
    per_image: bool = False
    classes: Callable[[Path], list[str]] = lambda _: []


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
        parse=parse_cvat,
        classes=cvat_classes,
    ),
    "labelme": FileKind(
        gives_away=re.compile(r'^\s*\{(?s:.*)"shapes"\s*:\s*\[').search,
        parse=parse_labelme,
        per_image=True,
    ),
    "datumaro": FileKind(
        gives_away=re.compile(r'^\s*\{(?s:.*)"dm_format_version"\s*:').search,
        parse=parse_datumaro,
        classes=datumaro_classes,
    ),
    "fiftyone": FileKind(
        gives_away=re.compile(
            r'^\s*\{\s*("classes"\s*:\s*(null|\[[^\[\]]*\])\s*,\s*)?"labels"\s*:\s*\{'
            r'|^\s*\{\s*"samples"\s*:\s*\[\s*(\]|\{(?s:.*)"filepath"\s*:)'
        ).search,
        parse=parse_fiftyone,
        classes=fiftyone_classes,
    ),
    "csv": FileKind(
        suffixes=(".csv", ".tsv"),
        gives_away=lambda head: columns_of(head.partition("\n")[0].strip("\r\ufeff")),
        parse=parse_csv,
    ),
    "via": FileKind(
        suffixes=(".json", ".csv"),
        gives_away=re.compile(
            r'"_via_img_metadata"\s*:|^\s*\{\s*"[^"]+"\s*:\s*\{[^{}\[\]]*"filename"\s*:(?s:.*)"regions"\s*:'
            r"|^#?filename,.*\bregion_shape_attributes\b"
        ).search,
        parse=parse_via,
    ),
    "label-studio": FileKind(  # before createml, whose keys it has too
        gives_away=re.compile(r'^\s*\[\s*\{(?s:.*)("from_name"\s*:|"data"\s*:\s*\{)').search,
        parse=parse_label_studio,
    ),
    "createml": FileKind(
        gives_away=re.compile(r'^\s*\[\s*\{(?=(?s:.*)"annotations?"\s*:\s*\[)(?s:.*)"image(filename)?"\s*:').search,
        parse=parse_createml,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """find(listing): files or folders that give it away, [] if it is not there. open(listing, result of find,
    needs_images): the data set; reads small files only. wins: if it is found, no other is tried."""

    find: Callable[[Listing], list[Path]]
    open: Callable[[Listing, list[Path], bool], DataSource]
    wins: bool = False


def kind_of(path: Path) -> str | None:
    """The kind of an annotation file: "coco", a key of KINDS, or None."""
    head = head_of(path)
    for name, kind in KINDS.items():
        if path.suffix.lower() in kind.suffixes and kind.gives_away(head):
            return name
    return "coco" if path.suffix.lower() == ".json" and coco_layout.IS_COCO(head) else None


def open_kind(name: str, listing: Listing, files: Sequence[Path], origin: Path) -> DataSource:
    """Annotation files of one kind, whose images lie in the folder of the listing."""
    kind = KINDS[name]

    def split_of(file: Path) -> str:
        folders = split_of_folders(file.relative_to(listing.root).as_posix())
        return folders or (not kind.per_image and split_in(file.stem)) or ("train" if kind.per_image else "")

    def classes_of(names: set[str]) -> tuple[str, ...]:
        """Those that the files declare, else the first file of class names that has all names, else these, sorted."""
        declared: dict[str, None] = {}
        for file in files:
            with suppress(DataError):  # reported when the file is read
                declared |= dict.fromkeys(kind.classes(file))
        if declared and names <= declared.keys():
            return tuple(declared)
        for file in yolo.names_files(listing):
            with suppress(DataError):
                found = checked_names(read_list(file), file)
                if names <= set(found):
                    return found
        return tuple(sorted(names))

    reader = RecordReader(listing.root, [(file, split_of(file)) for file in files], kind.parse, classes_of)
    return DataSource(origin, name, reader.splits(), reader.read)


def _find_darknet(listing: Listing) -> list[Path]:
    """Darknet's descriptions, those nearest to the root only."""
    files = [
        file for file in listing.with_suffix(".data") if re.search(r"(?m)^\s*train\s*=", head_of(listing.root / file))
    ]
    nearest = min((file.count("/") for file in files), default=0)
    return [listing.root / file for file in files if file.count("/") == nearest]


def _only(root: Path, files: list[Path], kind: str) -> Path:
    if len(files) > 1:
        one = "one, or a data.yaml" if kind == "YAML" else "one"
        raise DataError.at(
            root, f"has {len(files)} {kind} files; expected {one}; choose one: --data {quote(str(files[0]))}"
        )
    return files[0]


def _find_labels(listing: Listing) -> list[Path]:
    """YOLO label files that have an image with their name, if the first rows are rows of numbers."""
    stems = {Path(file).stem for file in listing.images}
    files = [file for file in yolo.label_files(listing) if Path(file).stem in stems]
    heads = (head_of(listing.root / file).split("\n")[0].split() for file in files[:_SNIFFED_LABELS])
    rows = [head for head in heads if head]
    num_boxes = sum(len(row) >= 5 and are_numbers(row) for row in rows)
    return [listing.root / file for file in files] if num_boxes * 2 > len(rows) else []


def _open_labels(listing: Listing, files: list[Path], _needs_images: bool) -> DataSource:
    """Images with YOLO labels and no description: splits are list files or folders, classes a file of names."""
    entries = _yolo_splits(listing)
    names = yolo_names(listing, files)
    root = listing.root

    def images_of(split: str, report: Report) -> list[Path]:
        entry = entries[split]
        return yolo.list_images(entry, report) if isinstance(entry, Path) else entry

    def other_labels(split: str) -> list[Path]:
        others = [image for other in entries if other != split for image in images_of(other, ignore)]
        return yolo.label_paths(others, root)

    def read(split: str, report: Report) -> Annotations:
        images = images_of(split, report)
        labels = yolo.label_paths(images, root)
        yolo.report_pairs(images, labels, report)
        yolo.report_other_images(listing, report)
        return yolo.read_yolo(
            images, labels, names, split, root, root, report, other_labels=partial(other_labels, split)
        )

    return DataSource(root, "yolo", in_order(entries), read)


def _yolo_splits(listing: Listing) -> Mapping[str, Path | list[Path]]:
    """train.txt, val.txt, test.txt in the root, if their lines are images; else the images of each split's folders."""
    lists: dict[str, Path] = {}
    for file in listing.with_suffix(".txt"):
        split = split_in(Path(file).stem) if "/" not in file else None
        lines = [line.strip().lower() for line in head_of(listing.root / file).splitlines()[:5]] if split else []
        if split and lines and all(line.endswith(tuple(IMAGE_SUFFIXES)) for line in lines if line):
            lists[split] = listing.root / file
    found: dict[str, list[Path]] = {}
    for file in listing.images:
        found.setdefault(split_of_folders(file) or "train", []).append(listing.root / file)
    return lists or found


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
        f"classes.txt, one name a line{described_above(listing.root)}"
    )
    return tuple(map(str, range(count)))


def described_above(folder: Path) -> str:
    """`; did you mean --data FILE?` if a data.yaml lies one or two folders above `folder`; else ""."""
    written = folder if folder.name not in ("", "..") else folder.absolute()
    file = next((one / "data.yaml" for one in written.parents[:2] if (one / "data.yaml").is_file()), None)
    return f"; did you mean --data {quote(str(file))}?" if file else ""


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
    "voc": Layout(find=voc.find_voc, open=voc.open_voc, wins=True),
    "shards": Layout(find=coco_layout.find_shards, open=coco_layout.open_shards, wins=True),
    "coco": Layout(find=coco_layout.find_coco, open=coco_layout.open_coco),
    "yaml": Layout(
        find=description.find_yaml,
        open=lambda listing, files, _: description.open_yaml(_only(listing.root, files, "YAML")),
    ),
}


def layouts_by_content(listing: Listing) -> dict[str, Layout]:
    """Tried if none of LAYOUTS is there."""
    suffixes = {".json"}.union(*(kind.suffixes for kind in KINDS.values()))
    files: dict[str, list[Path]] = {}
    for file in listing.with_suffix(*suffixes):  # the beginning of each is read once
        path = listing.root / file
        if (kind := kind_of(path)) and not (kind == "coco" and path.name.startswith(coco_layout.NOT_BOXES)):
            files.setdefault(kind, []).append(path)

    def of_kind(name: str) -> Layout:
        def open_it(listing: Listing, files: list[Path], _needs_images: bool) -> DataSource:
            return open_kind(name, listing, files, files[0] if len(files) == 1 else listing.root)

        return Layout(find=lambda _: files.get(name, []), open=coco_layout.open_coco if name == "coco" else open_it)

    return {
        "darknet": Layout(
            find=_find_darknet,
            open=lambda listing, files, _: darknet.open_darknet(_only(listing.root, files, "Darknet .data")),
            wins=True,
        ),
        **{name: of_kind(name) for name in ("coco", *KINDS)},
        "yolo": Layout(find=_find_labels, open=_open_labels),
    }
