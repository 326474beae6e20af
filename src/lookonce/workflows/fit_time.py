"""How many epochs fit into the time that a run may take.

The answer is written into the run's settings as `epochs`, so everything after it is the run that `--epochs N` would
have been: with the same bits, and to be resumed like any other.
"""

import statistics
import time
from contextlib import closing
from itertools import islice, pairwise

import torch

from lookonce.config.record import ModelRecord
from lookonce.config.schema import Settings, seconds_of
from lookonce.data.dataset import Dataset
from lookonce.data.loader import Loader
from lookonce.distributed import broadcast_object, synchronize
from lookonce.log import get_logger
from lookonce.training.engine import Learner, train_one_epoch
from lookonce.training.progress import duration
from lookonce.workflows import build

# The first steps fill caches and pools.
SKIPPED_STEPS, TIMED_STEPS = 4, 12
SCORED_PICTURES = 12
# The rest is for what a few steps do not show: saving, a machine that gets warm, somebody else's work.
SHARE_PLANNED = 0.9


def fit_to_time(
    settings: Settings, record: ModelRecord, loader: Loader, val_set: Dataset | None, device: torch.device
) -> Settings:
    """The settings with as many of their epochs as fit into `time`, at least one."""
    if not settings.time:
        return settings
    limit = seconds_of(settings.time)
    # Random weights take the same time; the run's own are drawn, or read, anew after this.
    fresh = settings.model_copy(update={"weights": None, "backbone_weights": None})
    learner = build.make_learner(fresh, record, len(loader), device, loader.batch_size)
    step = seconds_a_step(learner, loader)
    evaluation = seconds_to_score(settings, learner, record, val_set)
    an_epoch = step * len(loader) + (evaluation / settings.eval_every if settings.eval_every else 0)
    fitting = max(int(SHARE_PLANNED * limit / an_epoch), 1)
    fitting = broadcast_object(min(settings.start_epoch + fitting, settings.epochs))
    get_logger().info(
        f"time      {duration(limit)}: {fitting - settings.start_epoch} of {settings.epochs - settings.start_epoch} "
        f"epochs fit ({step:.3g} s a step, {evaluation:.3g} s an evaluation)"
    )
    return settings.model_copy(update={"epochs": fitting})


def seconds_a_step(learner: Learner, loader: Loader) -> float:
    ends = []
    with closing(loader.epoch(0)) as batches:
        for _ in train_one_epoch(learner, islice(batches, SKIPPED_STEPS + TIMED_STEPS), epoch=0):
            synchronize(learner.options.device)
            ends.append(time.perf_counter())
    gaps = [after - before for before, after in pairwise(ends)]
    return statistics.mean(gaps[SKIPPED_STEPS:] or gaps or [0.1])


def seconds_to_score(settings: Settings, learner: Learner, record: ModelRecord, val_set: Dataset | None) -> float:
    """A whole evaluation, from a few of its pictures."""
    if val_set is None:
        return 0.0
    few = val_set.head(SCORED_PICTURES)
    evaluate = build.make_evaluate(settings, few)
    assert evaluate is not None
    evaluate(learner.result_model, record, lambda _done: None)  # the first time is for caches
    started = time.perf_counter()
    evaluate(learner.result_model, record, lambda _done: None)
    return (time.perf_counter() - started) * len(val_set) / len(few)
