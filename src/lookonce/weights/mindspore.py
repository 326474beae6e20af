"""Reads and writes the model zoo's .ckpt of YOLOv3-Tiny, without MindSpore.

The file is a protocol buffer, MindSpore's checkpoint.proto: a list of (name, array). Arrays over 512 MiB are split
into several entries of the same name.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lookonce.errors import WeightsError
from lookonce.protobuf import all_fields, as_field, fields
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.image_size import size_hw
from lookonce.settings.names import counted
from lookonce.settings.record import FULL_CHANNELS, ModelRecord, Preprocessing
from lookonce.weights.convolutions import (
    Convolution,
    convolutions,
    num_outputs,
    require_finite,
    take_array,
    with_epsilon,
)
from lookonce.weights.foreign import (
    ForeignWeights,
    ReadOptions,
    named_classes,
    num_classes_of,
    require_all_used,
)

Arrays = dict[str, NDArray[np.generic]]

DTYPES = {
    "Float32": "<f4",
    "Float16": "<f2",
    "Float64": "<f8",
    "Int8": "i1",
    "Int32": "<i4",
    "Int64": "<i8",
    "UInt8": "u1",
    "Bool": "?",
}
TRAINING_PREFIX = "yolo_network."  # added by training, which saves the network with its loss
NETWORK_PREFIX = "feature_map."
# What training saves besides the network: optimizer state, and scalars such as counters and the loss scale.
OPTIMIZER_PREFIXES = ("moments.", "accum.")
TRAINING_VALUES = {
    "learning_rate",
    "momentum",
    "global_step",
    "epoch_num",
    "step_num",
    "scale_sense",
    "loss_scale",
    "current_iterator_step",
    "last_overflow_iterator_step",
}
# The order of a convolution's arrays in the file; convolutions have the same numbers as ours.
ORDER = {
    "weight": "0.weight",
    "mean": "1.moving_mean",
    "variance": "1.moving_variance",
    "gamma": "1.gamma",
    "beta": "1.beta",
}
HEADS = {"head32": "head1", "head16": "head2"}
HEAD_ORDER = ("weight", "bias")
NETWORK = "the model zoo's YOLOv3-Tiny"
NUM_ANCHORS = 3
MODEL_ZOO_SIZE = 640
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
MOST_DIMENSIONS = 8
# Field numbers of checkpoint.proto: Checkpoint.value = 1 {tag = 1, tensor = 2 {dims, type, content}}.
VALUE, TAG, TENSOR = 1, 1, 2
DIMS, TYPE, CONTENT = 1, 2, 3


class Piece(NamedTuple):
    """A stored array, or a part of one. kind: a key of DTYPES."""

    kind: str
    shape: tuple[int, ...]
    content: memoryview


def read_mindspore(path: Path, options: ReadOptions) -> ForeignWeights:
    """The network of a .ckpt, as saved by the model zoo's training or for its evaluation."""
    source = str(path)
    found = read_arrays(path)
    dropped = [name for name in found if name.startswith(OPTIMIZER_PREFIXES) or name in TRAINING_VALUES]
    # Under the names that evaluation uses.
    arrays = {name.removeprefix(TRAINING_PREFIX): array for name, array in found.items() if name not in dropped}
    record = _record(arrays, options, source)
    state: dict[str, Tensor] = {}
    for one in convolutions(record):
        for theirs, (name, shape) in _names(one).items():
            state[name] = take_array(arrays, theirs, shape, source, NETWORK)
        state |= one.counter()
    require_all_used(list(arrays), source)
    require_finite(state, source)
    classes, assumed = named_classes(record.num_classes, options.class_names, source)
    notes = [f"MindSpore .ckpt, {sum(a.numel() for a in state.values() if a.is_floating_point()):,} parameters"]
    if dropped:
        notes.append(f"training state ignored: {counted(len(dropped), 'array')} ({dropped[0]} ...)")
    zoos = (
        "the file does not hold anchors and preprocessing: using the model zoo's anchors, 640 pixels, stretch, and "
        "ImageNet's mean and std"
    )
    record = record.model_copy(update=classes)
    return ForeignWeights(state=state, record=record, notes=tuple(notes), assumed=(*assumed, zoos))


def read_arrays(path: Path) -> Arrays:
    """name -> array of a .ckpt; entries of the same name are joined."""
    pieces: dict[str, list[Piece]] = {}
    try:
        for number, value in fields(memoryview(path.read_bytes())):
            if number != VALUE:
                continue
            parts = dict(fields(value))
            pieces.setdefault(str(parts[TAG], "utf-8"), []).append(_piece(parts[TENSOR]))
    except OSError as error:
        raise WeightsError.at(path, f"cannot be read ({error.strerror})") from error
    except (ValueError, IndexError, KeyError) as error:
        raise WeightsError.at(
            path, f"truncated or not a MindSpore .ckpt ({error}); copy it again from its source"
        ) from error
    if not pieces:
        raise WeightsError.at(path, "contains no arrays; expected a MindSpore .ckpt")
    return {name: _joined(name, tensors, path) for name, tensors in pieces.items()}


