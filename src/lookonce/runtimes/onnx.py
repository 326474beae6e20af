"""Exported .onnx files through ONNX Runtime, on the processor, without PyTorch."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from pydantic import ValidationError

from lookonce.config.record import ModelRecord
from lookonce.detections import Detections
from lookonce.errors import WeightsError
from lookonce.model.nms import select_detections
from lookonce.runtimes.heads import decode_heads, to_network_input

RECORD_KEY = "lookonce_record"  # of the file's metadata; export/metadata.py writes it
DETECTION_OUTPUTS = ["boxes_xyxy", "scores", "labels", "image_index"]
DECODED_OUTPUTS = ["boxes_xyxy", "scores"]
ERRORS_ONLY = 3


class OnnxRuntime:
    """An exported file as a Runtime (see runtimes.base), whichever outputs it has: detections, decoded or raw.

    Pictures go through the network one at a time (N at a time where the file was exported for N), so the answer for a
    picture does not depend on its neighbours. Several pictures run side by side, each on one thread, which on
    processors is faster than one call with all of them; a single picture gets all threads.
    """

    name = "onnxruntime"

    def __init__(self, path: Path | str, *, threads: int | None = None) -> None:
        self.path = Path(path)
        self.threads = threads or usable_threads()
        self._content = _read(self.path)
        self._session = open_session(self._content, self.path, self.threads)
        self.record = _read_record(self._session, self.path)
        image = self._session.get_inputs()[0]
        self.takes_pixels = image.type == "tensor(uint8)"
        self.group = image.shape[0] if isinstance(image.shape[0], int) else 1
        self.outputs = _check_outputs([output.name for output in self._session.get_outputs()], self.record, self.path)

    def detect(
        self, canvases: NDArray[np.uint8], *, score_threshold: float, iou_threshold: float, max_detections: int
    ) -> list[Detections]:
        """See runtimes.base.Runtime.detect."""
        groups = [canvases[start : start + self.group] for start in range(0, len(canvases), self.group)]
        session = self._session if len(groups) == 1 or self.threads == 1 else self._single_thread_session

        def detect_group(group: NDArray[np.uint8]) -> list[Detections]:
            return self._detect_group(
                session,
                group,
                score_threshold=score_threshold,
                iou_threshold=iou_threshold,
                max_detections=max_detections,
            )

        found = map(detect_group, groups) if session is self._session else self._pool.map(detect_group, groups)
        return [one for group in found for one in group]

    @cached_property
    def _single_thread_session(self) -> onnxruntime.InferenceSession:
        return open_session(self._content, self.path, 1)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(self.threads, thread_name_prefix="lookonce-onnx")

    def _detect_group(
        self, session: onnxruntime.InferenceSession, group: NDArray[np.uint8], **thresholds: Any
    ) -> list[Detections]:
        missing = self.group - len(group)
        images = np.concatenate([group, np.repeat(group[-1:], missing, axis=0)]) if missing else group
        prepared = images if self.takes_pixels else to_network_input(images, self.record.preprocessing)
        if self.outputs == DETECTION_OUTPUTS:
            values = session.run(self.outputs, {"images": prepared, **_threshold_arrays(**thresholds)})
            return _split_detections(*values, num_pictures=len(group))
        values = session.run(self.outputs, {"images": prepared})
        boxes_xyxy, scores = values if self.outputs == DECODED_OUTPUTS else decode_heads(values, self.record)
        return [select_detections(boxes_xyxy[row], scores[row], **thresholds) for row in range(len(group))]


def usable_threads() -> int:
    """OMP_NUM_THREADS where it is set, else the physical cores that this process may use."""
    wanted = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    return len({_core_of(cpu) for cpu in os.sched_getaffinity(0)})


def _core_of(cpu: int) -> str:
    """The processors that share a core with this one, in Linux's spelling: "0-1"."""
    siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
    try:
        return siblings.read_text(encoding="ascii").strip()
    except OSError:
        return str(cpu)


def _read(path: Path) -> bytes:
    """The whole file: opened by its path, ONNX Runtime would follow a file to other files that it names as weights."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror}); expected an exported .onnx file") from error


def open_session(content: bytes, path: Path, threads: int) -> onnxruntime.InferenceSession:
    """A session on the processor; `path` is what errors say. WeightsError when the bytes are no whole model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Waiting threads sleep: by default they spin, which takes the processor from decoding and drawing.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = ERRORS_ONLY  # it warns of the thresholds that can be overridden, as they are meant to
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's own errors share no other base class
        raise WeightsError(
            f"{path} ({len(content):,} bytes): not a complete ONNX file, or its weights lie in other files ({error}); "
            "export it again with `lookonce export WEIGHTS --to onnx`"
        ) from error


def _read_record(session: onnxruntime.InferenceSession, path: Path) -> ModelRecord:
    text = session.get_modelmeta().custom_metadata_map.get(RECORD_KEY)
    if text is None:
        raise WeightsError(
            f"{path}: an ONNX file without the record that lookonce writes into its own (class names, anchors, "
            "preprocessing); make the file with `lookonce export WEIGHTS --to onnx`"
        )
    try:
        return ModelRecord.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"])
        raise WeightsError(
            f"{path}: its record cannot be read: {where}: {problem['msg']}; "
            "it was exported by another version of lookonce, or edited by hand"
        ) from error


def _check_outputs(names: list[str], record: ModelRecord, path: Path) -> list[str]:
    raw = [f"raw_stride{stride}" for stride in record.strides]
    if names not in (DETECTION_OUTPUTS, DECODED_OUTPUTS, raw):
        raise WeightsError(f"{path}: outputs {names}; expected {DETECTION_OUTPUTS}, {DECODED_OUTPUTS} or {raw}")
    return names


def _threshold_arrays(
    *, score_threshold: float, iou_threshold: float, max_detections: int
) -> dict[str, NDArray[np.generic]]:
    return {
        "score_threshold": np.array(score_threshold, np.float32),
        "iou_threshold": np.array(iou_threshold, np.float32),
        "max_detections": np.array(max_detections, np.int64),
    }


def _split_detections(
    boxes_xyxy: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    image_index: NDArray[np.int64],
    *,
    num_pictures: int,
) -> list[Detections]:
    """Detections of a group, in one array each -> one element a picture."""
    everything = Detections(boxes_xyxy=boxes_xyxy, scores=scores, labels=labels)
    return [everything.select(image_index == row) for row in range(num_pictures)]
