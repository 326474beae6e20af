"""The three dialects of YOLOv3-Tiny's heads: one table.

The architecture is the same in all of them; they differ in box decoding, activation and BatchNorm epsilon. Decoding,
the loss, the exporters and the runtimes read this table.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Activation = Literal["leaky", "relu", "silu"]
PoolEdge = Literal["repeat", "zero", "none"]


class Dialect(BaseModel):
    """Rules that decode raw head outputs (x, y, w, h, objectness, classes) to boxes.

    centre, in cells: s * sigmoid(xy) - (s - 1) / 2 + cell, with s = center_scales[stride] (1 in Darknet).
    size, in pixels: exp(wh) * anchor for "exp", (2 * sigmoid(wh))**2 * anchor for "square".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    activation: Activation
    center_scales: dict[int, Annotated[float, Field(ge=0.1, le=10)]]
    size_rule: Literal["exp", "square"]
    batchnorm_eps: float = Field(ge=0, le=1)
    # Padding of the stride-1 pool, right and bottom: the edge repeated (equal to Darknet's -inf), or zeros; none: the
    # network has no such pool, as for chips that cannot run one.
    pool_edge: PoolEdge = "repeat"


DIALECTS: dict[str, Dialect] = {
    # pjreddie/darknet, AlexeyAB/darknet and OpenCV's Darknet reader: raw heads agree to 1.2e-4 with epsilon 1e-6, and
    # differ by 0.86 with 1e-3 (docs/decisions/0009-darknet-epsilon.md).
    "darknet": Dialect(
        name="darknet", activation="leaky", center_scales={32: 1.0, 16: 1.0}, size_rule="exp", batchnorm_eps=1e-6
    ),
    "mindspore": Dialect(
        name="mindspore", activation="leaky", center_scales={32: 1.1, 16: 1.2}, size_rule="exp", batchnorm_eps=1e-5
    ),
    # LeakyReLU up to release 9.5, SiLU from 9.6: each file records which. Ultralytics' own networks pad the pool with
    # zeros. Only PyTorch's own compiler handles that correctly everywhere, so networks trained here repeat the edge.
    "ultralytics": Dialect(
        name="ultralytics", activation="silu", center_scales={32: 2.0, 16: 2.0}, size_rule="square", batchnorm_eps=1e-3
    ),
}
