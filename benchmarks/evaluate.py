"""Where the time of evaluation goes: network, decoding and NMS, the metric, and the whole beside the network alone.

    python benchmarks/evaluate.py [WEIGHTS FOLDER] [--image-size 640] [--batch-size 8] [--device auto]
                                  [--images 64] [--rounds 3] [--json FILE]

WEIGHTS: a checkpoint, by default an untrained network of 80 classes with synthetic images (benchmarks/standard.py). A
trained one has fewer candidates for NMS. Prints ms an image, all in one process, the fastest of the rounds. "whole":
`eval` without the metric: reading, letterbox, network, NMS. The network alone to the whole is 1 where all else is done
while the network runs. --json also writes the table as JSON.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import standard
from loader import with_ten_boxes_each

from lookonce.data.dataset import Dataset
from lookonce.data.images import image_size_wh, read_image
from lookonce.devices import synchronize
from lookonce.evaluation.coco import score
from lookonce.evaluation.evaluate import detect_all, images_at_once
from lookonce.evaluation.results import Results
from lookonce.runtimes.detector import Detector
from lookonce.runtimes.pytorch import PyTorchRuntime
from lookonce.runtimes.registry import load_runtime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", type=Path, nargs="?")
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--image-size", type=int, default=640)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    weights, folder = options.weights, options.folder
    if folder is None:
        standard_images, standard_weights, _ = standard.make(Path(tempfile.gettempdir()) / "lookonce-benchmark")
        weights, folder = weights or standard_weights, standard_images
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    paths = paths[: options.images]
    runtime = load_runtime(weights, device=options.device, image_size=options.image_size)
    assert isinstance(runtime, PyTorchRuntime), f"{weights}: expected a checkpoint"
    table = measure(runtime, paths, batch_size=options.batch_size, rounds=options.rounds)
    for line in as_text(table):
        print(line)
    if options.json is not None:
        options.json.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def measure(runtime: PyTorchRuntime, paths: Sequence[Path], *, batch_size: int, rounds: int) -> dict[str, Any]:
    """ms an image of each part, what was measured, and the ratio of the network alone to the whole."""
    dataset = random_dataset(paths, runtime)
    detector = Detector(runtime)
    at_once = images_at_once(runtime, batch_size)
    fitted = [detector.fit(read_image(path))[0] for path in paths]
    batches = [np.stack(fitted[start : start + at_once]) for start in range(0, len(fitted), at_once)]
    thresholds = runtime.record.thresholds
    selection = {
        "score_threshold": thresholds.evaluation_score,
        "iou_threshold": thresholds.iou,
        "max_detections": thresholds.max_detections,
    }
    each = [
        one_round(detector, dataset, batches, selection, batch_size)
        for _ in range(1 + rounds)  # the first allocates memory
    ]
    results, seconds = each[-1][0], [parts for _, parts in each[1:]]
    milliseconds = {part: 1000 * min(parts[part] for parts in seconds) / len(paths) for part in seconds[0]}
    return {
        "device": str(runtime.device),
        "images": len(paths),
        "image_size": list(runtime.record.image_size),
        "classes": runtime.record.num_classes,
        "batch_size": at_once,
        "detections": len(results),
        "ms_per_image": milliseconds,
        "network_alone_to_whole": milliseconds["network"] / milliseconds["whole"],
    }


def one_round(
    detector: Detector, dataset: Dataset, batches: Sequence[np.ndarray], selection: dict[str, Any], batch_size: int
) -> tuple[Results, dict[str, float]]:
    """The detections, and the seconds of each part for all images."""
    runtime: Any = detector.runtime

    def network() -> list[Callable[[], Any]]:
        selects = [runtime.begin(batch, **selection) for batch in batches]
        synchronize(runtime.device)
        return selects

    selects, network_seconds = timed(network)
    _, select_seconds = timed(lambda: [select() for select in selects])
    results, whole_seconds = timed(lambda: detect_all(detector, dataset, batch_size=batch_size))
    _, metric_seconds = timed(lambda: score(dataset, results))
    return results, {
        "network": network_seconds,
        "decode and NMS": select_seconds,
        "whole": whole_seconds,
        "metric": metric_seconds,
    }


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result and the wall-clock seconds."""
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def random_dataset(paths: Sequence[Path], runtime: PyTorchRuntime) -> Dataset:
    """The images with ten random boxes each, of the network's classes."""
    dataset = with_ten_boxes_each(list(paths), np.array([image_size_wh(path) for path in paths], dtype=np.int32))
    labels = np.random.default_rng(0).integers(0, runtime.record.num_classes, len(dataset.labels))
    names, ids = runtime.record.class_names, runtime.record.category_ids
    return replace(dataset, labels=labels, class_names=names, category_ids=ids)


def as_text(table: dict[str, Any]) -> list[str]:
    """The table for people."""
    height, width = table["image_size"]
    title = f"{table['images']} images of {width}x{height} on {table['device']}, {table['classes']} classes"
    return [
        f"{title}, batches of {table['batch_size']}, {table['detections']} detections",
        *(f"{part:16}{milliseconds:>10.2f} ms an image" for part, milliseconds in table["ms_per_image"].items()),
        f"{'ratio':16}{table['network_alone_to_whole']:>10.2f} network alone to the whole",
    ]


if __name__ == "__main__":
    main()
