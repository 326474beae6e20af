"""What a detector says about one picture."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Detections:
    """N boxes of one picture, best score first.

    boxes_xyxy (N, 4) float32 pixels; scores (N,) float32 in 0..1; labels (N,) int64, the index of the class name.
    """

    boxes_xyxy: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.scores)

    @staticmethod
    def none() -> "Detections":
        """An empty picture."""
        return Detections(
            boxes_xyxy=np.zeros((0, 4), np.float32), scores=np.zeros(0, np.float32), labels=np.zeros(0, np.int64)
        )

    def select(self, rows: NDArray[np.bool_] | NDArray[np.integer]) -> "Detections":
        """The given rows, in the given order."""
        return Detections(boxes_xyxy=self.boxes_xyxy[rows], scores=self.scores[rows], labels=self.labels[rows])
