"""Every setting of a training run: name, type, range, unit, help text and default.

No other module defines a default of a training run; that of `--threshold` of `predict` is in settings/record.py.

A recipe, a YAML file and the command line override these values in that order (settings/resolve.py). The command line's
help, `lookonce config` and docs/settings.md are generated from this table.
"""

import ast
import inspect
import sys
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from lookonce.settings import values as kinds
from lookonce.settings.contradictions import CONTRADICTIONS
from lookonce.settings.record import Thresholds

# Group of settings -> heading, in the order of help and docs.
GROUPS = {
    "data": "Data",
    "run": "Run",
    "model": "Model",
    "optimisation": "Optimisation",
    "loss": "Assignment and loss",
    "augmentation": "Augmentation",
    "evaluation": "Evaluation",
    "machine": "Machine",
}
# Defaults that optimizer=sgd replaces: those above them suit adamw only.
WITH_SGD = {"lr": 0.02, "momentum": 0.937, "weight_decay": 5e-4}
THRESHOLDS = Thresholds()  # the defaults of evaluation


def _setting(default: Any, group: str, description: str | None = None, *, unit: str = "", **limits: Any) -> Any:
    """A setting whose help is the docstring under it, unless it has a description."""
    return Field(default, description=description, json_schema_extra={"unit": unit, "group": group}, **limits)


