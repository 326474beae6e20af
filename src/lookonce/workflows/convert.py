"""`lookonce convert`: converts weights of other programs to a checkpoint, and a checkpoint to their formats."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import lookonce
from lookonce.errors import SettingsError, WeightsError
from lookonce.layout import Printed
from lookonce.letterbox import fit
from lookonce.log import loading_torch
from lookonce.prediction.sources import find_images
from lookonce.request import Listed
from lookonce.settings.image_size import size_hw
from lookonce.settings.names import require_one_of, split_list
from lookonce.settings.record import ModelRecord
from lookonce.storage import temporary_folder, write_file
from lookonce.targets import imported
from lookonce.weights.foreign import ForeignWeights, Masks, ReadOptions, Resize, read_names
from lookonce.weights.pull import find_weights
from lookonce.workflows.info import describe_record

if TYPE_CHECKING:
    from torch import Tensor

Writer = Callable[[ModelRecord, "dict[str, Tensor]", str], dict[str, bytes]]
# Name in --to -> "module:function" that returns the files of this program as suffix -> content.
WRITERS = {"darknet": "lookonce.weights.darknet:to_darknet", "mindspore": "lookonce.weights.mindspore:to_mindspore"}
WEIGHTS = {".weights", ".ckpt"}  # file name extensions of the weights
PROBED_IMAGES = 64


@dataclass(frozen=True, kw_only=True)
class Converted(Printed):
    """The record that was read, notes and warnings about it, and the files written."""

    record: ModelRecord
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    written: tuple[Path, ...]


def convert(
    *files: Path,
    output: Path,
    names: Path | None = None,
    image_size: int | Listed | None = None,
    to: Listed = "",
    mask: str = "auto",
    resize: Resize = "auto",
    probe: str | None = None,
) -> Converted:
    """Read weights of Darknet, MindSpore or Ultralytics, and write a checkpoint or the files of another program.

    Each array of the file must match exactly one array of the network. docs/weights.md describes the dialects.

    Parameters
    ----------
    files
        Darknet's .cfg and .weights, MindSpore's .ckpt, Ultralytics' .pt, or a checkpoint or run folder.
    output
        Checkpoint folder to create; with --to the folder of the files, or their path without the extension.
    names
        Text file of class names, one per line.
    image_size
        Side of the network input in pixels, a multiple of 32, or height x width, such as 416x224. Default: the value in
        the file, else 640.
    to
        Programs to write files for, separated by commas: darknet, mindspore. Default: write a checkpoint.
    mask
        Anchor mask of the stride-16 head of a Darknet .cfg: cfg (the mask in the file), anchor indices such as 1,2,3
        (right for the released COCO weights), or auto (cfg, but 1,2,3 for the released file, known by its SHA-256).
    resize
        How images are resized to the network input: letterbox, stretch, or auto (as the training program does).
    probe
        Images (file, folder, pattern) on which two anchor masks of a Darknet file are compared; the comparison is
        drawn into OUTPUT-masks.png.
    """
    targets = split_list(to)
    for name in targets:
        require_one_of("to", name, WRITERS)
    options = ReadOptions(
        class_names=read_names(names) if names else (),
        image_size=None if image_size is None else size_hw(image_size),
        resize=resize,
        masks=_masks(mask),
    )
    files = tuple(find_weights(file) for file in files)
    if not targets and output.exists():
        raise WeightsError.at(output, "exists already; expected a new folder, choose another with --output")
    read = _read(files, options)
    probed = _probe(read, probe, output)
    if targets:
        written = _write_foreign(read, targets, _path(output, files), str(files[0]))
    else:
        from lookonce.weights.checkpoint import save_checkpoint

        save_checkpoint(output, state=read.state, record=_stamped(read.record))
        written = (output,)
    notes = (*read.notes, *read.assumed, *probed)
    return Converted(record=read.record, notes=notes, warnings=read.warnings, written=written)


def _probe(read: ForeignWeights, images: str | None, output: Path) -> list[str]:
    """Runs the network on images and compares two anchor masks, in lines of text and in a sheet beside the output."""
    if images is None:
        return []
    from lookonce.reports.sheets import MASK_IMAGES, write_masks
    from lookonce.weights.darknet import ORIGIN
    from lookonce.weights.mask_probe import compare_hypotheses, detections_of, hypotheses_of, verdict_lines

    if ORIGIN not in read.record.settings or read.is_backbone:
        problem = "expected a whole network from Darknet's .cfg and .weights to compare anchor masks; leave it out"
        raise SettingsError(f"probe: {problem}", setting="probe")
    hypotheses = hypotheses_of(read.record)
    if len(hypotheses) < 2:
        return ["probe: nothing to compare, the .cfg has no unused anchors for another mask"]
    size_hw, preprocessing = read.record.image_size, read.record.preprocessing
    canvases = np.stack([fit(image.read(), size_hw, preprocessing)[0] for image in find_images(images)[:PROBED_IMAGES]])
    raws, sheet = _raw_heads(read, canvases), output.with_name(f"{output.name}-masks.png")
    shown = range(min(len(canvases), MASK_IMAGES))
    found = {name: [detections_of(raws, record, image) for image in shown] for name, record in hypotheses.items()}
    write_masks(sheet, canvases, found, read.record)
    return list(verdict_lines(compare_hypotheses(raws, hypotheses), sheet))


def _raw_heads(read: ForeignWeights, canvases: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """(B, H, W, 3) uint8 RGB -> (B, A * (5 + C), H / stride, W / stride) logits of each head."""
    import torch

    from lookonce.runtimes.pytorch import PyTorchRuntime
    from lookonce.weights.convolutions import model_from_record
    from lookonce.weights.load import load_state

    model = model_from_record(read.record)
    load_state(model, read.state, "the file")
    runtime = PyTorchRuntime(model, read.record)
    parts = [runtime.raw_heads(canvases[row : row + 1]) for row in range(len(canvases))]
    return [torch.cat(heads).numpy() for heads in zip(*parts, strict=True)]


def as_text(converted: Converted) -> Iterator[str]:
    yield from converted.notes
    if converted.record.class_names:
        yield from describe_record(converted.record)
    for warning in converted.warnings:
        yield f"warning: {warning}"
    for path in converted.written:
        yield f"written: {path}"


def _masks(mask: str) -> Masks:
    if mask in ("auto", "cfg"):
        return "auto" if mask == "auto" else "cfg"
    if not re.fullmatch(r"\d{1,3}(,\d{1,3})*", mask):
        raise SettingsError.of("mask", mask, "expected auto, cfg, or anchor indices such as 1,2,3")
    return tuple(int(row) for row in mask.split(","))


def _read(files: Sequence[Path], options: ReadOptions) -> ForeignWeights:
    if not files:
        raise SettingsError(
            "files: not given; expected the files to read, e.g. lookonce convert yolov3-tiny.cfg yolov3-tiny.weights"
        )
    with loading_torch():
        from lookonce.weights.load import is_checkpoint, load_weights, read_foreign

    if not is_checkpoint(files[0]):
        return read_foreign(files, options)
    if len(files) > 1 or options != ReadOptions():
        problem = "is a checkpoint, which holds its class names, image size, masks and preprocessing"
        raise SettingsError.at(files[0], f"{problem}; leave the other files and options out")
    model, record = load_weights(files[0])
    return ForeignWeights(state=model.state_dict(), record=record)


def _stamped(record: ModelRecord) -> ModelRecord:
    import torch

    versions = {**record.versions, "lookonce": lookonce.__version__, "torch": torch.__version__}
    return record.model_copy(update={"versions": versions})


def _path(output: Path, files: Sequence[Path]) -> Path:
    """Path of the files without extension: `output`, or the name of the file that was read in the folder `output`."""
    if output.is_dir() or not output.suffix:
        named = next((path for path in files if path.suffix == ".weights"), files[0])
        return output / named.resolve().stem
    return output.with_suffix("")


def _write_foreign(read: ForeignWeights, targets: Sequence[str], stem: Path, source: str) -> tuple[Path, ...]:
    """Write each program's files after reading them back bit for bit, and the record, which these formats cannot hold,
    beside the weights."""
    if read.is_backbone:
        problem = f"holds a backbone only; expected a whole network to write for {', '.join(targets)}"
        raise WeightsError.at(source, problem)
    from lookonce.weights.beside import record_file, text_beside

    contents: dict[Path, bytes] = {}
    for target in targets:
        write: Writer = imported(WRITERS[target])
        files = write(read.record, dict(read.state), source)
        again = _read_back(files, read, target)
        written = {stem.with_name(stem.name + suffix): content for suffix, content in files.items()}
        weights = next(path for path in written if path.suffix in WEIGHTS)
        record = _stamped(read.record).model_copy(update={"dialect": again.dialect})
        contents |= {**written, record_file(weights): text_beside(record, written[weights]).encode()}
    for path in contents:
        if path.exists():
            raise WeightsError.at(path, "exists already; expected a new file, choose another with --output")
    for path, content in reversed(contents.items()):  # the record first, so that a kill never leaves weights without it
        write_file(path, content)
    return tuple(contents)


def _read_back(files: Mapping[str, bytes], read: ForeignWeights, target: str) -> ModelRecord:
    """The record in the files; WeightsError unless they read back as they were written.

    Variances may differ where the program has another BatchNorm epsilon."""
    import torch

    from lookonce.weights.convolutions import NORMALISED_ARRAYS
    from lookonce.weights.load import read_foreign

    with temporary_folder() as folder:
        paths = [folder / f"network{suffix}" for suffix in files]
        for path, content in zip(paths, files.values(), strict=True):
            path.write_bytes(content)
        weights = [path for path in paths if path.suffix != ".names"]
        again = read_foreign(weights, ReadOptions(class_names=read.record.class_names, masks="cfg"))
    moved = read.record.dialect.batchnorm_eps != again.record.dialect.batchnorm_eps
    for name, array in again.state.items():
        comparable = array.is_floating_point() and not (moved and name.endswith(NORMALISED_ARRAYS["variance"]))
        if comparable and not torch.equal(array, read.state[name]):
            raise WeightsError.at(target, f"array {name!r} does not read back as it was written")
    facts = ("channels", "masks", "anchors", "image_size") if target == "darknet" else ("channels",)
    for fact in facts:
        if getattr(again.record, fact) != getattr(read.record, fact):
            raise WeightsError.at(target, f"{fact} does not read back as it was written")
    return again.record
