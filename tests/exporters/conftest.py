"""Random networks and the files exported from them, each written once for all tests here."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lookonce.exporters.base import textured_canvases
from lookonce.exporters.formats import FORMATS
from lookonce.exporters.plan import ExportPlan
from lookonce.model.yolov3_tiny import YoloV3Tiny, scaled_channels
from lookonce.runtimes.exported import ExportedRuntime
from lookonce.runtimes.pytorch import PyTorchRuntime
from lookonce.runtimes.registry import load_runtime
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord, Preprocessing, Thresholds

SIZE_HW = (64, 96)  # (2 * 3 + 4 * 6) * 3 = 90 boxes


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One network in PyTorch and exported, and pictures for both."""

    model: YoloV3Tiny
    record: ModelRecord
    path: Path
    network: PyTorchRuntime
    exported: ExportedRuntime
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
def narrow_network() -> tuple[YoloV3Tiny, ModelRecord]:
    return random_network(3, "darknet", Preprocessing())


@pytest.fixture(scope="session")
def make_pair(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Pair]:
    def make(
        num_classes: int = 3,
        dialect: str = "darknet",
        preprocessing: Preprocessing | None = None,
        to: str = "onnx",
        multi_label: bool = True,
        agnostic: bool = False,
        **options: Any,
    ) -> Pair:
        chosen = FORMATS[to]
        for module in MODULES.get(chosen.extra, ()):
            if find_spec(module) is None:
                pytest.skip(f"lookonce[{chosen.extra}] is not installed")
        model, record = random_network(num_classes, dialect, preprocessing or Preprocessing())
        record = record.model_copy(update={"thresholds": Thresholds(multi_label=multi_label, agnostic=agnostic)})
        path = tmp_path_factory.mktemp("exported") / f"modèle 模{chosen.suffix}"
        chosen.write(model, record, ExportPlan(**{"outputs": chosen.outputs[0], **options}), path)
        exported = load_runtime(path)
        assert isinstance(exported, ExportedRuntime)
        return Pair(
            model=model,
            record=record,
            path=path,
            network=PyTorchRuntime(model, record),
            exported=exported,
            canvases=textured_canvases(3, SIZE_HW),
        )

    return make


MODULES = {"openvino": ("openvino",), "int8": ("openvino", "nncf"), "ncnn": ("ncnn", "pnnx")}  # of each extra
IMAGENET = Preprocessing(color_order="BGR", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
# What differs between files, each with each other somewhere.
FILES: dict[str, dict[str, Any]] = {
    # As `lookonce export` writes by default; 30 classes make 2,700 pairs of box and class.
    "onnx, detections": {"num_classes": 30},
    "onnx, detections, a box of one class": {"num_classes": 30, "multi_label": False},
    "onnx, detections, class-agnostic": {"num_classes": 30, "agnostic": True},
    "onnx, decoded, two normalised pictures at once, any size": {
        "dialect": "ultralytics",
        "preprocessing": IMAGENET,
        "outputs": "decoded",
        "preprocess": False,
        "batch": 2,
        "dynamic_size": True,
    },
    "onnx, packed": {"outputs": "packed"},
    "onnx, padded, a box of one class": {"num_classes": 30, "multi_label": False, "outputs": "padded"},
    "onnx, raw, any size": {"dialect": "mindspore", "outputs": "raw", "dynamic_size": True},
    "openvino, detections": {"to": "openvino", "num_classes": 30},
    "openvino, detections, a box of one class, class-agnostic": {
        "to": "openvino",
        "num_classes": 30,
        "multi_label": False,
        "agnostic": True,
    },
    "openvino, decoded, two normalised pictures of any size at once": {
        "to": "openvino",
        "dialect": "ultralytics",
        "preprocessing": IMAGENET,
        "outputs": "decoded",
        "preprocess": False,
        "batch": 2,
        "dynamic_size": True,
    },
    "torchscript, decoded": {"to": "torchscript", "preprocessing": IMAGENET},
    "torchscript, raw, normalised, any size": {
        "to": "torchscript",
        "dialect": "mindspore",
        "outputs": "raw",
        "preprocess": False,
        "dynamic_size": True,
    },
    "ncnn, raw": {"to": "ncnn", "preprocessing": IMAGENET},
    "ncnn, raw, normalised, any size": {
        "to": "ncnn",
        "dialect": "ultralytics",
        "preprocess": False,
        "dynamic_size": True,
    },
    "torch-export, decoded, any size": {"to": "torch-export", "dialect": "ultralytics", "dynamic_size": True},
}


@pytest.fixture(scope="session")
def file_of(make_pair: Callable[..., Pair]) -> Callable[[str], Pair]:
    """A Pair by its name in FILES, written once."""
    written: dict[str, Pair] = {}

    def get(name: str) -> Pair:
        if name not in written:
            written[name] = make_pair(**FILES[name])
        return written[name]

    return get


@pytest.fixture(params=FILES)
def pair(request: pytest.FixtureRequest, file_of: Callable[[str], Pair]) -> Pair:
    return file_of(request.param)


@pytest.fixture
def detections_file(file_of: Callable[[str], Pair]) -> Pair:
    return file_of("onnx, detections")
