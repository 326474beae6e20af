"""Export to ncnn: a folder with the network, written by ncnn's converter pnnx, and the record."""

import subprocess
import warnings
from pathlib import Path

import pnnx
import torch
from torch import Tensor, nn

from lookonce.errors import SettingsError, WeightsError
from lookonce.exporters.folding import fold_batchnorm
from lookonce.exporters.metadata import describe
from lookonce.exporters.plan import ExportPlan
from lookonce.exporters.torch_programs import traced
from lookonce.runtimes.exported import Interface, raw_names
from lookonce.runtimes.kinds import NCNN_PARAM
from lookonce.runtimes.ncnn import INTERFACE_FILE, RECORD_FILE, WEIGHTS_FILE
from lookonce.settings.record import ModelRecord, Preprocessing
from lookonce.storage import temporary_folder

ANOTHER_SIZE = 32  # pixels added to the converter's second example; dimensions that differ between the two are dynamic


def write_ncnn(model: nn.Module, record: ModelRecord, plan: ExportPlan, path: Path) -> None:
    """Writes the folder PATH. The network takes one image per call and returns the raw heads."""
    if plan.batch > 1:
        raise SettingsError.of("batch", plan.batch, "expected 1, ncnn takes one image per call; leave it out")
    interface = Interface(
        takes="planes" if plan.preprocess else "normalised",
        batch=1,
        outputs=raw_names(record),
        any_size=plan.dynamic_size,
    )
    path.mkdir()
    with temporary_folder() as folder:
        param, weights = convert(Planes(model, record, plan), record, plan, folder)
        (path / NCNN_PARAM).write_text(named(param, raw_names(record)), encoding="ascii")
        (path / WEIGHTS_FILE).write_bytes(weights)
    versions = {"torch": torch.__version__, "pnnx": getattr(pnnx, "__version__", "")}
    (path / RECORD_FILE).write_text(describe(record, plan, **versions).model_dump_json(indent=1), encoding="utf-8")
    (path / INTERFACE_FILE).write_text(interface.model_dump_json(indent=1), encoding="utf-8")


class Planes(nn.Module):
    """The network for (B, 3, H, W) float32: RGB values 0..255, or normalised values if plan.preprocess is False."""

    scale: Tensor
    shift: Tensor

    def __init__(self, model: nn.Module, record: ModelRecord, plan: ExportPlan) -> None:
        super().__init__()
        self.model = fold_batchnorm(model)
        self.normalises = plan.preprocess
        scale, shift = scale_and_shift(record.preprocessing)
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)
        if plan.preprocess and record.preprocessing.color_order == "BGR":
            first: Tensor = self.model.backbone.conv0.conv.weight  # type: ignore[union-attr, assignment]
            first.data = first.data.flip(1)  # instead of reversing the planes, for which ncnn has no layer

    def forward(self, planes: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.model(planes * self.scale + self.shift if self.normalises else planes))


def scale_and_shift(preprocessing: Preprocessing) -> tuple[Tensor, Tensor]:
    """(1, 3, 1, 1) each: pixel * scale + shift is the normalised value, for planes in the order R, G, B."""
    mean, std = (torch.tensor(three).view(1, 3, 1, 1) for three in (preprocessing.mean, preprocessing.std))
    if preprocessing.color_order == "BGR":
        mean, std = mean.flip(1), std.flip(1)
    return 1 / (255 * std), -mean / std


def convert(network: nn.Module, record: ModelRecord, plan: ExportPlan, folder: Path) -> tuple[str, bytes]:
    """The text of the .param file and the bytes of the .bin file."""
    height, width = record.image_size
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(traced(network, torch.zeros((1, 3, height, width))), str(folder / "model.pt"))
    shapes = [f"inputshape=[1,3,{height},{width}]"]
    if plan.dynamic_size:
        shapes.append(f"inputshape2=[1,3,{height + ANOTHER_SIZE},{width + ANOTHER_SIZE}]")
    half = int(plan.precision == "fp16")
    done = subprocess.run(
        [pnnx.EXEC_PATH, "model.pt", *shapes, f"fp16={half}"], cwd=folder, capture_output=True, text=True, check=False
    )
    param, weights = folder / NCNN_PARAM, folder / WEIGHTS_FILE
    if done.returncode or not param.is_file() or not weights.is_file():
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        raise WeightsError(f"pnnx could not convert the network (exit status {done.returncode}): {' '.join(last)}")
    return param.read_text(encoding="ascii"), weights.read_bytes()


def named(param: str, outputs: tuple[str, ...]) -> str:
    """The text of a .param file, with its blobs in0, out0, out1 renamed to `images` and the outputs."""
    names = {"in0": "images", **{f"out{place}": name for place, name in enumerate(outputs)}}
    return "\n".join(" ".join(names.get(word, word) for word in line.split(" ")) for line in param.split("\n"))
