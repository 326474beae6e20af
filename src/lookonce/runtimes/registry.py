"""The runtimes: one table, and one door to whatever runs the weights at a path."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from lookonce.config.names import suggestion
from lookonce.cores import usable_threads
from lookonce.errors import MissingExtra, SettingsError, WeightsError
from lookonce.remote.local_copy import local_file, local_weights
from lookonce.runtimes.base import Runtime
from lookonce.runtimes.kinds import Kind, kind_of


@dataclass(frozen=True, kw_only=True)
class RuntimeKind:
    """opens: "module:class", imported when needed, or a function of a path and a device; reads: the kinds of files that
    it runs; extra: what has to be installed for it; text: what it is."""

    opens: str
    reads: tuple[Kind, ...]
    extra: str
    text: str


# `auto` takes the first that reads a file. A program in another language has its place here too: a class whose objects
# are lookonce.runtimes.base.Runtime, and the kinds that it reads.
RUNTIMES: dict[str, RuntimeKind] = {
    "pytorch": RuntimeKind(
        opens="lookonce.runtimes.registry:open_pytorch",
        reads=("checkpoint",),
        extra="train",
        text="checkpoints and runs, on a processor or an accelerator",
    ),
    "onnxruntime": RuntimeKind(
        opens="lookonce.runtimes.onnx:OnnxRuntime",
        reads=("onnx",),
        extra="",
        text="ONNX Runtime, in every installation",
    ),
    "openvino": RuntimeKind(
        opens="lookonce.runtimes.openvino:OpenVinoRuntime",
        reads=("openvino", "onnx"),
        extra="openvino",
        text="OpenVINO; the quickest for int8",
    ),
    "opencv": RuntimeKind(
        opens="lookonce.runtimes.opencv:OpenCvRuntime",
        reads=("onnx",),
        extra="",
        text="OpenCV's own networks, in every installation",
    ),
    "cpp": RuntimeKind(
        opens="lookonce.runtimes.cpp:CppRuntime", reads=("onnx",), extra="", text="the C++ program, where it is built"
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
        text="PyTorch, without the network's source",
    ),
    "ncnn": RuntimeKind(
        opens="lookonce.runtimes.ncnn:NcnnRuntime",
        reads=("ncnn",),
        extra="ncnn",
        text="ncnn, for phones and small boards",
    ),
    "executorch": RuntimeKind(
        opens="lookonce.runtimes.mobile:ExecuTorchRuntime", reads=("executorch",), extra="", text="ExecuTorch"
    ),
    "litert": RuntimeKind(
        opens="lookonce.runtimes.mobile:LiteRtRuntime", reads=("tflite",), extra="", text="LiteRT, TensorFlow Lite"
    ),
    "mindspore": RuntimeKind(
        opens="lookonce.runtimes.mindir:MindSporeRuntime",
        reads=("mindir",),
        extra="",
        text="MindSpore, in an environment of its own",
    ),
}


def load_runtime(
    path: Path | str, *, names: Path | None = None, device: str = "auto", runtime: str = "auto"
) -> Runtime:
    """Whatever runs the weights at `path`, told from what the file holds.

    names: see weights.load.open_checkpoint. runtime: a name of RUNTIMES, or auto for the first that reads the file;
    device: where a checkpoint runs.
    """
    path = local_weights(path)
    if names is not None and not takes_names(path):
        raise SettingsError(f"names={names}: {path} knows its own class names; leave it out")
    chosen = RUNTIMES[choose_runtime(path, runtime)]
    module, _, name = chosen.opens.partition(":")
    try:
        opened = getattr(import_module(module), name)
    except ModuleNotFoundError as error:
        if not chosen.extra or (error.name or "").partition(".")[0] == "lookonce":
            raise
        raise MissingExtra(f"{path}: {chosen.text}", chosen.extra) from error
    try:
        if chosen is RUNTIMES["pytorch"]:
            loaded: Runtime = opened(path, names=names, device=device)
        else:
            loaded = opened(path)
    except ModuleNotFoundError as error:  # of a runtime that is no extra of ours
        raise WeightsError(f"{path}: {chosen.text} is not installed (no module {error.name})", path=path) from error
    return loaded


def takes_names(path: Path) -> bool:
    """Whether it is a file of another program, which may not say how its classes are called."""
    path = local_file(path)
    return path.is_file() and path.suffix != ".safetensors" and kind_of(path) == "checkpoint"


def names_for(paths: Sequence[Path], names: Path | None) -> dict[Path, Path | None]:
    """The list of class names for those of the paths that take one; SettingsError where none of them does."""
    taking = {path: names if takes_names(path) else None for path in paths}
    if names is not None and not any(taking.values()):
        told = " and ".join(map(str, paths)) or "a results file"
        raise SettingsError(f"names={names}: {told}: nothing that needs class names; leave it out")
    return taking


def choose_runtime(path: Path, runtime: str = "auto") -> str:
    """A name of RUNTIMES: the one asked for, if it reads the file, else the first that does."""
    able = runtimes_for(path)
    if runtime != "auto":
        require_known(runtime)
    if not able:
        raise WeightsError(f"{path}: a file of {kind_of(path)}, which nothing here can run", path=path)
    if runtime == "auto":
        return able[0]
    if runtime not in able:
        raise SettingsError(
            f"runtime: {runtime} does not read {path} ({kind_of(path)}); expected {' or '.join(able)}",
            setting="runtime",
            value=runtime,
        )
    return runtime


def device_of(path: Path, device: str, runtime: str = "auto") -> str:
    """The device that weights run on: a checkpoint on that asked for, exported files on the processor."""
    return device if choose_runtime(local_file(path), runtime) == "pytorch" else "cpu"


def require_known(runtime: str) -> None:
    if runtime not in RUNTIMES:
        hint = suggestion(runtime, RUNTIMES) or f"; expected auto, {', '.join(RUNTIMES)}"
        raise SettingsError(f"runtime: unknown runtime {runtime}{hint}", setting="runtime", value=runtime)


def runtimes_for(path: Path) -> list[str]:
    """All that read what lies at a path, the one that `auto` takes first."""
    kind = kind_of(path)
    return [name for name, known in RUNTIMES.items() if kind in known.reads]


def open_pytorch(path: Path, *, names: Path | None = None, device: str = "auto") -> Runtime:
    """A checkpoint, a run folder or weights of another program in PyTorch."""
    try:
        from lookonce.distributed import resolve_device
        from lookonce.runtimes.pytorch import PyTorchRuntime, use_threads
        from lookonce.weights.load import load_weights
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise MissingExtra(f"{path}: a checkpoint (exported .onnx files run without)", "train") from error
    model, record = load_weights(path, names)
    use_threads(usable_threads())
    return PyTorchRuntime(model, record, device=resolve_device(device))
