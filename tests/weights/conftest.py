from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lookonce.config.dialects import DIALECTS
from lookonce.config.record import ModelRecord
from lookonce.model.yolov3_tiny import YoloV3Tiny, initialise
from lookonce.weights.checkpoint import TrainingState, save_checkpoint

CHANNELS = (4, 4, 4, 4, 4, 4, 8, 4, 4, 4, 4)


@pytest.fixture
def record() -> ModelRecord:
    return ModelRecord(
        dialect=DIALECTS["darknet"], channels=CHANNELS, class_names=("a", "b"), category_ids=(7, 9), image_size=(64, 64)
    )


@pytest.fixture
def make_model() -> Callable[..., YoloV3Tiny]:
    def make(num_classes: int = 2, channels: tuple[int, ...] = CHANNELS, seed: int = 0) -> YoloV3Tiny:
        model = YoloV3Tiny(num_classes, channels=channels)
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
