"""Runs exported .onnx files with ONNX Runtime, on the CPU or an accelerator, without PyTorch."""

import io
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lookonce.cores import usable_threads
from lookonce.detections import Detections
from lookonce.errors import SettingsError, WeightsError, needing_extra
from lookonce.protobuf import as_field, fields
from lookonce.runtimes.exported import (
    RECORD_KEY,
    SELECTED,
    THRESHOLDS,
    Engine,
    ExportedRuntime,
    Float32,
    Interface,
    as_inputs,
    parse_record,
    raw_among,
    raw_names,
    require_heads,
    require_shapes,
)
from lookonce.settings.names import suggested_value

# ONNX Runtime reads this when it is imported. Without it, 1.32 stores an id of the device and events in
# ~/.cache/Microsoft, and sends them; its disable_telemetry_events() comes too late for that.
NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
_was_set = NO_TELEMETRY in os.environ
os.environ.setdefault(NO_TELEMETRY, "1")
import onnxruntime as onnxruntime  # noqa: E402, PLC0414  # others import it from here

if not _was_set:
    del os.environ[NO_TELEMETRY]

ERRORS_ONLY = 3
CHUNK = 1 << 20  # bytes of a file that are read at once
CPU = "CPUExecutionProvider"
# Device -> ONNX Runtime's execution provider, the option that takes what follows the colon (cuda:1, openvino:GPU), and
# the package of Python that has it, in place of onnxruntime.
PROVIDERS = {
    "cuda": ("CUDAExecutionProvider", "device_id", "onnxruntime-gpu"),
    "tensorrt": ("TensorrtExecutionProvider", "device_id", "onnxruntime-gpu"),
    "openvino": ("OpenVINOExecutionProvider", "device_type", "onnxruntime-openvino"),
    "coreml": ("CoreMLExecutionProvider", "MLComputeUnits", "onnxruntime on macOS"),
    "directml": ("DmlExecutionProvider", "device_id", "onnxruntime-directml"),
    "npu": ("CANNExecutionProvider", "device_id", "onnxruntime-cann"),
}


