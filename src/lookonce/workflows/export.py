"""`lookonce export`: a file for another runtime, reloaded and compared before it counts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from cyclopts import Parameter
from numpy.typing import NDArray
from rich.console import Console

from lookonce.config.names import suggestion
from lookonce.config.record import ModelRecord
from lookonce.data.pictures import PICTURE_SUFFIXES, read_picture
from lookonce.data.transforms import fit
from lookonce.errors import DataError, SettingsError
from lookonce.export.base import (
    COMPARED_DETECTIONS,
    COMPARED_FROM_SCORE,
    Answers,
    Parity,
    compare,
    textured_canvases,
    write_compared,
)
from lookonce.export.onnx import export_onnx, raw_heads
from lookonce.model.yolov3_tiny import YoloV3Tiny
from lookonce.prediction.sources import find_pictures
from lookonce.runtimes.base import Runtime
from lookonce.runtimes.onnx import OnnxRuntime
from lookonce.runtimes.pytorch import PyTorchRuntime
from lookonce.weights.load import load_weights

LARGEST_STRIDE = 32
COMPARED_PICTURES = 8
Outputs = Literal["detections", "decoded", "raw"]


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the file shall take and give; see `export`."""

    outputs: Outputs
    batch: int
    dynamic_size: bool
    preprocess: bool


@dataclass(frozen=True, kw_only=True)
class Exported:
    """One file, and how it compares with the weights it was made from."""

    path: Path
    parity: Parity


@dataclass(frozen=True, kw_only=True)
class Exports:
    """The files of one call."""

    files: tuple[Exported, ...]


@dataclass(frozen=True, kw_only=True)
class Format:
    """How to write one format, and how to ask a file of it the same questions as the network."""

    suffix: str
    write: Callable[[YoloV3Tiny, ModelRecord, Options, Path], object]
    open: Callable[[Path], Runtime]
    raw_heads: Callable[[Path, NDArray[np.uint8]], list[NDArray[np.float32]]]


def _write_onnx(model: YoloV3Tiny, record: ModelRecord, options: Options, path: Path) -> object:
    return export_onnx(
        model,
        record,
        path,
        batch=options.batch,
        outputs=options.outputs,
        preprocess=options.preprocess,
        dynamic_size=options.dynamic_size,
    )


FORMATS: dict[str, Format] = {
    "onnx": Format(suffix=".onnx", write=_write_onnx, open=OnnxRuntime, raw_heads=raw_heads),
}


def export(
    weights: Path,
    *,
    to: str = "onnx",
    outputs: Outputs = "detections",
    image_size: int | None = None,
    batch: int = 0,
    dynamic_size: Annotated[bool, Parameter(negative="")] = False,
    preprocess: Annotated[bool, Parameter(negative="--no-preprocess")] = True,
    output: Path | None = None,
    pictures: str | None = None,
    overwrite: Annotated[bool, Parameter(negative="")] = False,
) -> Exports:
    """Write files for other runtimes. Each is reloaded and must give the same answers, or it is not kept.

    Parameters
    ----------
    weights
        Checkpoint folder or run folder (its best).
    to
        Formats, with commas between them: onnx.
    outputs
        detections: boxes, scores, labels after non-maximum suppression. decoded: all boxes and scores. raw: the heads.
    image_size
        Side of the square the file takes, in pixels, a multiple of 32; without it, that of the weights.
    batch
        Pictures the file takes at once; 0 for any number.
    dynamic_size
        Let the file take any multiple of 32 for either side.
    preprocess
        Take pixels, uint8 (N, H, W, 3) RGB; --no-preprocess takes the normalised float32 (N, 3, H, W) instead.
    output
        File or folder to write; without it, beside the weights.
    pictures
        Pictures to compare on (file, folder, pattern); without it, some of the data trained on, or made-up ones.
    overwrite
        Replace files of the same name.
    """
    formats = _formats(to)
    model, record = _open(weights, image_size)
    if batch < 0:
        raise SettingsError(f"batch is {batch}, expected the number of pictures at once, or 0 for any")
    options = Options(outputs=outputs, batch=batch, dynamic_size=dynamic_size, preprocess=preprocess)
    canvases, origin = _canvases(record, pictures, batch)
    network = PyTorchRuntime(model, record)
    expected = _answers(network, [raw.numpy() for raw in network.raw_heads(canvases)], canvases)
    files = []
    for name in formats:
        path = _path(output or _beside(weights), _name(weights, options, image_size), FORMATS[name].suffix)
        write = partial(FORMATS[name].write, model, record, options)
        parity = write_compared(path, write, partial(_compare, FORMATS[name], expected, canvases), overwrite=overwrite)
        _print(path, parity, origin)
        files.append(Exported(path=path, parity=parity))
    return Exports(files=tuple(files))


