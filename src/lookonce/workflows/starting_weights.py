"""Training that starts from weights keeps what they were trained with, unless the user asks for something else."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lookonce.data.anchors import box_sizes_at_input, fit_anchors, mean_best_overlap
from lookonce.data.dataset import Dataset
from lookonce.data.selection import even_choice
from lookonce.distributed import broadcast_object, is_main
from lookonce.errors import WeightsError
from lookonce.log import get_logger, silenced
from lookonce.settings.record import DEFAULT_ANCHORS, ModelRecord, scaled_channels
from lookonce.settings.resolve import Resolved, with_defaults
from lookonce.settings.schema import Settings
from lookonce.settings.text import to_text
from lookonce.settings.values import NUM_ANCHORS, NUM_HEADS
from lookonce.training.run_folder import RunFolder
from lookonce.weights.checkpoint import first_intact, read_record
from lookonce.weights.load import open_checkpoint
from lookonce.weights.published import PUBLISHED
from lookonce.weights.pull import find_weights, place_of
from lookonce.workflows.build import NORMALIZATIONS, make_dialect


def _normalize_of(record: ModelRecord) -> Any:
    values = (record.preprocessing.mean, record.preprocessing.std)
    return next((name for name, known in NORMALIZATIONS.items() if known == values), values)


# Setting -> its value in the record of a network. The weights were trained with these values.
OF_BACKBONE: dict[str, Callable[[ModelRecord], Any]] = {
    "width": lambda record: record.channels,
    "activation": lambda record: record.dialect.activation,
    "batchnorm_eps": lambda record: record.dialect.batchnorm_eps,
    "pool_edge": lambda record: record.dialect.pool_edge,
    "normalize": _normalize_of,
    "resize_mode": lambda record: record.preprocessing.resize,
}
OF_NETWORK = OF_BACKBONE | {
    "dialect": lambda record: record.dialect.name,
    "anchors": lambda record: record.anchors,
    "masks": lambda record: record.masks,
}
# Of the mean IoU of fitted anchors with the boxes, over that of the weights' anchors: BCCD 0.2, raccoon 0.15 to 0.19,
# conecube 0.1 at 160 to 608 pixels.
MUCH_BETTER_FIT = 0.15
FIT_SIZES = 2000  # boxes to fit to: all of COCO would take 10 s at each start
# What another value than that of the weights costs. Figures: Darknet's released COCO weights, 375 images of val2017,
# before the first step; as they are, AP is 0.304 and AP50 0.544.
COSTS = {
    "width": "no weight fits a network of another width",
    "activation": "every layer gets other inputs than it was trained for (COCO weights with silu: AP 0.304 -> 0.077)",
    "batchnorm_eps": "channels of small variance are scaled differently",
    "pool_edge": "the last row and column of the stride-32 features change (none: all of them)",
    "normalize": "the first layer gets other inputs than it was trained for (COCO weights with imagenet: AP 0.304 -> "
    "0.192)",
    "resize_mode": "objects get another aspect ratio than in the training of the weights",
    "dialect": "where its boxes are decoded differently, the weights for boxes and objectness start anew (COCO weights "
    "with ultralytics: AP 0.304 -> 0)",
    "anchors": "anchors of another size start anew, with their weights for boxes and objectness (COCO weights "
    "with six other sizes: AP 0.304 -> 0)",
    "masks": "each head keeps only the weights of the anchors that it had (COCO weights with their published mask "
    "0,1,2: AP50 0.38 -> 0.21)",
}


def at_weights(resolved: Resolved) -> Resolved:
    """The settings of a new run: what its weights were trained with, unless the user set another value.

    Published weights are pulled; the settings then name their checkpoint.
    """
    for named in filter(None, (resolved.settings.weights, resolved.settings.backbone_weights)):
        if str(named) in PUBLISHED:
            get_logger().info(f"{named}: the published weights in {find_weights(named)}")
    resolved = located(resolved)
    path = weights_of(resolved.settings)
    if path is None:
        return resolved
    record, origin = _read(resolved.settings, path), f"weights {path}"
    if resolved.settings.weights:
        resolved = with_defaults(resolved, {"anchors": record.anchors}, origin)
    return with_defaults(resolved, _facts(resolved.settings, record), origin)


def located(resolved: Resolved) -> Resolved:
    """Published weights by the path of their checkpoint, which a run keeps: it needs no name and no network later."""
    given = {name: getattr(resolved.settings, name) for name in ("weights", "backbone_weights")}
    places = {name: place_of(path) for name, path in given.items() if path is not None}
    return replace(resolved, settings=resolved.settings.model_copy(update=places)) if places else resolved


def starting_record(settings: Settings, run: RunFolder | None) -> ModelRecord | None:
    """The record that training continues: of the run's last checkpoint, else of its weights; None from random ones."""
    if broadcast_object(run is not None and run.has_checkpoint):
        main = run if is_main() else None
        own: ModelRecord = broadcast_object(None if main is None else read_record(first_intact(main.saves)))
        return own
    path = weights_of(settings)
    return None if path is None else _read(settings, path)


