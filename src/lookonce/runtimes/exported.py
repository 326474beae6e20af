"""The common part of all runtimes for exported files."""

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lookonce.boxes import cxcywh_to_xyxy
from lookonce.cores import usable_threads
from lookonce.detections import Detections
from lookonce.errors import WeightsError
from lookonce.model.decode_numpy import decode_candidates, to_network_input, to_planes
from lookonce.model.nms import select_detections
from lookonce.settings import record as records
from lookonce.settings.record import ModelRecord

RECORD_KEY = "lookonce_record"  # key in a file's metadata; each format's writer stores it
INTERFACE_KEY = "lookonce_interface"  # second key, in formats that do not describe their own inputs and outputs
DETECTION_OUTPUTS = ("boxes_xyxy", "scores", "labels", "image_index")
DECODED_OUTPUTS = ("boxes_xyxy", "scores")
PACKED_OUTPUTS = ("predictions",)  # (B, 4 + C, N): centre x, centre y, width, height in pixels, scores of the classes
# (B, 1), (B, D, 4), (B, D), (B, D): after the number of detections, boxes and scores are 0, labels -1.
PADDED_OUTPUTS = ("num_detections", "boxes_xyxy", "scores", "labels")
# Scalars of a graph that outputs detections: inputs, or constants of an .onnx file.
THRESHOLDS = {"score_threshold": np.float32, "iou_threshold": np.float32, "max_detections": np.int64}
# Names of decoded boxes and scores inside an ONNX graph that ends in detections.
INNER_NAMES = {"boxes_xyxy": "decoded_boxes_xyxy", "scores": "decoded_scores"}

Float32 = NDArray[np.float32]
Parsed = TypeVar("Parsed")
# (images as the file takes them, thresholds by name) -> values of the outputs. Thread-safe for the number of callers
# it was opened for.
Engine = Callable[[NDArray[Any], Mapping[str, NDArray[Any]]], Sequence[NDArray[Any]]]


