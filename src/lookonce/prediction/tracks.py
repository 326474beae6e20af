"""Tracks objects across frames with ByteTrack (edgefirst-tracker, the extra `track`)."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.errors import needing_extra
from lookonce.prediction.media import Clip
from lookonce.prediction.predictor import Prediction

# With the library's defaults (IoU 0.25, update factor 0.25), an object that moves by half its width between two frames
# loses its track; with these values it keeps it (tests/prediction/test_tracks.py).
MATCH_IOU = 0.1
TRUST_IN_NEWEST = 0.9
LOST_SECONDS = 1.0  # a track without a detection for longer than this ends; the object gets a new ID when it returns
SURE = 0.15  # added to the confidence threshold: scores above start a track, lower scores only continue one
REMEMBERED = 10_000  # number of track names kept before the ended ones are dropped
IMAGE_SECONDS = 1 / 25  # assumed time between images without timestamps
NANOSECONDS = 1_000_000_000


def require_tracker() -> Any:
    """The ByteTrack class. MissingExtra when the library is not installed."""
    with needing_extra("tracking", "track"):
        from edgefirst.tracker import ByteTrack
    return ByteTrack


class Tracker:
    """Assigns track IDs, from 1, to the objects of one clip. threshold: confidence threshold of the detections."""

    def __init__(self, *, threshold: float) -> None:
        self._tracker = require_tracker()(
            high_conf=min(threshold + SURE, 1.0),
            iou=MATCH_IOU,
            update=TRUST_IN_NEWEST,
            lifespan_ns=round(LOST_SECONDS * NANOSECONDS),
        )
        self._numbers: dict[str, int] = defaultdict(count(1).__next__)  # the library's own track names are random

    def update(self, found: Detections, seconds: float) -> NDArray[np.int64]:
        """(N,) track ID of each detection, 0: no track. seconds must increase from call to call."""
        tracks = self._tracker.update(
            found.boxes_xyxy.astype(np.float32),
            found.scores.astype(np.float32),
            found.labels.astype(np.uint64),
            round(seconds * NANOSECONDS),
        )
        if len(self._numbers) > REMEMBERED:
            for name in self._numbers.keys() - {active.info.uuid for active in self._tracker.get_active_tracks()}:
                del self._numbers[name]
        return np.array([0 if track is None else self._numbers[track.uuid] for track in tracks], np.int64)


def track(predictions: Iterator[Prediction], *, threshold: float) -> Iterator[Prediction]:
    """The predictions with their track_ids. Each clip has its own tracker; images without a clip are treated as
    consecutive frames of one scene."""
    clip: Clip | None = None
    tracker, number = Tracker(threshold=threshold), 0
    for one in predictions:
        if one.source.clip is not clip:
            clip, tracker, number = one.source.clip, Tracker(threshold=threshold), 0
        seconds = float(one.source.seconds) if clip else number * IMAGE_SECONDS
        yield replace(one, track_ids=tracker.update(one.detections, seconds))
        number += 1
