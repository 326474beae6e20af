from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from raised import raises

from lookonce.data.findings import Finding, RaiseOnError
from lookonce.data.source import open_data
from lookonce.errors import DataError

Save = Callable[..., Path]

CAT, DOG = ("cat", (10, 20, 30, 40)), ("dog", (0, 0, 100, 50))


def add_images(root: Path, save_image: Save, *stems: str) -> None:
    for stem in stems:
        save_image(root / "JPEGImages" / f"{stem}.png")


def test_corners_are_taken_as_written(tmp_path: Path, save_voc: Save, save_image: Save) -> None:
    save_voc(tmp_path, {"a": [("cat", (48, 20.5, 95, 50))]}, {"train": ["a"]})
    add_images(tmp_path, save_image, "a")
    np.testing.assert_array_equal(open_data(tmp_path).split("train").boxes_xyxy, [(48, 20.5, 95, 50)])


def test_images_come_in_the_order_of_the_list_and_difficult_is_crowd(
    tmp_path: Path, save_voc: Save, save_image: Save
) -> None:
    save_voc(tmp_path, {"a": [CAT], "b": [(*DOG, True), CAT], "c": []}, {"train": ["b", "c", "a"]})
    add_images(tmp_path, save_image, "a", "b", "c")
    dataset = open_data(tmp_path).split("train")
    assert [path.stem for path in dataset.image_paths] == ["b", "c", "a"]
    np.testing.assert_array_equal(dataset.box_offsets, [0, 2, 2, 3])
    np.testing.assert_array_equal(dataset.crowd, [True, False, False])
    np.testing.assert_array_equal(dataset.labels, [1, 0, 0])
    np.testing.assert_array_equal(dataset.image_ids, [1, 2, 3])
    assert dataset.category_ids == (1, 2)


@pytest.mark.parametrize("stem", ["../a", "/etc/a", "C:\\a", "b/../../a"])
def test_a_list_that_leads_out_of_the_folder_is_refused(
    tmp_path: Path, save_voc: Save, save_image: Save, stem: str
) -> None:
    save_voc(tmp_path, {"a": [CAT]}, {"train": ["a", stem]})
    add_images(tmp_path, save_image, "a")
    with raises(DataError, repr(stem), path="train.txt", check="path-outside-folder"):
        open_data(tmp_path).split("train")


def test_classes_of_all_lists_count_in_every_split(tmp_path: Path, save_voc: Save, save_image: Save) -> None:
    save_voc(tmp_path, {"a": [DOG], "b": [CAT]}, {"train": ["a"], "val": ["b"]})
    add_images(tmp_path, save_image, "a", "b")
    source = open_data(tmp_path)
    assert source.split("train").class_names == source.split("val").class_names == ("cat", "dog")


def test_labels_txt_decides_the_order_and_refuses_other_names(tmp_path: Path, save_voc: Save, save_image: Save) -> None:
    save_voc(tmp_path, {"a": [CAT, DOG], "b": [("cow", (1, 1, 2, 2))]}, {"train": ["a"], "val": ["b"]})
    add_images(tmp_path, save_image, "a", "b")
    (tmp_path / "labels.txt").write_text("dog\n\ncat\n")
    source = open_data(tmp_path)
    np.testing.assert_array_equal(source.split("train").labels, [1, 0])
    with raises(DataError, "object 1", "'cow'", "dog, cat", path="b.xml", check="unknown-class"):
        source.split("val")


def test_a_coco_file_beside_decides_the_order_if_it_knows_all_names(
    tmp_path: Path, save_voc: Save, save_image: Save, save_coco: Save
) -> None:
    save_voc(tmp_path, {"a": [CAT, DOG]}, {"train": ["a"]})
    add_images(tmp_path, save_image, "a")
    save_coco(tmp_path / "annotations" / "instances_train.json", categories=[(4, "dog"), (5, "cat")])
    assert open_data(tmp_path).class_names == ("dog", "cat")
    save_coco(tmp_path / "annotations" / "instances_train.json", categories=[(4, "dog"), (5, "owl")])
    assert open_data(tmp_path).class_names == ("cat", "dog")


def test_lists_of_single_classes_are_no_splits(tmp_path: Path, save_voc: Save) -> None:
    save_voc(tmp_path, {}, {"train": ["a"], "trainval": ["a", "b"], "cat_train": ["a  1", "b -1"]})
    assert open_data(tmp_path).splits == ("train", "trainval")


def test_sizes_come_from_the_image_where_the_xml_has_none(tmp_path: Path, save_voc: Save, save_image: Save) -> None:
    save_voc(tmp_path, {"a": [CAT]}, {"train": ["a"]}, size="<size><width>0</width><height>0</height></size>")
    add_images(tmp_path, save_image, "a")
    np.testing.assert_array_equal(open_data(tmp_path).split("train").image_sizes_wh, [(100, 50)])


