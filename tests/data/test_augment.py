"""Random changes, and boxes that follow their pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookonce.data.augment import (
    DRAWS_PER_TILE,
    Augmentation,
    AugmentationParams,
    clip_boxes,
    color_matrices,
    params_of,
    paste,
    plan_crop_paste,
)
from lookonce.errors import SettingsError
from lookonce.letterbox import ImageArray
from lookonce.settings.record import Preprocessing

LETTERBOX = Preprocessing()
STRETCH = Preprocessing(resize="stretch")
sizes = st.tuples(st.integers(1, 900), st.integers(1, 900))
fractions = st.floats(0, 1)


def params_of_one(
    *, scale: float = 1, aspect: float = 1, place_xy: tuple[float, float] = (0.5, 0.5), flip: bool = False
) -> AugmentationParams:
    """Parameters of one tile, without a change of colours."""
    return AugmentationParams(
        scale=np.array([scale]),
        aspect=np.array([aspect]),
        place_xy=np.array([place_xy]),
        flip=np.array([flip]),
        color=np.eye(3)[None],
    )


def rectangles_of_one(
    wh: tuple[int, int],
    region: tuple[int, ...],
    side: int,
    params: AugmentationParams,
    resize: str,
    cover: bool = False,
) -> tuple[list[int], list[int]]:
    """Source and target of one tile."""
    arrays = np.array([wh]), np.array([region]), np.array([side, side])
    [[source, target]] = plan_crop_paste(*arrays, params, resize, np.array([cover])).tolist()
    return source, target


def mapped(box: tuple[int, ...], source: list[int], target: list[int], flip: bool) -> np.ndarray:
    """A box of the image in the network input, clipped to the target; by the corners of the two rectangles."""
    x0, x1 = np.interp([box[0], box[2]], source[::2], target[::2])
    y0, y1 = np.interp([box[1], box[3]], source[1::2], target[1::2])
    return np.array([target[0] + target[2] - x1, y0, target[0] + target[2] - x0, y1] if flip else [x0, y0, x1, y1])


params_of_images = st.builds(
    params_of_one,
    scale=st.floats(0.2, 3),
    aspect=st.floats(0.5, 2),
    place_xy=st.tuples(fractions, fractions),
    flip=st.booleans(),
)


def image_with_rectangle(wh: tuple[int, int], box: tuple[int, int, int, int]) -> ImageArray:
    """Black, with a white rectangle."""
    image = np.zeros((wh[1], wh[0], 3), dtype=np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 255
    return image


def bright_rectangle(image: ImageArray) -> np.ndarray:
    """xyxy of the pixels brighter than half."""
    rows, columns = np.nonzero(image[..., 0] > 127)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], dtype=np.float64)


LOOKS = {
    "same": params_of_one(),
    "mirrored": params_of_one(flip=True),
    "small": params_of_one(scale=0.4, place_xy=(0.1, 0.9)),
    "large": params_of_one(scale=1.9, place_xy=(0.45, 0.55)),
    "large and mirrored": params_of_one(scale=1.7, place_xy=(0.6, 0.4), flip=True),
    "wide": params_of_one(aspect=1.6),
    "tall, mirrored": params_of_one(aspect=0.6, place_xy=(1.0, 0.0), flip=True),
}


@pytest.mark.parametrize("params", LOOKS.values(), ids=LOOKS.keys())
@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
@pytest.mark.parametrize("wh", [(640, 480), (301, 407)])
def test_boxes_follow_their_pixels(params: AugmentationParams, resize: str, wh: tuple[int, int]) -> None:
    box = (wh[0] * 2 // 5, wh[1] * 3 // 7, wh[0] * 3 // 5, wh[1] * 4 // 7)
    canvas = np.zeros((352, 352, 3), dtype=np.uint8)
    source, target = rectangles_of_one(wh, (0, 0, 352, 352), 352, params, resize)
    flip = bool(params.flip[0])
    paste(canvas, image_with_rectangle(wh, box), source, target, flip=flip, color=None, preprocessing=LETTERBOX)
    np.testing.assert_allclose(bright_rectangle(canvas), mapped(box, source, target, flip), atol=1.5)


@given(sizes, params_of_images, st.sampled_from(["letterbox", "stretch"]), st.booleans())
def test_tiles_lie_inside_the_image_and_the_region(
    image_wh: tuple[int, int], params: AugmentationParams, resize: str, cover: bool
) -> None:
    region = (10, 20, 150, 230)
    source, target = rectangles_of_one(image_wh, region, 256, params, resize, cover)
    assert 0 <= source[0] < source[2] <= image_wh[0]
    assert 0 <= source[1] < source[3] <= image_wh[1]
    assert region[0] <= target[0] < target[2] <= region[2]
    assert region[1] <= target[1] < target[3] <= region[3]
    if cover:
        assert tuple(target) == region


@given(st.lists(st.tuples(fractions, fractions, fractions, fractions), max_size=5))
def test_kept_boxes_lie_inside_the_window_and_have_an_area(corners: list[tuple[float, ...]]) -> None:
    points = np.array(corners, dtype=np.float64).reshape(-1, 4) * 300 - 80
    boxes = np.concatenate([np.minimum(points[:, :2], points[:, 2:]), np.maximum(points[:, :2], points[:, 2:])], axis=1)
    windows = np.tile([10, 0, 128, 100], (len(boxes), 1))
    clipped, kept = clip_boxes(boxes, windows, np.zeros(len(boxes), dtype=bool))
    assert clipped.shape == boxes.shape
    assert kept.shape == (len(boxes),)
    assert (clipped >= [10, 0, 10, 0]).all()
    assert (clipped <= [128, 100, 128, 100]).all()
    assert (clipped[kept, 2:] - clipped[kept, :2] >= 2).all()


def test_a_box_is_dropped_when_less_than_a_fifth_or_two_pixels_of_it_remain() -> None:
    boxes = np.array(
        [
            [-70.0, 0, 30, 10],  # 30 of 100 columns show
            [-85.0, 0, 15, 10],  # 15 do
            [10.0, 10, 11.5, 40],  # 1.5 pixels wide
            [-50.0, -50, -10, -10],  # outside
        ]
    )
    windows = np.tile([0, 0, 100, 100], (4, 1))
    _, kept = clip_boxes(boxes, windows, np.zeros(4, dtype=bool))
    assert kept.tolist() == [True, False, False, False]
    _, kept_of_crowd = clip_boxes(boxes, windows, np.ones(4, dtype=bool))
    assert kept_of_crowd.tolist() == [True, True, True, False]


def one_matrix(hue: float = 0, saturation: float = 1, brightness: float = 1) -> np.ndarray:
    return color_matrices(np.array([hue]), np.array([saturation]), np.array([brightness]))[0]


def test_hue_a_third_round_turns_red_into_green_saturation_and_brightness_scale() -> None:
    red = np.array([200, 0, 0])
    np.testing.assert_allclose(one_matrix(hue=1 / 3) @ red, [0, 200, 0], atol=1e-9)
    np.testing.assert_allclose(one_matrix(hue=1 / 2) @ red, [-200 / 3, 400 / 3, 400 / 3])  # 2 * mean - red
    np.testing.assert_allclose(one_matrix(brightness=0.5) @ red, [100, 0, 0], atol=1e-9)
    np.testing.assert_allclose(one_matrix(saturation=0.25) @ red, [100, 50, 50])  # a quarter of the way from grey, 66.7
    np.testing.assert_array_equal(one_matrix(), np.eye(3))
    np.testing.assert_allclose(one_matrix(0.2, 1.4, 0.5) @ [90, 90, 90], [45, 45, 45])  # grey has no hue


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("color", [None, one_matrix(0.05, 1.5, 1.3)], ids=["as it is", "colour"])
@pytest.mark.parametrize(("width", "height"), [(5, 6), (1, 6), (5, 1)])
def test_a_pasted_tile_has_the_colors_of_the_matrix_clipped_and_padding_stays(width, height, color, flip) -> None:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    canvas = np.full((10, 10, 3), 114, dtype=np.uint8)
    right, bottom = 2 + width, 3 + height
    paste(canvas, image, (0, 0, width, height), (2, 3, right, bottom), flip=flip, color=color, preprocessing=LETTERBOX)
    expected = image if color is None else np.clip(image @ color.T, 0, 255)
    np.testing.assert_allclose(canvas[3:bottom, 2:right], expected[:, ::-1] if flip else expected, atol=1)  # cv2 rounds
    canvas[3:bottom, 2:right] = 114
    assert (canvas == 114).all()


def test_a_hand_computed_tile() -> None:
    """Draws of 0.75: three quarters of each range, a signed half of the two-sided ones."""
    ranges = Augmentation(
        scale_min=0.5, scale_max=1.5, aspect_jitter=0.3, flip=0.8, hue=0.1, saturation=1.5, brightness=2.0
    )
    params = params_of(np.array([[0.75] * DRAWS_PER_TILE, [0.25] * DRAWS_PER_TILE]), ranges)
    np.testing.assert_allclose(params.scale, [1.25, 0.75])
    np.testing.assert_allclose(params.aspect, [1, 1])  # 1.15 / 1.15 and 0.85 / 0.85
    np.testing.assert_allclose(params.place_xy, [[0.75, 0.75], [0.25, 0.25]])
    assert params.flip.tolist() == [True, True]
    np.testing.assert_allclose(params.color[0], one_matrix(0.05, 1.25, 1.5))
    np.testing.assert_allclose(params.color[1], one_matrix(-0.05, 1 / 1.25, 1 / 1.5))


def test_parameters_stay_in_their_ranges() -> None:
    ranges = Augmentation(scale_min=0.5, scale_max=1.5, aspect_jitter=0.3, flip=0.5, brightness=2.0)
    params = params_of(np.random.default_rng(0).random((200, DRAWS_PER_TILE)), ranges)
    assert ((params.scale >= 0.5) & (params.scale <= 1.5)).all()
    assert ((params.aspect >= 0.7 / 1.3) & (params.aspect <= 1.3 / 0.7)).all()
    assert ((params.color[:, 0, 0] >= 0.5) & (params.color[:, 0, 0] <= 2)).all()
    assert 60 < params.flip.sum() < 140


def test_neutral_augmentation_changes_nothing() -> None:
    params = params_of(np.random.default_rng(0).random((3, DRAWS_PER_TILE)), Augmentation())
    assert (params.scale == 1).all()
    assert (params.aspect == 1).all()
    assert not params.flip.any()
    np.testing.assert_array_equal(params.color, np.tile(np.eye(3), (3, 1, 1)))


@pytest.mark.parametrize(
    "ranges", [{"scale_min": 2.0}, {"aspect_jitter": 1.0}, {"saturation": 0.7}, {"scale_min": 0.0}]
)
def test_ranges_that_cannot_be_are_refused(ranges: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=next(iter(ranges))):
        Augmentation(**ranges)
