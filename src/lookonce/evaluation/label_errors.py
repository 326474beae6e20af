"""Candidates for label errors: where a detector and the labels contradict each other, the likeliest first."""

from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import area_xyxy, pairwise_iou_xyxy, pairwise_overlap_xyxy, xywh_to_xyxy
from lookonce.data.dataset import Dataset
from lookonce.data.findings import Finding
from lookonce.evaluation.evaluate import blank_if_unreadable, detect_all
from lookonce.evaluation.results import Results
from lookonce.runtimes.base import Runtime
from lookonce.runtimes.detector import Detector

CONFIDENT = 0.5  # minimum score of a detection that contradicts the labels
FAINT = 0.05  # a label that no detection of this score overlaps counts as not detected
SAME_PLACE, OTHER_PLACE = 0.6, 0.3  # IoU: at least, of one object; below, of two


def find_label_errors(
    runtime: Runtime, dataset: Dataset, on_progress: Callable[[int], None] | None = None
) -> list[Finding]:
    """Detections without a label, labels with another class, and labels without a detection.

    The first two are sorted by score, the last by size: small objects are often just hard to detect.
    Images that cannot be read are passed over; they are findings of their own.
    """
    unread: dict[Path, str] = {}
    detector, read = Detector(runtime, agnostic=True, multi_label=False), blank_if_unreadable(unread)
    results = detect_all(detector, dataset, score_threshold=FAINT, read=read, on_progress=on_progress)
    found = [
        one
        for row in range(len(dataset))
        if dataset.image_paths[row] not in unread
        for one in _of_image(dataset, row, results)
    ]
    return [finding for _, finding in sorted(found, key=itemgetter(0), reverse=True)]


def _of_image(dataset: Dataset, row: int, results: Results) -> Iterator[tuple[float, Finding]]:
    """(rank within its kind, finding) of each contradiction in one image."""
    rows = dataset.rows(row)
    truth, crowd = dataset.boxes_xyxy[rows], dataset.crowd[rows]  # (T, 4), (T,)
    detected = np.flatnonzero(results.image_ids == dataset.image_ids[row])
    boxes = xywh_to_xyxy(results.boxes_xywh[detected])  # (D, 4)
    overlaps = pairwise_iou_xyxy(boxes, truth)  # (D, T)
    labelled = [dataset.class_names[label] for label in dataset.labels[rows]]
    path = dataset.image_paths[row]

    def finding(name: str, box: NDArray[np.float64], message: str, tag: str) -> Finding:
        left, top, right, bottom = box.tolist()
        message = f"{path}: box ({left:.0f}, {top:.0f}, {right:.0f}, {bottom:.0f}): {message}"
        return Finding(name=name, file=str(path), message=message, box_xyxy=(left, top, right, bottom), tag=tag)

    for index, score in enumerate(results.scores[detected].tolist()):
        if score < CONFIDENT:
            continue
        seen = dataset.class_names[results.labels[detected[index]]]
        tag = f"{seen} {score:.2f}"
        best = int(overlaps[index].argmax()) if len(truth) else -1
        overlap = float(overlaps[index, best]) if best >= 0 else 0.0
        in_crowds = pairwise_overlap_xyxy(boxes[index : index + 1], truth[crowd])[0] / area_xyxy(boxes[index])
        if overlap < OTHER_PLACE and not (in_crowds > OTHER_PLACE).any():
            message = f"{seen!r} is detected with score {score:.2f}, without a label"
            yield score, finding("unlabelled-object", boxes[index], message, tag)
        elif overlap >= SAME_PLACE and not crowd[best] and labelled[best] != seen:
            message = f"is labelled {labelled[best]!r} and detected as {seen!r} with score {score:.2f}"
            yield score, finding("doubtful-class", truth[best], message, tag)
    for index in np.flatnonzero(~crowd & (overlaps.max(axis=0, initial=0) < OTHER_PLACE)).tolist():
        share = float(area_xyxy(truth[index]) / dataset.image_sizes_wh[row].prod(dtype=np.float64))
        message = f"is labelled {labelled[index]!r} and not detected"
        yield share, finding("undetected-label", truth[index], message, labelled[index])
