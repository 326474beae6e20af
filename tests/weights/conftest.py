import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from lookonce.model.yolov3_tiny import YoloV3Tiny, initialise
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord
from lookonce.weights.checkpoint import TrainingState, save_checkpoint
from lookonce.weights.convolutions import model_from_record

CHANNELS = (4, 4, 4, 4, 4, 4, 8, 4, 4, 4, 4)


@pytest.fixture
def record() -> ModelRecord:
    return ModelRecord(
        dialect=DIALECTS["darknet"], channels=CHANNELS, class_names=("a", "b"), category_ids=(7, 9), image_size=(64, 64)
    )


@pytest.fixture
def make_model() -> Callable[..., YoloV3Tiny]:
    def make(num_classes: int = 2, channels: tuple[int, ...] = CHANNELS, seed: int = 0) -> YoloV3Tiny:
        epsilon = DIALECTS["darknet"].batchnorm_eps
        model = YoloV3Tiny(num_classes, channels=channels, batchnorm_eps=epsilon)
        initialise(model, torch.Generator().manual_seed(seed))
        return model

    return make


@pytest.fixture
def checkpoint(tmp_path: Path, record: ModelRecord, make_model: Callable[..., YoloV3Tiny]) -> Path:
    """A resumable checkpoint of a tiny network."""
    folder = tmp_path / "last"
    training = TrainingState(tensors={"model/x": torch.arange(3)}, values={"step": 5, "third": 1 / 3})
    save_checkpoint(folder, state=make_model().state_dict(), record=record, training_state=training)
    return folder


ACTIVATIONS = {"leaky": lambda x: F.leaky_relu(x, 0.1), "relu": F.relu, "swish": F.silu, "linear": lambda x: x}


def darknet_heads(cfg: str, floats: np.ndarray, images: torch.Tensor) -> list[torch.Tensor]:
    """Raw heads of any .cfg made of the layers that YOLOv3-Tiny has: an interpreter that knows no network of ours.

    Every float is used, in Darknet's order; epsilon 1e-6, as OpenCV 4's reader has it.
    """
    sections = [
        (block.partition("]")[0], dict(re.findall(r"^\s*(\w+)\s*=\s*(.+?)\s*$", block, re.MULTILINE)))
        for block in re.sub(r"#.*", "", cfg).split("[")[1:]
    ]
    outputs: list[torch.Tensor] = []
    heads, at, x = [], 0, images

    def take(*shape: int) -> torch.Tensor:
        nonlocal at
        at += math.prod(shape)
        return torch.from_numpy(floats[at - math.prod(shape) : at].copy()).view(shape)

    for kind, options in sections[1:]:
        if kind == "convolutional":
            filters, size = int(options["filters"]), int(options["size"])
            normalised = int(options.get("batch_normalize", 0))
            beta, *others = (take(filters) for _ in range(4 if normalised else 1))
            x = F.conv2d(x, take(filters, x.shape[1], size, size), None if others else beta, padding=size // 2)
            if others:
                gamma, mean, variance = others
                x = F.batch_norm(x, mean, variance, gamma, beta, eps=1e-6)
            x = ACTIVATIONS[options["activation"]](x)
        elif kind == "maxpool":
            low = torch.finfo(torch.float32).min
            x = F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=low), 2, int(options["stride"]))[
                :, :, : x.shape[2] // int(options["stride"]), : x.shape[3] // int(options["stride"])
            ]
        elif kind == "upsample":
            x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        elif kind == "route":
            layers = [int(number) for number in options["layers"].split(",")]
            x = torch.cat([outputs[number if number >= 0 else len(outputs) + number] for number in layers], 1)
        else:
            heads.append(x)
        outputs.append(x)
    assert at == len(floats)
    return heads


@pytest.fixture
def run_darknet() -> Callable[..., list[torch.Tensor]]:
    return darknet_heads


def random_state(record: ModelRecord, seed: int = 0) -> dict[str, torch.Tensor]:
    """Weights whose every array matters: BatchNorm's statistics too."""
    generator = torch.Generator().manual_seed(seed)
    model = model_from_record(record)
    initialise(model, generator)
    state = model.state_dict()
    for name, array in state.items():
        if name.endswith(("norm.weight", "running_var")):
            array.uniform_(0.5, 1.5, generator=generator)
        elif name.endswith(("norm.bias", "running_mean", "head32.bias", "head16.bias", "head8.bias")):
            array.normal_(0, 0.5, generator=generator)
    return state


@pytest.fixture
def make_state() -> Callable[..., dict[str, torch.Tensor]]:
    return random_state
