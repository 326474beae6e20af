"""The three ways in which the field reads YOLOv3-Tiny's head: one table.

The network's shape is the same in all of them; what differs is how a raw output becomes a box, the activation
and the constant inside BatchNorm. Decoding, the loss, the exporters and the runtimes read this table.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Activation = Literal["leaky", "silu"]
PoolEdge = Literal["repeat", "zero"]


class Dialect(BaseModel):
    """How raw head outputs (x, y, w, h, objectness, classes) become a box.

    centre, in cells: s * sigmoid(xy) - (s - 1) / 2 + cell, with s = center_scales[stride]; 1 is Darknet's plain one.
    size, in pixels: exp(wh) * anchor for "exp", (2 * sigmoid(wh))**2 * anchor for "square".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    activation: Activation
    center_scales: dict[int, float]
    size_rule: Literal["exp", "square"]
    batchnorm_eps: float
    # Beyond the right and lower edge the stride-1 pool sees the edge again (Darknet's -inf gives the same), or zeros.
    pool_edge: PoolEdge = "repeat"


DIALECTS: dict[str, Dialect] = {
    # pjreddie/darknet, AlexeyAB/darknet and OpenCV's reader of their files, whose raw heads come out to 1.2e-4 with
    # 1e-6 and are off by 0.86 with 1e-3 (docs/decisions/0009-darknet-epsilon.md).
    "darknet": Dialect(
        name="darknet", activation="leaky", center_scales={32: 1.0, 16: 1.0}, size_rule="exp", batchnorm_eps=1e-6
    ),
    "mindspore": Dialect(
        name="mindspore", activation="leaky", center_scales={32: 1.1, 16: 1.2}, size_rule="exp", batchnorm_eps=1e-5
    ),
    # LeakyReLU up to release 9.5, SiLU from 9.6: a file says which. Its own networks pool with zeros beyond the edge,
    # which no compiler but PyTorch's own gets right everywhere, so networks trained here do not.
    "ultralytics": Dialect(
        name="ultralytics", activation="silu", center_scales={32: 2.0, 16: 2.0}, size_rule="square", batchnorm_eps=1e-3
    ),
}
