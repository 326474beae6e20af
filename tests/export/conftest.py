"""Random networks and the files exported from them, each written once for all tests here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lookonce.config.dialects import DIALECTS
from lookonce.config.record import ModelRecord, Preprocessing
from lookonce.export.base import textured_canvases
from lookonce.export.onnx import write_onnx
from lookonce.export.plan import Plan
from lookonce.model.yolov3_tiny import YoloV3Tiny, scaled_channels
from lookonce.runtimes.onnx import OnnxRuntime
from lookonce.runtimes.pytorch import PyTorchRuntime

SIZE_HW = (64, 96)  # (2 * 3 + 4 * 6) * 3 = 90 boxes


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One network in PyTorch and exported, and pictures for both."""

    model: YoloV3Tiny
    record: ModelRecord
    path: Path
    network: PyTorchRuntime
    exported: OnnxRuntime
    canvases: NDArray[np.uint8]


def random_network(num_classes: int, dialect: str, preprocessing: Preprocessing) -> tuple[YoloV3Tiny, ModelRecord]:
    """A narrow network whose logits spread over several units, with statistics in its batch normalisations."""
    torch.manual_seed(0)
    rule, channels = DIALECTS[dialect], scaled_channels(1 / 8)
    model = YoloV3Tiny(
        num_classes, channels=channels, activation=rule.activation, batchnorm_eps=rule.batchnorm_eps
    ).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.05, 0.5)
            module.weight.data.uniform_(0.8, 1.5)
            module.bias.data.normal_(0, 0.3)
    for head in (model.head32, model.head16):
        head.weight.data.mul_(4)
    record = ModelRecord(
        dialect=rule,
        channels=channels,
        class_names=tuple(f"kind {label}" for label in range(num_classes)),
        category_ids=tuple(range(1, num_classes + 1)),
        image_size=SIZE_HW,
        preprocessing=preprocessing,
    )
    return model, record


@pytest.fixture(scope="session")
def make_pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Pair]:
    def make(
        num_classes: int = 3,
        dialect: str = "darknet",
        preprocessing: Preprocessing | None = None,
        **options: object,
    ) -> Pair:
        model, record = random_network(num_classes, dialect, preprocessing or Preprocessing())
        path = tmp_path_factory.mktemp("exported") / "modèle 模.onnx"
        write_onnx(model, record, Plan(**options), path)  # type: ignore[arg-type]
        return Pair(
            model=model,
            record=record,
            path=path,
            network=PyTorchRuntime(model, record),
            exported=OnnxRuntime(path),
            canvases=textured_canvases(3, SIZE_HW),
        )

    return make


@pytest.fixture(scope="session")
def detections_file(make_pair: Callable[..., Pair]) -> Pair:
    """As `lookonce export` writes by default; 30 classes make 2,700 pairs of box and class."""
    return make_pair(num_classes=30)


@pytest.fixture(scope="session")
def decoded_file(make_pair: Callable[..., Pair]) -> Pair:
    """Two pictures at once, normalised floats in the order blue, green, red."""
    preprocessing = Preprocessing(color_order="BGR", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    return make_pair(dialect="ultralytics", preprocessing=preprocessing, outputs="decoded", preprocess=False, batch=2)


@pytest.fixture(scope="session")
def raw_file(make_pair: Callable[..., Pair]) -> Pair:
    """Any number of pictures of any size."""
    return make_pair(dialect="mindspore", outputs="raw", dynamic_size=True)
