import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from lookonce.data.dataset import Dataset
from lookonce.reports.advice import Advice, advise


def dataset(sides: list[float], *, picture: int = 640, spread: bool = True) -> Dataset:
    """One square picture; square objects of these sides, side by side or all in the middle."""
    count = len(sides)
    centers = (np.arange(count) + 0.5) * picture / max(count, 1) if spread else np.full(count, picture / 2)
    half = np.array(sides)[:, None] / 2
    middles = np.stack([centers, centers], axis=1)
    return Dataset(
        split="train",
        image_paths=[Path("a.jpg")],
        image_ids=np.array([1]),
        image_sizes_wh=np.array([[picture, picture]], np.int32),
        box_offsets=np.array([0, count]),
        boxes_xyxy=np.concatenate([middles - half, middles + half], axis=1),
        labels=np.zeros(count, np.int64),
        crowd=np.zeros(count, bool),
        areas=np.ones(count),
        class_names=("a",),
        category_ids=(1,),
    )


def advice_on(sides: list[float], **options: object) -> Advice:
    advice = advise(dataset(sides, **options))
    assert advice is not None
    return advice


def test_large_objects_need_no_large_images() -> None:
    advice = advice_on([60.0] * 8)
    assert advice.image_size == 320
    assert "--image-size 320" in advice.words[0]
    # Darknet prints 5.56 for 80 classes at 416, which is 3.3 at 320 and 13.2 at 640.
    assert re.search(r"3\.2 GFLOP .* 12\.9 at 640", " ".join(advice.words))


def test_objects_that_become_too_small_ask_for_a_larger_size() -> None:
    """11 pixels in a 640 picture are 8 at a factor of 8 / 11, so from 465.5 on; 480 is the first size over it."""
    advice = advice_on([11.0] * 8)
    assert [row.tiny for row in advice.rows] == [float(11 * row.image_size / 640 < 8) for row in advice.rows]
    assert advice.image_size == 480
    assert re.search(r"448.* 100 % .* 8 pixels", advice.words[1])


def test_objects_that_stay_too_small_ask_for_tiles() -> None:
    advice = advice_on([4.0] * 8)
    assert advice.image_size == 320  # no size helps, so the quickest
    assert any(" tiles" in sentence for sentence in advice.words)


def test_objects_in_one_place_are_crowded_at_every_size() -> None:
    advice = advice_on([30.0] * 4, spread=False)
    assert {row.crowded for row in advice.rows} == {0.75}


def test_enlarging_small_images_is_called_what_it_is() -> None:
    advice = advice_on([6.0] * 3, picture=200)
    assert any("200 pixels" in sentence for sentence in advice.words)


def test_without_objects_there_is_no_advice() -> None:
    assert advise(dataset([])) is None


def test_an_image_of_unknown_size_does_not_disturb() -> None:
    """check goes on where the header of a picture cannot be read; such a picture has no boxes."""
    data = dataset([60.0])
    damaged = replace(
        data,
        image_paths=[*data.image_paths, Path("b.jpg")],
        image_ids=np.array([1, 2]),
        image_sizes_wh=np.array([[640, 640], [0, 0]], np.int32),
        box_offsets=np.array([0, 1, 1]),
    )
    assert advise(damaged) == advise(data)
