"""The backbone of YOLOv3-Tiny: seven convolutions and six max pools; and ConvBlock, the block of the whole network.

Source: Redmon & Farhadi 2018 and yolov3-tiny.cfg; the convolutions are numbered as in the model zoo.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from lookonce.model.convolution import convolve
from lookonce.settings.dialects import Activation, PoolEdge


def activate(x: Tensor, activation: Activation) -> Tensor:
    """LeakyReLU with slope 0.1 (Darknet's `leaky`), ReLU or SiLU."""
    if activation == "leaky":
        return F.leaky_relu(x, 0.1)
    return F.silu(x) if activation == "silu" else F.relu(x)


def pool_same(x: Tensor, edge: PoolEdge = "repeat") -> Tensor:
    """2x2 max pool with stride 1 over each pixel and its right and lower neighbours, (B, C, H, W) -> the same shape.

    Darknet pads right and bottom with -FLT_MAX (maxpool_layer.c). Repeating the last row and column gives the same
    maxima, and is the only form that every exporter converts correctly. Zero padding gives another network, that of
    Ultralytics. none: no pool.
    """
    if edge == "none":
        return x
    if edge == "zero":
        return F.max_pool2d(F.pad(x, (0, 1, 0, 1)), 2, 1)
    return F.max_pool2d(F.pad(x, (0, 1, 0, 1), mode="replicate"), 2, 1)


class ConvBlock(nn.Module):
    """Convolution without bias, BatchNorm, activation; (B, in, H, W) -> (B, out, H, W); `then_pool` halves H and W."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        activation: Activation,
        batchnorm_eps: float,
        then_pool: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False)
        self.norm = nn.BatchNorm2d(out_channels, eps=batchnorm_eps, momentum=0.1)
        self.activation: Activation = activation
        self.then_pool = then_pool

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(convolve(x, self.conv))
        if self.then_pool and self.activation != "silu":
            # LeakyReLU and ReLU are monotonic, so pooling first gives the same values with a quarter of the
            # activations. A training step is 1.05-1.25 times as fast on two cores. SiLU decreases below -1.28.
            return activate(F.max_pool2d(x, 2), self.activation)
        x = activate(x, self.activation)
        return F.max_pool2d(x, 2) if self.then_pool else x


class DarknetTiny(nn.Module):
    """(B, 3, H, W) -> the maps of stride 8, 16 and 32: (B, channels[3], H/8, W/8), [4] and /16, [6] and /32.

    Without `with_stride_8` the first returned map is already max-pooled; only the next layer uses it.
    """

    def __init__(
        self,
        channels: tuple[int, ...],
        *,
        activation: Activation,
        batchnorm_eps: float,
        pool_edge: PoolEdge = "repeat",
        with_stride_8: bool = False,
    ) -> None:
        super().__init__()
        self.pool_edge: PoolEdge = pool_edge
        self.with_stride_8 = with_stride_8

        def block(index: int, *, then_pool: bool = False) -> ConvBlock:
            before = 3 if index == 0 else channels[index - 1]
            return ConvBlock(
                before, channels[index], 3, activation=activation, batchnorm_eps=batchnorm_eps, then_pool=then_pool
            )

        self.conv0 = block(0, then_pool=True)
        self.conv1 = block(1, then_pool=True)
        self.conv2 = block(2, then_pool=True)
        self.conv3 = block(3, then_pool=not with_stride_8)
        self.conv4 = block(4)
        self.conv5 = block(5)
        self.conv6 = block(6)

    @property
    def stages(self) -> tuple[ConvBlock, ...]:
        """The seven convolution blocks, from input to output."""
        return (self.conv0, self.conv1, self.conv2, self.conv3, self.conv4, self.conv5, self.conv6)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        stride_8 = self.conv3(self.conv2(self.conv1(self.conv0(images))))
        stride_16 = self.conv4(F.max_pool2d(stride_8, 2) if self.with_stride_8 else stride_8)
        stride_32 = self.conv5(F.max_pool2d(stride_16, 2))
        return stride_8, stride_16, self.conv6(pool_same(stride_32, self.pool_edge))
