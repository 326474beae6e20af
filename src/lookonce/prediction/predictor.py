"""Pictures through a detector, with reading, detecting and the caller's own work side by side."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.errors import DataError
from lookonce.prediction.sources import PictureSource
from lookonce.runtimes.detector import Detector

NUM_READERS = 2

Picture = NDArray[np.uint8]
Outcome = Picture | DataError
Unreadable = Callable[[PictureSource, DataError], None]


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """What was found in one picture. image (H, W, 3) uint8 RGB, upright; detections in its pixels, best first."""

    source: PictureSource
    image: Picture
    detections: Detections


def predict(
    detector: Detector,
    sources: Iterable[PictureSource],
    *,
    batch_size: int = 4,
    on_unreadable: Unreadable | None = None,
) -> Iterator[Prediction]:
    """One Prediction a readable picture, in the order of `sources`.

    A picture that cannot be read is told to on_unreadable, in its turn, and left out; without on_unreadable its
    DataError is raised. While the caller handles a batch the next one is being detected and the one after it read, so
    at most three batches of pictures are in memory. What is found in a picture does not depend on its batch.
    """
    with (
        ThreadPoolExecutor(NUM_READERS, "lookonce-read") as readers,
        ThreadPoolExecutor(1, "lookonce-detect") as runner,
    ):
        pending: deque[Future[list[Prediction]]] = deque()
        pictures = _readable(_read_ahead(readers, sources, ahead=batch_size), on_unreadable)
        while batch := list(islice(pictures, batch_size)):
            pending.append(runner.submit(_detect, detector, batch))
            if len(pending) > 1:
                yield from pending.popleft().result()
        for future in pending:
            yield from future.result()


def _read_ahead(
    readers: Executor, sources: Iterable[PictureSource], *, ahead: int
) -> Iterator[tuple[PictureSource, Outcome]]:
    """Pictures, or why they cannot be read, in order; up to `ahead` are read before they are asked for."""
    remaining = iter(sources)
    waiting = deque((source, readers.submit(_read, source)) for source in islice(remaining, ahead))
    try:
        while waiting:
            source, future = waiting.popleft()
            outcome = future.result()
            waiting.extend((more, readers.submit(_read, more)) for more in islice(remaining, 1))
            yield source, outcome
    finally:
        for _, future in waiting:
            future.cancel()


def _read(source: PictureSource) -> Outcome:
    try:
        return source.read()
    except DataError as error:
        return error


def _readable(
    outcomes: Iterator[tuple[PictureSource, Outcome]], on_unreadable: Unreadable | None
) -> Iterator[tuple[PictureSource, Picture]]:
    for source, outcome in outcomes:
        if not isinstance(outcome, DataError):
            yield source, outcome
        elif on_unreadable is None:
            raise outcome
        else:
            on_unreadable(source, outcome)


def _detect(detector: Detector, batch: list[tuple[PictureSource, Picture]]) -> list[Prediction]:
    found = detector.detect([image for _, image in batch])
    return [
        Prediction(source=source, image=image, detections=detections)
        for (source, image), detections in zip(batch, found, strict=True)
    ]
