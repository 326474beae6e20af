"""Mosaic and mixup: which pictures, where, and boxes that follow."""

from pathlib import Path

import numpy as np
import pytest

from lookonce.config.record import Preprocessing
from lookonce.data.augment import Augmentation, AugmentationParams
from lookonce.data.compose import CompositionLayer, CompositionPlan, compose, sample_plan
from lookonce.data.dataset import Dataset
from lookonce.data.letterbox import ImageArray

LETTERBOX = Preprocessing()
SIZE = 256


def four_images() -> tuple[Dataset, list[ImageArray]]:
    """Black pictures of several sizes, each with a white rectangle around its middle; the last one has no object."""
    sizes_wh = [(320, 240), (200, 300), (256, 256), (511, 300)]
    images, boxes = [], []
    for width, height in sizes_wh[:3]:
        box = (width * 2 // 5, height * 2 // 5, width * 3 // 5, height * 3 // 5)
        image = np.zeros((height, width, 3), dtype=np.uint8)
        image[box[1] : box[3], box[0] : box[2]] = 255
        images.append(image)
        boxes.append(box)
    images.append(np.zeros((300, 511, 3), dtype=np.uint8))
    dataset = Dataset(
        split="train",
        image_paths=[Path(f"{index}.png") for index in range(4)],
        image_ids=np.arange(4),
        image_sizes_wh=np.array(sizes_wh, dtype=np.int32),
        box_offsets=np.array([0, 1, 2, 3, 3]),
        boxes_xyxy=np.array(boxes, dtype=np.float64),
        labels=np.array([0, 1, 2]),
        crowd=np.array([False, False, True]),
        areas=np.ones(3),
        class_names=("a", "b", "c"),
        category_ids=(1, 2, 3),
    )
    return dataset, images


@pytest.mark.parametrize(
    "params",
    [
        AugmentationParams(),
        AugmentationParams(flip=True, scale=0.3),
        AugmentationParams(scale=1.2, aspect=1.3, place_xy=(0.4, 0.6)),
    ],
)
@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
def test_boxes_of_a_mosaic_follow_their_pixels(params: AugmentationParams, resize: str) -> None:
    dataset, images = four_images()
    preprocessing = Preprocessing(resize=resize)
    layer = CompositionLayer(rows=(0, 1, 2, 3), params_of_images=(params,) * 4, center_xy=(0.55, 0.4))
    canvas = np.full((SIZE, SIZE, 3), 77, dtype=np.uint8)
    targets = compose(canvas, CompositionPlan(layers=(layer,)), dataset, images.__getitem__, preprocessing)
    assert not (canvas == 77).any()
    assert not (canvas == 114).any()
    assert targets.labels.tolist() == [0, 1, 2]
    assert targets.crowd.tolist() == [False, False, True]
    x, y = round(0.55 * SIZE), round(0.4 * SIZE)
    regions = [(0, 0, x, y), (x, 0, SIZE, y), (0, y, x, SIZE)]
    for (left, top, right, bottom), box in zip(regions, targets.boxes_xyxy, strict=True):
        rows, columns = np.nonzero(canvas[top:bottom, left:right, 0] > 127)
        found = [left + columns.min(), top + rows.min(), left + columns.max() + 1, top + rows.max() + 1]
        np.testing.assert_allclose(found, box, atol=1.5)


def test_mixup_blends_two_canvases_and_keeps_the_boxes_of_both() -> None:
    dataset, images = four_images()
    layers = tuple(CompositionLayer(rows=(row,), params_of_images=(AugmentationParams(),)) for row in (2, 0))
    canvas = np.empty((SIZE, SIZE, 3), dtype=np.uint8)
    targets = compose(canvas, CompositionPlan(layers=layers, share=0.25), dataset, images.__getitem__, LETTERBOX)
    assert targets.labels.tolist() == [2, 0]
    expected = np.array([[102, 102, 153, 153], [102.4, 108.8, 153.6, 147.2]])  # the second: 320x240 at 0.8, 32 down
    np.testing.assert_allclose(np.asarray(targets.boxes_xyxy, dtype=np.float64), expected)
    assert canvas[SIZE // 2, SIZE // 2, 0] == 255  # white in both
    assert canvas[104, SIZE // 2, 0] == 64  # white in the first only: a quarter of 255
    assert canvas[5, 5, 0] == 86  # padding of the second: 0.75 * 114 = 85.5


def test_an_image_without_objects_is_a_sample_without_boxes() -> None:
    dataset, images = four_images()
    plan = CompositionPlan(layers=(CompositionLayer(rows=(3,), params_of_images=(AugmentationParams(),)),))
    targets = compose(np.empty((SIZE, SIZE, 3), dtype=np.uint8), plan, dataset, images.__getitem__, LETTERBOX)
    assert targets.boxes_xyxy.shape == (0, 4)
    assert targets.labels.shape == (0,)
    assert targets.crowd.shape == (0,)


def test_plans_hold_the_sample_itself_and_follow_their_probabilities() -> None:
    augmentation = Augmentation(mosaic=0.5, mixup=0.25)
    plans = [
        sample_plan(np.random.default_rng(seed), 7, lambda generator: int(generator.integers(100, 200)), augmentation)
        for seed in range(400)
    ]
    assert all(7 in plan.layers[0].rows for plan in plans)
    assert 150 < sum(len(plan.layers[0].rows) == 4 for plan in plans) < 250
    assert 70 < sum(len(plan.layers) == 2 for plan in plans) < 130
    corners = {plan.layers[0].rows.index(7) for plan in plans if len(plan.layers[0].rows) == 4}
    assert corners == {0, 1, 2, 3}


def test_the_same_generator_draws_the_same_plan() -> None:
    augmentation = Augmentation(scale_max=2.0, flip=0.5, mosaic=1.0, mixup=0.5)
    first, second = (
        sample_plan(np.random.default_rng(3), 0, lambda generator: int(generator.integers(50)), augmentation)
        for _ in range(2)
    )
    assert first == second
