"""Who answers for which box: by hand, and against plain loops."""

import pytest
import torch

from lookonce.model.assign import BestAnchors, HeadPrediction, Targets, TaskAligned
from lookonce.model.decode import decode_boxes
from lookonce.model.iou import iou
from lookonce.settings.dialects import DIALECTS

ANCHORS = (torch.tensor([[80.0, 80.0], [160.0, 160.0]]), torch.tensor([[10.0, 10.0], [30.0, 30.0]]))
STRIDES = (32, 16)


def heads(batch: int = 1, size: int = 128, seed: int | None = None) -> list[HeadPrediction]:
    generator = torch.Generator().manual_seed(seed or 0)
    result = []
    for anchors, stride in zip(ANCHORS, STRIDES, strict=True):
        shape = (batch, size // stride, size // stride, 2, 5 + 3)
        logits = torch.zeros(shape) if seed is None else torch.randn(shape, generator=generator)
        boxes = decode_boxes(logits[..., :4], anchors, stride, DIALECTS["ultralytics"])
        result.append(HeadPrediction(boxes, logits, anchors, stride))
    return result


def targets(*boxes: list[float], labels: list[int] | None = None, crowd: list[bool] | None = None) -> Targets:
    count = len(boxes)
    return Targets.from_flat(
        torch.tensor(boxes).view(-1, 4).float(),
        torch.tensor(labels or [0] * count, dtype=torch.int64),
        torch.zeros(count, dtype=torch.int64),
        torch.tensor(crowd or [False] * count, dtype=torch.bool),
        batch_size=1,
    )


def test_a_box_goes_to_the_cell_of_its_centre_and_its_best_anchor():
    assigned_maps = BestAnchors()(
        heads(), targets([35, 55, 45, 65])
    )  # centre 40, 60 -> column 2, row 3 of stride 16; 10 x 10
    assert (assigned_maps[0] == -1).all()
    assert torch.nonzero(assigned_maps[1] >= 0).tolist() == [[0, 3, 2, 0]]


def test_every_anchor_over_the_threshold_takes_part():
    assigned_maps = BestAnchors(iou_threshold=0.1)(heads(), targets([32, 52, 48, 68]))  # 16 x 16: IoU 100/256, 256/900
    assert torch.nonzero(assigned_maps[1] >= 0).tolist() == [[0, 3, 2, 0], [0, 3, 2, 1]]


def test_neighbours_are_the_nearest_cells_inside_the_image():
    assigned_maps = BestAnchors(neighbours=True)(
        heads(), targets([0, 55, 10, 65])
    )  # centre 5, 60: left edge is outside
    assert torch.nonzero(assigned_maps[1] >= 0)[:, 1:3].tolist() == [[3, 0], [4, 0]]  # 60 / 16 = 3.75: the row below


def test_the_later_of_two_boxes_on_one_prediction_owns_it():
    assigned_maps = BestAnchors()(heads(), targets([35, 55, 45, 65], [36, 56, 46, 66]))
    assert assigned_maps[1][0, 3, 2, 0] == 1


def test_crowds_and_empty_images_own_nothing():
    for assigner in (BestAnchors(), TaskAligned()):
        for batch in (targets([35, 55, 45, 65], crowd=[True]), targets()):
            assert all((assigned == -1).all() for assigned in assigner(heads(), batch))


def test_padding_keeps_each_image_apart():
    batch = Targets.from_flat(
        torch.arange(12.0).view(3, 4),
        torch.tensor([1, 2, 0]),
        torch.tensor([0, 2, 2]),
        torch.zeros(3, dtype=torch.bool),
        batch_size=4,
    )
    assert batch.labels.shape == (4, 8)
    assert batch.labels[:, :2].tolist() == [[1, -1], [-1, -1], [2, 0], [-1, -1]]
    assert batch.boxes_xyxy[2, 1].tolist() == [8, 9, 10, 11]


@pytest.mark.parametrize(("most", "padded"), [(0, 8), (8, 8), (9, 16), (16, 16), (17, 32), (90, 128)])
def test_few_numbers_of_padded_boxes_occur(most, padded):
    assert targets(*[[0, 0, 8, 8]] * most).labels.shape == (1, padded)


def test_task_aligned_equals_a_plain_loop():
    predictions, batch = (
        heads(seed=3),
        targets([10, 10, 60, 70], [40, 30, 90, 90], [100, 100, 108, 110], labels=[0, 1, 2]),
    )
    assigner = TaskAligned(top=4)
    assigned_maps = assigner(predictions, batch)
    expected = plain_task_aligned(predictions, batch, assigner)
    assert torch.cat([assigned.flatten() for assigned in assigned_maps]).tolist() == expected
    assert {0, 1, 2} <= set(expected)


def plain_task_aligned(predictions, batch, assigner):
    flat = [
        (
            head.boxes_xyxy[0, row, column, anchor],
            head.logits[0, row, column, anchor],
            (column + 0.5) * head.stride,
            (row + 0.5) * head.stride,
            head.stride,
        )
        for head in predictions
        for row in range(head.grid[0])
        for column in range(head.grid[1])
        for anchor in range(2)
    ]
    best_overlap, assigned = [-1.0] * len(flat), [-1] * len(flat)
    for index in range(3):
        box, label = batch.boxes_xyxy[0, index], batch.labels[0, index]
        middle_x, middle_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        ranked = []
        for place, (predicted, logits, x, y, stride) in enumerate(flat):
            near_x = box[0] <= x <= box[2] or abs(x - middle_x) < stride
            near_y = box[1] <= y <= box[3] or abs(y - middle_y) < stride
            overlap = iou(predicted, box).item()
            score = (logits[4].sigmoid() * logits[5 + label].sigmoid()).item()
            quality = score**assigner.alpha * overlap**assigner.beta
            if near_x and near_y and quality > 0:
                ranked.append((quality, place, overlap))
        for _, place, overlap in sorted(ranked, reverse=True)[: assigner.top]:
            if overlap > best_overlap[place]:
                best_overlap[place], assigned[place] = overlap, index
    return assigned
