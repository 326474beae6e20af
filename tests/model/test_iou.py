"""Overlaps worked out by hand."""

import pytest
import torch

from lookonce.model.iou import iou, wh_iou

A = torch.tensor([0.0, 0.0, 10.0, 10.0])


@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
def test_equal_boxes_overlap_wholly(kind):
    assert iou(A, A, kind).item() == pytest.approx(1, abs=1e-6)


def test_half_covered():
    half = torch.tensor([5.0, 0.0, 15.0, 10.0])  # overlap 50, union 150, hull 150, centres 5 apart, diagonal² 325
    assert iou(A, half).item() == pytest.approx(1 / 3)
    assert iou(A, half, "giou").item() == pytest.approx(1 / 3)
    assert iou(A, half, "diou").item() == pytest.approx(1 / 3 - 25 / 325)
    assert iou(A, half, "ciou").item() == pytest.approx(1 / 3 - 25 / 325)  # same aspect


def test_boxes_apart_in_both_axes_do_not_overlap():
    far = torch.tensor([20.0, 20.0, 30.0, 30.0])  # hull 900, union 200
    assert iou(A, far).item() == 0
    assert iou(A, far, "giou").item() == pytest.approx(-700 / 900)


def test_a_box_without_area_gives_no_nan():
    point = torch.tensor([5.0, 5.0, 5.0, 5.0], requires_grad=True)
    for kind in ("iou", "giou", "diou", "ciou"):
        value = iou(point, A, kind)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(point.grad).all()


def test_sizes_that_share_a_centre():
    sizes = torch.tensor([[10.0, 20.0]])[:, None]
    assert wh_iou(sizes, torch.tensor([[20.0, 10.0], [10.0, 20.0]])).tolist() == [[pytest.approx(100 / 300), 1.0]]
