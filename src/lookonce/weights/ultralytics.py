"""Reads Ultralytics' anchor-based YOLOv3-Tiny from the .pt of its training (repository ultralytics/yolov3).

The file holds the whole network as a pickle, which weights.pickled reads without executing it. The layers must match
yolov3-tiny.yaml; activation, BatchNorm's epsilon, anchors and class names are read from the modules.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lookonce.errors import WeightsError
from lookonce.settings.dialects import DIALECTS, Activation, Dialect
from lookonce.settings.image_size import size_hw
from lookonce.settings.record import ModelRecord, Preprocessing
from lookonce.weights.convolutions import (
    BATCH_COUNTER,
    Convolution,
    convolutions,
    num_outputs,
    require_finite,
    take_array,
)
from lookonce.weights.foreign import (
    ForeignWeights,
    ReadOptions,
    named_classes,
    num_classes_of,
    require_all_used,
)
from lookonce.weights.pickled import Module, Pickled, read_pickled

# The layers of yolov3-tiny.yaml: class, and our name if the layer has weights.
LAYERS = (
    ("Conv", "backbone.conv0"),
    ("MaxPool2d", ""),
    ("Conv", "backbone.conv1"),
    ("MaxPool2d", ""),
    ("Conv", "backbone.conv2"),
    ("MaxPool2d", ""),
    ("Conv", "backbone.conv3"),
    ("MaxPool2d", ""),
    ("Conv", "backbone.conv4"),
    ("MaxPool2d", ""),
    ("Conv", "backbone.conv5"),
    ("ZeroPad2d", ""),
    ("MaxPool2d", ""),
    ("Conv", "backbone.conv6"),
    ("Conv", "neck7"),
    ("Conv", "neck8"),
    ("Conv", "lateral9"),
    ("Upsample", ""),
    ("Concat", ""),
    ("Conv", "neck10"),
    ("Detect", ""),
)
DETECT = f"model.{len(LAYERS) - 1}"
CONVOLUTION_LAYERS = {place: f"model.{index}" for index, (_, place) in enumerate(LAYERS) if place}
CONVOLUTION_LAYERS |= {"head16": f"{DETECT}.m.0", "head32": f"{DETECT}.m.1"}
ARRAYS = {
    "weight": "conv.weight",
    "gamma": "bn.weight",
    "beta": "bn.bias",
    "mean": "bn.running_mean",
    "variance": "bn.running_var",
}
# Attributes that must have these values for equal arithmetic: layer -> attribute -> value.
FIXED: dict[int, dict[str, Any]] = {
    **{index: {"kernel_size": 2, "stride": 2, "padding": 0} for index in (1, 3, 5, 7, 9)},
    11: {"padding": [0, 1, 0, 1]},
    12: {"kernel_size": 2, "stride": 1, "padding": 0},
    17: {"mode": "nearest"},
}
NETWORK = "Ultralytics' YOLOv3-Tiny, not fused"
HEAD_STRIDES = [16.0, 32.0]  # the file's order
DEFAULT_SIZE = 640


def read_ultralytics(path: Path, options: ReadOptions) -> ForeignWeights:
    """The network of a .pt file; its EMA weights if the file has them."""
    source = str(path)
    pickled = read_pickled(path)
    _require_tiny(pickled, source)
    arrays = dict(pickled.arrays)
    record = _record(pickled, options, source)
    state: dict[str, Tensor] = {}
    for one in convolutions(record):
        state |= _take(one, arrays, source)
    for known in ("anchors", "anchor_grid"):  # already in the record
        arrays.pop(f"{DETECT}.{known}", None)
    require_all_used(list(arrays), source)
    require_finite(state, source)
    given = options.class_names or _names(pickled, record.num_classes)
    classes, assumed = named_classes(record.num_classes, given, source)
    dialect = record.dialect
    what = {"ema": "EMA weights", "model": "weights without EMA", "": "the network only"}[pickled.chosen]
    notes = (f"Ultralytics .pt, {what}; {dialect.activation}, BatchNorm epsilon {dialect.batchnorm_eps:g}",)
    size = f"the file does not hold the input size: using {record.image_size[0]}; set another with --image-size N"
    record = record.model_copy(update=classes)
    return ForeignWeights(state=state, record=record, notes=notes, assumed=(*assumed, size))


def _require_tiny(pickled: Pickled, source: str) -> None:
    """WeightsError with the first layer that is not yolov3-tiny.yaml's."""
    for index, (kind, _) in enumerate(LAYERS):
        module = pickled.modules.get(f"model.{index}")
        found = module.kind if module else "nothing"
        if module is None or found != kind:
            raise WeightsError.at(source, f"layer {index} is {found}; expected {kind}; only YOLOv3-Tiny is supported")
        for name, wanted in FIXED.get(index, {}).items():
            value = module.attributes.get(name)
            if value != wanted and value != [wanted, wanted]:
                raise WeightsError.at(source, f"layer {index} ({kind}) has {name}={value}; expected {wanted}")
    if f"model.{len(LAYERS)}" in pickled.modules:
        raise WeightsError.at(source, f"has more than {len(LAYERS)} layers; only YOLOv3-Tiny is supported")


