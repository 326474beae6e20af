"""Export to PyTorch's two program formats, which need no source: TorchScript and the torch.export package."""

import io
import zipfile
from pathlib import Path

import torch
from torch import Tensor, nn

from lookonce.exporters.metadata import describe
from lookonce.exporters.plan import ExportPlan
from lookonce.exporters.wrapper import ExportWrapper, dynamic_dimensions, example_input, quiet_exporter
from lookonce.runtimes.exported import DECODED_OUTPUTS, INTERFACE_KEY, RECORD_KEY, Interface, raw_names
from lookonce.settings.record import ModelRecord


class Program(nn.Module):
    """Outputs decoded boxes and scores, then the raw heads; or the raw heads only."""

    def __init__(self, model: nn.Module, record: ModelRecord, plan: ExportPlan) -> None:
        super().__init__()
        self.deployed = ExportWrapper(model, record, plan)
        self.outputs = (*(() if plan.outputs == "raw" else DECODED_OUTPUTS), *raw_names(record))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        values = self.deployed(images)
        num_decoded = len(DECODED_OUTPUTS) if self.deployed.decodes else 0
        return (*values[len(values) - num_decoded :], *values[: len(values) - num_decoded])


def write_torchscript(model: nn.Module, record: ModelRecord, plan: ExportPlan, path: Path) -> None:
    """Writes a TorchScript archive. It takes any number of images of any size, regardless of the plan."""
    program = Program(model, record, plan)
    with quiet_exporter(), torch.no_grad():
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            program, (example_input(record, plan),), check_trace=False
        )
        content = io.BytesIO()
        torch.jit.save(traced, content, _extra_files=extra_files(program, record, plan))
    path.write_bytes(without_sources(content))


def write_package(model: nn.Module, record: ModelRecord, plan: ExportPlan, path: Path) -> None:
    """Writes the package that `torch.export.load` reads."""
    program = Program(model, record, plan)
    with quiet_exporter(), torch.no_grad():
        exported = torch.export.export(
            program, (example_input(record, plan),), dynamic_shapes=(dynamic_dimensions(plan),)
        )
        for node in exported.graph.nodes:
            node.meta.pop("stack_trace", None)  # lines of source, with their paths on this machine
        content = io.BytesIO()  # with a path, the archive would contain the file name
        torch.export.save(exported, content, extra_files=extra_files(program, record, plan))
    path.write_bytes(content.getvalue())


def without_sources(archive: io.BytesIO) -> bytes:
    """A TorchScript archive without the source lines of its operations and their paths on this machine."""
    kept = io.BytesIO()
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(kept, "w") as new:
        for member in old.infolist():
            if not member.filename.endswith(".debug_pkl"):
                new.writestr(member, old.read(member))
    return kept.getvalue()


def extra_files(program: Program, record: ModelRecord, plan: ExportPlan) -> dict[str, str]:
    """Record and interface as JSON, for both formats."""
    interface = Interface(
        takes="pixels" if plan.preprocess else "normalised", batch=plan.batch, outputs=program.outputs
    )
    return {
        RECORD_KEY: describe(record, plan, torch=torch.__version__).model_dump_json(),
        INTERFACE_KEY: interface.model_dump_json(),
    }
