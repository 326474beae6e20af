"""Detections as the labels of a data set, for a labelling program: a person corrects them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import area_xyxy
from lookonce.data.dataset import Dataset
from lookonce.prediction.media import Media
from lookonce.prediction.result import PredictedImage
from lookonce.settings.record import ModelRecord


def are_files(media: Media) -> bool:
    """Whether all images are files, which a data set can hold."""
    return media.is_finite and all(getattr(entry, "path", None) is not None for entry in media.known)


def pre_labels(images: Sequence[PredictedImage], record: ModelRecord) -> tuple[Dataset, NDArray[np.float32]]:
    """The split `train` with a box for each detection, and the scores (M,) of the boxes.

    images: of files. Corners are rounded to 0.001 pixel, which every format stores without loss; boxes without an area
    are left out.
    """
    found = [(np.round(image.boxes_xyxy.astype(np.float64), 3), image) for image in images]
    kept = [area_xyxy(boxes) > 0 for boxes, _ in found]
    boxes_xyxy = np.concatenate([boxes[rows] for (boxes, _), rows in zip(found, kept, strict=True)])
    scores = np.concatenate([image.scores[rows] for image, rows in zip(images, kept, strict=True)])
    dataset = Dataset(
        split="train",
        image_paths=[image.source.path for image in images if image.source and image.source.path],
        image_ids=np.arange(1, len(images) + 1, dtype=np.int64),
        image_sizes_wh=np.array([image.size_wh for image in images], np.int32),
        box_offsets=np.cumsum([0, *(int(rows.sum()) for rows in kept)]).astype(np.int64),
        boxes_xyxy=boxes_xyxy,
        labels=np.concatenate([image.labels[rows] for image, rows in zip(images, kept, strict=True)]),
        crowd=np.zeros(len(boxes_xyxy), np.bool_),
        areas=area_xyxy(boxes_xyxy).astype(np.float64),
        class_names=record.class_names,
        category_ids=record.category_ids,
    )
    return dataset, scores