class Interface(BaseModel):
    """Input and outputs of an exported file.

    takes: "pixels", uint8 (B, H, W, 3) RGB; "planes", the same values 0..255 as float32 (B, 3, H, W); "normalised",
    float32 (B, 3, H, W) after the record's preprocessing. batch: fixed batch size; 0: any. any_size:
    height and width may be any multiple of 32.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    takes: Literal["pixels", "planes", "normalised"]
    batch: int = Field(ge=0)
    outputs: tuple[str, ...]
    any_size: bool = False


class ExportedRuntime(ABC):
    """An exported file as a Runtime (see runtimes.base), whichever outputs it has: detections, decoded or raw.

    The network runs on one image at a time (on N if the file was exported with batch size N), so the detections of an
    image do not depend on the rest of the batch. Several images run in parallel, each on one thread, which on CPUs is
    faster than one call with all of them; a single image gets all threads.
    """

    name: str
    # Whether images can run in parallel, one thread each; if not, they run one after another, each on all threads.
    side_by_side = True

    def __init__(self, path: Path, record: ModelRecord, interface: Interface, *, threads: int | None) -> None:
        self.path = path
        self.record = record
        self.interface = interface
        self.threads = threads or usable_threads()
        self.group = interface.batch or 1
        self.gives = _used_outputs(interface.outputs, record, path)
        self._engines: dict[tuple[tuple[str, ...], int], Engine] = {}
        self._process = os.getpid()
        self._of_parent: list[object] = []
        self._engine(self.gives, 1)  # raises now if the file cannot be run

    @property
    def takes_any_size(self) -> bool:
        return self.interface.any_size

    @abstractmethod
    def open_engine(self, outputs: Sequence[str], *, threads: int, at_once: int) -> Engine:
        """The network with these outputs, ready for `at_once` concurrent callers.

        threads: total number of threads for all callers. `outputs` may name raw heads inside the file's graph.
        """

    def detect(
        self,
        canvases: NDArray[np.uint8],
        *,
        multi_label: bool | None = None,
        agnostic: bool | None = None,
        **thresholds: Any,
    ) -> list[Detections]:
        """See runtimes.base.Runtime.detect."""
        self._survive_fork()
        groups = list(self._groups(canvases))
        several = len(groups) > 1 and self.threads > 1 and self.side_by_side
        selection = self.record.thresholds.selection(multi_label, agnostic)
        # Both are fixed in a graph that ends in detections; for other values the raw heads are used.
        is_own = selection == self.record.thresholds.selection(None, None)
        gives = self.gives if is_own or self.gives not in SELECTED else raw_names(self.record)
        engine = self._engine(gives, self.threads if several else 1)

        def detect_group(group: NDArray[np.uint8]) -> list[Detections]:
            prepared, size_hw = self._prepare(group), group.shape[1:3]
            if gives in SELECTED:
                return self._selected(engine(prepared, as_inputs(thresholds)), len(group))
            values = self._as_recorded(gives, engine(prepared, {}), size_hw)
            found = []
            for row in range(len(group)):
                one = [value[row : row + 1] for value in values]
                boxes_xyxy, scores = self._decoded(gives, one, thresholds["score_threshold"])
                found.append(select_detections(boxes_xyxy, scores, **selection, **thresholds))
            return found

        found = self._pool.map(detect_group, groups) if several else map(detect_group, groups)
        return [one for group in found for one in group][: len(canvases)]

    def _selected(self, values: Sequence[NDArray[Any]], num_images: int) -> list[Detections]:
        """Values of the outputs of a graph that ends in detections -> detections of each image.

        WeightsError for a class without a name."""
        found = SELECTED[self.gives](*values, num_images=num_images)
        labels = np.concatenate([one.labels for one in found])
        if len(labels) and not 0 <= labels.min() <= labels.max() < self.record.num_classes:
            expected = f"expected less than {self.record.num_classes}, the number of class_names in its record"
            raise WeightsError.at(self.path, f"class {labels.max()}; {expected}; export it again")
        return found

    def _decoded(
        self, gives: tuple[str, ...], values: Sequence[NDArray[Any]], score_threshold: float
    ) -> tuple[Float32, Float32]:
        """One image's values of these outputs -> boxes_xyxy (R, 4) in pixels of the network input, scores (R, C).

        Raw heads: only of boxes that can have a score above score_threshold."""
        if gives == PACKED_OUTPUTS:
            rows = values[0][0].T
            return cxcywh_to_xyxy(rows[:, :4]), rows[:, 4:]
        if gives == DECODED_OUTPUTS:
            return values[0][0], values[1][0]
        return decode_candidates(values, self.record, score_threshold=score_threshold)

    def raw_heads(self, canvases: NDArray[np.uint8]) -> list[Float32]:
        """Logits of the heads, (B, A * (5 + C), H, W) each, whatever the file's own outputs are."""
        self._survive_fork()
        names = raw_names(self.record)
        engine = self._engine(names, 1)
        batches = [
            self._as_recorded(names, engine(self._prepare(group), {}), canvases.shape[1:3])
            for group in self._groups(canvases)
        ]
        return [np.concatenate(parts)[: len(canvases)] for parts in zip(*batches, strict=True)]

    def heads_and_detections(
        self, canvases: NDArray[np.uint8], **thresholds: Any
    ) -> tuple[list[Float32], list[Detections]]:
        """What `raw_heads` and `detect` return; by one run of the network where one engine gives both."""
        return self.raw_heads(canvases), self.detect(canvases, **thresholds)

    def _as_recorded(
        self, names: Sequence[str], values: Sequence[Float32], size_hw: tuple[int, ...]
    ) -> Sequence[Float32]:
        """The values, which have the shapes that the record gives them for images of this size; WeightsError if not."""
        shapes = {name: value.shape for name, value in zip(names, values, strict=True)}
        require_shapes(shapes, self.record, self.interface, self.path, size_hw)
        return values

    def places_of(self, outputs: Sequence[str]) -> list[int]:
        """Places of these outputs among those of the file, for engines that return all of them in order."""
        return [self.interface.outputs.index(name) for name in outputs]

    def _survive_fork(self) -> None:
        """In a forked process, opens everything anew with one thread: pools would wait for threads of the parent."""
        if self._process != os.getpid():
            self._process, self.threads = os.getpid(), 1
            self._of_parent.append(self._engines)  # ONNX Runtime would join its threads if they were freed
            self._engines = {}

    def _engine(self, outputs: Sequence[str], at_once: int) -> Engine:
        """The engine for these outputs, opened at first use and cached."""
        key = (tuple(outputs), at_once)
        if key not in self._engines:
            self._engines[key] = self.open_engine(outputs, threads=self.threads, at_once=at_once)
        return self._engines[key]

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.threads, thread_name_prefix=f"lookonce-{self.name}")

    def _groups(self, canvases: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
        """Yields batches of the file's batch size; the last image is repeated to fill the last batch."""
        for start in range(0, len(canvases), self.group):
            group = canvases[start : start + self.group]
            missing = self.group - len(group)
            yield np.concatenate([group, np.repeat(group[-1:], missing, axis=0)]) if missing else group

    def _prepare(self, images: NDArray[np.uint8]) -> NDArray[Any]:
        if self.interface.takes == "pixels":
            return images
        if self.interface.takes == "planes":
            return to_planes(images)
        return to_network_input(images, self.record.preprocessing)


def as_inputs(thresholds: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """The inputs of a graph that ends in detections, besides its images."""
    return {name: np.array(thresholds[name], kind) for name, kind in THRESHOLDS.items()}


def raw_names(record: ModelRecord) -> tuple[str, ...]:
    """Names of the raw head outputs, in the network's order."""
    return tuple(f"raw_stride{stride}" for stride in record.strides)


def default_thresholds(record: ModelRecord) -> dict[str, NDArray[Any]]:
    """The record's values of THRESHOLDS, as inputs of a graph."""
    values = record.thresholds.score, record.thresholds.iou, record.thresholds.max_detections
    return {name: np.array(value, kind) for (name, kind), value in zip(THRESHOLDS.items(), values, strict=True)}


def raw_among(names: Iterable[str]) -> set[str]:
    """The names of raw heads, of whatever strides."""
    return {name for name in names if re.fullmatch(r"raw_stride\d+", name)}


def require_heads(names: Iterable[str], record: ModelRecord, path: Path) -> None:
    """WeightsError unless the raw heads among the names of a graph's values, if there are any, are those of the record.

    With fewer heads in the record, readers that decode raw heads would lose the detections of the others.
    """
    found = raw_among(names)
    if found not in (set(), set(raw_names(record))):
        raise WeightsError.at(
            path,
            f"heads {sorted(found)}; expected {sorted(raw_names(record))} by the strides in its record; export it "
            "again",
        )


def parse_record(text: str | None, path: Path, to: str) -> ModelRecord:
    """The record from a file's metadata. to: export format, named in the error when there is no record."""
    if not text:
        raise WeightsError.at(
            path,
            "has no lookonce record (class names, anchors, preprocessing); export it with `lookonce export WEIGHTS "
            f"--to {to}`",
        )
    return _parsed(records.parse_record, text, path)


def described(texts: Mapping[str, str | None], path: Path, to: str) -> tuple[ModelRecord, Interface]:
    """The record and the interface of a format that stores both as texts; see `parse_record`."""
    record = parse_record(texts.get(RECORD_KEY), path, to)
    return record, _parsed(Interface.model_validate_json, texts.get(INTERFACE_KEY) or "", path)


def _parsed(parse: Callable[[str], Parsed], text: str, path: Path) -> Parsed:
    try:
        return parse(text)
    except ValidationError as error:
        problem = error.errors()[0]
        reason = f"{'.'.join(map(str, problem['loc'])) or 'its interface'}: {problem['msg']}"
    except ValueError as error:
        reason = str(error)
    raise WeightsError.at(
        path, f"invalid record: {reason}; another version of lookonce exported it, or it was edited; export it again"
    )


def require_shapes(
    shapes: Mapping[str, Sequence[object]],
    record: ModelRecord,
    interface: Interface,
    path: Path,
    size_hw: tuple[int, ...] = (),
) -> None:
    """WeightsError unless a graph's inputs and outputs have the shapes that the record gives them.

    shapes: name -> size of each axis; the first one, the batch, and sizes that are no number, are not compared.
    size_hw: of the images, for a file that takes any size; by default that of the record.
    """
    expected = _expected_shapes(record, interface, *(size_hw or record.image_size))
    for name, shape in shapes.items():
        wanted = expected.get(name, shape)
        sizes = [size if isinstance(size, int) else other for size, other in zip(shape, wanted, strict=False)]
        if len(shape) != len(wanted) or sizes[1:] != list(wanted[1:]):
            raise WeightsError.at(
                path,
                f"{name}: {list(shape)}; expected {['batch', *wanted[1:]]} by the record (image_size, class_names, "
                "masks, strides) in the file; export it again",
            )


def _expected_shapes(record: ModelRecord, interface: Interface, height: int, width: int) -> dict[str, tuple[int, ...]]:
    channels = 5 + record.num_classes
    heads = [
        (len(mask) * channels, height // stride, width // stride)
        for stride, mask in zip(record.strides, record.masks, strict=True)
    ]
    num_boxes = sum(planes // channels * rows * columns for planes, rows, columns in heads)
    raw = {name: (0, *shape) for name, shape in zip(raw_names(record), heads, strict=True)}
    decoded = {"boxes_xyxy": (0, num_boxes, 4), "scores": (0, num_boxes, record.num_classes)}
    images = (0, height, width, 3) if interface.takes == "pixels" else (0, 3, height, width)
    packed = {PACKED_OUTPUTS[0]: (0, 4 + record.num_classes, num_boxes)}
    return {"images": images, **raw, **packed, **({} if "labels" in interface.outputs else decoded)}


def _used_outputs(names: Sequence[str], record: ModelRecord, path: Path) -> tuple[str, ...]:
    """The outputs used for detection: all of the file's outputs except raw heads beside decoded ones."""
    raw = raw_names(record)
    known = (*SELECTED, DECODED_OUTPUTS, PACKED_OUTPUTS, raw)
    for wanted in known:
        if tuple(names) in (wanted, wanted + raw):
            return wanted
    expected = " or ".join(", ".join(wanted) for wanted in known)
    raise WeightsError.at(path, f"outputs {', '.join(names)}; expected {expected}")


def _split_detections(
    boxes_xyxy: Float32,
    scores: Float32,
    labels: NDArray[np.int64],
    image_index: NDArray[np.int64],
    *,
    num_images: int,
) -> list[Detections]:
    """Detections of a whole batch -> one Detections per image."""
    everything = Detections(boxes_xyxy=boxes_xyxy, scores=scores, labels=labels)
    return [everything.select(image_index == row) for row in range(num_images)]


def _unpadded(
    num_detections: NDArray[np.int64],
    boxes_xyxy: Float32,
    scores: Float32,
    labels: NDArray[np.int64],
    *,
    num_images: int,
) -> list[Detections]:
    """PADDED_OUTPUTS -> one Detections per image."""
    counts = num_detections[:num_images, 0].tolist()
    return [
        Detections(boxes_xyxy=boxes_xyxy[row, :count], scores=scores[row, :count], labels=labels[row, :count])
        for row, count in enumerate(counts)
    ]


# Outputs of graphs that end in detections, and take THRESHOLDS -> function of their values.
SELECTED: dict[tuple[str, ...], Callable[..., list[Detections]]] = {
    DETECTION_OUTPUTS: _split_detections,
    PADDED_OUTPUTS: _unpadded,
}
