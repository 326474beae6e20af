"""Export to PyTorch's two program formats, which need no source: TorchScript and the torch.export package."""

import io
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lookonce.exporters.folding import fold_batchnorm
from lookonce.exporters.metadata import describe, texts_of
from lookonce.exporters.plan import ExportPlan
from lookonce.model.decode import decode_heads
from lookonce.model.normalise import to_network_input
from lookonce.runtimes.exported import DECODED_OUTPUTS, Interface, raw_names
from lookonce.runtimes.pytorch import anchor_tensors
from lookonce.settings.record import ModelRecord


class Program(nn.Module):
    """The network with the preprocessing and decoding of the plan. Outputs: decoded boxes and scores unless they are
    raw, then the raw heads."""

    def __init__(self, model: nn.Module, record: ModelRecord, plan: ExportPlan) -> None:
        super().__init__()
        self.model = fold_batchnorm(model)
        self.record = record
        self.preprocess = plan.preprocess
        self.outputs = (*(() if plan.outputs == "raw" else DECODED_OUTPUTS), *raw_names(record))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """images (B, H, W, 3) uint8 RGB, or (B, 3, H, W) float32 normalised -> [boxes_xyxy, scores,] raw heads."""
        pixels = to_network_input(images, self.record.preprocessing) if self.preprocess else images
        raws = self.model(pixels)
        if len(self.outputs) == len(raws):
            return tuple(raws)
        anchors = anchor_tensors(self.record)
        boxes_xyxy, objectness, classes = decode_heads(raws, anchors, self.record.strides, self.record.dialect)
        return (boxes_xyxy, objectness[..., None] * classes, *raws)


def example_input(record: ModelRecord, plan: ExportPlan) -> Tensor:
    """Zeros of the input shape of the file. A dynamic batch has 2 images.

    PyTorch's exporters would treat a dimension of 1 as constant.
    """
    height, width = record.image_size
    if plan.preprocess:
        return torch.zeros((plan.batch or 2, height, width, 3), dtype=torch.uint8)
    return torch.zeros((plan.batch or 2, 3, height, width))


def dynamic_dimensions(plan: ExportPlan) -> dict[int, object]:
    """Dynamic dimensions of the input: index in the shape -> torch.export dimension."""
    first_side = 1 if plan.preprocess else 2
    dynamic: dict[int, object] = {0: torch.export.Dim("batch")} if plan.batch == 0 else {}
    if plan.dynamic_size:
        dynamic |= {
            first_side: 32 * torch.export.Dim("rows32", min=2),
            first_side + 1: 32 * torch.export.Dim("columns32", min=2),
        }
    return dynamic


def traced(network: nn.Module, example: Tensor) -> Any:
    """The network as a TorchScript program."""
    with warnings.catch_warnings(action="ignore"), torch.no_grad():
        return torch.jit.trace(network, (example,), check_trace=False)  # type: ignore[no-untyped-call]


def write_torchscript(model: nn.Module, record: ModelRecord, plan: ExportPlan, path: Path) -> None:
    """Writes a TorchScript archive. It takes any number of images of any size, regardless of the plan."""
    program = Program(model, record, plan)
    content = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(
            traced(program, example_input(record, plan)),
            content,
            _extra_files=extra_files(program, record, plan, plan.batch),
        )
    path.write_bytes(without_sources(content))


def write_package(model: nn.Module, record: ModelRecord, plan: ExportPlan, path: Path) -> None:
    """Writes the package that `torch.export.load` reads."""
    program = Program(model, record, plan)
    with warnings.catch_warnings(action="ignore"), torch.no_grad():
        exported = torch.export.export(
            program, (example_input(record, plan),), dynamic_shapes=(dynamic_dimensions(plan),)
        )
        for node in exported.graph.nodes:
            node.meta.pop("stack_trace", None)  # lines of source, with their paths on this machine
        content = io.BytesIO()  # with a path, the archive would contain the file name
        torch.export.save(exported, content, extra_files=extra_files(program, record, plan, plan.batch))
    path.write_bytes(content.getvalue())


def without_sources(archive: io.BytesIO) -> bytes:
    """A TorchScript archive without the source lines of its operations and their paths on this machine."""
    kept = io.BytesIO()
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(kept, "w") as new:
        for member in old.infolist():
            if not member.filename.endswith(".debug_pkl"):
                new.writestr(member, old.read(member))
    return kept.getvalue()


def extra_files(program: Program, record: ModelRecord, plan: ExportPlan, batch: int) -> dict[str, str]:
    """Record and interface as JSON, for these formats and those of mobile.py. batch: of the file, 0 for any."""
    interface = Interface(
        takes="pixels" if plan.preprocess else "normalised",
        batch=batch,
        outputs=program.outputs,
        any_size=plan.dynamic_size,
    )
    return texts_of(describe(record, plan, torch=torch.__version__), interface)