def _formats(to: str) -> list[str]:
    names = [name.strip() for name in to.split(",") if name.strip()]
    for name in names:
        if name not in FORMATS:
            known = ", ".join(FORMATS)
            raise SettingsError(f"to: unknown format {name}{suggestion(name, FORMATS) or f'; expected one of {known}'}")
    if not names:
        raise SettingsError(f"to is empty, expected one or more of {', '.join(FORMATS)}")
    return names


def _open(weights: Path, image_size: int | None) -> tuple[YoloV3Tiny, ModelRecord]:
    """The network, and its record with the size that the file shall have."""
    if weights.is_file() and any(weights.suffix == known.suffix for known in FORMATS.values()):
        raise SettingsError(f"{weights}: is an exported file already; name the checkpoint or run folder it came from")
    model, record = load_weights(weights)
    if image_size is None:
        return model, record
    if image_size < LARGEST_STRIDE or image_size % LARGEST_STRIDE:
        raise SettingsError(f"image_size is {image_size}, expected a multiple of {LARGEST_STRIDE}, for example 416")
    return model, record.model_copy(update={"image_size": (image_size, image_size)})


def _beside(weights: Path) -> Path:
    """A run's files go into the run's folder; those of a checkpoint folder beside it, as nothing is added to it."""
    if weights.is_file() or not (weights / "checkpoints").is_dir():
        return (weights.parent if weights.is_file() else weights).resolve().parent
    return weights


def _name(weights: Path, options: Options, image_size: int | None) -> str:
    """RUN[-SIZE][-decoded|-raw], without a suffix."""
    stem = (weights.parent if weights.is_file() else weights).resolve().name
    size = "" if image_size is None else f"-{image_size}"
    return stem + size + ("" if options.outputs == "detections" else f"-{options.outputs}")


def _path(output: Path, name: str, suffix: str) -> Path:
    """`output` where it is a file of the format, else the named file in that folder."""
    if output.suffix.lower() == suffix and not output.is_dir():
        return output
    return output / f"{name}{suffix}"


def _canvases(record: ModelRecord, pictures: str | None, batch: int) -> tuple[NDArray[np.uint8], str]:
    """(B, H, W, 3) to compare on, B a multiple of `batch`; and words that say what they are."""
    images, origin = _real_pictures(record, pictures)
    count = max(COMPARED_PICTURES, batch) if not images else len(images)
    count = -(-count // max(batch, 1)) * max(batch, 1)
    if not images:
        return textured_canvases(count, record.image_size), "made-up pictures"
    fitted = [fit(image, record.image_size, record.preprocessing)[0] for image in images]
    return np.stack([fitted[index % len(fitted)] for index in range(count)]), origin


def _real_pictures(record: ModelRecord, pictures: str | None) -> tuple[list[NDArray[np.uint8]], str]:
    """The pictures asked for; else the first ones where the training data lay, if it is still there; else none."""
    if pictures is not None:
        sources = find_pictures(pictures)
        return [source.read() for source in sources[:COMPARED_PICTURES]], f"pictures of {pictures}"
    data = Path(str(record.settings.get("data") or ""))
    if not record.settings.get("data") or not data.is_dir():
        return [], ""
    found = (path for path in data.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES)
    return [image for path in islice(found, COMPARED_PICTURES) for image in _readable(path)], f"pictures of {data}"


def _readable(path: Path) -> list[NDArray[np.uint8]]:
    try:
        return [read_picture(path)]
    except DataError:
        return []


def _answers(runtime: Runtime, raws: list[NDArray[np.float32]], canvases: NDArray[np.uint8]) -> Answers:
    found = runtime.detect(
        canvases,
        score_threshold=COMPARED_FROM_SCORE,
        iou_threshold=runtime.record.thresholds.iou,
        max_detections=COMPARED_DETECTIONS,
    )
    return Answers(raws=raws, detections=found)


def _compare(chosen: Format, expected: Answers, canvases: NDArray[np.uint8], path: Path) -> Parity:
    got = _answers(chosen.open(path), chosen.raw_heads(path, canvases), canvases)
    return compare(expected, got, (canvases.shape[1], canvases.shape[2]))


def _print(path: Path, parity: Parity, origin: str) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"written: {path} ({path.stat().st_size / 1e6:.1f} MB), compared with its weights on {origin}", markup=False
    )
    console.print(parity.table(), markup=False)
