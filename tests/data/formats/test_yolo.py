from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from raised import raises

from lookonce.data.check import check_data
from lookonce.data.findings import Finding
from lookonce.data.source import open_data
from lookonce.errors import DataError
from lookonce.workflows.convert_data import convert_data

Save = Callable[..., Path]


@pytest.fixture
def dogs(tmp_path: Path, save_image: Save) -> Save:
    """images/train/{a,dog}.png of 100x50 with the given labels of dog.png."""

    def make(labels: str, names: str = "[dog, cat]", entries: str = "train: images/train") -> Path:
        save_image(tmp_path / "images" / "train" / "dog.png")
        save_image(tmp_path / "images" / "train" / "a.png")
        (tmp_path / "labels" / "train").mkdir(parents=True, exist_ok=True)
        (tmp_path / "labels" / "train" / "dog.txt").write_text(labels)
        (tmp_path / "data.yaml").write_text(f"{entries}\nnames: {names}\n")
        return tmp_path

    return make


def test_fractions_become_pixels_and_an_image_without_labels_is_background(dogs: Save) -> None:
    dataset = open_data(dogs("1 0.5 0.5 0.2 0.4\n\n0 0.25 0.5 0.5 1\n")).split("train")
    assert [path.name for path in dataset.image_paths] == ["a.png", "dog.png"]
    np.testing.assert_array_equal(dataset.box_offsets, [0, 0, 2])
    np.testing.assert_array_equal(dataset.boxes_xyxy, [(40, 15, 60, 35), (0, 0, 50, 50)])
    np.testing.assert_array_equal(dataset.labels, [1, 0])
    assert dataset.class_names == ("dog", "cat")


def test_a_polygon_becomes_the_box_around_it(dogs: Save) -> None:
    dataset = open_data(dogs("0 0.1 0.2 0.5 0.1 0.3 0.8\n")).split("train")
    np.testing.assert_array_equal(dataset.boxes_xyxy, [(10, 5, 50, 40)])


@pytest.mark.parametrize("names", ["{0: dog, 1: cat}", "{1: cat, 0: dog}", "[dog, cat]\nnc: 2"])
def test_names_as_list_or_mapping(dogs: Save, names: str) -> None:
    assert open_data(dogs("", names)).split("train").class_names == ("dog", "cat")


@pytest.mark.parametrize(
    ("names", "setting", "told"),
    [
        ("{0: dog, 2: cat}", "names", "[0, 2]"),
        ("[]", "names", "[]"),
        ("[dog, dog]", "names", "'dog'"),
        ("[dog, cat]\nnc: 3", "nc", "3"),
    ],
)
def test_wrong_names_are_refused(dogs: Save, names: str, setting: str, told: str) -> None:
    with raises(DataError, told, path="data.yaml", setting=setting):
        open_data(dogs("", names))


@pytest.mark.parametrize(
    ("line", "check", "told"),
    [
        ("80 .5 .5 .1 .1", "unknown-class", "class 80"),
        ("-1 .5 .5 .1 .1", "unknown-class", "class -1"),
        ("0.5 .5 .5 .1 .1", "unknown-class", "class 0.5"),
        ("dog .5 .5 .1 .1", "malformed-entry", "'dog .5 "),
        ("0 .5 .5 .1", "malformed-entry", "is 4"),
        ("0 .5 .5 .1 .1 .9", "malformed-entry", "is 6"),
        ("0 .5 nan .1 .1", "box-not-finite", "'0 .5 nan "),
        ("0 320 240 64 48", "not-a-fraction", "320 "),
    ],
)
def test_a_bad_line_is_named_and_a_collector_goes_on(dogs: Save, line: str, check: str, told: str) -> None:
    root = dogs(f"0 .5 .5 .1 .1\n\n{line}\n")
    with raises(DataError, "line 3", told, path="dog.txt", check=check):
        open_data(root).split("train")
    findings = []
    assert len(open_data(root).read("train", findings.append).labels) == 1
    assert [finding.severity for finding in findings if finding.name != "no-label-file"] == ["error"]


