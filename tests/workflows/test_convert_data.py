from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image
from raised import raises

from lookonce.data.dataset import Dataset, data_hash
from lookonce.data.formats.coco import write_coco
from lookonce.data.source import open_data
from lookonce.data.write import Format, write_data
from lookonce.errors import DataError, LookonceError, SettingsError
from lookonce.workflows.convert_data import as_text, convert_data, read_renames, read_shares

ARRAYS = ("image_ids", "image_sizes_wh", "box_offsets", "boxes_xyxy", "labels", "crowd", "areas")


@pytest.fixture
def original(tmp_path: Path) -> Path:
    """A COCO layout: three pictures of odd sizes, one of them background; crowd; decimals; awkward names."""
    folder = tmp_path / "original"
    (folder / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        (folder / split).mkdir()
        paths = [folder / split / f"{split} ä {number}.jpg" for number in (2, 1, 3)]
        sizes = np.array([(37, 53), (101, 64), (640, 480)], np.int32)
        for path, size in zip(paths, sizes, strict=True):
            Image.new("RGB", tuple(size.tolist()), (len(split), 9, int(path.stem[-1]))).save(path)
        boxes = np.array([(0.1, 0.2, 36.9, 52.71), (3, 4, 5, 6), (10.12, 20.3, 15.42, 479.99), (1.23, 0, 640, 7.001)])
        dataset = Dataset(
            split=split,
            image_paths=paths,
            image_ids=np.array([1, 2, 3]),
            image_sizes_wh=sizes,
            box_offsets=np.array([0, 2, 2, 4]),
            boxes_xyxy=boxes,
            labels=np.array([2, 0, 1, 2]),
            crowd=np.array([False, False, True, False]),
            areas=np.array([5.5, 4, 1, 2]),
            class_names=("zebra & <foal>", "ant: red", "mouse"),
            category_ids=(1, 2, 3),
        )
        write_coco(folder / "annotations" / f"instances_{split}.json", dataset)
    return folder


@pytest.mark.parametrize("to", ["coco", "voc", "yolo"])
def test_a_copy_reads_back_bit_for_bit(original: Path, tmp_path: Path, to: Format) -> None:
    conversion = convert_data(original, tmp_path / "copies" / to, to=to)
    assert conversion.largest_difference == 0
    assert conversion.images == {"train": 3, "val": 3}
    source, copy = open_data(original), open_data(conversion.folder)
    assert copy.format == to
    for split in ("train", "val"):
        one, two = source.split(split), copy.split(split)
        kept = ~one.crowd if to == "yolo" else slice(None)
        np.testing.assert_array_equal(one.boxes_xyxy[kept], two.boxes_xyxy)
        np.testing.assert_array_equal(one.labels[kept], two.labels)
        assert one.class_names == two.class_names
        assert [path.name for path in one.image_paths] == [path.name for path in two.image_paths]
        assert one.image_paths[0].read_bytes() == two.image_paths[0].read_bytes()
        if to != "yolo":
            np.testing.assert_array_equal(one.crowd, two.crowd)
        if to == "coco":
            np.testing.assert_array_equal(one.areas, two.areas)
    assert conversion.crowd_left_out == (2 if to == "yolo" else 0)
    lines = list(as_text(conversion))
    assert lines[0] == f"train: 3 images, {3 if to == 'yolo' else 4} boxes"
    assert "read back" in lines[-1]


FORMATS = get_args(Format)
NEXT = list(zip(FORMATS, FORMATS[1:] + FORMATS[:1], strict=True))  # each is written from another, and read by another


@pytest.mark.parametrize("pair", NEXT + [(two, one) for one, two in NEXT], ids="-".join)
def test_every_format_is_written_from_every_other_bit_for_bit(
    original: Path, tmp_path: Path, pair: tuple[Format, Format]
) -> None:
    """Boxes in multiples of 0.001 pixels, as in the fixture; crowd boxes are lost where a format cannot mark them, the
    order of the images in LabelMe's files."""
    folder = original
    for to in pair:
        folder = convert_data(folder, tmp_path / to, to=to).folder
    source, copy = open_data(original), open_data(folder)
    for split in ("train", "val"):
        one, two = source.split(split), copy.split(split)
        if "labelme" in pair:
            one = one.take(np.argsort([path.name for path in one.image_paths]).tolist())
        kept = slice(None) if {*pair} <= {"coco", "voc", "shards"} else ~one.crowd
        np.testing.assert_array_equal(two.boxes_xyxy, one.boxes_xyxy[kept])
        np.testing.assert_array_equal(two.labels, one.labels[kept])
        np.testing.assert_array_equal(two.image_sizes_wh, one.image_sizes_wh)
        assert two.class_names == one.class_names
        assert [path.name for path in two.image_paths] == [path.name for path in one.image_paths]


def test_any_boxes_stay_within_a_billionth_of_a_pixel_through_all_formats(original: Path, tmp_path: Path) -> None:
    """Numbers of 53 bits: as fractions, corners or width and height in decimal text they differ in the last digit."""
    source = open_data(original).split("train")
    shares = np.random.default_rng(0).uniform(0, 1, (200, 2, 2))
    boxes = np.sort(shares, axis=1).reshape(-1, 4) * np.tile(source.image_sizes_wh[2], 2)
    count = len(boxes)
    dataset = replace(
        source,
        box_offsets=np.array([0, 0, 0, count]),
        boxes_xyxy=boxes,
        labels=np.zeros(count, np.int64),
        crowd=np.zeros(count, bool),
        areas=np.ones(count),
    )
    folder = write_data([dataset], tmp_path / "first", to="coco").folder
    for to in ("voc", "labelme", "yolo", "cvat", "shards", "label-studio", "coco"):
        folder = convert_data(folder, tmp_path / to, to=to).folder
    np.testing.assert_allclose(open_data(folder).split("train").boxes_xyxy, boxes, rtol=0, atol=1e-9)


def test_real_photographs_are_the_same_in_all_three_formats(shared: Callable[[str], Path], tmp_path: Path) -> None:
    root = shared("data/bccd")
    original = open_data(root)
    for to in ("yolo", "coco", "voc"):
        # Links between file systems are refused: the shared data may lie on another one.
        copy = open_data(convert_data(root, tmp_path / to, to=to, splits=["val"]).folder)
        assert copy.splits == ("val",)
        one, two = original.split("val"), copy.split("val")
        for field in ARRAYS:
            np.testing.assert_array_equal(getattr(one, field), getattr(two, field))
            assert getattr(one, field).dtype == getattr(two, field).dtype
        assert (one.class_names, one.category_ids) == (two.class_names, two.category_ids)
        assert data_hash(one) == data_hash(two)


@pytest.mark.parametrize("to", ["voc", "yolo", "labelme", "cvat", "label-studio"])
def test_a_copy_has_the_format_of_the_original_unless_another_is_named(
    original: Path, tmp_path: Path, to: Format, caplog: pytest.LogCaptureFixture
) -> None:
    convert_data(original, tmp_path / "one", to=to)
    assert convert_data(tmp_path / "one", tmp_path / "two", split="0.5/0.5").format == to
    assert str(tmp_path / ".two") not in caplog.text


def test_links_share_the_originals_bytes(original: Path, tmp_path: Path) -> None:
    convert_data(original, tmp_path / "linked", to="voc", image_files="link")
    name = "train ä 1.jpg"
    assert (tmp_path / "linked" / "JPEGImages" / name).samefile(original / "train" / name)


def test_a_folder_with_something_in_it_is_not_written_to(original: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("keep")
    with raises(DataError, path=tmp_path / "full"):
        convert_data(original, tmp_path / "full", to="yolo")
    (tmp_path / "empty").mkdir()
    assert convert_data(original, tmp_path / "empty", to="yolo").folder == tmp_path / "empty"


def test_a_failure_leaves_nothing_behind(original: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))

    def fail(done: int, total: int) -> None:
        if done == total - 1:
            raise OSError("the disk is gone")

    with raises(LookonceError, path=tmp_path / "copy"):
        convert_data(original, tmp_path / "copy", to="voc", on_progress=fail)
    assert sorted(tmp_path.rglob("*")) == before


def test_images_of_one_name_get_numbers(original: Path, tmp_path: Path) -> None:
    (original / "val" / "val ä 1.jpg").rename(original / "val" / "train ä 1.jpg")
    text = (original / "annotations" / "instances_val.json").read_text().replace("val \\u00e4 1", "train \\u00e4 1")
    (original / "annotations" / "instances_val.json").write_text(text)
    conversion = convert_data(original, tmp_path / "copy", to="voc")
    assert conversion.renamed == {original / "val" / "train ä 1.jpg": "train ä 1-2.jpg"}
    copy = tmp_path / "copy" / "JPEGImages" / "train ä 1-2.jpg"
    assert copy.read_bytes() == (original / "val" / "train ä 1.jpg").read_bytes()
    assert any("renamed" in line and " 1, " in line for line in as_text(conversion))


def test_an_unknown_format_is_told(original: Path, tmp_path: Path) -> None:
    with raises(DataError, "coco, voc, yolo", value="csv"):
        convert_data(original, tmp_path / "copy", to="csv")


def test_classes_are_renamed_joined_and_chosen(original: Path, tmp_path: Path) -> None:
    """mouse and zebra become one animal, in mouse's place; the ant goes, and with it no picture but its own."""
    rename = ["zebra & <foal>:animal", "mouse:animal"]
    conversion = convert_data(original, tmp_path / "copy", to="coco", rename=rename, classes=["animal"])
    dataset = open_data(conversion.folder).split("train")
    assert dataset.class_names == ("animal",)
    assert dataset.labels.tolist() == [0, 0, 0]  # labels 2, 0 and 2 of the original; the ant, 1, is gone
    assert len(dataset) == 3


def test_a_class_may_have_a_colon_in_its_name() -> None:
    assert read_renames(["ant: red:ant", "mouse:a:b"], ("ant: red", "mouse")) == {"ant: red": "ant", "mouse": "a:b"}
    with raises(SettingsError, "OLD:NEW", "ant: red", setting="rename", value="bee:ant"):
        read_renames(["bee:ant"], ("ant: red",))


def test_several_sources_are_merged_by_class_name(original: Path, tmp_path: Path) -> None:
    renamed = convert_data(original, tmp_path / "other", to="yolo", rename=["mouse:rat"]).folder
    conversion = convert_data(original, tmp_path / "both", to="coco", merge=[renamed])
    assert conversion.images == {"train": 6, "val": 6}
    both = open_data(conversion.folder)
    dataset = both.split("train")
    assert dataset.class_names == ("zebra & <foal>", "ant: red", "mouse", "rat") == both.split("val").class_names
    assert dataset.labels.tolist() == [2, 0, 1, 2, 3, 0, 3]  # YOLO has lost the crowd box
    assert len({path.name for path in dataset.image_paths}) == 6


def test_images_are_shared_out_anew(original: Path, tmp_path: Path) -> None:
    conversion = convert_data(original, tmp_path / "copy", to="voc", split="0.5/0.5", seed=3)
    assert conversion.images == {"train": 3, "val": 3}
    again = convert_data(original, tmp_path / "again", to="voc", split="0.5/0.5", seed=3)
    names = [[p.name for p in open_data(c.folder).split("val").image_paths] for c in (conversion, again)]
    assert names[0] == names[1]


@pytest.mark.parametrize("text", ["0.8", "0.8/0.1/0.2", "0.8/-0.1/0.3", "a/b", "0.2/0.2/0.2/0.4", "nan/1"])
def test_parts_that_are_no_parts_of_one_are_refused(text: str) -> None:
    with raises(SettingsError, "0.8/0.1/0.1", setting="split", value=text):
        read_shares(text)


def test_a_part_without_images_is_refused(original: Path, tmp_path: Path) -> None:
    with raises(DataError, setting="split", value="val"):
        convert_data(original, tmp_path / "copy", to="voc", split="0.94/0.05/0.01")
