"""Data loader: batches of images and boxes, prefetched by threads (cv2 and numpy release the GIL).

The images are the same bit for bit for any number of workers, for any number of ranks with the same global batch, and
after a resume within an epoch: see `order`.
"""

import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import Floats
from lookonce.data.augment import Augmentation
from lookonce.data.dataset import Dataset
from lookonce.data.images import read_image, require_size
from lookonce.data.mosaic import Composition, sample_plan
from lookonce.data.order import EpochOrder, batch_size_hw
from lookonce.errors import DataError, require_setting
from lookonce.letterbox import ImageArray, fit
from lookonce.log import get_logger
from lookonce.settings.record import Preprocessing

# Path, and the reduction of `read_image` where it is not 1 -> the image.
ReadImage = Callable[..., ImageArray]
# Prefetched batches: one hides the loading time, the second evens out slow images.
PREFETCH_BATCHES = 2
Start = Callable[[Callable[[], None]], Callable[[], None]]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B network inputs and their K boxes."""

    images: NDArray[np.uint8]  # (B, H, W, 3) RGB
    boxes_xyxy: NDArray[np.float32]  # (K, 4) pixels of the network input
    labels: NDArray[np.int64]  # (K,) 0..C-1
    image_index: NDArray[np.int64]  # (K,) 0..B-1, ascending
    crowd: NDArray[np.bool_]  # (K,)
    positions: NDArray[np.int64]  # (B,) index into the epoch's order, over all ranks
    image_ids: NDArray[np.int64]  # (B,) as in the annotations


@dataclass(frozen=True, kw_only=True)
class _Pending:
    """A batch that is being loaded: each call of `written` waits for (or computes) one of `images`."""

    images: ImageArray  # (B, H, W, 3)
    positions: NDArray[np.int64]  # (B,)
    rows: NDArray[np.int64]  # (B,) of the data set
    inputs: Composition
    written: Sequence[Callable[[], None]]


class ImageCache:
    """LRU cache of the decoded images of rows of a data set, shared by threads."""

    def __init__(self, read: Callable[[int], ImageArray], max_bytes: int) -> None:
        self._read = read
        self._max_bytes = max_bytes
        self._images: OrderedDict[int, ImageArray] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type["ImageCache"], tuple[Callable[[int], ImageArray], int]]:
        """Another process gets an empty cache: locks cannot be pickled, and images are large."""
        return ImageCache, (self._read, self._max_bytes)

    def __call__(self, row: int) -> ImageArray:
        """The image of a row, read-only."""
        with self._lock:
            if row in self._images:
                self._images.move_to_end(row)
                return self._images[row]
        image = self._read(row)
        if image.nbytes > self._max_bytes:
            return image
        image.flags.writeable = False
        with self._lock:
            if row not in self._images:  # another thread may have stored it
                self._images[row] = image
                self._bytes += image.nbytes
            while self._bytes > self._max_bytes:
                self._bytes -= self._images.popitem(last=False)[1].nbytes
        return image


# An image is read at half its sides, a quarter or an eighth while it stays 1.5 times as large as the letterboxed image:
# enough for scale_max 1.5 of most recipes. The mosaic's last 128 images of 1920x1080 then fit into the cache.
LEAST_MARGIN = 1.5
REDUCTIONS = (2, 4, 8)


def reductions_of(
    image_sizes_wh: NDArray[np.int32], sizes_hw: Sequence[tuple[int, int]], resize: str
) -> NDArray[np.int64]:
    """(N, 2) sizes of images, sizes of the network inputs -> (N,) reduction of each image when it is read, 1 to 8.

    It depends on nothing else, so an image in the cache serves every sample. Below 3 times the largest input it is 1.
    """
    largest_wh = np.max(sizes_hw, axis=0)[::-1]
    ratios = image_sizes_wh / largest_wh
    room = (ratios.min(axis=1) if resize == "stretch" else ratios.max(axis=1)) / LEAST_MARGIN
    return np.asarray(2 ** np.searchsorted(REDUCTIONS, room, side="right"))


def reduced_dataset(dataset: Dataset, reductions: NDArray[np.int64]) -> Dataset:
    """The data set as its images are read: sizes and boxes divided by the reductions (N,)."""
    if (reductions == 1).all():
        return dataset
    of_boxes = np.repeat(reductions, dataset.box_counts)
    sizes_wh = -(-dataset.image_sizes_wh // reductions[:, None])
    return replace(dataset, image_sizes_wh=sizes_wh, boxes_xyxy=dataset.boxes_xyxy / of_boxes[:, None])


def read_row(dataset: Dataset, row: int, read: ReadImage = read_image, reduction: int = 1) -> ImageArray:
    """The image of a row; DataError if its size is not the annotated one, and an error of `read` names the file."""
    path = dataset.image_paths[row]
    width, height = dataset.image_sizes_wh[row].tolist()
    try:
        image = read(path) if reduction == 1 else read(path, reduction)
        if image.shape[:2] == (-(-height // reduction), -(-width // reduction)):
            return image
        image = read(path)
    except Exception as error:
        error.add_note(f"while reading the image {path}")
        raise
    require_size(image, path, (width, height))
    return image


def fitted_row(
    dataset: Dataset, row: int, size_hw: tuple[int, int], preprocessing: Preprocessing
) -> tuple[ImageArray, Floats]:
    """The network input (H, W, 3) of a row, as at inference, and its boxes (M, 4) there."""
    canvas, placement = fit(read_row(dataset, row), size_hw, preprocessing)
    return canvas, placement.to_input(dataset.boxes_xyxy[dataset.rows(row)])


class Loader:
    """Batches of a data set, epoch after epoch.

    as_read: the data set with the sizes and boxes of its images as they are read, large ones reduced.
    batch_size: images of all ranks together; each rank takes its slice of every batch, and slices differ by at most one
    image. All batches are full.
    image_sizes: side of the network input in pixels, or (height, width); of several, one is drawn every `resize_every`
    batches.
    augment: a callable returns the augmentation of each epoch.
    workers: threads; 0 loads in the calling thread. cache_mb: maximum size of the cache of decoded images, in MB (1e6
    bytes). max_boxes: maximum boxes of a network input; the smallest are dropped; None: no limit. skip_bad: leave out
    images that cannot be read (`bad_rows`) instead of raising.
    """

    def __init__(
        self,
        dataset: Dataset,
        *,
        batch_size: int,
        image_sizes: Sequence[int | tuple[int, int]],
        preprocessing: Preprocessing,
        augment: Augmentation | Callable[[int], Augmentation],
        seed: int = 0,
        workers: int = 1,
        rank: int = 0,
        world_size: int = 1,
        resize_every: int = 10,
        cache_mb: float = 256,
        max_boxes: int | None = None,
        read: ReadImage = read_image,
        skip_bad: bool = False,
    ) -> None:
        if len(dataset) == 0:
            raise DataError(
                f"split {dataset.split!r}: has no images; expected at least one", setting="split", value=dataset.split
            )
        require_setting("image_sizes", image_sizes, lambda sizes: len(sizes) > 0, "1 or more")
        enough = f"at least 1 image for each of {world_size} ranks"
        require_setting("batch_size", batch_size, lambda size: size >= world_size, enough)
        self.dataset = dataset
        self.batch_size = batch_size
        self.wait_seconds = 0.0  # time the consumer has waited for batches in this epoch
        self._sizes_hw = [(size, size) if isinstance(size, int) else size for size in image_sizes]
        self._preprocessing = preprocessing
        self._augment = augment
        self._seed = seed
        self._workers = workers
        self._rank = rank
        self._world_size = world_size
        self._resize_every = resize_every
        self._max_boxes = max_boxes
        self._skip_bad = skip_bad
        self.bad_rows: set[int] = set()  # of the data set, left out so far
        self._read_file = read
        self._reductions = reductions_of(dataset.image_sizes_wh, self._sizes_hw, preprocessing.resize)
        self.as_read = reduced_dataset(dataset, self._reductions)
        self._images = ImageCache(self._decode, int(cache_mb * 1e6))

    def __len__(self) -> int:
        """Number of batches per epoch, the same on all ranks."""
        return math.ceil(len(self.dataset) / self.batch_size)

    def epoch(self, epoch: int, start_batch: int = 0) -> Generator[Batch]:
        """The batches of an epoch, from `start_batch` on; earlier batches are skipped without loading them.

        The threads end when the iterator is exhausted, closed or raises. Resets `wait_seconds` to 0.
        """
        self.wait_seconds = 0.0
        order, augmentation = self._order_and_augmentation(epoch)
        pending: deque[_Pending] = deque()
        with _starter(self._workers) as start:
            for batch in range(start_batch, len(self)):
                size_hw = batch_size_hw(self._sizes_hw, self._seed, epoch, batch, self._resize_every)
                first, stop = (
                    batch * self.batch_size + self.batch_size * rank // self._world_size
                    for rank in (self._rank, self._rank + 1)
                )  # of this rank's slice
                pending.append(self._begin(range(first, stop), size_hw, order, augmentation, start))
                if len(pending) > min(self._workers, PREFETCH_BATCHES):
                    yield self._finish(pending.popleft())
            while pending:
                yield self._finish(pending.popleft())

    def sample(self, epoch: int, position: int) -> Batch:
        """A batch of the one sample at a position of an epoch, of the first image size."""
        order, augmentation = self._order_and_augmentation(epoch)
        positions = range(position, position + 1)
        return self._finish(self._begin(positions, self._sizes_hw[0], order, augmentation, lambda task: task))

    def _order_and_augmentation(self, epoch: int) -> tuple[EpochOrder, Augmentation]:
        order = EpochOrder(len(self.dataset), self._seed, epoch)
        return order, self._augment(epoch) if callable(self._augment) else self._augment

    def _begin(
        self, positions: range, size_hw: tuple[int, int], order: EpochOrder, augmentation: Augmentation, start: Start
    ) -> _Pending:
        images = np.empty((len(positions), *size_hw, 3), dtype=np.uint8)
        plan = sample_plan(order, positions, augmentation)
        inputs = Composition(plan, self.as_read, size_hw, self._preprocessing)
        written = [start(partial(inputs.write, *item, self._read)) for item in enumerate(images)]
        indices = np.array(positions)
        return _Pending(images=images, positions=indices, rows=order.rows(indices), inputs=inputs, written=written)

    def _read(self, row: int) -> tuple[int, ImageArray]:
        """`row` and its image; with skip_bad, those of the next row whose image can be read."""
        while True:
            try:
                return row, self._images(row)
            except DataError as error:
                if not self._skip_bad:
                    raise
                if row not in self.bad_rows:
                    get_logger().warning(f"{error}; it is left out (on_bad_image skip)")
                self.bad_rows.add(row)
                if len(self.bad_rows) == len(self.dataset):
                    raise DataError("none of the training images can be read") from error
                row = (row + 1) % len(self.dataset)

    def _decode(self, row: int) -> ImageArray:
        return read_row(self.dataset, row, self._read_file, int(self._reductions[row]))

    def _finish(self, pending: _Pending) -> Batch:
        started = time.perf_counter()
        for wait in pending.written:
            wait()
        self.wait_seconds += time.perf_counter() - started
        targets = pending.inputs.targets()
        if self._max_boxes is not None:
            targets = targets.largest(self._max_boxes)
        return Batch(
            images=pending.images,
            boxes_xyxy=targets.boxes_xyxy.astype(np.float32),
            labels=targets.labels,
            image_index=targets.image_index,
            crowd=targets.crowd,
            positions=pending.positions,
            image_ids=self.dataset.image_ids[pending.rows],
        )


@contextmanager
def _starter(workers: int) -> Iterator[Start]:
    """A function that starts a task in a worker thread and returns a function that waits for its result.

    With 0 workers the returned function runs the task itself.
    """
    if workers == 0:
        yield lambda task: task
        return
    # Each worker makes whole images; OpenCV's own threads in addition reduce the throughput by a quarter (539 instead
    # of 700 images/s with two workers on two cores).
    opencv_threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="lookonce-loader")
    try:
        yield lambda task: pool.submit(task).result
    finally:
        pool.shutdown(cancel_futures=True)
        cv2.setNumThreads(opencv_threads)
