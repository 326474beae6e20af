"""What counts as the same answer, and that a file which answers otherwise is not kept."""

from pathlib import Path

import numpy as np
import pytest
from raised import raises

from lookonce.detections import Detections
from lookonce.errors import WeightsError
from lookonce.exporters.base import Answers, Difference, Parity, compare, textured_canvases, write_compared
from lookonce.exporters.plan import Precision

CANVAS_HW = (100, 100)
RAW = np.array([[1.0, -2.0]], np.float32)


def found(*rows: tuple[float, ...]) -> Detections:
    """Rows of left, top, right, bottom, score, label."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(boxes_xyxy=table[:, :4], scores=table[:, 4], labels=table[:, 5].astype(np.int64))


def differences(expected: Detections, got: Detections, precision: Precision = "fp32") -> dict[str, float]:
    pair = Answers(raws=[RAW], detections=[expected]), Answers(raws=[RAW], detections=[got])
    parity = compare(*pair, CANVAS_HW, precision)
    names = {name: row for row in parity.differences for name in ("boxes", "scores", "missing") if name in row.quantity}
    return {name: row.largest for name, row in names.items()}


BOX = (10, 10, 30, 30, 0.9, 0)


def test_the_same_answers_differ_by_nothing():
    assert set(differences(found(BOX), found(BOX)).values()) == {0}


def test_two_empty_images_agree():
    assert set(differences(found(), found()).values()) == {0}


def test_the_largest_difference_of_any_coordinate_and_score_is_told():
    got = differences(found(BOX), found((10, 10.25, 30, 30.5, 0.895, 0)))
    assert got["boxes"] == 0.5
    assert got["scores"] == pytest.approx(0.005, abs=1e-6)
    assert got["missing"] == 0


def test_raw_heads_are_compared_element_by_element():
    expected = Answers(raws=[RAW], detections=[found()])
    off = Answers(raws=[RAW + np.array([0, 0.5], np.float32)], detections=[found()])
    parity = compare(expected, off, CANVAS_HW)
    assert parity.differences[0].largest == 0.5
    assert not parity.passed


def test_a_nan_is_not_the_same():
    parity = compare(
        Answers(raws=[RAW], detections=[found()]), Answers(raws=[RAW * np.nan], detections=[found()]), CANVAS_HW
    )
    assert not parity.passed


@pytest.mark.parametrize(
    "other",
    [found(), found((10, 10, 30, 30, 0.9, 1)), found((50, 50, 70, 70, 0.9, 0)), found((10, 10, 30, 30, 0.5, 0))],
    ids=["none", "of another class", "elsewhere", "much less sure"],
)
def test_a_detection_without_its_like_is_missing(other):
    assert differences(found(BOX), other)["missing"] >= 1
    assert differences(other, found(BOX))["missing"] >= 1


def test_two_rivals_of_one_score_may_take_each_others_place():
    one, rival = (10, 10, 30, 30, 0.5, 0), (12, 10, 32, 30, 0.50001, 0)
    assert differences(found(one), found(rival))["missing"] == 0


def test_of_sixteen_bits_a_rival_some_pixels_away_is_no_shifted_box():
    one, rival = (10, 10, 40, 40, 0.5, 0), (16, 10, 46, 40, 0.501, 0)
    got = differences(found(one), found(rival), "fp16")
    assert (got["boxes"], got["missing"]) == (0, 0)


def test_a_score_at_the_cut_may_be_on_either_side_of_it():
    assert differences(found((10, 10, 30, 30, 0.00100001, 0)), found())["missing"] == 0


def test_boxes_are_compared_where_they_can_be_seen():
    got = differences(found((-500, 10, 30, 30, 0.9, 0)), found((-400, 10, 30, 30, 0.9, 0)))
    assert got["boxes"] == 0


def parity(largest: float) -> Parity:
    return Parity(
        num_images=1,
        num_detections=0,
        differences=(Difference(quantity="raw logits", largest=largest, tolerance=0.1),),
    )


def test_a_file_that_answers_the_same_gets_its_name(tmp_path):
    path = tmp_path / "new" / "file.onnx"
    told = write_compared(path, lambda unproven: unproven.write_text("network"), lambda unproven: parity(0.05))
    assert told.passed
    assert path.read_text() == "network"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_answers_differently_is_not_kept_and_leaves_the_old_one(tmp_path):
    path = tmp_path / "file.onnx"
    path.write_text("old")
    with raises(WeightsError, "raw logits", "too much", path=path):
        write_compared(path, lambda unproven: unproven.write_text("new"), lambda unproven: parity(0.2), overwrite=True)
    assert [one.read_text() for one in tmp_path.iterdir()] == ["old"]


def test_a_file_is_not_replaced_unasked(tmp_path):
    path = tmp_path / "file.onnx"
    path.write_text("old")
    with raises(WeightsError, "--overwrite", path=path):
        write_compared(path, Path.touch, lambda unproven: parity(0))
    assert path.read_text() == "old"


def test_made_up_canvases_have_texture_everywhere():
    canvases = textured_canvases(2, (64, 96))
    assert canvases.shape == (2, 64, 96, 3)
    assert canvases.dtype == np.uint8
    assert canvases.std(axis=(1, 2)).min() > 20
    np.testing.assert_array_equal(canvases, textured_canvases(2, (64, 96)))


def test_the_table_fits_80_columns():
    parity = compare(Answers(raws=[RAW], detections=[found(BOX)]), Answers(raws=[RAW], detections=[found()]), CANVAS_HW)
    assert all(len(line) <= 80 for line in parity.table().splitlines())
