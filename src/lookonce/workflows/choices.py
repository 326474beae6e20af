"""What a new run chooses from its data or measures: batch size, epochs, positives (assign_top: auto), EMA decay."""

import math
import statistics
import time
from contextlib import closing
from itertools import islice, pairwise

import torch

from lookonce.data.dataset import Dataset
from lookonce.data.loader import Loader
from lookonce.devices import synchronize
from lookonce.distributed import broadcast_object, world_size
from lookonce.log import get_logger
from lookonce.settings.image_size import hw_of
from lookonce.settings.record import ModelRecord
from lookonce.settings.schema import Settings
from lookonce.settings.values import seconds_of
from lookonce.training.engine import Learner, train_one_epoch
from lookonce.training.progress import duration
from lookonce.workflows import build


def chosen_by_data(
    settings: Settings, train_set: Dataset, val_set: Dataset | None, start: ModelRecord | None, device: torch.device
) -> Settings:
    """The settings of a new run, with numbers for all that is chosen from the data or measured."""
    settings = choose_batch_size(settings, len(train_set), device)
    settings = choose_epochs(settings, len(train_set))
    settings = choose_positives(settings, train_set)
    settings = fit_to_time(settings, train_set, val_set, start, device)
    global_batch = settings.batch_size * world_size()
    return choose_ema_decay(settings, -(-len(train_set) // global_batch), global_batch)


# Largest global batch that `batch_size: 0` chooses, for which `lr` holds; and images that each of many accelerators
# gets if the data set is large enough, since fewer leave it idle between two kernels.
LARGEST_BATCH, IMAGES_PER_ACCELERATOR = 32, 16


def choose_batch_size(settings: Settings, num_images: int, device: torch.device) -> Settings:
    """The settings with batch_size (images per rank) chosen if it is 0, and with the learning rate of this batch.

    The global batch (all ranks together) is then the power of two that gives about 50 steps an epoch, at least 4 and at
    most LARGEST_BATCH, or IMAGES_PER_ACCELERATOR on each if that is more. A batch larger than LARGEST_BATCH multiplies
    lr by the ratio of the two with sgd (Goyal et al. 2017), by its square root with adamw (Malladi et al. 2022).
    """
    if settings.batch_size:
        return settings
    most = LARGEST_BATCH if device.type == "cpu" else max(LARGEST_BATCH, IMAGES_PER_ACCELERATOR * world_size())
    together = min(max(2 ** round(math.log2(num_images / 50)), 4), most)
    batch_size = max(together // world_size(), 1)
    ratio = max(batch_size * world_size() / LARGEST_BATCH, 1.0) if most > LARGEST_BATCH else 1.0
    lr = settings.lr * (ratio if settings.optimizer == "sgd" else math.sqrt(ratio))
    if ratio > 1:
        get_logger().info(
            f"lr        {lr:.4g}: {settings.lr:g} of {LARGEST_BATCH} images, for {together} (docs/training.md)"
        )
    return settings.model_copy(update={"batch_size": batch_size, "lr": lr})


# Optimizer steps that `epochs: 0` aims at. From random weights: 100 epochs of choose_batch_size's 50 steps. From
# COCO's weights, BCCD at 320 has 0.513 AP after 10 epochs, as random ones after 20, and gains little after 1,500 steps
# (0.551 after 1,000, 0.559 after 1,500).
STEPS_FROM_RANDOM, STEPS_FROM_WEIGHTS = 5000, 1500
FEWEST_EPOCHS, MOST_EPOCHS = 10, 300


def choose_epochs(settings: Settings, num_images: int) -> Settings:
    """The settings with `epochs` chosen if it is 0; batch_size must have been chosen."""
    if settings.epochs:
        return settings
    steps = STEPS_FROM_WEIGHTS if settings.weights or settings.backbone_weights else STEPS_FROM_RANDOM
    an_epoch = math.ceil(num_images / (settings.batch_size * world_size()))
    epochs = min(max(round(steps / an_epoch), FEWEST_EPOCHS), MOST_EPOCHS)
    return settings.model_copy(update={"epochs": epochs + settings.start_epoch})


# Range of assign_top: auto, and the largest share of the predictions that it makes positive. bccd has 14 boxes an
# image. At 192 pixels 4 positives for each, a tenth of 540 predictions, score 1.7 points of AP more than 10 (95 %
# interval 0.7 to 2.7, six pairs); at 320 pixels 10 are as good as 5. With 1 to 2 boxes an image 10 score more than 5 or
# 3, and 20 no more than 10 (docs/recipes.md).
FEWEST_POSITIVE, MOST_POSITIVE, POSITIVE_SHARE = 3, 10, 0.1
# Range of objectness_prior: auto. 0.5 is a bias of 0; RetinaNet's 0.01 is the usual smallest.
SMALLEST_PRIOR, LARGEST_PRIOR = 0.001, 0.5


def choose_positives(settings: Settings, dataset: Dataset) -> Settings:
    """The settings with assign_top and objectness_prior chosen if they are auto.

    An image has as many predictions as cells times anchors of both heads, and `assign_top` positive ones for each box
    (one for each box in the other assigners). The prior is the share of predictions that are positive.
    """
    height, width = hw_of(settings.image_size)
    heads = zip(settings.masks, build.STRIDES, strict=True)
    predictions = sum(len(mask) * (height // stride) * (width // stride) for mask, stride in heads)
    boxes = len(dataset.labels) / len(dataset)
    fitting = round(POSITIVE_SHARE * predictions / boxes) if boxes else MOST_POSITIVE
    top = min(max(fitting, FEWEST_POSITIVE), MOST_POSITIVE) if settings.assign_top == "auto" else settings.assign_top
    prior = settings.objectness_prior
    if prior == "auto":
        positive = boxes / predictions * (top if settings.assignment == "task_aligned" else 1)
        prior = round(min(max(positive, SMALLEST_PRIOR), LARGEST_PRIOR), 4)
    return settings.model_copy(update={"assign_top": top, "objectness_prior": prior})


# Of a run, that `ema_decay: auto` averages over, and its largest decay. 0.998 averages over 500 steps, most of a run of
# 600: with `objectness_prior: auto`, AP is 5 points better than with 0.998 and 0.01 (docs/recipes.md).
EMA_SHARE, LARGEST_DECAY = 1 / 30, 0.998


def choose_ema_decay(settings: Settings, batches_per_epoch: int, global_batch: int) -> Settings:
    """The settings with ema_decay chosen if it is auto: an average over EMA_SHARE of the optimizer steps."""
    if settings.ema_decay != "auto":
        return settings
    steps = settings.epochs * -(-batches_per_epoch // build.batches_per_step(settings, global_batch))
    decay = min(max(1 - 1 / (EMA_SHARE * steps), 0.0), LARGEST_DECAY)
    return settings.model_copy(update={"ema_decay": round(decay, 4)})


# The number of epochs that fit into `time` is written into the run's settings as `epochs`, so the run equals one that
# was started with `--epochs N`: it computes the same bits and resumes like any other.
# SKIPPED_STEPS are not timed: the first steps fill caches and memory pools.
SKIPPED_STEPS, TIMED_STEPS = 4, 12
SCORED_IMAGES = 12
# The rest is for costs that a few steps do not show: checkpoints, thermal throttling, other programs.
SHARE_PLANNED = 0.9


def fit_to_time(
    settings: Settings, train_set: Dataset, val_set: Dataset | None, start: ModelRecord | None, device: torch.device
) -> Settings:
    """The settings with `epochs` reduced to the number that fits into `time`; at least 1."""
    if not settings.time:
        return settings
    limit = seconds_of(settings.time)
    # Random weights take the same time; the run's own are initialised or loaded after this.
    fresh = without_weights(settings)
    record = build.make_record(fresh, train_set, "", start)
    loader = build.make_train_loader(fresh, train_set, record.preprocessing, device)
    learner = build.make_learner(
        choose_ema_decay(fresh, len(loader), loader.batch_size), record, len(loader), device, loader.batch_size
    )
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
        few = islice(batches, SKIPPED_STEPS + TIMED_STEPS)
        for _ in train_one_epoch(learner, few, epoch=0, settle=lambda _batch: True):
            synchronize(learner.options.device)
            ends.append(time.perf_counter())
    gaps = [after - before for before, after in pairwise(ends)]
    return statistics.mean(gaps[SKIPPED_STEPS:] or gaps or [0.1])


def seconds_to_score(settings: Settings, learner: Learner, record: ModelRecord, val_set: Dataset | None) -> float:
    """Estimated seconds of a full evaluation, extrapolated from SCORED_IMAGES images; 0 without a validation set."""
    if val_set is None:
        return 0.0
    few = val_set.head(SCORED_IMAGES)
    evaluate = build.make_evaluate(settings, few)
    assert evaluate is not None
    evaluate(learner.result_model, record, lambda _done: None)  # warm-up: fills caches
    started = time.perf_counter()
    evaluate(learner.result_model, record, lambda _done: None)
    return (time.perf_counter() - started) * len(val_set) / len(few)


def without_weights(settings: Settings) -> Settings:
    return settings.model_copy(update={"weights": None, "backbone_weights": None})
