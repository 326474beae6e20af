"""Tiles: everything is covered, and each thing comes out once."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookonce.detections import Detections
from lookonce.prediction.tiles import TiledDetector, windows_of


class Seer:
    """Sees exactly the part of each coloured rectangle that lies in its window, if it is large enough in it.

    A picture's red channel holds the number of the rectangle at each pixel, green its class. `smallest` is the side,
    as a part of the window's, below which nothing is seen.
    """

    def __init__(self, smallest: float = 0.0) -> None:
        self.smallest, self.num_windows = smallest, 0

    def detect(self, images: Sequence[np.ndarray]) -> list[Detections]:
        self.num_windows += len(images)
        return [self._look(image) for image in images]

    def _look(self, image: np.ndarray) -> Detections:
        boxes, labels = [], []
        for number in sorted(set(image[..., 0].ravel()) - {0}):
            rows, columns = np.nonzero(image[..., 0] == number)
            box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            if max(box[2] - box[0], box[3] - box[1]) >= self.smallest * max(image.shape[:2]):
                boxes.append(box)
                labels.append(image[rows[0], columns[0], 1])
        scores = np.linspace(0.9, 0.5, len(boxes))
        return Detections(
            boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
            scores=scores.astype(np.float32),
            labels=np.array(labels, np.int64),
        )


def scene(size_wh: tuple[int, int], *boxes: tuple[int, int, int, int], label: int = 0) -> np.ndarray:
    image = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    for number, (left, top, right, bottom) in enumerate(boxes, start=1):
        image[top:bottom, left:right] = (number, label, 0)
    return image


def found_in(image: np.ndarray, seer: Seer, tile: int = 100, overlap: float = 0.25) -> list[tuple[int, ...]]:
    detector = TiledDetector(seer, tile=tile, overlap=overlap, iou_threshold=0.5, max_detections=300)
    (found,) = detector.detect([image])
    assert (np.diff(found.scores) <= 0).all()
    return sorted(tuple(int(edge) for edge in box) for box in found.boxes_xyxy)


def test_three_tiles_of_100_cover_250_with_an_overlap_of_25():
    assert windows_of((250, 80), 100, 0.25) == [(0, 0, 100, 80), (75, 0, 175, 80), (150, 0, 250, 80)]


@given(width=st.integers(1, 700), height=st.integers(1, 700), tile=st.integers(32, 200), overlap=st.floats(0, 0.9))
def test_tiles_cover_every_pixel_and_share_what_was_asked(width, height, tile, overlap):
    windows = windows_of((width, height), tile, overlap)
    covered = np.zeros((height, width), bool)
    for left, top, right, bottom in windows:
        assert right - left == min(tile, width)
        assert bottom - top == min(tile, height)
        covered[top:bottom, left:right] = True
    assert covered.all()
    lefts = sorted({window[0] for window in windows})
    assert all(before + tile - after >= int(tile * overlap) - 1 for before, after in pairwise(lefts))


def test_an_image_within_one_tile_is_looked_at_once():
    seer = Seer()
    assert found_in(scene((100, 90), (10, 10, 20, 20)), seer) == [(10, 10, 20, 20)]
    assert seer.num_windows == 1


def test_a_thing_on_a_seam_comes_out_once_and_whole():
    box = (80, 30, 100, 50)  # where two tiles share 75..100
    assert found_in(scene((250, 80), box, (90, 60, 110, 70)), Seer()) == sorted([box, (90, 60, 110, 70)])


def test_a_thing_larger_than_the_overlap_comes_from_the_whole_image():
    assert found_in(scene((250, 80), (60, 10, 240, 70)), Seer()) == [(60, 10, 240, 70)]


def test_where_the_whole_image_misses_a_large_thing_its_parts_are_joined():
    class Shortsighted(Seer):
        def _look(self, image):
            return Detections.none() if max(image.shape[:2]) > 100 else super()._look(image)

    for box in ((60, 10, 240, 70), (10, 20, 160, 60)):
        assert found_in(scene((250, 80), box), Shortsighted()) == [box]
        left, top, right, bottom = box
        assert found_in(scene((80, 250), (top, left, bottom, right)), Shortsighted()) == [(top, left, bottom, right)]


def test_two_things_that_a_seam_separates_stay_two():
    class Shortsighted(Seer):
        def _look(self, image):
            return Detections.none() if max(image.shape[:2]) > 100 else super()._look(image)

    boxes = [(20, 0, 95, 30), (80, 50, 160, 80)]  # one above, one below: they do not extend alike along the seam
    assert found_in(scene((250, 80), *boxes), Shortsighted()) == boxes


def test_half_a_thing_that_looks_like_another_class_is_no_thing():
    class Fooled(Seer):
        def _look(self, image):
            found = super()._look(image)
            narrow = found.boxes_xyxy[:, 2] - found.boxes_xyxy[:, 0] < 15
            return Detections(boxes_xyxy=found.boxes_xyxy, scores=found.scores, labels=found.labels + narrow)

    image = scene((250, 80), (90, 30, 112, 52))  # the first tile sees 10 of its 22 columns
    (found,) = TiledDetector(Fooled(), tile=100, iou_threshold=0.5, max_detections=300).detect([image])
    assert found.labels.tolist() == [0]


@pytest.mark.parametrize(("agnostic", "labels"), [(False, [0, 1]), (True, [1])])
def test_agnostic_one_thing_that_two_tiles_see_as_two_classes_is_one(agnostic, labels):
    class Undecided(Seer):
        def _look(self, image):
            found = super()._look(image)
            is_first = image.shape[1] == 100 and found.boxes_xyxy[:, 0] > 50
            return Detections(
                boxes_xyxy=found.boxes_xyxy, scores=found.scores + 0.01 * is_first, labels=found.labels + is_first
            )

    image = scene((175, 80), (80, 30, 92, 42))  # in both tiles
    detector = TiledDetector(Undecided(), tile=100, iou_threshold=0.5, max_detections=300, agnostic=agnostic)
    assert sorted(detector.detect([image])[0].labels.tolist()) == labels


@given(st.data())
def test_every_thing_no_larger_than_the_overlap_comes_out_exactly_once(data):
    """Any things of up to 40 pixels, each in a field of its own, in tiles of 100 that share 40."""
    boxes = []
    for row in range(5):
        for column in range(5):
            width, height = data.draw(st.tuples(st.integers(4, 40), st.integers(4, 40)))
            left, top = 46 * column + data.draw(st.integers(0, 46 - width)), 46 * row
            top += data.draw(st.integers(0, 46 - height))
            boxes.append((left, top, left + width, top + height))
    assert found_in(scene((230, 230), *boxes), Seer(0.01), overlap=0.4) == sorted(boxes)


@pytest.mark.parametrize("most", [1, 3])
def test_the_best_of_all_tiles_are_kept(most):
    image = scene((250, 80), *[(10 + 30 * number, 10, 20 + 30 * number, 20) for number in range(8)])
    detector = TiledDetector(Seer(), tile=100, iou_threshold=0.5, max_detections=most)
    assert len(detector.detect([image])[0]) == most
