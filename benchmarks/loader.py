"""Throughput of the loader, compared with only decoding and resizing the same images in the same run.

    python benchmarks/loader.py IMAGES_FOLDER [--images 200] [--workers 2] [--sizes 320 416 640]

Prints for each size: milliseconds per sample in one thread, the ratio to the bare work of a sample (one decode and one
resize), and images/s with worker threads. "from files" caches no image (worst case); "from the cache" caches all of
them, as for a small data set. A large data set with the default cache lies between: each image is decoded once, and the
other images of its mosaic come from the cache.

Before that, the processor time of the interpreter per image, which no number of threads divides: the same loader with
images of one pixel that are never decoded, beside an empty loop of 1,000 rounds in the same process.
"""

import argparse
import time
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.data.augment import Augmentation
from lookonce.data.dataset import Dataset
from lookonce.data.images import image_size_wh, read_image
from lookonce.data.loader import Loader
from lookonce.settings.record import Preprocessing

BATCH_SIZE = 16
PIXEL = np.zeros((1, 1, 3), np.uint8)
CACHES_MB = {"from files": 0.0, "from the cache": 4000.0}
JITTER = {
    "scale_min": 0.5,
    "scale_max": 1.5,
    "aspect_jitter": 0.3,
    "flip": 0.5,
    "hue": 0.05,
    "saturation": 1.5,
    "brightness": 1.5,
}
KINDS = {
    "fitted": Augmentation(),
    "jitter and colour": Augmentation(**JITTER),
    "mosaic": Augmentation(**JITTER, mosaic=1.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sizes", type=int, nargs="+", default=[320, 416, 640])
    options = parser.parse_args()
    cv2.setNumThreads(1)
    paths = sorted(path for path in options.folder.iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    interpreter()
    paths = paths[: options.images]
    dataset = with_ten_boxes_each(paths, np.array([image_size_wh(path) for path in paths], dtype=np.int32))
    # Warm-up: fills the system's file cache; and once a batch was freed, glibc keeps freed memory rather than return
    # its pages to the system, which halves the time of a bare decode.
    seconds_a_sample(dataset, max(options.sizes), Augmentation(), 0, 0)
    print(f"{len(dataset)} images, OpenCV {cv2.__version__}, {options.workers} workers")
    print(f"{'size':>4}  {'images':18}{'decoded':16}{'ms, one thread':>15}{'x bare':>8}{'images/s, workers':>21}")
    for size in options.sizes:
        compare(dataset, size, options.workers)


def interpreter() -> None:
    """Print microseconds per image, and per 1,000 rounds of an empty loop."""
    count = 32 * BATCH_SIZE
    dataset = with_ten_boxes_each([Path(f"{row}.jpg") for row in range(count)], np.ones((count, 2), dtype=np.int32))
    loop = least_processor_seconds([0 for _ in range(1000)] for _ in range(100))
    print(f"interpreter, microseconds: {loop * 1e6:.0f}  1,000 rounds of a loop")
    for kind, augmentation in KINDS.items():
        loader = Loader(
            dataset,
            batch_size=BATCH_SIZE,
            image_sizes=[8],
            preprocessing=Preprocessing(),
            augment=augmentation,
            workers=0,
            max_boxes=90,
            read=lambda _path: PIXEL,
        )
        seconds = least_processor_seconds(batch for epoch in range(8) for batch in loader.epoch(epoch)) / BATCH_SIZE
        print(f"interpreter, microseconds: {seconds * 1e6:.0f}  an image, {kind}")


def least_processor_seconds(work: Iterable[object]) -> float:
    """Processor time of the fastest item: other programs on the machine slow down the others."""
    ends = [time.process_time()]
    ends += [time.process_time() for _ in work]
    return min(stop - start for start, stop in pairwise(ends))


def with_ten_boxes_each(paths: list[Path], sizes_wh: NDArray[np.int32]) -> Dataset:
    """The images as a data set, each with ten boxes at random positions."""
    corners = np.random.default_rng(0).random((len(paths), 10, 2)) * 0.8
    boxes_xyxy = np.concatenate([corners, corners + 0.2], axis=-1) * np.tile(sizes_wh, 2)[:, None]
    count = 10 * len(paths)
    return Dataset(
        split="train",
        image_paths=paths,
        image_ids=np.arange(len(paths)),
        image_sizes_wh=sizes_wh,
        box_offsets=np.arange(0, count + 1, 10),
        boxes_xyxy=np.asarray(boxes_xyxy.reshape(-1, 4), dtype=np.float64),
        labels=np.zeros(count, dtype=np.int64),
        crowd=np.zeros(count, dtype=np.bool_),
        areas=np.ones(count),
        class_names=("object",),
        category_ids=(1,),
    )


def compare(dataset: Dataset, size: int, workers: int) -> None:
    """Print the lines of one image size."""
    bare = seconds_for(lambda: decode_and_resize(dataset, size)) / len(dataset)
    print(f"{size:>4}  {'decode and resize':18}{'from files':16}{bare * 1e3:>15.2f}{1:>8.2f}")
    for kind, augmentation in KINDS.items():
        for cache, cache_mb in CACHES_MB.items():
            one_thread = seconds_a_sample(dataset, size, augmentation, 0, cache_mb)
            rate = 1 / seconds_a_sample(dataset, size, augmentation, workers, cache_mb)
            print(f"{size:>4}  {kind:18}{cache:16}{one_thread * 1e3:>15.2f}{one_thread / bare:>8.2f}{rate:>21.0f}")


def decode_and_resize(dataset: Dataset, size: int) -> None:
    for path in dataset.image_paths:
        cv2.resize(read_image(path), (size, size))


def seconds_a_sample(dataset: Dataset, size: int, augmentation: Augmentation, workers: int, cache_mb: float) -> float:
    """Seconds per sample in the second epoch; the first fills the cache."""
    loader = Loader(
        dataset,
        batch_size=BATCH_SIZE,
        image_sizes=[size],
        preprocessing=Preprocessing(),
        augment=augmentation,
        workers=workers,
        cache_mb=cache_mb,
    )
    for _ in loader.epoch(0):
        pass
    return seconds_for(lambda: [None for _ in loader.epoch(1)]) / (len(loader) * BATCH_SIZE)


def seconds_for(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
