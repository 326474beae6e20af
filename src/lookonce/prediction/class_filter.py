"""Detections of selected classes only: `--classes`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.prediction.predictor import Detects
from lookonce.settings.names import few, require_one_of


class ClassFilter:
    """A detector that returns only the selected classes, at most max_detections per image.

    detector: expected to return all boxes, since the filter follows its NMS.
    """

    def __init__(self, detector: Detects, class_names: Sequence[str], classes: str, max_detections: int) -> None:
        self._detector, self._max_detections = detector, max_detections
        self._labels = chosen_labels(classes, class_names)

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        found = self._detector.detect(images)
        return [one.select(np.flatnonzero(np.isin(one.labels, self._labels))[: self._max_detections]) for one in found]


def chosen_labels(classes: str, class_names: Sequence[str]) -> list[int]:
    """Comma-separated class names or numbers -> labels; a name takes precedence over a number."""
    labels = []
    for word in (word.strip() for word in classes.split(",")):
        if word in class_names:
            labels.append(class_names.index(word))
        elif word.isdecimal() and int(word) < len(class_names):
            labels.append(int(word))
        else:
            require_one_of("classes", word, class_names, f"names or numbers of {few(class_names)}")
    return labels
