import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raised import raises

from lookonce.data.annotations import Annotations, assemble, shortest, snap
from lookonce.data.dataset import data_hash, require_boxes
from lookonce.data.findings import Finding, RaiseOnError
from lookonce.errors import DataError


def annotations(
    boxes: Sequence[tuple[float, float, float, float]],
    *,
    rows: list[int] | None = None,
    pictures: int = 1,
    crowd: list[bool] | None = None,
    areas: list[float] | None = None,
) -> Annotations:
    """Boxes of class 0 in 100x50 pictures."""
    return Annotations(
        split="train",
        origin=Path("list.txt"),
        image_paths=[Path(f"{index}.jpg") for index in range(pictures)],
        image_ids=np.arange(1, pictures + 1),
        image_sizes_wh=np.full((pictures, 2), (100, 50), np.int32),
        image_rows=np.array(rows if rows is not None else [0] * len(boxes), np.int64),
        boxes_xyxy=np.array(boxes, np.float64).reshape(-1, 4),
        labels=np.zeros(len(boxes), np.int64),
        crowd=np.array(crowd if crowd is not None else [False] * len(boxes), bool),
        areas=np.array(areas if areas is not None else [math.nan] * len(boxes)),
        class_names=("cell",),
        category_ids=(1,),
        place=lambda row: f"box {row}",
    )


def test_boxes_are_sorted_by_image_and_keep_their_order_within() -> None:
    boxes = [(1, 1, 2, 2), (2, 2, 3, 3), (3, 3, 4, 4)]
    dataset = assemble(annotations(boxes, rows=[2, 0, 2], pictures=3), RaiseOnError())
    np.testing.assert_array_equal(dataset.box_offsets, [0, 1, 1, 3])  # picture 1 is background
    np.testing.assert_array_equal(dataset.boxes_xyxy[:, 0], [2, 1, 3])
    np.testing.assert_array_equal(dataset.areas, [1, 1, 1])


def test_boxes_outside_are_clipped_or_left_out_with_a_count() -> None:
    findings = []
    boxes = [(-5, 10, 20, 60), (100, 0, 120, 20), (0, 0, 100.004, 50)]
    dataset = assemble(annotations(boxes), findings.append)
    np.testing.assert_array_equal(dataset.boxes_xyxy, [(0, 10, 20, 50), (0, 0, 100, 50)])
    assert [finding.message.split()[-1] for finding in findings] == ["clipped", "out"]
    assert ["lies outside" in finding.message for finding in findings] == [False, True]
    assert [finding.name for finding in findings] == ["box-outside"] * 2
    assert findings[0].message.startswith("box 0: box (-5, 10, 20, 60) ")
    assert "100x50" in findings[0].message
    assert {finding.severity for finding in findings} == {"warning"}


def test_boxes_without_area_are_left_out_and_logged_with_a_count(caplog: pytest.LogCaptureFixture) -> None:
    report = RaiseOnError(shown=1)
    dataset = assemble(annotations([(1, 1, 1, 9), (5, 5, 4, 9), (1, 1, 2, 2)]), report)
    report.log()
    assert len(dataset.labels) == 1
    [record] = caplog.records
    assert record.getMessage().startswith("2 x box-without-area: box 0: box (1, 1, 1, 9) ")
    assert "box 1:" not in record.getMessage()


def test_warnings_that_differ_in_the_files_name_alone_are_logged_with_one_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    report = RaiseOnError()
    for image in ("d/a1.jpg", "d/b2.jpg", "e/c3.jpg"):
        report(Finding.at("no-label-file", image, f"needs d/{Path(image).stem}.txt"))
    report.log()
    [line] = caplog.messages
    assert line.split("; ") == [
        "3 x no-label-file: d/a1.jpg: needs d/a1.txt",
        "also b2.jpg",
        "e/c3.jpg: needs d/c3.txt",
    ]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_box_that_is_not_finite_is_refused_by_name(bad: float) -> None:
    with raises(DataError, "box 1: box (1, ", path="0.jpg", check="box-not-finite"):
        assemble(annotations([(1, 1, 2, 2), (1, bad, 2, 2)]), RaiseOnError())
    findings = []
    assert len(assemble(annotations([(1, 1, 2, 2), (1, bad, 2, 2)]), findings.append).labels) == 1
    assert [finding.name for finding in findings] == ["box-not-finite"]


def test_an_annotations_own_area_is_kept() -> None:
    dataset = assemble(annotations([(0, 0, 10, 10), (0, 0, 10, 10)], areas=[42.5, math.nan]), RaiseOnError())
    np.testing.assert_array_equal(dataset.areas, [42.5, 100])


def test_no_images_is_an_error_and_no_boxes_one_for_training_only() -> None:
    with raises(DataError, "'train'", path="list.txt", check="empty-split"):
        assemble(annotations([], pictures=0), RaiseOnError())
    empty = assemble(annotations([], pictures=2), RaiseOnError())
    assert empty.boxes_xyxy.shape == (0, 4)
    with raises(DataError, "2 images", "0 boxes", setting="split", value="train"):
        require_boxes(empty)
    with raises(DataError, "1 box", "1 of them crowd"):
        require_boxes(assemble(annotations([(1, 1, 2, 2)], crowd=[True]), RaiseOnError()))
    require_boxes(assemble(annotations([(1, 1, 2, 2)]), RaiseOnError()))


def test_snapping_restores_thousandths_and_leaves_the_rest() -> None:
    boxes = np.array([10.12 + 5.3, 452.9999999999999, 0.1234567, -0.0])  # 10.12 + 5.3 is 15.419999999999998
    np.testing.assert_array_equal(snap(boxes), [15.42, 453, 0.1234567, 0])


@given(
    st.lists(st.integers(0, 4_000_000), min_size=4, max_size=4).map(sorted),
    st.integers(1, 8000),
    st.integers(1, 8000),
)
def test_thousandths_survive_coco_and_yolo_bit_for_bit(thousandths: list[float], width: int, height: int) -> None:
    left, top, right, bottom = (value / 1000 for value in thousandths)
    assert snap(np.array(left + float(shortest(right - left)))) == right
    for low, high, size in ((left, right, width), (top, bottom, height)):
        centre, length = float(shortest((low + high) / 2 / size)), float(shortest((high - low) / size))
        edges = snap(np.array([centre - length / 2, centre + length / 2]) * size)
        np.testing.assert_array_equal(edges, [low, high])


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_shortest_reads_back_the_same(value: float) -> None:
    assert float(shortest(value)) == value


def test_shortest_writes_whole_numbers_without_a_point() -> None:
    assert [shortest(value) for value in (453.0, 0.5, -2.0)] == ["453", "0.5", "-2"]


def test_the_hash_counts_contents_and_no_folders() -> None:
    one = assemble(annotations([(1, 1, 2, 2)]), RaiseOnError())
    moved = replace(annotations([(1, 1 + 1e-12, 2, 2)]), image_paths=[Path("elsewhere/0.jpg")])
    assert data_hash(one) == data_hash(assemble(moved, RaiseOnError()))
    assert data_hash(one) != data_hash(assemble(annotations([(1, 1, 2, 2.5)]), RaiseOnError()))
    assert data_hash(one) != data_hash(assemble(annotations([(1, 1, 2, 2)], crowd=[True]), RaiseOnError()))
    assert len(data_hash(one)) == 64


def test_an_error_gives_the_command_that_lists_all_of_them() -> None:
    with pytest.raises(DataError) as caught:
        assemble(annotations([(1, 1, 2, 2), (1, math.nan, 2, 2)]), RaiseOnError("my data"))
    assert " check 'my data'`" in str(caught.value)
