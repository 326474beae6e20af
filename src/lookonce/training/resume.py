"""What a checkpoint holds besides the weights, so that a run resumes bit for bit."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from lookonce.data.order import STREAM_VERSION
from lookonce.distributed import world_size
from lookonce.log import get_logger
from lookonce.training.engine import Learner
from lookonce.training.optimizer import optimizer_tensors, restore_optimizer
from lookonce.weights.checkpoint import TrainingState


@dataclass(kw_only=True)
class Position:
    """Position in the run: `batch` batches of epoch `epoch` (0-based) are done; after the last one, evaluation is due.

    best: best validation score so far, from best_epoch. sums: sums of the loss parts over this epoch's batches, each
    batch with equal weight. skipped: number of this epoch's batches skipped as non-finite. over: the run ends with this
    epoch, complete or not. seconds: training time so far, including evaluation and time before a resume.
    """

    epoch: int = 0
    batch: int = 0
    best: float | None = None
    best_epoch: int = 0
    sums: dict[str, float] = field(default_factory=dict)
    skipped: int = 0
    over: bool = False
    seconds: float = 0.0

    def next_epoch(self) -> "Position":
        return replace(self, epoch=self.epoch + 1, batch=0, sums={}, skipped=0)


def training_state(learner: Learner, position: Position, global_batch: int) -> TrainingState:
    """Everything that a resume needs besides the settings and the EMA weights."""
    ema = learner.ema
    tensors: dict[str, Tensor] = {
        **{f"model/{name}": value for name, value in learner.model.state_dict().items()},
        **{f"optimizer/{name}": value for name, value in optimizer_tensors(learner.optimizer, learner.model).items()},
    }
    values = {
        "position": asdict(position),
        "global_batch": global_batch,
        "ema_updates": 0 if ema is None else int(ema.updates),
        "scaler": learner.scaler.state_dict(),
        "image_stream": STREAM_VERSION,
        "machine": machine(learner.options.device),
    }
    return TrainingState(tensors=tensors, values=values)


def restore(learner: Learner, average: Mapping[str, Tensor], training: TrainingState) -> None:
    """Restore what `training_state` saved, and the EMA weights (the state of the checkpoint itself)."""
    parts: dict[str, dict[str, Tensor]] = {"model": {}, "optimizer": {}}
    for key, tensor in training.tensors.items():
        kind, _, name = key.partition("/")
        parts[kind][name] = tensor
    learner.model.load_state_dict(parts["model"])
    restore_optimizer(learner.optimizer, learner.model, parts["optimizer"])
    if learner.scaler.is_enabled():
        learner.scaler.load_state_dict(training.values["scaler"])
    if learner.ema is not None:
        learner.ema.model.load_state_dict(average)
        learner.ema.updates.fill_(training.values["ema_updates"])


def machine(device: torch.device) -> dict[str, Any]:
    """What the rounding of sums depends on, besides the program."""
    return {
        "device": device.type,
        "threads": torch.get_num_threads(),
        "ranks": world_size(),
        "torch": str(torch.__version__),
    }


def warn_about_differences(values: Mapping[str, Any], device: torch.device) -> None:
    """Log what is not as it was when `training_state` made these values, if it changes what the run computes."""
    began = values.get("image_stream", 1)
    if began != STREAM_VERSION:
        get_logger().warning(
            f"image_stream is {STREAM_VERSION}, but the run began with {began}; it resumes, but with other random "
            "crops and colours than an uninterrupted run"
        )
    for name, now in machine(device).items():
        if values["machine"].get(name) != now:
            get_logger().warning(
                f"{name} is {now}, but the run began with {values['machine'].get(name)}; it resumes, but "
                "rounding may differ from an uninterrupted run in the last digit"
            )
