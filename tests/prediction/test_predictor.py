"""Pictures through a detector, in order, with unreadable ones left out and told."""

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from raised import raises

from lookonce.detections import Detections
from lookonce.errors import DataError
from lookonce.prediction.media import ImageSource
from lookonce.prediction.predictor import predict


class Brightness:
    """A detector that finds one box, scored with the picture's brightness."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def detect(self, images: list[np.ndarray]) -> list[Detections]:
        self.batches.append(len(images))
        return [
            Detections(
                boxes_xyxy=np.array([[0, 0, 1, 1]], np.float32),
                scores=np.array([image.max() / 255], np.float32),
                labels=np.zeros(1, np.int64),
            )
            for image in images
        ]


def picture(value: int, name: str = "") -> ImageSource:
    _, content = cv2.imencode(".png", np.full((2, 3, 3), value, np.uint8))
    return ImageSource(name=name or str(value), place=Path(f"{value}.png"), content=content.tobytes())


def broken(name: str) -> ImageSource:
    return ImageSource(name=name, place=Path(name), content=b"")


def test_every_image_once_in_order_whatever_the_batch():
    for batch_size in (1, 2, 3, 7, 100):
        detector = Brightness()
        found = list(predict(detector, [picture(value) for value in range(7)], batch_size=batch_size))
        assert [one.source.name for one in found] == list("0123456")
        assert [round(float(one.detections.scores[0]) * 255) for one in found] == list(range(7))
        assert [one.image[0, 0, 0] for one in found] == list(range(7))
        assert sum(detector.batches) == 7
        assert max(detector.batches) <= batch_size


def test_a_padded_batch_is_full_and_gives_the_same():
    detector = Brightness()
    found = list(predict(detector, [picture(value) for value in range(7)], batch_size=4, num_readers=9, pad=True))
    assert [round(float(one.detections.scores[0]) * 255) for one in found] == list(range(7))
    assert detector.batches == [4, 4]


def test_unreadable_images_are_told_and_the_others_done():
    told: list[tuple[str, str | Path | None]] = []
    sources = [broken("first"), picture(1), broken("middle"), picture(2), broken("last")]
    found = predict(
        Brightness(), sources, batch_size=2, on_unreadable=lambda source, error: told.append((source.name, error.path))
    )
    assert [one.source.name for one in found] == ["1", "2"]
    assert told == [(name, name) for name in ("first", "middle", "last")]


def test_an_unreadable_image_is_an_error_when_nobody_listens():
    with raises(DataError, "0 bytes", path="middle"):
        list(predict(Brightness(), [picture(1), broken("middle")]))


def test_no_images():
    assert list(predict(Brightness(), [])) == []


def test_sources_are_read_as_they_are_needed_and_no_thread_is_left():
    taken = 0

    def sources():
        nonlocal taken
        for value in range(100):
            taken += 1
            yield picture(value)

    predictions = predict(Brightness(), sources(), batch_size=2)
    next(predictions)
    assert taken < 12
    predictions.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lookonce-")]


def test_an_error_in_the_detector_comes_out():
    class Failing:
        def detect(self, images):
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        list(predict(Failing(), [picture(1)]))
