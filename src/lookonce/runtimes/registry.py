"""The table of runtimes, and `load_runtime`, which picks one for given weights."""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path

from lookonce.cores import usable_threads
from lookonce.errors import MissingExtra, SettingsError, WeightsError
from lookonce.log import loading_torch
from lookonce.remote.local_copy import local_file
from lookonce.runtimes.base import Runtime
from lookonce.runtimes.kinds import Kind, kind_of
from lookonce.settings.image_size import ImageSize, size_hw, size_in_words
from lookonce.settings.names import require_one_of, suggested_value
from lookonce.settings.values import require_device
from lookonce.targets import imported
from lookonce.weights.foreign import read_names
from lookonce.weights.pull import find_checkpoint, find_weights


@dataclass(frozen=True, kw_only=True)
class RuntimeKind:
    """opens: "module:name" of a class, or of a function of path and device, imported when needed; reads: the file
    formats it runs; extra: the extra of lookonce that it needs, "" for none; package: what pip installs instead;
    text: description for users; has_devices: it takes a device beside the path."""

    opens: str
    reads: tuple[Kind, ...]
    text: str
    extra: str = ""
    package: str = ""
    has_devices: bool = False


# `auto` takes the first that reads a file. To add a runtime, also one in another language, add a class that implements
# lookonce.runtimes.base.Runtime and the formats that it reads.
RUNTIMES: dict[str, RuntimeKind] = {
    "pytorch": RuntimeKind(
        opens="lookonce.runtimes.registry:open_pytorch",
        reads=("checkpoint",),
        text="checkpoints and run folders, on a CPU or an accelerator",
        extra="train",
    ),
    "onnxruntime": RuntimeKind(
        opens="lookonce.runtimes.onnx:OnnxRuntime",
        reads=("onnx",),
        text="ONNX Runtime, in every installation",
        has_devices=True,
    ),
    "openvino": RuntimeKind(
        opens="lookonce.runtimes.openvino:OpenVinoRuntime",
        reads=("openvino", "onnx"),
        text="OpenVINO; the fastest for INT8",
        extra="openvino",
        has_devices=True,
    ),
    "opencv": RuntimeKind(
        opens="lookonce.runtimes.opencv:OpenCvRuntime", reads=("onnx",), text="OpenCV (cv2.dnn), in every installation"
    ),
    "cpp": RuntimeKind(
        opens="lookonce.runtimes.cpp:CppRuntime", reads=("onnx",), text="the C++ program, if it is built"
    ),
    "torchscript": RuntimeKind(
        opens="lookonce.runtimes.torch_programs:TorchScriptRuntime",
        reads=("torchscript",),
        text="libtorch",
        extra="train",
    ),
    "torch-export": RuntimeKind(
        opens="lookonce.runtimes.torch_programs:TorchExportRuntime",
        reads=("torch-export",),
        text="PyTorch, without the network's source code",
        extra="train",
    ),
    "ncnn": RuntimeKind(
        opens="lookonce.runtimes.ncnn:NcnnRuntime",
        reads=("ncnn",),
        text="ncnn, for phones and single-board computers",
        extra="ncnn",
        package="ncnn",  # the extra's converter would bring PyTorch
    ),
    "executorch": RuntimeKind(
        opens="lookonce.runtimes.mobile:ExecuTorchRuntime",
        reads=("executorch",),
        text="ExecuTorch",
        package="executorch",
    ),
    "litert": RuntimeKind(
        opens="lookonce.runtimes.mobile:LiteRtRuntime",
        reads=("tflite",),
        text="LiteRT (TensorFlow Lite)",
        package="ai-edge-litert",
    ),
    "mindspore": RuntimeKind(
        opens="lookonce.runtimes.mindir:MindSporeRuntime",
        reads=("mindir",),
        text="MindSpore, in a separate environment",
    ),
}


