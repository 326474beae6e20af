"""`lookonce explain-assignment`: which anchor of which head answers for each box, on a sheet of pictures."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from lookonce.config.record import ModelRecord
from lookonce.config.resolve import resolve
from lookonce.config.schema import Settings
from lookonce.data.dataset import Dataset, data_hash, require_boxes
from lookonce.data.loader import Batch, Loader
from lookonce.data.source import open_data
from lookonce.errors import SettingsError
from lookonce.model.yolov3_tiny import YoloV3Tiny
from lookonce.report.assignment_page import AnchorCount, Head, anchor_counts, draw_assignment, unanswered
from lookonce.storage import os_errors_explained, write_file
from lookonce.training.engine import StepOptions, to_device
from lookonce.weights.load import load_weights
from lookonce.workflows import build

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """What the sheet shows, counted over its pictures; one row an anchor, smallest first."""

    sheet: Path
    assignment: str
    anchors: list[AnchorCount]
    num_pictures: int
    num_boxes: int
    num_unanswered: int


def explain_assignment(
    data: str, *, pictures: int = 4, split: str | None = None, output: Path = Path("assignment.png"), **flags: Any
) -> Explanation:
    """Draw which predictions learn which box, with the anchors at their true size.

    Takes every setting of `train`. With --weights the network, its anchors and its settings are those it was
    trained with; else a fresh network, whose task_aligned assignment says little yet, as it follows the predictions.

    Parameters
    ----------
    data
        Labelled pictures: a COCO, VOC or YOLO data set, or an annotation JSON together with --images.
    pictures
        How many pictures are shown, taken evenly from those with boxes.
    split
        Which part of the data set; without it, the one that is trained on.
    output
        PNG file to write; with a number where it exists.
    """
    if pictures < 1:
        raise SettingsError(f"pictures is {pictures}, expected at least 1", setting="pictures", value=pictures)
    settings, model, record, shown = prepare(data, split, pictures, flags)
    batch = fitted_batch(shown, record, pictures)
    heads = answers(settings, model, record, batch)
    path = fresh_file(output)
    _, content = cv2.imencode(".png", draw_assignment(batch, heads)[..., ::-1])
    with os_errors_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, content.tobytes())
    return Explanation(
        sheet=path,
        assignment=settings.assignment,
        anchors=anchor_counts(heads),
        num_pictures=len(shown),
        num_boxes=int((~batch.crowd).sum()),
        num_unanswered=len(unanswered(batch, heads)),
    )


def prepare(
    data: str, split: str | None, pictures: int, flags: dict[str, Any]
) -> tuple[Settings, YoloV3Tiny, ModelRecord, Dataset]:
    """Settings, network, its record, and the pictures to show."""
    flags = {**flags, "data": data}
    weights, names = flags.pop("weights", None), flags.pop("names", None)
    trained = load_weights(Path(weights), Path(names) if names else None) if weights else None
    if trained is not None:
        known = trained[1].settings
        flags = {name: known[name] for name in Settings.model_fields if known.get(name) is not None} | given(flags)
        flags = {**flags, "weights": None, "names": None, "backbone_weights": None, "freeze_stages": 0, "resume": False}
    settings = resolve(flags).settings
    dataset = open_data(settings.data, settings.images).split(split or settings.train_split)
    require_boxes(dataset)
    if trained is None:
        record = build.make_record(settings, dataset, data_hash(dataset))
        trained = build.make_model(settings, record), record
    return settings, *trained, with_boxes(dataset, pictures)


def given(flags: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if value is not None}


def with_boxes(dataset: Dataset, count: int) -> Dataset:
    """`count` pictures, taken evenly from those that have boxes."""
    rows = np.flatnonzero(np.diff(dataset.box_offsets))
    picks = np.linspace(0, len(rows) - 1, min(count, len(rows))).round().astype(int)
    return dataset.take(rows[picks].tolist())


def fitted_batch(dataset: Dataset, record: ModelRecord, images: int) -> Batch:
    """All pictures of the data set, as they are at inference, in one batch."""
    loader = Loader(
        dataset,
        batch_size=images,
        image_sizes=[record.image_size],
        preprocessing=record.preprocessing,
        shuffle=False,
        workers=0,
    )
    return next(loader.epoch(0))


@torch.no_grad()
def answers(settings: Settings, model: YoloV3Tiny, record: ModelRecord, batch: Batch) -> list[Head]:
    """The owner of every prediction, as training would choose it."""
    images, targets = to_device(batch, StepOptions(device=CPU, preprocessing=record.preprocessing))
    loss = build.make_loss(settings, record, CPU)
    assigned_maps = loss.assigned_maps(model.eval()(images), targets)
    return [
        Head(
            stride=stride,
            anchors_wh=np.array(record.head_anchors(number), np.float32),
            first_anchor=record.masks[number][0],
            assigned=assigned.numpy(),
        )
        for number, (stride, assigned) in enumerate(zip(record.strides, assigned_maps, strict=True))
    ]


def fresh_file(path: Path) -> Path:
    """`path`, or with -2, -3 and so on when something lies there."""
    number, fresh = 1, path
    while fresh.exists():
        number += 1
        fresh = path.with_stem(f"{path.stem}-{number}")
    return fresh


def as_text(found: Explanation) -> Iterator[str]:
    """A row an anchor."""
    yield f"assignment {found.assignment}, {found.num_boxes} boxes in {found.num_pictures} pictures"
    yield "stride        anchor   boxes  predictions"
    for anchor in found.anchors:
        size = "{:.0f} x {:.0f}".format(*anchor.anchor_wh)
        yield f"{anchor.stride:6d}  {size:>12}  {anchor.boxes:6d}  {anchor.predictions:11d}"
    yield f"boxes that nobody answers for: {found.num_unanswered}"
    yield f"written: {found.sheet}"
