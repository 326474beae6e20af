"""Label layouts and images of public bug reports, in the folder of real data; each has its right answer in README.txt.

Most hold the same six images and boxes, so that those of the first image stand for all.
"""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lookonce.data.check import CheckResult, check_data
from lookonce.data.source import open_data
from lookonce.workflows.convert_data import convert_data

Shared = Callable[[str], Path]
FIRST_BOXES = [("red", [31, 9, 65, 56]), ("green", [96, 14, 144, 61])]


def counts(result: CheckResult) -> dict[str, tuple[int, int, int]]:
    """Split -> images, boxes, crowd boxes."""
    return {split.split: (split.images, split.boxes, split.crowd) for split in result.splits}


def kinds(result: CheckResult) -> Counter[tuple[str, str]]:
    return Counter((finding.severity, finding.name) for finding in result.findings)


def first_boxes(data: Path, images: Path | None = None) -> list[tuple[str, list[float]]]:
    """Class and corners of the boxes of the first training image, rounded as six decimals of a fraction allow."""
    train = open_data(data, images).split("train")
    rows = train.rows(0)
    names = [train.class_names[label] for label in train.labels[rows]]
    return list(zip(names, train.boxes_xyxy[rows].round(3).tolist(), strict=True))


@pytest.mark.parametrize(
    ("case", "images", "told"),
    [
        ("coco-backslash", "", {("note", "relocated-image"): 2}),
        ("coco-backslash/result_train.json", "coco-backslash", {("note", "relocated-image"): 2}),
        ("coco-huge-ids", "", {}),
        ("coco-roboflow-root-category", "", {}),
        ("voc-difficult-words", "", {}),
        ("voc-subfolders", "", {}),
        ("yolo-pose-2d", "", {}),
    ],
)
def test_a_case_is_read_whole(shared: Shared, case: str, images: str, told: dict[tuple[str, str], int]) -> None:
    data, folder = shared(f"cases/{case}"), shared(f"cases/{images}") if images else None
    result = check_data(open_data(data, folder))
    assert counts(result) == {"train": (4, 8, 0), "val": (2, 4, 0)}
    assert sorted(result.class_names) == ["green", "red"]
    assert kinds(result) == told
    assert first_boxes(data, folder) == FIRST_BOXES


@pytest.mark.parametrize("file", ["", "/obj.data", "/train.txt"])
def test_darknets_own_description_is_read(shared: Shared, file: str) -> None:
    data = shared(f"cases/darknet-obj-data{file}")
    result = check_data(open_data(data))
    assert counts(result) == {"train": (4, 8, 0)}
    assert result.class_names == ("red", "green")
    assert result.num_errors == 0
    assert first_boxes(data) == FIRST_BOXES


def test_corners_in_yolo_files_are_found_and_mended(shared: Shared, tmp_path: Path) -> None:
    data = shared("cases/yolo-corners")
    result = check_data(open_data(data))
    found = [finding.message for finding in result.findings if finding.name == "box-convention"]
    assert len(found) == 2
    assert all("--boxes corners" in message for message in found)
    mended = convert_data(data, tmp_path / "mended", to="yolo", boxes="corners").folder
    again = check_data(open_data(mended))
    assert counts(again) == {"train": (8, 16, 0), "val": (4, 8, 0)}
    assert not again.findings
    # 0.19375 0.075 0.40625 0.46667 in the file, in an image of 160x120.
    np.testing.assert_allclose(open_data(mended).split("train").boxes_xyxy[0], [31, 9, 65, 56], atol=1e-3)


def test_labels_and_images_without_their_partner_are_counted(shared: Shared) -> None:
    result = check_data(open_data(shared("cases/yolo-orphans-and-missing")))
    assert kinds(result) == {
        ("warning", "label-without-image"): 3,
        ("warning", "no-label-file"): 3,
        ("error", "shared-label-file"): 1,
    }


def test_an_image_is_whole_where_no_row_is_missing(shared: Shared) -> None:
    result = check_data(open_data(shared("cases/jpeg-eoi")))
    found = [(finding.severity, finding.name, Path(finding.file).name) for finding in result.findings]
    assert found == [("warning", "missing-end-marker", "train1.jpg"), ("error", "truncated-image", "train2.jpg")]


def test_a_damaged_val_image_is_found_before_training(shared: Shared) -> None:
    result = check_data(open_data(shared("cases/bad-val-picture")))
    found = [(finding.severity, finding.name, Path(finding.file).name) for finding in result.findings]
    assert found == [("error", "truncated-image", "val1.jpg")]
