"""Builds the network from a record, and lists its convolutions by name; every weight format is mapped to these."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lookonce.errors import WeightsError
from lookonce.model.backbone import ConvBlock
from lookonce.model.yolov3_tiny import YoloV3Tiny
from lookonce.settings.record import ModelRecord

# Role of an array -> its name after the convolution's name.
NORMALISED_ARRAYS = {
    "beta": "norm.bias",
    "gamma": "norm.weight",
    "mean": "norm.running_mean",
    "variance": "norm.running_var",
    "weight": "conv.weight",
}
HEAD_ARRAYS = {"bias": "bias", "weight": "weight"}
BATCH_COUNTER = "norm.num_batches_tracked"  # only PyTorch has it


@dataclass(frozen=True, kw_only=True)
class Convolution:
    """name: "backbone.conv0" ... "head16". shape: (out, in, k, k). arrays: role -> (name in the state, shape)."""

    name: str
    shape: tuple[int, ...]
    normalised: bool

    @property
    def arrays(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        roles = NORMALISED_ARRAYS if self.normalised else HEAD_ARRAYS
        return {
            role: (f"{self.name}.{suffix}", self.shape if role == "weight" else self.shape[:1])
            for role, suffix in roles.items()
        }

    def counter(self) -> dict[str, Tensor]:
        """BatchNorm's batch counter, which only PyTorch has, at 0; empty for a head."""
        return {f"{self.name}.{BATCH_COUNTER}": torch.tensor(0)} if self.normalised else {}


def model_from_record(record: ModelRecord) -> YoloV3Tiny:
    """The network a record describes, with PyTorch's random initial weights."""
    return YoloV3Tiny(
        record.num_classes,
        channels=record.channels,
        num_anchors=tuple(len(mask) for mask in record.masks),
        activation=record.dialect.activation,
        batchnorm_eps=record.dialect.batchnorm_eps,
        pool_edge=record.dialect.pool_edge,
    )


def convolutions(record: ModelRecord) -> Iterator[Convolution]:
    """The convolutions in Darknet's file order: execution order, each head before the layers that follow it."""
    with torch.device("meta"):
        model = model_from_record(record)
    for name, module in model.named_modules():
        if isinstance(module, ConvBlock):
            yield Convolution(name=name, shape=tuple(module.conv.weight.shape), normalised=True)
        elif isinstance(module, nn.Conv2d) and module in model.heads:
            yield Convolution(name=name, shape=tuple(module.weight.shape), normalised=False)


def require_finite(state: Mapping[str, Tensor], source: str) -> None:
    """WeightsError for NaN, infinity or a negative variance: signs of a damaged file."""
    for name, array in state.items():
        if array.is_floating_point() and not bool(torch.isfinite(array).all()):
            raise WeightsError.at(
                source, f"array {name!r} contains NaN or infinity; the file is damaged; copy it again", value=name
            )
        if name.endswith(NORMALISED_ARRAYS["variance"]) and bool((array < 0).any()):
            raise WeightsError.at(
                source, f"array {name!r} contains negative variances; the file is damaged; copy it again", value=name
            )


def num_outputs(arrays: Mapping[str, NDArray[np.generic]], name: str, source: str, network: str) -> int:
    """Output channels of the convolution with the weights `name`. network: whose they are, for errors."""
    if name not in arrays:
        raise WeightsError.at(source, f"no array {name!r}; expected {network}", value=name)
    shape = arrays[name].shape
    if len(shape) != 4 or 0 in shape:
        raise WeightsError.at(source, f"array {name!r} has shape {shape}; expected (out, in, k, k)", value=name)
    return int(shape[0])


def take_array(
    arrays: dict[str, NDArray[np.generic]], name: str, shape: tuple[int, ...], source: str, network: str
) -> Tensor:
    """Remove a float array from `arrays`, and return it as float32. network: whose it is, for errors."""
    if name not in arrays:
        raise WeightsError.at(source, f"no array {name!r}; expected {network}", value=name)
    array = arrays.pop(name)
    if array.shape != shape or array.dtype.kind != "f":
        found = f"array {name!r} is {array.dtype} of shape {array.shape}"
        raise WeightsError.at(source, f"{found}; expected floats of shape {shape}", value=name)
    return torch.from_numpy(array.astype(np.float32))


def with_epsilon(state: Mapping[str, Tensor], epsilon: float, wanted: float, source: str) -> dict[str, Tensor]:
    """The state for a program with another BatchNorm epsilon: the variances absorb the difference."""
    if epsilon == wanted:
        return dict(state)
    moved = dict(state)
    for name, array in state.items():
        if name.endswith(NORMALISED_ARRAYS["variance"]):
            moved[name] = (array.double() + (epsilon - wanted)).float()
            if bool((moved[name] < 0).any()):
                raise WeightsError.at(
                    source,
                    f"array {name!r} contains variances below {wanted - epsilon:g}, so BatchNorm's epsilon cannot be "
                    f"changed from {epsilon:g} to {wanted:g}; export to ONNX instead",
                    value=name,
                )
    return moved
