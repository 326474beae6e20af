"""The network that a record describes, and its convolutions by name: what every dialect's files are mapped to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lookonce.config.record import ModelRecord
from lookonce.errors import WeightsError
from lookonce.model.backbone import ConvBlock
from lookonce.model.yolov3_tiny import YoloV3Tiny

# What an array is for -> its name behind the convolution's own.
NORMALISED_ARRAYS = {
    "beta": "norm.bias",
    "gamma": "norm.weight",
    "mean": "norm.running_mean",
    "variance": "norm.running_var",
    "weight": "conv.weight",
}
HEAD_ARRAYS = {"bias": "bias", "weight": "weight"}
BATCH_COUNTER = "norm.num_batches_tracked"  # PyTorch's own; no other program has it


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
        """The array that only PyTorch's BatchNorm has, at its start; empty for a head."""
        return {f"{self.name}.{BATCH_COUNTER}": torch.tensor(0)} if self.normalised else {}


def model_from_record(record: ModelRecord) -> YoloV3Tiny:
    """The network a record describes, with whatever weights PyTorch gives it."""
    return YoloV3Tiny(
        record.num_classes,
        channels=record.channels,
        num_anchors=tuple(len(mask) for mask in record.masks),
        activation=record.dialect.activation,
        batchnorm_eps=record.dialect.batchnorm_eps,
        pool_edge=record.dialect.pool_edge,
    )


def convolutions(record: ModelRecord) -> Iterator[Convolution]:
    """In the order in which Darknet's files list them: as the network runs, each head before what comes after it."""
    with torch.device("meta"):
        model = model_from_record(record)
    for name, module in model.named_modules():
        if isinstance(module, ConvBlock):
            yield Convolution(name=name, shape=tuple(module.conv.weight.shape), normalised=True)
        elif isinstance(module, nn.Conv2d) and module in model.heads:
            yield Convolution(name=name, shape=tuple(module.weight.shape), normalised=False)


def require_finite(state: Mapping[str, Tensor], source: str) -> None:
    """WeightsError for NaN, infinity or a variance below 0, which no training leaves behind but damage does."""
    for name, array in state.items():
        if array.is_floating_point() and not bool(torch.isfinite(array).all()):
            raise WeightsError(
                f"{source}: array {name!r} holds values that are no numbers; the file is damaged",
                path=source,
                value=name,
            )
        if name.endswith(NORMALISED_ARRAYS["variance"]) and bool((array < 0).any()):
            raise WeightsError(
                f"{source}: array {name!r} holds variances below 0; the file is damaged", path=source, value=name
            )


def with_epsilon(state: Mapping[str, Tensor], epsilon: float, wanted: float, source: str) -> dict[str, Tensor]:
    """The same network for a program that adds another constant to the variances: they take up the difference."""
    if epsilon == wanted:
        return dict(state)
    moved = dict(state)
    for name, array in state.items():
        if name.endswith(NORMALISED_ARRAYS["variance"]):
            moved[name] = (array.double() + (epsilon - wanted)).float()
            if bool((moved[name] < 0).any()):
                raise WeightsError(
                    f"{source}: array {name!r} holds variances smaller than {wanted - epsilon:g}, which the other "
                    f"program's constant {wanted:g} cannot stand in for",
                    path=source,
                    value=name,
                )
    return moved
