"""Settings -> network, loss, optimizer, loader, workers; nothing else passes settings to constructors."""

import importlib.metadata
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

import lookonce
from lookonce.cores import processes_here, usable_processors
from lookonce.data.anchors import box_sizes_at_input, fit_anchors
from lookonce.data.augment import Augmentation
from lookonce.data.dataset import Dataset
from lookonce.data.loader import Loader
from lookonce.data.selection import take_images
from lookonce.distributed import broadcast_object, broadcast_tensors, is_main, rank, world_size
from lookonce.errors import DataError
from lookonce.log import get_logger, log_lines
from lookonce.model.assign import Assigner, BestAnchors, TaskAligned
from lookonce.model.loss import DetectionLoss
from lookonce.model.yolov3_tiny import YoloV3Tiny, initialise
from lookonce.on_ranks import own_rank_group
from lookonce.runtimes.pytorch import anchor_tensors
from lookonce.settings.dialects import DIALECTS, Dialect
from lookonce.settings.image_size import hw_of
from lookonce.settings.record import DEFAULT_ANCHORS, ModelRecord, Preprocessing, Thresholds, scaled_channels
from lookonce.settings.schema import Settings
from lookonce.settings.values import seconds_of
from lookonce.signals import StopRequest
from lookonce.training.ema import ExponentialMovingAverage
from lookonce.training.engine import Learner, StepOptions, choose_precision, make_scaler
from lookonce.training.optimizer import make_optimizer
from lookonce.training.run_folder import RunFolder
from lookonce.training.schedule import Schedule
from lookonce.training.sync_batchnorm import synchronise_batchnorm
from lookonce.training.trainer import Evaluate, OnEpoch, OnEvaluated, Trainer, TrainerOptions
from lookonce.weights.convolutions import model_from_record
from lookonce.weights.load import open_checkpoint
from lookonce.weights.transfer import account, transfer

if TYPE_CHECKING:
    from lookonce.evaluation.results import Results

