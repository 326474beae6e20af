from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from lookonce.data.check import CheckResult, check_data
from lookonce.data.source import open_data
from lookonce.data.write import write_data

Save = Callable[..., Path]


@pytest.fixture
def checked(tmp_path: Path, save_coco: Save, save_image: Save) -> Callable[..., CheckResult]:
    """The names of all findings of a COCO layout with one train picture, 1.png, of 100x50, and one of val."""

    def check(
        boxes: object = ((1, 1, (10, 10, 20, 20)),), prepare: Callable[[Path], None] | None = None, **coco: object
    ) -> CheckResult:
        for split in ("train", "val"):
            save_coco(tmp_path / "annotations" / f"instances_{split}.json", boxes, **coco)
            save_image(tmp_path / split / "1.png")
        if prepare:
            prepare(tmp_path)
        return check_data(open_data(tmp_path))

    return check


def names(result: CheckResult) -> set[tuple[str, str]]:
    return {(finding.severity, finding.name) for finding in result.findings}


def test_a_sound_data_set_has_no_findings_and_is_counted(checked: Callable[..., CheckResult]) -> None:
    result = checked([(1, 1, (10, 10, 20, 20)), (1, 3, (0, 0, 5, 5))], categories=[(1, "cell"), (3, "virus")])
    assert result.findings == ()
    assert result.class_names == ("cell", "virus")
    train = result.splits[0]
    assert (train.split, train.images, train.background, train.boxes, train.crowd) == ("train", 1, 0, 2, 0)
    assert train.class_boxes == {"cell": 1, "virus": 1}
    assert train.smallest_wh == train.largest_wh == (100, 50)


def test_everything_is_found_at_once(checked: Callable[..., CheckResult], save_image: Save, tmp_path: Path) -> None:
    """A damaged and a missing picture, and boxes with all that can be wrong with them."""
    boxes = [
        (1, 1, (10, 10, 20, 20)),
        (1, 1, (10, 10, 20, 20)),
        (1, 1, (10, 10, 0, 20)),
        (1, 1, (90, 40, 20, 20)),
        (1, 1, (1, 1, float("nan"), 5)),
        (1, 1, (1, 1, 1, 1)),
        (1, 8, (1, 1, 5, 5)),
        (9, 1, (1, 1, 5, 5)),
    ]

    def prepare(root: Path) -> None:
        path = root / "train" / "1.png"
        path.write_bytes(path.read_bytes()[:-20])

    result = checked(boxes, prepare, images=[{}, {}], categories=[(1, "cell"), (2, "virus")])
    assert names(result) == {
        ("error", "truncated-image"),
        ("error", "missing-image"),
        ("error", "box-not-finite"),
        ("error", "unknown-class"),
        ("warning", "repeated-box"),
        ("warning", "box-without-area"),
        ("warning", "box-outside"),
        ("warning", "annotation-without-image"),
        ("warning", "class-without-boxes"),
        ("note", "tiny-box"),
    }
    assert result.num_errors == 7  # NaN, class and missing picture in both splits, the damaged one in train
    severities = [finding.severity for finding in result.sorted_findings]
    assert severities == sorted(severities, key=["error", "warning", "note"].index)


def test_another_size_and_a_size_before_exif_rotation_are_told_apart(
    checked: Callable[..., CheckResult], save_image: Save
) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6

    def prepare(root: Path) -> None:
        save_image(root / "train" / "1.png", 100, 50, exif=tags)
        save_image(root / "val" / "1.png", 101, 50)

    result = checked(prepare=prepare)
    assert names(result) == {("error", "size-before-rotation"), ("error", "size-differs")}
    message = result.findings[0].message
    assert all(told in message for told in ("100x50", "50x100", "orientation 6"))


def test_a_turned_image_annotated_upright_is_right(checked: Callable[..., CheckResult], save_image: Save) -> None:
    tags = Image.Exif()
    tags[0x0112] = 6
    assert not checked(prepare=lambda root: save_image(root / "train" / "1.png", 50, 100, exif=tags)).findings


def test_the_same_image_in_two_splits_is_found_under_another_name(checked: Callable[..., CheckResult]) -> None:
    def prepare(root: Path) -> None:
        (root / "val" / "1.png").write_bytes((root / "train" / "1.png").read_bytes())

    assert names(checked(prepare=prepare)) == {("warning", "leaked-image")}


def test_no_boxes_to_learn_is_an_error(checked: Callable[..., CheckResult]) -> None:
    result = checked([])
    assert names(result) == {("error", "no-boxes")}
    assert result.splits[0].background == 1


def test_broken_annotations_do_not_stop_the_other_splits(checked: Callable[..., CheckResult]) -> None:
    result = checked(prepare=lambda root: (root / "annotations" / "instances_train.json").write_text("{"))
    assert names(result) == {("error", "unreadable-annotations")}
    assert [split.split for split in result.splits] == ["val"]


def test_different_classes_in_the_splits_are_found(
    checked: Callable[..., CheckResult], save_coco: Save, tmp_path: Path
) -> None:
    def prepare(root: Path) -> None:
        save_coco(root / "annotations" / "instances_val.json", categories=[(1, "nucleus")])

    assert ("error", "different-classes") in names(checked(prepare=prepare))


def test_a_missing_split_is_a_warning_unless_train_can_be_divided(
    tmp_path: Path, save_coco: Save, save_image: Save
) -> None:
    save_image(tmp_path / "1.png")
    source = open_data(save_coco(tmp_path / "mine.json", [(1, 1, (1, 1, 9, 9))]), tmp_path)
    assert names(check_data(source)) == {("note", "held-out-val")}
    source.num_held_out = 0
    assert names(check_data(source)) == {("warning", "missing-split")}


def test_progress_counts_images(tmp_path: Path, save_coco: Save, save_image: Save) -> None:
    for number in (1, 2, 3):
        save_image(tmp_path / f"{number}.png")
    path = save_coco(tmp_path / "train.json", [(1, 1, (1, 1, 9, 9))], images=[{}, {}, {}])
    seen = []
    check_data(open_data(path, tmp_path), on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_the_two_boxes_without_area_of_real_photographs_are_found(shared: Callable[[str], Path]) -> None:
    result = check_data(open_data(shared("data/bccd")), decode=False)
    assert [finding.name for finding in result.findings] == ["box-without-area"] * 2
    assert {finding.file.rpartition("/")[2] for finding in result.findings} == {
        "BloodImage_00338.jpg",
        "BloodImage_00343.jpg",
    }


def test_images_in_archives_are_looked_at_too(checked: Callable[..., CheckResult], tmp_path: Path) -> None:
    def prepare(root: Path) -> None:
        (root / "val" / "1.png").write_bytes((root / "train" / "1.png").read_bytes())

    checked(prepare=prepare)
    source = open_data(tmp_path)
    write_data([source.split("train"), source.split("val")], tmp_path / "packed", to="shards")
    result = check_data(open_data(tmp_path / "packed"))
    assert [(finding.name, finding.file) for finding in result.findings] == [
        ("leaked-image", str(tmp_path / "packed" / "val-000000.tar" / "1.png"))
    ]