def test_list_files_keep_their_order_and_folders_can_be_several(dogs: Save, save_image: Save) -> None:
    root = dogs("0 .5 .5 .1 .1")
    (root / "train.txt").write_text("./images/train/dog.png\nimages/train/a.png\n")
    save_image(root / "more" / "z.png")
    (root / "more" / "z.txt").write_text("1 .5 .5 .1 .1")  # beside its picture
    (root / "data.yaml").write_text("path: .\ntrain: [train.txt, more]\nval: images\nnames: [dog, cat]\n")
    source = open_data(root)
    assert [path.stem for path in source.split("train").image_paths] == ["dog", "a", "z"]
    np.testing.assert_array_equal(source.split("train").labels, [0, 1])
    assert [path.stem for path in source.split("val").image_paths] == ["a", "dog"]


@pytest.mark.parametrize("written", ["path: ../datasets/dogs\ntrain: images/train", "train: ../images/train"])
def test_paths_that_mean_another_programs_folder_are_understood(dogs: Save, written: str) -> None:
    assert len(open_data(dogs("0 .5 .5 .1 .1", entries=written)).split("train")) == 2


def test_a_path_that_is_nowhere_is_named(dogs: Save) -> None:
    with raises(DataError, path="data.yaml", setting="train", value="pictures"):
        open_data(dogs("", entries="train: pictures")).split("train")


def test_without_a_described_val_the_way_to_leave_it_out_is_named(dogs: Save) -> None:
    source = open_data(dogs("0 .5 .5 .1 .1", entries="train: images/train\nval: ../valid/images\ntest: gone"))
    with raises(DataError, "holds out", path="data.yaml", setting="val"):
        source.split("val")
    with raises(DataError, "/../valid/images nor ", setting="val"):  # where Roboflow means it
        source.split("val")
    with raises(DataError, "remove this entry", path="data.yaml", setting="test"):
        source.split("test")


def test_labels_without_any_image_are_counted(dogs: Save) -> None:
    root = dogs("0 .5 .5 .1 .1")
    for image in (root / "images" / "train").iterdir():
        image.unlink()
    findings: list[Finding] = []
    open_data(root).read("train", findings.append)
    assert [one.name for one in findings] == ["label-without-image", "empty-split"]
    assert "1 label file;" in findings[0].message


def test_listed_images_that_are_missing_or_damaged_are_named(dogs: Save) -> None:
    root = dogs("", entries="train: train.txt")
    (root / "train.txt").write_text("\n./images/train/dog.png\n./images/train/gone.png\n")
    with raises(DataError, "line 3 of", "train.txt", path="gone.png", check="missing-image"):
        open_data(root).split("train")
    (root / "train.txt").write_text("./images/train/dog.png\n")
    (root / "images" / "train" / "dog.png").write_bytes(b"no picture")
    with raises(DataError, path="dog.png", check="unreadable-image"):
        open_data(root).split("train")


def labelled(root: Path, rows: dict[str, str], save_image: Save, yaml: str = "") -> Path:
    """Images SPLIT/NAME.png of 100x50 with label files SPLIT/NAME.txt beside them. rows: "SPLIT/NAME" -> rows."""
    for place, text in rows.items():
        save_image(root / f"{place}.png")
        (root / f"{place}.txt").write_text(text)
    splits = "".join(f"{split}: {split}\n" for split in dict.fromkeys(place.split("/")[0] for place in rows))
    (root / "data.yaml").write_text(f"{splits}names: [dog, cat]\n{yaml}")
    return root


BOX = "0 .5 .5 .2 .4"  # (40, 15) .. (60, 35) of 100x50
BOX_XYXY = (40, 15, 60, 35)
ORIENTED = "0 .3 .2 .5 .4 .3 .6 .1 .4"  # a square on its corner
KEYPOINTS = ".1 .9 .2 .8 .3 .7"
VISIBLE = ".1 .9 2 .2 .8 1 0 0 0"