Anchors = tuple[tuple[float, float], ...]
STRIDES = (32, 16)  # of the heads, in the order of masks
Three = tuple[float, float, float]
# Mean and standard deviation of the channels (RGB, pixels in 0..1); the model zoo uses those of ImageNet.
NORMALIZATIONS: dict[str, tuple[Three, Three]] = {
    "unit": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def task_aligned(settings: Settings) -> Assigner:
    assert settings.assign_top != "auto", "choose_positives comes first"
    return TaskAligned(top=settings.assign_top)


# Name in the settings (`assignment`) -> assigner, which matches predictions with ground truth.
ASSIGNERS: dict[str, Callable[[Settings], Assigner]] = {
    "best_anchors": lambda settings: BestAnchors(iou_threshold=settings.assign_iou),
    "neighbours": lambda settings: BestAnchors(iou_threshold=settings.assign_iou, neighbours=True),
    "task_aligned": task_aligned,
}


def make_record(settings: Settings, dataset: Dataset, data_hash: str, start: ModelRecord | None = None) -> ModelRecord:
    """The record of a network that is to be trained on `dataset`.

    start: record of the weights that training starts from, for what no setting holds: `scale_x_y`, the pad value, ...
    """
    mean, std = NORMALIZATIONS[settings.normalize] if isinstance(settings.normalize, str) else settings.normalize
    preprocessing = Preprocessing() if start is None else start.preprocessing
    return ModelRecord(
        dialect=make_dialect(settings, start),
        channels=scaled_channels(settings.width),
        class_names=dataset.class_names,
        category_ids=dataset.category_ids,
        anchors=choose_anchors(settings, dataset),
        masks=settings.masks,
        image_size=hw_of(settings.image_size),
        preprocessing=preprocessing.model_copy(update={"resize": settings.resize_mode, "mean": mean, "std": std}),
        thresholds=Thresholds(
            evaluation_score=settings.score_threshold,
            iou=settings.iou_threshold,
            max_detections=settings.max_detections,
            multi_label=settings.multi_label,
            agnostic=settings.agnostic,
        ),
        settings=settings.model_dump(mode="json"),
        data_hash=data_hash,
        versions={"lookonce": lookonce.__version__}
        | {name: importlib.metadata.version(name) for name in ("torch", "numpy")},
    )


def choose_anchors(settings: Settings, dataset: Dataset) -> Anchors:
    """Six (width, height) in pixels at network input size, smallest first."""
    if settings.anchors == "default":
        return DEFAULT_ANCHORS
    if settings.anchors != "auto":
        return settings.anchors
    sizes = box_sizes_at_input(dataset, hw_of(settings.image_size), settings.resize_mode)
    return tuple((round(float(w), 1), round(float(h), 1)) for w, h in fit_anchors(np.maximum(sizes, 1.0)))


def make_dialect(settings: Settings, start: ModelRecord | None = None) -> Dialect:
    """The dialect of the settings, that of `start` if it has this name; settings other than auto replace its rules."""
    is_same = start is not None and start.dialect.name == settings.dialect
    dialect = start.dialect if start is not None and is_same else DIALECTS[settings.dialect]
    said = {name: getattr(settings, name) for name in ("activation", "batchnorm_eps", "pool_edge")}
    return dialect.model_copy(update={name: value for name, value in said.items() if value != "auto"})


def make_model(settings: Settings, record: ModelRecord) -> YoloV3Tiny:
    """A network initialised from the seed, then from `weights` or `backbone_weights`, with freeze_stages frozen."""
    with torch.random.fork_rng(devices=[]):  # PyTorch's own initialisation draws from the global generator
        model = model_from_record(record)
    generator = torch.Generator().manual_seed(settings.seed)
    assert settings.objectness_prior != "auto", "choose_positives comes first"
    initialise(model, generator, objectness_prior=settings.objectness_prior)
    for path, backbone_only in ((settings.weights, False), (settings.backbone_weights, True)):
        if path:
            names = None if backbone_only else settings.names
            checkpoint = open_checkpoint(path, names, rename=True)
            taken = transfer(model, record, checkpoint, backbone_only=backbone_only)
            log_lines(account(taken, record, checkpoint))
    for stage in model.backbone.stages[: settings.freeze_stages]:
        stage.requires_grad_(False)
    return model


def make_loss(settings: Settings, record: ModelRecord, device: torch.device) -> DetectionLoss:
    return DetectionLoss(
        anchors=tuple(anchor_tensors(record, device)),
        strides=record.strides,
        dialect=record.dialect,
        assigner=ASSIGNERS[settings.assignment](settings),
        box_loss=settings.box_loss,
        box_weight=settings.box_weight,
        objectness_weight=settings.objectness_weight,
        class_weight=settings.class_weight,
        head_weights=(settings.stride32_weight, 1.0),
        ignore_iou=settings.ignore_iou,
        label_smoothing=settings.label_smoothing,
        small_box_bonus=settings.small_box_bonus,
        ignore_own_head_only=settings.ignore_own_head_only,
        overlap_as_objectness=settings.objectness_target == "overlap",
        per_object=settings.loss_per == "object",
    )


def make_schedule(settings: Settings, steps_per_epoch: int) -> Schedule:
    return Schedule(
        name=settings.schedule,
        lr=settings.lr,
        steps_per_epoch=steps_per_epoch,
        epochs=settings.epochs,
        warmup_epochs=settings.warmup_epochs,
        floor=settings.lr_floor,
        t_max=settings.t_max,
        milestones=tuple(settings.lr_epochs),
        gamma=settings.lr_gamma,
    )


def make_learner(
    settings: Settings, record: ModelRecord, steps_per_epoch: int, device: torch.device, global_batch: int = 0
) -> Learner:
    """Model, loss, optimizer, gradient scaler, schedule and EMA on the device.

    global_batch: images per batch, all ranks together; 0: batch_size x world size."""
    model = make_model(settings, record).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if settings.sync_bn and world_size() > 1:
        model = synchronise_batchnorm(model, device)
    broadcast_tensors(list(model.state_dict().values()))  # `weights` may be a different file on each node
    precision = choose_precision(settings.precision, device)
    accumulate = batches_per_step(settings, global_batch or settings.batch_size * world_size())
    return Learner(
        model=model,
        loss=make_loss(settings, record, device),
        optimizer=make_optimizer(
            model,
            name=settings.optimizer,
            lr=settings.lr,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            nesterov=settings.nesterov,
        ),
        scaler=make_scaler(precision, device, settings.loss_scale),
        schedule=make_schedule(settings, steps_per_epoch),
        ema=make_ema(settings, model, -(-steps_per_epoch // accumulate)),
        options=StepOptions(
            device=device,
            preprocessing=record.preprocessing,
            precision=precision,
            clip_norm=settings.clip_norm,
            accumulate=accumulate,
            freeze_batchnorm=settings.freeze_bn,
            skip_nonfinite=settings.on_nonfinite == "skip",
        ),
    )


def batches_per_step(settings: Settings, global_batch: int) -> int:
    """Gradient accumulation: batches per optimizer step. Independent of the number of ranks, so also after a resume."""
    return max(round(settings.nominal_batch / global_batch), 1) if settings.nominal_batch else settings.accumulate


def make_ema(settings: Settings, model: torch.nn.Module, updates_per_epoch: int) -> ExponentialMovingAverage | None:
    """EMA whose decay ramps up over a tenth of the run, at most 2,000 updates; None if ema_decay is 0."""
    assert settings.ema_decay != "auto", "choose_ema_decay comes first"
    if not settings.ema_decay:
        return None
    num_updates = settings.epochs * updates_per_epoch
    return ExponentialMovingAverage(model, decay=settings.ema_decay, ramp=min(2000, max(num_updates / 10, 1)))


def make_train_loader(
    settings: Settings, dataset: Dataset, preprocessing: Preprocessing, device: torch.device, global_batch: int = 0
) -> Loader:
    """global_batch: images per batch, all ranks together; 0: batch_size x world size."""
    return Loader(
        dataset,
        batch_size=global_batch or settings.batch_size * world_size(),
        image_sizes=tuple(settings.multi_scale) or (settings.image_size,),
        preprocessing=preprocessing,
        augment=make_augmentation(settings),
        seed=settings.seed,
        workers=num_workers(settings.workers, device),
        rank=rank(),
        world_size=world_size(),
        resize_every=settings.resize_every,
        max_boxes=settings.max_boxes,
        cache_mb=settings.cache_mb,
        skip_bad=settings.on_bad_image == "skip",
    )


def make_augmentation(settings: Settings) -> Callable[[int], Augmentation]:
    """Epoch -> augmentation; mosaic and mixup are off in the last close_mosaic epochs."""
    full = Augmentation(
        scale_min=settings.scale_min,
        scale_max=settings.scale_max,
        aspect_jitter=settings.aspect_jitter,
        flip=settings.flip,
        hue=settings.hue,
        saturation=settings.saturation,
        brightness=settings.brightness,
        mosaic=settings.mosaic,
        mixup=settings.mixup,
    )
    plain = replace(full, mosaic=0.0, mixup=0.0)
    return lambda epoch: plain if epoch >= settings.epochs - settings.close_mosaic else full


def num_workers(workers: int | str, device: torch.device) -> int:
    """Number of loader threads. "auto": 1 when a CPU trains, since the step takes nine tenths of the time; with an
    accelerator half the processors divided by the ranks of this node, 2..16."""
    if workers != "auto":
        return int(workers)
    return 1 if device.type == "cpu" else min(max(usable_processors() // (2 * processes_here()), 2), 16)


def make_evaluate(settings: Settings, dataset: Dataset | None, sheet: Path | None = None) -> Evaluate | None:
    """Validation during training: the same detector, images and metric as `eval`. None without a validation set.

    sheet: image file that shows some of the validation images with their boxes, written anew by each evaluation.

    Metrics: COCO's twelve; precision, recall and F1 at the best threshold; the loss (val_loss and its parts), computed
    on the same logits. Each rank detects on its shard of the images; rank 0 scores all detections and broadcasts.
    """
    if dataset is None:
        return None
    all_scored = dataset.with_never_found()
    from lookonce.evaluation.coco import score
    from lookonce.evaluation.curves import operating_point
    from lookonce.evaluation.evaluate import blank_if_unreadable, detect_all
    from lookonce.evaluation.matching import match
    from lookonce.reports.sheets import write_validation
    from lookonce.runtimes.detector import Detector
    from lookonce.training.validation_loss import LossRuntime, mean_losses

    def evaluate_weights(model: torch.nn.Module, record: ModelRecord, on_progress: OnEvaluated) -> Mapping[str, float]:
        bad: dict[Path, str] = {}
        loss = make_loss(settings, record, next(model.parameters()).device)
        runtime = LossRuntime(model, record, loss, dataset, rows=own_rank_group().shard(len(dataset)), left_out=bad)
        results = detect_all(
            Detector(runtime),
            dataset,
            batch_size=settings.eval_batch_size,
            on_progress=on_progress,
            rank_group=own_rank_group(),
            read=blank_if_unreadable(bad),
        )
        for others in own_rank_group().gather(bad):  # rank 0 logs for all
            bad |= others
        if bad:
            more = f" ({len(bad)} such images)" if len(bad) > 1 else ""
            get_logger().warning(f"{min(bad.values())}{more}; left out of this score")
        scored, results = without_images(all_scored, results, bad.keys())
        metrics: dict[str, float] = {}
        if is_main():
            metrics = score(scored, results).twelve() | operating_point(match(scored, results))
            if sheet is not None:
                write_validation(sheet, scored, results, metrics["F1_threshold"])
        metrics = broadcast_object(metrics)
        return metrics | mean_losses(own_rank_group().gather(runtime.sums.tolist()))

    return evaluate_weights


def without_images(dataset: Dataset, results: "Results", bad: Collection[Path]) -> tuple[Dataset, "Results"]:
    """Both without the images `bad`. DataError if no image is left."""
    if not bad:
        return dataset, results
    keep = np.flatnonzero([path not in bad for path in dataset.image_paths])
    if not len(keep):
        raise DataError(f"split {dataset.split!r}: none of its images can be read", setting="split")
    kept = take_images(dataset, keep)
    return kept, results.select(np.isin(results.image_ids, kept.image_ids))


def against_waiting(settings: Settings, dataset: Dataset, device: torch.device) -> str:
    """Advice for when training waits for images: more loader threads, a larger image cache, smaller files."""
    workers, processors = num_workers(settings.workers, device), usable_processors()
    needed_mb = math.ceil(3e-6 * float(dataset.image_sizes_wh.astype(np.float64).prod(1).sum()))
    advice = []
    if workers < processors:
        advice.append(f"--workers {workers + 1} or more (now {workers}; there are {processors} processors)")
    if needed_mb > settings.cache_mb:
        advice.append(f"--cache-mb up to {needed_mb} (now {settings.cache_mb:g}), which caches all decoded images")
    return "; or ".join([*advice, "smaller image files, such as JPEGs of about the training size"])


def make_trainer(
    settings: Settings,
    learner: Learner,
    loader: Loader,
    val_set: Dataset | None,
    record: ModelRecord,
    run: RunFolder,
    on_epoch: Sequence[OnEpoch],
    stop: StopRequest | None = None,
) -> Trainer:
    """A trainer at the start of its run. on_epoch: callbacks that get the metrics of all epochs after each epoch."""
    return Trainer(
        learner,
        loader,
        evaluate=make_evaluate(settings, val_set, run.validation_sheet),
        record=record,
        run=run,
        options=TrainerOptions(
            epochs=settings.epochs,
            eval_every=settings.eval_every,
            start_epoch=settings.start_epoch,
            save_every=settings.save_every,
            save_steps=settings.save_steps,
            save_on_all=settings.save_on == "all",
            keep=settings.keep,
            best_metric=settings.best_metric,
            patience=settings.patience,
            time_limit=seconds_of(settings.time),
            against_waiting=against_waiting(settings, loader.as_read, learner.options.device),
            log_interval=settings.log_interval,
            global_batch=loader.batch_size,
            same_command=f"the same command (run={settings.run})" if settings.run else "",
        ),
        on_epoch=on_epoch,
        stop=stop,
    )
