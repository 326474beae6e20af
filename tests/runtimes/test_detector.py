"""From pictures of any size to detections in their own pixels."""

import numpy as np
import pytest

from lookonce.detections import Detections
from lookonce.runtimes.detector import Detector
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord, Preprocessing, Thresholds


class Fixed:
    """A runtime that says the same of every canvas, and remembers what it was asked."""

    name = "fixed"

    def __init__(self, detections: Detections, **record: object) -> None:
        self.detections = detections
        self.record = ModelRecord(
            dialect=DIALECTS["darknet"], class_names=("cat", "dog"), category_ids=(1, 2), image_size=(64, 64), **record
        )
        self.asked: list[dict[str, float]] = []
        self.canvases: list[np.ndarray] = []

    def detect(self, canvases: np.ndarray, **thresholds: float) -> list[Detections]:
        self.asked.append(thresholds)
        self.canvases.append(canvases)
        return [self.detections.select(self.detections.scores > thresholds["score_threshold"]) for _ in canvases]


def found(*rows: tuple[float, ...]) -> Detections:
    """Rows of left, top, right, bottom, score, label."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(boxes_xyxy=table[:, :4], scores=table[:, 4], labels=table[:, 5].astype(np.int64))


IMAGE = np.full((64, 128, 3), 7, np.uint8)  # fills rows 16..48 of the canvas, at half its size


def test_boxes_come_back_in_pixels_of_the_image():
    detector = Detector(Fixed(found((8, 20, 16, 40, 0.9, 1))))
    (got,) = detector.detect([IMAGE])
    assert got.boxes_xyxy.tolist() == [[16, 8, 32, 48]]  # x * 2, (y - 16) * 2
    assert got.boxes_xyxy.dtype == np.float32
    assert got.labels.tolist() == [1]


def test_the_network_sees_the_canvas_that_training_saw():
    runtime = Fixed(found(), preprocessing=Preprocessing(pad_value=114))
    Detector(runtime).detect([IMAGE])
    (canvases,) = runtime.canvases
    assert canvases.shape == (1, 64, 64, 3)
    assert canvases[0, 0, 0].tolist() == [114, 114, 114]
    assert canvases[0, 32, 32].tolist() == [7, 7, 7]


def test_boxes_are_clipped_to_the_image_and_those_in_the_padding_left_out():
    detector = Detector(Fixed(found((-10, 20, 16, 90, 0.9, 0), (8, 2, 16, 14, 0.8, 0))))
    (got,) = detector.detect([IMAGE])
    assert got.boxes_xyxy.tolist() == [[0, 8, 32, 64]]


def test_thresholds_default_to_the_records():
    runtime = Fixed(
        found(), thresholds=Thresholds(score=0.4, iou=0.3, max_detections=7, multi_label=False, agnostic=True)
    )
    Detector(runtime).detect([IMAGE])
    given = {"iou_threshold": 0.5, "max_detections": 9, "multi_label": True, "agnostic": False}
    Detector(runtime, score_threshold=0.001, **given).detect([IMAGE])
    assert runtime.asked == [
        {"score_threshold": 0.4, "iou_threshold": 0.3, "max_detections": 7, "multi_label": False, "agnostic": True},
        {"score_threshold": 0.001, **given},
    ]


def test_a_box_under_the_threshold_of_its_class_suppresses_none_of_another_class():
    boxes = found((0, 20, 10, 40, 0.45, 0), (0, 20, 10, 40, 0.4, 1), (0, 20, 10, 41, 0.35, 1))
    thresholds = Thresholds(agnostic=True, per_class_score={"cat": 0.5, "dog": 0.3})
    (got,) = Detector(Fixed(boxes, thresholds=thresholds)).detect([IMAGE])
    assert (got.labels.tolist(), got.scores.tolist()) == ([1], [np.float32(0.4)])


SURE_AND_UNSURE = [(0, 20, 9, 40, 0.5, 0), (0, 20, 9, 40, 0.45, 1), (0, 20, 9, 40, 0.15, 1), (0, 20, 9, 40, 0.05, 1)]


@pytest.mark.parametrize(("threshold", "scores"), [(None, [0.45, 0.15]), (0.2, [0.5, 0.45])])
def test_a_class_may_have_its_own_score_unless_one_is_asked_for(threshold, scores):
    thresholds = Thresholds(score=0.6, per_class_score={"dog": 0.1})
    detector = Detector(Fixed(found(*SURE_AND_UNSURE), thresholds=thresholds), score_threshold=threshold)
    (got,) = detector.detect([IMAGE])
    assert got.scores.tolist() == pytest.approx(scores)


def test_images_of_different_sizes_go_together():
    detector = Detector(Fixed(found((0, 0, 64, 64, 0.9, 0))))
    got = detector.detect([IMAGE, np.zeros((32, 16, 3), np.uint8)])
    assert [one.boxes_xyxy.tolist() for one in got] == [[[0, 0, 128, 64]], [[0, 0, 16, 32]]]


def test_no_images_no_detections():
    assert Detector(Fixed(found())).detect([]) == []