@pytest.mark.parametrize(
    ("xml", "told"),
    [
        ("<annotation><object>", ["XML"]),
        ("<a><object><bndbox/></object></a>", ["object 1", "<name>"]),
        ("<a><object><name>x</name></object></a>", ["object 1 (x)", "xmin"]),
        (
            "<a><object><name>x</name><bndbox><xmin>1</xmin><ymin>one</ymin></bndbox></object></a>",
            ["object 1 (x)", "ymin", "'one'"],
        ),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, save_voc: Save, save_image: Save, xml: str, told: list[str]) -> None:
    save_voc(tmp_path, {"b": [CAT]}, {"train": ["a", "b"]})
    add_images(tmp_path, save_image, "a", "b")
    (tmp_path / "Annotations" / "a.xml").write_text(xml)
    with raises(DataError, *told, path="a.xml"):
        open_data(tmp_path).read("train", RaiseOnError())
    findings = []
    assert len(open_data(tmp_path).read("train", findings.append).labels) == 1
    assert [finding.severity for finding in findings] == ["error"]


def test_a_file_beside_its_image_is_named_like_a_listed_one(tmp_path: Path, save_image: Save) -> None:
    save_image(tmp_path / "a.jpg", 100, 50)
    (tmp_path / "a.xml").write_text("<annotation><object><bndbox/></object></annotation>")
    with raises(DataError, "object 1", "<name>", path="a.xml") as caught:
        open_data(tmp_path).split("train")
    assert "XML" not in str(caught.value)


def test_an_empty_file_is_told_as_empty(tmp_path: Path, save_image: Save) -> None:
    xml = "<annotation><object><name>x</name><bndbox>{}</bndbox></object></annotation>"
    corners = "<xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>"
    (tmp_path / "a.xml").write_text(xml.format(corners))
    (tmp_path / "b.xml").touch()
    for stem in ("a", "b", "c"):
        save_image(tmp_path / f"{stem}.jpg", 100, 50)
    findings: list[Finding] = []
    open_data(tmp_path).read("train", findings.append)
    of_b, of_c = (finding.message for finding in findings)
    assert of_b.endswith("b.xml is empty")
    assert of_c.endswith("is not used")


def test_a_listed_empty_file_is_told_as_empty(tmp_path: Path, save_voc: Save, save_image: Save) -> None:
    save_voc(tmp_path, {"a": [CAT]}, {"train": ["a"]})
    add_images(tmp_path, save_image, "a")
    (tmp_path / "Annotations" / "a.xml").write_text("\n")
    with raises(DataError, "is empty", path="a.xml"):
        open_data(tmp_path).read("train", RaiseOnError())


def test_the_missing_image_of_a_file_without_a_list_is_expected_among_the_others(
    tmp_path: Path, save_image: Save
) -> None:
    save_image(tmp_path / "JPEGImages" / "a.jpg", 100, 50)
    (tmp_path / "Annotations").mkdir()
    corners = "<xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>"
    for stem in ("a", "gone"):
        xml = f"<annotation><object><name>x</name><bndbox>{corners}</bndbox></object></annotation>"
        (tmp_path / "Annotations" / f"{stem}.xml").write_text(xml)
    with raises(DataError, path="JPEGImages/gone.jpg", check="missing-image"):
        open_data(tmp_path).split("train")


def test_a_nan_corner_is_refused_by_file(tmp_path: Path, save_voc: Save, save_image: Save) -> None:
    save_voc(tmp_path, {"a": [("cat", ("nan", 1, 2, 3))]}, {"train": ["a"]})
    add_images(tmp_path, save_image, "a")
    with raises(DataError, "object 1", "(nan, 1, 2, 3)", check="box-not-finite"):
        open_data(tmp_path).split("train")


def test_missing_images_and_annotations_are_named(tmp_path: Path, save_voc: Save, save_image: Save) -> None:
    save_voc(tmp_path, {"a": [CAT]}, {"train": ["a"], "val": ["gone"]})
    add_images(tmp_path, save_image, "other")
    with raises(DataError, "line 1 of", "train.txt", path="JPEGImages/a.jpg", check="missing-image"):
        open_data(tmp_path).split("train")
    with raises(DataError, "val.txt", "'gone'", path="gone.xml", check="missing-annotation"):
        open_data(tmp_path).split("val")


DIFFICULT = ["1", "1.0", "true", "True", "TRUE", "yes", "Yes", " 1 "]
NOT_DIFFICULT = ["0", "0.0", "false", "False", "no", "No", "none", "None", "Unspecified", "unspecified", "", " 0 "]


@pytest.mark.parametrize("word", [*DIFFICULT, *NOT_DIFFICULT])
def test_every_spelling_of_difficult_is_understood(tmp_path: Path, save_voc: Save, save_image: Save, word: str) -> None:
    save_voc(tmp_path, {"a": [CAT]}, {"train": ["a"]})
    add_images(tmp_path, save_image, "a")
    file = tmp_path / "Annotations" / "a.xml"
    file.write_text(file.read_text().replace("<difficult>0<", f"<difficult>{word}<"))
    assert open_data(tmp_path).split("train").crowd.tolist() == [word in DIFFICULT]


@pytest.mark.parametrize("word", ["maybe", "2", "-1", "nan", "0.5"])
def test_another_word_for_difficult_is_an_error(tmp_path: Path, save_voc: Save, save_image: Save, word: str) -> None:
    save_voc(tmp_path, {"a": [CAT]}, {"train": ["a"]})
    add_images(tmp_path, save_image, "a")
    file = tmp_path / "Annotations" / "a.xml"
    file.write_text(file.read_text().replace("<difficult>0<", f"<difficult>{word}<"))
    with raises(DataError, repr(word), "object 1 (cat)", path="a.xml", check="malformed-entry"):
        open_data(tmp_path).split("train")


def test_two_folders_may_have_images_of_one_name(tmp_path: Path, save_voc: Save, save_image: Save) -> None:
    for folder in ("cam1", "cam2"):
        (tmp_path / "Annotations" / folder).mkdir(parents=True)
    save_voc(tmp_path, {"cam1/a": [CAT], "cam2/a": [DOG]}, {"train": ["cam1/a", "cam2/a"]})
    add_images(tmp_path, save_image, "cam1/a", "cam2/a")
    dataset = open_data(tmp_path).split("train")
    assert dataset.image_paths == [tmp_path / "JPEGImages" / folder / "a.png" for folder in ("cam1", "cam2")]
    assert [dataset.class_names[label] for label in dataset.labels] == ["cat", "dog"]
