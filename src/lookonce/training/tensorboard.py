"""The metrics table for TensorBoard: `tensorboard --logdir runs`."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lookonce.errors import needing_extra
from lookonce.shown import UNDEFINED

# Column of metrics.csv -> its group of charts.
GROUPS = {
    "loss": "loss", "box": "loss", "objectness": "loss", "classes": "loss",
    "val_loss": "loss", "val_box": "loss", "val_objectness": "loss", "val_classes": "loss",
    "lr": "optimisation", "skipped": "optimisation", "bad_images": "optimisation",
    "seconds": "speed", "images_per_second": "speed", "waiting_share": "speed", "memory_mb": "speed",
}  # fmt: skip
NOT_DRAWN = {"epoch", "step"}


def tensorboard_writer(folder: Path) -> Callable[[Sequence[Mapping[str, float]]], None]:
    """A callback that takes the metrics table so far and writes its last row as events into `folder`.

    After a resume, TensorBoard discards the events that the interrupted run wrote for later steps.
    """
    with needing_extra("tensorboard=true", "tensorboard", "tensorboard", "torch.utils.tensorboard"):
        from torch.utils.tensorboard import SummaryWriter
    writers: list[SummaryWriter] = []

    def write(rows: Sequence[Mapping[str, float]]) -> None:
        row = rows[-1]
        step = int(row["step"])
        if not writers:  # opened at the first row: purge_step is known only then
            writers.append(SummaryWriter(str(folder), purge_step=step))
        for name, value in row.items():
            if name not in NOT_DRAWN and value != UNDEFINED:
                writers[0].add_scalar(f"{GROUPS.get(name, 'validation')}/{name}", value, step)
        writers[0].flush()

    return write
