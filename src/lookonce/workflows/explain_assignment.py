"""`lookonce explain-assignment`: draws which anchors of which head are assigned to each ground-truth box."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lookonce.data.dataset import Dataset, data_hash, require_boxes
from lookonce.data.loader import Batch, fitted_row
from lookonce.data.selection import even_choice, take_images
from lookonce.data.source import open_data
from lookonce.errors import SettingsError
from lookonce.layout import Printed
from lookonce.log import loading_torch
from lookonce.prediction.renderer import encode
from lookonce.reports.assignment_page import AnchorCount, Head, anchor_counts, draw_assignment, unanswered
from lookonce.request import old_names
from lookonce.settings.names import counted
from lookonce.settings.record import ModelRecord
from lookonce.settings.resolve import resolve
from lookonce.settings.schema import Settings
from lookonce.storage import fresh_path, write_file
from lookonce.workflows.train_inputs import require_inputs

if TYPE_CHECKING:
    from lookonce.model.yolov3_tiny import YoloV3Tiny


@dataclass(frozen=True, kw_only=True)
class Explanation(Printed):
    """Counts over the images of the sheet. anchors: one row per anchor, smallest first."""

    sheet: Path
    assignment: str
    anchors: list[AnchorCount]
    num_images: int
    num_boxes: int
    num_unanswered: int


@old_names(pictures="sheet_images")
def explain_assignment(
    data: str, *, sheet_images: int = 4, split: str | None = None, output: Path = Path("assignment.png"), **flags: Any
) -> Explanation:
    """Draw which predictions are assigned to which ground-truth box, with the anchors at their true size.

    Takes every setting of `train`. With --weights, network, anchors and settings are those of its training. Otherwise
    the network is untrained; then task_aligned assignment means little, because it depends on the predictions.

    Parameters
    ----------
    data
        Labelled images: a data set in any layout of docs/data.md, or an annotation JSON together with --images.
    sheet_images
        Images to show, 1 or more, evenly spaced over those with boxes.
    split
        Split of the data set; default: the training split.
    output
        PNG file to write; if it exists, a number is appended to its name.
    """
    if sheet_images < 1:
        raise SettingsError.of("sheet_images", sheet_images, "expected 1 or more")
    settings, model, record, shown = prepare(data, split, sheet_images, flags)
    batch = fitted_batch(shown, record)
    heads = answers(settings, model, record, batch)
    path = fresh_path(output)
    write_file(path, encode(draw_assignment(batch, heads), ".png"))
    return Explanation(
        sheet=path,
        assignment=settings.assignment,
        anchors=anchor_counts(heads),
        num_images=len(shown),
        num_boxes=int((~batch.crowd).sum()),
        num_unanswered=len(unanswered(batch, heads)),
    )


def prepare(
    data: str, split: str | None, num_images: int, flags: dict[str, Any]
) -> tuple[Settings, YoloV3Tiny, ModelRecord, Dataset]:
    """(settings, network, its record, images to show)."""
    flags = {**flags, "data": data}
    require_inputs(**flags)  # before anything slow
    with loading_torch():
        from lookonce.weights.load import load_weights
        from lookonce.workflows import build, choices

    weights, names = flags.pop("weights", None), flags.pop("names", None)
    trained = load_weights(Path(weights), Path(names) if names else None) if weights else None
    if trained is not None:
        given = {name: value for name, value in flags.items() if value is not None}
        known = trained[1].settings
        flags = {name: known[name] for name in Settings.model_fields if known.get(name) is not None} | given
        flags = {**flags, "weights": None, "names": None, "backbone_weights": None, "freeze_stages": 0, "resume": False}
    settings = resolve(flags).settings
    opened = open_data(settings.data, settings.images, follow_links=settings.follow_links)
    dataset = opened.split(split or settings.train_split)
    require_boxes(dataset)
    settings = choices.choose_positives(settings, dataset)
    if trained is None:
        record = build.make_record(settings, dataset, data_hash(dataset))
        trained = build.make_model(settings, record), record
    rows = np.flatnonzero(dataset.box_counts)  # with boxes
    return settings, *trained, take_images(dataset, rows[even_choice(len(rows), num_images)])


def fitted_batch(dataset: Dataset, record: ModelRecord) -> Batch:
    """All images of the data set in one batch, preprocessed as at inference."""
    fitted = [fitted_row(dataset, row, record.image_size, record.preprocessing) for row in range(len(dataset))]
    images, boxes_xyxy = zip(*fitted, strict=True)
    return Batch(
        images=np.stack(images),
        boxes_xyxy=np.concatenate(boxes_xyxy).astype(np.float32),
        labels=dataset.labels,
        image_index=dataset.image_rows,
        crowd=dataset.crowd,
        positions=np.arange(len(dataset)),
        image_ids=dataset.image_ids,
    )


def answers(settings: Settings, model: YoloV3Tiny, record: ModelRecord, batch: Batch) -> list[Head]:
    """The ground truth assigned to each prediction, as training would assign it; one Head per head."""
    import torch

    from lookonce.training.engine import StepOptions, to_device
    from lookonce.workflows import build

    cpu = torch.device("cpu")
    images, targets = to_device(batch, StepOptions(device=cpu, preprocessing=record.preprocessing))
    loss = build.make_loss(settings, record, cpu)
    with torch.no_grad():
        assigned_maps = loss.assigned_maps(model.eval()(images), targets)
    return [
        Head(
            stride=stride,
            anchors_wh=np.array(record.head_anchors(number), np.float32),
            mask=record.masks[number],
            assigned=assigned.numpy(),
        )
        for number, (stride, assigned) in enumerate(zip(record.strides, assigned_maps, strict=True))
    ]


def as_text(found: Explanation) -> Iterator[str]:
    images, boxes = found.num_images, found.num_boxes
    yield f"assignment {found.assignment}, {counted(boxes, 'box')} in {counted(images, 'image')}"
    yield "stride        anchor   boxes  predictions"
    for anchor in found.anchors:
        size = "{:.0f} x {:.0f}".format(*anchor.anchor_wh)
        yield f"{anchor.stride:6d}  {size:>12}  {anchor.boxes:6d}  {anchor.predictions:11d}"
    yield f"boxes without an assigned prediction: {found.num_unanswered}"
    yield f"written: {found.sheet}"
