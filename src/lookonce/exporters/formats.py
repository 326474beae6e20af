"""The table of export formats: the use of each file, its outputs and precisions, and how far it is tested."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from lookonce.errors import MissingExtra, WeightsError
from lookonce.exporters.plan import ExportPlan, Outputs, Precision
from lookonce.settings.record import ModelRecord
from lookonce.targets import imported

# validated: the tests and every export write, run and compare the file; available: the converter is not an extra of
# lookonce, or no runtime here can run the file; blocked: not written, for the reason in the table.
Support = Literal["validated", "available", "blocked"]


@dataclass(frozen=True, kw_only=True)
class Format:
    """One format.

    writer: "module:function", imported when a file is written; runtime: name in runtimes/registry.py of the one that
    the file is compared in; outputs: possible outputs, the most complete first; text: programs that read the file, or
    why it is blocked. extra: required extra beside lookonce[train]; converter: module of another project that writes
    the file.
    """

    suffix: str
    verdict: Support
    text: str
    writer: str = ""
    runtime: str = ""
    outputs: tuple[Outputs, ...] = ()
    precisions: tuple[Precision, ...] = ("fp32",)
    extra: str = ""
    converter: str = ""

    def require_converter(self, precision: Precision) -> None:
        """MissingExtra or WeightsError if a module is missing, before PyTorch is loaded and ranges are measured."""
        in_int8 = precision == "int8" and self.extra == "openvino"
        module, extra = ("nncf", "int8") if in_int8 else (self.converter, self.extra)
        if not module or find_spec(module) is not None:
            return
        if extra:
            raise MissingExtra(f"export to {self.suffix} in {precision}", extra)
        raise WeightsError(f"export to {self.suffix}: module {module!r} is not installed; {self.text}")

    def write(self, model: Any, record: ModelRecord, plan: ExportPlan, path: Path) -> None:
        """Writes the file; `model` is a torch.nn.Module. Raises MissingExtra or WeightsError if a module is missing."""
        self.require_converter(plan.precision)
        try:
            imported(self.writer)(model, record, plan, path)
        except ModuleNotFoundError as error:
            raise MissingExtra(f"export to {self.suffix}", "train") from error


FORMATS: dict[str, Format] = {
    "onnx": Format(
        suffix=".onnx",
        verdict="validated",
        text="ONNX Runtime, OpenCV, OpenVINO; the input of TensorRT and of most compilers for chips",
        writer="lookonce.exporters.onnx:write_onnx",
        runtime="onnxruntime",
        outputs=("detections", "decoded", "raw", "packed", "padded"),
        precisions=("fp32", "fp16", "int8"),
    ),
    "openvino": Format(
        suffix=".xml",
        verdict="validated",
        text="OpenVINO on Intel CPUs, GPUs and NPUs; the weights are in a .bin beside it",
        writer="lookonce.exporters.openvino:write_openvino",
        runtime="openvino",
        outputs=("detections", "decoded", "raw"),
        precisions=("fp32", "fp16", "int8"),
        extra="openvino",
        converter="openvino",
    ),
    "torchscript": Format(
        suffix=".torchscript",
        verdict="validated",
        text="libtorch: C++ and mobile programs of PyTorch",
        writer="lookonce.exporters.torch_programs:write_torchscript",
        runtime="torchscript",
        outputs=("decoded", "raw"),
    ),
    "torch-export": Format(
        suffix=".pt2",
        verdict="validated",
        text="torch.export.load, AOTInductor and other tools for PyTorch's export",
        writer="lookonce.exporters.torch_programs:write_package",
        runtime="torch-export",
        outputs=("decoded", "raw"),
    ),
    "ncnn": Format(
        suffix=".ncnn",
        verdict="validated",
        text="ncnn on phones and small boards; a folder; one image per call, as planes of 0..255",
        writer="lookonce.exporters.ncnn:write_ncnn",
        runtime="ncnn",
        outputs=("raw",),
        precisions=("fp32", "fp16"),
        extra="ncnn",
        converter="pnnx",
    ),
    "executorch": Format(
        suffix=".pte",
        verdict="available",
        text="PyTorch on phones and boards; pip install executorch, tested with 1.5.1; its .json is beside it",
        writer="lookonce.exporters.mobile:write_executorch",
        runtime="executorch",
        converter="executorch",
        outputs=("decoded", "raw"),
    ),
    "tflite": Format(
        suffix=".tflite",
        verdict="available",
        text="LiteRT on Android and boards; pip install litert-torch, tested with 0.10.0 (requires PyTorch 2.14); "
        "its .json is beside it",
        writer="lookonce.exporters.mobile:write_tflite",
        runtime="litert",
        converter="litert_torch",
        outputs=("raw",),
    ),
    "coreml": Format(
        suffix=".mlpackage",
        verdict="available",
        text="Apple systems only; pip install coremltools, tested with 9.0; requires --no-preprocess",
        writer="lookonce.exporters.mobile:write_coreml",
        converter="coremltools",
        outputs=("raw",),
    ),
    "mindir": Format(
        suffix=".mindir",
        verdict="validated",
        text="MindSpore and MindSpore Lite, also on Ascend 310; requires MindSpore in a separate environment",
        writer="lookonce.exporters.mindir:write_mindir",
        runtime="mindspore",
        outputs=("decoded", "raw"),
    ),
    "air": Format(
        suffix="",
        verdict="blocked",
        text="MindSpore writes it on Ascend hardware only, from the .ckpt of `lookonce convert --to mindspore`",
    ),
    "tensorrt": Format(
        suffix=".engine",
        verdict="blocked",
        text="TensorRT builds an engine on the GPU that runs it: `lookonce export WEIGHTS --for tensorrt` writes the "
        "model and the script for it",
    ),
}
