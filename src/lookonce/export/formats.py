"""The one table of formats: what each file is for, what it can hold, and how sure we are of it."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from lookonce.config.record import ModelRecord
from lookonce.errors import MissingExtra, WeightsError
from lookonce.export.plan import ExportPlan, Outputs, Precision

# validated: written, run and compared by the tests, and at every export again; available: written by a converter that
# is no extra of ours, or run by nothing here; blocked: not written, for the reason that the table gives.
Support = Literal["validated", "available", "blocked"]


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format.

    writer: "module:function", imported when a file is written; runtime: the one that proves the file, by its name in
    runtimes/registry.py; outputs: what the file can give, the most first; text: what reads it, or why it is blocked.
    extra: what has to be installed beside lookonce[train]; package: the module that it brings.
    """

    suffix: str
    verdict: Support
    text: str
    writer: str = ""
    runtime: str = ""
    outputs: tuple[Outputs, ...] = ()
    precisions: tuple[Precision, ...] = ("fp32",)
    extra: str = ""

    def write(self, model: Any, record: ModelRecord, plan: ExportPlan, path: Path) -> None:
        """Write the file; `model` is a torch.nn.Module."""
        module, _, function = self.writer.partition(":")
        try:
            write = getattr(import_module(module), function)
        except ModuleNotFoundError as error:
            raise MissingExtra(f"export to {self.suffix}", self.extra or "train") from error
        try:
            write(model, record, plan, path)
        except ModuleNotFoundError as error:
            if self.verdict == "validated":  # nncf, which only eight bits need
                raise MissingExtra(f"export to {self.suffix} in {plan.precision}", "int8") from error
            raise WeightsError(
                f"{path.name} cannot be written: no module {error.name}; {self.text}", path=path
            ) from error


FORMATS: dict[str, Format] = {
    "onnx": Format(
        suffix=".onnx",
        verdict="validated",
        text="ONNX Runtime, OpenCV, OpenVINO; where TensorRT and most compilers for chips start",
        writer="lookonce.export.onnx:write_onnx",
        runtime="onnxruntime",
        outputs=("detections", "decoded", "raw"),
        precisions=("fp32", "fp16", "int8"),
    ),
    "openvino": Format(
        suffix=".xml",
        verdict="validated",
        text="OpenVINO on Intel's processors, GPUs and NPUs; the weights lie in a .bin beside it",
        writer="lookonce.export.openvino:write_openvino",
        runtime="openvino",
        outputs=("detections", "decoded", "raw"),
        precisions=("fp32", "fp16", "int8"),
        extra="openvino",
    ),
    "torchscript": Format(
        suffix=".torchscript",
        verdict="validated",
        text="libtorch: C++ and mobile programs of PyTorch",
        writer="lookonce.export.torch_programs:write_torchscript",
        runtime="torchscript",
        outputs=("decoded", "raw"),
    ),
    "torch-export": Format(
        suffix=".pt2",
        verdict="validated",
        text="torch.export.load, AOTInductor and what builds on PyTorch's export",
        writer="lookonce.export.torch_programs:write_package",
        runtime="torch-export",
        outputs=("decoded", "raw"),
    ),
    "ncnn": Format(
        suffix=".ncnn",
        verdict="validated",
        text="ncnn on phones and small boards; a folder, one picture at a time, planes of 0..255 in",
        writer="lookonce.export.ncnn:write_ncnn",
        runtime="ncnn",
        outputs=("raw",),
        precisions=("fp32", "fp16"),
        extra="ncnn",
    ),
    "executorch": Format(
        suffix=".pte",
        verdict="available",
        text="PyTorch on phones and boards; pip install executorch, tried with 1.5.1; its .json lies beside it",
        writer="lookonce.export.mobile:write_executorch",
        runtime="executorch",
        outputs=("decoded", "raw"),
    ),
    "tflite": Format(
        suffix=".tflite",
        verdict="available",
        text="LiteRT on Android and boards; pip install litert-torch, tried with 0.10.0 (it wants PyTorch 2.14); its "
        ".json lies beside it",
        writer="lookonce.export.mobile:write_tflite",
        runtime="litert",
        outputs=("raw",),
    ),
    "coreml": Format(
        suffix=".mlpackage",
        verdict="available",
        text="Apple's systems, which alone run it; pip install coremltools, tried with 9.0; with --no-preprocess only",
        writer="lookonce.export.mobile:write_coreml",
        outputs=("raw",),
    ),
    "mindir": Format(
        suffix=".mindir",
        verdict="validated",
        text="MindSpore and MindSpore Lite, on Ascend 310 too; needs MindSpore in an environment of its own",
        writer="lookonce.export.mindir:write_mindir",
        runtime="mindspore",
        outputs=("decoded", "raw"),
        extra="mindspore",
    ),
    "air": Format(
        suffix="",
        verdict="blocked",
        text="MindSpore writes it on Ascend hardware only, from the .ckpt that `lookonce convert --to mindspore` makes",
    ),
    "tensorrt": Format(
        suffix=".engine",
        verdict="blocked",
        text="an engine is built on the GPU that runs it: trtexec --onnx=NAME-raw.onnx",
    ),
}