def findings_of(data: Path, split: str = "train") -> tuple[list[str], list[tuple[float, ...]]]:
    """Names of the findings, and the boxes."""
    findings = []
    dataset = open_data(data).read(split, findings.append)
    return [finding.name for finding in findings], [tuple(box) for box in dataset.boxes_xyxy.tolist()]


@pytest.mark.parametrize(
    ("keypoints", "shape"), [(KEYPOINTS, "[3, 2]"), (VISIBLE, "[3, 3]"), (".1 .9 .2 .8", "[2, 2]"), (".1 .9", "[1, 2]")]
)
def test_rows_with_keypoints_are_their_box_by_kpt_shape(
    tmp_path: Path, save_image: Save, keypoints: str, shape: str
) -> None:
    root = labelled(tmp_path, {"train/a": f"{BOX} {keypoints}\n{BOX}"}, save_image, f"kpt_shape: {shape}")
    assert findings_of(root) == ([], [BOX_XYXY] * 2)


def test_rows_that_do_not_fit_kpt_shape_are_errors(tmp_path: Path, save_image: Save) -> None:
    root = labelled(tmp_path, {"train/a": f"{BOX} {VISIBLE}"}, save_image, "kpt_shape: [3, 2]")
    assert findings_of(root) == (["malformed-entry"], [])


def test_two_boxes_on_one_line_are_not_read_as_a_polygon_in_silence(tmp_path: Path, save_image: Save) -> None:
    """A row appended to a file without a line end: 0.2 and the class 0 become 0.20."""
    rows = [f"0 .5 .5 .{number} .2" for number in range(10, 30)]
    root = labelled(tmp_path, {"train/a": "\n".join([*rows, "0 .5 .5 .2 .20 .4 .4 .1 .1"])}, save_image)
    assert findings_of(root)[0] == ["joined-rows"]
    mixed = labelled(tmp_path / "mixed", {"train/a": f"{rows[0]}\n0 .1 .1 .4 .1 .4 .4 .1 .4"}, save_image)
    assert findings_of(mixed)[0] == []


@pytest.mark.parametrize("shape", ["[3]", "[3, 4]", "[0, 2]", "3", "[three, 2]", "[3.0, 2]"])
def test_a_kpt_shape_that_is_none_is_refused(tmp_path: Path, save_image: Save, shape: str) -> None:
    with raises(DataError, path="data.yaml", setting="kpt_shape"):
        open_data(labelled(tmp_path, {"train/a": BOX}, save_image, f"kpt_shape: {shape}"))


def test_keypoints_with_visibility_need_no_kpt_shape(tmp_path: Path, save_image: Save) -> None:
    root = labelled(tmp_path, {"train/a": f"{BOX} {VISIBLE}", "val/b": f"{BOX} {VISIBLE}"}, save_image)
    assert findings_of(root) == ([], [BOX_XYXY])


@pytest.mark.parametrize("keypoints", [KEYPOINTS, ".1 .9 .2 .8", ".1 .9"])
def test_keypoints_without_visibility_are_not_read_as_polygons_in_silence(
    tmp_path: Path, save_image: Save, keypoints: str
) -> None:
    root = labelled(tmp_path, {"train/a": f"{BOX} {keypoints}\n" * 3, "val/b": BOX}, save_image)
    assert findings_of(root)[0] == ["uniform-rows"]
    assert findings_of(root, "val")[0] == []


