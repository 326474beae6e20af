"""Every setting of a training run: name, kind, range, unit, help and the only defaults there are.

A recipe, a YAML file and the command line change these values in that order (`config.resolve`). The command line's
help, `lookonce config` and docs/settings.md are made from this table.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from lookonce.config.record import FULL_CHANNELS

# Heading of each group of settings, in the order in which help and docs show them.
GROUPS = {
    "data": "Data",
    "run": "Run",
    "model": "Model",
    "optimisation": "Optimisation",
    "loss": "Assignment and loss",
    "augmentation": "Augmentation",
    "evaluation": "Evaluation",
}
# What goes with sgd where nothing else says it: the rate of the default optimizer would lead it astray.
WITH_SGD = {"lr": 0.02, "momentum": 0.937, "weight_decay": 5e-4}
NUM_ANCHORS = 6
STRIDE = 32
SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def _multiple_of_32(size: int) -> int:
    if size < STRIDE or size % STRIDE:
        below = max(size // STRIDE, 1) * STRIDE
        raise ValueError(
            f"expected a multiple of 32, because the network halves the picture five times: {below} or {below + STRIDE}"
        )
    return size


def _sides_of_squares(sizes: Any) -> Any:
    """[[320, 320], [352, 352]], as the model zoo writes sizes, means [320, 352]."""
    if not isinstance(sizes, list | tuple):
        return sizes
    for size in sizes:
        if isinstance(size, list | tuple) and (len(size) != 2 or size[0] != size[1]):
            shown = ", ".join(map(str, size))
            raise ValueError(
                f"[{shown}] is no square, and the network sees squares; expected sizes such as 320,352 or "
                "[[320,320],[352,352]]"
            )
    return [size[0] if isinstance(size, list | tuple) else size for size in sizes]


def _six_pairs(anchors: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    if len(anchors) != NUM_ANCHORS or min(min(pair) for pair in anchors) <= 0:
        raise ValueError(
            f"expected {NUM_ANCHORS} pairs of width and height over 0, smallest first, for example "
            "[[10,14], [23,27], [37,58], [81,82], [135,169], [344,319]]"
        )
    return anchors


def _eleven_counts(channels: tuple[int, ...]) -> tuple[int, ...]:
    needed = [*channels[:7], *channels[9:]]  # 7 and 8 may be left out: 0
    if len(channels) != len(FULL_CHANNELS) or min(needed) < 1 or min(channels) < 0:
        raise ValueError(f"expected one factor, or {len(FULL_CHANNELS)} channel counts such as {list(FULL_CHANNELS)}")
    return channels


def _device_name(device: str) -> str:
    if not re.fullmatch(r"auto|cpu|(cuda|npu|xpu)(:\d+)?", device):
        raise ValueError("expected auto, cpu, cuda, npu or xpu, or one of several such as cuda:1")
    return device


def _folder_name(name: str) -> str:
    if not re.fullmatch(r"[^/\\.\s][^/\\]*", name):
        raise ValueError("expected the start of a folder's name, without / and not with a dot first; runs says where")
    return name


def _duration(text: Any) -> str:
    """Checked, not changed: what was typed is what settings.yaml shows."""
    seconds_of(str(text))
    return str(text)


def seconds_of(duration: str) -> float:
    """ "1h30m" -> 5400; "" -> 0."""
    parts = re.fullmatch(r"\s*((?:[\d.]+\s*[dhms]\s*)*)", duration.lower())
    if parts is None:
        raise ValueError("expected a time with its unit, such as 30m, 8h, 1h30m or 90s")
    found = re.findall(r"([\d.]+)\s*([dhms])", parts[1])
    return sum(float(number) * SECONDS[unit] for number, unit in found)


def _run_name(name: str) -> str:
    return _folder_name(name) if name else name


def _num_nodes(text: str) -> str:
    least, colon, most = text.partition(":")
    if not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", text) or (colon and int(least) > int(most)):
        raise ValueError("expected a number from 1, or least:most such as 2:4")
    return text


ImageSize = Annotated[int, AfterValidator(_multiple_of_32)]
ImageSizes = Annotated[tuple[ImageSize, ...], BeforeValidator(_sides_of_squares)]
Anchors = Annotated[tuple[tuple[float, float], ...], AfterValidator(_six_pairs)]
Channels = Annotated[tuple[int, ...], AfterValidator(_eleven_counts)]
Duration = Annotated[str, BeforeValidator(_duration)]
DeviceName = Annotated[str, AfterValidator(_device_name)]
FolderName = Annotated[str, AfterValidator(_folder_name)]
RunName = Annotated[str, AfterValidator(_run_name)]
NumNodes = Annotated[str, BeforeValidator(str), AfterValidator(_num_nodes)]
Factor = Annotated[float, Field(gt=0, le=4)]
Workers = Annotated[int, Field(ge=0, le=256)]


def _setting(default: Any, group: str, help_text: str, *, unit: str = "", **limits: Any) -> Any:
    return Field(default, description=help_text, json_schema_extra={"unit": unit, "group": group}, **limits)


class Settings(BaseModel):
    """What one training run is made of. Frozen; paths are relative to the working directory."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    # Data
    data: str = _setting(
        "",
        "data",
        "Labelled pictures: a folder in COCO or VOC layout, a YOLO data.yaml, a small YAML that names pictures and "
        "annotations, or a COCO .json (then with --images). Needed for training.",
    )
    images: Path | None = _setting(None, "data", "Folder of the pictures, where the annotations alone do not say.")
    train_split: str = _setting("train", "data", "Name of the split to learn from.")
    val_split: str = _setting("val", "data", "Name of the split that scores the network during training.")
    image_size: ImageSize = _setting(
        416,
        "data",
        "Side of the square that the network sees; a multiple of 32. Larger finds smaller objects and costs time by "
        "the square.",
        unit="pixels",
    )
    workers: Literal["auto"] | Workers = _setting(
        "auto",
        "data",
        "Threads that prepare pictures; 0 prepares them between the steps. Changes speed alone.",
        unit="threads",
    )
    max_boxes: int = _setting(
        300, "data", "Objects kept of one training picture, mosaics included; more are dropped.", unit="boxes", ge=1
    )
    cache_mb: float = _setting(256, "data", "Memory for decoded pictures; 0 decodes anew each time.", unit="MB", ge=0)

    # Run
    recipe: str = _setting("modern", "run", "Values to start from: modern, or modelzoo (faithful to the document).")
    runs: Path = _setting(Path("runs"), "run", "Folder that takes the run folders.")
    name: FolderName = _setting(
        "train", "run", "Start of the run folder's name, a number follows; unless given, the name of the data."
    )
    seed: int = _setting(0, "run", "Start of all random choices: same seed, same pictures.", ge=0, le=2**32 - 1)
    device: DeviceName = _setting(
        "auto",
        "run",
        "auto, cpu, cuda, npu, xpu, or one of several such as cuda:1. auto takes an accelerator if there is one.",
    )
    devices: int = _setting(
        1,
        "run",
        "Devices of this machine that work together, each with a process of its own; on a CPU, processes.",
        ge=1,
        le=1024,
    )
    nnodes: NumNodes = _setting(
        "1",
        "run",
        "Machines that work together, each started with the same command; in training also 2:4, at least 2, at most 4.",
    )
    node_rank: int = _setting(
        0, "run", "Number of this machine, from 0; number 0 is the one that rdzv_endpoint names.", ge=0
    )
    rdzv_endpoint: str = _setting("", "run", "Where several machines meet: host:port of number 0, the same on all.")
    cpus_per_rank: int = _setting(
        0, "run", "Cores that each process of this machine keeps to, next to one another; 0: any.", unit="cores", ge=0
    )
    rank_logs: str = _setting(
        "",
        "run",
        "Start of folders' names: of several processes number K of this machine, from 1, writes all it says into the "
        "log.txt of that folder, such as train_parallel1/log.txt.",
    )
    max_restarts: int = _setting(
        3,
        "run",
        "How often several processes start again from the last checkpoint when one of them died.",
        ge=0,
    )
    rank_timeout: float = _setting(
        600,
        "run",
        "How long processes wait for one that does not come, before they name it and end.",
        unit="seconds",
        gt=0,
    )
    resume: bool | Path = _setting(
        False, "run", "Continue a run where it stopped: true for the newest, or a run folder."
    )
    run: RunName = _setting(
        "",
        "run",
        "Exact name of the run folder in runs: the run goes on where it stopped, or begins under that name. The same "
        "command can then be given again and again.",
    )
    log_interval: int = _setting(20, "run", "How often a line of progress is written.", unit="batches", ge=1)
    eval_every: int = _setting(
        1, "run", "How often the network is scored on the validation split; 0: only at the end.", unit="epochs", ge=0
    )
    save_every: int = _setting(1, "run", "How often checkpoints/last is written.", unit="epochs", ge=1)
    export_check: str = _setting(
        "auto",
        "run",
        "Formats that the untrained network is exported to and compared in before epoch 1 (with commas), so that a run "
        "cannot end in a network that does not export. auto: onnx, for runs of 5,000 steps or more; none.",
    )
    save_steps: int = _setting(
        0,
        "run",
        "Writes checkpoints/last within an epoch too, so often; 0: only ten minutes after the save before.",
        unit="batches",
        ge=0,
    )
    save_on: Literal["main", "all"] = _setting(
        "main",
        "run",
        "Which ranks write checkpoints/last: main, or all (rank R into checkpoints/rank-R), for hosts "
        "without a disk in common.",
    )
    keep: int = _setting(
        0,
        "run",
        "How many epochs' weights are kept beside last and best, newest first, in checkpoints/epoch-K.",
        unit="epochs",
        ge=0,
    )
    best_metric: Literal["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"] = (
        _setting("AP", "run", "Which of COCO's numbers on the validation split decides what is best.")
    )
    patience: int = _setting(
        0, "run", "Ends the run when best_metric has not risen for so long; 0: never.", unit="epochs", ge=0
    )
    time: Duration = _setting(
        "",
        "run",
        "Longest time for the run, such as 30m or 1h30m: as many of the epochs as fit, for which a few steps "
        "are timed first; if it is up before them, the run ends there, evaluated.",
    )
    profile: bool = _setting(
        False,
        "run",
        "Times ten steps part by part, writes profile.txt and .json into the run folder, and stops.",
    )
    tensorboard: bool = _setting(
        False, "run", "Writes the table of metrics for TensorBoard too, into the run folder (extra tensorboard)."
    )

    # Model
    width: Factor | Channels = _setting(
        1.0,
        "model",
        "Factor on the channels of every layer (0.5: about a quarter of the work), or the 11 channel counts.",
    )
    dialect: Literal["darknet", "mindspore", "ultralytics"] = _setting(
        "ultralytics",
        "model",
        "How the network's numbers become a box: by the rules of Darknet, of the model zoo, or of Ultralytics.",
    )
    activation: Literal["auto", "leaky", "silu"] = _setting(
        "leaky", "model", "LeakyReLU 0.1 is quickest on small chips; auto takes the dialect's."
    )
    anchors: Literal["auto", "default"] | Anchors = _setting(
        "auto",
        "model",
        "Six typical object sizes, smallest first: auto (fitted to the training objects), default (those of COCO), or "
        "six [width, height] pairs.",
        unit="pixels at image_size",
    )
    objectness_prior: float = _setting(
        0.01,
        "model",
        "Share of its predictions that a fresh network calls an object, by the biases of the heads; 0.5: no bias.",
        gt=0,
        lt=1,
    )
    weights: Path | None = _setting(
        None, "model", "Checkpoint, or MindSpore's .ckpt or Darknet's .weights, to start from."
    )
    names: Path | None = _setting(
        None, "model", "Class names of another program's `weights`, one a line, where their file does not say."
    )
    backbone_weights: Path | None = _setting(None, "model", "Checkpoint of which only the backbone is taken.")
    freeze_stages: int = _setting(
        0,
        "model",
        "How many of the backbone's seven convolutions, from the picture on, stay as they were loaded.",
        unit="convolutions",
        ge=0,
        le=7,
    )

    # Optimisation
    epochs: int = _setting(100, "optimisation", "Passes over the training pictures.", unit="epochs", ge=1)
    start_epoch: int = _setting(
        0,
        "optimisation",
        "Epoch to begin at, counted from 0, with the learning rate that it has: for weights that were trained before.",
        unit="epochs",
        ge=0,
    )
    batch_size: int = _setting(
        0,
        "optimisation",
        "Pictures of one step, on each device; 0: by the number of pictures, from 4 (few, so that there are steps "
        "enough) to 32.",
        unit="pictures",
        ge=0,
    )
    accumulate: int = _setting(
        1,
        "optimisation",
        "Batches whose gradients make one step: a larger batch in the same memory.",
        unit="batches",
        ge=1,
    )
    nominal_batch: int = _setting(
        0,
        "optimisation",
        "Pictures of one step over all devices: as many batches are collected as come nearest to "
        "it; 0: accumulate says how many.",
        unit="pictures",
        ge=0,
    )
    optimizer: Literal["sgd", "adamw"] = _setting(
        "adamw",
        "optimisation",
        "adamw, or sgd with momentum; lr, momentum and weight_decay follow it where nothing else says them.",
    )
    lr: float = _setting(
        0.004,
        "optimisation",
        f"Peak learning rate, reached after the warm-up; with sgd {WITH_SGD['lr']:g}.",
        gt=0,
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
        "How the learning rate goes down. cosine, linear: at every step; the cosine_annealing kinds and exponential "
        "are the model zoo's, one value an epoch.",
    )
    lr_floor: float = _setting(
        0.0001, "optimisation", "Learning rate at the end of the cosine and linear schedules.", ge=0
    )
    lr_epochs: tuple[Annotated[float, Field(ge=0)], ...] = _setting(
        (220.0, 250.0), "optimisation", "When schedule exponential multiplies by lr_gamma.", unit="epochs"
    )
    lr_gamma: float = _setting(0.1, "optimisation", "Factor of schedule exponential.", gt=0, le=1)
    t_max: int = _setting(
        0, "optimisation", "Length of the cosine_annealing kinds; never less than epochs.", unit="epochs", ge=0
    )
    warmup_epochs: float = _setting(
        1, "optimisation", "Time in which the learning rate rises from 0 in a straight line.", unit="epochs", ge=0
    )
    momentum: float = _setting(
        0.9,
        "optimisation",
        f"Memory of sgd for past gradients, there {WITH_SGD['momentum']:g}; adamw's first beta.",
        ge=0,
        lt=1,
    )
    nesterov: bool = _setting(True, "optimisation", "sgd looks one step ahead along its momentum.")
    weight_decay: float = _setting(
        0.01,
        "optimisation",
        f"Pull of the convolution weights towards 0, with sgd {WITH_SGD['weight_decay']:g}; biases and BatchNorm have "
        "none.",
        ge=0,
    )
    clip_norm: float = _setting(10, "optimisation", "Longest gradient allowed; 0: any.", ge=0)
    ema_decay: float = _setting(
        0.998,
        "optimisation",
        "Memory of the averaged weights, which are those scored and saved; 0: no average.",
        ge=0,
        lt=1,
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = _setting(
        "auto", "optimisation", "Numbers of forward and backward; auto: bf16 on a device that has it, else fp32."
    )
    loss_scale: float = _setting(
        0, "optimisation", "Factor on the loss with fp16; 0: found and kept up by itself.", ge=0
    )
    freeze_bn: bool = _setting(
        False, "optimisation", "Keep the BatchNorm statistics as they are: for small fine-tunings."
    )
    sync_bn: bool = _setting(
        False,
        "optimisation",
        "BatchNorm over the pictures of all devices rather than of each alone: for few pictures a device.",
    )
    on_nonfinite: Literal["stop", "skip"] = _setting(
        "stop",
        "optimisation",
        "On a loss or gradient that is not finite: stop and keep the pictures to look at, or skip the batch and count.",
    )

    # Assignment and loss
    assignment: Literal["best_anchors", "neighbours", "task_aligned"] = _setting(
        "task_aligned",
        "loss",
        "Which predictions learn an object. best_anchors: the model zoo's, the best anchor and all over assign_iou; "
        "neighbours: those also in the two nearest cells (dialect ultralytics); task_aligned: the assign_top best "
        "predictions at the time.",
    )
    assign_iou: float = _setting(
        0.213, "loss", "Overlap of sizes from which an anchor takes part in best_anchors and neighbours.", gt=0, le=1
    )
    assign_top: int = _setting(10, "loss", "Predictions an object, for task_aligned.", unit="predictions", ge=1)
    box_loss: Literal["giou", "diou", "ciou"] = _setting("ciou", "loss", "Measure of how far a box is from its object.")
    box_weight: float = _setting(2, "loss", "Weight of the box part.", ge=0)
    objectness_weight: float = _setting(1, "loss", "Weight of the objectness part.", ge=0)
    class_weight: float = _setting(0.5, "loss", "Weight of the class part.", ge=0)
    stride32_weight: float = _setting(
        1, "loss", "Weight of the stride-32 head, which finds the large objects; the stride-16 head has 1.", ge=0
    )
    ignore_iou: float = _setting(
        0.7, "loss", "A prediction that overlaps an object so much is not called background.", gt=0, le=1
    )
    label_smoothing: float = _setting(0, "loss", "Part of the class target that goes to the other classes.", ge=0, le=1)
    objectness_target: Literal["overlap", "one"] = _setting(
        "overlap", "loss", "What objectness learns: its overlap with the object, or 1 as in the model zoo."
    )
    small_box_bonus: bool = _setting(
        False, "loss", "Weigh boxes by 2 - width * height (shares of the picture), as the model zoo does."
    )
    ignore_own_head_only: bool = _setting(
        False,
        "loss",
        "ignore_iou counts for the objects that the same head answers for, as in the model zoo.",
    )
    loss_per: Literal["object", "picture"] = _setting(
        "object", "loss", "Sums are divided by the predictions that learn an object, or by the pictures (model zoo)."
    )

    # Augmentation
    scale_min: float = _setting(0.8, "augmentation", "Smallest random size, times the fitted one.", gt=0, le=4)
    scale_max: float = _setting(
        1.25, "augmentation", "Largest random size, times the fitted one; crops over 1.", gt=0, le=4
    )
    aspect_jitter: float = _setting(
        0.1, "augmentation", "Width / height changes by up to (1 + jitter) / (1 - jitter).", ge=0, lt=1
    )
    flip: float = _setting(0.5, "augmentation", "Probability of mirroring left and right.", ge=0, le=1)
    hue: float = _setting(0.015, "augmentation", "Random shift of hue either way.", unit="colour circle", ge=0, le=0.5)
    saturation: float = _setting(1.5, "augmentation", "Largest random factor of saturation; the least is 1 / it.", ge=1)
    brightness: float = _setting(1.3, "augmentation", "Largest random factor of brightness; the least is 1 / it.", ge=1)
    mosaic: float = _setting(0, "augmentation", "Probability of four pictures on one canvas.", ge=0, le=1)
    mixup: float = _setting(0, "augmentation", "Probability of a second canvas blended in.", ge=0, le=1)
    close_mosaic: int = _setting(
        5, "augmentation", "Last epochs without mosaic and mixup: pictures as they will be met.", unit="epochs", ge=0
    )
    multi_scale: ImageSizes = _setting(
        (),
        "augmentation",
        "Sizes to draw from in place of image_size, each a multiple of 32; none: fixed.",
        unit="pixels",
    )
    resize_every: int = _setting(10, "augmentation", "How often multi_scale draws a size.", unit="batches", ge=1)
    resize_mode: Literal["letterbox", "stretch"] = _setting(
        "letterbox", "augmentation", "letterbox keeps the picture's shape and pads; stretch fills the square."
    )
    normalize: Literal["unit", "imagenet"] = _setting(
        "unit",
        "augmentation",
        "What a pixel becomes: 0..1, or that less the ImageNet mean over the ImageNet deviation.",
    )

    # Evaluation
    iou_threshold: float = _setting(
        0.5, "evaluation", "Of two boxes of a class that overlap more, the weaker goes.", gt=0, le=1
    )
    score_threshold: float = _setting(
        0.001, "evaluation", "Lowest score that an evaluation counts; COCO's metric wants it low.", ge=0, lt=1
    )
    max_detections: int = _setting(300, "evaluation", "Boxes kept of one picture, best first.", unit="boxes", ge=1)
    multi_label: bool = _setting(
        True, "evaluation", "One box may be detected as several classes; false: as its best class alone."
    )
    eval_batch_size: int = _setting(
        8, "evaluation", "Pictures evaluated at once; changes no digit.", unit="pictures", ge=1
    )

    @model_validator(mode="after")
    def _fits_together(self) -> "Settings":
        if self.scale_min > self.scale_max:
            raise ValueError(f"scale_min {self.scale_min:g} is over scale_max {self.scale_max:g}; exchange them")
        if self.lr_floor > self.lr:
            raise ValueError(f"lr_floor {self.lr_floor:g} is over the peak lr {self.lr:g}; lower lr_floor")
        if self.start_epoch >= self.epochs:
            raise ValueError(f"start_epoch {self.start_epoch} is not under epochs {self.epochs}: nothing would be left")
        if self.patience and not self.eval_every:
            raise ValueError(f"patience {self.patience} needs evaluations to wait for; set eval_every=1")
        if self.nominal_batch and self.accumulate > 1:
            raise ValueError(
                f"nominal_batch {self.nominal_batch} and accumulate {self.accumulate} both say how many batches make a "
                "step; keep one"
            )
        if self.freeze_stages and not (self.weights or self.backbone_weights):
            raise ValueError(
                f"freeze_stages {self.freeze_stages} would keep random weights; give weights or backbone_weights too"
            )
        if self.names and not self.weights:
            raise ValueError(
                f"names {self.names} is for the classes of weights that are started from; give weights too"
            )
        if self.nnodes != "1" and not self.rdzv_endpoint:
            raise ValueError(
                f"nnodes {self.nnodes} needs rdzv_endpoint, where the machines meet: host:port of number 0"
            )
        if self.assignment == "neighbours" and self.dialect != "ultralytics":
            raise ValueError(
                f"assignment neighbours does not go with dialect {self.dialect}, whose box centres cannot leave their "
                "cell; set dialect=ultralytics"
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
