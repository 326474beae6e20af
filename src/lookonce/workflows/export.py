"""`lookonce export`: writes files for other runtimes, and keeps each only if its outputs match those of the weights."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING

from lookonce.errors import LookonceError, MissingExtra, SettingsError, WeightsError
from lookonce.exit_codes import ExitCode
from lookonce.exporters.base import require_free, textured_canvases
from lookonce.exporters.clients import CLIENTS, Client
from lookonce.exporters.formats import FORMATS, Format
from lookonce.exporters.plan import LOWEST_OPSET, ExportPlan, Outputs, Precision, highest_opset
from lookonce.layout import Printed
from lookonce.log import get_logger, loading_torch
from lookonce.prediction.sources import require_sources
from lookonce.request import Listed, old_names
from lookonce.runtimes.kinds import kind_of
from lookonce.runtimes.registry import require_names
from lookonce.settings.image_size import size_hw, size_in_words
from lookonce.settings.names import require_one_of, split_list, suggested_value
from lookonce.settings.record import MODEL_FILE, ModelRecord
from lookonce.shown import command, file_size
from lookonce.storage import temporary_folder
from lookonce.weights.pull import find_weights
from lookonce.workflows.export_for import ClientFolder, prepare, write_for
from lookonce.workflows.export_reference import Exported, calibration_set, canvases_of, make_reference, write_one
from lookonce.workflows.validation_split import run_of

if TYPE_CHECKING:
    from torch import nn

    from lookonce.model.yolov3_tiny import YoloV3Tiny

DEFAULT_FORMAT = "onnx"


@dataclass(frozen=True, kw_only=True)
class Exports(Printed):
    """The files of one call. refused: of several files, why each of the others was not kept. is_kept: the files still
    exist. for_client: the folder that --for has written. formats, clients: the tables that --list asks for, by name."""

    files: tuple[Exported, ...]
    refused: tuple[LookonceError, ...] = ()
    is_kept: bool = True
    for_client: ClientFolder | None = None
    formats: Mapping[str, Format] = field(default_factory=dict)
    clients: Mapping[str, Client] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        return ExitCode.FAILED if self.refused else ExitCode.SUCCEEDED


@old_names(pictures="images")
def export(
    weights: Path | None = None,
    *,
    names: Path | None = None,
    for_: str | None = None,
    to: Listed = DEFAULT_FORMAT,
    outputs: Listed | None = None,
    image_size: int | Listed | None = None,
    batch: int = 0,
    dynamic_size: bool = False,
    preprocess: bool = True,
    opset: int | None = None,
    precision: Precision = "fp32",
    agnostic: bool | None = None,
    calibration: str | None = None,
    output: Path | None = None,
    file_name: str | None = None,
    images: str | None = None,
    overwrite: bool = False,
    check: bool = False,
    list_formats: bool = False,
) -> Exports:
    """Write files for other runtimes. Each is reloaded, and kept only if its outputs agree with those of the weights.

    Parameters
    ----------
    weights
        Checkpoint folder, run folder (its best), or MindSpore's .ckpt or Darknet's .weights.
    names
        Text file of class names, one per line, for a .ckpt or .weights without names.
    for_
        Client, a program that runs the files: its form of the model, labels and configuration are written into one
        folder; --list shows all clients.
    to
        Formats, separated by commas; --list shows all.
    outputs
        detections: boxes, scores, labels after non-maximum suppression. decoded: all boxes and scores. raw: the heads.
        Several, separated by commas, write several files. Default: the first of these that the format supports.
    image_size
        Side of the square input in pixels, or height x width such as 416x224; multiples of 32. Default: that of the
        weights.
    batch
        Batch size of the file, 0 or more; 0 accepts any batch size.
    dynamic_size
        Accept any multiple of 32 as height and width.
    preprocess
        Take pixels, uint8 (N, H, W, 3) RGB; --no-preprocess takes the normalised float32 (N, 3, H, W) instead.
    opset
        Opset of ONNX's operators, 15 or more (13 with --outputs decoded, packed or raw), for a runtime that reads
        no other; default: 18.
    precision
        fp32; fp16: weights stored in 16 bits, half the size; int8: weights and arithmetic in 8 bits, a quarter.
    agnostic
        Class-agnostic NMS in the file: a box is removed by a better one of any class; default: as the weights say.
    calibration
        Calibration set for int8: a data set (with labels, the AP before and after is reported), a folder or a
        pattern. Default: the training data.
    output
        File or folder to write. Default: beside the weights; of --for, a new folder there with the client's name.
    file_name
        Name of the files without their extension, in the working folder or in the folder `output`.
    images
        Images for the comparison (file, folder, pattern). Default: validation images of the run, else synthetic ones.
    overwrite
        Replace files of the same name.
    check
        Write, reload and compare, then delete the files: checks whether this network exports.
    list_formats
        List the formats and clients, and how well each is verified; write nothing.
    """
    if list_formats:
        return Exports(files=(), formats=FORMATS, clients=CLIENTS)
    if weights is None:
        problem = "not given; name a checkpoint or run folder, e.g. lookonce export runs/train-1"
        raise SettingsError(f"weights: {problem}", setting="weights")
    asked = ExportPlan(
        batch=batch, dynamic_size=dynamic_size, preprocess=preprocess, precision=precision, opset=opset or 0
    )
    if for_ is not None:
        plan = _client(for_, asked, to=to, outputs=outputs, file_name=file_name, check=check).plan
        asked, outputs = replace(plan, precision=precision), plan.outputs
    plans = _plans(_formats(to), asked, outputs, image_size)
    weights = _checkpoint_at(weights)
    require_sources(calibration, images)  # before PyTorch is loaded
    paths_in = partial(_paths, weights, plans, file_name, image_size)
    place = output or (_beside(weights) / (for_ or "") if file_name is None else Path())
    require_names(weights, names)
    _require_room(for_, place, [] if check else paths_in(place), overwrite=overwrite)
    model, record = _open(weights, names, image_size, agnostic)
    run = run_of(weights)
    measured = calibration_set(record, calibration, run) if precision == "int8" else None
    reference = make_reference(model, record, *canvases_of(record, images, batch, run), measured)
    if for_ is not None:
        write = partial(write_one, model, record, *plans[0], reference=reference)
        return _exports_for(for_, weights, record, write, place)
    files: list[Exported] = []
    refused: list[LookonceError] = []
    with temporary_folder() if check else nullcontext(place) as folder:
        for (name, plan), path in zip(plans, paths_in(folder), strict=True):
            try:
                files.append(write_one(model, record, name, plan, path, reference, overwrite=overwrite))
            except (WeightsError, MissingExtra) as error:
                refused.append(error)
            if len(plans) > 1:
                get_logger().info(f"{len(files) + len(refused)} of {len(plans)}: {path.name}")
    if not files:
        raise refused[0]
    return Exports(files=tuple(files), refused=tuple(refused), is_kept=not check)


def _exports_for(
    client: str, weights: Path, record: ModelRecord, write: Callable[..., Exported], folder: Path
) -> Exports:
    """The folder of a client, whose model `write(path=...)` writes."""
    files: list[Exported] = []

    def write_model(path: Path) -> None:
        files.append(write(path=path))

    written = write_for(client, weights, record, write_model, folder)
    moved = (replace(one, path=folder / CLIENTS[client].model) for one in files)
    return Exports(files=tuple(moved), for_client=written)


def as_text(exports: Exports) -> Iterator[str]:
    if exports.formats:
        yield from _format_lines()
    for one in exports.files:
        done = f"written: {one.path}" if exports.is_kept else f"checked and not kept: {one.path.name}"
        size = file_size(one.size)
        if not one.parity.differences:
            yield f"{done} ({size}), not compared: no runtime here runs this format"
            continue
        images, *fitted = one.compared_on
        yield f"{done} ({size}), compared with its weights on {images}"
        yield from fitted
        yield from one.parity.table().splitlines()
    if exports.is_kept and exports.for_client is None and any(one.path.suffix == ".onnx" for one in exports.files):
        yield "OpenCV 4, Frigate, Triton and other programs need a file of their own: lookonce export --list"
    if (client := exports.for_client) is not None:
        yield f"for {client.client}: {client.folder}: {', '.join(client.files)}"
        if CLIENTS[client.client].to == "web":
            yield f"see it with: {command('page', '--serve', '--output', client.folder)}"
        if client.guide:
            yield f"how to use it: the first lines of {client.folder / client.guide}"
    for error in exports.refused:
        yield from str(error).splitlines()
    if exports.refused:
        yield f"refused: {len(exports.refused)}; to use: {', '.join(str(one.path) for one in exports.files)}"


def check_export(model: nn.Module, record: ModelRecord, to: str) -> list[str]:
    """Write a network that need not be trained in every format of `to`, compare each file and keep none.

    Returns one line per format. WeightsError if the outputs of a file differ. The model is not changed.
    """
    import torch

    copied = copy.deepcopy(model).cpu().eval()
    lines = []
    with torch.random.fork_rng(devices=[]), temporary_folder() as folder:
        reference = make_reference(copied, record, textured_canvases(2, record.image_size), "synthetic images")
        for name in _formats(to):
            started = time.perf_counter()
            plan = ExportPlan(outputs=FORMATS[name].outputs[0])
            write_one(copied, record, name, plan, folder / f"check{FORMATS[name].suffix}", reference)
            seconds = time.perf_counter() - started
            lines.append(f"checked   this network exports to {name}, and the file's outputs agree ({seconds:.0f} s)")
    return lines


def _plans(
    formats: list[str], asked: ExportPlan, outputs: str | None, image_size: int | str | None
) -> list[tuple[str, ExportPlan]]:
    """(format, plan) of each file. SettingsError for a precision that the format does not support, or no size."""
    if image_size is not None:
        size_hw(image_size)  # before PyTorch is loaded
    if asked.batch < 0:
        raise SettingsError.of("batch", asked.batch, "expected 0 or more (0 accepts any batch size)")
    for name in formats:
        if asked.opset and name != "onnx":
            problem = f"{name} files have none; leave it out, or export to onnx alone"
            raise SettingsError.of("opset", asked.opset, problem)
        if asked.opset and asked.opset < LOWEST_OPSET:
            problem = f"expected {LOWEST_OPSET} or more, or 15 or more for a file whose outputs are detections"
            raise SettingsError.of("opset", asked.opset, problem)
        if asked.opset and asked.opset > (highest := highest_opset()):
            raise SettingsError.of("opset", asked.opset, f"expected {highest} or less, which the package onnx knows")
        possible = FORMATS[name].precisions
        if asked.precision not in possible:
            hint = suggested_value(asked.precision, possible)
            raise SettingsError.of(
                "precision", asked.precision, f"{name} files support {' or '.join(possible)} only{hint}"
            )
    if len(formats) == 1:  # of several, the others are written
        FORMATS[formats[0]].require_converter(asked.precision)
    return [(name, replace(asked, outputs=one)) for name in formats for one in _outputs(name, outputs)]


def _client(name: str, asked: ExportPlan, **others: object) -> Client:
    """The client; SettingsError for an unknown one, and for an option that it decides."""
    require_one_of("for", name, CLIENTS)
    defaults = {"to": DEFAULT_FORMAT, "outputs": None, "file_name": None, "check": False}
    given = [option for option, value in others.items() if value != defaults[option]]
    plain = ExportPlan(precision=asked.precision)
    given += [field.name for field in fields(plain) if getattr(asked, field.name) != getattr(plain, field.name)]
    if CLIENTS[name].to != "onnx" and asked.precision != "fp32":
        given.append("precision")
    if given:
        raise SettingsError(f"{given[0]}: --for {name} decides it; leave it out", setting=given[0])
    return CLIENTS[name]


def _formats(to: str) -> list[str]:
    names = list(dict.fromkeys(split_list(to)))
    for name in names:
        require_one_of("to", name, FORMATS)
        if FORMATS[name].verdict == "blocked":
            raise SettingsError(f"to: {name} cannot be written: {FORMATS[name].text}", setting="to", value=name)
    if not names:
        raise SettingsError(f"to: empty; expected one or more of {', '.join(FORMATS)}", setting="to")
    return names


def _outputs(name: str, outputs: str | None) -> list[Outputs]:
    """The outputs of the files of one format, one file each."""
    held = FORMATS[name].outputs
    if outputs is None:
        return [held[0]]
    wanted = split_list(outputs)
    chosen = [known for known in held if known in wanted]
    for one in wanted:
        if one not in held:
            hint = suggested_value(one, held)
            raise SettingsError.of("outputs", one, f"{name} files support {' or '.join(held)}{hint}")
    if not chosen:
        raise SettingsError(f"outputs: empty; expected {' or '.join(held)}", setting="outputs")
    return chosen


def _checkpoint_at(place: Path) -> Path:
    weights = find_weights(place)
    if kind_of(weights) != "checkpoint":
        raise SettingsError.at(weights, "is an exported file already; name the checkpoint or run folder it came from")
    return weights


def _open(
    weights: Path, names: Path | None, image_size: int | str | None, agnostic: bool | None
) -> tuple[YoloV3Tiny, ModelRecord]:
    """The network, and its record with the input size and the NMS of the file."""
    with loading_torch():
        from lookonce.weights.load import load_weights

    model, record = load_weights(weights, names)
    if agnostic is not None:
        thresholds = record.thresholds.model_copy(update={"agnostic": agnostic})
        record = record.model_copy(update={"thresholds": thresholds})
    if image_size is None:
        return model, record
    return model, record.model_copy(update={"image_size": size_hw(image_size)})


def _beside(weights: Path) -> Path:
    """The default folder: the run folder, or the folder that contains the checkpoint folder, which is not changed."""
    named = _named(weights)
    return named if (named / "checkpoints").is_dir() else named.resolve().parent


def _named(weights: Path) -> Path:
    """The folder of a model.safetensors, else the path as given."""
    return weights.parent if weights.name == MODEL_FILE else weights


def _require_room(client: str | None, place: Path, paths: Sequence[Path], *, overwrite: bool) -> None:
    """Raises WeightsError if all files exist: before the weights are loaded, and INT8 ranges are measured."""
    if client is not None:
        prepare(client, place, overwrite=overwrite)
    elif paths and all(path.exists() for path in paths):
        require_free(paths[0], overwrite=overwrite)


def _paths(
    weights: Path,
    plans: Sequence[tuple[str, ExportPlan]],
    file_name: str | None,
    image_size: int | str | None,
    folder: Path,
) -> list[Path]:
    """The path of each file in `folder`, which may also be the path of one file."""
    paths = []
    for name, plan in plans:
        suffix, several = FORMATS[name].suffix, sum(name == other for other, _ in plans) > 1
        given = None if file_name is None else file_name.removesuffix(suffix)
        stem = given + (f"-{plan.outputs}" if several else "") if given else _name(weights, plan, image_size)
        paths.append(_path(folder, stem, suffix, len(plans)))
    return paths


def _name(weights: Path, plan: ExportPlan, image_size: int | str | None) -> str:
    """RUN[-SIZE][-PRECISION][-decoded|-raw], without a suffix."""
    named = _named(weights).resolve()
    stem = named.stem if named.is_file() else named.name
    size = "" if image_size is None else f"-{size_in_words(size_hw(image_size))}"
    precision = "" if plan.precision == "fp32" else f"-{plan.precision}"
    return stem + size + precision + ("" if plan.outputs == "detections" else f"-{plan.outputs}")


def _path(output: Path, name: str, suffix: str, num_files: int) -> Path:
    """`output` if it has the suffix of the format, else the named file in that folder."""
    if output.suffix.lower() == suffix and not output.is_dir():
        if num_files > 1:
            raise SettingsError.of("output", output, f"names one file of {num_files}; name a folder")
        return output
    return output / f"{name}{suffix}"


def _format_lines() -> Iterator[str]:
    """The tables of formats and clients: one line each, then its use, at most 80 columns."""
    yield f"{'format':<13}{'state':<11}{'outputs':<22}{'precision':<18}extras"
    for name, row in FORMATS.items():
        needs = ", ".join(["train", row.extra] if row.extra else ["train"]) if row.writer else ""
        numbers = ", ".join(row.precisions) if row.writer else ""
        outputs, *more = wrap(", ".join(row.outputs), width=20) or [""]
        yield f"{name:<13}{row.verdict:<11}{outputs:<22}{numbers:<18}{needs}".rstrip()
        yield from (" " * 24 + line for line in more)
        text = f"{row.suffix}: {row.text}" if row.suffix else row.text
        yield from wrap(text, width=78, initial_indent="  ", subsequent_indent="  ")
    yield ""
    yield f"{'--for client':<16}checked by"
    for name, client in CLIENTS.items():
        yield from wrap(f"{name:<16}{client.checked_by}", width=80, subsequent_indent=" " * 16)
        yield from wrap(client.text, width=78, initial_indent="  ", subsequent_indent="  ")
