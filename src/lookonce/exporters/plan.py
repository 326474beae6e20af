"""The options of an export: input, precision and outputs of the file."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lookonce.errors import needing_extra

Outputs = Literal["detections", "decoded", "raw", "packed", "padded"]
Precision = Literal["fp32", "fp16", "int8"]
LOWEST_OPSET = 13  # of any graph of ours: earlier ones have no Resize without a region of interest


def highest_opset() -> int:
    """The newest opset that the package onnx knows."""
    with needing_extra("export to .onnx", "train"):
        from onnx.defs import onnx_opset_version  # takes 0.2 s, which few exports need here
    return int(onnx_opset_version())


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """outputs: detections after NMS; decoded boxes and scores; raw heads; packed: decoded boxes and scores as one
    array; padded: detections after NMS, the same number of rows for each image. batch: images per call, 0 for any
    number. dynamic_size: height and width may be any multiple of 32. preprocess: the file takes uint8 pixels instead of
    normalised values. opset: of ONNX's operators, 0 for 18. precision: fp16 stores weights in
    16 bits; int8 also computes in 8 bits, with ranges measured on `calibration`, network inputs (B, H, W, 3) uint8 RGB.
    """

    outputs: Outputs = "detections"
    batch: int = 0
    dynamic_size: bool = False
    preprocess: bool = True
    opset: int = 0
    precision: Precision = "fp32"
    calibration: NDArray[np.uint8] | None = None
