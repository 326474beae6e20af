import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from raised import raises

from lookonce.data.dataset import data_hash
from lookonce.data.findings import ignore
from lookonce.data.formats.csv_boxes import parse_csv
from lookonce.data.source import open_data
from lookonce.errors import DataError

Save = Callable[..., Path]

BOX = (1, 1, (10, 10, 20, 20))


def coco_layout(root: Path, save_coco: Save, save_image: Save, folders: dict[str, str], year: str = "") -> Path:
    for split, folder in folders.items():
        save_coco(root / "annotations" / f"instances_{split}{year}.json", [BOX])
        save_image(root / folder / "1.png")
    return root


def test_the_documents_layout(tmp_path: Path, save_coco: Save, save_image: Save) -> None:
    coco_layout(tmp_path, save_coco, save_image, {"val": "val2017", "train": "train2017"}, year="2017")
    save_coco(tmp_path / "annotations" / "person_keypoints_train2017.json")
    source = open_data(str(tmp_path))
    assert (source.format, source.splits, source.class_names) == ("coco", ("train", "val"), ("cell",))
    assert source.split("train").image_paths[0] == tmp_path / "train2017" / "1.png"


@pytest.mark.parametrize("folder", ["train", "images/train", "images", "JPEGImages", "."])
def test_images_are_found_in_the_usual_places(tmp_path: Path, save_coco: Save, save_image: Save, folder: str) -> None:
    (tmp_path / "train").mkdir()  # an empty folder of the right name does not mislead
    coco_layout(tmp_path, save_coco, save_image, {"train": folder})
    assert open_data(tmp_path).split("train").image_paths[0].parent == tmp_path / folder


def test_images_in_no_usual_place_are_found_by_their_name_and_else_are_an_error(
    tmp_path: Path, save_coco: Save, save_image: Save
) -> None:
    coco_layout(tmp_path, save_coco, save_image, {"train": "photos"})
    assert open_data(tmp_path).split("train").image_paths == [tmp_path / "photos" / "1.png"]
    (tmp_path / "photos" / "1.png").unlink()
    with raises(DataError, "1.png", "--images", path="instances_train.json"):
        open_data(tmp_path).split("train")


def test_annotations_are_enough_where_no_image_is_needed(tmp_path: Path, save_coco: Save) -> None:
    file = save_coco(tmp_path / "annotations" / "instances_val.json", [BOX])
    for data in (tmp_path, file):
        assert open_data(data, needs_images=False).split("val").boxes_xyxy.tolist() == [[10, 10, 30, 30]]
    with raises(DataError, "--images", path=file):
        open_data(file)
    save_coco(file, [BOX], images=[{"width": None}, {}])
    with pytest.raises(DataError):
        open_data(file, needs_images=False).split("val")


def test_an_image_that_is_neither_there_nor_measured_is_named(tmp_path: Path, save_coco: Save) -> None:
    changes = {"images": [{"id": 1, "file_name": "1.png"}]}
    file = save_coco(tmp_path / "instances_val.json", [BOX], changes=changes)
    with raises(DataError, path="1.png"):
        open_data(file, needs_images=False).split("val")


def test_a_file_in_each_image_folder(tmp_path: Path, save_coco: Save, save_image: Save) -> None:
    for folder in ("train", "valid"):
        save_coco(tmp_path / folder / "_annotations.coco.json", [BOX])
        save_image(tmp_path / folder / "1.png")
    source = open_data(tmp_path)
    assert source.splits == ("train", "val")
    assert source.split("val").image_paths[0] == tmp_path / "valid" / "1.png"


def test_two_files_for_one_split_must_be_told_apart(tmp_path: Path, save_coco: Save, save_image: Save) -> None:
    for year in ("2014", "2017"):
        coco_layout(tmp_path, save_coco, save_image, {"train": "train"}, year=year)
    with raises(
        DataError,
        "'train'",
        "2014.json",
        f"--data {tmp_path / 'annotations' / 'instances_train2017.json'} --images",
        path=tmp_path,
    ):
        open_data(tmp_path)


def test_coco_and_yolo_in_one_folder_must_be_told_apart(tmp_path: Path, save_coco: Save, save_image: Save) -> None:
    coco_layout(tmp_path, save_coco, save_image, {"train": "train"})
    (tmp_path / "data.yaml").write_text("train: train\nnames: [cell]\n")
    with raises(DataError, "instances_train.json", "data.yaml", path=tmp_path):
        open_data(tmp_path)
    assert open_data(tmp_path / "data.yaml").format == "yolo"


def test_one_json_answers_for_the_split_that_is_asked(tmp_path: Path, save_coco: Save, save_image: Save) -> None:
    path = save_coco(tmp_path / "mine.json", [BOX])
    save_image(tmp_path / "photos" / "1.png")
    source = open_data(path, tmp_path / "photos")
    assert source.splits == ("train",)
    assert len(source.split("train")) == len(source.split("val")) == 1
    assert open_data(save_coco(tmp_path / "instances_test.json"), tmp_path).splits == ("test",)


