"""The three ways in which the field reads YOLOv3-Tiny's head: one table.

The network's shape is the same in all of them; what differs is how a raw output becomes a box, the activation
and the constant inside BatchNorm. Decoding, the loss, the exporters and the runtimes read this table.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

Activation = Literal["leaky", "silu"]


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


DIALECTS: dict[str, Dialect] = {
    # pjreddie/darknet and AlexeyAB/darknet; the genuine COCO activations come out to 1.2e-5 with eps 1e-3; no other
    # value does: 1e-6 and 0 are off by up to 3e-2.
    "darknet": Dialect(
        name="darknet", activation="leaky", center_scales={32: 1.0, 16: 1.0}, size_rule="exp", batchnorm_eps=1e-3
    ),
    "mindspore": Dialect(
        name="mindspore", activation="leaky", center_scales={32: 1.1, 16: 1.2}, size_rule="exp", batchnorm_eps=1e-5
    ),
    # LeakyReLU up to release 9.5, SiLU from 9.6: a file says which.
    "ultralytics": Dialect(
        name="ultralytics", activation="silu", center_scales={32: 2.0, 16: 2.0}, size_rule="square", batchnorm_eps=1e-3
    ),
}
