"""How cost grows with images, pixels, boxes, classes, workers and ranks, and memory with epochs; draws a curve of each.

    python benchmarks/scaling.py [--output runs/scaling] [--only images boxes ...] [--workers 1 2 4] [--ranks 1 2]

Writes scaling.json and one SVG for each curve, and prints the points and the exponent e of cost ~ size^e between the
two largest sizes: 1 is linear. Exit status 1 if a curve that must be linear has an exponent above 1.25, or memory grows
by more than 5 % after the first epoch. Inputs are random. Times are processor times, the least of several rounds, but
wall-clock for workers and ranks, which therefore need an idle machine.
"""

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from coco_metric import random_results, random_truth
from loader import least_processor_seconds

from lookonce.data.augment import Augmentation
from lookonce.data.dataset import Dataset
from lookonce.data.loader import Loader
from lookonce.devices import memory_in_use
from lookonce.distributed import all_reduce_sum
from lookonce.evaluation.coco import score
from lookonce.on_ranks import in_ranks
from lookonce.rank_group import SINGLE_RANK, RankGroup
from lookonce.reports.plots import Series, line_chart, standalone
from lookonce.runtimes.pytorch import PyTorchRuntime
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord, Preprocessing
from lookonce.settings.resolve import resolve
from lookonce.weights.convolutions import model_from_record

ROUNDS = 5
MOST_EXPONENT = 1.25
MOST_GROWTH = 1.05
MOSAIC = Augmentation(scale_min=0.5, scale_max=1.5, flip=0.5, mosaic=1.0)
NUM_GRADIENTS = 8_700_000  # of the full network


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Cost (y) by size (x), x ascending. linear: the cost may not grow faster than the size; flat: not at all."""

    name: str
    x_label: str
    y_label: str
    points: Sequence[tuple[float, float]]
    linear: bool = True
    flat: bool = False

    @property
    def exponent(self) -> float:
        """Of cost ~ size^exponent between the two largest sizes; 0 for one point."""
        if len(self.points) < 2:
            return 0.0
        (x, y), (last_x, last_y) = self.points[-2:]
        return math.log(last_y / y) / math.log(last_x / x)

    @property
    def holds(self) -> bool:
        """Whether the cost grows no faster than it may."""
        if self.flat:
            return self.points[-1][1] <= MOST_GROWTH * self.points[0][1]
        return not self.linear or self.exponent <= MOST_EXPONENT


def milliseconds(work: Callable[[], object]) -> float:
    """Least processor time of ROUNDS rounds; the first allocates memory."""
    return 1000 * least_processor_seconds(work() for _ in range(ROUNDS))


def by_images(numbers: Sequence[int], detections: int = 50) -> Curve:
    """COCO's metric of random detections."""
    points = []
    for number in numbers:
        rng = np.random.default_rng(0)
        truth = random_truth(number, rng)
        results = random_results(truth, detections, rng)
        points.append((float(number), milliseconds(lambda: score(truth, results))))  # noqa: B023 - called at once
    return Curve(name="images", x_label="images", y_label="COCO's metric, ms", points=points)


def by_pixels(sides: Sequence[int], channels: tuple[int, ...] | None = None) -> Curve:
    """Network, decoding and NMS of one image, by a network with random weights."""
    points = []
    for side in sides:
        runtime = random_runtime(20, side, channels)
        image = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
        points.append((side * side / 1e6, milliseconds(lambda: detect(runtime, image))))  # noqa: B023
    return Curve(name="size", x_label="megapixels of the input", y_label="network to NMS, ms", points=points)