class Settings(BaseModel):
    """All settings of one training run. Frozen; paths are relative to the working directory."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    # Data
    data: str = _setting("", "data")
    """Labelled images: a folder or .zip in any layout of docs/data.md (COCO, YOLO, VOC, LabelMe, CVAT, Label Studio,
    CSV ...), a data.yaml, or an annotation file (then set images if they lie elsewhere). Required for training."""
    images: Path | None = _setting(None, "data")
    """Image folder; needed only where the annotations do not name it."""
    follow_links: bool = _setting(False, "data")
    """Read images through symbolic links that lead out of the data set; without it they are refused."""
    train_split: str = _setting("train", "data")
    """Split used for training."""
    val_split: str = _setting("val", "data")
    """Split used for validation during training; none: no validation. Where the data have no split val, training holds
    out a part of train_split (val_fraction)."""
    val_fraction: float = _setting(0.15, "data", gt=0, lt=1)
    """Fraction of the training images that is held out for validation where the data have no split val: the same for
    each class, from the seed, near-copies together."""
    image_size: kinds.ImageSizeHW = _setting(416, "data", unit="pixels")
    """Side of the square network input, or height x width such as 416x224; multiples of 32. A larger input detects
    smaller objects; the cost grows with its area."""
    workers: Literal["auto"] | kinds.Workers = _setting("auto", "machine", unit="threads")
    """Data loading threads; 0 loads in the training thread; auto fits the machine. Affects speed only."""
    max_boxes: int = _setting(300, "data", unit="boxes", ge=1)
    """Maximum ground-truth boxes per training image, mosaics included; the rest are dropped."""
    cache_mb: float = _setting(256, "machine", unit="MB", ge=0)
    """Memory for the cache of decoded images; 0 disables the cache."""
    check_images: bool = _setting(True, "data")
    """Decode all images of train and val once before the first step; a resumed run only changed ones."""
    on_bad_image: Literal["stop", "skip"] = _setting("stop", "data")
    """Reaction to a training image that cannot be read: stop, or leave it out and count it. During training, a
    validation image is always left out of the score."""

    # Run
    recipe: str = _setting("modern", "run")
    """Recipe to start from: modern, finetune (short training from weights), or modelzoo (faithful to the model zoo's
    document)."""
    runs: Path = _setting(Path("runs"), "run")
    """Parent folder of the run folders."""
    name: kinds.FolderName = _setting("train", "run")
    """Prefix of the run folder's name, before a number. If it is not set, the prefix is the name of the data."""
    seed: int = _setting(0, "run", ge=0, le=2**32 - 1)
    """Random seed; the same seed gives the same samples in the same order."""
    device: kinds.DeviceName = _setting("auto", "machine")
    """Device: auto, cpu, cuda, npu, xpu, mps, or one of several, such as cuda:1. auto picks an accelerator if there is
    one, but not mps."""
    devices: int = _setting(1, "machine", ge=1, le=1024)
    """Number of devices of this node, one process (rank) each; on a CPU, the number of processes."""
    nnodes: kinds.NumNodes = _setting("1", "machine")
    """Number of nodes, all started with the same command. Training also accepts a range: 2:4 is 2 to 4 nodes (elastic).
    """
    node_rank: int = _setting(0, "machine", ge=0)
    """Rank of this node, from 0. rdzv_endpoint is an address of node 0."""
    rdzv_endpoint: str = _setting("", "machine")
    """Rendezvous address of several nodes: host:port of node 0, the same on all nodes."""
    cpus_per_rank: int = _setting(0, "machine", unit="cores", ge=0)
    """CPU cores to pin each rank of this node to, adjacent to each other; 0 disables pinning."""
    deterministic: bool = _setting(False, "machine")
    """Use deterministic algorithms on an accelerator, where PyTorch has them; it names the others in a warning. Slower.
    On a CPU they are always used."""
    rank_logs: str = _setting("", "machine")
    """Prefix of the per-process log folders: with several processes, process K of this node, from 1, writes all its
    output to PREFIX + K/log.txt, such as train_parallel1/log.txt. Empty: no such logs."""
    max_restarts: int = _setting(3, "machine", ge=0)
    """Maximum restarts from the last checkpoint after a rank has died; 0 disables restarts."""
    rank_timeout: float = _setting(600, "machine", unit="seconds", gt=0)
    """Time without progress after which the unresponsive rank is reported and all ranks exit."""
    resume: bool | Path = _setting(False, "run")
    """Resume a run from its last checkpoint: true for the newest run, or a run folder."""
    run: kinds.RunName = _setting("", "run")
    """Exact name of the run folder in runs. If the run exists, it is resumed; otherwise it is started under this name.
    The same command can be repeated."""
    log_interval: int = _setting(20, "run", unit="batches", ge=1)
    """Interval between progress lines in the log."""
    eval_every: int = _setting(1, "run", unit="epochs", ge=0)
    """Interval between evaluations on the validation split; 0 evaluates only at the end."""
    save_every: int = _setting(1, "run", unit="epochs", ge=1)
    """Interval between saves of checkpoints/last."""
    export_check: str = _setting("auto", "run")
    """Formats, separated by commas, in which the untrained network is exported and compared before epoch 1, so that a
    run cannot end with a network that does not export. auto: onnx for runs of 5,000 steps or more; none disables the
    check."""
    save_steps: int = _setting(0, "run", unit="batches", ge=0)
    """Also save checkpoints/last within an epoch, at this interval; 0 saves within an epoch only when 10 minutes have
    passed since the last save."""
    save_on: Literal["main", "all"] = _setting("main", "machine")
    """Ranks that write checkpoints/last: main (rank 0), or all (rank R into checkpoints/rank-R), for nodes without a
    shared disk."""
    keep: int = _setting(0, "run", unit="epochs", ge=0)
    """Number of epoch checkpoints to keep beside last and best, newest first, in checkpoints/epoch-K."""
    best_metric: Literal["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"] = (
        _setting("AP", "run")
    )
    """COCO metric on the validation split that selects checkpoints/best."""
    patience: int = _setting(0, "run", unit="epochs", ge=0)
    """Early stopping: stop after this many epochs without improvement of best_metric; 0 disables it."""
    time: kinds.Duration = _setting("", "run")
    """Time limit of the run, such as 30m or 1h30m. A few steps are timed first, and epochs is reduced to what fits.
    When the limit is reached earlier, training stops after a final evaluation. Empty: no limit."""
    profile: bool = _setting(False, "run")
    """Profile ten training steps part by part, write profile.txt and profile.json into the run folder, and stop."""
    tensorboard: bool = _setting(False, "run")
    """Also write the metrics for TensorBoard into the run folder (needs the extra tensorboard)."""
    page: bool = _setting(False, "run")
    """Show the run in the browser while it trains; the log names the address, on this machine only."""

    # Model
    width: kinds.Factor | kinds.Channels = _setting(1.0, "model")
    """Width multiplier for the channels of every layer (0.5: about a quarter of the computation), or the 11 channel
    counts."""
    dialect: Literal["darknet", "mindspore", "ultralytics"] = _setting("ultralytics", "model")
    """Box decoding and BatchNorm rules: those of Darknet, of the model zoo (mindspore) or of Ultralytics."""
    activation: Literal["auto", "leaky", "relu", "silu"] = _setting("leaky", "model")
    """Activation function: leaky (LeakyReLU 0.1, fastest on small chips), relu, silu, or auto (that of the dialect)."""
    anchors: Literal["auto", "default"] | kinds.Anchors = _setting("auto", "model", unit="pixels at image_size")
    """Anchors, smallest first: auto (fitted to the training boxes), default (those of COCO), or six [width, height]
    pairs."""
    masks: kinds.Masks = _setting(((3, 4, 5), (0, 1, 2)), "model")
    """Anchors of each head, as rows of anchors from 0: the stride-32 head first, then the stride-16 head. Darknet's
    released COCO weights have [[3,4,5],[1,2,3]]."""
    batchnorm_eps: Literal["auto"] | kinds.Epsilon = _setting("auto", "model")
    """BatchNorm epsilon, added to the variance: a number, or auto (that of the dialect)."""
    pool_edge: Literal["auto", "repeat", "zero", "none"] = _setting("auto", "model")
    """Padding of the stride-1 pool, right and bottom: repeat (the edge, as Darknet does), zero (as Ultralytics' own
    networks), none (the network has no stride-1 pool), or auto (that of the dialect)."""
    objectness_prior: Literal["auto"] | kinds.Prior = _setting("auto", "model")
    """Initial objectness probability, set through the biases of the heads (as RetinaNet's prior); 0.5 means zero bias;
    auto computes the share of positive predictions in the training set."""
    weights: kinds.WeightsPath = _setting(None, "model")
    """Weights to start training from: a checkpoint, published weights such as coco, MindSpore's .ckpt or Darknet's
    .weights. They also set the defaults of width, dialect, activation, batchnorm_eps, pool_edge, anchors, masks,
    resize_mode and normalize."""
    names: Path | None = _setting(None, "model")
    """Class names of the weights, one per line, by position: for a .ckpt or .weights file without names, or to rename
    classes so that they match those of the data."""
    backbone_weights: kinds.WeightsPath = _setting(None, "model")
    """Weights, such as coco, to load only the backbone from. They also set the defaults of width, activation,
    batchnorm_eps, pool_edge, resize_mode and normalize."""
    freeze_stages: int = _setting(0, "model", unit="convolutions", ge=0, le=7)
    """Number of backbone convolutions to freeze, counted from the input."""

    # Optimisation
    epochs: int = _setting(100, "optimisation", unit="epochs", ge=0)
    """Training epochs. 0 chooses them from the number of training images, fewer when training starts from weights."""
    start_epoch: int = _setting(0, "optimisation", unit="epochs", ge=0)
    """First epoch, from 0, with the learning rate that the schedule has there: for weights trained before."""
    batch_size: int = _setting(0, "optimisation", unit="images", ge=0)
    """Batch size: images per device. 0 chooses 4 to 32 over all devices, for about 50 steps per epoch; more than two
    accelerators get up to 16 each, and lr grows with a batch of more than 32."""
    accumulate: int = _setting(1, "optimisation", unit="batches", ge=1)
    """Gradient accumulation: batches per optimizer step."""
    nominal_batch: int = _setting(0, "optimisation", unit="images", ge=0)
    """Target images per optimizer step over all devices: sets gradient accumulation to the number of batches that comes
    nearest; 0 uses accumulate."""
    optimizer: Literal["sgd", "adamw"] = _setting("adamw", "optimisation")
    """Optimizer: adamw, or sgd with momentum. It changes the defaults of lr, momentum and weight_decay."""
    lr: float = _setting(
        0.004,
        "optimisation",
        f"Peak learning rate, reached after warm-up (default with sgd: {WITH_SGD['lr']:g}).",
        ge=0,
    )
    schedule: Literal[
        "cosine",
        "linear",
        "constant",
        "exponential",
        "cosine_annealing",
        "cosine_annealing_V2",
        "cosine_annealing_sample",
    ] = _setting("cosine", "optimisation")
    """Learning-rate schedule. cosine, linear: updated at every step; exponential and the cosine_annealing kinds are the
    model zoo's, with one value per epoch."""
    lr_floor: float = _setting(0.0001, "optimisation", ge=0)
    """Final learning rate of the cosine and linear schedules; minimum of the cosine_annealing kinds."""
    lr_epochs: tuple[Annotated[float, Field(ge=0)], ...] = _setting((220.0, 250.0), "optimisation", unit="epochs")
    """Epochs at which schedule exponential multiplies the learning rate by lr_gamma."""
    lr_gamma: float = _setting(0.1, "optimisation", gt=0, le=1)
    """Factor of schedule exponential."""
    t_max: int = _setting(0, "optimisation", unit="epochs", ge=0)
    """Length of the cosine_annealing schedules; values below epochs count as epochs."""
    warmup_epochs: float = _setting(1, "optimisation", unit="epochs", ge=0)
    """Linear learning-rate warm-up from 0; 0 disables it."""
    momentum: float = _setting(
        0.9,
        "optimisation",
        f"Momentum of SGD (default with sgd: {WITH_SGD['momentum']:g}), or beta1 of AdamW.",
        ge=0,
        lt=1,
    )
    nesterov: bool = _setting(True, "optimisation")
    """Nesterov momentum for sgd."""
    weight_decay: float = _setting(
        0.01,
        "optimisation",
        f"Weight decay of convolution weights (default with sgd: {WITH_SGD['weight_decay']:g}); biases and "
        "BatchNorm are excluded.",
        ge=0,
    )
    clip_norm: float = _setting(10, "optimisation", ge=0)
    """Gradient clipping: maximum L2 norm of the gradient; 0 disables it."""
    ema_decay: Literal["auto"] | kinds.Decay = _setting("auto", "optimisation")
    """EMA (exponential moving average) decay of the weights. The averaged weights are evaluated and saved; 0 disables
    EMA; auto averages over a thirtieth of the run, with a decay of at most 0.998."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = _setting("auto", "optimisation")
    """Mixed precision for forward and backward: auto picks fp32 on a CPU; on an accelerator bf16 where supported, else
    fp16."""
    loss_scale: float = _setting(0, "optimisation", ge=0)
    """Fixed loss scale for fp16; 0 uses dynamic loss scaling."""
    freeze_bn: bool = _setting(False, "optimisation")
    """Freeze the BatchNorm statistics: for fine-tuning on few images."""
    sync_bn: bool = _setting(False, "optimisation")
    """Synchronised BatchNorm: statistics over the images of all devices instead of each device alone. Use it with few
    images per device."""
    on_nonfinite: Literal["stop", "skip"] = _setting("stop", "optimisation")
    """Reaction to a NaN or infinite loss or gradient: stop and keep the batch's images for inspection, or skip the
    batch and count it."""

    # Assignment and loss
    assignment: Literal["best_anchors", "neighbours", "task_aligned"] = _setting("task_aligned", "loss")
    """Assigner: which predictions are positive for an object. best_anchors: the model zoo's, the best anchor and all
    above assign_iou; neighbours: those also in the two nearest cells (needs dialect ultralytics); task_aligned: the
    assign_top best predictions at that step."""
    assign_iou: float = _setting(0.213, "loss", gt=0, le=1)
    """Minimum IoU of box and anchor size for a positive anchor in best_anchors and neighbours."""
    assign_top: Literal["auto"] | kinds.AtLeastOne = _setting("auto", "loss", unit="predictions")
    """Positive predictions per object in task_aligned; auto: 10, or down to 3 where the images are crowded."""
    box_loss: Literal["giou", "diou", "ciou"] = _setting("ciou", "loss")
    """Box regression loss."""
    box_weight: float = _setting(2, "loss", ge=0)
    """Weight of the box loss."""
    objectness_weight: float = _setting(1, "loss", ge=0)
    """Weight of the objectness loss."""
    class_weight: float = _setting(0.5, "loss", ge=0)
    """Weight of the classification loss."""
    stride32_weight: float = _setting(1, "loss", ge=0)
    """Loss weight of the stride-32 head, which detects large objects; the stride-16 head has 1."""
    ignore_iou: float = _setting(0.7, "loss", gt=0, le=1)
    """IoU threshold for ignored predictions: above it, an unassigned prediction is not trained as background."""
    label_smoothing: float = _setting(0, "loss", ge=0, le=1)
    """Label smoothing: part of the class target that goes to the other classes; 0 disables it."""
    objectness_target: Literal["overlap", "one"] = _setting("overlap", "loss")
    """Objectness target of positive predictions: overlap (IoU with the object), or one (1, as in the model zoo)."""
    small_box_bonus: bool = _setting(False, "loss")
    """Multiply the box loss by 2 - width * height (as fractions of the image), as the model zoo does."""
    ignore_own_head_only: bool = _setting(False, "loss")
    """Apply ignore_iou only to objects assigned to the same head, as the model zoo does."""
    loss_per: kinds.LossPer = _setting("object", "loss")
    """Loss normalisation: sums are divided by the number of positive predictions (object), or of images (image, as in
    the model zoo)."""

    # Augmentation
    scale_min: float = _setting(0.8, "augmentation", gt=0, le=4)
    """Minimum random scale, relative to the size that fits the network input."""
    scale_max: float = _setting(1.25, "augmentation", gt=0, le=4)
    """Maximum random scale, relative to the size that fits the network input; values above 1 crop."""
    aspect_jitter: float = _setting(0.1, "augmentation", ge=0, lt=1)
    """Maximum change of the aspect ratio: by a factor of (1 + jitter) / (1 - jitter); 0 disables it."""
    flip: float = _setting(0.5, "augmentation", ge=0, le=1)
    """Probability of a horizontal flip."""
    hue: float = _setting(0.015, "augmentation", unit="colour circles", ge=0, le=0.5)
    """Maximum hue shift in either direction."""
    saturation: float = _setting(1.5, "augmentation", ge=1)
    """Maximum saturation factor; the minimum is its inverse. 1 disables it."""
    brightness: float = _setting(1.3, "augmentation", ge=1)
    """Maximum brightness factor; the minimum is its inverse. 1 disables it."""
    mosaic: float = _setting(0, "augmentation", ge=0, le=1)
    """Probability of a mosaic of four images."""
    mixup: float = _setting(0, "augmentation", ge=0, le=1)
    """Probability of mixup with a second sample."""
    close_mosaic: int = _setting(5, "augmentation", unit="epochs", ge=0)
    """Number of final epochs without mosaic and mixup."""
    multi_scale: kinds.ImageSizes = _setting((), "augmentation", unit="pixels")
    """Multi-scale training: input sizes to sample from instead of image_size, each a multiple of 32; empty disables it.
    """
    resize_every: int = _setting(10, "augmentation", unit="batches", ge=1)
    """Interval between size changes of multi_scale."""
    resize_mode: Literal["letterbox", "stretch"] = _setting("letterbox", "augmentation")
    """Resizing to the network input: letterbox keeps the aspect ratio and pads; stretch fills the square."""
    normalize: Literal["unit", "imagenet"] | tuple[kinds.Three, kinds.Three] = _setting("unit", "augmentation")
    """Pixel normalisation: unit scales to 0..1; after that imagenet is (x - mean) / std with ImageNet's values, and
    [[r,g,b],[r,g,b]] the same with this mean and std."""

    # Evaluation
    iou_threshold: float = _setting(THRESHOLDS.iou, "evaluation", gt=0, le=1)
    """NMS IoU threshold: of two boxes of one class with a higher IoU, the lower-scoring one is removed."""
    score_threshold: float = _setting(THRESHOLDS.evaluation_score, "evaluation", ge=0, lt=1)
    """Confidence threshold of evaluation; COCO's metric needs a low one."""
    max_detections: int = _setting(THRESHOLDS.max_detections, "evaluation", unit="boxes", ge=1)
    """Maximum detections per image, highest confidence first."""
    multi_label: bool = _setting(THRESHOLDS.multi_label, "evaluation")
    """Multi-label NMS: one box may be detected as several classes; false keeps only its best class."""
    agnostic: bool = _setting(THRESHOLDS.agnostic, "evaluation")
    """Class-agnostic NMS: a box is removed by a better one of any class, not only of its own."""
    eval_batch_size: int = _setting(8, "evaluation", unit="images", ge=1)
    """Batch size of evaluation; does not affect the result."""

    @model_validator(mode="after")
    def _fits_together(self) -> "Settings":
        for name, is_wrong, problem in CONTRADICTIONS:
            if is_wrong(self):
                raise ValueError(f"{name}: {getattr(self, name)}; {problem.format_map(dict(self))}")
        return self


def unit_of(name: str) -> str:
    """The unit of a setting, or ""."""
    return str(_extra(name)["unit"])


def group_of(name: str) -> str:
    return str(_extra(name)["group"])


def help_of(name: str) -> str:
    return Settings.model_fields[name].description or _docstrings()[name]


@cache
def _docstrings() -> dict[str, str]:
    """The docstring under each setting. Read when help is asked for; pydantic does it at import, in 0.1 s.

    The source of the module is found at once, that of a class by parsing the module and more, in 0.06 s.
    """
    parts = ast.parse(inspect.getsource(sys.modules[__name__])).body
    settings = next(part for part in parts if isinstance(part, ast.ClassDef) and part.name == Settings.__name__)
    found = {}
    for field, text in pairwise(settings.body):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
            found[ast.unparse(field.target)] = " ".join(str(text.value.value).split())
    return found


def default_of(name: str) -> Any:
    return Settings.model_fields[name].default


def _extra(name: str) -> dict[str, Any]:
    extra = Settings.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)
    return extra
