"""The interface of all runtimes, whichever library runs the network."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.settings.record import ModelRecord


class Runtime(Protocol):
    """A loaded network that turns preprocessed images into detections.

    record: its image_size is the size of the canvases. takes_any_size: whether they may have another one, which is then
    set there.
    """

    name: str
    record: ModelRecord

    @property
    def takes_any_size(self) -> bool: ...

    def detect(
        self,
        canvases: NDArray[np.uint8],
        *,
        score_threshold: float,
        iou_threshold: float,
        max_detections: int,
        multi_label: bool | None = None,
        agnostic: bool | None = None,
    ) -> list[Detections]:
        """One Detections per image, highest score first, boxes in pixels of the network input.

        canvases (B, H, W, 3) uint8 RGB at the network's input size (already letterboxed or stretched).
        A pair of box and class is a candidate when objectness * class probability > score_threshold; with multi_label
        False only the best class of each box. The best 2,000 candidates of an image go into non-maximum suppression,
        per class or agnostic; the best max_detections are kept. multi_label, agnostic: None for the record's value.
        """
        ...
