"""Every setting of a training run: name, type, range, unit, help and default. No other module defines a default.

A recipe, a YAML file and the command line override these values in that order (`config.resolve`). The command line's
help, `lookonce config` and docs/settings.md are generated from this table.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from lookonce.settings.image_size import multiple_of_32, read_size
from lookonce.settings.record import FULL_CHANNELS

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
NUM_ANCHORS, NUM_HEADS = 6, 2
SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def named_path(path: Any) -> Any:
    """`./coco` or `coco/` -> the absolute path: Path("./coco") would be the same as the name `coco`. Else as given."""
    is_dressed = isinstance(path, str) and len(Path(path).parts) == 1 and str(Path(path)) != path
    return str(Path(path).absolute()) if is_dressed else path


def _sides_of_squares(sizes: Any) -> Any:
    """[[320, 320], [352, 352]], as the model zoo writes sizes -> [320, 352]."""
    if not isinstance(sizes, list | tuple):
        return sizes
    for size in sizes:
        if isinstance(size, list | tuple) and (len(size) != 2 or size[0] != size[1]):
            shown = ", ".join(map(str, size))
            raise ValueError(
                f"[{shown}] is not square; expected sizes of a square network input, such as 320,352 or "
                "[[320,320],[352,352]]"
            )
    return [size[0] if isinstance(size, list | tuple) else size for size in sizes]


def _six_pairs(anchors: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    if len(anchors) != NUM_ANCHORS or min(min(pair) for pair in anchors) <= 0:
        raise ValueError(
            f"expected {NUM_ANCHORS} pairs of width and height above 0, smallest first, for example "
            "[[10,14], [23,27], [37,58], [81,82], [135,169], [344,319]]"
        )
    return anchors


def _two_masks(masks: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    is_valid = len(masks) == NUM_HEADS and all(mask and set(mask) <= set(range(NUM_ANCHORS)) for mask in masks)
    if not is_valid or any(len(set(mask)) < len(mask) for mask in masks):
        raise ValueError(
            f"expected {NUM_HEADS} lists of different rows of anchors, 0..{NUM_ANCHORS - 1}, stride 32 first, for "
            "example [[3,4,5],[0,1,2]]"
        )
    return masks


def _eleven_counts(channels: tuple[int, ...]) -> tuple[int, ...]:
    needed = [*channels[:7], *channels[9:]]  # layers 7 and 8 are optional: 0 omits them
    if len(channels) != len(FULL_CHANNELS) or min(needed) < 1 or min(channels) < 0:
        raise ValueError(
            f"expected a width multiplier, or {len(FULL_CHANNELS)} channel counts such as {list(FULL_CHANNELS)}"
        )
    return channels


def _device_name(device: str) -> str:
    if not re.fullmatch(r"auto|cpu|(cuda|npu|xpu|mps)(:\d+)?", device):
        raise ValueError("expected auto, cpu, cuda, npu, xpu or mps, or one of several devices, such as cuda:1")
    return device


def _folder_name(name: str) -> str:
    if not re.fullmatch(r"[^/\\.\s][^/\\]*", name):
        raise ValueError(
            "expected a folder name without '/' and not starting with '.'; set the parent folder with runs"
        )
    return name


def _duration(text: Any) -> str:
    """Validated but not converted: settings.yaml keeps the text that was typed."""
    seconds_of(str(text))
    return str(text)


def seconds_of(duration: str) -> float:
    """Duration in seconds: "1h30m" -> 5400; "" -> 0."""
    parts = re.fullmatch(r"\s*((?:[\d.]+\s*[dhms]\s*)*)", duration.lower())
    if parts is None:
        raise ValueError("expected a duration with units, such as 30m, 8h, 1h30m or 90s")
    found = re.findall(r"([\d.]+)\s*([dhms])", parts[1])
    return sum(float(number) * SECONDS[unit] for number, unit in found)


def _run_name(name: str) -> str:
    return _folder_name(name) if name else name


def _image_for_picture(word: Any) -> Any:
    """Older settings.yaml files spell "image" as "picture"."""
    return "image" if word == "picture" else word


def _num_nodes(text: str) -> str:
    least, colon, most = text.partition(":")
    if not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", text) or (colon and int(least) > int(most)):
        raise ValueError("expected a whole number of at least 1, or a range MIN:MAX such as 2:4")
    return text


ImageSize = Annotated[int, AfterValidator(multiple_of_32)]
ImageSizeHW = Annotated[int | tuple[int, int], BeforeValidator(read_size)]
ImageSizes = Annotated[tuple[ImageSize, ...], BeforeValidator(_sides_of_squares)]
Anchors = Annotated[tuple[tuple[float, float], ...], AfterValidator(_six_pairs)]
Masks = Annotated[tuple[tuple[int, ...], ...], AfterValidator(_two_masks)]
Three = tuple[float, float, float]
Channels = Annotated[tuple[int, ...], AfterValidator(_eleven_counts)]
Duration = Annotated[str, BeforeValidator(_duration)]
DeviceName = Annotated[str, AfterValidator(_device_name)]
FolderName = Annotated[str, AfterValidator(_folder_name)]
RunName = Annotated[str, AfterValidator(_run_name)]
NumNodes = Annotated[str, BeforeValidator(str), AfterValidator(_num_nodes)]
Factor = Annotated[float, Field(gt=0, le=4)]
Epsilon = Annotated[float, Field(gt=0, lt=1)]
Prior = Annotated[float, Field(gt=0, lt=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Workers = Annotated[int, Field(ge=0, le=256)]


def _setting(default: Any, group: str, help_text: str, *, unit: str = "", **limits: Any) -> Any:
    return Field(default, description=help_text, json_schema_extra={"unit": unit, "group": group}, **limits)


class Settings(BaseModel):
    """All settings of one training run. Frozen; paths are relative to the working directory."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    # Data
    data: str = _setting(
        "",
        "data",
        "Labelled images: a folder in COCO or VOC layout, a YOLO data.yaml, a small YAML file that names images "
        "and annotations, or a COCO .json file (then set images too). Required for training.",
    )
    images: Path | None = _setting(None, "data", "Image folder; needed only where the annotations do not name it.")
    follow_links: bool = _setting(
        False,
        "data",
        "Read images through symbolic links that lead out of the data set; without it they are refused.",
    )
    train_split: str = _setting("train", "data", "Split used for training.")
    val_split: str = _setting(
        "val",
        "data",
        "Split used for validation during training; none: no validation. Where the data have no split val, training "
        "holds out a part of train_split (val_fraction).",
    )
    val_fraction: float = _setting(
        0.15,
        "data",
        "Fraction of the training images that is held out for validation where the data have no split val: the same "
        "for each class, from the seed, near-copies together.",
        gt=0,
        lt=1,
    )
    image_size: ImageSizeHW = _setting(
        416,
        "data",
        "Side of the square network input, or height x width such as 416x224; multiples of 32. A larger input detects "
        "smaller objects; the cost grows with its area.",
        unit="pixels",
    )
    workers: Literal["auto"] | Workers = _setting(
        "auto",
        "machine",
        "Data loading threads; 0 loads in the training thread; auto fits the machine. Affects speed only.",
        unit="threads",
    )
    max_boxes: int = _setting(
        300,
        "data",
        "Maximum ground-truth boxes per training image, mosaics included; the rest are dropped.",
        unit="boxes",
        ge=1,
    )
    cache_mb: float = _setting(
        256, "machine", "Memory for the cache of decoded images; 0 disables the cache.", unit="MB", ge=0
    )
    check_images: bool = _setting(
        True, "data", "Decode all images of train and val once before the first step; a resumed run only changed ones."
    )
    on_bad_image: Literal["stop", "skip"] = _setting(
        "stop",
        "data",
        "Reaction to a training image that cannot be read: stop, or leave it out and count it. During training, a"
        " validation image is always left out of the score.",
    )

    # Run
    recipe: str = _setting(
        "modern",
        "run",
        "Recipe to start from: modern, finetune (short training from weights), or modelzoo (faithful to the model "
        "zoo's document).",
    )
    runs: Path = _setting(Path("runs"), "run", "Parent folder of the run folders.")
    name: FolderName = _setting(
        "train", "run", "Prefix of the run folder's name, before a number; default: the name of the data."
    )
    seed: int = _setting(
        0, "run", "Random seed; the same seed gives the same samples in the same order.", ge=0, le=2**32 - 1
    )
    device: DeviceName = _setting(
        "auto",
        "machine",
        "Device: auto, cpu, cuda, npu, xpu, mps, or one of several, such as cuda:1. auto picks an accelerator if there"
        " is one, but not mps.",
    )
    devices: int = _setting(
        1,
        "machine",
        "Number of devices of this node, one process (rank) each; on a CPU, the number of processes.",
        ge=1,
        le=1024,
    )
    nnodes: NumNodes = _setting(
        "1",
        "machine",
        "Number of nodes, all started with the same command. Training also accepts a range: 2:4 is 2 to 4 nodes "
        "(elastic).",
    )
    node_rank: int = _setting(0, "machine", "Rank of this node, from 0. rdzv_endpoint is an address of node 0.", ge=0)
    rdzv_endpoint: str = _setting(
        "", "machine", "Rendezvous address of several nodes: host:port of node 0, the same on all nodes."
    )
    cpus_per_rank: int = _setting(
        0,
        "machine",
        "CPU cores to pin each rank of this node to, adjacent to each other; 0 disables pinning.",
        unit="cores",
        ge=0,
    )
    deterministic: bool = _setting(
        False,
        "machine",
        "Use deterministic algorithms on an accelerator, where PyTorch has them; it names the others in a warning. "
        "Slower. On a CPU they are always used.",
    )
    rank_logs: str = _setting(
        "",
        "machine",
        "Prefix of the per-process log folders: with several processes, process K of this node, from 1, writes "
        "all its output to PREFIX + K/log.txt, such as train_parallel1/log.txt. Empty: no such logs.",
    )
    max_restarts: int = _setting(
        3,
        "machine",
        "Maximum restarts from the last checkpoint after a rank has died; 0 disables restarts.",
        ge=0,
    )
    rank_timeout: float = _setting(
        600,
        "machine",
        "Time without progress after which the unresponsive rank is reported and all ranks exit.",
        unit="seconds",
        gt=0,
    )
    resume: bool | Path = _setting(
        False, "run", "Resume a run from its last checkpoint: true for the newest run, or a run folder."
    )
    run: RunName = _setting(
        "",
        "run",
        "Exact name of the run folder in runs. If the run exists, it is resumed; otherwise it is started under "
        "this name. The same command can be repeated.",
    )
    log_interval: int = _setting(20, "run", "Interval between progress lines in the log.", unit="batches", ge=1)
    eval_every: int = _setting(
        1,
        "run",
        "Interval between evaluations on the validation split; 0 evaluates only at the end.",
        unit="epochs",
        ge=0,
    )
    save_every: int = _setting(1, "run", "Interval between saves of checkpoints/last.", unit="epochs", ge=1)
    export_check: str = _setting(
        "auto",
        "run",
        "Formats, separated by commas, in which the untrained network is exported and compared before epoch 1, so"
        " that a run cannot end with a network that does not export. auto: onnx for runs of 5,000 steps or more; "
        "none disables the check.",
    )
    save_steps: int = _setting(
        0,
        "run",
        "Also save checkpoints/last within an epoch, at this interval; 0 saves within an epoch only when 10 "
        "minutes have passed since the last save.",
        unit="batches",
        ge=0,
    )
    save_on: Literal["main", "all"] = _setting(
        "main",
        "machine",
        "Ranks that write checkpoints/last: main (rank 0), or all (rank R into checkpoints/rank-R), for nodes "
        "without a shared disk.",
    )
    keep: int = _setting(
        0,
        "run",
        "Number of epoch checkpoints to keep beside last and best, newest first, in checkpoints/epoch-K.",
        unit="epochs",
        ge=0,
    )
    best_metric: Literal["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"] = (
        _setting("AP", "run", "COCO metric on the validation split that selects checkpoints/best.")
    )
    patience: int = _setting(
        0,
        "run",
        "Early stopping: stop after this many epochs without improvement of best_metric; 0 disables it.",
        unit="epochs",
        ge=0,
    )
    time: Duration = _setting(
        "",
        "run",
        "Time limit of the run, such as 30m or 1h30m. A few steps are timed first, and epochs is reduced to what "
        "fits. When the limit is reached earlier, training stops after a final evaluation. Empty: no limit.",
    )
    profile: bool = _setting(
        False,
        "run",
        "Profile ten training steps part by part, write profile.txt and profile.json into the run folder, and stop.",
    )
    tensorboard: bool = _setting(
        False, "run", "Also write the metrics for TensorBoard into the run folder (needs the extra tensorboard)."
    )

    # Model
    width: Factor | Channels = _setting(
        1.0,
        "model",
        "Width multiplier for the channels of every layer (0.5: about a quarter of the computation), or the 11 "
        "channel counts.",
    )
    dialect: Literal["darknet", "mindspore", "ultralytics"] = _setting(
        "ultralytics",
        "model",
        "Box decoding and BatchNorm rules: those of Darknet, of the model zoo (mindspore) or of Ultralytics.",
    )
    activation: Literal["auto", "leaky", "relu", "silu"] = _setting(
        "leaky",
        "model",
        "Activation function: leaky (LeakyReLU 0.1, fastest on small chips), relu, silu, or auto (that of the "
        "dialect).",
    )
    anchors: Literal["auto", "default"] | Anchors = _setting(
        "auto",
        "model",
        "Anchors, smallest first: auto (fitted to the training boxes), default (those of COCO), or six [width, "
        "height] pairs.",
        unit="pixels at image_size",
    )
    masks: Masks = _setting(
        ((3, 4, 5), (0, 1, 2)),
        "model",
        "Anchors of each head, as rows of anchors from 0: the stride-32 head first, then the stride-16 head. Darknet's "
        "released COCO weights have [[3,4,5],[1,2,3]].",
    )
    batchnorm_eps: Literal["auto"] | Epsilon = _setting(
        "auto", "model", "BatchNorm epsilon, added to the variance: a number, or auto (that of the dialect)."
    )
    pool_edge: Literal["auto", "repeat", "zero", "none"] = _setting(
        "auto",
        "model",
        "Padding of the stride-1 pool, right and bottom: repeat (the edge, as Darknet does), zero (as Ultralytics' own "
        "networks), none (the network has no stride-1 pool), or auto (that of the dialect).",
    )
    objectness_prior: Literal["auto"] | Prior = _setting(
        "auto",
        "model",
        "Initial objectness probability, set through the biases of the heads (as RetinaNet's prior); 0.5 means "
        "zero bias; auto computes the share of positive predictions in the training set.",
    )
    weights: Annotated[Path | None, BeforeValidator(named_path)] = _setting(
        None,
        "model",
        "Weights to start training from: a checkpoint, published weights such as coco, MindSpore's .ckpt or Darknet's "
        ".weights. They also set the defaults of width, dialect, activation, batchnorm_eps, pool_edge, anchors, masks, "
        "resize_mode and normalize.",
    )
    names: Path | None = _setting(
        None,
        "model",
        "Class names of the weights, one per line, by position: for a .ckpt or .weights file without names, or to "
        "rename classes so that they match those of the data.",
    )
    backbone_weights: Annotated[Path | None, BeforeValidator(named_path)] = _setting(
        None,
        "model",
        "Weights, such as coco, to load only the backbone from. They also set the defaults of width, activation, "
        "batchnorm_eps, pool_edge, resize_mode and normalize.",
    )
    freeze_stages: int = _setting(
        0,
        "model",
        "Number of backbone convolutions to freeze, counted from the input.",
        unit="convolutions",
        ge=0,
        le=7,
    )

    # Optimisation
    epochs: int = _setting(
        100,
        "optimisation",
        "Training epochs. 0 chooses them from the number of training images, fewer when training starts from weights.",
        unit="epochs",
        ge=0,
    )
    start_epoch: int = _setting(
        0,
        "optimisation",
        "First epoch, from 0, with the learning rate that the schedule has there: for weights trained before.",
        unit="epochs",
        ge=0,
    )
    batch_size: int = _setting(
        0,
        "optimisation",
        "Batch size: images per device. 0 chooses 4 to 32 over all devices, for about 50 steps per epoch; more than "
        "two accelerators get up to 16 each, and lr grows with a batch of more than 32.",
        unit="images",
        ge=0,
    )
    accumulate: int = _setting(
        1,
        "optimisation",
        "Gradient accumulation: batches per optimizer step.",
        unit="batches",
        ge=1,
    )
    nominal_batch: int = _setting(
        0,
        "optimisation",
        "Target images per optimizer step over all devices: sets gradient accumulation to the number of batches "
        "that comes nearest; 0 uses accumulate.",
        unit="images",
        ge=0,
    )
    optimizer: Literal["sgd", "adamw"] = _setting(
        "adamw",
        "optimisation",
        "Optimizer: adamw, or sgd with momentum. It changes the defaults of lr, momentum and weight_decay.",
    )
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
    ] = _setting(
        "cosine",
        "optimisation",
        "Learning-rate schedule. cosine, linear: updated at every step; exponential and the cosine_annealing "
        "kinds are the model zoo's, with one value per epoch.",
    )
    lr_floor: float = _setting(
        0.0001,
        "optimisation",
        "Final learning rate of the cosine and linear schedules; minimum of the cosine_annealing kinds.",
        ge=0,
    )
    lr_epochs: tuple[Annotated[float, Field(ge=0)], ...] = _setting(
        (220.0, 250.0),
        "optimisation",
        "Epochs at which schedule exponential multiplies the learning rate by lr_gamma.",
        unit="epochs",
    )
    lr_gamma: float = _setting(0.1, "optimisation", "Factor of schedule exponential.", gt=0, le=1)
    t_max: int = _setting(
        0,
        "optimisation",
        "Length of the cosine_annealing schedules; values below epochs count as epochs.",
        unit="epochs",
        ge=0,
    )
    warmup_epochs: float = _setting(
        1, "optimisation", "Linear learning-rate warm-up from 0; 0 disables it.", unit="epochs", ge=0
    )
    momentum: float = _setting(
        0.9,
        "optimisation",
        f"Momentum of SGD (default with sgd: {WITH_SGD['momentum']:g}), or beta1 of AdamW.",
        ge=0,
        lt=1,
    )
    nesterov: bool = _setting(True, "optimisation", "Nesterov momentum for sgd.")
    weight_decay: float = _setting(
        0.01,
        "optimisation",
        f"Weight decay of convolution weights (default with sgd: {WITH_SGD['weight_decay']:g}); biases and "
        "BatchNorm are excluded.",
        ge=0,
    )
    clip_norm: float = _setting(
        10, "optimisation", "Gradient clipping: maximum L2 norm of the gradient; 0 disables it.", ge=0
    )
    ema_decay: Literal["auto"] | Decay = _setting(
        "auto",
        "optimisation",
        "EMA (exponential moving average) decay of the weights. The averaged weights are evaluated and saved; 0 "
        "disables EMA; auto averages over a thirtieth of the run, with a decay of at most 0.998.",
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = _setting(
        "auto",
        "optimisation",
        "Mixed precision for forward and backward: auto picks fp32 on a CPU; on an accelerator bf16 where "
        "supported, else fp16.",
    )
    loss_scale: float = _setting(0, "optimisation", "Fixed loss scale for fp16; 0 uses dynamic loss scaling.", ge=0)
    freeze_bn: bool = _setting(False, "optimisation", "Freeze the BatchNorm statistics: for fine-tuning on few images.")
    sync_bn: bool = _setting(
        False,
        "optimisation",
        "Synchronised BatchNorm: statistics over the images of all devices instead of each device alone. Use it "
        "with few images per device.",
    )
    on_nonfinite: Literal["stop", "skip"] = _setting(
        "stop",
        "optimisation",
        "Reaction to a NaN or infinite loss or gradient: stop and keep the batch's images for inspection, or skip"
        " the batch and count it.",
    )

    # Assignment and loss
    assignment: Literal["best_anchors", "neighbours", "task_aligned"] = _setting(
        "task_aligned",
        "loss",
        "Assigner: which predictions are positive for an object. best_anchors: the model zoo's, the best anchor "
        "and all above assign_iou; neighbours: those also in the two nearest cells (needs dialect ultralytics); "
        "task_aligned: the assign_top best predictions at that step.",
    )
    assign_iou: float = _setting(
        0.213,
        "loss",
        "Minimum IoU of box and anchor size for a positive anchor in best_anchors and neighbours.",
        gt=0,
        le=1,
    )
    assign_top: int = _setting(10, "loss", "Positive predictions per object in task_aligned.", unit="predictions", ge=1)
    box_loss: Literal["giou", "diou", "ciou"] = _setting("ciou", "loss", "Box regression loss.")
    box_weight: float = _setting(2, "loss", "Weight of the box loss.", ge=0)
    objectness_weight: float = _setting(1, "loss", "Weight of the objectness loss.", ge=0)
    class_weight: float = _setting(0.5, "loss", "Weight of the classification loss.", ge=0)
    stride32_weight: float = _setting(
        1, "loss", "Loss weight of the stride-32 head, which detects large objects; the stride-16 head has 1.", ge=0
    )
    ignore_iou: float = _setting(
        0.7,
        "loss",
        "IoU threshold for ignored predictions: above it, an unassigned prediction is not trained as background.",
        gt=0,
        le=1,
    )
    label_smoothing: float = _setting(
        0,
        "loss",
        "Label smoothing: part of the class target that goes to the other classes; 0 disables it.",
        ge=0,
        le=1,
    )
    objectness_target: Literal["overlap", "one"] = _setting(
        "overlap",
        "loss",
        "Objectness target of positive predictions: overlap (IoU with the object), or one (1, as in the model zoo).",
    )
    small_box_bonus: bool = _setting(
        False, "loss", "Multiply the box loss by 2 - width * height (as fractions of the image), as the model zoo does."
    )
    ignore_own_head_only: bool = _setting(
        False,
        "loss",
        "Apply ignore_iou only to objects assigned to the same head, as the model zoo does.",
    )
    loss_per: Annotated[Literal["object", "image"], BeforeValidator(_image_for_picture)] = _setting(
        "object",
        "loss",
        "Loss normalisation: sums are divided by the number of positive predictions (object), or of images "
        "(image, as in the model zoo).",
    )

    # Augmentation
    scale_min: float = _setting(
        0.8, "augmentation", "Minimum random scale, relative to the size that fits the network input.", gt=0, le=4
    )
    scale_max: float = _setting(
        1.25,
        "augmentation",
        "Maximum random scale, relative to the size that fits the network input; values above 1 crop.",
        gt=0,
        le=4,
    )
    aspect_jitter: float = _setting(
        0.1,
        "augmentation",
        "Maximum change of the aspect ratio: by a factor of (1 + jitter) / (1 - jitter); 0 disables it.",
        ge=0,
        lt=1,
    )
    flip: float = _setting(0.5, "augmentation", "Probability of a horizontal flip.", ge=0, le=1)
    hue: float = _setting(
        0.015, "augmentation", "Maximum hue shift in either direction.", unit="colour circle", ge=0, le=0.5
    )
    saturation: float = _setting(
        1.5, "augmentation", "Maximum saturation factor; the minimum is its inverse. 1 disables it.", ge=1
    )
    brightness: float = _setting(
        1.3, "augmentation", "Maximum brightness factor; the minimum is its inverse. 1 disables it.", ge=1
    )
    mosaic: float = _setting(0, "augmentation", "Probability of a mosaic of four images.", ge=0, le=1)
    mixup: float = _setting(0, "augmentation", "Probability of mixup with a second sample.", ge=0, le=1)
    close_mosaic: int = _setting(
        5, "augmentation", "Number of final epochs without mosaic and mixup.", unit="epochs", ge=0
    )
    multi_scale: ImageSizes = _setting(
        (),
        "augmentation",
        "Multi-scale training: input sizes to sample from instead of image_size, each a multiple of 32; empty "
        "disables it.",
        unit="pixels",
    )
    resize_every: int = _setting(
        10, "augmentation", "Interval between size changes of multi_scale.", unit="batches", ge=1
    )
    resize_mode: Literal["letterbox", "stretch"] = _setting(
        "letterbox",
        "augmentation",
        "Resizing to the network input: letterbox keeps the aspect ratio and pads; stretch fills the square.",
    )
    normalize: Literal["unit", "imagenet"] | tuple[Three, Three] = _setting(
        "unit",
        "augmentation",
        "Pixel normalisation: unit scales to 0..1; after that imagenet is (x - mean) / std with ImageNet's values, and "
        "[[r,g,b],[r,g,b]] the same with this mean and std.",
    )

    # Evaluation
    iou_threshold: float = _setting(
        0.5,
        "evaluation",
        "NMS IoU threshold: of two boxes of one class with a higher IoU, the lower-scoring one is removed.",
        gt=0,
        le=1,
    )
    score_threshold: float = _setting(
        0.001, "evaluation", "Confidence threshold of evaluation; COCO's metric needs a low one.", ge=0, lt=1
    )
    max_detections: int = _setting(
        300, "evaluation", "Maximum detections per image, highest confidence first.", unit="boxes", ge=1
    )
    multi_label: bool = _setting(
        True,
        "evaluation",
        "Multi-label NMS: one box may be detected as several classes; false keeps only its best class.",
    )
    agnostic: bool = _setting(
        False, "evaluation", "Class-agnostic NMS: a box is removed by a better one of any class, not only of its own."
    )
    eval_batch_size: int = _setting(
        8, "evaluation", "Batch size of evaluation; does not affect the result.", unit="images", ge=1
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "Settings":
        if self.scale_min > self.scale_max:
            raise ValueError(
                f"scale_min: {self.scale_min:g}; expected at most scale_max ({self.scale_max:g}); swap the two"
            )
        if self.lr_floor > self.lr:
            raise ValueError(f"lr_floor: {self.lr_floor:g}; expected at most the peak lr ({self.lr:g}); lower lr_floor")
        if self.epochs and self.start_epoch >= self.epochs:
            raise ValueError(
                f"start_epoch: {self.start_epoch}; expected less than epochs ({self.epochs}); raise epochs"
            )
        if self.patience and not self.eval_every:
            raise ValueError(
                f"patience: {self.patience}; early stopping needs evaluations, but eval_every is 0; set eval_every=1"
            )
        if self.nominal_batch and self.accumulate > 1:
            raise ValueError(
                f"nominal_batch: {self.nominal_batch}; accumulate={self.accumulate} sets gradient accumulation too; "
                "keep one of them"
            )
        if self.freeze_stages and not (self.weights or self.backbone_weights):
            raise ValueError(
                f"freeze_stages: {self.freeze_stages}; expected loaded weights, random ones would stay frozen; "
                "set weights or backbone_weights too"
            )
        if self.names and not self.weights:
            raise ValueError(
                f"names: {self.names}; expected together with weights, whose classes it names; set weights too"
            )
        if self.nnodes != "1" and not self.rdzv_endpoint:
            raise ValueError(
                f"nnodes: {self.nnodes}; several nodes need a rendezvous; set rdzv_endpoint to host:port of node 0"
            )
        if self.assignment == "neighbours" and self.dialect != "ultralytics":
            raise ValueError(
                f"assignment: neighbours; expected dialect ultralytics, because box centres cannot leave their cell in "
                f"dialect {self.dialect}; set dialect=ultralytics"
            )
        return self


def unit_of(name: str) -> str:
    """The unit of a setting, or ""."""
    return str(_extra(name)["unit"])


def group_of(name: str) -> str:
    """A key of GROUPS."""
    return str(_extra(name)["group"])


def help_of(name: str) -> str:
    return Settings.model_fields[name].description or ""


def default_of(name: str) -> Any:
    return Settings.model_fields[name].default


def _extra(name: str) -> dict[str, Any]:
    extra = Settings.model_fields[name].json_schema_extra
    assert isinstance(extra, dict)
    return extra
