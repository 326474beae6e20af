"""COCO's detection metric (mAP: AP and AR), computed by hotcoco, equal to pycocotools to the last digit.

hotcoco matches the detections; the means over its arrays are taken here, in pycocotools' order of summation.
Source: cocodataset.org/#detection-eval; pycocotools `cocoeval.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import xyxy_to_xywh
from lookonce.data.dataset import Dataset
from lookonce.evaluation.results import Results, check_results

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
NUM_RECALLS = 101  # points of a precision-recall curve: 0, 0.01 .. 1
MAX_DETECTIONS = (1, 10, 100)
# Rows of COCO's area axis: all, small (under 32^2 pixels), medium, large (over 96^2).
ALL, SMALL, MEDIUM, LARGE = range(4)


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """One class: fractions 0..1, or -1 where the class has no objects; and its counts."""

    AP: float
    AP50: float
    AP75: float
    AR100: float
    num_objects: int  # without crowds
    num_images: int  # with at least one of these objects
    num_detections: int


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """COCO's twelve metrics, fractions 0..1, or -1 where there are no objects; and the metrics of each class by name.

    AP is the mean over IoU 0.50:0.05:0.95; s, m, l are objects under 32^2, up to 96^2 and over 96^2 pixels; AR1, AR10
    and AR100 are the mean recall with at most that many detections per image and class.
    """

    AP: float
    AP50: float
    AP75: float
    APs: float
    APm: float
    APl: float
    AR1: float
    AR10: float
    AR100: float
    ARs: float
    ARm: float
    ARl: float
    per_class: Mapping[str, ClassMetrics]

    def twelve(self) -> dict[str, float]:
        """The twelve metrics by name, in pycocotools' order."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "per_class"}

    def lines(self) -> Iterator[str]:
        """The twelve lines as pycocotools prints them: -1.000 where there are no such objects."""
        for (metric, threshold, area, limit), value in zip(_SUMMARY, self.twelve().values(), strict=True):
            title = "Average Precision" if metric == "AP" else "Average Recall"
            ious = "0.50:0.95" if threshold is None else f"{threshold:0.2f}"
            name = ("all", "small", "medium", "large")[area]
            yield f" {title:<18} ({metric}) @[ IoU={ious:<9} | area={name:>6s} | maxDets={limit:>3d} ] = {value:0.3f}"

    def as_json(self) -> dict[str, Any]:
        """The twelve metrics and `per_class`, ready for json.dump."""
        return self.twelve() | {"per_class": {name: asdict(row) for name, row in self.per_class.items()}}


@dataclass(frozen=True, kw_only=True)
class MetricsAt:
    """AP and AR at one IoU threshold, with at most 100 detections per image and class; 0..1, or -1 where undefined.

    per_class: name -> {"AP": ..., "AR": ...}.
    """

    iou: float
    AP: float
    AR: float
    per_class: Mapping[str, Mapping[str, float]]


# For each of the twelve: metric, IoU threshold (None: all ten), area, maximum detections per image and class.
_SUMMARY: tuple[tuple[str, float | None, int, int], ...] = (
    ("AP", None, ALL, 100),
    ("AP", 0.5, ALL, 100),
    ("AP", 0.75, ALL, 100),
    ("AP", None, SMALL, 100),
    ("AP", None, MEDIUM, 100),
    ("AP", None, LARGE, 100),
    ("AR", None, ALL, 1),
    ("AR", None, ALL, 10),
    ("AR", None, ALL, 100),
    ("AR", None, SMALL, 100),
    ("AR", None, MEDIUM, 100),
    ("AR", None, LARGE, 100),
)


def score(dataset: Dataset, results: Results) -> Metrics:
    """COCO's metric of `results` against the boxes of `dataset`. Crowd boxes count neither as matched nor as missed.

    The 100 highest-scoring detections of each image and class count. Detections of equal score rank by image id, then
    in the order given. In an image without detections all objects count as missed.
    """
    check_results(results, dataset)
    precision, recall = _accumulate(dataset, results)
    values = []
    for metric, threshold, area, limit in _SUMMARY:
        curves = precision if metric == "AP" else recall
        curves = curves if threshold is None else curves[threshold == IOU_THRESHOLDS]
        values.append(mean_of_defined(curves[..., area, MAX_DETECTIONS.index(limit)]))
    names = [field.name for field in fields(Metrics) if field.name != "per_class"]
    return Metrics(**dict(zip(names, values, strict=True)), per_class=_per_class(dataset, results, precision, recall))


