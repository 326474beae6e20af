"""`lookonce.load`: open a checkpoint, a run or an exported file as a detector."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lookonce.config.record import ModelRecord
from lookonce.detections import Detections
from lookonce.errors import SettingsError
from lookonce.runtimes.detector import Detector
from lookonce.runtimes.registry import load_runtime
from lookonce.weights.pull import as_typed

if TYPE_CHECKING:
    from lookonce.prediction.predictor import Prediction
    from lookonce.workflows.evaluate import Evaluation
    from lookonce.workflows.export import Exports
    from lookonce.workflows.predict import Predicted, PredictRequest

# Options of `lookonce predict` that say how weights are opened and by how many processes.
FIXED = frozenset({"names", "device", "runtime", "devices", "nnodes", "node_rank", "rdzv_endpoint", "rank_timeout"})


def load(
    path: Path | str, *, names: Path | str | None = None, device: str = "auto", runtime: str = "auto"
) -> "LoadedDetector":
    """Open a checkpoint folder, a run folder (its best weights), an exported file or published weights such as "coco".

    names: file with the class names, for weights of another program. device: "auto", "cpu", "cuda", ...; runtime:
    "auto" chooses by the file. The detector's `detect` takes arrays, `predict` and `stream` take files, folders, videos
    and cameras; `evaluate` and `export` are the command-line verbs.
    """
    return LoadedDetector(
        Path(as_typed(str(path))), names=None if names is None else Path(names), device=device, runtime=runtime
    )


class LoadedDetector:
    """Opened weights. record: class names, preprocessing, thresholds and so on; runtime: runs the network."""

    def __init__(self, path: Path, *, names: Path | None = None, device: str = "auto", runtime: str = "auto") -> None:
        self.path, self.names = path, names
        self.runtime = load_runtime(path, names=names, device=device, runtime=runtime)

    @property
    def record(self) -> ModelRecord:
        return self.runtime.record

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        return self.record.class_names

    def detect(self, images: Sequence[NDArray[np.uint8]], *, threshold: float | None = None) -> list[Detections]:
        """One Detections per image, boxes in its pixels. images: (H, W, 3) uint8 RGB arrays of any size.

        threshold: confidence threshold, 0..1; default: the value stored with the weights.
        """
        detector = self._detector if threshold is None else Detector(self.runtime, score_threshold=threshold)
        return detector.detect(images)

    def predict(self, source: Path | str, **options: Any) -> "Predicted":
        """`lookonce predict SOURCE`: write the results to `output` (default runs/predict-K) and return them."""
        from lookonce.workflows.predict import predict_with

        return predict_with(self.runtime, self._request(source, options))

    def stream(self, source: Path | str, **options: Any) -> "Iterator[Prediction]":
        """Yield each image or frame of `source` with its detections; options as in `predict`; writes nothing."""
        from lookonce.workflows.predict import stream

        return stream(self.runtime, self._request(source, options))

    def evaluate(self, data: Path | str, **options: Any) -> "Evaluation":
        """`lookonce eval --data DATA`, with the same options."""
        from lookonce.workflows.evaluate import evaluate

        return evaluate(weights=self.path, names=self.names, data=Path(data), **options)

    def export(self, **options: Any) -> "Exports":
        """`lookonce export`, with the same options."""
        from lookonce.workflows.export import export

        return export(self.path, names=self.names, **options)

    def _request(self, source: Path | str, options: Mapping[str, Any]) -> "PredictRequest":
        from lookonce.workflows.predict import PredictRequest

        fixed = FIXED & options.keys()
        if fixed:
            raise SettingsError(
                f"{', '.join(sorted(fixed))}: the weights are open already; give it to lookonce.load or to "
                "lookonce.predict",
                setting=min(fixed),
            )
        return PredictRequest(str(source), weights=self.path, **options)

    @cached_property
    def _detector(self) -> Detector:
        return Detector(self.runtime)
