"""`lookonce.load`: open a checkpoint, a run or an exported file as a detector."""

import os
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookonce.detections import Detections
from lookonce.errors import SettingsError, require_fraction
from lookonce.python_values import takes_python_values
from lookonce.request import Listed
from lookonce.runtimes.base import Runtime
from lookonce.runtimes.detector import Detector
from lookonce.runtimes.registry import at_size, load_runtime
from lookonce.settings.image_size import sides_in_words
from lookonce.settings.names import counted
from lookonce.settings.record import ModelRecord
from lookonce.weights.pull import as_typed

if TYPE_CHECKING:
    from lookonce.prediction.predictor import Prediction
    from lookonce.workflows.evaluate import Evaluation
    from lookonce.workflows.export import Exports
    from lookonce.workflows.predict import Predicted
    from lookonce.workflows.predict_request import PredictRequest

# Options of `lookonce predict` that say how weights are opened and by how many processes.
FIXED = (
    *("names", "device", "runtime", "part", "resume", "engine", "address"),
    *("devices", "nnodes", "node_rank", "rdzv_endpoint", "rank_timeout"),
)


def load(
    path: str | Path,
    *,
    names: Path | None = None,
    device: str = "auto",
    runtime: str = "auto",
    image_size: int | Listed | None = None,
) -> "LoadedDetector":
    """Open a checkpoint folder, a run folder (its best weights), an exported file or published weights such as "coco".

    names: file with the class names, for weights of another program. device: "auto", "cpu", "cuda", ...; runtime:
    "auto" chooses by the file. image_size: of the network's input, 416 or "416x224" (height x width); default: that of
    the weights. The detector's `predict` takes files, folders, URLs and images in memory, `stream` also videos and
    cameras, and `detect` arrays; `evaluate` and `export` are the command-line verbs.
    """
    options: dict[str, Any] = {"names": names, "device": device, "runtime": runtime, "image_size": image_size}
    return LoadedDetector(Path(as_typed(os.fspath(path))), **options)


class LoadedDetector:
    """Opened weights. record: class names, preprocessing, thresholds and so on; runtime: runs the network."""

    def __init__(self, path: Path, *, names: Path | None = None, **options: Any) -> None:
        self.path, self.names, self._options = path, names, options
        self.runtime = load_runtime(path, names=names, **options)

    def __repr__(self) -> str:
        record = self.record
        of_network = f"{counted(record.num_classes, 'class')}, {sides_in_words(record.image_size)}"
        return f"<LoadedDetector: {self.path}, {of_network}, {self.runtime.name}>"

    @property
    def record(self) -> ModelRecord:
        return self.runtime.record

    @property
    def class_names(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        return self.record.class_names

    def detect(self, images: Sequence[Any], *, threshold: float | None = None) -> list[Detections]:
        """One Detections per image, boxes in its pixels. images: arrays (H, W, 3) uint8 RGB of any size, or others that
        `predict` takes in memory; one alone is a list of one.

        threshold: confidence threshold, 0..1; default: the value stored with the weights.
        """
        from lookonce.prediction.arrays import as_image, each_image

        require_fraction("threshold", threshold)
        detector = Detector(self.runtime, score_threshold=threshold)
        numbered = enumerate(each_image(images), start=1)
        return detector.detect([as_image(image, name=f"image {number}") for number, image in numbered])

    def predict(self, source: Any, *, bgr: bool = False, **options: Any) -> "Predicted":
        """Detect objects in images, and return their results; the result iterates over them.

        source: a path, URL, folder, pattern or list file as on the command line; bytes of an image file; a PIL image;
        an array (H, W), (H, W, 3) or (H, W, 4), uint8 or float 0..1; a tensor (3, H, W); a batch or a list of these.
        bgr: arrays have OpenCV's order of channels.

        Options are those of `lookonce predict`. Nothing is written, unless `output` (a folder), `save` or `as_labels`
        is given: then the same files as on the command line. DataError: an image that cannot be read, of several only
        logged.
        """
        from lookonce.prediction.arrays import media_of
        from lookonce.workflows.predict import predict_in_memory, predict_with

        request = self._request(source, options)
        media = media_of(source, bgr=bgr, follow_links=request.follow_links)
        if options.keys() & {"output", "save", "as_labels"}:
            return predict_with(self._runtime_of(request), request, media=media)
        return predict_in_memory(self._runtime_of(request), request, media)

    __call__ = predict

    def stream(self, source: Any, *, bgr: bool = False, **options: Any) -> "Iterator[Prediction]":
        """Yield each image or frame of `source`, also of videos and cameras, with its detections, as it is read.

        source, bgr and options as in `predict`; nothing is written.
        """
        from lookonce.prediction.arrays import media_of
        from lookonce.workflows.predict import stream

        request = self._request(source, options)
        return stream(self._runtime_of(request), request, media_of(source, bgr=bgr, follow_links=request.follow_links))

    def evaluate(self, data: str | PathLike[str] | None = None, **options: Any) -> "Evaluation":
        """`lookonce eval --data DATA`, with the same options; data: by default those that the run was trained on."""
        from lookonce.workflows.evaluate import evaluate

        given: dict[str, Any] = {"data": data, **self._options, **options}
        return takes_python_values(evaluate)(weights=self.path, names=self.names, **given)

    def export(self, **options: Any) -> "Exports":
        """`lookonce export`, with the same options."""
        from lookonce.workflows.export import export

        given = {"image_size": self._options.get("image_size"), **options}
        return takes_python_values(export)(self.path, names=self.names, **given)

    def _request(self, source: Any, options: Mapping[str, Any]) -> "PredictRequest":
        from lookonce.workflows.predict_request import PredictRequest

        named = os.fspath(source) if isinstance(source, str | PathLike) else type(source).__name__
        request = takes_python_values(PredictRequest)(named, weights=self.path, **options)
        if request.more:
            raise SettingsError.of("more", list(request.more), "expected one source, which may be a list of images")
        defaults = PredictRequest("")
        for name in FIXED:
            if (value := getattr(request, name)) != getattr(defaults, name):
                problem = "the weights are open already; give it to lookonce.load or to lookonce.predict"
                raise SettingsError.of(name, value, problem)
        return request

    def _runtime_of(self, request: "PredictRequest") -> Runtime:
        return self.runtime if request.image_size is None else at_size(self.runtime, request.image_size, self.path)
