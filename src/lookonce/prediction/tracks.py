"""Tracks objects across frames with ByteTrack (edgefirst-tracker, the extra `track`)."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.errors import MissingExtra
from lookonce.prediction.predictor import Prediction
from lookonce.prediction.sources import Clip

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
    try:
        from edgefirst.tracker import ByteTrack
    except ModuleNotFoundError as error:
        raise MissingExtra("tracking", "track") from error
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
        self._numbers: dict[str, int] = {}  # the library's own track names are random
        self._count = 0

    def update(self, found: Detections, seconds: float) -> NDArray[np.int64]:
        """(N,) track ID of each detection, 0: no track. seconds must increase from call to call."""
        tracks = self._tracker.update(
            found.boxes_xyxy.astype(np.float32),
            found.scores.astype(np.float32),
            found.labels.astype(np.uint64),
            round(seconds * NANOSECONDS),
        )
        if len(self._numbers) > REMEMBERED:
            alive = {active.info.uuid for active in self._tracker.get_active_tracks()}
            self._numbers = {name: number for name, number in self._numbers.items() if name in alive}
        return np.array([0 if track is None else self._number(track.uuid) for track in tracks], np.int64)

    def _number(self, name: str) -> int:
        if name not in self._numbers:
            self._count += 1
            self._numbers[name] = self._count
        return self._numbers[name]


def track(predictions: Iterator[Prediction], *, threshold: float) -> Iterator[Prediction]:
    """The predictions with their track_ids. Each clip has its own tracker; images without a clip are treated as
    consecutive frames of one scene."""
    clip: Clip | None = None
    tracker, count = Tracker(threshold=threshold), 0
    for one in predictions:
        if one.source.clip is not clip:
            clip, tracker, count = one.source.clip, Tracker(threshold=threshold), 0
        seconds = float(one.source.seconds) if clip else count * IMAGE_SECONDS
        yield replace(one, track_ids=tracker.update(one.detections, seconds))
        count += 1