def log_facts(settings: Settings, record: ModelRecord) -> None:
    """Log which settings have the values that the weights were trained with, and what each other value costs."""
    path, kept = weights_of(settings), []
    for name, theirs in _facts(settings, record).items():
        ours = _in_effect(name, settings, record)
        if ours == theirs:
            kept.append(f"{name}={to_text(theirs)}")
        else:
            get_logger().warning(
                f"{name}: {to_text(ours)}, but {path} was trained with {to_text(theirs)}: {COSTS[name]}; leave {name} "
                "out to keep the value of the weights"
            )
    get_logger().info(f"as in {path}: {' '.join(kept)}")


def anchor_lines(settings: Settings, record: ModelRecord, dataset: Dataset) -> list[str]:
    """The anchors that were fitted; or, of a start from weights, how well its own fit, if fitted ones are far better.

    Evidence for the advice: docs/finetune.md, "Anchors".
    """
    if settings.anchors == "auto":
        return [f"anchors   fitted to the boxes: {to_text(record.anchors)}"]
    if settings.weights is None:
        return []
    sizes = np.maximum(box_sizes_at_input(dataset, record.image_size, record.preprocessing.resize), 1.0)
    sizes = sizes[even_choice(len(sizes), FIT_SIZES)]
    if not len(sizes):
        return []
    theirs = mean_best_overlap(sizes, np.asarray(record.anchors))
    fitted = mean_best_overlap(sizes, fit_anchors(sizes, restarts=1))
    if fitted - theirs < MUCH_BETTER_FIT:
        return []
    fits = f"mean IoU with the boxes {theirs:.2f}, of fitted ones {fitted:.2f}"
    return [f"anchors   {fits}; --anchors auto may score higher (docs/finetune.md)"]


def weights_of(settings: Settings) -> Path | None:
    return settings.weights or settings.backbone_weights


def _facts(settings: Settings, record: ModelRecord) -> dict[str, Any]:
    """Setting -> value of the weights. Masks are rows of their anchors: of no use to others. With masks 1,2,3 and
    anchors fitted to BCCD, no head had the smallest, that of the platelets."""
    known = OF_NETWORK if settings.weights else OF_BACKBONE
    values = {name: value(record) for name, value in known.items()}
    if settings.weights and _in_effect("anchors", settings, record) != record.anchors:
        del values["masks"]
    if scaled_channels(settings.width) == record.channels:
        values["width"] = settings.width  # a multiplier reads better than eleven counts
    return values


def _read(settings: Settings, path: Path) -> ModelRecord:
    """The record of weights; WeightsError if it describes a network that training cannot build."""
    with silenced(True):  # what the reader assumes is logged when the weights are copied
        record = open_checkpoint(path).record
    if settings.weights and (len(record.masks) != NUM_HEADS or len(record.anchors) != NUM_ANCHORS):
        found, expected = (
            f"{len(record.masks)} heads and {len(record.anchors)} anchors",
            f"{NUM_HEADS} and {NUM_ANCHORS}",
        )
        instead = f"--backbone-weights {path} starts from the backbone alone"
        raise WeightsError.at(path, f"{found}; expected {expected} to train from; {instead}")
    return record


def _in_effect(name: str, settings: Settings, record: ModelRecord) -> Any:
    """The value of a setting, with auto and default resolved as far as that needs no data."""
    value = getattr(settings, name)
    if name == "anchors" and value == "default":
        return DEFAULT_ANCHORS
    return getattr(make_dialect(settings, record), name) if value == "auto" and name != "anchors" else value
