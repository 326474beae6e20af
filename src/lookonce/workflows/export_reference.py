"""What an exported file is compared with: outputs of the PyTorch network on images, and for INT8 its AP."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lookonce.data.dataset import Dataset
from lookonce.data.findings import ignore
from lookonce.data.images import read_image
from lookonce.data.source import open_data
from lookonce.errors import DataError
from lookonce.evaluation.evaluate import evaluate
from lookonce.exporters.base import (
    COMPARED_DETECTIONS,
    COMPARED_FROM_SCORE,
    Answers,
    Difference,
    Parity,
    compare,
    size_of,
    textured_canvases,
    write_compared,
)
from lookonce.exporters.calibration import CalibrationSet, open_calibration_set
from lookonce.exporters.formats import FORMATS, Format
from lookonce.exporters.plan import ExportPlan
from lookonce.letterbox import fit
from lookonce.log import get_logger
from lookonce.prediction.sources import find_images
from lookonce.remote.objects import is_remote
from lookonce.runtimes.base import Runtime
from lookonce.runtimes.detector import Detector
from lookonce.runtimes.exported import ExportedRuntime
from lookonce.runtimes.registry import load_runtime
from lookonce.settings.names import counted
from lookonce.settings.record import ModelRecord
from lookonce.workflows.validation_split import with_val

if TYPE_CHECKING:
    from torch import nn


POINTS_TOLERANCE = 1.5  # of AP, that eight bits may cost
COMPARED_IMAGES = 8


@dataclass(frozen=True, kw_only=True)
class Exported:
    """One file, and its differences to the weights it was made from."""

    path: Path
    parity: Parity
    size: int  # bytes
    compared_on: tuple[str, ...] = ()  # in words: the images, and those of the INT8 calibration


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Every file of one call is compared with this: outputs of the PyTorch network for canvases (B, H, W, 3) and, for
    int8, its AP on the labelled images of the calibration set, else NaN. origin: in words, the source of canvases."""

    canvases: NDArray[np.uint8]
    origin: str
    answers: Answers
    calibration: CalibrationSet | None
    AP: float


def make_reference(
    model: nn.Module,
    record: ModelRecord,
    canvases: NDArray[np.uint8],
    origin: str,
    calibration: CalibrationSet | None = None,
) -> Reference:
    from lookonce.runtimes.pytorch import PyTorchRuntime

    network = PyTorchRuntime(model, record)
    # The network runs once; detections are selected from its raw heads, one image at a time.
    raws, selection = network.raw_heads(canvases), _selection(network.record)
    one_by_one = ([raw[row : row + 1] for raw in raws] for row in range(len(canvases)))
    found = [one for image in one_by_one for one in network.select(image, **selection)]
    return Reference(
        canvases=canvases,
        origin=origin,
        answers=Answers(raws=[raw.numpy() for raw in raws], detections=found),
        calibration=calibration,
        AP=_score(network, calibration.labelled) if calibration and calibration.labelled else math.nan,
    )


def write_one(
    model: nn.Module,
    record: ModelRecord,
    name: str,
    plan: ExportPlan,
    path: Path,
    reference: Reference,
    *,
    overwrite: bool = False,
) -> Exported:
    """One file of the format `name`, compared with the reference."""
    if reference.calibration is not None:
        plan = replace(plan, calibration=reference.calibration.canvases)

    calibrating = "" if plan.calibration is None else f"calibrating on {counted(len(plan.calibration), 'image')}, "
    get_logger().info(f"{path.name}: {calibrating}writing, and comparing with the weights")  # takes seconds
    write = partial(FORMATS[name].write, model, record, plan)
    parity = write_compared(path, write, partial(_compare, FORMATS[name], plan, reference), overwrite=overwrite)
    fitted = () if reference.calibration is None else (reference.calibration.text,)
    return Exported(path=path, parity=parity, size=size_of(path), compared_on=(reference.origin, *fitted))


def calibration_set(record: ModelRecord, given: str | None, run: Path | None) -> CalibrationSet:
    """The AP of an INT8 file is that of the images that training held out, which do not calibrate it."""
    return open_calibration_set(
        given,
        record,
        lambda source: [image.read for image in find_images(source)],
        lambda source: with_val(source, record.settings, run),
    )


def canvases_of(
    record: ModelRecord, source: str | None, batch: int, run: Path | None = None
) -> tuple[NDArray[np.uint8], str]:
    """(B, H, W, 3) to compare on, B a multiple of `batch`; and their source in words."""
    images, origin = _real_images(record, source, run)
    count = max(COMPARED_IMAGES, batch) if not images else len(images)
    count = -(-count // max(batch, 1)) * max(batch, 1)
    if not images:
        return textured_canvases(count, record.image_size), "synthetic images"
    fitted = [fit(image, record.image_size, record.preprocessing)[0] for image in images]
    return np.stack([fitted[index % len(fitted)] for index in range(count)]), origin


def _real_images(record: ModelRecord, images: str | None, run: Path | None) -> tuple[list[NDArray[np.uint8]], str]:
    """The given images; else the first validation images of the run, if its data can still be opened; else none."""
    if images is not None:
        sources = find_images(images)
        return [source.read() for source in sources[:COMPARED_IMAGES]], f"images of {images}"
    data = record.settings.get("data")
    if not data or is_remote(data):  # an address is not downloaded again for this
        return [], ""
    try:
        source = open_data(data, record.settings.get("images"), follow_links=True)
        if run is not None:  # without its list, dividing the data would decode all images
            source = with_val(source, record.settings, run)
        wanted = (record.settings.get("val_split", "val"), "val", *source.splits)
        split = next(name for name in wanted if name in source.splits)
        paths = source.read(split, ignore).image_paths  # findings about boxes do not matter here
    except DataError as error:
        get_logger().info(f"{error}; the files are compared on synthetic images")
        return [], ""
    found = []
    for path in islice(paths, COMPARED_IMAGES):
        with suppress(DataError):
            found.append(read_image(path))
    return found, f"images of {data}, split '{split}'"


def _selection(record: ModelRecord) -> dict[str, Any]:
    return {
        "score_threshold": COMPARED_FROM_SCORE,
        "iou_threshold": record.thresholds.iou,
        "max_detections": COMPARED_DETECTIONS,
    }


def _compare(chosen: Format, plan: ExportPlan, reference: Reference, path: Path) -> Parity:
    if not chosen.runtime:  # none here runs the format
        return Parity(num_images=0, num_detections=0, differences=())
    loaded = load_runtime(path, runtime=chosen.runtime)
    assert isinstance(loaded, ExportedRuntime)
    canvases = reference.canvases
    raws, detections = loaded.heads_and_detections(canvases, **_selection(loaded.record))
    answers = Answers(raws=raws, detections=detections)
    parity = compare(reference.answers, answers, (canvases.shape[1], canvases.shape[2]), plan.precision)
    if math.isnan(reference.AP) or reference.calibration is None or reference.calibration.labelled is None:
        return parity
    before, after = 100 * reference.AP, 100 * _score(loaded, reference.calibration.labelled)
    points = before - after
    quantity = f"AP points lost, {before:.2f} to {after:.2f}"
    lost = Difference(quantity=quantity, largest=points, tolerance=POINTS_TOLERANCE)
    return replace(parity, differences=(*parity.differences, lost))


def _score(runtime: Runtime, dataset: Dataset) -> float:
    metrics, _ = evaluate(Detector(runtime), dataset)
    return metrics.AP
