"""Runs a detector over images; reading, detection and the caller's own work overlap."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lookonce.detections import Detections
from lookonce.errors import DataError
from lookonce.letterbox import ImageArray
from lookonce.ordered import in_batches, ordered_map
from lookonce.prediction.media import NUM_READERS, ImageSource

# Batches in the detector at once: the first images of the next batch run beside the last of the current one.
NUM_RUNNERS = 2

Outcome = ImageArray | DataError
Unreadable = Callable[[ImageSource, DataError], None]


class Detects(Protocol):
    """Anything that detects objects: a Detector, a TiledDetector, a ClassFilter."""

    def detect(self, images: Sequence[ImageArray]) -> list[Detections]: ...


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Detections of one image. image (H, W, 3) uint8 RGB, upright; boxes in its pixels, highest score first.

    track_ids (N,) int64: track ID of each detection within the clip, from 1; 0: no track. None without tracking.
    """

    source: ImageSource
    image: ImageArray = field(repr=False)
    detections: Detections
    track_ids: NDArray[np.int64] | None = None


def predict(
    detector: Detects,
    sources: Iterable[ImageSource],
    *,
    batch_size: int = 4,
    num_readers: int = NUM_READERS,
    live: bool = False,
    pad: bool = False,
    on_unreadable: Unreadable | None = None,
) -> Iterator[Prediction]:
    """Yields one Prediction per readable image, in the order of `sources`.

    An unreadable image is skipped, and on_unreadable is called for it in order; without on_unreadable its DataError is
    raised. While the caller handles a batch, the next two are in the detector and two more are being read, by
    num_readers threads of one image each, so about five batches of images are in memory, or num_readers more than
    three. Detections do not depend on the batch on a CPU; on an accelerator they may depend on its size. pad: a
    batch that is not full gets copies of its last image. live: each result is yielded before the next frame is grabbed.
    """
    readers_ahead, batches_ahead = (0, 0) if live else (max(2 * batch_size, num_readers), NUM_RUNNERS)
    with (
        ThreadPoolExecutor(num_readers, "lookonce-read") as readers,
        ThreadPoolExecutor(NUM_RUNNERS, "lookonce-detect") as runners,
    ):
        images = _readable(ordered_map(readers, _read, sources, ahead=readers_ahead), on_unreadable)
        batches = in_batches(images, 1 if live else batch_size)
        size = batch_size if pad else 1
        for batch in ordered_map(runners, lambda batch: _detect(detector, batch, size), batches, ahead=batches_ahead):
            yield from batch


def _read(source: ImageSource) -> tuple[ImageSource, Outcome]:
    try:
        return source, source.read()
    except DataError as error:
        return source, error


def _readable(
    outcomes: Iterator[tuple[ImageSource, Outcome]], on_unreadable: Unreadable | None
) -> Iterator[tuple[ImageSource, ImageArray]]:
    for source, outcome in outcomes:
        if not isinstance(outcome, DataError):
            yield source, outcome
        elif on_unreadable is None:
            raise outcome
        else:
            on_unreadable(source, outcome)


def _detect(detector: Detects, batch: list[tuple[ImageSource, ImageArray]], size: int) -> list[Prediction]:
    images = [image for _, image in batch]
    found = detector.detect(images + images[-1:] * (size - len(images)))[: len(images)]
    return [
        Prediction(source=source, image=image, detections=detections)
        for (source, image), detections in zip(batch, found, strict=True)
    ]
