"""Runs exported OpenVINO files (.xml with its .bin) and .onnx files with OpenVINO, on the CPU, a GPU or an NPU."""

import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lookonce.errors import SettingsError, WeightsError, needing_extra
from lookonce.runtimes.exported import (
    DECODED_OUTPUTS,
    DETECTION_OUTPUTS,
    INNER_NAMES,
    RECORD_KEY,
    SELECTED,
    Engine,
    ExportedRuntime,
    Interface,
    parse_record,
    raw_names,
    require_heads,
    require_shapes,
)
from lookonce.runtimes.onnx import OnnxRuntime


class OpenVinoRuntime(ExportedRuntime):
    """A file run by OpenVINO. The record is in rt_info under RECORD_KEY; in an .onnx file, in its metadata."""

    name = "openvino"

    def __init__(self, path: Path | str, *, threads: int | None = None, device: str = "auto") -> None:
        path = Path(path)
        self._core = import_openvino().Core()
        self._device = openvino_device(self._core, device)
        self._model_names: Mapping[str, str] = {}
        if path.suffix.lower() == ".onnx":
            known = OnnxRuntime(path, threads=1)
            record, interface = known.record, known.interface
            if interface.outputs in SELECTED:
                # OpenVINO treats an input with a default as a constant, so the thresholds would be fixed.
                interface = interface.model_copy(update={"outputs": DECODED_OUTPUTS})
                self._model_names = INNER_NAMES
        else:
            model = self._read(path)
            text = model.get_rt_info(RECORD_KEY).astype(str) if model.has_rt_info(RECORD_KEY) else None
            record, interface = parse_record(text, path, "openvino"), interface_of(model, path)
        super().__init__(path, record, interface, threads=threads)
        if path.suffix.lower() != ".onnx":
            inside = (port for operation in model.get_ops() for port in operation.outputs())
            require_heads((name for port in inside for name in port.get_names()), record, path)
            heads = {name: model.add_outputs([name])[0] for name in raw_names(record)}
            shapes = {
                name: ["any" if size.is_dynamic else size.get_length() for size in port.partial_shape]
                for name, port in {"images": model.input("images"), **heads}.items()
            }
            require_shapes(shapes, record, interface, path)

    def open_engine(self, outputs: Sequence[str], *, threads: int, at_once: int) -> Engine:
        names = [self._model_names.get(name, name) for name in outputs]
        options = {
            **({"INFERENCE_NUM_THREADS": threads} if self._device == "CPU" else {}),
            "NUM_STREAMS": at_once,
            # By default OpenVINO computes in bfloat16 on CPUs that support it, which moves boxes by pixels.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        try:
            graph = with_outputs(self._read(self.path), names)
            # In a separate thread: compile_model leaves its thread with a signal stack so small that the next signal
            # that Python handles there (Ctrl-C, SIGTERM) can end the process with a segmentation fault.
            with ThreadPoolExecutor(1) as aside:
                compiled = aside.submit(self._core.compile_model, graph, self._device, options).result()
        except RuntimeError as error:
            problem = f"OpenVINO cannot run it ({last_line(error)}); use another runtime"
            raise WeightsError.at(self.path, problem) from error
        # The first array of a process, in one thread: two threads in it at once waited for each other for ever, one
        # with the GIL for pybind11's initialisation, the other within that for the GIL (seen once, with gdb, 2026.4).
        openvino = import_openvino()
        _ = openvino.Tensor(openvino.Type.f32, [1]).data
        requests = threading.local()  # a request serves one caller at a time

        def run(images: NDArray[Any], thresholds: Mapping[str, NDArray[Any]]) -> Sequence[NDArray[Any]]:
            if not hasattr(requests, "one"):
                requests.one = compiled.create_infer_request()
            values = requests.one.infer({"images": images, **thresholds})
            return [values[name].copy() for name in names]  # the request reuses this memory for its next result

        return run

    def _read(self, path: Path) -> Any:
        if not path.is_file():
            raise WeightsError.at(path, "no such file; expected an exported .xml file")
        try:
            return self._core.read_model(path)
        except RuntimeError as error:
            again = "export it again with `lookonce export WEIGHTS --to openvino`"
            problem = f"OpenVINO cannot read it, or the .bin beside it ({last_line(error)}); {again}"
            raise WeightsError.at(path, problem) from error


def openvino_device(core: Any, device: str) -> str:
    """OpenVINO's name of a device: `gpu` -> GPU, `gpu:1` or `gpu.1` -> GPU.1, auto -> CPU. SettingsError if it is not
    one of this machine."""
    name = "CPU" if device.lower() == "auto" else device.upper().replace(":", ".")
    if name == "CPU":
        return name
    with ThreadPoolExecutor(1) as aside:  # as in open_engine: looking for devices loads their plugins
        there = list(aside.submit(lambda: core.available_devices).result())
    if name not in {*there, *(one.partition(".")[0] for one in there)}:
        problem = f"OpenVINO finds {', '.join(there)} here; expected one of these, or its driver"
        raise SettingsError.of("device", device, problem)
    return name


def import_openvino() -> Any:
    """The openvino package with telemetry off: without openvino_telemetry it sends nothing."""
    if "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    with needing_extra("OpenVINO", "openvino"):
        return import_module("openvino")


def with_outputs(model: Any, names: Sequence[str]) -> Any:
    """The same graph with these values as outputs, in this order, and without unneeded nodes."""
    openvino = import_openvino()
    ports = [model.add_outputs([name])[0] for name in names]  # also returns existing outputs
    return openvino.Model([port.get_node().input_value(0) for port in ports], model.get_parameters(), "lookonce")


def interface_of(model: Any, path: Path) -> Interface:
    """Input and outputs as the graph declares them."""
    named = [port for port in model.inputs if "images" in port.get_names()]
    if len(named) != 1 or named[0].partial_shape.rank != 4:
        raise WeightsError.at(path, f"inputs {model.inputs}; expected images with 4 axes; export it again")
    image = named[0]
    batch = image.partial_shape[0]
    return Interface(
        takes="pixels" if image.element_type.get_type_name() == "u8" else "normalised",
        batch=0 if batch.is_dynamic else batch.get_length(),
        outputs=tuple(_known_name(port) for port in model.outputs),
        any_size=any(size.is_dynamic for size in list(image.partial_shape)[1:]),
    )


def _known_name(port: Any) -> str:
    """Our name of an output; a value may have several (a raw head is also the output of its convolution)."""
    ours = [name for name in port.names if name in DETECTION_OUTPUTS or name.startswith("raw_stride")]
    return ours[0] if ours else str(port.any_name)


def last_line(error: Exception) -> str:
    """The last line of an OpenVINO error; the lines before it name source files of OpenVINO."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