def _record(pickled: Pickled, options: ReadOptions, source: str) -> ModelRecord:
    weights = [f"{CONVOLUTION_LAYERS[place]}.conv.weight" for _, place in LAYERS if place]
    anchors = pickled.arrays.get(f"{DETECT}.anchors")
    strides = pickled.modules[DETECT].attributes.get("stride")
    if "reg_max" in pickled.modules[DETECT].attributes:
        problem = "is an anchor-free network of the Ultralytics package (yolov3-tinyu), which cannot be converted"
        anchors_in = "expected the yolov3-tiny.pt with anchors of the repository ultralytics/yolov3"
        raise WeightsError.at(source, f"{problem}; {anchors_in}; or train anew, from `--weights coco`")
    if anchors is None or anchors.ndim != 3 or anchors.shape[::2] != (2, 2) or not anchors.size:
        raise WeightsError.at(source, f"{DETECT} has no anchors of shape (2, anchors, 2); expected two heads")
    if strides != HEAD_STRIDES:
        raise WeightsError.at(source, f"heads have strides {strides}; expected {HEAD_STRIDES}")
    count = anchors.shape[1]
    pixels = (anchors * np.array(HEAD_STRIDES)[:, None, None]).reshape(-1, 2)
    outputs = num_outputs(pickled.arrays, f"{CONVOLUTION_LAYERS['head32']}.weight", source, NETWORK)
    num_classes = num_classes_of(outputs, count, source)
    return ModelRecord(
        dialect=_dialect(pickled, source),
        channels=tuple(num_outputs(pickled.arrays, name, source, NETWORK) for name in weights),
        class_names=tuple(map(str, range(num_classes))),
        category_ids=tuple(range(num_classes)),
        anchors=tuple((round(float(w), 4), round(float(h), 4)) for w, h in pixels),
        masks=(tuple(range(count, 2 * count)), tuple(range(count))),
        image_size=size_hw(options.image_size or DEFAULT_SIZE),
        preprocessing=Preprocessing(resize="letterbox" if options.resize == "auto" else options.resize),
    )


def _dialect(pickled: Pickled, source: str) -> Dialect:
    activations, epsilons = set[Activation](), set[float]()
    for name, module in pickled.modules.items():
        if name.endswith(".act"):  # of a convolution
            activations.add(_activation(module, name, source))
        elif module.kind == "BatchNorm2d":
            epsilon = module.attributes.get("eps")
            if not isinstance(epsilon, float) or not 0 < epsilon < 1:
                expected = "expected a number between 0 and 1, such as 0.001"
                raise WeightsError.at(source, f"BatchNorm epsilon is {epsilon}; {expected}")
            epsilons.add(epsilon)
    if len(activations) != 1 or len(epsilons) != 1:
        raise WeightsError.at(
            source,
            f"activations {sorted(activations)} and BatchNorm epsilons {sorted(epsilons)}; expected one of each",
        )
    update = {"activation": activations.pop(), "batchnorm_eps": epsilons.pop(), "pool_edge": "zero"}
    return DIALECTS["ultralytics"].model_copy(update=update)


def _activation(module: Module, name: str, source: str) -> Activation:
    if module.kind == "SiLU":
        return "silu"
    if module.kind == "LeakyReLU" and module.attributes.get("negative_slope") == 0.1:
        return "leaky"
    slope = module.attributes.get("negative_slope", "")
    raise WeightsError.at(source, f"{name} is {module.kind}{slope and f'({slope})'}; expected SiLU or LeakyReLU(0.1)")


def _take(one: Convolution, arrays: dict[str, Any], source: str) -> dict[str, Tensor]:
    """Removes one convolution's arrays from `arrays` and returns them under our names."""
    layer = CONVOLUTION_LAYERS[one.name]
    taken: dict[str, Tensor] = {}
    for role, (ours, shape) in one.arrays.items():
        name = f"{layer}.{ARRAYS[role] if one.normalised else role}"
        taken[ours] = take_array(arrays, name, shape, source, NETWORK)
    if one.normalised:
        counter = arrays.pop(f"{layer}.bn.num_batches_tracked", np.zeros((), np.int64))
        taken[f"{one.name}.{BATCH_COUNTER}"] = torch.tensor(int(counter.sum()))
    return taken


def _names(pickled: Pickled, num_classes: int) -> tuple[str, ...]:
    """Class names from the outermost module, a list or a dict by number; empty if they do not fit the classes."""
    names = pickled.modules[""].attributes.get("names")
    values = list(names.values()) if isinstance(names, dict) else names if isinstance(names, list) else []
    fit = all(isinstance(name, str) for name in values) and len(values) == num_classes == len(set(values))
    return tuple(values) if fit else ()
