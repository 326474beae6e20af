from collections.abc import Callable

from lookonce.data.dataset import Dataset


def test_pictures_are_taken_with_their_boxes_in_the_order_asked_for(make_dataset: Callable[..., Dataset]) -> None:
    boxes = [[[0, 0, 1, 1]], [], [[0, 0, 2, 2], [0, 0, 3, 3]]]
    dataset = make_dataset(boxes, [[0], [], [1, 0]])
    taken = dataset.take([2, 1])
    assert taken.box_offsets.tolist() == [0, 2, 2]
    assert taken.boxes_xyxy[:, 2].tolist() == [2, 3]
    assert taken.labels.tolist() == [1, 0]
    assert taken.image_ids.tolist() == dataset.image_ids[[2, 1]].tolist()
    assert len(dataset.head(2)) == 2
    assert len(dataset.head(9)) == 3