def _piece(tensor: memoryview) -> Piece:
    parts = dict(fields(tensor))
    shape = tuple(value for number, value, _ in all_fields(tensor) if number == DIMS and isinstance(value, int))
    return Piece(str(parts[TYPE], "utf-8"), shape, parts.get(CONTENT, memoryview(b"")))


def _joined(name: str, pieces: list[Piece], path: Path) -> NDArray[np.generic]:
    kind, shape, content = pieces[0]
    if len(pieces) > 1:
        content = memoryview(b"".join(piece.content for piece in pieces))
    if kind not in DTYPES:
        raise WeightsError.at(
            path, f"array {name!r} has type {kind[:40]!r}; expected one of {', '.join(DTYPES)}", value=name
        )
    dtype = np.dtype(DTYPES[kind])
    if len(shape) > MOST_DIMENSIONS or math.prod(shape) * dtype.itemsize != len(content):
        raise WeightsError.at(
            path,
            f"array {name!r} has shape {shape[:MOST_DIMENSIONS]} of {kind} but {len(content):,} bytes; the file is "
            "damaged; copy it again from its source",
            value=name,
        )
    return np.frombuffer(content, dtype).reshape(shape)


def _record(arrays: Arrays, options: ReadOptions, source: str) -> ModelRecord:
    """The record, derived from the shapes of the arrays."""
    weights = [f"{NETWORK_PREFIX}backbone.conv{index}.0.weight" for index in range(len(FULL_CHANNELS))]
    channels = [num_outputs(arrays, name, source, NETWORK) for name in weights]
    outputs = num_outputs(arrays, f"{NETWORK_PREFIX}head1.weight", source, NETWORK)
    num_classes = num_classes_of(outputs, NUM_ANCHORS, source)
    return ModelRecord(
        dialect=DIALECTS["mindspore"],
        channels=tuple(channels),
        class_names=tuple(map(str, range(num_classes))),
        category_ids=tuple(range(num_classes)),
        image_size=size_hw(options.image_size or MODEL_ZOO_SIZE),
        preprocessing=Preprocessing(
            resize="stretch" if options.resize == "auto" else options.resize, mean=IMAGENET_MEAN, std=IMAGENET_STD
        ),
    )


def _names(one: Convolution) -> dict[str, tuple[str, tuple[int, ...]]]:
    """MindSpore's name of each array -> (our name, shape), in the file's order."""
    if not one.normalised:
        return {f"{NETWORK_PREFIX}{HEADS[one.name]}.{role}": one.arrays[role] for role in HEAD_ORDER}
    number = one.name[len(one.name.rstrip("0123456789")) :]
    return {f"{NETWORK_PREFIX}backbone.conv{number}.{name}": one.arrays[role] for role, name in ORDER.items()}


def to_mindspore(record: ModelRecord, state: Mapping[str, Tensor], source: str) -> dict[str, bytes]:
    """suffix -> content of the .ckpt, with the names and the order of the model zoo's evaluation."""
    ours, theirs = record.dialect, DIALECTS["mindspore"]
    _require(
        record,
        {
            f"size rule {ours.size_rule}": ours.size_rule == theirs.size_rule,
            f"centre scales {ours.center_scales}": ours.center_scales == theirs.center_scales,
            f"{tuple(map(len, record.masks))} anchors per head": all(len(mask) == NUM_ANCHORS for mask in record.masks),
        },
        source,
    )
    return {".ckpt": network_to_ckpt(record, state, source)}


def network_to_ckpt(record: ModelRecord, state: Mapping[str, Tensor], source: str) -> bytes:
    """The content of a .ckpt for the model zoo's network, for any decoding of the heads."""
    dialect = record.dialect
    _require(
        record,
        {
            f"activation {dialect.activation}": dialect.activation == "leaky",
            f"pool edge {dialect.pool_edge}": dialect.pool_edge == "repeat",
            f"{len(record.masks)} heads": len(record.masks) == len(HEADS),
            f"channels {record.channels}": 0 not in record.channels,
        },
        source,
    )
    moved = with_epsilon(state, record.dialect.batchnorm_eps, DIALECTS["mindspore"].batchnorm_eps, source)
    return b"".join(
        as_field(VALUE, as_field(TAG, theirs.encode()) + as_field(TENSOR, _as_tensor(moved[ours].numpy())))
        for one in sorted(convolutions(record), key=lambda one: not one.normalised)  # the numbered ones, then the heads
        for theirs, (ours, _) in _names(one).items()
    )


def _as_tensor(array: NDArray[np.float32]) -> bytes:
    dims = b"".join(as_field(DIMS, size) for size in array.shape)
    return dims + as_field(TYPE, b"Float32") + as_field(CONTENT, array.astype("<f4").tobytes())


def _require(record: ModelRecord, needs: Mapping[str, bool], source: str) -> None:
    for what, fine in needs.items():
        if not fine:
            raise WeightsError.at(
                source,
                f"has {what} (dialect {record.dialect.name}), unlike the model zoo's network; train with --recipe "
                "modelzoo for files that the model zoo runs, or export to ONNX",
            )
