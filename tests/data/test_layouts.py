"""The layouts that labelling programs and public sets hand out, each built from the same synthetic images."""

import csv
import io
import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import mutated
from raised import raises

from lookonce.boxes import xyxy_to_cxcywh
from lookonce.data.dataset import Dataset
from lookonce.data.source import NoAnnotations, open_data
from lookonce.data.synthetic import write_synthetic
from lookonce.errors import DataError, LookonceError

Build = Callable[[Path, "Source"], Path]


class Source:
    """The images and boxes that every layout holds."""

    def __init__(self, root: Path) -> None:
        source = open_data(root)
        self.root = root
        self.splits = {split: source.split(split) for split in ("train", "val")}
        self.names = list(source.class_names)

    def copy(self, folder: Path, *splits: str) -> None:
        """The images of the splits into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for split in splits or self.splits:
            for path in self.splits[split].image_paths:
                shutil.copy(path, folder / f"{split}_{path.name}")

    def items(self, *splits: str) -> Iterator[tuple[str, Dataset, int]]:
        """(name of the image, data set, index)."""
        for split in splits or self.splits:
            for index, path in enumerate(self.splits[split].image_paths):
                yield f"{split}_{path.name}", self.splits[split], index

    def txt(self, folder: Path, *splits: str) -> None:
        """YOLO label files."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, dataset, index in self.items(*splits):
            rows = dataset.rows(index)
            boxes = xyxy_to_cxcywh(dataset.boxes_xyxy[rows]) / np.tile(dataset.image_sizes_wh[index], 2)
            lines = [
                " ".join(map(repr, [int(label), *map(float, box)]))
                for label, box in zip(dataset.labels[rows], boxes, strict=True)
            ]
            (folder / name).with_suffix(".txt").write_text("\n".join(lines))

    def coco(self, file: Path, *splits: str, path: Callable[[str], str] = str) -> Path:
        file.parent.mkdir(parents=True, exist_ok=True)
        images, annotations = [], []
        for number, (name, dataset, index) in enumerate(self.items(*splits), start=1):
            width, height = dataset.image_sizes_wh[index].tolist()
            images.append({"id": number, "file_name": path(name), "width": width, "height": height})
            rows = dataset.rows(index)
            for box, label in zip(dataset.boxes_xyxy[rows].tolist(), dataset.labels[rows].tolist(), strict=True):
                bbox = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
                annotations.append({"id": len(annotations), "image_id": number, "category_id": label, "bbox": bbox})
        categories = [{"id": label, "name": name} for label, name in enumerate(self.names)]
        file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
        return file

    def xml(self, folder: Path, *splits: str) -> None:
        """VOC files."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, dataset, index in self.items(*splits):
            (folder / name).with_suffix(".xml").write_text(
                f"<annotation><filename>{name}</filename>"
                + "".join(
                    f"<object><name>{self.names[label]}</name><difficult>0</difficult><bndbox>"
                    + "".join(
                        f"<{tag}>{x!r}</{tag}>" for tag, x in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
                    )
                    + "</bndbox></object>"
                    for box, label in self.boxes(dataset, index)
                )
                + "</annotation>"
            )

    def boxes(self, dataset: Dataset, index: int) -> list[tuple[list[float], int]]:
        rows = dataset.rows(index)
        return list(zip(dataset.boxes_xyxy[rows].tolist(), dataset.labels[rows].tolist(), strict=True))

    def csv(self, file: Path, columns: list[str], line: Callable[..., list[object]], *splits: str) -> Path:
        text = io.StringIO()
        writer = csv.writer(text)
        if columns:
            writer.writerow(columns)
        for name, dataset, index in self.items(*splits):
            for box, label in self.boxes(dataset, index):
                writer.writerow(line(name, dataset.image_sizes_wh[index].tolist(), self.names[label], *box))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.getvalue())
        return file


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    folder = tmp_path_factory.mktemp("source") / "data"
    write_synthetic(folder, train=5, val=3)
    return Source(folder)


def coco_document(root: Path, source: Source) -> Path:
    return shutil.copytree(source.root, root, dirs_exist_ok=True)


def coco_beside(root: Path, source: Source) -> Path:
    for split in source.splits:
        source.copy(root, split)
        source.coco(root / f"my_{split}_boxes.json", split)
    return root


def coco_file_alone(root: Path, source: Source) -> Path:
    source.copy(root / "pictures")
    return source.coco(root / "anything.json")


def coco_cvat(root: Path, source: Source) -> Path:
    source.copy(root / "images")
    source.coco(root / "annotations" / "instances_default.json")
    return root


def coco_cvat_file(root: Path, source: Source) -> Path:
    return coco_cvat(root, source) / "annotations" / "instances_default.json"


def coco_label_studio(root: Path, source: Source) -> Path:
    source.copy(root / "images")
    return source.coco(root / "result.json", path=lambda name: f"images\\1\\{name}").parent


def coco_foreign_paths(root: Path, source: Source) -> Path:
    source.copy(root / "images")
    return source.coco(root / "result.json", path=lambda name: f"file:///home/someone/my%20set/{name}").parent


def coco_roboflow(root: Path, source: Source) -> Path:
    for split, folder in (("train", "train"), ("val", "valid")):
        source.copy(root / folder, split)
        source.coco(root / folder / "_annotations.coco.json", split)
    (root / "README.roboflow.txt").write_text("Provided by a Roboflow user")
    return root


def coco_fiftyone(root: Path, source: Source) -> Path:
    source.copy(root / "data")
    return source.coco(root / "labels.json").parent


def yolo_yaml(root: Path, source: Source) -> Path:
    for split, folder in (("train", "train"), ("val", "valid")):
        source.copy(root / folder / "images", split)
        source.txt(root / folder / "labels", split)
    names = "".join(f"  {label}: {name}\n" for label, name in enumerate(source.names))
    (root / "data.yaml").write_text(
        f"path: /content/mine\ntrain: ../train/images\nval: /x/valid/images\nnames:\n{names}"
    )
    return root


def yolo_classes_txt(root: Path, source: Source) -> Path:
    for split in source.splits:
        source.copy(root / "images" / split, split)
        source.txt(root / "labels" / split, split)
    (root / "classes.txt").write_text("\n".join(source.names))
    return root


def yolo_label_studio(root: Path, source: Source) -> Path:
    source.copy(root / "images")
    source.txt(root / "labels")
    (root / "classes.txt").write_text("\n".join(source.names))
    (root / "notes.json").write_text(json.dumps({"categories": [{"id": 0, "name": "x"}], "info": {}}))
    return root


def yolo_mixed(root: Path, source: Source) -> Path:
    source.copy(root)
    source.txt(root)
    (root / "classes.txt").write_text("\n".join(source.names))
    return root


def darknet(root: Path, source: Source, prefix: str = "data/") -> Path:
    for split in source.splits:
        source.copy(root / f"obj_{split}_data", split)
        source.txt(root / f"obj_{split}_data", split)
        lines = [f"{prefix}obj_{split}_data/{name}\n" for name, _, _ in source.items(split)]
        (root / f"{split}.txt").write_text("".join(lines))
    (root / "obj.names").write_text("\n".join(source.names))
    (root / "obj.data").write_text(
        f"classes = {len(source.names)}\ntrain = {prefix}train.txt\nvalid = {prefix}val.txt\n"
        f"names = {prefix}obj.names\nbackup = backup/\n"
    )
    return root


def darknet_file(root: Path, source: Source) -> Path:
    return darknet(root / "data", source) / "obj.data"


def darknet_without_description(root: Path, source: Source) -> Path:
    (darknet(root, source, "") / "obj.data").unlink()
    return root


def darknet_roboflow(root: Path, source: Source) -> Path:
    for split, folder in (("train", "train"), ("val", "valid")):
        source.copy(root / folder, split)
        source.txt(root / folder, split)
        (root / folder / "_darknet.labels").write_text("\n".join(source.names))
    return root


def voc_lists(root: Path, source: Source) -> Path:
    source.copy(root / "JPEGImages" / "cam")
    source.xml(root / "Annotations" / "cam")
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for split in source.splits:
        stems = [f"cam/{Path(name).stem}\n" for name, _, _ in source.items(split)]
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(stems))
    return root


def voc_without_lists(root: Path, source: Source) -> Path:
    source.copy(root / "JPEGImages")
    source.xml(root / "Annotations")
    return root


def voc_images_annotations(root: Path, source: Source) -> Path:
    source.copy(root / "images")
    source.xml(root / "annotations")
    return root


def voc_mixed(root: Path, source: Source) -> Path:
    source.copy(root)
    source.xml(root)
    return root


def voc_roboflow(root: Path, source: Source) -> Path:
    for split, folder in (("train", "train"), ("val", "valid")):
        source.copy(root / folder, split)
        source.xml(root / folder, split)
    return root


def labelme(root: Path, source: Source) -> Path:
    source.copy(root / "images")
    (root / "json").mkdir()
    for name, dataset, index in source.items():
        width, height = dataset.image_sizes_wh[index].tolist()
        shapes = [
            {"label": source.names[label], "points": [box[:2], box[2:]], "shape_type": "rectangle", "flags": {}}
            for box, label in source.boxes(dataset, index)
        ]
        content = {"version": "5.4", "flags": {}, "shapes": shapes, "imagePath": f"..\\images\\{name}"}
        content |= {"imageData": None, "imageHeight": height, "imageWidth": width}
        (root / "json" / name).with_suffix(".json").write_text(json.dumps(content))
    return root


def cvat(root: Path, source: Source) -> Path:
    source.copy(root / "images")
    labels = "".join(f"<label><name>{name}</name></label>" for name in source.names)
    images = "".join(
        f'<image id="{index}" name="{name}" subset="{dataset.split}" width="{dataset.image_sizes_wh[index][0]}" '
        f'height="{dataset.image_sizes_wh[index][1]}">'
        + "".join(
            f'<box label="{source.names[label]}" xtl="{box[0]!r}" ytl="{box[1]!r}" xbr="{box[2]!r}" ybr="{box[3]!r}"/>'
            for box, label in source.boxes(dataset, index)
        )
        + "</image>"
        for name, dataset, index in source.items()
    )
    meta = f"<version>1.1</version><meta><task><labels>{labels}</labels></task></meta>"
    (root / "annotations.xml").write_text(f'<?xml version="1.0"?><annotations>{meta}{images}</annotations>')
    return root


def cvat_file(root: Path, source: Source) -> Path:
    return cvat(root, source) / "annotations.xml"


TENSORFLOW = ["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"]


def csv_tensorflow(root: Path, source: Source) -> Path:
    for split in source.splits:
        source.copy(root / "images" / split, split)
        source.csv(
            root / "data" / f"{split}_labels.csv",
            TENSORFLOW,
            lambda name, size, label, *box: [name, *size, label, *box],
            split,
        )
    return root


def csv_retinanet_file(root: Path, source: Source) -> Path:
    source.copy(root)
    return source.csv(root / "boxes.csv", [], lambda name, _, label, *box: [f"/mnt/x/{name}", *box, label])


def csv_open_images(root: Path, source: Source) -> Path:
    columns = ["ImageID", "Source", "LabelName", "Confidence", "XMin", "XMax", "YMin", "YMax", "IsGroupOf"]

    def line(name: str, size: list[int], label: str, *box: float) -> list[object]:
        left, top, right, bottom = (value / size[side % 2] for side, value in enumerate(box))
        return [Path(name).stem, "xclick", f"/m/{label}", 1, left, right, top, bottom, 0]

    for split, folder in (("train", "train"), ("val", "validation")):
        source.copy(root / folder, split)
        source.csv(root / f"{folder}-annotations-bbox.csv", columns, line, split)
    (root / "class-descriptions-boxable.csv").write_text("".join(f"/m/{name},{name}\n" for name in source.names))
    return root


LAYOUTS: tuple[Build, ...] = (
    *(coco_document, coco_beside, coco_file_alone, coco_cvat, coco_cvat_file, coco_label_studio, coco_foreign_paths),
    *(coco_roboflow, coco_fiftyone, yolo_yaml, yolo_classes_txt, yolo_label_studio, yolo_mixed, darknet, darknet_file),
    *(darknet_without_description, darknet_roboflow, voc_lists, voc_without_lists, voc_images_annotations, voc_mixed),
    *(voc_roboflow, labelme, cvat, cvat_file, csv_tensorflow, csv_retinanet_file, csv_open_images),
)


@pytest.mark.parametrize("build", LAYOUTS, ids=lambda build: build.__name__)
def test_every_layout_gives_the_same_boxes_and_classes(build: Build, source: Source, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    found = read_boxes([dataset for _, dataset in opened(build(root, source))])
    wanted = read_boxes(list(source.splits.values()))
    # Images without any object are not in the files of boxes alone.
    assert {name for name, boxes in wanted.items() if boxes} <= set(found) <= set(wanted)
    for name, boxes in found.items():
        assert [label for label, _ in boxes] == [label for label, _ in wanted[name]]
        for (_, box), (_, other) in zip(boxes, wanted[name], strict=True):
            np.testing.assert_allclose(box, other, atol=1e-6)


def opened(data: Path) -> list[tuple[str, Dataset]]:
    source = open_data(data)
    return [(split, source.split(split)) for split in source.splits]


def read_boxes(datasets: list[Dataset]) -> dict[str, list[tuple[str, list[float]]]]:
    """Image name -> class name and corners of its boxes, sorted."""
    found = {}
    for dataset in datasets:
        for index, path in enumerate(dataset.image_paths):
            rows = dataset.rows(index)
            labels = [dataset.class_names[label] for label in dataset.labels[rows]]
            name = path.name if path.name.startswith(("train_", "val_")) else f"{dataset.split}_{path.name}"
            found[name] = sorted(zip(labels, dataset.boxes_xyxy[rows].tolist(), strict=True))
    return found


@pytest.mark.parametrize(
    "build",
    [
        *(coco_beside, coco_roboflow, yolo_yaml, yolo_classes_txt, darknet, darknet_without_description, voc_lists),
        *(voc_roboflow, cvat, csv_tensorflow, csv_open_images),
    ],
    ids=lambda build: build.__name__,
)
def test_the_splits_of_a_layout_are_kept(build: Build, source: Source, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for split, dataset in opened(build(root, source)):
        assert all(path.name.startswith(f"{split}_") for path in dataset.image_paths)
    assert open_data(build(tmp_path / "again", source)).splits == ("train", "val")


def test_a_layout_in_a_single_folder_is_found(source: Source, tmp_path: Path) -> None:
    yolo_yaml(tmp_path / "export" / "my set", source)
    assert open_data(tmp_path / "export").splits == ("train", "val")


def test_yolo_labels_without_names_have_numbers(source: Source, tmp_path: Path) -> None:
    source.copy(tmp_path)
    source.txt(tmp_path)
    names = open_data(tmp_path).class_names
    assert names == tuple(map(str, range(len(names))))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("via.json", '{"a.jpg100": {"filename": "a.jpg", "regions": []}}'),
        ("labels.txt", "Car 0 0 -1.5 599.4 156.4 629.7 189.2"),
        ("boxes.csv", "a,b,c\n1,2,3\n"),
        ("boxes.tfrecord", "\0\1"),
        ("doc.xml", "<root/>"),
    ],
)
def test_labels_that_are_not_understood_are_an_error_with_a_description(
    source: Source, tmp_path: Path, name: str, text: str
) -> None:
    source.copy(tmp_path / "images")
    (tmp_path / name).write_text(text)
    with raises(DataError, name, "docs/data.md", "images: images", f"annotations: {name}", path=tmp_path):
        open_data(tmp_path)


def test_class_folders_are_named_as_classification(source: Source, tmp_path: Path) -> None:
    source.copy(tmp_path / "cat", "train")
    source.copy(tmp_path / "dog", "val")
    with raises(DataError, "classification", "cat (5)", "dog (3)", path=tmp_path):
        open_data(tmp_path)


def test_images_alone_are_told_from_labels_that_are_not_understood(source: Source, tmp_path: Path) -> None:
    source.copy(tmp_path)
    with raises(NoAnnotations, path=tmp_path):
        open_data(tmp_path)


BY_CONTENT: dict[str, Build] = {
    "coco": coco_fiftyone,
    "voc": voc_mixed,
    "cvat": cvat,
    "labelme": labelme,
    "csv": csv_tensorflow,
    "yolo": yolo_mixed,
}


@pytest.mark.parametrize("pair", list(combinations(BY_CONTENT, 2)), ids="-".join)
def test_two_formats_in_one_folder_must_be_told_apart(pair: tuple[str, str], source: Source, tmp_path: Path) -> None:
    for name in pair:
        BY_CONTENT[name](tmp_path, source)
    with raises(DataError, *pair, "--data", path=tmp_path):
        open_data(tmp_path)


def test_an_image_that_could_be_two_files_is_missing_and_not_guessed(source: Source, tmp_path: Path) -> None:
    source.copy(tmp_path / "one")
    file = source.coco(tmp_path / "result.json", path=lambda name: f"elsewhere/{name}")
    assert all(path.is_file() for path in open_data(file).split("train").image_paths)
    *_, copied = sorted((tmp_path / "one").iterdir())
    (tmp_path / "two").mkdir()
    shutil.copy(copied, tmp_path / "two")
    with raises(DataError, copied.name, check="missing-picture"):
        open_data(tmp_path).split("train")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs here")
@pytest.mark.parametrize("build", LAYOUTS, ids=lambda build: build.__name__)
def test_a_fifo_in_place_of_an_annotation_file_never_blocks(build: Build, source: Source, tmp_path: Path) -> None:
    """Reading a FIFO that nobody writes to would last for ever; the timer ends it with an error of another kind."""
    data = build(tmp_path / "data", source)
    files = [path for path in (tmp_path / "data").rglob("*") if path.is_file() and path.suffix != ".jpg"]
    kinds = {(path.parent, path.suffix): path for path in files}  # one file of each kind is enough
    for path in kinds.values():
        content = path.read_bytes()
        path.unlink()
        os.mkfifo(path)
        with limited(seconds=5), suppress(LookonceError):
            opened(data)
        path.unlink()
        path.write_bytes(content)


@contextmanager
def limited(seconds: int) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise AssertionError(f"still reading after {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("build", LAYOUTS, ids=lambda build: build.__name__)
def test_damaged_annotation_files_are_read_or_refused(
    build: Build, source: Source, tmp_path_factory: pytest.TempPathFactory, seed: int
) -> None:
    """A layout in which some bytes of one file, and a value of another, are changed: opened as what it was."""
    root = tmp_path_factory.mktemp("damaged")
    data = build(root / "data", source)
    generator = np.random.default_rng(seed)
    files = sorted(path for path in (root / "data").rglob("*") if path.is_file() and path.suffix != ".jpg")
    damaged, odd = (files[int(index)] for index in generator.integers(0, len(files), 2))
    damaged.write_bytes(mutated(damaged.read_bytes(), generator))
    odd.write_bytes(with_odd_value(odd.read_bytes(), generator))
    with limited(seconds=10):
        for place in dict.fromkeys((data, root / "data", damaged)):
            with suppress(LookonceError):
                found = open_data(place)
                for split in found.splits:
                    found.read(split, [].append)
    shutil.rmtree(root)


ODD_VALUES = (
    *(b"-1", b"0", b"1e999", b"nan", b"9" * 400, b"1" * 5000, b"0.5", b"null", b"true", b"[]", b"{}", b'""', b"[[[[1"),
    *(b"a\0b", "ä".encode(), b"\xff\xfe", b"../../x", b"C:\\x", b"//[x", b"<x/>", b"&amp;", b"a" * 300, b" ", b""),
)


def with_odd_value(content: bytes, generator: np.random.Generator) -> bytes:
    """The structure stays; one word or number becomes something that programs or people write in its place."""
    places = list(re.finditer(rb"[-\w.]+", content))
    if not places:
        return content
    place = places[int(generator.integers(len(places)))]
    return content[: place.start()] + ODD_VALUES[int(generator.integers(len(ODD_VALUES)))] + content[place.end() :]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["a.json", "a.xml", "a.csv", "a.data", "a.yaml", "a.txt"]),
    start=st.sampled_from(
        ["", '{"shapes": [', '{"images": [', "<annotation><object>", "<annotations><image ", "train="]
    ),
    text=st.text(max_size=60),
)
def test_no_text_gives_a_traceback(tmp_path: Path, name: str, start: str, text: str) -> None:
    (tmp_path / name).write_text(start + text, encoding="utf-8", errors="replace")
    with suppress(LookonceError):
        open_data(tmp_path / name).split("train")
