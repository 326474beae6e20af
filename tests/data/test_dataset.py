from pathlib import Path

import numpy as np

from lookonce.data.dataset import Dataset


def test_images_are_taken_with_their_boxes_in_the_order_asked_for() -> None:
    """The first picture has one box, the second none, the third two."""
    dataset = Dataset(
        split="train",
        image_paths=[Path(name) for name in "abc"],
        image_ids=np.array([7, 8, 9]),
        image_sizes_wh=np.full((3, 2), 10, np.int32),
        box_offsets=np.array([0, 1, 1, 3]),
        boxes_xyxy=np.array([[0.0, 0, side, side] for side in (1, 2, 3)]),
        labels=np.array([0, 1, 0]),
        crowd=np.array([False, False, True]),
        areas=np.array([1.0, 4.0, 9.0]),
        class_names=("x", "y"),
        category_ids=(1, 2),
    )
    taken = dataset.take([2, 1])
    assert [path.name for path in taken.image_paths] == ["c", "b"]
    assert (taken.image_ids.tolist(), taken.box_offsets.tolist()) == ([9, 8], [0, 2, 2])
    assert (taken.areas.tolist(), taken.labels.tolist(), taken.crowd.tolist()) == ([4, 9], [1, 0], [False, True])
    assert [len(dataset.head(count)) for count in (2, 9)] == [2, 3]
    assert dataset.head(1).boxes_xyxy.tolist() == [[0, 0, 1, 1]]
