"""Export to the runtimes of phones and microcontrollers: ExecuTorch, LiteRT (TensorFlow Lite) and Core ML.

Their converters are not extras of lookonce, because they bring hundreds of packages or require one version of PyTorch;
install them by hand. ExecuTorch and LiteRT run on the converting machine, so their files are compared; Core ML runs on
Apple systems only.
"""

import json
import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import torch
from torch import Tensor, nn

from lookonce.errors import SettingsError
from lookonce.exporters.plan import ExportPlan
from lookonce.exporters.torch_programs import Program, example_input, extra_files, traced
from lookonce.settings.record import ModelRecord
from lookonce.shown import to_json


def write_executorch(model: nn.Module, record: ModelRecord, plan: ExportPlan, path: Path) -> None:
    """Writes PATH.pte, with convolutions on XNNPACK, and the record in PATH.json beside it."""
    xnnpack = import_module("executorch.backends.xnnpack.partition.xnnpack_partitioner")
    exir = import_module("executorch.exir")
    program, example = _fixed(model, record, plan)
    with warnings.catch_warnings(action="ignore"), torch.no_grad():
        exported = torch.export.export(program, (example,))
        lowered = exir.to_edge_transform_and_lower(exported, partitioner=[xnnpack.XnnpackPartitioner()])
        path.write_bytes(lowered.to_executorch().buffer)
    _describe_beside(extra_files(program, record, plan, len(example)), path)


def write_tflite(model: nn.Module, record: ModelRecord, plan: ExportPlan, path: Path) -> None:
    """Writes PATH.tflite, and the record in PATH.json beside it."""
    litert_torch = import_module("litert_torch")
    program, example = _fixed(model, record, plan)
    with warnings.catch_warnings(action="ignore"), torch.no_grad():
        litert_torch.convert(program, (example,)).export(str(path))
    _describe_beside(extra_files(program, record, plan, len(example)), path)


def write_coreml(model: nn.Module, record: ModelRecord, plan: ExportPlan, path: Path) -> None:
    """Writes the package PATH.mlpackage, with the record in its user-defined metadata."""
    coremltools = import_module("coremltools")
    if plan.preprocess:
        raise SettingsError(
            "preprocess: true; expected false, Core ML has no uint8 input; add --no-preprocess", setting="preprocess"
        )
    program, example = _fixed(model, record, plan)
    with warnings.catch_warnings(action="ignore"), torch.no_grad():
        package = coremltools.convert(
            traced(program, example),
            inputs=[coremltools.TensorType(name="images", shape=example.shape)],
            outputs=[coremltools.TensorType(name=name) for name in program.outputs],
            convert_to="mlprogram",
            compute_precision=coremltools.precision.FLOAT32,
        )
    for key, text in extra_files(program, record, plan, len(example)).items():
        package.user_defined_metadata[key] = text
    package.save(str(path))


def _fixed(model: nn.Module, record: ModelRecord, plan: ExportPlan) -> tuple[Program, Tensor]:
    """The network and an example input; these files have a fixed batch size, that of the example, and image size."""
    if plan.dynamic_size:
        raise SettingsError(
            "dynamic_size: true; expected false, this format has one size; leave it out", setting="dynamic_size"
        )
    program = Program(model, record, plan).eval()
    return program, example_input(record, plan)[: plan.batch or 1]


def _describe_beside(texts: Mapping[str, str], path: Path) -> None:
    values = {key: json.loads(text) for key, text in texts.items()}
    path.with_suffix(".json").write_text(to_json(values, indent=1), encoding="utf-8")
