"""Runs a detector on every image of a data set and scores it."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice, zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.data.dataset import Dataset
from lookonce.data.images import read_image
from lookonce.detections import Detections
from lookonce.errors import DataError, SettingsError
from lookonce.evaluation.coco import Metrics, score
from lookonce.evaluation.results import Results
from lookonce.rank_group import SINGLE_RANK, RankGroup
from lookonce.runtimes.base import Runtime
from lookonce.runtimes.detector import Detector
from lookonce.settings.names import counted
from lookonce.settings.record import ModelRecord

NUM_FETCHERS = 16  # threads that fetch images which are no files, and wait for a network most of the time


def evaluate(
    detector: Detector,
    dataset: Dataset,
    *,
    batch_size: int = 8,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[Metrics, Results]:
    """Runs the detector on every image of `dataset` and scores its detections.

    The record's evaluation_score is the confidence threshold, regardless of the detector's own, because the metric
    covers the whole precision-recall curve. batch_size: images per call on an accelerator; see `images_at_once`.
    on_progress is called after each batch with the number of images done. A thread decodes images ahead.
    """
    results = detect_all(detector, dataset, batch_size=batch_size, on_progress=on_progress)
    return score(dataset.with_never_found(), results), results


def detect_all(
    detector: Detector,
    dataset: Dataset,
    *,
    batch_size: int = 8,
    on_progress: Callable[[int], None] | None = None,
    score_threshold: float | None = None,
    rank_group: RankGroup = SINGLE_RANK,
    read: Callable[[Path], NDArray[np.uint8]] = read_image,
) -> Results:
    """Detections in every image of `dataset`, with the labels of the data set; see `evaluate`.

    score_threshold: confidence threshold; default: the record's evaluation_score. rank_group: each rank processes its
    shard of the images, every image once, and every rank gets the detections of all. on_progress is called equally
    often on every rank, so that it may call a collective.
    """
    labels = match_classes(detector.record, dataset)
    searcher = Detector(
        detector.runtime,
        score_threshold=detector.record.thresholds.evaluation_score if score_threshold is None else score_threshold,
        iou_threshold=detector.iou_threshold,
        max_detections=detector.max_detections,
        multi_label=detector.multi_label,
        agnostic=detector.agnostic,
    )
    found: list[Detections] = []
    at_once = images_at_once(detector.runtime, batch_size)
    paths = [dataset.image_paths[row] for row in rank_group.shard(len(dataset))]
    num_readers = 1 if paths and paths[0].is_file() else NUM_FETCHERS
    images = read_ahead(paths, ahead=max(8, 2 * at_once), read=read, num_readers=num_readers)
    batches = _batches(images, at_once)
    longest_shard = len(RankGroup(size=rank_group.size).shard(len(dataset)))
    for _ in range(-(-longest_shard // at_once)):
        found += [relabel(detections, labels) for detections in _detect_full(searcher, next(batches, []), at_once)]
        if on_progress is not None:
            on_progress(len(found))
    return Results.from_detections(dataset.image_ids.tolist(), interleaved(rank_group.gather(found)))


def _detect_full(searcher: Detector, images: list[NDArray[np.uint8]], at_once: int) -> list[Detections]:
    """Pads the last batch with copies, because an accelerator may compute another batch size differently."""
    return searcher.detect(images + images[-1:] * (at_once - len(images)))[: len(images)]


def interleaved(found: Sequence[list[Detections]]) -> list[Detections]:
    """The detections of all shards, one list a rank -> in the order of the data set."""
    return [one for several in zip_longest(*found) for one in several if one is not None]


def images_at_once(runtime: Runtime, batch_size: int) -> int:
    """Images per call of the network, chosen so that results do not depend on the other images of a batch.

    On a CPU always 1: PyTorch's convolutions differ by up to 3e-5 pixel between batch sizes (measured at 96..416,
    narrow networks), and batches are no faster there. On an accelerator batch_size: the last bits may differ between
    batch sizes, but not between runs with the same one.
    """
    if batch_size < 1:
        raise SettingsError(f"batch_size: {batch_size}; expected at least 1", setting="batch_size", value=batch_size)
    device = getattr(runtime, "device", None)
    return batch_size if device is not None and getattr(device, "type", "cpu") != "cpu" else 1


def read_ahead(
    paths: Sequence[Path],
    *,
    ahead: int,
    read: Callable[[Path], NDArray[np.uint8]] = read_image,
    num_readers: int = 1,
) -> Iterator[NDArray[np.uint8]]:
    """The images in order, upright (H, W, 3) uint8 RGB; num_readers threads decode up to `ahead` of them in advance, or
    one each."""
    remaining = iter(paths)
    with ThreadPoolExecutor(max_workers=num_readers, thread_name_prefix="read-ahead") as pool:
        waiting: deque[Future[NDArray[np.uint8]]] = deque(
            pool.submit(read, path) for path in islice(remaining, max(num_readers, ahead))
        )
        try:
            while waiting:
                image = waiting.popleft().result()
                waiting.extend(pool.submit(read, path) for path in islice(remaining, 1))
                yield image
        finally:
            for future in waiting:
                future.cancel()


def _batches(images: Iterator[NDArray[np.uint8]], batch_size: int) -> Iterator[list[NDArray[np.uint8]]]:
    while batch := list(islice(images, batch_size)):
        yield batch


def match_classes(record: ModelRecord, dataset: Dataset) -> NDArray[np.int64]:
    """(classes of the network,) -> the data set's label of each, or -1 for a class the data set does not have.

    `ModelRecord.rows_among` matches the classes. If it leaves some unmatched but both have the same category ids, these
    decide ("motorbike" and "motorcycle" are COCO's class 4).
    """
    rows = record.rows_among(dataset.class_names)
    labels = np.asarray([rows.get(row, -1) for row in range(record.num_classes)], dtype=np.int64)
    if (labels < 0).any() and record.category_ids == dataset.category_ids:
        return np.arange(len(record.class_names), dtype=np.int64)
    if (labels < 0).all():
        counts = f"{record.num_classes} and {counted(len(dataset.class_names), 'class')}"
        unnamed = f" ({counts}; the weights store no class names, set them with --names FILE)"
        raise DataError(
            f"split '{dataset.split}': its classes are {_sample(dataset.class_names)}, those of the weights "
            f"{_sample(record.class_names)}; expected a class in common{'' if record.names_known else unnamed}; "
            "evaluate on data labelled with the classes that the network was trained on"
        )
    return labels


def _sample(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def relabel(detections: Detections, labels: NDArray[np.int64]) -> Detections:
    """The detections with label i replaced by labels[i]; those with labels[i] = -1 are removed."""
    new_labels = labels[detections.labels]
    return Detections(boxes_xyxy=detections.boxes_xyxy, scores=detections.scores, labels=new_labels).select(
        new_labels >= 0
    )
