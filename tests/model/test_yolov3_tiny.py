import torch
import torch.nn.functional as F
from raised import raises

from lookonce.model.backbone import pool_same
from lookonce.model.yolov3_tiny import YoloV3Tiny

CHANNELS = (4, 4, 4, 6, 4, 4, 8, 4, 4, 4, 4)


def test_thirteen_counts_make_a_third_head_of_stride_8() -> None:
    model = YoloV3Tiny(2, channels=(*CHANNELS, 4, 6), num_anchors=(3, 3, 2)).eval()
    shapes = [tuple(raw.shape) for raw in model(torch.zeros(1, 3, 64, 96))]
    assert shapes == [(1, 21, 2, 3), (1, 21, 4, 6), (1, 14, 8, 12)]


def test_the_third_head_changes_nothing_of_the_other_two() -> None:
    """conv3's pool is then taken after its activation, which comes to the same."""
    three = YoloV3Tiny(2, channels=(*CHANNELS, 4, 6), num_anchors=(3, 3, 3)).eval()
    two = YoloV3Tiny(2, channels=CHANNELS).eval()
    two.load_state_dict({name: array for name, array in three.state_dict().items() if name in two.state_dict()})
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    for one, other in zip(three(images)[:2], two(images), strict=True):
        torch.testing.assert_close(one, other)


def test_a_count_of_0_leaves_a_neck_out() -> None:
    model = YoloV3Tiny(2, channels=(*CHANNELS[:7], 0, 0, *CHANNELS[9:]))
    assert not any(name.startswith(("neck7", "neck8")) for name in model.state_dict())
    assert model.head32.in_channels == model.lateral9.conv.in_channels == CHANNELS[6]
    assert [raw.shape[2] for raw in model(torch.zeros(2, 3, 64, 64))] == [2, 4]


def test_counts_and_heads_must_fit() -> None:
    with raises(ValueError, "channels", "11", "3 heads"):
        YoloV3Tiny(2, channels=CHANNELS, num_anchors=(3, 3, 3))


def test_zeros_beyond_the_edge_are_another_pool() -> None:
    """All -1: the maximum with a zero beyond the edge is 0 in the last row and column, and -1 elsewhere."""
    x = torch.full((1, 1, 3, 3), -1.0)
    assert torch.equal(pool_same(x), x)
    expected = F.pad(torch.full((1, 1, 2, 2), -1.0), (0, 1, 0, 1))
    assert torch.equal(pool_same(x, "zero"), expected)
