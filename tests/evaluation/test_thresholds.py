import numpy as np
import pytest

from lookonce.evaluation.thresholds import threshold_that_shows


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