def load_runtime(
    path: Path | str,
    *,
    names: Path | None = None,
    device: str = "auto",
    runtime: str = "auto",
    image_size: ImageSize | None = None,
) -> Runtime:
    """Load the weights at `path` with a runtime that reads their format, which is detected from the content.

    names: see weights.load.open_checkpoint. runtime: a name of RUNTIMES, or auto for the first that reads the file.
    device: auto is the CPU for exported files; SettingsError for one that the runtime does not have. image_size: see
    `at_size`; default: that of the record.
    """
    path = find_weights(path)
    require_names(path, names)
    name = choose_runtime(path, runtime)
    chosen, is_pytorch = RUNTIMES[name], name == "pytorch"
    if is_pytorch:
        require_device(device)  # before PyTorch is loaded
    if not chosen.has_devices and not is_pytorch and device.lower() not in ("auto", "cpu"):
        problem = f"{name} runs {path} on the CPU only; leave device out, or choose another runtime"
        raise SettingsError.of("device", device, problem)
    try:
        opened = imported(chosen.opens)
    except ModuleNotFoundError as error:
        if not chosen.extra or (error.name or "").partition(".")[0] == "lookonce":
            raise
        raise MissingExtra(f"{path}: {chosen.text}", chosen.extra) from error
    options = {"names": names, "device": device} if is_pytorch else {"device": device} if chosen.has_devices else {}
    try:
        loaded: Runtime = opened(path, **options)
    except ModuleNotFoundError as error:
        if chosen.package:
            raise MissingExtra(f"{path}: {chosen.text}", chosen.extra, chosen.package) from error
        problem = f"needs {chosen.text}, which is not installed (no module {error.name!r})"
        raise WeightsError.at(path, problem) from error
    return loaded if image_size is None else at_size(loaded, image_size, path)


def at_size(runtime: Runtime, image_size: ImageSize, path: Path) -> Runtime:
    """The same network at another input size: it is fully convolutional. SettingsError for an exported file of one
    size. path: the weights, named in it."""
    wanted_hw = size_hw(image_size)
    if wanted_hw == runtime.record.image_size:
        return runtime
    if not runtime.takes_any_size:
        problem = f"{path} was exported for {size_in_words(runtime.record.image_size)} pixels"
        again = f"take the checkpoint, or export it again with --image-size {size_in_words(wanted_hw)} or, where the "
        again += "format can, --dynamic-size"
        raise SettingsError(f"image_size: {problem}; {again}", setting="image_size", value=image_size)
    resized = copy(runtime)
    resized.record = runtime.record.model_copy(update={"image_size": wanted_hw})
    return resized


def takes_names(path: Path) -> bool:
    """Whether it is a file of another program, which may lack class names."""
    path = find_weights(path)
    return path.is_file() and path.suffix != ".safetensors" and kind_of(path) == "checkpoint"


def require_names(path: Path, names: Path | None) -> None:
    """SettingsError if the weights take no class names, WeightsError if `names` cannot be read: before PyTorch is
    loaded."""
    if names is None:
        return
    if not takes_names(path):
        raise SettingsError(f"names={names}: {path} already holds its class names; omit --names")
    read_names(local_file(names))


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
        problem = f"does not read {path} (format {kind_of(path)}); expected {' or '.join(able)}"
        raise SettingsError.of("runtime", runtime, f"{problem}{suggested_value(runtime, able)}")
    return runtime


def device_of(path: Path, device: str, runtime: str = "auto") -> str:
    """The device of the processes that share the images: `device` for a checkpoint, the CPU for exported files, whose
    runtime has a device of its own."""
    return device if choose_runtime(path, runtime) == "pytorch" else "cpu"


def require_known(runtime: str) -> None:
    require_one_of("runtime", runtime, RUNTIMES, f"auto, {', '.join(RUNTIMES)}")


def runtimes_for(path: Path) -> list[str]:
    """Names of the runtimes that read the weights at `path`; `auto` takes the first."""
    kind = kind_of(find_weights(path))
    return [name for name, known in RUNTIMES.items() if kind in known.reads]


def open_pytorch(path: Path, *, names: Path | None = None, device: str = "auto") -> Runtime:
    """A checkpoint, a run folder or weights of another program, in PyTorch."""
    if path.is_dir():
        find_checkpoint(path)  # before PyTorch is loaded, or missed
    try:
        with loading_torch():
            from lookonce.devices import resolve_device
            from lookonce.runtimes.pytorch import PyTorchRuntime, use_threads
            from lookonce.weights.load import load_weights
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        what = "not an exported file" if takes_names(path) else "a checkpoint"
        advice = "export these weights to .onnx where PyTorch is installed, or use them here, which"
        raise MissingExtra(f"{path}: {what}; {advice}", "train") from error
    use_threads(usable_threads())  # loading computes too
    model, record = load_weights(path, names)
    return PyTorchRuntime(model, record, device=resolve_device(device))
