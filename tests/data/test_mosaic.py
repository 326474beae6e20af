"""Mosaic and mixup: which images, where, and boxes that follow."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lookonce.boxes import Floats
from lookonce.data.augment import Augmentation, AugmentationParams
from lookonce.data.dataset import Dataset
from lookonce.data.mosaic import (
    CENTER_RANGE,
    CORNERS,
    DRAWS_PER_SAMPLE,
    BatchTargets,
    Composition,
    CompositionPlan,
    sample_plan,
)
from lookonce.data.order import EpochOrder
from lookonce.letterbox import ImageArray
from lookonce.settings.record import Preprocessing

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


def plan_of(
    rows: list[int], layers: list[int], *, center_xy: tuple[float, float] = (1, 1), share: float = 1, **look: float
) -> CompositionPlan:
    """The plan of one network input, whose tiles all have the same parameters; several tiles of layer 0: a mosaic."""
    count = len(rows)
    is_mosaic = layers == [0, 0, 0, 0]
    corners = CORNERS[: count if is_mosaic else 1].repeat(1 if is_mosaic else count, 0)
    return CompositionPlan(
        rows=np.array(rows),
        layers=np.array(layers),
        regions=np.concatenate([corners * center_xy, np.where(corners, 1, center_xy)], 1),
        mosaic=np.full(count, is_mosaic),
        params=AugmentationParams(
            scale=np.full(count, look.get("scale", 1.0)),
            aspect=np.full(count, look.get("aspect", 1.0)),
            place_xy=np.full((count, 2), look.get("place", 0.5)),
            flip=np.full(count, bool(look.get("flip", False))),
            color=np.tile(np.eye(3), (count, 1, 1)),
        ),
        shares=np.array([share]),
    )


def composed(plan: CompositionPlan, resize: str = "letterbox") -> tuple[ImageArray, BatchTargets]:
    dataset, images = four_images()
    composition = Composition(plan, dataset, (SIZE, SIZE), Preprocessing(resize=resize))
    canvas = np.full((SIZE, SIZE, 3), 77, dtype=np.uint8)
    composition.write(0, canvas, lambda row: (row, images[row]))
    return canvas, composition.targets()


@pytest.mark.parametrize("look", [{}, {"flip": True, "scale": 0.3}, {"scale": 1.2, "aspect": 1.3, "place": 0.4}])
@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
def test_boxes_of_a_mosaic_follow_their_pixels(look: dict[str, float], resize: str) -> None:
    canvas, targets = composed(plan_of([0, 1, 2, 3], [0, 0, 0, 0], center_xy=(0.55, 0.4), **look), resize)
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
    canvas, targets = composed(plan_of([2, 0], [0, 1], share=0.25))
    assert targets.labels.tolist() == [2, 0]
    assert targets.image_index.tolist() == [0, 0]
    expected = np.array([[102, 102, 153, 153], [102.4, 108.8, 153.6, 147.2]])  # the second: 320x240 at 0.8, 32 down
    np.testing.assert_allclose(np.asarray(targets.boxes_xyxy, dtype=np.float64), expected)
    assert canvas[SIZE // 2, SIZE // 2, 0] == 255  # white in both
    assert canvas[104, SIZE // 2, 0] == 64  # white in the first only: a quarter of 255
    assert canvas[5, 5, 0] == 86  # padding of the second: 0.75 * 114 = 85.5


def test_a_flipped_box_is_mirrored_in_the_network_input() -> None:
    """Image 0, 320x240 with its box at 128..192 x 96..144; at 0.4, moved to the left edge, and mirrored there."""
    _, targets = composed(plan_of([0], [0], scale=0.5, place=0.0, flip=True))
    np.testing.assert_allclose(targets.boxes_xyxy, [[128 - 76.8, 38.4, 128 - 51.2, 57.6]])


def test_an_image_without_objects_is_a_sample_without_boxes() -> None:
    _, targets = composed(plan_of([3], [0]))
    assert targets.boxes_xyxy.shape == (0, 4)
    assert targets.labels.shape == targets.crowd.shape == targets.image_index.shape == (0,)


def drawn(count: int = 400, **ranges: float) -> CompositionPlan:
    return sample_plan(EpochOrder(1000, seed=0, epoch=0), range(count), Augmentation(**ranges))


def rows_of(plan: CompositionPlan, layer: int) -> NDArray[np.int64]:
    return plan.rows[plan.layers == layer]


def test_plans_hold_the_sample_itself_and_follow_their_probabilities() -> None:
    plan = drawn(mosaic=0.5, mixup=0.25)
    own = EpochOrder(1000, seed=0, epoch=0).rows(np.arange(400))
    assert all(own[index] in rows_of(plan, 2 * index) for index in range(400))
    sizes = np.bincount(plan.layers, minlength=800).reshape(400, 2)
    assert set(sizes[:, 0]) == {1, 4}
    assert 150 < (sizes[:, 0] == 4).sum() < 250
    assert 70 < (sizes[:, 1] > 0).sum() < 130
    np.testing.assert_array_equal(plan.shares < 1, sizes[:, 1] > 0)
    corners = {int(np.flatnonzero(rows_of(plan, 2 * i) == own[i])[0]) for i in range(400) if sizes[i, 0] == 4}
    assert corners == {0, 1, 2, 3}
    assert (np.diff(plan.layers) >= 0).all()


def test_the_four_tiles_of_a_mosaic_cover_the_input_around_one_centre() -> None:
    regions = drawn(mosaic=1.0).regions.reshape(400, 4, 4)
    centers = regions[:, 0, 2:]
    assert ((centers >= CENTER_RANGE[0]) & (centers <= CENTER_RANGE[1])).all()
    np.testing.assert_array_equal(regions[:, 3, :2], centers)
    np.testing.assert_allclose((regions[..., 2:] - regions[..., :2]).prod(2).sum(1), 1)


def test_the_mixup_share_is_the_median_of_15_numbers() -> None:
    shares = drawn(mixup=1.0).shares
    assert shares.mean() == pytest.approx(0.5, abs=0.02)  # Beta(8, 8): standard deviation 0.1213
    assert shares.std() == pytest.approx(0.1213, rel=0.1)


def test_closing_mosaic_leaves_the_other_random_numbers_as_they_are() -> None:
    """The own image keeps its scale where it is in the first corner."""
    open_, closed = drawn(mosaic=1.0, scale_max=2.0), drawn(scale_max=2.0)
    first = open_.rows[::4] == closed.rows
    assert first.sum() > 60
    np.testing.assert_array_equal(open_.params.scale[::4], closed.params.scale)


def test_partners_come_from_the_last_128_positions() -> None:
    """Position 900 of 1,000, with draws of 0 and of nearly 1; and position 5, whose partners wrap to the end."""

    class Fixed(EpochOrder):
        def draws(self, positions: range, count: int) -> Floats:
            return np.tile(np.where(np.arange(count) % 2, 1 - 1e-9, 0.0), (len(positions), 1))

        def rows(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
            return positions

    order = Fixed(1000, seed=0, epoch=0)
    plans = [sample_plan(order, range(at, at + 1), Augmentation(mosaic=1.0)).rows.tolist() for at in (900, 5)]
    assert plans == [[773, 773, 773, 900], [878, 878, 878, 5]]  # the corner's number is odd: its draw is nearly 1


def test_draws_of_a_sample_do_not_depend_on_its_batch() -> None:
    ranges = {"scale_max": 2.0, "hue": 0.1, "saturation": 1.5, "mosaic": 0.5, "mixup": 0.5}
    whole = drawn(**ranges)
    order = EpochOrder(1000, seed=0, epoch=0)
    alone = sample_plan(order, range(7, 8), Augmentation(**ranges))
    tiles = whole.layers // 2 == 7
    for name in ("scale", "aspect", "place_xy", "flip", "color"):
        np.testing.assert_array_equal(getattr(whole.params, name)[tiles], getattr(alone.params, name), err_msg=name)
    assert whole.shares[7] == alone.shares[0]
    assert order.draws(range(7, 8), DRAWS_PER_SAMPLE).shape == (1, DRAWS_PER_SAMPLE)


def test_the_largest_boxes_of_each_input_are_kept_in_their_order() -> None:
    sides = np.array([3.0, 9, 5, 5, 2, 7])
    targets = BatchTargets(
        boxes_xyxy=np.stack([0 * sides, 0 * sides, sides, sides], 1),
        labels=np.arange(6),
        crowd=np.zeros(6, dtype=bool),
        image_index=np.array([0, 0, 0, 0, 2, 2]),
    )
    assert targets.largest(2).labels.tolist() == [1, 2, 4, 5]  # of two equal ones the first
    assert targets.largest(4).labels.tolist() == list(range(6))
    assert targets.select(np.zeros(6, dtype=bool)).largest(1).labels.tolist() == []
