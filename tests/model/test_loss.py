"""The loss: by hand, its gradients, and that it teaches."""

import math

import torch

from lookonce.model.assign import BestAnchors, Targets
from lookonce.model.decode import decode_heads
from lookonce.model.iou import iou
from lookonce.model.loss import DetectionLoss, ignored_predictions
from lookonce.model.yolov3_tiny import YoloV3Tiny, initialise, scaled_channels
from lookonce.settings.dialects import DIALECTS

ANCHORS = (torch.tensor([[80.0, 80.0]]), torch.tensor([[10.0, 10.0]]))


def detection_loss(**changes) -> DetectionLoss:
    options = {"assigner": BestAnchors(), "dialect": DIALECTS["darknet"], "overlap_as_objectness": False} | changes
    return DetectionLoss(anchors=ANCHORS, strides=(32, 16), **options)


def one_box(*box: float, crowd: bool = False) -> Targets:
    flat = torch.tensor([box]).view(-1, 4)
    count = len(flat)
    zeros = torch.zeros(count, dtype=torch.int64)
    return Targets.from_flat(flat, zeros, zeros, torch.full((count,), crowd), batch_size=1)


def raw_maps(value: float = 0.0) -> list[torch.Tensor]:
    return [torch.full((1, 7, cells, cells), value, requires_grad=True) for cells in (2, 4)]


def test_a_perfect_box_costs_only_its_unsure_objectness_and_classes():
    # 10 x 10 around the middle of cell (1, 2) of stride 16: zero logits decode to it exactly.
    parts = detection_loss()(raw_maps(), one_box(19, 35, 29, 45))
    assert abs(parts.box.item()) < 1e-6
    assert math.isclose(parts.objectness.item(), 20 * math.log(2), rel_tol=1e-6)  # 4 + 16 predictions at 0.5
    assert math.isclose(parts.classes.item(), 2 * math.log(2), rel_tol=1e-6)  # 2 classes at 0.5
    assert math.isclose(parts.total.item(), (parts.box + parts.objectness + parts.classes).item(), rel_tol=1e-6)


def test_an_empty_image_teaches_objectness_alone():
    raws = raw_maps()
    parts = detection_loss()(raws, one_box())
    assert (parts.box.item(), parts.classes.item()) == (0, 0)
    parts.total.backward()
    assert all(torch.isfinite(raw.grad).all() for raw in raws)
    assert (raws[0].grad[:, 4] > 0).all()
    assert (raws[0].grad[:, [0, 1, 2, 3, 5, 6]] == 0).all()


def test_predictions_inside_a_crowd_are_not_called_background():
    # All 16 small predictions and the four of 80 x 80 pixels, whose part inside is over half, lie in the crowd.
    assert detection_loss()(raw_maps(), one_box(-80, -80, 160, 160, crowd=True)).objectness.item() == 0


def test_a_table_in_pieces_ignores_the_same_predictions(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(2, 20, 2, generator=generator) * 50
    boxes = torch.cat([corners, corners + 20], -1)
    predicted = boxes.repeat(1, 3, 1)[:, :48].view(2, 4, 4, 3, 4) + torch.randn(2, 4, 4, 3, 4, generator=generator)
    crowd = torch.arange(20).expand(2, 20) == 7
    targets = Targets(boxes, torch.arange(20).expand(2, 20) % 5, crowd)
    whole = ignored_predictions(predicted, targets, targets.real, 0.8)
    assert 0 < whole.sum() < whole.numel()
    for largest in (1, 2 * 48 * 6):  # one box at a time; 6, and the last 2
        monkeypatch.setattr("lookonce.model.loss.LARGEST_TABLE", largest)
        assert torch.equal(ignored_predictions(predicted, targets, targets.real, 0.8), whole)


def test_sums_may_be_divided_by_images_or_by_owners():
    boxes = one_box(19, 35, 29, 45)
    twice = Targets(boxes.boxes_xyxy.repeat(2, 1, 1), boxes.labels.repeat(2, 1), boxes.crowd.repeat(2, 1))
    raws = [torch.zeros(2, 7, cells, cells) for cells in (2, 4)]
    per_object = detection_loss()(raws, twice).total
    per_image = detection_loss(per_object=False)(raws, twice).total
    assert math.isclose(per_object.item(), per_image.item(), rel_tol=1e-6)  # two owners, two pictures


def test_label_smoothing_gives_a_part_of_the_target_to_the_other_classes():
    raws = raw_maps()
    with torch.no_grad():
        raws[1][:, 5] = 2.0
    smooth = detection_loss(label_smoothing=0.2)(raws, one_box(19, 35, 29, 45)).classes.item()
    cross_entropy = lambda logit, target: math.log1p(math.exp(logit)) - target * logit  # noqa: E731
    assert math.isclose(smooth, cross_entropy(2.0, 0.8) + cross_entropy(0.0, 0.2), rel_tol=1e-5)


def test_gradients_agree_with_differences():
    torch.manual_seed(0)
    loss = detection_loss(small_box_bonus=True, box_loss="giou", ignore_iou=1.0)
    boxes = one_box(17, 36, 31, 47)
    raw = [torch.randn(1, 7, cells, cells, dtype=torch.float32, requires_grad=True) for cells in (2, 4)]
    loss(raw, boxes).total.backward()
    for index in ((0, 0, 2, 1), (0, 2, 2, 1), (0, 4, 2, 1), (0, 5, 2, 1), (0, 4, 0, 0)):
        totals = []
        for step in (1e-2, -1e-2):
            moved = raw[1].detach().clone()
            moved[index] += step
            totals.append(loss([raw[0].detach(), moved], boxes).total.item())
        assert math.isclose((totals[0] - totals[1]) / 2e-2, raw[1].grad[index].item(), rel_tol=2e-2, abs_tol=2e-3)


def test_a_small_network_learns_an_image_by_heart():
    """With the assigner of Darknet; with the other one: training/test_engine.py."""
    model = YoloV3Tiny(2, channels=scaled_channels(1 / 8), num_anchors=(1, 1))
    initialise(model, torch.Generator().manual_seed(0))
    images = torch.zeros(1, 3, 64, 64)
    images[:, :, 35:45, 19:29] = 1.0
    loss = detection_loss(assigner=BestAnchors(), overlap_as_objectness=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    history = []
    for _ in range(120):
        total = loss(model(images), one_box(19, 35, 29, 45)).total
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        history.append(total.item())
    assert history[-1] < 0.4 * history[0]
    boxes, objectness, _ = decode_heads(model(images), ANCHORS, (32, 16), DIALECTS["darknet"])
    assert iou(boxes[0, objectness[0].argmax()], torch.tensor([19.0, 35, 29, 45])) > 0.7
