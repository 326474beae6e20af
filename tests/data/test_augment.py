"""Random changes, and boxes that follow their pixels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookonce.config.record import Preprocessing
from lookonce.data.augment import (
    Augmentation,
    AugmentationParams,
    clip_boxes,
    paste,
    plan_crop_paste,
    sample_params,
    shift_colors,
)
from lookonce.data.letterbox import ImageArray
from lookonce.errors import SettingsError

LETTERBOX = Preprocessing()
STRETCH = Preprocessing(resize="stretch")
sizes = st.tuples(st.integers(1, 900), st.integers(1, 900))
fractions = st.floats(0, 1)
params_of_images = st.builds(
    AugmentationParams,
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
    "same": AugmentationParams(),
    "mirrored": AugmentationParams(flip=True),
    "small": AugmentationParams(scale=0.4, place_xy=(0.1, 0.9)),
    "large": AugmentationParams(scale=1.9, place_xy=(0.45, 0.55)),
    "large and mirrored": AugmentationParams(scale=1.7, place_xy=(0.6, 0.4), flip=True),
    "wide": AugmentationParams(aspect=1.6),
    "tall, mirrored": AugmentationParams(aspect=0.6, place_xy=(1.0, 0.0), flip=True),
}


@pytest.mark.parametrize("params", LOOKS.values(), ids=LOOKS.keys())
@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
@pytest.mark.parametrize("wh", [(640, 480), (301, 407)])
def test_boxes_follow_their_pixels(params: AugmentationParams, resize: str, wh: tuple[int, int]) -> None:
    box = (wh[0] * 2 // 5, wh[1] * 3 // 7, wh[0] * 3 // 5, wh[1] * 4 // 7)
    canvas = np.zeros((352, 352, 3), dtype=np.uint8)
    crop_paste = plan_crop_paste(wh, (0, 0, 352, 352), (352, 352), params, resize)
    paste(canvas, image_with_rectangle(wh, box), crop_paste, params, LETTERBOX)
    expected, _ = clip_boxes(
        crop_paste.to_input(np.array([box], dtype=np.float64)), crop_paste.target, np.array([False])
    )
    np.testing.assert_allclose(bright_rectangle(canvas), expected[0], atol=1.5)


@given(sizes, params_of_images, st.sampled_from(["letterbox", "stretch"]), st.booleans())
def test_tiles_lie_inside_the_image_and_the_region(
    image_wh: tuple[int, int], params: AugmentationParams, resize: str, cover: bool
) -> None:
    region = (10, 20, 150, 230)
    crop_paste = plan_crop_paste(image_wh, region, (256, 256), params, resize, cover=cover)
    assert 0 <= crop_paste.source[0] < crop_paste.source[2] <= image_wh[0]
    assert 0 <= crop_paste.source[1] < crop_paste.source[3] <= image_wh[1]
    assert region[0] <= crop_paste.target[0] < crop_paste.target[2] <= region[2]
    assert region[1] <= crop_paste.target[1] < crop_paste.target[3] <= region[3]
    if cover:
        assert crop_paste.target == region


@given(params_of_images, st.lists(st.tuples(fractions, fractions, fractions, fractions), max_size=5))
def test_kept_boxes_lie_inside_the_window_and_have_an_area(
    params: AugmentationParams, corners: list[tuple[float, ...]]
) -> None:
    points = np.array(corners, dtype=np.float64).reshape(-1, 4) * 300
    boxes = np.concatenate([np.minimum(points[:, :2], points[:, 2:]), np.maximum(points[:, :2], points[:, 2:])], axis=1)
    crop_paste = plan_crop_paste((300, 300), (0, 0, 128, 128), (128, 128), params, "letterbox")
    clipped, kept = clip_boxes(crop_paste.to_input(boxes), crop_paste.target, np.zeros(len(boxes), dtype=bool))
    assert clipped.shape == boxes.shape
    assert kept.shape == (len(boxes),)
    assert (clipped >= np.tile(crop_paste.target[:2], 2)).all()
    assert (clipped <= np.tile(crop_paste.target[2:], 2)).all()
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
    _, kept = clip_boxes(boxes, (0, 0, 100, 100), np.zeros(4, dtype=bool))
    assert kept.tolist() == [True, False, False, False]
    _, kept_of_crowd = clip_boxes(boxes, (0, 0, 100, 100), np.ones(4, dtype=bool))
    assert kept_of_crowd.tolist() == [True, True, True, False]


def test_hue_a_third_round_turns_red_into_green_and_brightness_scales() -> None:
    red = np.full((2, 2, 3), (200, 0, 0), dtype=np.uint8)
    np.testing.assert_allclose(
        shift_colors(red, AugmentationParams(hue=1 / 3))[0, 0], (0, 200, 0), atol=4
    )  # 256 hues: 2 % a step
    np.testing.assert_allclose(shift_colors(red, AugmentationParams(brightness=0.5))[0, 0], (100, 0, 0), atol=1)
    np.testing.assert_allclose(shift_colors(red, AugmentationParams(saturation=0.5))[0, 0], (200, 100, 100), atol=2)
    assert shift_colors(red, AugmentationParams()) is red


def test_looks_stay_in_their_ranges() -> None:
    augmentation = Augmentation(
        scale_min=0.5, scale_max=1.5, aspect_jitter=0.3, flip=0.5, hue=0.1, saturation=1.5, brightness=2.0
    )
    drawn = [sample_params(np.random.default_rng(seed), augmentation) for seed in range(200)]
    assert all(0.5 <= params.scale <= 1.5 and 0.7 / 1.3 <= params.aspect <= 1.3 / 0.7 for params in drawn)
    assert all(
        abs(params.hue) <= 0.1 and 1 / 1.5 <= params.saturation <= 1.5 and 0.5 <= params.brightness <= 2
        for params in drawn
    )
    assert 60 < sum(params.flip for params in drawn) < 140


def test_neutral_augmentation_changes_nothing() -> None:
    params = sample_params(np.random.default_rng(0), Augmentation())
    assert params == AugmentationParams(place_xy=params.place_xy)


@pytest.mark.parametrize(
    "ranges", [{"scale_min": 2.0}, {"aspect_jitter": 1.0}, {"saturation": 0.7}, {"scale_min": 0.0}]
)
def test_ranges_that_cannot_be_are_refused(ranges: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=next(iter(ranges))):
        Augmentation(**ranges)
