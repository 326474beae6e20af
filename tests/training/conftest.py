"""A network of a few thousand weights, two pictures of a square, and a run folder: all that a trainer needs."""

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lookonce.data.loader import Batch
from lookonce.model.assign import TaskAligned
from lookonce.model.loss import DetectionLoss
from lookonce.model.yolov3_tiny import YoloV3Tiny, initialise
from lookonce.runtimes.pytorch import anchor_tensors
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord
from lookonce.training.ema import ExponentialMovingAverage
from lookonce.training.engine import Learner, StepOptions, make_scaler
from lookonce.training.optimizer import make_optimizer
from lookonce.training.run_folder import RunFolder
from lookonce.training.schedule import Schedule

CPU = torch.device("cpu")
CHANNELS = (4, 4, 8, 8, 8, 8, 8, 8, 8, 8, 8)
NUM_BATCHES = 3


@pytest.fixture
def record() -> ModelRecord:
    return ModelRecord(
        dialect=DIALECTS["darknet"],
        channels=CHANNELS,
        class_names=("square", "round"),
        category_ids=(1, 2),
        image_size=(64, 64),
    )


def batch_of(*corners: tuple[int, int], image_ids: tuple[int, ...] | None = None, noise: int = 0) -> Batch:
    """Grey 64x64 pictures, each with a white square of 24 pixels at (left, top); a negative left: no square."""
    images = np.random.default_rng(noise).integers(90, 110, (len(corners), 64, 64, 3)).astype(np.uint8)
    squares = [(row, left, top) for row, (left, top) in enumerate(corners) if left >= 0]
    for row, left, top in squares:
        images[row, top : top + 24, left : left + 24] = 255
    return Batch(
        images=images,
        boxes_xyxy=np.array([[x, y, x + 24, y + 24] for _, x, y in squares], np.float32).reshape(-1, 4),
        labels=np.zeros(len(squares), np.int64),
        image_index=np.array([row for row, _, _ in squares], np.int64),
        crowd=np.zeros(len(squares), bool),
        positions=np.arange(len(corners)),
        image_ids=np.array(image_ids or range(1, len(corners) + 1)),
    )


class Squares:
    """Three batches an epoch, another three in each; `before` is called with (epoch, batch) before a batch is made."""

    def __init__(self, before: Callable[[int, int], None] = lambda _epoch, _batch: None) -> None:
        self.before = before

    def __len__(self) -> int:
        return NUM_BATCHES

    def epoch(self, epoch: int, start_batch: int = 0) -> Generator[Batch]:
        for batch in range(start_batch, NUM_BATCHES):
            self.before(epoch, batch)
            step = epoch * NUM_BATCHES + batch
            yield batch_of((step % 5 * 8, 8), (8, step % 3 * 16), noise=step)


@pytest.fixture
def make_learner(record: ModelRecord) -> Callable[..., Learner]:
    """make_learner(epochs=2, lr=..., ema_decay=..., **StepOptions) -> a fresh learner, the same weights each time."""
    import torch._dynamo  # an optimizer's first step imports it (2 s): here once, not in each rank that is forked

    def make(
        *,
        epochs: int = 2,
        lr: float = 0.05,
        ema_decay: float = 0.9,
        name: str = "sgd",
        num_batches: int = 3,
        **step: Any,
    ) -> Learner:
        model = YoloV3Tiny(record.num_classes, channels=record.channels)
        initialise(model, torch.Generator().manual_seed(0))
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        loss = DetectionLoss(
            anchors=tuple(anchor_tensors(record)),
            strides=record.strides,
            dialect=record.dialect,
            assigner=TaskAligned(),
        )
        return Learner(
            model=model,
            loss=loss,
            optimizer=make_optimizer(model, name=name, lr=lr, momentum=0.9, weight_decay=5e-4, nesterov=True),  # type: ignore[arg-type]
            scaler=make_scaler("fp32", CPU, 0),
            schedule=Schedule(name="cosine", lr=lr, steps_per_epoch=num_batches, epochs=epochs, warmup_epochs=1),
            ema=ExponentialMovingAverage(model, decay=ema_decay, ramp=5) if ema_decay else None,
            options=StepOptions(device=CPU, preprocessing=record.preprocessing, **step),
        )

    return make


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "runs" / "squares-1")
    folder.path.mkdir(parents=True)
    folder.settings.write_text("")
    return folder


@pytest.fixture
def squares() -> type[Squares]:
    return Squares


@pytest.fixture
def make_batch() -> Callable[..., Batch]:
    return batch_of
