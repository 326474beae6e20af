"""All that explains a score, computed from one matching: error types, curves, thresholds, groups, worst images."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookonce.data.dataset import Dataset
from lookonce.evaluation.coco import ascending_places
from lookonce.evaluation.curves import (
    RECALLS,
    THRESHOLDS,
    ReliabilityBins,
    ScoreHistogram,
    ThresholdCurves,
    calibration,
    score_histograms,
    threshold_curves,
)
from lookonce.evaluation.error_types import BACKGROUND_IOU, ErrorSplit, confusion_matrix, split_errors
from lookonce.evaluation.groups import GROUPINGS, GroupScore, score_groups
from lookonce.evaluation.matching import Matches, overlapping_pairs
from lookonce.evaluation.results import Results

# The default confidence threshold of `predict`; used for classes without a best threshold and in the confusion matrix.
SHOWN_SCORE = 0.25
LISTED_IMAGES = 100


@dataclass(frozen=True, kw_only=True)
class ImageErrors:
    """Missed objects and false positives of each of N images, at IoU 0.5 and the best threshold of each class."""

    missed: NDArray[np.int64]  # (N,) in the order of the data set
    wrong: NDArray[np.int64]  # (N,)

    def worst(self) -> NDArray[np.int64]:
        """Rows of the images that have errors, most errors first; ties keep the order of the data set."""
        total = self.missed + self.wrong
        order = np.argsort(-total, kind="stable")
        return np.asarray(order[total[order] > 0])


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """All results beside the metric, at IoU 0.5. Mappings are by class name, groups by the names of GROUPINGS."""

    errors: ErrorSplit
    curves: Mapping[str, ThresholdCurves]
    histograms: Mapping[str, ScoreHistogram]
    calibration: ReliabilityBins
    confusion: NDArray[np.int64]  # see confusion_matrix
    groups: Mapping[str, Sequence[GroupScore]]
    images: ImageErrors

    def best_thresholds(self) -> dict[str, float]:
        """Score threshold with the highest F1, for each class with at least one true positive."""
        return {name: curve.best_threshold for name, curve in self.curves.items() if curve.best_threshold >= 0}


def analyse(dataset: Dataset, results: Results, matches: Matches, *, lowest_score: float = 0.0) -> Analysis:
    """Analyses the matches of `results`, all at least lowest_score; 2 seconds for 5,000 images x 100 detections."""
    overlaps = overlapping_pairs(dataset, results, matches, iou_threshold=BACKGROUND_IOU)
    curves = threshold_curves(matches, lowest_score=lowest_score)
    return Analysis(
        errors=split_errors(dataset, results, matches, overlaps),
        curves=curves,
        histograms=score_histograms(matches),
        calibration=calibration(matches),
        confusion=confusion_matrix(dataset, results, score_threshold=SHOWN_SCORE),
        groups=score_groups(dataset, results, matches, overlaps),
        images=image_errors(dataset, matches, [curve.best_threshold for curve in curves.values()]),
    )


def image_errors(dataset: Dataset, matches: Matches, thresholds: Sequence[float]) -> ImageErrors:
    """Counts the errors of each image. thresholds (C,) by label; -1 stands for SHOWN_SCORE."""
    lowest = np.asarray(thresholds, np.float64)
    lowest = np.where(lowest < 0, SHOWN_SCORE, lowest)
    shown = matches.scores >= lowest[matches.labels]
    right, ignored = matches.right[0], matches.ignored[0]
    found = np.bincount(matches.images[shown & right], minlength=len(dataset))
    wrong = np.bincount(matches.images[shown & ~right & ~ignored], minlength=len(dataset))
    objects = np.bincount(matches.object_images, minlength=len(dataset))
    places = ascending_places(dataset.image_ids)
    return ImageErrors(missed=(objects - found)[places], wrong=wrong[places])


def errors_as_json(errors: ErrorSplit) -> dict[str, dict[str, float]]:
    """For each error type, the count and the AP50 (0..1) that repairing it alone would add."""
    return {kind: {"count": count, "AP50": errors.gains[kind]} for kind, count in errors.counts().items()}


def _with_lists(values: object) -> dict[str, Any]:
    """The fields of a dataclass, arrays as lists."""
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(values).items()}


def analysis_as_json(analysis: Analysis, dataset: Dataset) -> dict[str, Any]:
    """The content of analysis.json; see docs/evaluation.md."""
    images = analysis.images
    return {
        "errors": errors_as_json(analysis.errors),
        "groups": {
            key: {"title": GROUPINGS[key].title, "groups": [asdict(group) for group in groups]}
            for key, groups in analysis.groups.items()
        },
        "confusion": {
            "classes": [*dataset.class_names, "(background)"],
            "rows": "objects",
            "columns": "detections",
            "score_threshold": SHOWN_SCORE,
            "counts": analysis.confusion.tolist(),
        },
        "calibration": _with_lists(analysis.calibration),
        "thresholds": THRESHOLDS.tolist(),
        "recalls": RECALLS.tolist(),
        "curves": {name: _with_lists(curve) for name, curve in analysis.curves.items()},
        "scores": {name: _with_lists(histogram) for name, histogram in analysis.histograms.items()},
        "worst_images": [
            {
                "image_id": int(dataset.image_ids[row]),
                "file": dataset.image_paths[row].name,
                "missed": int(images.missed[row]),
                "wrong": int(images.wrong[row]),
            }
            for row in images.worst()[:LISTED_IMAGES].tolist()
        ],
    }
