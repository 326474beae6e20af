"""The loader: the same pictures whoever makes them, whole epochs, and no thread left behind."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from raised import raises

from lookonce.boxes import area_xyxy
from lookonce.colors import class_color
from lookonce.data.augment import Augmentation
from lookonce.data.batch_sheet import CROWD_COLOR, draw_sheet
from lookonce.data.dataset import Dataset
from lookonce.data.images import read_image
from lookonce.data.loader import Batch, ImageCache, Loader, reductions_of
from lookonce.errors import DataError, SettingsError
from lookonce.letterbox import ImageArray
from lookonce.settings.record import Preprocessing

NUM_IMAGES = 11
EVERYTHING = Augmentation(
    scale_min=0.5,
    scale_max=1.5,
    aspect_jitter=0.3,
    flip=0.5,
    hue=0.1,
    saturation=1.5,
    brightness=1.5,
    mosaic=0.5,
    mixup=0.3,
)


def read_noise(path: Path) -> ImageArray:
    """A picture of random pixels that its name decides, 40x30 or 33x50."""
    number = int(path.stem)
    shape = (30, 40, 3) if number % 2 else (50, 33, 3)
    return np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture
def dataset() -> Dataset:
    """Eleven pictures with ids 100..110; picture i has i modulo 3 boxes."""
    counts = np.arange(NUM_IMAGES) % 3
    num_boxes = int(counts.sum())
    return Dataset(
        split="train",
        image_paths=[Path(f"{index}.png") for index in range(NUM_IMAGES)],
        image_ids=np.arange(100, 100 + NUM_IMAGES),
        image_sizes_wh=np.array([(40, 30) if index % 2 else (33, 50) for index in range(NUM_IMAGES)], dtype=np.int32),
        box_offsets=np.concatenate([[0], counts.cumsum()]),
        boxes_xyxy=np.tile([5.0, 6.0, 25.0, 28.0], (num_boxes, 1)),
        labels=np.arange(num_boxes) % 2,
        crowd=np.arange(num_boxes) % 5 == 4,
        areas=np.full(num_boxes, 440.0),
        class_names=("a", "b"),
        category_ids=(1, 2),
    )


MakeLoader = Callable[..., Loader]


@pytest.fixture
def make_loader(dataset: Dataset) -> MakeLoader:
    def make(**changes: object) -> Loader:
        settings: dict[str, object] = {
            "batch_size": 4,
            "image_sizes": [32],
            "preprocessing": Preprocessing(),
            "augment": EVERYTHING,
            "workers": 0,
            "read": read_noise,
        }
        return Loader(dataset, **(settings | changes))  # type: ignore[arg-type]

    return make


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def assert_same(batches: list[Batch], others: list[Batch]) -> None:
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        for name in ("images", "boxes_xyxy", "labels", "image_index", "crowd", "positions", "image_ids"):
            np.testing.assert_array_equal(getattr(batch, name), getattr(other, name), err_msg=name)


def test_a_batch_is_uint8_canvases_and_flat_boxes(make_loader: MakeLoader) -> None:
    for batch in make_loader().epoch(0):
        num_boxes = len(batch.labels)
        assert batch.images.shape == (4, 32, 32, 3)
        assert batch.images.dtype == np.uint8
        assert batch.boxes_xyxy.shape == (num_boxes, 4)
        assert batch.boxes_xyxy.dtype == np.float32
        assert batch.labels.dtype == batch.image_index.dtype == batch.positions.dtype == np.int64
        assert batch.crowd.shape == batch.image_index.shape == (num_boxes,)
        assert (np.diff(batch.image_index) >= 0).all()
        assert ((batch.boxes_xyxy >= 0) & (batch.boxes_xyxy <= 32)).all()


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("cache_mb", [0, 0.01, 100])
def test_workers_and_cache_do_not_change_images(make_loader: MakeLoader, workers: int, cache_mb: float) -> None:
    loader = make_loader(workers=workers, cache_mb=cache_mb)
    assert_same(list(loader.epoch(3)), list(make_loader(cache_mb=0).epoch(3)))


def test_batches_are_the_same_for_1_2_and_3_ranks_and_any_number_of_workers(
    make_loader: MakeLoader,
) -> None:
    """Batches of five, which neither two nor three ranks share out evenly; 3 epochs of three."""

    def epochs_of(loader: Loader) -> Iterator[Batch]:
        return (batch for epoch in range(3) for batch in loader.epoch(epoch))

    def stream(ranks: int, workers: int) -> list[list[NDArray[Any]]]:
        options = {"batch_size": 5, "image_sizes": [32, 64], "resize_every": 2, "workers": workers}
        loaders = [make_loader(**options, rank=rank, world_size=ranks) for rank in range(ranks)]
        parts = zip(*map(epochs_of, loaders), strict=True)
        names = ("images", "boxes_xyxy", "labels", "positions", "image_ids")
        return [[np.concatenate([getattr(part, name) for part in several]) for name in names] for several in parts]

    alone = stream(1, workers=0)
    assert len(alone) == 9
    for ranks, workers in ((2, 1), (3, 3)):
        for ours, theirs in zip(stream(ranks, workers), alone, strict=True):
            for mine, other in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(mine, other)


def test_a_batch_has_an_image_for_each_rank_or_is_refused(make_loader: MakeLoader) -> None:
    with raises(SettingsError, "3 ranks", setting="batch_size", value=2):
        make_loader(batch_size=2, world_size=3)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_continues_from_any_batch(make_loader: MakeLoader, workers: int) -> None:
    loader = make_loader(workers=workers, batch_size=2, image_sizes=[32, 64, 96], resize_every=2)
    assert_same(list(loader.epoch(5, start_batch=3)), list(loader.epoch(5))[3:])
    assert list(loader.epoch(5, start_batch=len(loader))) == []


def test_epochs_and_seeds_differ(make_loader: MakeLoader) -> None:
    loader = make_loader()
    ids = [np.concatenate([batch.image_ids for batch in source.epoch(epoch)]).tolist() for source, epoch in
           [(loader, 0), (loader, 1), (make_loader(seed=1), 0)]]  # fmt: skip
    assert ids[0] != ids[1]
    assert ids[0] != ids[2]
    assert [sorted(set(epoch_ids)) for epoch_ids in ids] == [list(range(100, 111))] * 3


def test_training_batches_are_full_and_the_last_goes_on_into_another_permutation(make_loader: MakeLoader) -> None:
    batches = list(make_loader().epoch(0))
    ids = np.concatenate([batch.image_ids for batch in batches])
    assert len(batches) == len(make_loader()) == 3  # 11 pictures in batches of 4
    assert sorted(ids[:11]) == list(range(100, 111))
    assert np.concatenate([batch.positions for batch in batches]).tolist() == list(range(12))


def test_a_batch_larger_than_the_data_set_trains(make_loader: MakeLoader) -> None:
    (batch,) = make_loader(batch_size=25).epoch(0)
    _, counts = np.unique(batch.image_ids, return_counts=True)
    assert sorted(counts.tolist()) == [2] * 8 + [3] * 3  # 25 = 11 + 11 + 3
    same_image = np.flatnonzero(batch.image_ids == batch.image_ids[0])
    assert (batch.images[same_image[0]] != batch.images[same_image[1]]).any()  # drawn anew


def test_image_sizes_change_every_few_batches(make_loader: MakeLoader) -> None:
    loader = make_loader(batch_size=1, image_sizes=[32, 64, 96], resize_every=3)
    sizes = [batch.images.shape[1] for epoch in range(4) for batch in loader.epoch(epoch)]
    assert set(sizes) == {32, 64, 96}
    assert all(len(set(sizes[start : start + 3])) == 1 for start in (0, 3, 6, 11, 14, 17))


def test_only_the_largest_boxes_are_kept_when_there_are_too_many(make_loader: MakeLoader) -> None:
    everything, limited = next(make_loader().epoch(0)), next(make_loader(max_boxes=1).epoch(0))
    assert np.bincount(everything.image_index).max() > 1
    for index in range(4):
        boxes = everything.boxes_xyxy[everything.image_index == index]
        kept = limited.boxes_xyxy[limited.image_index == index]
        assert len(kept) == min(1, len(boxes))
        if len(boxes):
            assert area_xyxy(kept)[0] == area_xyxy(boxes).max()


def test_augmentation_may_depend_on_the_epoch(make_loader: MakeLoader) -> None:
    loader = make_loader(augment=lambda epoch: EVERYTHING if epoch < 2 else Augmentation())
    assert_same(list(loader.epoch(1)), list(make_loader().epoch(1)))
    assert_same(list(loader.epoch(2)), list(make_loader(augment=Augmentation()).epoch(2)))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_names_the_image(make_loader: MakeLoader, workers: int) -> None:
    def fail_at_seven(path: Path) -> ImageArray:
        if path.name == "7.png":
            raise RuntimeError("no such luck")
        return read_noise(path)

    loader = make_loader(workers=workers, read=fail_at_seven)
    with pytest.raises(RuntimeError, match="no such luck") as caught:
        list(loader.epoch(0))
    [note] = caught.value.__notes__
    assert "7.png" in note


def test_leaving_an_epoch_early_stops_its_threads(make_loader: MakeLoader) -> None:
    batches = make_loader(workers=3, batch_size=1).epoch(0)
    next(batches)
    assert threading.active_count() > 1
    batches.close()  # the fixture counts the threads


def test_an_interrupt_while_waiting_stops_the_threads(make_loader: MakeLoader) -> None:
    def interrupted(path: Path) -> ImageArray:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(make_loader(workers=2, read=interrupted).epoch(0))


def test_waiting_is_measured(make_loader: MakeLoader) -> None:
    loader = make_loader()
    list(loader.epoch(0))
    first = loader.wait_seconds
    assert first > 0
    list(loader.epoch(0, start_batch=len(loader)))
    assert loader.wait_seconds == 0


def least_processor_seconds(work: Iterable[object]) -> float:
    """Processor time of the fastest item."""
    ends = [time.process_time()]
    ends += [time.process_time() for _ in work]
    return min(stop - start for start, stop in pairwise(ends))


def test_a_mosaic_costs_the_interpreter_little(dataset: Dataset) -> None:
    """Images of one pixel, so that nearly all is Python. An image takes as long as 4 loops of 1,000 rounds; with a
    generator and arrays of its own, as long as 48."""
    tiny = Dataset(**(vars(dataset) | {"image_sizes_wh": np.ones_like(dataset.image_sizes_wh)}))
    pixel = np.zeros((1, 1, 3), np.uint8)
    loader = Loader(
        tiny,
        batch_size=32,
        image_sizes=[8],
        preprocessing=Preprocessing(),
        augment=replace(EVERYTHING, mosaic=1.0, mixup=0.0),
        workers=0,
        read=lambda _path: pixel,
    )
    seconds = least_processor_seconds(batch for epoch in range(20) for batch in loader.epoch(epoch)) / 32
    assert seconds < 12 * least_processor_seconds([None for _ in range(1000)] for _ in range(100))


def test_the_cache_reads_once_within_its_limit() -> None:
    reads = []

    def read(row: int) -> ImageArray:
        reads.append(row)
        return np.zeros((10, 10, 3), dtype=np.uint8)

    cache = ImageCache(read, max_bytes=600)  # two images of 300 bytes
    for row in (0, 1, 0, 1, 2, 1, 0):
        cache(row)
    assert reads == [0, 1, 2, 0]  # 2 pushes out 0; 1 stays
    assert not cache(0).flags.writeable


@pytest.mark.parametrize("settings", [{"batch_size": 0}, {"image_sizes": []}])
def test_settings_that_cannot_be_are_refused(make_loader: MakeLoader, settings: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        make_loader(**settings)


def test_a_data_set_without_images_is_refused(dataset: Dataset) -> None:
    empty = Dataset(**(vars(dataset) | {"image_paths": []}))
    with pytest.raises(DataError, match="train"):
        Loader(empty, batch_size=1, image_sizes=[32], preprocessing=Preprocessing(), augment=EVERYTHING)


def test_images_without_boxes_give_empty_arrays(make_loader: MakeLoader, dataset: Dataset) -> None:
    batches = make_loader(augment=Augmentation(), batch_size=1).epoch(0)
    batch = next(batch for batch in batches if batch.image_ids[0] == 100)
    batches.close()
    assert batch.boxes_xyxy.shape == (0, 4)
    assert batch.image_index.shape == batch.labels.shape == batch.crowd.shape == (0,)


def test_a_sheet_shows_every_canvas_of_a_batch(make_loader: MakeLoader) -> None:
    batch = next(make_loader(augment=Augmentation(), batch_size=5).epoch(0))
    sheet = draw_sheet(batch, columns=3)
    assert sheet.shape == (2 * 36, 3 * 36, 3)
    for index in range(5):
        top, left = index // 3 * 36, index % 3 * 36
        drawn = sheet[top : top + 32, left : left + 32]
        changed = {tuple(color) for color in drawn[(drawn != batch.images[index]).any(axis=-1)].tolist()}
        own = batch.image_index == index
        boxes = zip(batch.labels[own].tolist(), batch.crowd[own].tolist(), strict=True)
        assert changed <= {CROWD_COLOR if crowd else class_color(label) for label, crowd in boxes}
        assert bool(changed) == own.any()


def test_an_image_of_another_size_than_annotated_stops_the_epoch(make_loader: MakeLoader) -> None:
    loader = make_loader(read=lambda path: np.zeros((9, 9, 3), np.uint8))
    with raises(DataError, "9x9"):
        next(loader.epoch(0))


def test_bad_images_are_left_out_alike_for_any_number_of_workers(make_loader: MakeLoader) -> None:
    """Two of eleven, one after the other; without skip_bad the first is an error."""

    def read(path: Path) -> ImageArray:
        if path.stem in ("3", "4"):
            raise DataError(f"{path}: damaged", path=path)
        return read_noise(path)

    loaders = [make_loader(workers=workers, read=read, skip_bad=True) for workers in (0, 2)]
    assert_same(*(list(loader.epoch(0)) for loader in loaders))
    assert [loader.bad_rows for loader in loaders] == [{3, 4}, {3, 4}]
    with raises(DataError, "damaged"):
        list(make_loader(read=read).epoch(0))


def test_an_image_is_read_at_a_half_from_three_times_the_largest_input_on() -> None:
    sizes = np.array(
        [(1920, 1080), (1919, 1080), (1080, 1920), (4032, 3024), (9000, 9000), (640, 480), (0, 0)], np.int32
    )
    assert reductions_of(sizes, [(320, 320), (640, 640)], "letterbox").tolist() == [2, 1, 2, 4, 8, 1, 1]
    assert reductions_of(sizes[:1], [(640, 640)], "stretch").tolist() == [1]  # 1080 rows are too few


@pytest.mark.parametrize("augment", [Augmentation(), Augmentation(scale_min=0.8, scale_max=1.5, flip=1.0)])
def test_boxes_of_an_image_that_is_read_reduced_lie_where_its_objects_do(
    augment: Augmentation, dataset: Dataset, tmp_path: Path
) -> None:
    image = np.zeros((201, 301, 3), np.uint8)
    image[50:150, 100:201] = 255
    path = tmp_path / "large.jpg"
    cv2.imwrite(str(path), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    asked: list[int] = []

    def read(path: Path, reduction: int = 1) -> ImageArray:
        asked.append(reduction)
        return read_image(path, reduction)

    twice = replace(
        dataset.head(2),
        image_paths=[path] * 2,
        image_sizes_wh=np.array([[301, 201]] * 2),
        box_offsets=np.arange(3),
        boxes_xyxy=np.array([[100.0, 50.0, 201.0, 150.0]] * 2),
        labels=np.zeros(2, np.int64),
        crowd=np.zeros(2, np.bool_),
    )
    loader = Loader(
        twice, batch_size=2, image_sizes=[64], preprocessing=Preprocessing(), augment=augment, workers=0, read=read
    )
    (batch,) = loader.epoch(0)
    assert asked == [2, 2]
    for canvas, found in zip(batch.images, batch.boxes_xyxy, strict=True):
        rows, columns = np.nonzero(canvas.min(-1) > 180)  # padding is grey
        white = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(found, white, atol=1)


def test_another_size_than_annotated_is_named_for_an_image_that_is_read_reduced(dataset: Dataset) -> None:
    large = replace(dataset.head(1), image_sizes_wh=np.array([[400, 300]]))
    loader = Loader(
        large,
        batch_size=1,
        image_sizes=[64],
        preprocessing=Preprocessing(),
        augment=Augmentation(),
        workers=0,
        read=lambda _path, reduction=1: np.zeros((640 // reduction, 480 // reduction, 3), np.uint8),
    )
    with raises(DataError, "480x640", "400x300"):
        next(loader.epoch(0))
