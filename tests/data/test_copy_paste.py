"""Copy-paste: pasted boxes lie in their input, cover little of the others, and their pixels are where the box is."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lookonce.boxes import area_xyxy
from lookonce.data.augment import MIN_SIDE_PIXELS, Augmentation
from lookonce.data.compose import BatchTargets, Composition, Pastes, sample_plan
from lookonce.data.copy_paste import MAX_COVER, TRIED, plan_pastes
from lookonce.data.dataset import Dataset
from lookonce.data.order import EpochOrder
from lookonce.letterbox import ImageArray
from lookonce.settings.record import Preprocessing

SIZE = 128
RANGES = {"scale_min": 0.5, "scale_max": 1.5, "aspect_jitter": 0.2, "flip": 0.5}


def objects_on_black(seed: int, count: int = 40) -> tuple[Dataset, list[ImageArray]]:
    """Images of several sizes with 0 to 5 boxes, each full of one bright value; a fifth of the boxes are crowds."""
    rng = np.random.default_rng(seed)
    sizes_wh = rng.integers(40, 300, (count, 2))
    counts = rng.integers(0, 6, count)
    of_image = np.repeat(np.arange(count), counts)
    low, high = np.sort(rng.uniform(0, 1, (2, len(of_image), 2)), 0) * (sizes_wh[of_image] - 2)
    boxes = np.concatenate([low, high + 2], 1)
    images = [np.zeros((height, width, 3), np.uint8) for width, height in sizes_wh]
    for row, (left, top, right, bottom) in zip(of_image, boxes, strict=True):
        images[row][int(top) : int(np.ceil(bottom)), int(left) : int(np.ceil(right))] = 255
    dataset = Dataset(
        split="train",
        image_paths=[Path(f"{index}.png") for index in range(count)],
        image_ids=np.arange(count),
        image_sizes_wh=sizes_wh.astype(np.int32),
        box_offsets=np.concatenate([[0], counts.cumsum()]),
        boxes_xyxy=boxes,
        labels=np.arange(len(boxes)) % 2,
        crowd=rng.random(len(boxes)) < 0.2,
        areas=area_xyxy(boxes),
        class_names=("a", "b"),
        category_ids=(1, 2),
    )
    return dataset, images


def planned(
    dataset: Dataset, positions: range, resize: str = "letterbox", copy_paste: float = 1.0
) -> tuple[Composition, BatchTargets, Pastes]:
    order = EpochOrder(len(dataset), seed=1, epoch=2)
    augmentation = Augmentation(**RANGES, copy_paste=copy_paste)
    inputs = Composition(
        sample_plan(order, positions, augmentation), dataset, (SIZE, SIZE), Preprocessing(resize=resize)
    )
    own = inputs.targets()
    pastes = plan_pastes(order, positions, dataset, own, np.array([SIZE, SIZE]), augmentation, resize)
    inputs.paste_boxes(pastes)
    return inputs, own, pastes


def part_covered(boxes_xyxy: NDArray[np.floating], window: NDArray[np.integer]) -> NDArray[np.float64]:
    wh = np.minimum(boxes_xyxy[:, 2:], window[2:]) - np.maximum(boxes_xyxy[:, :2], window[:2])
    return np.maximum(wh, 0).prod(1) / area_xyxy(boxes_xyxy)


@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
@pytest.mark.parametrize("seed", range(5))
def test_pasted_boxes_lie_inside_and_cover_little(seed: int, resize: str) -> None:
    dataset, _ = objects_on_black(seed)
    _, own, pastes = planned(dataset, range(60), resize)
    inputs = pastes.targets.image_index
    assert len(inputs) > 20
    assert (np.diff(inputs) >= 0).all()
    assert np.bincount(inputs).max() <= TRIED
    source, target = pastes.rectangles.transpose(1, 0, 2)
    assert (source[:, :2] >= 0).all()
    assert (source[:, 2:] <= dataset.image_sizes_wh[pastes.rows]).all()
    assert ((target >= 0) & (target <= SIZE)).all()
    assert (pastes.targets.boxes_xyxy[:, 2:] - pastes.targets.boxes_xyxy[:, :2] >= MIN_SIDE_PIXELS).all()
    assert not pastes.targets.crowd.any()
    for each, (index, window) in enumerate(zip(inputs, target, strict=True)):
        below = own.select(own.image_index == index)
        assert (part_covered(below.boxes_xyxy, window) <= np.where(below.crowd, 0, MAX_COVER)).all()
        earlier = target[:each][inputs[:each] == index]
        assert (part_covered(earlier.astype(float), window) <= MAX_COVER).all()


@pytest.mark.parametrize("resize", ["letterbox", "stretch"])
def test_the_pixels_of_a_pasted_box_are_where_its_box_is(resize: str) -> None:
    """Every object is white on black, so a pasted rectangle is white, and its box is it to the pixel."""
    dataset, images = objects_on_black(0)
    inputs, own, pastes = planned(dataset, range(20), resize)
    for index in range(20):
        canvas = np.zeros((SIZE, SIZE, 3), np.uint8)
        inputs.write(index, canvas, lambda row: (row, images[row]))
        for _, (left, top, right, bottom) in pastes.rectangles[pastes.targets.image_index == index]:
            assert (canvas[top:bottom, left:right] > 250).all()
    np.testing.assert_allclose(pastes.targets.boxes_xyxy, pastes.rectangles[:, 1], atol=6)
    merged = inputs.targets()
    assert len(merged.labels) == len(own.labels) + len(pastes.rows)
    assert (np.diff(merged.image_index) >= 0).all()


def test_the_pastes_of_a_sample_do_not_depend_on_its_batch() -> None:
    dataset, _ = objects_on_black(0)
    _, _, whole = planned(dataset, range(12))
    for at in range(12):
        _, _, alone = planned(dataset, range(at, at + 1))
        of_input = whole.targets.image_index == at
        np.testing.assert_array_equal(whole.rectangles[of_input], alone.rectangles)
        np.testing.assert_array_equal(whole.targets.boxes_xyxy[of_input], alone.targets.boxes_xyxy)


def test_without_an_image_that_can_be_read_nothing_is_pasted_over_others() -> None:
    """Row 0 stands for every image: it is neither what was to be pasted nor what it was to be pasted into."""
    dataset, images = objects_on_black(0)
    inputs, _, pastes = planned(dataset, range(20))
    canvas = np.zeros((SIZE, SIZE, 3), np.uint8)
    for index in range(20):
        inputs.write(index, canvas, lambda _row: (0, images[0]))
    own = EpochOrder(len(dataset), seed=1, epoch=2).rows(np.arange(20))
    kept = (pastes.rows == 0) & (own[pastes.targets.image_index] == 0)
    assert inputs._pasted.tolist() == kept.tolist()


def test_without_objects_nothing_is_pasted() -> None:
    dataset, _ = objects_on_black(0)
    background = dataset.take(np.flatnonzero(np.diff(dataset.box_offsets) == 0).tolist())
    _, _, pastes = planned(background, range(8))
    assert pastes.targets.boxes_xyxy.shape == (0, 4)
    assert pastes.rectangles.shape == (0, 2, 4)
    _, _, off = planned(dataset, range(8), copy_paste=0.0)
    assert not len(off.rows)
