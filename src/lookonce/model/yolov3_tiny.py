"""The network YOLOv3-Tiny: backbone, a neck of four convolutions, two heads (or three).

Source: Redmon & Farhadi 2018; yolov3-tiny.cfg.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lookonce.model.backbone import ConvBlock, DarknetTiny
from lookonce.settings.dialects import Activation, PoolEdge
from lookonce.settings.record import FULL_CHANNELS, scaled_channels

__all__ = ["YoloV3Tiny", "initialise", "scaled_channels", "upsample"]


class YoloV3Tiny(nn.Module):
    """Images (B, 3, H, W), normalised float, H and W multiples of 32 -> raw maps of stride 32 and 16 (and 8).

    channels: as in record.FULL_CHANNELS; 0 at index 7 or 8 omits that convolution. Thirteen counts add a third head of
    stride 8 as in yolov3-tiny_3l.cfg: index 11 is its lateral 1x1, index 12 the convolution before the head.
    A raw map is (B, A * (5 + C), H / stride, W / stride): for each of the A anchors x, y, w, h, objectness and C class
    logits, without sigmoid; `decode` turns them into boxes and probabilities.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        channels: Sequence[int] = FULL_CHANNELS,
        num_anchors: Sequence[int] = (3, 3),
        activation: Activation = "leaky",
        batchnorm_eps: float = 1e-3,
        pool_edge: PoolEdge = "repeat",
    ) -> None:
        super().__init__()
        two_heads, three_heads = len(FULL_CHANNELS), len(FULL_CHANNELS) + 2
        if len(channels) != {2: two_heads, 3: three_heads}.get(len(num_anchors)):
            raise ValueError(
                f"channels: {len(channels)} counts for {len(num_anchors)} heads; expected {two_heads} counts for two "
                f"heads, {three_heads} for three"
            )
        self.num_classes = num_classes
        self.num_anchors = tuple(num_anchors)
        self.channels = tuple(channels)
        outputs = 5 + num_classes

        def block(in_channels: int, out_channels: int, kernel_size: int) -> nn.Module:
            if out_channels == 0:
                return nn.Identity()
            return ConvBlock(in_channels, out_channels, kernel_size, activation=activation, batchnorm_eps=batchnorm_eps)

        self.backbone = DarknetTiny(
            self.channels,
            activation=activation,
            batchnorm_eps=batchnorm_eps,
            pool_edge=pool_edge,
            with_stride_8=len(num_anchors) == 3,
        )
        shared = channels[7] or channels[6]
        self.neck7 = block(channels[6], channels[7], 1)
        self.neck8 = block(shared, channels[8], 3)
        self.head32 = nn.Conv2d(channels[8] or shared, num_anchors[0] * outputs, 1)
        self.lateral9 = block(shared, channels[9], 1)
        self.neck10 = block(channels[9] + channels[4], channels[10], 3)
        self.head16 = nn.Conv2d(channels[10], num_anchors[1] * outputs, 1)
        if len(num_anchors) == 3:
            self.lateral11 = block(channels[10], channels[11], 1)
            self.neck12 = block(channels[11] + channels[3], channels[12], 3)
            self.head8 = nn.Conv2d(channels[12], num_anchors[2] * outputs, 1)

    @property
    def heads(self) -> list[nn.Conv2d]:
        """The head convolutions in the order of the outputs: stride 32, 16 (and 8)."""
        return [self.head32, self.head16, *([self.head8] if len(self.num_anchors) == 3 else [])]

    def forward(self, images: Tensor) -> list[Tensor]:
        stride_8, stride_16, stride_32 = self.backbone(images)
        shared = self.neck7(stride_32)
        raw_32 = self.head32(self.neck8(shared))
        medium = self.neck10(torch.cat([upsample(self.lateral9(shared)), stride_16], dim=1))
        raws = [raw_32, self.head16(medium)]
        if len(self.num_anchors) == 3:
            fine = self.neck12(torch.cat([upsample(self.lateral11(medium)), stride_8], dim=1))
            raws.append(self.head8(fine))
        return raws


def upsample(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, C, 2H, 2W), nearest neighbour."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


@torch.no_grad()
def initialise(model: YoloV3Tiny, generator: torch.Generator, *, objectness_prior: float = 0.01) -> None:
    """Initialise the weights from `generator`: He normal for the convolutions, a prior in the heads' biases.

    objectness_prior: initial objectness probability. With 0.5 the loss of the thousands of background predictions would
    dominate the first steps (Lin et al. 2017, RetinaNet, section 3.3).
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            fan_in = module.in_channels * module.kernel_size[0] * module.kernel_size[1]
            module.weight.normal_(0, math.sqrt(2 / fan_in), generator=generator)
    for head, num_anchors in zip(model.heads, model.num_anchors, strict=True):
        head.weight.normal_(0, 0.01, generator=generator)
        # With these biases the box is the anchor, objectness is the prior, and all classes have the same probability.
        assert head.bias is not None
        bias = head.bias.zero_().view(num_anchors, 5 + model.num_classes)
        bias[:, 4] = _logit(objectness_prior)
        bias[:, 5:] = _logit(1 / max(model.num_classes, 2))


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))