def test_a_training_json_leaves_val_and_test_to_its_siblings(tmp_path: Path, save_coco: Save, save_image: Save) -> None:
    save_image(tmp_path / "1.png")
    train, _ = (save_coco(tmp_path / f"{split}.json", [BOX] * boxes) for split, boxes in (("train", 1), ("val", 2)))
    save_coco(tmp_path / "other_test.json", [BOX] * 3)
    source = open_data(train, tmp_path)
    assert source.splits == ("train", "val")
    assert [len(source.split(split).labels) for split in source.splits] == [1, 2]
    with raises(DataError, "train, val", path=train, setting="split", value="test"):
        source.split("test")


def test_siblings_of_a_training_json_find_images_in_their_own_folder(
    tmp_path: Path, save_coco: Save, save_image: Save
) -> None:
    coco_layout(tmp_path, save_coco, save_image, {"train": "train", "val": "val"})
    source = open_data(tmp_path / "annotations" / "instances_train.json")
    assert [path.parent.name for split in ("train", "val") for path in source.split(split).image_paths] == [
        "train",
        "val",
    ]


def test_splits_must_have_the_same_classes(tmp_path: Path, save_coco: Save, save_image: Save) -> None:
    coco_layout(tmp_path, save_coco, save_image, {"train": "train", "val": "val"})
    save_coco(tmp_path / "annotations" / "instances_val.json", categories=[(1, "nucleus")])
    source = open_data(tmp_path)
    source.split("train")
    with raises(DataError, "'val'", "nucleus", "'train'", "cell", path=tmp_path):
        source.split("val")


def test_our_own_yaml_mixes_formats(tmp_path: Path, save_coco: Save, save_voc: Save, save_image: Save) -> None:
    save_coco(tmp_path / "a.json", [(1, 1, (10, 10, 20, 20))], categories=[(1, "dog"), (2, "cat")])
    save_voc(tmp_path / "voc", {"1": [("cat", (1, 2, 3, 4))], "2": []}, {})
    save_image(tmp_path / "photos" / "1.png")
    save_image(tmp_path / "photos" / "2.png")
    (tmp_path / "txt").mkdir()
    (tmp_path / "txt" / "2.txt").write_text("1 .5 .5 .2 .2\n")
    (tmp_path / "order.txt").write_text("2.png\n1.png\n")
    (tmp_path / "names.txt").write_text("dog\ncat\n")
    (tmp_path / "mine.yaml").write_text(
        "names: names.txt\n"
        "train: {images: photos, annotations: a.json}\n"
        "val: {images: photos, annotations: voc/Annotations}\n"
        "test: {images: photos, annotations: txt, list: order.txt}\n"
    )
    source = open_data(tmp_path / "mine.yaml")
    assert (source.format, source.splits) == ("mixed", ("train", "val", "test"))
    train, val, test = (source.split(split) for split in source.splits)
    assert train.class_names == val.class_names == test.class_names == ("dog", "cat")
    assert (train.labels.tolist(), val.labels.tolist(), test.labels.tolist()) == ([0], [1], [1])
    assert [path.name for path in test.image_paths] == ["2.png", "1.png"]


@pytest.mark.parametrize(
    ("text", "path", "setting", "told"),
    [
        ("train: {images: photos}", "mine.yaml", "train.annotations", ["None"]),
        ("train: {images: nowhere, annotations: a.json}", "mine.yaml", "train.images", ["nowhere"]),
        ("train: {images: ., annotations: txt, list: 3}", "mine.yaml", "train.list", ["3"]),
        ("train: {images: ., annotations: txt, 1: a, b: c}", "mine.yaml", "train", ["1"]),
        ("train: {image: photos, annotations: a.json}", "mine.yaml", "train", ["'image'"]),
        ("train: {images: ., annotations: a.json}\nval: photos", "mine.yaml", "train", ["mapping"]),
        ("train: {images: ., annotations: .}", "", None, ["COCO", "VOC", "YOLO"]),
        ("train: {images: ., annotations: txt}", "mine.yaml", "names", ["YOLO"]),
        ("names: [a]\ntrain: {images: ., annotations: a.json}", "a.json", None, ["mine.yaml", "category id"]),
        ("names: [a]", "mine.yaml", None, ["train", "val", "test", "names"]),
        ("- train", "mine.yaml", None, ["YAML list"]),
        ("# nothing", "mine.yaml", None, ["is empty"]),
        ("train: [", "mine.yaml", None, ["not YAML"]),
    ],
)
def test_a_wrong_yaml_is_told(
    tmp_path: Path, save_coco: Save, text: str, path: str, setting: str | None, told: list[str]
) -> None:
    save_coco(tmp_path / "a.json")
    (tmp_path / "txt").mkdir()
    (tmp_path / "txt" / "1.txt").write_text("")
    (tmp_path / "mine.yaml").write_text(text)
    with raises(DataError, *told, path=path, setting=setting):
        open_data(tmp_path / "mine.yaml").split("train")


