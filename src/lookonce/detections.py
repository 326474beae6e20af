"""The detections of one image."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Detections:
    """N detections of one image, highest score first.

    boxes_xyxy (N, 4) float32 pixels; scores (N,) float32 in 0..1; labels (N,) int64, indices of the class names.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    @staticmethod
    def none() -> "Detections":
        return Detections(
            boxes_xyxy=np.zeros((0, 4), np.float32), scores=np.zeros(0, np.float32), labels=np.zeros(0, np.int64)
        )

    def select(self, rows: NDArray[np.bool_] | NDArray[np.integer]) -> "Detections":
        """The given rows, in the given order; or those where a mask is True."""
        return Detections(boxes_xyxy=self.boxes_xyxy[rows], scores=self.scores[rows], labels=self.labels[rows])
