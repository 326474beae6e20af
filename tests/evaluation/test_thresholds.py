import numpy as np
import pytest

from lookonce.evaluation.analysis import ImageErrors
from lookonce.evaluation.thresholds import mostly_wrong, threshold_that_shows


@pytest.mark.parametrize(
    ("scores", "num_objects", "expected"),
    [
        ([0.1234, 0.0567, 0.02], 2, 0.0567),  # two detections for two objects
        ([0.1234], 2, 0.123),
        ([0.9, 0.02], 10, None),  # one of ten objects is enough
        ([0.9, 0.0234], 11, 0.0234),
        ([], 2, None),
        ([0.1], 0, None),
        ([0.0], 1, 0.0),
    ],
)
def test_a_lower_threshold_shows_as_many_detections_as_objects(
    scores: list[float], num_objects: int, expected: float | None
) -> None:
    assert threshold_that_shows(np.array(scores), np.full(len(scores), 0.25), num_objects) == expected


@pytest.mark.parametrize(
    ("missed", "wrong", "num_objects", "is_said"),
    [
        ([1, 0], [200, 105], 4, True),  # 3 of 308
        ([1, 0], [20, 7], 4, False),  # 3 of 30
        ([2, 2], [1, 0], 4, True),  # 0 of 1
        ([2, 2], [0, 0], 4, False),  # no detections
        ([0, 0], [3, 0], 0, False),  # no objects
    ],
)
def test_a_detector_whose_detections_are_nearly_all_wrong_is_named(
    missed: list[int], wrong: list[int], num_objects: int, is_said: bool
) -> None:
    errors = ImageErrors(missed=np.array(missed), wrong=np.array(wrong))
    said = mostly_wrong(errors, num_objects, "a score of 0.25")
    assert bool(said) is is_said
    assert not said or f"{sum(wrong)} of" in said