def test_what_is_no_data_set_is_told(tmp_path: Path, save_coco: Save) -> None:
    with raises(DataError, path=tmp_path / "none"):
        open_data(tmp_path / "none")
    with raises(DataError, "annotations/*.json", "data.yaml", path=tmp_path):
        open_data(tmp_path)
    with raises(DataError, "--images", path="a.json"):
        open_data(save_coco(tmp_path / "a.json"))
    with raises(DataError, path=tmp_path / "none"):
        open_data(tmp_path / "a.json", tmp_path / "none")
    with raises(DataError, "--images", path=tmp_path):
        open_data(tmp_path, tmp_path)
    (tmp_path / "a.json").unlink()
    (tmp_path / "Annotations").mkdir()
    with raises(DataError, "ImageSets/Main/train.txt", path=tmp_path):
        open_data(tmp_path)
    (tmp_path / "long.csv").write_text(
        f"filename,class,xmin,ymin,xmax,ymax\na.jpg,c,1,2,3,4\n{'x' * 140_000},c,1,2,3,4\n"
    )
    with raises(DataError, path="long.csv", line=3):
        parse_csv(tmp_path / "long.csv", ignore)
    (tmp_path / "data.csv").write_text("")
    with raises(DataError, ".csv", path="data.csv"):
        open_data(tmp_path / "data.csv")


def test_missing_images_are_counted(tmp_path: Path, save_coco: Save, save_image: Save) -> None:
    save_coco(tmp_path / "a.json", images=[{}, {}, {}])
    save_image(tmp_path / "2.png")
    with raises(DataError, "a.json", "2 of 3", path="1.png", check="missing-image"):
        open_data(tmp_path / "a.json", tmp_path).split("train")


def test_real_photographs_are_the_same_from_voc_and_coco(shared: Callable[[str], Path]) -> None:
    root = shared("data/bccd")
    voc = open_data(root)
    assert (voc.format, voc.splits) == ("voc", ("train", "val", "test", "trainval"))
    assert voc.class_names == ("RBC", "WBC", "Platelets")
    coco = open_data(root / "annotations" / "instances_train.json", root / "JPEGImages")
    for split, boxes in (("train", 2804), ("val", 1137), ("test", 945)):  # 2805 and 1138 with those without area
        one, two = voc.split(split), coco.split(split)
        assert len(one.labels) == boxes
        assert data_hash(one) == data_hash(two)
        for field in ("image_ids", "image_sizes_wh", "box_offsets", "boxes_xyxy", "labels", "crowd", "areas"):
            np.testing.assert_array_equal(getattr(one, field), getattr(two, field))
            assert getattr(one, field).dtype == getattr(two, field).dtype
        assert (one.image_paths, one.class_names, one.category_ids) == (
            two.image_paths,
            two.class_names,
            two.category_ids,
        )


def test_what_is_wrong_in_a_zip_names_the_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("cups.zip", "w") as packed:
        packed.writestr("README.txt", "cups")
    with raises(DataError, "cups.zip: ", path=".lookonce-cache/cups-unpacked"):
        open_data("cups.zip")


def test_the_labels_of_one_image_among_others_suggest_their_folder(
    tmp_path: Path, save_image: Save, caplog: pytest.LogCaptureFixture
) -> None:
    files = [tmp_path / "a.xml", tmp_path / "b.xml"]
    for file in files:
        save_image(file.with_suffix(".png"))
        file.write_text(f"<annotation><filename>{file.stem}.png</filename></annotation>")
    open_data(files[0])
    assert f"--data {tmp_path}?" in caplog.text
    caplog.clear()
    open_data(tmp_path)
    files[1].unlink()
    open_data(files[0])
    assert not caplog.records


def test_the_warnings_of_a_folder_that_is_both_train_and_val_are_logged_once(
    tmp_path: Path, save_image: Save, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        save_image(tmp_path / f"{name}.png")
    (tmp_path / "a.txt").write_text("0 0.5 0.5 0.5 0.5\n")
    (tmp_path / "data.yaml").write_text("names: [dog]\ntrain: .\nval: .\n")
    source = open_data(tmp_path)
    assert source.split("train").image_paths == source.split("val").image_paths
    [line] = caplog.messages
    assert line.startswith("1 x no-label-file")


def test_a_run_that_is_given_for_data_is_answered_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("".join(f"key{number}: 1\n" for number in range(110)))
    with raises(DataError, "and 102 more", path=tmp_path / "settings.yaml"):
        open_data(tmp_path)
