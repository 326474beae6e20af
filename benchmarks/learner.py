"""What the benchmarks of training share: a learner with the default settings, and a batch of random images."""

import numpy as np
import torch

from lookonce.data.loader import Batch
from lookonce.model.layers import steps_of
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord, scaled_channels
from lookonce.settings.schema import Settings
from lookonce.training.engine import Learner
from lookonce.workflows import build

NUM_CLASSES = 80
BOXES_EACH = 7  # as COCO


def make_record(image_size: int, width: float = 1.0) -> ModelRecord:
    return ModelRecord(
        dialect=DIALECTS["darknet"],
        channels=scaled_channels(width),
        class_names=tuple(f"class {number}" for number in range(NUM_CLASSES)),
        category_ids=tuple(range(1, NUM_CLASSES + 1)),
        image_size=(image_size, image_size),
    )


def make_settings(image_size: int, batch_size: int, **changes: object) -> Settings:
    """The defaults, with numbers for what a run chooses from its data."""
    chosen = {
        "data": "none",
        "epochs": 100,
        "assign_top": 10,
        "ema_decay": 0.998,
        "objectness_prior": 0.01,
        "anchors": "default",
    }
    return Settings.model_validate({**chosen, "image_size": image_size, "batch_size": batch_size, **changes})


def make_learner(settings: Settings, record: ModelRecord, device: torch.device) -> Learner:
    return build.make_learner(settings, record, 1000, device)


def random_batch(image_size: int, batch_size: int) -> Batch:
    random = np.random.default_rng(0)
    count = BOXES_EACH * batch_size
    corners = random.uniform(0, 0.7, (count, 2)) * image_size
    sizes = random.uniform(0.02, 0.3, (count, 2)) * image_size
    return Batch(
        images=random.integers(0, 256, (batch_size, image_size, image_size, 3), dtype=np.uint8),
        boxes_xyxy=np.concatenate([corners, corners + sizes], 1).astype(np.float32),
        labels=random.integers(0, NUM_CLASSES, count),
        image_index=np.repeat(np.arange(batch_size), BOXES_EACH),
        crowd=np.zeros(count, dtype=np.bool_),
        positions=np.arange(batch_size),
        image_ids=np.arange(batch_size),
    )


def gflop_a_step(record: ModelRecord, batch_size: int) -> float:
    """Of the convolutions: forward, and twice as much backward (the first layer needs no gradient of its input)."""
    steps = steps_of(record.channels, record.num_classes, record.image_size)
    first = next(step.macs for step in steps if step.macs)
    return 2 * batch_size * (3 * sum(step.macs for step in steps) - first) / 1e9