def test_the_rows_of_all_splits_say_what_long_rows_hold(tmp_path: Path, save_image: Save) -> None:
    """One row of val that could have keypoints and visibility is a polygon where those of train are polygons."""
    polygon = "0 .1 .2 .5 .1 .4 .5 1 .8 .3 1"  # 11 numbers; [7] and [10] are 1
    rows = {"train/a": "0 .1 .2 .5 .1 .3 .8\n0 .1 .2 .5 .1 .3 .8 .2 .9", "val/b": polygon}
    assert findings_of(labelled(tmp_path, rows, save_image), "val") == ([], [(10, 5, 100, 50)])
    alone = labelled(tmp_path / "alone", {"val/b": polygon}, save_image)
    assert findings_of(alone, "val")[1] != [(10, 5, 100, 50)]


def test_one_rule_holds_for_every_way_to_list_the_splits(tmp_path: Path, save_image: Save) -> None:
    """train has polygons of several lengths, val one row that alone could be a box with keypoints."""
    rows = {"train/a": "0 .1 .2 .5 .1 .3 .8\n0 .1 .2 .5 .1 .3 .8 .2 .9", "val/b": "0 .1 .2 .5 .1 .4 .5 1 .8 .3 1"}
    labelled(tmp_path, rows, save_image)
    (tmp_path / "obj.names").write_text("dog\ncat")
    described = "".join(f"{split}:\n  images: {split}\n  annotations: {split}\n" for split in ("train", "val"))
    (tmp_path / "mine.yaml").write_text(f"names: obj.names\n{described}")
    for split in ("train", "val"):
        (tmp_path / f"{split}.txt").write_text(f"{split}/{'ab'[split == 'val']}.png\n")
    (tmp_path / "obj.data").write_text("train = train.txt\nvalid = val.txt\nnames = obj.names\n")
    for data in ("data.yaml", "mine.yaml", "obj.data"):
        assert findings_of(tmp_path / data, "val") == ([], [(10, 5, 100, 50)]), data
    for file in tmp_path.glob("*.yaml"):
        file.unlink()
    (tmp_path / "obj.data").unlink()
    assert findings_of(tmp_path, "val") == ([], [(10, 5, 100, 50)])


def test_oriented_boxes_become_the_boxes_around_them(tmp_path: Path, save_image: Save) -> None:
    root = labelled(tmp_path, {"train/a": f"{ORIENTED}\n" * 3}, save_image)
    assert findings_of(root) == ([], [(10, 10, 50, 30)] * 3)


def test_polygons_of_several_lengths_and_closed_ones_are_no_keypoints(tmp_path: Path, save_image: Save) -> None:
    several = labelled(tmp_path / "a", {"train/a": "0 .1 .2 .5 .1 .3 .8\n0 .1 .2 .5 .1 .3 .8 .2 .9"}, save_image)
    closed = labelled(tmp_path / "b", {"train/a": "0 .1 .2 .5 .1 .3 .8 .1 .2\n" * 2}, save_image)
    assert findings_of(several) == ([], [(10, 5, 50, 40), (10, 5, 50, 45)])
    assert findings_of(closed) == ([], [(10, 5, 50, 40)] * 2)


def test_rows_with_a_score_are_refused(tmp_path: Path, save_image: Save) -> None:
    assert findings_of(labelled(tmp_path, {"train/a": f"{BOX} .9\n" * 2}, save_image))[0] == ["malformed-entry"] * 2


def test_no_label_file_an_empty_one_a_shared_one_and_one_without_image_are_told_apart(
    tmp_path: Path, save_image: Save
) -> None:
    root = labelled(tmp_path, {"train/a": BOX, "train/empty": "", "train/two": BOX}, save_image)
    save_image(root / "train" / "none.png")
    save_image(root / "train" / "two.jpg")
    save_image(root / "train" / "b.png")
    (root / "train" / "b.png.txt").write_text(BOX)
    found = []
    dataset = open_data(root).read("train", found.append)
    assert [(finding.name, Path(finding.file).name) for finding in found] == [
        ("no-label-file", "b.png"),
        ("no-label-file", "none.png"),
        ("shared-label-file", "two.png"),
        ("label-without-image", "b.png.txt"),
    ]
    assert len(dataset) == 6


