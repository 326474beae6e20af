"""Some classes alone."""

import numpy as np
import pytest
from raised import raises

from lookonce.detections import Detections
from lookonce.errors import SettingsError
from lookonce.prediction.class_filter import ClassFilter, chosen_labels

NAMES = ("car", "person", "2", "traffic light")


@pytest.mark.parametrize(
    ("classes", "labels"), [("person", [1]), ("car, traffic light", [0, 3]), ("3,0", [3, 0]), ("2", [2])]
)
def test_names_and_numbers(classes, labels):
    assert chosen_labels(classes, NAMES) == labels


@pytest.mark.parametrize(("classes", "told"), [("persn", " person"), ("4", "'4'"), ("car,", "empty"), ("", "empty")])
def test_what_the_weights_do_not_know_is_refused(classes, told):
    with raises(SettingsError, told, setting="classes"):
        chosen_labels(classes, NAMES)


def test_the_best_of_the_chosen_are_told_however_many_others_are_better():
    class Detector:
        def detect(self, images):
            labels = np.array([0, 0, 0, 1, 0, 1, 1])
            scores = np.linspace(0.9, 0.3, 7).astype(np.float32)
            return [Detections(boxes_xyxy=np.zeros((7, 4), np.float32), scores=scores, labels=labels) for _ in images]

    (found,) = ClassFilter(Detector(), NAMES, "person", 2).detect([np.zeros((1, 1, 3), np.uint8)])
    assert found.labels.tolist() == [1, 1]
    np.testing.assert_allclose(found.scores, [0.6, 0.4])
