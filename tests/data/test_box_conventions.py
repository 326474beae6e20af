"""Boxes written down in one convention and read in another."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from lookonce.data.annotations import Written
from lookonce.data.box_conventions import BOX_CONVENTIONS, NORMALISED, likely_convention, sound_share

Boxes = NDArray[np.float64]
SIZE = (640, 480)


def boxes_xyxy(count: int = 200) -> Boxes:
    rng = np.random.default_rng(0)
    wh = rng.uniform(20, 160, (count, 2))
    corner = rng.uniform(0, 1, (count, 2)) * (np.array(SIZE) - wh)
    return np.concatenate([corner, corner + wh], axis=1)


def sizes(count: int = 200) -> Boxes:
    return np.tile(np.array(SIZE, np.float64), (count, 1))


def test_sound_boxes_are_taken_as_they_are() -> None:
    assert sound_share(boxes_xyxy(), sizes()) == 1
    assert likely_convention(boxes_xyxy(), sizes(), "xywh") is None
    assert likely_convention(boxes_xyxy() * 0 + [0, 0, 640, 480], sizes(), "xywh") is None  # the whole picture


@pytest.mark.parametrize(
    ("read_wrongly", "written", "name"),
    [
        # left, top, width, height taken for corners; corners taken for left, top, width, height; and so on
        (lambda b: np.concatenate([b[:, :2], b[:, 2:] - b[:, :2]], axis=1), "xyxy", "xywh-as-xyxy"),
        (lambda b: np.concatenate([b[:, :2], b[:, :2] + b[:, 2:]], axis=1), "xywh", "xyxy-as-xywh"),
        (lambda b: np.concatenate([b[:, :2] - b[:, 2:] / 2, b[:, :2] + b[:, 2:] / 2], axis=1), "cxcywh", "corners"),
        (lambda b: b - np.tile((b[:, 2:] - b[:, :2]) / 2, 2), "cxcywh", "top-left"),
        (lambda b: b * np.array(SIZE * 2), "cxcywh", "pixels"),
        (lambda b: b / np.array(SIZE * 2), "xywh", "fractions"),
        (lambda b: b / np.array(SIZE * 2), "xyxy", "fractions"),
    ],
)
def test_another_convention_is_recognised(read_wrongly: Callable[[Boxes], Boxes], written: Written, name: str) -> None:
    reading = likely_convention(read_wrongly(boxes_xyxy()), sizes(), written)
    assert reading is BOX_CONVENTIONS[name]
    assert np.allclose(reading.undo(read_wrongly(boxes_xyxy()), sizes()), boxes_xyxy())


def test_a_few_slips_are_no_other_convention() -> None:
    boxes = boxes_xyxy()
    boxes[:8, 2:] = boxes[:8, :2]  # 4 % without area
    assert likely_convention(boxes, sizes(), "xyxy") is None
    assert sound_share(boxes, sizes()) == pytest.approx(0.96)


def test_a_mixture_of_conventions_is_none_of_them() -> None:
    boxes = boxes_xyxy()
    boxes[::2, 2:] = boxes[::2, 2:] - boxes[::2, :2]
    assert likely_convention(boxes, sizes(), "xyxy") is None
    assert sound_share(boxes, sizes()) < 0.8


def test_boxes_that_are_no_numbers_or_in_unknown_images_are_not_asked() -> None:
    boxes = boxes_xyxy(2) / np.array(SIZE * 2)
    assert likely_convention(np.concatenate([boxes, [[np.nan] * 4]]), sizes(3), "xywh") is NORMALISED
    assert likely_convention(boxes, sizes(2) * 0, "xywh") is None
    assert likely_convention(np.zeros((0, 4)), np.zeros((0, 2)), "xywh") is None
