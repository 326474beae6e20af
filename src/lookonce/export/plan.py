"""What an exported file shall take, hold and give."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Outputs = Literal["detections", "decoded", "raw"]
Precision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True, kw_only=True)
class ExportPlan:
    """outputs: detections after suppression; decoded boxes and scores; or raw heads. batch: pictures at once, 0 for any
    number. dynamic_size: any multiple of 32 for either side. preprocess: the file takes pixels, not normalised numbers.
    precision: fp16 stores weights in 16 bits; int8 also computes in 8, with ranges measured on `calibration`, canvases
    (B, H, W, 3) uint8 RGB.
    """

    outputs: Outputs = "detections"
    batch: int = 0
    dynamic_size: bool = False
    preprocess: bool = True
    precision: Precision = "fp32"
    calibration: NDArray[np.uint8] | None = None
