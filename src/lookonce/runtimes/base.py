"""What every runtime offers, whichever library runs the network."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lookonce.config.record import ModelRecord
from lookonce.detections import Detections


class Runtime(Protocol):
    """A loaded network that turns prepared pictures into detections."""

    name: str
    record: ModelRecord

    def detect(
        self,
        canvases: NDArray[np.uint8],
        *,
        score_threshold: float,
        iou_threshold: float,
        max_detections: int,
        multi_label: bool | None = None,
    ) -> list[Detections]:
        """Detections in pixels of the canvas, best first, one element a picture.

        canvases (B, H, W, 3) uint8 RGB at the network's input size (already letterboxed or stretched).
        A box and class pair is a candidate when objectness * class probability > score_threshold; without multi_label
        (None: as the record says) only that of each box's best class. The best 2,000 candidates of a picture go into
        per-class non-maximum suppression; the best max_detections survive.
        """
        ...
