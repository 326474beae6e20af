"""Compares time, memory and results of the COCO metric with pycocotools, on the same random data set.

    python benchmarks/coco_metric.py                      5,000 images x 100 detections; pycocotools on 500 of them
    python benchmarks/coco_metric.py --reference 5000     pycocotools on all of them (minutes, 2 GB)

The time of pycocotools is proportional to the number of images, so its time for all of them is extrapolated.
"""

import argparse
import contextlib
import io
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lookonce.boxes import xywh_to_xyxy, xyxy_to_xywh
from lookonce.data.dataset import Dataset
from lookonce.evaluation.analysis import analyse
from lookonce.evaluation.bootstrap import bootstrap
from lookonce.evaluation.coco import score
from lookonce.evaluation.matching import match
from lookonce.evaluation.results import Results

OBJECTS_PER_IMAGE = 7  # as in COCO val2017
CLASSES = 80


def random_truth(num_images: int, rng: np.random.Generator) -> Dataset:
    """7 objects per image, of 80 classes, with boxes of 5 to 300 pixels; 1 % are crowd."""
    count = num_images * OBJECTS_PER_IMAGE
    boxes_xywh = np.concatenate([rng.uniform(0, 340, (count, 2)), np.exp(rng.uniform(1.6, 5.7, (count, 2)))], axis=1)
    return Dataset(
        split="random",
        image_paths=[Path(f"{number}.jpg") for number in range(num_images)],
        image_ids=np.arange(num_images, dtype=np.int64) * 7 + 139,
        image_sizes_wh=np.full((num_images, 2), 640, np.int32),
        box_offsets=np.arange(num_images + 1, dtype=np.int64) * OBJECTS_PER_IMAGE,
        boxes_xyxy=np.asarray(xywh_to_xyxy(boxes_xywh), np.float64),
        labels=rng.integers(0, CLASSES, count),
        crowd=rng.random(count) < 0.01,
        areas=boxes_xywh[:, 2] * boxes_xywh[:, 3] * rng.uniform(0.5, 1, count),
        class_names=tuple(f"class {number}" for number in range(CLASSES)),
        category_ids=tuple(range(1, CLASSES + 1)),
    )


def random_results(truth: Dataset, detections_per_image: int, rng: np.random.Generator) -> Results:
    """Randomly moved and scaled copies of the objects of each image; the less a box changes, the higher its score."""
    num_images = len(truth)
    rows = np.arange(num_images)[:, None] * OBJECTS_PER_IMAGE + rng.integers(
        0, OBJECTS_PER_IMAGE, (num_images, detections_per_image)
    )
    shake = rng.uniform(0, 0.4, rows.shape)
    boxes = xyxy_to_xywh(truth.boxes_xyxy)[rows] * (1 + shake[..., None] * rng.uniform(-1, 1, (*rows.shape, 4)))
    labels = np.where(rng.random(rows.shape) < 0.3, rng.integers(0, CLASSES, rows.shape), truth.labels[rows])
    return Results(
        image_ids=np.repeat(truth.image_ids, detections_per_image),
        labels=labels.reshape(-1),
        boxes_xywh=np.round(boxes.reshape(-1, 4), 3),
        scores=(1 - 2 * shake * rng.random(rows.shape)).reshape(-1).astype(np.float32).astype(np.float64),
    )


def first_images(truth: Dataset, results: Results, count: int) -> tuple[Dataset, Results]:
    """Ground truth and results of the first `count` images."""
    boxes = slice(0, int(truth.box_offsets[count]))
    part = Dataset(
        split=truth.split,
        image_paths=truth.image_paths[:count],
        image_ids=truth.image_ids[:count],
        image_sizes_wh=truth.image_sizes_wh[:count],
        box_offsets=truth.box_offsets[: count + 1],
        boxes_xyxy=truth.boxes_xyxy[boxes],
        labels=truth.labels[boxes],
        crowd=truth.crowd[boxes],
        areas=truth.areas[boxes],
        class_names=truth.class_names,
        category_ids=truth.category_ids,
    )
    return part, results.select(np.isin(results.image_ids, part.image_ids))


def pycocotools_twelve(truth: Dataset, results: Results) -> list[float]:
    """The twelve COCO metrics of pycocotools, called with dicts."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images = np.repeat(truth.image_ids, np.diff(truth.box_offsets))
    annotations: list[dict[str, Any]] = [
        {"id": n, "image_id": i, "category_id": c + 1, "bbox": b, "area": a, "iscrowd": int(w)}
        for n, (i, c, b, a, w) in enumerate(
            zip(
                images.tolist(),
                truth.labels.tolist(),
                xyxy_to_xywh(truth.boxes_xyxy).tolist(),
                truth.areas.tolist(),
                truth.crowd.tolist(),
                strict=True,
            ),
            1,
        )
    ]
    detections: list[dict[str, Any]] = [
        {"image_id": i, "category_id": c + 1, "bbox": b, "score": s}
        for i, c, b, s in zip(
            results.image_ids.tolist(),
            results.labels.tolist(),
            results.boxes_xywh.tolist(),
            results.scores.tolist(),
            strict=True,
        )
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "info": {},
            "images": [{"id": i} for i in truth.image_ids.tolist()],
            "categories": [{"id": c} for c in truth.category_ids],
            "annotations": annotations,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(detections), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return list(evaluation.stats.tolist())


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """The result and the wall-clock seconds."""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def peak_mb() -> float:
    """Peak resident memory of this process so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    """Returns exit status 1 if the two programs differ in any digit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=100, help="detections per image")
    parser.add_argument("--reference", type=int, default=500, help="images that pycocotools evaluates")
    parser.add_argument(
        "--resamples", type=int, default=1000, help="bootstrap resamples for the confidence intervals; 0 disables them"
    )
    options = parser.parse_args()

    rng = np.random.default_rng(0)
    truth = random_truth(options.images, rng)
    results = random_results(truth, options.detections, rng)
    before = peak_mb()
    metrics, seconds = timed(lambda: score(truth, results))
    print(f"{options.images} images x {options.detections} detections: {seconds:.2f} s, AP {metrics.AP:.4f}")
    print(f"peak memory {peak_mb():.0f} MB, of which {before:.0f} MB before the evaluation")
    matches, match_seconds = timed(lambda: match(truth, results))
    _, analysis_seconds = timed(lambda: analyse(truth, results, matches))
    print(f"error analysis: matching {match_seconds:.2f} s, the rest {analysis_seconds:.2f} s")
    if options.resamples:
        _, seconds_resampled = timed(lambda: bootstrap(matches, resamples=options.resamples, seed=0))
        print(f"confidence intervals: {options.resamples} bootstrap resamples, {seconds_resampled:.1f} s")
    print(f"peak memory after the analysis {peak_mb():.0f} MB")

    part, part_results = first_images(truth, results, min(options.reference, options.images))
    ours, our_seconds = timed(lambda: score(part, part_results))
    theirs, their_seconds = timed(lambda: pycocotools_twelve(part, part_results))
    whole = their_seconds * options.images / len(part)
    ratio = their_seconds / our_seconds
    print(f"on {len(part)} images: {our_seconds:.2f} s, pycocotools {their_seconds:.1f} s, {ratio:.0f}x")
    print(f"pycocotools on all {options.images}, extrapolated: {whole:.0f} s, {whole / seconds:.0f}x")
    equal = list(ours.twelve().values()) == theirs
    print("all twelve metrics equal to the last digit" if equal else f"THEY DIFFER: {ours.twelve()} {theirs}")
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
