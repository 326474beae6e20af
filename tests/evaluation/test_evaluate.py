"""Every picture once, in order, whatever the batch size; classes matched by name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from raised import raises

from lookonce.data.dataset import Dataset
from lookonce.detections import Detections
from lookonce.errors import DataError, SettingsError
from lookonce.evaluation.evaluate import RankGroup, detect_all, evaluate
from lookonce.runtimes.detector import Detector
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord, Thresholds

MakeDataset = Callable[..., Dataset]


class BrightSquares:
    """A runtime that finds the bright square, if there is one; scores fall below what is shown to people."""

    name = "bright squares"

    def __init__(self, class_names: tuple[str, ...] = ("a", "b"), category_ids: tuple[int, ...] = (1, 2)) -> None:
        self.record = ModelRecord(
            dialect=DIALECTS["darknet"],
            class_names=class_names,
            category_ids=category_ids,
            image_size=(64, 64),
            thresholds=Thresholds(score=0.9),
        )
        self.calls: list[tuple[int, float, int]] = []

    def detect(
        self,
        canvases: NDArray[np.uint8],
        *,
        score_threshold: float,
        iou_threshold: float,
        max_detections: int,
        multi_label: bool | None = None,
        agnostic: bool | None = None,
    ) -> list[Detections]:
        self.calls.append((len(canvases), score_threshold, max_detections))
        return [self._detect_one(canvas) for canvas in canvases]

    def _detect_one(self, canvas: NDArray[np.uint8]) -> Detections:
        rows, columns = np.nonzero(canvas[..., 0] > 200)
        if not len(rows):
            return Detections.none()
        box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        return Detections(
            boxes_xyxy=np.asarray([box], np.float32),
            scores=np.asarray([0.01], np.float32),
            labels=np.zeros(1, np.int64),
        )


@pytest.fixture
def squares(tmp_path: Path, make_dataset: MakeDataset) -> Dataset:
    """Five 64 x 64 pictures; a bright square of 16 pixels moves to the right; the third has none."""
    boxes: list[list[list[float]]] = []
    for index in range(5):
        image = np.zeros((64, 64, 3), np.uint8)
        left = 8 * index
        if index != 2:
            image[20:36, left : left + 16] = 255
        boxes.append([] if index == 2 else [[left, 20, left + 16, 36]])
        cv2.imwrite(str(tmp_path / f"{index}.png"), image)
    dataset = make_dataset(boxes, [[0] * len(picture) for picture in boxes], image_ids=[50, 40, 30, 20, 10])
    return replace(
        dataset, image_paths=[tmp_path / f"{index}.png" for index in range(5)], image_sizes_wh=np.full((5, 2), 64)
    )


def test_finds_each_square_of_each_image(squares: Dataset) -> None:
    progress: list[int] = []
    runtime = BrightSquares()
    metrics, results = evaluate(Detector(runtime), squares, on_progress=progress.append)
    assert metrics.AP50 > 1 - 1e-9
    assert results.image_ids.tolist() == [50, 40, 20, 10]
    assert results.boxes_xywh.tolist() == [[0, 20, 16, 16], [8, 20, 16, 16], [24, 20, 16, 16], [32, 20, 16, 16]]
    assert progress == [1, 2, 3, 4, 5]
    assert set(runtime.calls) == {(1, 0.001, 300)}  # not the 0.9 that is shown


def test_an_accelerator_always_gets_full_batches(squares: Dataset) -> None:
    class Device:
        type = "accelerator"

    runtime = BrightSquares()
    runtime.device = Device()  # type: ignore[attr-defined]
    results = detect_all(Detector(runtime), squares, batch_size=3)
    assert [call[0] for call in runtime.calls] == [3, 3]
    assert results.image_ids.tolist() == [50, 40, 20, 10]


def test_a_runtime_that_can_begin_gets_the_next_batch_before_the_last_is_asked_for(squares: Dataset) -> None:
    begun: list[int] = []
    second_has_begun = Event()

    class Begins(BrightSquares):
        device = SimpleNamespace(type="accelerator")

        def begin(self, canvases: NDArray[np.uint8], **options: Any) -> Callable[[], list[Detections]]:
            begun.append(len(canvases))
            if len(begun) == 2:
                second_has_begun.set()

            def select() -> list[Detections]:
                assert second_has_begun.wait(10)
                return self.detect(canvases, **options)

            return select

    results = detect_all(Detector(Begins()), squares, batch_size=2)
    assert results.image_ids.tolist() == [50, 40, 20, 10]
    assert begun == [2, 2, 2]


def test_classes_are_matched_by_name_and_unknown_ones_left_out(squares: Dataset) -> None:
    swapped = detect_all(Detector(BrightSquares(("b", "a"), (2, 1))), squares)
    assert swapped.labels.tolist() == [1, 1, 1, 1]
    unknown = detect_all(Detector(BrightSquares(("c", "a"), (3, 1))), squares)
    assert len(unknown) == 0


def test_classes_of_the_same_ids_are_the_same_whatever_their_names(squares: Dataset) -> None:
    assert detect_all(Detector(BrightSquares(("c", "d"), (1, 2))), squares).labels.tolist() == [0, 0, 0, 0]


def test_weights_without_a_class_in_common_are_refused(squares: Dataset) -> None:
    with raises(DataError, "'c', 'd'", "'a', 'b'", "'val'"):
        detect_all(Detector(BrightSquares(("c", "d"), (7, 8))), squares)


def test_a_missing_image_stops_with_its_name(squares: Dataset) -> None:
    squares.image_paths[3].unlink()
    with raises(DataError, path="3.png"):
        detect_all(Detector(BrightSquares()), squares)


def test_batch_size_zero_is_refused(squares: Dataset) -> None:
    with raises(SettingsError, setting="batch_size", value=0):
        detect_all(Detector(BrightSquares()), squares, batch_size=0)


def test_pytorch_gives_the_same_digits_for_any_batch_size(squares: Dataset) -> None:
    torch = pytest.importorskip("torch")
    from lookonce.model.yolov3_tiny import YoloV3Tiny
    from lookonce.runtimes.pytorch import PyTorchRuntime

    torch.manual_seed(0)
    channels = (2, 4, 8, 8, 8, 8, 8, 8, 8, 8, 8)
    record = BrightSquares().record.model_copy(update={"channels": channels})
    detector = Detector(PyTorchRuntime(YoloV3Tiny(2, channels=channels), record))
    one, four = (detect_all(detector, squares, batch_size=size) for size in (1, 4))
    assert len(one) > 100
    np.testing.assert_array_equal(one.boxes_xywh, four.boxes_xywh)
    np.testing.assert_array_equal(one.scores, four.scores)


@pytest.mark.parametrize("num_shares", [1, 2, 3, 7])
def test_shares_find_each_image_once_and_come_together_in_the_order_of_the_data_set(
    squares: Dataset, num_shares: int
) -> None:
    whole = detect_all(Detector(BrightSquares()), squares)
    found: dict[int, list[Detections]] = {}
    calls: dict[int, list[int]] = {rank: [] for rank in range(num_shares)}

    class Kept(Exception):
        pass

    for rank in range(num_shares):

        def keep(own: list[Detections], rank: int = rank) -> list[list[Detections]]:
            found[rank] = own
            raise Kept

        rank_group = RankGroup(rank=rank, size=num_shares, gather_to_main=keep)
        with pytest.raises(Kept):
            detect_all(Detector(BrightSquares()), squares, rank_group=rank_group, on_progress=calls[rank].append)
    assert sum(map(len, found.values())) == 5
    # Equally often in all shares, also where one has a picture fewer: ranks meet in it.
    assert {len(told) for told in calls.values()} == {-(-5 // num_shares)}
    last = RankGroup(size=num_shares, gather_to_main=lambda _own: [found[rank] for rank in range(num_shares)])
    together = detect_all(Detector(BrightSquares()), squares, rank_group=last)
    assert vars(together).keys() == vars(whole).keys()
    for name, value in vars(whole).items():
        np.testing.assert_array_equal(getattr(together, name), value)
    other = RankGroup(rank=1, size=num_shares + 1, gather_to_main=lambda _own: [])
    assert len(detect_all(Detector(BrightSquares()), squares, rank_group=other)) == 0