def by_classes(numbers: Sequence[int], side: int = 320) -> Curve:
    """Decoding and NMS of one image of random scores, of which a hundredth are candidates."""
    points = []
    for number in numbers:
        runtime = random_runtime(number, side, (2, 4, 8, 8, 8, 8, 8, 8, 8, 8, 8))
        raws = [
            torch.randn(1, 3 * (5 + number), side // stride, side // stride) - 3 for stride in runtime.record.strides
        ]
        raws = [raw.contiguous(memory_format=torch.channels_last) for raw in raws]
        runtime.raw_heads = lambda _canvases, raws=raws: raws  # type: ignore[method-assign]
        image = np.zeros((1, side, side, 3), np.uint8)
        points.append((float(number), milliseconds(lambda: detect(runtime, image))))  # noqa: B023
    return Curve(name="classes", x_label="classes", y_label="decoding and NMS, ms", points=points)


def by_boxes(numbers: Sequence[int], num_images: int = 64) -> Curve:
    """The loader without pixels: images of one pixel, mosaics, boxes an image."""
    points = []
    for number in numbers:
        loader = pixel_loader(num_images, number, 0)
        points.append((float(number), milliseconds(lambda: list(loader.epoch(0))) / num_images))  # noqa: B023
    return Curve(name="boxes", x_label="boxes of an image", y_label="plan and boxes of a mosaic, ms", points=points)


def by_workers(numbers: Sequence[int], num_images: int = 256, side: int = 640) -> Curve:
    """Wall-clock ms an image of the loader, from a cache of decoded images."""
    points = []
    for number in numbers:
        loader = pixel_loader(num_images, 10, number, side)
        started = time.perf_counter()
        for _ in loader.epoch(0):
            pass
        points.append((float(number), 1000 * (time.perf_counter() - started) / num_images))
    return Curve(name="workers", x_label="loader threads", y_label="ms an image", points=points, linear=False)


def by_ranks(numbers: Sequence[int]) -> Curve:
    """Wall-clock ms of the sum of all gradients over the ranks of this machine, by gloo."""
    folder = str(Path(__file__).parent)  # the ranks import this file
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
    from scaling import sum_seconds  # by the name under which the ranks find it, not __main__

    points = []
    for number in numbers:
        if number == 1:
            seconds = sum_seconds()
        else:
            settings = resolve({"devices": number}).settings
            seconds = in_ranks(settings, "cpu", sum_seconds, {})
        points.append((float(number), 1000 * seconds))
    return Curve(name="ranks", x_label="ranks", y_label="sum of the gradients, ms", points=points, linear=False)


def sum_seconds(rank_group: RankGroup = SINGLE_RANK) -> float:
    """The least of ROUNDS rounds."""
    gradients, seconds = torch.zeros(NUM_GRADIENTS), []
    for _ in range(ROUNDS):
        rank_group.gather(None)
        started = time.perf_counter()
        all_reduce_sum(gradients)
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def memory_by_epochs(epochs: int, num_images: int = 64) -> Curve:
    """Memory of this process after each epoch of loading and detecting; the first fills the cache."""
    loader, runtime = pixel_loader(num_images, 10, 1), random_runtime(20, 64, (2, 4, 8, 8, 8, 8, 8, 8, 8, 8, 8))
    points = []
    for epoch in range(epochs):
        for batch in loader.epoch(epoch):
            detect(runtime, batch.images)
        points.append((float(epoch + 1), memory_in_use(torch.device("cpu")) / 1e6))
    return Curve(name="memory", x_label="epochs", y_label="memory, MB", points=points, flat=True)


def random_runtime(num_classes: int, side: int, channels: tuple[int, ...] | None) -> PyTorchRuntime:
    names = tuple(f"class {number}" for number in range(num_classes))
    ids = tuple(range(1, num_classes + 1))
    record = ModelRecord(
        dialect=DIALECTS["darknet"], class_names=names, category_ids=ids, image_size=(side, side)
    ).model_copy(update={} if channels is None else {"channels": channels})
    torch.manual_seed(0)
    return PyTorchRuntime(model_from_record(record), record)


def detect(runtime: PyTorchRuntime, images: np.ndarray) -> object:
    return runtime.detect(images, score_threshold=0.001, iou_threshold=0.5, max_detections=300)


def pixel_loader(num_images: int, num_boxes: int, workers: int, side: int = 64) -> Loader:
    """Mosaics of `side` pixels whose images are in memory: grey, of 64x64 pixels."""
    count = num_images * num_boxes
    corners = np.random.default_rng(0).random((count, 2)) * 44
    dataset = Dataset(
        split="train",
        image_paths=[Path(f"{row}.jpg") for row in range(num_images)],
        image_ids=np.arange(num_images),
        image_sizes_wh=np.full((num_images, 2), 64, np.int32),
        box_offsets=np.arange(0, count + 1, num_boxes),
        boxes_xyxy=np.concatenate([corners, corners + 20], axis=1),
        labels=np.zeros(count, np.int64),
        crowd=np.zeros(count, np.bool_),
        areas=np.ones(count),
        class_names=("object",),
        category_ids=(1,),
    )
    image = np.full((64, 64, 3), 128, np.uint8)
    return Loader(
        dataset,
        batch_size=16,
        image_sizes=[side],
        preprocessing=Preprocessing(),
        augment=MOSAIC,
        workers=workers,
        read=lambda _path: image,
    )


def write(curves: Sequence[Curve], output: Path) -> None:
    """scaling.json, and NAME.svg of each curve."""
    output.mkdir(parents=True, exist_ok=True)
    content = {curve.name: asdict(curve) | {"exponent": curve.exponent, "holds": curve.holds} for curve in curves}
    (output / "scaling.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for curve in curves:
        xs = [x for x, _ in curve.points]
        chart = line_chart(
            curve.name,
            [Series(name=curve.name, points=curve.points, color=1)],
            y_label=curve.y_label,
            x_label=curve.x_label,
            x_range=(0, max(xs)),
        )
        title = f"{curve.y_label}, by {curve.x_label}"
        (output / f"{curve.name}.svg").write_text(standalone(chart, title), encoding="utf-8")


def as_text(curve: Curve) -> str:
    points = "  ".join(f"{x:g}: {y:.3g}" for x, y in curve.points)
    grows = f"; exponent {curve.exponent:.2f}" if curve.linear and not curve.flat else ""
    return f"{curve.y_label}, by {curve.x_label}:  {points}{grows}{'' if curve.holds else '  GROWS TOO FAST'}"


def main() -> int:
    threads = torch.get_num_threads()
    makers: dict[str, Callable[[argparse.Namespace], Curve]] = {
        "images": lambda _: by_images((625, 1250, 2500, 5000)),
        "size": lambda _: by_pixels((160, 320, 480, 640)),
        "boxes": lambda _: by_boxes((10, 100, 1000)),
        "classes": lambda _: by_classes((10, 20, 40, 80, 160)),
        "workers": lambda options: by_workers(options.workers),
        "ranks": lambda options: by_ranks(options.ranks),
        "memory": lambda _: memory_by_epochs(10),
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/scaling"))
    parser.add_argument("--only", nargs="+", choices=list(makers), default=list(makers))
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    torch.set_num_threads(1)  # processor time on several threads contains their waiting
    curves = []
    for name in options.only:
        if name == "ranks":
            torch.set_num_threads(threads)
        curves.append(makers[name](options))
        print(as_text(curves[-1]), flush=True)
    write(curves, options.output)
    print(f"written: {options.output}")
    return 0 if all(curve.holds for curve in curves) else 1


if __name__ == "__main__":
    sys.exit(main())