def test_the_label_file_of_another_splits_image_is_no_orphan(tmp_path: Path, save_image: Save) -> None:
    for name in "abc":
        save_image(tmp_path / "images" / f"{name}.png")
    (tmp_path / "labels").mkdir()
    for name in ("a", "b", "c", "lost"):
        (tmp_path / "labels" / f"{name}.txt").write_text(BOX)
    (tmp_path / "train.txt").write_text("images/a.png\nimages/c.png\n")
    (tmp_path / "val.txt").write_text("images/b.png\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\nval: val.txt\nnames: [dog]\n")
    found = []
    open_data(tmp_path).read("val", found.append)
    assert [(finding.name, Path(finding.file).name) for finding in found] == [("label-without-image", "lost.txt")]


@pytest.mark.parametrize("suffix", [".heic", ".jxl"])
def test_images_that_are_passed_over_are_told(tmp_path: Path, save_image: Save, suffix: str) -> None:
    root = labelled(tmp_path, {"train/a": BOX}, save_image)
    (root / "train" / f"b{suffix}").write_bytes(b"x")
    (root / "train" / "b.txt").write_text(BOX)
    assert findings_of(root)[0] == ["unreadable-suffix"]


ODD_NAMES = ["no", "010", "null", "1.0", "off", "1e3", "2024-01-01", "~", "0x1F", "true"]


@pytest.mark.parametrize("style", ["list", "mapping", "flow"])
def test_names_that_yaml_takes_for_other_values_stay_text(tmp_path: Path, save_image: Save, style: str) -> None:
    names = {
        "list": "".join(f"\n- {name}" for name in ODD_NAMES),
        "mapping": "".join(f"\n  {number}: {name}" for number, name in enumerate(ODD_NAMES)),
        "flow": f"[{', '.join(ODD_NAMES)}]",
    }[style]
    save_image(tmp_path / "train" / "a.png")
    (tmp_path / "train" / "a.txt").write_text("3 .5 .5 .2 .4")
    (tmp_path / "data.yaml").write_text(f"train: train\nnames: {names}\n")
    assert open_data(tmp_path).split("train").class_names == tuple(ODD_NAMES)
    for to in ("yolo", "coco", "voc"):
        copy = open_data(convert_data(tmp_path, tmp_path / to, to=to).folder)
        assert copy.class_names == tuple(ODD_NAMES), to


@pytest.mark.parametrize("convention", ["corners", "top-left", "pixels", "pixel-corners"])
def test_boxes_in_another_convention_are_found_and_mended(tmp_path: Path, save_image: Save, convention: str) -> None:
    """The boxes of nine images of 100x50, written wrongly; `check` names the convention, `convert-data` undoes it."""
    boxes = [(1.0 * n, 1.5 * n, 1.0 * n + 60, 1.5 * n + 32) for n in range(5)]
    boxes += [(60.0 + n, 20.0, 90.0 + n, 40.0) for n in range(4)]
    size = np.array([100, 50, 100, 50])
    written = {
        "corners": lambda box: box / size,
        "top-left": lambda box: np.concatenate([box[:2], box[2:] - box[:2]]) / size,
        "pixels": lambda box: np.concatenate([(box[:2] + box[2:]) / 2, box[2:] - box[:2]]),
        "pixel-corners": lambda box: box,
    }[convention]
    rows = {f"train/{n}": "1 " + " ".join(map(str, written(np.array(box)))) for n, box in enumerate(boxes)}
    root = labelled(tmp_path / "data", rows, save_image)
    found = [f.message for f in check_data(open_data(root)).findings if f.name == "box-convention"]
    assert len(found) == 1
    assert f"--boxes {convention}" in found[0]
    mended = open_data(convert_data(root, tmp_path / "mended", to="coco", boxes=convention).folder).split("train")
    np.testing.assert_allclose(mended.boxes_xyxy, boxes, atol=1e-9)
