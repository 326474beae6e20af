"""The layouts that labelling programs and public sets hand out, each built from the same synthetic images."""

import json
import os
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from faulty import nobody_waits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from label_layouts import (
    LAYOUTS,
    Build,
    Source,
    coco_beside,
    coco_fiftyone,
    coco_roboflow,
    createml,
    csv_open_images,
    csv_tensorflow,
    cvat,
    darknet,
    darknet_without_description,
    labelme,
    via_json,
    voc_lists,
    voc_mixed,
    voc_roboflow,
    yolo_classes_txt,
    yolo_mixed,
    yolo_yaml,
)
from mutations import mutated
from raised import raises

from lookonce.data.dataset import Dataset
from lookonce.data.source import NoAnnotations, open_data
from lookonce.data.synthetic import write_synthetic
from lookonce.errors import DataError, LookonceError
from lookonce.workflows.validation_split import with_val


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    folder = tmp_path_factory.mktemp("source") / "data"
    write_synthetic(folder, train=5, val=3)
    return Source(folder)


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
        ("vott.json", '{"name": "x", "version": "2.1", "tags": [], "assets": {"1": {"asset": {}, "regions": []}}}'),
        ("meta.json", '{"classes": [{"title": "a", "shape": "rectangle"}]}'),  # Supervisely
        ("coco.json", '{"categories": [{"id": 1, "name": "a"}]}'),
        ("output.manifest", '{"source-ref": "s3://x/a.jpg", "boxes": {"annotations": []}}'),  # SageMaker
        ("metadata.jsonl", '{"file_name": "a.jpg", "objects": {"bbox": [[1, 2, 3, 4]], "categories": [0]}}'),
        ("000001.txt", "Car 0 0 -1.5 599.4 156.4 629.7 189.2"),  # KITTI
        ("wider_face_train_bbx_gt.txt", "0--Parade/a.jpg\n1\n449 330 122 149 0 0 0 0 0 0\n"),
        ("P0001.txt", "imagesource:GoogleEarth\ngsd:0.1\n1 2 3 2 3 4 1 4 plane 0\n"),  # DOTA
        ("gt.txt", "1,1,10,10,20,20,1,1,1\n"),  # MOT
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

    if Path(name).suffix not in {".tfrecord", ".xml"}:
        with raises(DataError, "docs/data.md", path=name):
            open_data(tmp_path / name).split("train")


def nested(root: Path, source: Source) -> None:
    """As an archive that was unpacked into a folder of its name."""
    yolo_classes_txt(root / "dataset" / "dataset ü 中文", source)


def with_files_of_the_system(root: Path, source: Source) -> None:
    yolo_classes_txt(root, source)
    (root / "__MACOSX").mkdir()
    (root / "__MACOSX" / "._a.jpg").write_bytes(b"\0\5")
    for folder in (root, root / "images" / "train", root / "labels" / "train"):
        for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._x.jpg"):
            (folder / name).write_bytes(b"\0\1")


def upper_case(root: Path, source: Source) -> None:
    for split in source.splits:
        source.copy(root / split, split)
        source.txt(root / split, split)
    for path in list(root.rglob("*.*")):
        path.rename(path.with_suffix(path.suffix.upper()))
    (root / "classes.names").write_text("\n".join(source.names))


def images_and_labels_nested_the_other_way(root: Path, source: Source) -> None:
    for split, folder in (("train", "train"), ("val", "dev")):
        source.copy(root / folder / "images", split)
        source.txt(root / "labels" / folder, split)
    (root / "notes.json").write_text(
        json.dumps({"categories": [{"id": row, "name": name} for row, name in enumerate(source.names)]})
    )


def file_for_each_image_folder(root: Path, source: Source) -> None:
    for split in source.splits:
        source.copy(root / f"{split}_images", split)
        source.coco(root / f"{split}.json", split)


def lists_with_dots(root: Path, source: Source) -> None:
    darknet_without_description(root, source)
    for split in source.splits:
        file = root / f"{split}.txt"
        file.write_text("".join(f"./{line}\r\n" for line in file.read_text().split()))
    (root / "test").mkdir()


SHAPES: list[Callable[[Path, Source], None]] = [
    *(nested, with_files_of_the_system, upper_case, images_and_labels_nested_the_other_way),
    *(file_for_each_image_folder, lists_with_dots),
]


@pytest.mark.parametrize("build", SHAPES, ids=lambda build: build.__name__)
def test_folders_as_people_have_them(build: Callable[[Path, Source], None], source: Source, tmp_path: Path) -> None:
    (tmp_path / "my data").mkdir()
    build(tmp_path / "my data", source)
    found = dict(opened(tmp_path / "my data"))
    assert {split: len(dataset.labels) for split, dataset in found.items()} == {
        split: len(dataset.labels) for split, dataset in source.splits.items()
    }
    assert found["train"].class_names == tuple(source.names)


@pytest.mark.parametrize("name", ["classes.txt", "train_000000000002.txt", "README.txt"])
def test_a_text_that_lists_no_images_is_no_data_set(source: Source, tmp_path: Path, name: str) -> None:
    yolo_mixed(tmp_path, source)
    (tmp_path / "README.txt").write_text("Provided by someone")
    with raises(DataError, "docs/data.md", path=name):
        open_data(tmp_path / name)


def test_images_without_anything_but_files_of_the_system_are_unlabelled(source: Source, tmp_path: Path) -> None:
    source.copy(tmp_path)
    (tmp_path / "Thumbs.db").write_bytes(b"\0")
    with raises(NoAnnotations, path=tmp_path):
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
    "via": via_json,
    "createml": createml,
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
    with raises(DataError, copied.name, check="missing-image"):
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
        with nobody_waits(5), suppress(LookonceError):
            opened(data)
        path.unlink()
        path.write_bytes(content)


@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
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
    with nobody_waits(10):
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


@pytest.mark.parametrize("part", ["train", "train/images", "train/labels"])
def test_a_part_of_a_data_set_names_the_data_yaml_above_it(
    tmp_path: Path, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "my export"
    for name in ("images", "labels"):
        (root / "train" / name).mkdir(parents=True)
    (root / "data.yaml").write_text("train: ../train/images\nval: ../train/images\nnames: [cup]\n")
    cv2.imwrite(str(root / "train/images/a.png"), np.zeros((8, 8, 3), np.uint8))
    (root / "train/labels/a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    expected = f"--data '{root / 'data.yaml'}'"
    if part == "train":  # it can be read, without the names
        open_data(root / part).split("train")
        assert expected in caplog.text
    else:
        with raises(DataError, expected, path=part):
            open_data(root / part)


def test_an_image_is_no_data_set(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8, 3), np.uint8))
    with raises(DataError, path="a.png"):
        open_data(tmp_path / "a.png")


def test_a_command_in_an_error_can_be_pasted(tmp_path: Path) -> None:
    folder = tmp_path / "my cups"
    folder.mkdir()
    (folder / "classes.txt").write_text("cup\n")
    with raises(DataError, f"--data '{folder}'", path="classes.txt"):
        open_data(folder / "classes.txt")


def test_images_that_were_moved_are_logged_once_where_val_is_held_out(
    tmp_path: Path, source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "photos").mkdir()
    rows = ["filename,width,height,class,xmin,ymin,xmax,ymax"]
    for image in source.splits["train"].image_paths:
        shutil.copy(image, tmp_path / "photos")
        rows.append(f"{image.name},64,64,cup,1,1,9,9")
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    with caplog.at_level("INFO"):
        with_val(open_data(tmp_path), {}).split("train")
    assert caplog.text.count("photos") == 1
