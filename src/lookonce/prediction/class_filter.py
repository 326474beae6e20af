"""Some classes alone: `--classes`."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lookonce.config.names import suggestion
from lookonce.detections import Detections
from lookonce.errors import SettingsError
from lookonce.prediction.predictor import Detects

# Boxes to ask a detector for when some are left out afterwards: as many as go into suppression.
ALL_BOXES = 2000


class ClassFilter:
    """A detector that tells of some classes alone, at most so many boxes."""

    def __init__(self, detector: Detects, class_names: Sequence[str], classes: str, max_detections: int) -> None:
        self._detector, self._max_detections = detector, max_detections
        self._labels = chosen_labels(classes, class_names)

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        found = self._detector.detect(images)
        return [one.select(np.flatnonzero(np.isin(one.labels, self._labels))[: self._max_detections]) for one in found]


def chosen_labels(classes: str, class_names: Sequence[str]) -> list[int]:
    """Names or numbers, separated by commas -> labels; a name wins over a number."""
    labels = []
    for word in (word.strip() for word in classes.split(",")):
        if word in class_names:
            labels.append(class_names.index(word))
        elif word.isdecimal() and int(word) < len(class_names):
            labels.append(int(word))
        else:
            expected = suggestion(word, class_names) or f"; expected some of {', '.join(class_names)}"
            raise SettingsError(
                f"classes: the weights know no {word or 'class without a name'}{expected}",
                setting="classes",
                value=word,
            )
    return labels
