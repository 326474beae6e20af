"""The table of runtimes, and `load_runtime`, which picks one for given weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lookonce.cores import usable_threads
from lookonce.errors import MissingExtra, SettingsError, WeightsError
from lookonce.runtimes.base import Runtime
from lookonce.runtimes.kinds import Kind, kind_of
from lookonce.settings.names import suggestion
from lookonce.storage import require_content
from lookonce.targets import imported
from lookonce.weights.pull import find_weights


@dataclass(frozen=True, kw_only=True)
class RuntimeKind:
    """opens: "module:name" of a class, or of a function of path and device, imported when needed; reads: the file
    formats it runs; extra: the extra of lookonce that it needs, "" for none; text: description for users; has_devices:
    it takes a device beside the path."""

    opens: str
    reads: tuple[Kind, ...]
    extra: str
    text: str
    has_devices: bool = False


# `auto` takes the first that reads a file. To add a runtime, also one in another language, add a class that implements
# lookonce.runtimes.base.Runtime and the formats that it reads.
RUNTIMES: dict[str, RuntimeKind] = {
    "pytorch": RuntimeKind(
        opens="lookonce.runtimes.registry:open_pytorch",
        reads=("checkpoint",),
        extra="train",
        text="checkpoints and run folders, on a CPU or an accelerator",
    ),
    "onnxruntime": RuntimeKind(
        opens="lookonce.runtimes.onnx:OnnxRuntime",
        reads=("onnx",),
        extra="",
        text="ONNX Runtime, in every installation",
        has_devices=True,
    ),
    "openvino": RuntimeKind(
        opens="lookonce.runtimes.openvino:OpenVinoRuntime",
        reads=("openvino", "onnx"),
        extra="openvino",
        text="OpenVINO; the fastest for INT8",
        has_devices=True,
    ),
    "opencv": RuntimeKind(
        opens="lookonce.runtimes.opencv:OpenCvRuntime",
        reads=("onnx",),
        extra="",
        text="OpenCV (cv2.dnn), in every installation",
    ),
    "cpp": RuntimeKind(
        opens="lookonce.runtimes.cpp:CppRuntime", reads=("onnx",), extra="", text="the C++ program, if it is built"
    ),
    "torchscript": RuntimeKind(
        opens="lookonce.runtimes.torch_programs:TorchScriptRuntime",
        reads=("torchscript",),
        extra="train",
        text="libtorch",
    ),
    "torch-export": RuntimeKind(
        opens="lookonce.runtimes.torch_programs:TorchExportRuntime",
        reads=("torch-export",),
        extra="train",
        text="PyTorch, without the network's source code",
    ),
    "ncnn": RuntimeKind(
        opens="lookonce.runtimes.ncnn:NcnnRuntime",
        reads=("ncnn",),
        extra="ncnn",
        text="ncnn, for phones and single-board computers",
    ),
    "executorch": RuntimeKind(
        opens="lookonce.runtimes.mobile:ExecuTorchRuntime", reads=("executorch",), extra="", text="ExecuTorch"
    ),
    "litert": RuntimeKind(
        opens="lookonce.runtimes.mobile:LiteRtRuntime", reads=("tflite",), extra="", text="LiteRT (TensorFlow Lite)"
    ),
    "mindspore": RuntimeKind(
        opens="lookonce.runtimes.mindir:MindSporeRuntime",
        reads=("mindir",),
        extra="",
        text="MindSpore, in a separate environment",
    ),
}


def load_runtime(
    path: Path | str, *, names: Path | None = None, device: str = "auto", runtime: str = "auto"
) -> Runtime:
    """Load the weights at `path` with a runtime that reads their format, which is detected from the content.

    names: see weights.load.open_checkpoint. runtime: a name of RUNTIMES, or auto for the first that reads the file.
    device: auto is the CPU for exported files; SettingsError for one that the runtime does not have.
    """
    path = find_weights(path)
    require_content(path, WeightsError)
    if names is not None and not takes_names(path):
        raise SettingsError(f"names={names}: {path} already holds its class names; omit --names")
    name = choose_runtime(path, runtime)
    chosen = RUNTIMES[name]
    if not chosen.has_devices and chosen is not RUNTIMES["pytorch"] and device.lower() not in ("auto", "cpu"):
        raise SettingsError.of(
            "device", device, f"{name} runs {path} on the CPU only; leave device out, or choose another runtime"
        )
    try:
        opened = imported(chosen.opens)
    except ModuleNotFoundError as error:
        if not chosen.extra or (error.name or "").partition(".")[0] == "lookonce":
            raise
        raise MissingExtra(f"{path}: {chosen.text}", chosen.extra) from error
    try:
        if chosen is RUNTIMES["pytorch"]:
            loaded: Runtime = opened(path, names=names, device=device)
        else:
            loaded = opened(path, **({"device": device} if chosen.has_devices else {}))
    except ModuleNotFoundError as error:  # the runtime is not an extra of ours
        raise WeightsError.at(
            path, f"needs {chosen.text}, which is not installed (no module {error.name!r})"
        ) from error
    return loaded


def takes_names(path: Path) -> bool:
    """Whether it is a file of another program, which may lack class names."""
    path = find_weights(path)
    return path.is_file() and path.suffix != ".safetensors" and kind_of(path) == "checkpoint"


def names_for(paths: Sequence[Path], names: Path | None) -> dict[Path, Path | None]:
    """path -> `names` if the path takes class names, else None; SettingsError when no path takes the given names."""
    taking = {path: names if takes_names(path) else None for path in paths}
    if names is not None and not any(taking.values()):
        given = " and ".join(map(str, paths)) or "a results file"
        raise SettingsError(f"names={names}: not needed for {given}; omit --names")
    return taking


def choose_runtime(path: Path, runtime: str = "auto") -> str:
    """A name of RUNTIMES: `runtime` if it reads the file, else an error; auto: the first that reads it."""
    able = runtimes_for(path)
    if runtime != "auto":
        require_known(runtime)
    if not able:
        raise WeightsError.at(path, f"no runtime of lookonce runs the format {kind_of(path)}")
    if runtime == "auto":
        return able[0]
    if runtime not in able:
        raise SettingsError(
            f"runtime: {runtime} does not read {path} (format {kind_of(path)}); expected {' or '.join(able)}",
            setting="runtime",
            value=runtime,
        )
    return runtime


def device_of(path: Path, device: str, runtime: str = "auto") -> str:
    """The device of the processes that share the images: `device` for a checkpoint, the CPU for exported files, whose
    runtime has a device of its own."""
    return device if choose_runtime(path, runtime) == "pytorch" else "cpu"


def require_known(runtime: str) -> None:
    if runtime not in RUNTIMES:
        hint = suggestion(runtime, RUNTIMES) or f"; expected auto, {', '.join(RUNTIMES)}"
        raise SettingsError(f"runtime: unknown runtime {runtime!r}{hint}", setting="runtime", value=runtime)


def runtimes_for(path: Path) -> list[str]:
    """Names of the runtimes that read the weights at `path`; `auto` takes the first."""
    kind = kind_of(find_weights(path))
    return [name for name, known in RUNTIMES.items() if kind in known.reads]


def open_pytorch(path: Path, *, names: Path | None = None, device: str = "auto") -> Runtime:
    """A checkpoint, a run folder or weights of another program, in PyTorch."""
    try:
        from lookonce.devices import resolve_device
        from lookonce.runtimes.pytorch import PyTorchRuntime, use_threads
        from lookonce.weights.load import load_weights
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtra(f"{path}: a checkpoint (exported .onnx files need no PyTorch)", "train") from error
    model, record = load_weights(path, names)
    use_threads(usable_threads())
    return PyTorchRuntime(model, record, device=resolve_device(device))
