"""A detector on every picture of a data set, scored."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice, zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.config.record import ModelRecord
from lookonce.data.dataset import Dataset
from lookonce.data.images import read_image
from lookonce.detections import Detections
from lookonce.errors import DataError, SettingsError
from lookonce.evaluation.coco import Metrics, score
from lookonce.evaluation.results import Results
from lookonce.rank_group import SINGLE_RANK, RankGroup
from lookonce.runtimes.base import Runtime
from lookonce.runtimes.detector import Detector


def evaluate(
    detector: Detector,
    dataset: Dataset,
    *,
    batch_size: int = 8,
    on_progress: Callable[[int], None] | None = None,
) -> tuple[Metrics, Results]:
    """Detects in every picture of `dataset` and scores it.

    Scores count from the record's evaluation_score up, whatever the detector shows: the metric looks at the whole
    curve. batch_size is what an accelerator gets at once; see `images_at_once`. on_progress is told the number of
    pictures done so far, after each batch. Pictures are decoded by a thread, ahead of the network.
    """
    results = detect_all(detector, dataset, batch_size=batch_size, on_progress=on_progress)
    return score(dataset, results), results


def detect_all(
    detector: Detector,
    dataset: Dataset,
    *,
    batch_size: int = 8,
    on_progress: Callable[[int], None] | None = None,
    score_threshold: float | None = None,
    rank_group: RankGroup = SINGLE_RANK,
) -> Results:
    """What the detector finds in each picture of `dataset`, labelled as the data set is; see `evaluate`.

    score_threshold: lowest score that counts, where it is not the record's. rank_group: the pictures to look at, where
    several processes look at one part each; none is looked at twice, and each process gets what all of them found.
    on_progress is called equally often in all, so that they may meet in it.
    """
    labels = match_classes(detector.record, dataset)
    searcher = Detector(
        detector.runtime,
        score_threshold=detector.record.thresholds.evaluation_score if score_threshold is None else score_threshold,
        iou_threshold=detector.iou_threshold,
        max_detections=detector.max_detections,
        multi_label=detector.multi_label,
    )
    found: list[Detections] = []
    at_once = images_at_once(detector.runtime, batch_size)
    paths = [dataset.image_paths[row] for row in rank_group.shard(len(dataset))]
    batches = _batches(read_ahead(paths, ahead=max(8, 2 * at_once)), at_once)
    longest_share = len(RankGroup(size=rank_group.size).shard(len(dataset)))
    for _ in range(-(-longest_share // at_once)):
        found += [relabel(detections, labels) for detections in _detect_full(searcher, next(batches, []), at_once)]
        if on_progress is not None:
            on_progress(len(found))
    return Results.from_detections(dataset.image_ids.tolist(), interleaved(rank_group.gather(found)))


def _detect_full(searcher: Detector, images: list[NDArray[np.uint8]], at_once: int) -> list[Detections]:
    """The last batch is filled up with copies: an accelerator may compute another batch size differently."""
    return searcher.detect(images + images[-1:] * (at_once - len(images)))[: len(images)]


def interleaved(found: Sequence[list[Detections]]) -> list[Detections]:
    """What each share found, in the order of the data set."""
    return [one for several in zip_longest(*found) for one in several if one is not None]


def images_at_once(runtime: Runtime, batch_size: int) -> int:
    """How many pictures the network gets in one call, so that no digit depends on a picture's neighbours.

    On a CPU always one: PyTorch's convolutions differ by up to 3e-5 pixel between batch sizes (measured at 96..416,
    narrow networks), and batches gain nothing there. On an accelerator batch_size: the last bits may then differ
    between batch sizes, never between runs with the same one.
    """
    if batch_size < 1:
        raise SettingsError(f"batch_size is {batch_size}, expected at least 1", setting="batch_size", value=batch_size)
    device = getattr(runtime, "device", None)
    return batch_size if device is not None and getattr(device, "type", "cpu") != "cpu" else 1


def read_ahead(paths: Sequence[Path], *, ahead: int) -> Iterator[NDArray[np.uint8]]:
    """The pictures in order, upright (H, W, 3) uint8 RGB; a thread has up to `ahead` of them ready."""
    remaining = iter(paths)
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as pool:
        waiting: deque[Future[NDArray[np.uint8]]] = deque(
            pool.submit(read_image, path) for path in islice(remaining, max(1, ahead))
        )
        try:
            while waiting:
                image = waiting.popleft().result()
                waiting.extend(pool.submit(read_image, path) for path in islice(remaining, 1))
                yield image
        finally:
            for future in waiting:
                future.cancel()


def _batches(images: Iterator[NDArray[np.uint8]], batch_size: int) -> Iterator[list[NDArray[np.uint8]]]:
    while batch := list(islice(images, batch_size)):
        yield batch


def match_classes(record: ModelRecord, dataset: Dataset) -> NDArray[np.int64]:
    """(classes of the network,) -> the data set's label of each, or -1 for a class the data set does not have.

    Classes are the same as `ModelRecord.rows_among` says; failing that, when the category ids of both are wholly the
    same ("motorbike" and "motorcycle" are COCO's class 4).
    """
    rows = record.rows_among(dataset.class_names)
    labels = np.asarray([rows.get(row, -1) for row in range(record.num_classes)], dtype=np.int64)
    if (labels < 0).any() and record.category_ids == dataset.category_ids:
        return np.arange(len(record.class_names), dtype=np.int64)
    if (labels < 0).all():
        counts = f"{record.num_classes} and {len(dataset.class_names)} classes"
        unnamed = f" ({counts}; the names of the weights are not known, --names FILE gives them)"
        raise DataError(
            f"the weights know {_sample(record.class_names)}, split '{dataset.split}' has "
            f"{_sample(dataset.class_names)}: no class in common{'' if record.names_known else unnamed}; "
            "evaluate on data labelled with the classes the network was trained on"
        )
    return labels


def _sample(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def relabel(detections: Detections, labels: NDArray[np.int64]) -> Detections:
    """The same detections with label i replaced by labels[i]; those with labels[i] = -1 are left out."""
    new_labels = labels[detections.labels]
    return Detections(boxes_xyxy=detections.boxes_xyxy, scores=detections.scores, labels=new_labels).select(
        new_labels >= 0
    )
