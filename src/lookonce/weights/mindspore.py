"""Reads and writes the model zoo's .ckpt of YOLOv3-Tiny, without MindSpore.

The file is a protocol buffer, MindSpore's checkpoint.proto, defined here again: a list of (name, array). Arrays over
512 MiB are split into several entries of the same name.
"""

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lookonce.errors import MissingExtra, WeightsError
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.image_size import size_hw
from lookonce.settings.names import counted
from lookonce.settings.record import FULL_CHANNELS, ModelRecord, Preprocessing
from lookonce.weights.convolutions import Convolution, convolutions, require_finite, take_array, with_epsilon
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


@cache
def checkpoint_message() -> type[Any]:
    """The message class of a file. A separate pool, because MindSpore in the same process registers these names too."""
    try:
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    except ModuleNotFoundError as error:
        raise MissingExtra("MindSpore .ckpt files", "mindspore") from error
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="lookonce_checkpoint.proto", syntax="proto2")

    def add(name: str, *fields: tuple[str, int, int, int, str]) -> None:
        message = file.message_type.add(name=name)
        for field_name, number, label, kind, type_name in fields:
            message.field.add(name=field_name, number=number, label=label, type=kind, type_name=type_name or None)

    one, many = field.LABEL_OPTIONAL, field.LABEL_REPEATED
    add("Checkpoint", ("value", 1, many, field.TYPE_MESSAGE, ".Value"))
    add("Value", ("tag", 1, one, field.TYPE_STRING, ""), ("tensor", 2, one, field.TYPE_MESSAGE, ".Tensor"))
    add(
        "Tensor",
        ("dims", 1, many, field.TYPE_INT64, ""),
        ("tensor_type", 2, one, field.TYPE_STRING, ""),
        ("tensor_content", 3, one, field.TYPE_BYTES, ""),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    message_class: type[Any] = message_factory.GetMessageClass(pool.FindMessageTypeByName("Checkpoint"))
    return message_class


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
    from google.protobuf.message import DecodeError

    message = checkpoint_message()()
    try:
        message.ParseFromString(path.read_bytes())
        pieces: dict[str, list[Any]] = {}
        for value in message.value:
            # protobuf returns bytes for text that is not UTF-8
            if not isinstance(value.tag, str) or not isinstance(value.tensor.tensor_type, str):
                raise WeightsError.at(
                    path, "the name or type of an array is not UTF-8; the file is damaged; copy it again"
                )
            pieces.setdefault(value.tag, []).append(value.tensor)
    except OSError as error:
        raise WeightsError.at(path, f"cannot be read ({error.strerror})") from error
    except (DecodeError, UnicodeDecodeError) as error:
        raise WeightsError.at(
            path, f"truncated or not a MindSpore .ckpt ({error}); copy it again from its source"
        ) from error
    if not pieces:
        raise WeightsError.at(path, "contains no arrays; expected a MindSpore .ckpt")
    return {name: _joined(name, tensors, path) for name, tensors in pieces.items()}


def _joined(name: str, tensors: list[Any], path: Path) -> NDArray[np.generic]:
    kind, shape = tensors[0].tensor_type, tuple(tensors[0].dims)
    content = tensors[0].tensor_content if len(tensors) == 1 else b"".join(one.tensor_content for one in tensors)
    if kind not in DTYPES:
        raise WeightsError.at(
            path, f"array {name!r} has type {kind[:40]!r}; expected one of {', '.join(DTYPES)}", value=name
        )
    dtype = np.dtype(DTYPES[kind])
    fits = len(shape) <= MOST_DIMENSIONS and min(shape, default=1) >= 0
    if not fits or math.prod(shape) * dtype.itemsize != len(content):
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
    channels = [_outputs(arrays, name, source) for name in weights]
    outputs = _outputs(arrays, f"{NETWORK_PREFIX}head1.weight", source)
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


def _outputs(arrays: Arrays, name: str, source: str) -> int:
    if name not in arrays:
        raise WeightsError.at(source, f"no array {name!r}; expected {NETWORK}", value=name)
    if arrays[name].ndim != 4 or arrays[name].shape[0] < 1:
        raise WeightsError.at(
            source, f"array {name!r} has shape {arrays[name].shape}; expected (out, in, k, k)", value=name
        )
    return int(arrays[name].shape[0])


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
    message = checkpoint_message()()
    for one in sorted(convolutions(record), key=lambda one: not one.normalised):  # the numbered ones, then the heads
        for theirs, (ours, shape) in _names(one).items():
            value = message.value.add(tag=theirs)
            value.tensor.dims.extend(shape)
            value.tensor.tensor_type = "Float32"
            value.tensor.tensor_content = moved[ours].numpy().astype("<f4").tobytes()
    content: bytes = message.SerializeToString(deterministic=True)
    return content


def _require(record: ModelRecord, needs: Mapping[str, bool], source: str) -> None:
    for what, fine in needs.items():
        if not fine:
            raise WeightsError.at(
                source,
                f"has {what} (dialect {record.dialect.name}), unlike the model zoo's network; train with --recipe "
                "modelzoo for files that the model zoo runs, or export to ONNX",
            )