class OnnxRuntime(ExportedRuntime):
    """An .onnx file, run by ONNX Runtime.

    content: its bytes; with thresholds as inputs, if it outputs detections. The sessions have the raw heads inside as
    further outputs, whose shapes ONNX Runtime infers: they cost no time, and opening another one takes 0.15 s.
    """

    name = "onnxruntime"

    def __init__(self, path: Path | str, *, threads: int | None = None, device: str = "auto") -> None:
        path = Path(path)
        self._device = device
        provider_of(device)  # raises now if it is not there
        file = read_onnx(path)
        graph = _names_in(file.getbuffer())
        heads = sorted(raw_among(graph["value"]))
        inner = [as_field(12, as_field(1, name.encode())) for name in heads if name not in graph["output"]]
        # Files exported before 29 November 2026 have the inputs already.
        if tuple(graph["output"]) in SELECTED and THRESHOLDS.keys().isdisjoint(graph["input"]):
            file.write(threshold_inputs())
        self._num_own = file.tell()
        file.write(as_field(7, b"".join(inner)) if inner else b"")
        self._with_heads = file.getvalue()
        session = open_session(self._with_heads, path, threads or usable_threads(), device=device)
        # (process, callers at once) -> session. One that a parent opened is never used, nor freed: see _survive_fork.
        self._sessions = {(os.getpid(), 1): session}
        record = parse_record(session.get_modelmeta().custom_metadata_map.get(RECORD_KEY), path, "onnx")
        super().__init__(path, record, interface_of(session, path, graph["output"]), threads=threads)
        require_heads(heads, record, path)
        shapes = {value.name: value.shape for value in (*session.get_inputs(), *session.get_outputs())}
        require_shapes(shapes, record, self.interface, path)

    @property
    def content(self) -> bytes:
        return self._with_heads[: self._num_own]

    def heads_and_detections(
        self, canvases: NDArray[np.uint8], **thresholds: Any
    ) -> tuple[list[Float32], list[Detections]]:
        if self.gives not in SELECTED:
            return super().heads_and_detections(canvases, **thresholds)
        self._survive_fork()
        names, count = raw_names(self.record), len(self.gives)
        engine, inputs = self._engine((*self.gives, *names), 1), as_inputs(thresholds)
        raws, found = [], []
        for group in self._groups(canvases):
            values = engine(self._prepare(group), inputs)
            found += self._selected(values[:count], len(group))
            raws.append(self._as_recorded(names, values[count:], canvases.shape[1:3]))
        heads = [np.concatenate(parts)[: len(canvases)] for parts in zip(*raws, strict=True)]
        return heads, found[: len(canvases)]

    def open_engine(self, outputs: Sequence[str], *, threads: int, at_once: int) -> Engine:
        names, key = list(outputs), (os.getpid(), at_once)
        if key not in self._sessions:
            one = threads if at_once == 1 else 1
            self._sessions[key] = open_session(self._with_heads, self.path, one, device=self._device)
        session = self._sessions[key]

        def run(images: NDArray[Any], thresholds: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
            values: Sequence[NDArray[Any]] = session.run(names, {"images": images, **thresholds})
            return values

        return run


def read_onnx(path: Path) -> io.BytesIO:
    """The file in memory. Given a path instead, ONNX Runtime would also load external weight files it refers to.

    More can be appended, and `getvalue` called, without a copy: of the full network's 35 MB each takes 0.04 s of
    processor time.
    """
    content = io.BytesIO()
    try:
        with path.open("rb") as file:
            shutil.copyfileobj(file, content, CHUNK)
    except OSError as error:
        raise WeightsError.at(path, f"cannot be read ({error.strerror}); expected an exported .onnx file") from error
    return content


def _names_in(content: memoryview) -> dict[str, list[str]]:
    """Names of a graph's inputs, outputs and values; none of a truncated file, which ONNX Runtime refuses as it is.

    onnx.proto: ModelProto.graph 7; GraphProto.node 1, input 11, output 12; NodeProto.output 2; ValueInfoProto.name 1.
    """
    found: dict[str, list[str]] = {"value": [], "input": [], "output": []}
    places = {1: ("value", 2), 11: ("input", 1), 12: ("output", 1)}
    try:
        graphs = [graph for number, graph in fields(content) if number == 7]
        parts = [(*places[number], part) for graph in graphs for number, part in fields(graph) if number in places]
        for kind, of_name, part in parts:
            found[kind] += [bytes(name).decode(errors="replace") for at, name in fields(part) if at == of_name]
    except (ValueError, IndexError):
        return {kind: [] for kind in found}
    return found


def provider_of(device: str) -> tuple[str, dict[str, str]]:
    """(execution provider, its options) of a device: auto and cpu are the CPU. SettingsError if it is not installed."""
    kind, _, detail = device.lower().partition(":")
    if kind in ("auto", "cpu"):
        return CPU, {}
    there = onnxruntime.get_available_providers()
    known = ["cpu", *(name for name, (provider, *_) in PROVIDERS.items() if provider in there)]
    if kind not in known:
        expected = f"expected {' or '.join(known)}"
        if kind not in PROVIDERS:
            hint = suggested_value(kind, PROVIDERS)
            raise SettingsError.of("device", device, f"unknown to ONNX Runtime; {expected}{hint}")
        ways = f"install {PROVIDERS[kind][2]} in place of onnxruntime"
        ways += ", or use --runtime openvino" if kind == "openvino" else ""
        raise SettingsError.of("device", device, f"ONNX Runtime here has no provider for it; {expected}; {ways}")
    provider, option, _ = PROVIDERS[kind]
    return provider, {option: device.partition(":")[2]} if detail else {}


def open_session(content: bytes, path: Path, threads: int, *, device: str = "cpu") -> onnxruntime.InferenceSession:
    """A session on a device; `path` is named in errors. WeightsError when the bytes are not a complete model.

    SettingsError where ONNX Runtime would use the CPU instead, since the device's libraries are missing.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Let waiting threads sleep: by default they spin, which takes CPU time from decoding and drawing.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = ERRORS_ONLY  # it warns that the thresholds can be overridden, which is intended
    provider, details = provider_of(device)
    try:
        # The CPU takes the operators that an accelerator does not have.
        session = onnxruntime.InferenceSession(content, options, providers=[(provider, details), *{CPU} - {provider}])
    except Exception as error:  # ONNX Runtime's errors share no narrower base class
        reason = "truncated or not an ONNX file, or its weights are in external files"
        again = "export it again with `lookonce export WEIGHTS --to onnx`"
        raise WeightsError.at(path, f"{len(content):,} bytes; {reason} ({error}); {again}") from error
    if provider not in session.get_providers():
        problem = f"ONNX Runtime cannot load {provider}; install its libraries, or use device=cpu"
        raise SettingsError.of("device", device, problem)
    return session


def threshold_inputs() -> bytes:
    """Bytes that, appended to an .onnx file, make its thresholds inputs; the values in the file become the defaults.

    A protocol buffers message that occurs twice is merged, so this is a ModelProto whose graph has the inputs alone.
    Field numbers of onnx.proto: ModelProto.graph 7; GraphProto.input 11; ValueInfoProto.name 1, type 2;
    TypeProto.tensor_type 1; Tensor.elem_type 1 (float 1, int64 7), shape 2, which is empty: a scalar.
    """
    inputs = b""
    for name, kind in THRESHOLDS.items():
        scalar = as_field(1, bytes([8, 1 if kind is np.float32 else 7]) + as_field(2, b""))
        inputs += as_field(11, as_field(1, name.encode()) + as_field(2, scalar))
    return as_field(7, inputs)


def interface_of(session: onnxruntime.InferenceSession, path: Path, outputs: Sequence[str]) -> Interface:
    """Input and outputs as the graph declares them."""
    inputs = session.get_inputs()
    image = inputs[0]
    if len(inputs) != 1 or image.name != "images" or len(image.shape) != 4:
        found = [(given.name, given.shape) for given in inputs]
        raise WeightsError.at(path, f"inputs {found}; expected images with 4 axes; export it again")
    return Interface(
        takes="pixels" if image.type == "tensor(uint8)" else "normalised",
        batch=image.shape[0] if isinstance(image.shape[0], int) else 0,
        outputs=tuple(outputs),
        any_size=not all(isinstance(size, int) for size in image.shape[1:]),
    )


def with_outputs(content: bytes, names: Sequence[str], raw: Sequence[str]) -> bytes:
    """The same graph with raw heads or decoded values as outputs, and without unneeded nodes.

    raw: names of raw heads, (B, A * (5 + C), H, W); decoded values are (B, N, 4 or C).
    """
    with needing_extra("reading other outputs of an .onnx file", "train", package="onnx"):
        import onnx
    proto = onnx.load_model_from_string(content)
    graph, wanted, nodes = proto.graph, set(names), []
    for node in reversed(graph.node):  # nodes are sorted: a value is computed before its use
        if wanted.intersection(node.output):
            nodes.append(node)
            wanted.update(node.input)
    kept = {field: [one for one in getattr(graph, field) if one.name in wanted] for field in ("input", "initializer")}
    describe, kind = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    kept["output"] = [describe(name, kind, [None] * (4 if name in raw else 3)) for name in names]
    for field, values in (kept | {"node": nodes[::-1], "value_info": []}).items():
        graph.ClearField(field)
        getattr(graph, field).extend(values)
    changed: bytes = proto.SerializeToString()
    return changed
