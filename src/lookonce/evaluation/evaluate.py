"""Runs a detector on every image of a data set, with threads that read ahead, and scores it; also for validation."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.cores import NUM_FETCHERS, decoding_threads
from lookonce.data.dataset import Dataset
from lookonce.data.images import read_image
from lookonce.detections import Detections
from lookonce.errors import DataError, SettingsError
from lookonce.evaluation.coco import Metrics, score
from lookonce.evaluation.results import Results
from lookonce.letterbox import ImageArray
from lookonce.ordered import in_batches, ordered_map
from lookonce.rank_group import SINGLE_RANK, RankGroup
from lookonce.runtimes.base import Runtime
from lookonce.runtimes.detector import Detector
from lookonce.settings.names import counted, few
from lookonce.settings.record import ModelRecord


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
    on_progress is called after each batch with the number of images done. Threads decode images ahead.
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
    read: Callable[[Path], ImageArray] = read_image,
) -> Results:
    """Detections in every image of `dataset`, with the labels of the data set; see `evaluate`.

    score_threshold: confidence threshold; default: the record's evaluation_score. rank_group: each rank processes its
    shard of the images, every image once; rank 0 gets the detections of all, the others none. on_progress is called
    equally often on every rank, so that it may call a collective.
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
    at_once = images_at_once(detector.runtime, batch_size)
    paths = [dataset.image_paths[row] for row in rank_group.shard(len(dataset))]
    found: list[Detections] = []
    num_readers = decoding_threads() if not paths or paths[0].is_file() else NUM_FETCHERS
    ahead = max(8, 2 * at_once, num_readers)
    with ThreadPoolExecutor(num_readers, "read-ahead") as readers, ThreadPoolExecutor(1, "select") as selector:
        fitted = ordered_map(readers, lambda path: searcher.fit(read(path)), paths, ahead=ahead)
        # Padded with copies, because an accelerator may compute another batch size differently.
        full = (batch + batch[-1:] * (at_once - len(batch)) for batch in in_batches(fitted, at_once))
        begun = (searcher.begin(batch) for batch in full)
        # The network runs on the next batches while the selector finishes this one; a second waits at the device.
        batches = ordered_map(selector, lambda select: select(), begun, ahead=2)
        longest_shard = len(RankGroup(size=rank_group.size).shard(len(dataset)))
        for _ in range(-(-longest_shard // at_once)):
            found += [relabel(one, labels) for one in next(batches, [])[: len(paths) - len(found)]]
            if on_progress is not None:
                on_progress(len(found))
    image_ids = dataset.image_ids.tolist() if rank_group.is_main else []
    of_all = zip_longest(*rank_group.gather_to_main(found))  # one list a rank -> in the order of the data set
    return Results.from_detections(image_ids, [one for several in of_all for one in several if one is not None])


def blank_if_unreadable(bad: dict[Path, str]) -> Callable[[Path], ImageArray]:
    """A reader for `detect_all`: an image that cannot be read is blank, and `bad` gets its path and error."""

    def read(path: Path) -> ImageArray:
        try:
            return read_image(path)
        except DataError as error:
            bad[path] = str(error)
            return np.zeros((32, 32, 3), np.uint8)

    return read


def images_at_once(runtime: Runtime, batch_size: int) -> int:
    """Images per call of the network, chosen so that results do not depend on the other images of a batch.

    On a CPU always 1: PyTorch's convolutions differ by up to 3e-5 pixel between batch sizes (measured at 96..416,
    narrow networks), and batches are no faster there. On an accelerator batch_size: the last bits may differ between
    batch sizes, but not between runs with the same one.
    """
    if batch_size < 1:
        raise SettingsError.of("batch_size", batch_size, "expected at least 1")
    device = getattr(runtime, "device", None)
    return batch_size if device is not None and getattr(device, "type", "cpu") != "cpu" else 1


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
        ours, theirs = (few([f"'{name}'" for name in names], 5) for names in (dataset.class_names, record.class_names))
        raise DataError(
            f"split '{dataset.split}': its classes are {ours}, those of the weights {theirs}; expected a class in "
            f"common{'' if record.names_known else unnamed}; evaluate on data labelled with the classes that the "
            "network was trained on"
        )
    return labels


def relabel(detections: Detections, labels: NDArray[np.int64]) -> Detections:
    """The detections with label i replaced by labels[i]; those with labels[i] = -1 are removed."""
    new_labels = labels[detections.labels]
    return replace(detections, labels=new_labels).select(new_labels >= 0)
