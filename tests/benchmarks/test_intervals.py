"""The simulation behind the intervals: with many rare classes only the shifted resamples cover the true score."""

from collections.abc import Callable
from types import ModuleType


def test_shifted_resamples_cover_the_score_of_many_rare_classes(script: Callable[[str], ModuleType]) -> None:
    intervals = script("intervals")
    case = intervals.Case(classes=40, images=300, skew=1.0, objects=4, population=4000)
    shares = intervals.coverage(case, number=50, resamples=50)
    # 95 % of 50 is 47.5 +- 1.5; as drawn about 75 % contain it.
    assert shares["AP"] >= 0.86
    assert shares["difference"] >= 0.86
    assert shares["AP as drawn"] < shares["AP"]
