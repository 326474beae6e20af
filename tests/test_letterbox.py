"""Letterbox and stretch by hand, and boxes there and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookonce.letterbox import fit, letterbox_wh
from lookonce.settings.record import Preprocessing

LETTERBOX = Preprocessing()
STRETCH = Preprocessing(resize="stretch")
sizes = st.tuples(st.integers(1, 900), st.integers(1, 900))
fractions = st.floats(0, 1)


def test_a_640x480_image_is_letterboxed_into_320_with_40_rows_above_and_below() -> None:
    canvas, placement = fit(np.full((480, 640, 3), 7, dtype=np.uint8), (320, 320), LETTERBOX)
    assert placement.scale_xy == (0.5, 0.5)
    assert placement.offset_xy == (0.0, 40.0)
    assert (canvas[:40] == 114).all()
    assert (canvas[280:] == 114).all()
    assert (canvas[40:280] == 7).all()
    boxes = np.array([[100.0, 20, 300, 420]])
    assert placement.to_input(boxes).tolist() == [[50, 50, 150, 250]]


def test_stretching_fills_the_canvas() -> None:
    canvas, placement = fit(np.full((480, 640, 3), 7, dtype=np.uint8), (320, 416), STRETCH)
    assert canvas.shape == (320, 416, 3)
    assert (canvas == 7).all()
    assert placement.scale_xy == (0.65, 320 / 480)
    assert placement.offset_xy == (0.0, 0.0)


def test_an_image_of_the_canvas_size_is_left_alone() -> None:
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    canvas, placement = fit(image, (32, 32), LETTERBOX)
    assert (canvas == image).all()
    boxes = np.array([[1.5, 2, 30, 31]])
    assert (placement.to_input(boxes) == boxes).all()
    assert (placement.to_original(boxes) == boxes).all()


@pytest.mark.parametrize(
    ("image_wh", "fitted_wh"),
    [((640, 480), (416, 312)), ((3, 5), (250, 416)), ((1, 1000), (1, 416)), ((832, 417), (416, 209))],
)
def test_letterbox_sizes_round_halves_up_and_keep_a_pixel(
    image_wh: tuple[int, int], fitted_wh: tuple[int, int]
) -> None:
    assert letterbox_wh(image_wh, (416, 416)) == fitted_wh  # 3 * 416 / 5 = 249.6; 417 / 2 = 208.5


@given(sizes, sizes, st.sampled_from([LETTERBOX, STRETCH]), st.tuples(fractions, fractions, fractions, fractions))
def test_placement_goes_there_and_back(
    image_wh: tuple[int, int], canvas_wh: tuple[int, int], preprocessing: Preprocessing, corners: tuple[float, ...]
) -> None:
    image = np.zeros((image_wh[1], image_wh[0], 3), dtype=np.uint8)
    _, placement = fit(image, (canvas_wh[1], canvas_wh[0]), preprocessing)
    boxes = np.array([corners]) * np.array(image_wh * 2)
    on_canvas = placement.to_input(boxes)
    assert (on_canvas >= 0).all()
    assert (on_canvas <= np.array(canvas_wh * 2) + 1e-9).all()
    np.testing.assert_allclose(placement.to_original(on_canvas), boxes, atol=1e-9)


def test_boxes_on_the_padding_come_back_clipped_in_their_own_dtype() -> None:
    _, placement = fit(np.zeros((480, 640, 3), dtype=np.uint8), (320, 320), LETTERBOX)
    boxes = placement.to_original(np.array([[-5, 0, 400, 320]], dtype=np.float32))
    assert boxes.tolist() == [[0, 0, 640, 480]]
    assert boxes.dtype == np.float32
    assert placement.to_original(np.empty((0, 4))).shape == (0, 4)
