"""The same number for the same thing, from frame to frame."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from raised import raises

from lookonce.detections import Detections
from lookonce.errors import MissingExtra
from lookonce.prediction.media import Clip, ImageSource
from lookonce.prediction.predictor import Prediction
from lookonce.prediction.tracks import Tracker, track

pytest.importorskip("edgefirst.tracker", reason="the extra `track` is not installed")
IMAGE = np.zeros((10, 10, 3), np.uint8)


def found(*boxes: tuple[float, ...], score: float = 0.9) -> Detections:
    return Detections(
        boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.full(len(boxes), score, np.float32),
        labels=np.zeros(len(boxes), np.int64),
    )


def clip(name: str) -> Clip:
    return Clip(name=name, place=Path(name), frames=list)


def frames(of: Clip, *detections: Detections) -> list[Prediction]:
    return [
        Prediction(
            source=ImageSource(name=of.name, place=of.place, clip=of, frame=number, seconds=Fraction(number, 25)),
            image=IMAGE,
            detections=one,
        )
        for number, one in enumerate(detections)
    ]


@pytest.mark.parametrize("step", [0, 5, 25])
def test_two_things_that_pass_each_other_keep_their_numbers(step):
    """50 pixels wide, up to half of that further in each frame, in opposite directions on two lanes."""
    tracker = Tracker(threshold=0.25)
    for number in range(30):
        right, left = 10 + step * number, 900 - step * number
        boxes = found((right, 20, right + 50, 70), (left, 90, left + 50, 140))
        assert tracker.update(boxes, number / 25).tolist() == [1, 2]


def test_a_thing_that_is_hidden_for_a_moment_keeps_its_number_and_gets_a_new_one_later():
    tracker = Tracker(threshold=0.25)
    here = found((10, 10, 60, 60))
    for number in range(5):
        tracker.update(here, number / 25)
    for number in range(5, 12):
        assert tracker.update(Detections.none(), number / 25).tolist() == []
    assert tracker.update(here, 12 / 25).tolist() == [1]
    for number in range(13, 80):
        tracker.update(Detections.none(), number / 25)
    assert tracker.update(here, 80 / 25).tolist() == [2]


def test_a_weak_detection_goes_on_with_a_track_and_begins_none():
    tracker = Tracker(threshold=0.25)
    box = (10, 10, 60, 60)
    assert tracker.update(found(box, score=0.3), 0).tolist() == [0]
    assert tracker.update(found(box, score=0.5), 0.04).tolist() == [1]
    assert tracker.update(found(box, score=0.3), 0.08).tolist() == [1]


def test_each_clip_counts_from_1_and_predictions_stay_as_they_were():
    one, other = clip("one"), clip("other")
    near, far = found((10, 10, 60, 60)), found((10, 10, 60, 60), (200, 10, 260, 60))
    given = [*frames(one, near, far), *frames(other, near)]
    tracked = list(track(iter(given), threshold=0.25))
    assert [each.track_ids.tolist() for each in tracked] == [[1], [1, 2], [1]]
    assert [each.detections for each in tracked] == [each.detections for each in given]


def test_numbers_go_up_though_names_of_the_gone_are_forgotten(monkeypatch):
    monkeypatch.setattr("lookonce.prediction.tracks.REMEMBERED", 3)
    tracker = Tracker(threshold=0.25)
    seen = [
        tracker.update(found((100 * number, 0, 100 * number + 50, 50)), 3.0 * number).tolist() for number in range(8)
    ]
    assert seen == [[number] for number in range(1, 9)]
    assert len(tracker._numbers) <= 4


def test_a_crowd_gets_the_same_numbers_on_every_run():
    def numbers() -> list[list[int]]:
        generator = np.random.default_rng(0)
        tracker, centers = Tracker(threshold=0.25), generator.uniform(0, 300, (30, 2))
        told = []
        for number in range(40):
            centers += generator.normal(0, 8, centers.shape)
            seen = centers[generator.random(30) > 0.2]
            told.append(tracker.update(found(*np.hstack([seen - 20, seen + 20])), number / 25).tolist())
        return told

    assert numbers() == numbers()


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "edgefirst.tracker", None)
    with raises(MissingExtra, extra="track"):
        Tracker(threshold=0.25)