def score_at(dataset: Dataset, results: Results, iou_thresholds: Sequence[float]) -> list[MetricsAt]:
    """AP and AR at each of the thresholds, 0 < IoU <= 1; equal to pycocotools with these as its `iouThrs`."""
    check_results(results, dataset)
    precision, recall = _accumulate(dataset, results, np.asarray(iou_thresholds, np.float64))
    columns = ascending_places(dataset.category_ids)
    return [
        MetricsAt(
            iou=iou,
            AP=mean_of_defined(precision[row, ..., ALL, -1]),
            AR=mean_of_defined(recall[row, ..., ALL, -1]),
            per_class={
                name: {
                    "AP": mean_of_defined(precision[row, :, column, ALL, -1]),
                    "AR": float(recall[row, column, ALL, -1]),
                }
                for name, column in zip(dataset.class_names, columns.tolist(), strict=True)
            },
        )
        for row, iou in enumerate(iou_thresholds)
    ]


def _accumulate(
    dataset: Dataset, results: Results, iou_thresholds: NDArray[np.float64] = IOU_THRESHOLDS
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """precision (T IoUs, 101 recalls, C, 4 areas, 3 limits) and recall (T, C, 4, 3); -1 where undefined.

    Classes are in the order of their category ids, as pycocotools has them.
    """
    from hotcoco import COCO, COCOeval

    # Positions replace ids, because hotcoco takes detections as floats, which cannot hold large ids. Positions keep the
    # order of the ids, which breaks ties between equal scores.
    category_positions = 1 + ascending_places(dataset.category_ids)
    truth = COCO.from_arrays(
        [{"id": position} for position in range(1, len(dataset) + 1)],
        [{"id": position, "name": str(position)} for position in range(1, len(dataset.category_ids) + 1)],
        1 + ascending_places(dataset.image_ids)[dataset.image_rows],
        category_positions[dataset.labels],
        xyxy_to_xywh(dataset.boxes_xyxy),
        area=dataset.areas,
        iscrowd=dataset.crowd,
    )
    rows = np.empty((len(results), 7))
    rows[:, 0] = np.searchsorted(np.sort(dataset.image_ids), results.image_ids) + 1
    rows[:, 1:5] = results.boxes_xywh
    rows[:, 5] = results.scores
    rows[:, 6] = category_positions[results.labels]
    evaluation = COCOeval(truth, truth.load_res(rows), "bbox")
    evaluation.params.iou_thrs = iou_thresholds.tolist()
    evaluation.evaluate()
    evaluation.accumulate()
    arrays = evaluation.eval
    assert arrays is not None
    return arrays["precision"], arrays["recall"]


def ascending_places(ids: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Distinct ids (N,) -> their places 0..N-1 in ascending order."""
    return np.argsort(np.argsort(np.asarray(ids, np.int64), kind="stable"), kind="stable")


def mean_of_defined(values: NDArray[np.float64]) -> float:
    """The mean of the values that are not -1, summed in pycocotools' order; -1 if there are none."""
    defined = values[values > -1]
    return float(np.mean(defined)) if defined.size else -1.0


def _per_class(
    dataset: Dataset, results: Results, precision: NDArray[np.float64], recall: NDArray[np.float64]
) -> dict[str, ClassMetrics]:
    columns, images = ascending_places(dataset.category_ids), dataset.image_rows
    per_class = {}
    for label, (name, column) in enumerate(zip(dataset.class_names, columns, strict=True)):
        objects = (dataset.labels == label) & ~dataset.crowd
        curves = precision[:, :, column, ALL, -1]
        per_class[name] = ClassMetrics(
            AP=mean_of_defined(curves),
            AP50=mean_of_defined(curves[0]),
            AP75=mean_of_defined(curves[5]),
            AR100=mean_of_defined(recall[:, column, ALL, -1]),
            num_objects=int(objects.sum()),
            num_images=len(np.unique(images[objects])),
            num_detections=int((results.labels == label).sum()),
        )
    return per_class
