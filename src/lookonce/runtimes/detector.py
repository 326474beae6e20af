"""The detector: images of any size -> detections in their own pixels, with any runtime; thresholds of each class."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lookonce.boxes import area_xyxy
from lookonce.detections import Detections
from lookonce.letterbox import Placement, fit
from lookonce.model.nms import MOST_CANDIDATES, suppress_any_class
from lookonce.runtimes.base import Runtime
from lookonce.settings.record import ModelRecord

Fitted = tuple[NDArray[np.uint8], Placement]


class Begins(Protocol):
    """A Runtime that can start the network and return before its results are there."""

    def begin(self, canvases: NDArray[np.uint8], **options: Any) -> Callable[[], list[Detections]]:
        """Arguments of `Runtime.detect` -> a function that returns its result, for one call by any thread."""
        ...


class Detector:
    """From images to detections: the one implementation that validation, `eval`, `predict` and `verify` share.

    Thresholds that are None come from the record of the weights. The record's per-class confidence thresholds apply
    only when score_threshold is None; a given score_threshold applies to every class.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        score_threshold: float | None = None,
        iou_threshold: float | None = None,
        max_detections: int | None = None,
        multi_label: bool | None = None,
        agnostic: bool | None = None,
    ) -> None:
        known = runtime.record.thresholds
        self.runtime = runtime
        self.score_threshold = known.score if score_threshold is None else score_threshold
        self.iou_threshold = known.iou if iou_threshold is None else iou_threshold
        self.max_detections = known.max_detections if max_detections is None else max_detections
        self.multi_label, self.agnostic = known.selection(multi_label, agnostic).values()
        self._class_scores: NDArray[np.float32] | None = None  # (C,) threshold of each class; None: all share one
        if score_threshold is None and known.per_class_score:
            scores = [known.per_class_score.get(name, known.score) for name in runtime.record.class_names]
            self._class_scores = np.array(scores, np.float32)

    @property
    def record(self) -> ModelRecord:
        return self.runtime.record

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """One Detections per image, highest score first, boxes_xyxy in pixels of that image, clipped to it.

        images: (H, W, 3) uint8 RGB, upright, each of any size. Boxes without area inside the image are dropped.
        """
        return self.begin([self.fit(image) for image in images])()

    def fit(self, image: NDArray[np.uint8]) -> Fitted:
        """An image as the network takes it, for `begin`."""
        return fit(image, self.record.image_size, self.record.preprocessing)

    def begin(self, fitted: Sequence[Fitted]) -> Callable[[], list[Detections]]:
        """Starts the network, where the runtime can (`Begins`); the result waits for it and returns as `detect` does.

        So the caller prepares and starts the next batch while another thread selects the detections of this one.
        """
        if len(fitted) == 0:
            return list
        late = self._suppresses_late
        canvases = np.stack([canvas for canvas, _ in fitted])
        options: dict[str, Any] = {
            "score_threshold": self.score_threshold if self._class_scores is None else float(self._class_scores.min()),
            "iou_threshold": 1.0 if late else self.iou_threshold,  # no IoU exceeds 1
            "max_detections": MOST_CANDIDATES if late else self.max_detections,
            "multi_label": self.multi_label,
            "agnostic": self.agnostic and not late,
        }
        begin: Callable[..., Callable[[], list[Detections]]] | None = getattr(self.runtime, "begin", None)
        select = begin(canvases, **options) if begin else partial(self.runtime.detect, canvases, **options)
        placements = [placement for _, placement in fitted]
        return lambda: [self._finish(one, placement) for one, placement in zip(select(), placements, strict=True)]

    @property
    def _suppresses_late(self) -> bool:
        """Whether NMS must follow the thresholds of the classes: a box under its own must not suppress another class's.

        Within one class it cannot: its higher score would be over the threshold that both share."""
        return self.agnostic and self._class_scores is not None

    def _finish(self, found: Detections, placement: Placement) -> Detections:
        if self._class_scores is not None:
            found = found.select(found.scores > self._class_scores[found.labels])
        if self._suppresses_late:
            found = suppress_any_class(found, self.iou_threshold, self.max_detections)
        boxes_xyxy = placement.to_original(found.boxes_xyxy).astype(np.float32, copy=False)
        return replace(found, boxes_xyxy=boxes_xyxy).select(area_xyxy(boxes_xyxy) > 0)
