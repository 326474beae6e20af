# Made by `./run python .ci/stubs.py`; change the functions, not this file.

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from lookonce.api import LoadedDetector as LoadedDetector
from lookonce.cloud.job import JobResult
from lookonce.cloud.manifest import Manifest
from lookonce.data.write import Copy
from lookonce.detections import Detections as Detections
from lookonce.errors import DataError as DataError
from lookonce.errors import LookonceError as LookonceError
from lookonce.errors import SettingsError as SettingsError
from lookonce.prediction.predictor import Prediction as Prediction
from lookonce.prediction.result import PredictedImage as PredictedImage
from lookonce.serving.serve import Served
from lookonce.training.trainer import TrainResult
from lookonce.workflows.anchors import AnchorAdvice
from lookonce.workflows.bench import Bench
from lookonce.workflows.check import Checked
from lookonce.workflows.config import Configuration
from lookonce.workflows.convert import Converted
from lookonce.workflows.demo import Demonstration
from lookonce.workflows.diagnose import Diagnosed
from lookonce.workflows.doctor import Health
from lookonce.workflows.evaluate import Evaluation
from lookonce.workflows.explain_assignment import Explanation
from lookonce.workflows.export import Exports
from lookonce.workflows.hub import PublishedList, Transferred
from lookonce.workflows.info import Info
from lookonce.workflows.page import Page
from lookonce.workflows.predict import Predicted as Predicted
from lookonce.workflows.verify import Verification

_Path = str | PathLike[str]
__version__: str
__all__: list[str]

def anchors(
    data: str | _Path,
    *,
    images: _Path | None = ...,
    follow_links: bool = ...,
    split: str = ...,
    image_size: int | str = ...,
    current: str = ...,
    restarts: int = ...,
    seed: int = ...,
    plot: _Path | None = ...,
) -> AnchorAdvice: ...
def bench(
    files: Sequence[_Path],
    *,
    names: _Path | None = ...,
    threads: str | None = ...,
    batch: str | None = ...,
    image_size: str | None = ...,
    images: _Path | None = ...,
    seconds: float = ...,
    pipeline: bool = ...,
    runtime: str = ...,
    device: str = ...,
    output: _Path | None = ...,
) -> Bench: ...
def check(
    data: str | _Path,
    *,
    images: _Path | None = ...,
    follow_links: bool = ...,
    only: Sequence[str] | None = ...,
    skip: Sequence[str] | None = ...,
    json_file: _Path | None = ...,
    html: _Path | None = ...,
    fix: _Path | None = ...,
    weights: _Path | None = ...,
    names: _Path | None = ...,
    decode: bool = ...,
    advice: bool = ...,
    val_fraction: float = ...,
    seed: int = ...,
    on_progress: Callable[[int, int], None] | None = ...,
) -> Checked: ...
def config(*, yaml: bool = ..., **flags: Any) -> Configuration: ...
def convert(
    *files: _Path,
    output: _Path,
    names: _Path | None = ...,
    image_size: int | str | None = ...,
    to: str = ...,
    mask: str = ...,
    resize: Literal["auto", "letterbox", "stretch"] = ...,
    probe: _Path | None = ...,
) -> Converted: ...
def convert_data(
    source: str | _Path,
    destination: _Path,
    *,
    to: Literal["coco", "voc", "yolo", "labelme", "cvat", "label-studio", "shards"],
    images: _Path | None = ...,
    follow_links: bool = ...,
    splits: Sequence[str] | None = ...,
    merge: Sequence[_Path] | None = ...,
    rename: Sequence[str] | None = ...,
    classes: Sequence[str] | None = ...,
    count: int = ...,
    split: str | None = ...,
    stratify: bool = ...,
    seed: int = ...,
    image_files: Literal["copy", "link"] = ...,
    boxes: str = ...,
    on_progress: Callable[[int, int], None] | None = ...,
) -> Copy: ...
def demo(
    *,
    output: _Path = ...,
    image_size: int = ...,
    epochs: int = ...,
    num_images: int = ...,
    held_out: int = ...,
    seed: int = ...,
) -> Demonstration: ...
def diagnose(
    weights: _Path,
    *,
    names: _Path | None = ...,
    data: _Path | None = ...,
    images: _Path | None = ...,
    follow_links: bool = ...,
    split: str = ...,
    train_split: str = ...,
    num_images: int = ...,
    output: _Path | None = ...,
    on_progress: Callable[[int, int], None] | None = ...,
) -> Diagnosed: ...
def doctor(*, bundle: _Path | None = ..., run: _Path | None = ...) -> Health: ...
def eval(
    *,
    devices: int | None = ...,
    nnodes: str | None = ...,
    node_rank: int | None = ...,
    rdzv_endpoint: str | None = ...,
    rank_timeout: float | None = ...,
    names: _Path | None = ...,
    iou_threshold: float | None = ...,
    max_detections: int | None = ...,
    multi_label: bool | None = ...,
    agnostic: bool | None = ...,
    device: str = ...,
    runtime: str = ...,
    weights: _Path | None = ...,
    data: _Path,
    images: _Path | None = ...,
    follow_links: bool = ...,
    split: str = ...,
    results: _Path | None = ...,
    against: _Path | None = ...,
    output: _Path | None = ...,
    iou: Sequence[float] = ...,
    resamples: int = ...,
    sheet_images: int = ...,
    store_thresholds: bool = ...,
    score_threshold: float | None = ...,
    image_size: int | str | None = ...,
    batch_size: int = ...,
    on_progress: Callable[[int, int], None] | None = ...,
) -> Evaluation: ...
def evaluate(
    *,
    devices: int | None = ...,
    nnodes: str | None = ...,
    node_rank: int | None = ...,
    rdzv_endpoint: str | None = ...,
    rank_timeout: float | None = ...,
    names: _Path | None = ...,
    iou_threshold: float | None = ...,
    max_detections: int | None = ...,
    multi_label: bool | None = ...,
    agnostic: bool | None = ...,
    device: str = ...,
    runtime: str = ...,
    weights: _Path | None = ...,
    data: _Path,
    images: _Path | None = ...,
    follow_links: bool = ...,
    split: str = ...,
    results: _Path | None = ...,
    against: _Path | None = ...,
    output: _Path | None = ...,
    iou: Sequence[float] = ...,
    resamples: int = ...,
    sheet_images: int = ...,
    store_thresholds: bool = ...,
    score_threshold: float | None = ...,
    image_size: int | str | None = ...,
    batch_size: int = ...,
    on_progress: Callable[[int, int], None] | None = ...,
) -> Evaluation: ...
def explain_assignment(
    data: _Path, *, sheet_images: int = ..., split: str | None = ..., output: _Path = ..., **flags: Any
) -> Explanation: ...
def export(
    weights: _Path | None = ...,
    *,
    names: _Path | None = ...,
    for_: str | None = ...,
    to: str = ...,
    outputs: str | None = ...,
    image_size: int | str | None = ...,
    batch: int = ...,
    dynamic_size: bool = ...,
    preprocess: bool = ...,
    opset: int | None = ...,
    precision: Literal["fp32", "fp16", "int8"] = ...,
    agnostic: bool | None = ...,
    calibration: _Path | None = ...,
    output: _Path | None = ...,
    file_name: str | None = ...,
    images: _Path | None = ...,
    overwrite: bool = ...,
    check: bool = ...,
    list_formats: bool = ...,
) -> Exports: ...
def info(
    weights: _Path | None = ...,
    *,
    names: _Path | None = ...,
    num_classes: int | None = ...,
    width: float | None = ...,
    image_size: int | str | None = ...,
    budget: bool = ...,
    int8_scales: str | None = ...,
    output: _Path | None = ...,
) -> Info: ...
def job(
    *,
    task: str | None = ...,
    data_url: str | None = ...,
    train_url: str | None = ...,
    checkpoint_url: str | None = ...,
    data_path: str | None = ...,
    output_path: str | None = ...,
    load_path: str | None = ...,
    data_dir: str | None = ...,
    pretrained: str | None = ...,
    names: str | None = ...,
    need_modelarts_dataset_unzip: str | None = ...,
    modelarts_dataset_unzip_name: str | None = ...,
    run: str | None = ...,
    split: str | None = ...,
    **flags: Any,
) -> JobResult: ...
def load(
    path: str | PathLike[str], *, names: str | PathLike[str] | None = ..., device: str = ..., runtime: str = ...
) -> LoadedDetector: ...
def manifest(
    platform: str, *, image: str, devices: int = ..., nnodes: str = ..., gpu: str = ..., **flags: Any
) -> Manifest: ...
def monitor(run: _Path, *more: _Path, output: _Path | None = ..., port: int = ...) -> _Path | None: ...
def page(
    weights: _Path | None = ...,
    *,
    names: _Path | None = ...,
    image_size: int | str | None = ...,
    title: str = ...,
    output: _Path = ...,
    overwrite: bool = ...,
    serve: bool = ...,
    port: int = ...,
) -> Page: ...
def predict(
    source: _Path,
    *,
    devices: int | None = ...,
    nnodes: str | None = ...,
    node_rank: int | None = ...,
    rdzv_endpoint: str | None = ...,
    rank_timeout: float | None = ...,
    names: _Path | None = ...,
    iou_threshold: float | None = ...,
    max_detections: int | None = ...,
    multi_label: bool | None = ...,
    agnostic: bool | None = ...,
    device: str = ...,
    runtime: str = ...,
    weights: _Path | None = ...,
    threshold: float | None = ...,
    output: _Path | None = ...,
    save: str = ...,
    as_labels: Literal["yolo", "coco", "voc", "labelme", "label-studio", "cvat"] | None = ...,
    classes: str | None = ...,
    tile: int | None = ...,
    tile_overlap: float = ...,
    track: bool = ...,
    limit: int | None = ...,
    follow_links: bool = ...,
    reconnect: int = ...,
    show: bool = ...,
    images: bool = ...,
) -> Predicted: ...
def pull(
    source: _Path | None = ..., output: _Path | None = ..., *, revision: str | None = ...
) -> Transferred | PublishedList: ...
def push(
    weights: _Path, to: str, *, names: _Path | None = ..., public: bool = ..., message: str = ...
) -> Transferred: ...
def report(
    run: _Path,
    *more: _Path,
    output: _Path | None = ...,
    evaluation: _Path | None = ...,
    weights: _Path | None = ...,
    predictions: _Path | None = ...,
    split: str = ...,
    num_images: int = ...,
    title: str = ...,
    score: bool = ...,
    on_progress: Callable[[int, int], None] | None = ...,
) -> Path: ...
def serve(
    weights: Sequence[_Path],
    *,
    model_names: str = ...,
    names: _Path | None = ...,
    device: str = ...,
    runtime: str = ...,
    host: str = ...,
    port: int = ...,
    insecure: bool = ...,
    allow_urls: str = ...,
    max_batch: int = ...,
    max_wait: float = ...,
    max_queue: int = ...,
    max_body: float = ...,
    max_pixels: float = ...,
    max_requests: int = ...,
    timeout: float = ...,
    zmq: str = ...,
    page: bool = ...,
    json_log: bool = ...,
) -> Served: ...
def train(
    *,
    data: _Path = ...,
    images: _Path | None = ...,
    follow_links: bool = ...,
    train_split: str = ...,
    val_split: str = ...,
    val_fraction: float = ...,
    image_size: int | Sequence[int] = ...,
    workers: Literal["auto"] | int = ...,
    max_boxes: int = ...,
    cache_mb: float = ...,
    check_images: bool = ...,
    on_bad_image: Literal["stop", "skip"] = ...,
    recipe: str = ...,
    runs: _Path = ...,
    name: str = ...,
    seed: int = ...,
    device: str = ...,
    devices: int = ...,
    nnodes: str = ...,
    node_rank: int = ...,
    rdzv_endpoint: str = ...,
    cpus_per_rank: int = ...,
    deterministic: bool = ...,
    rank_logs: str = ...,
    max_restarts: int = ...,
    rank_timeout: float = ...,
    resume: bool | _Path = ...,
    run: str = ...,
    log_interval: int = ...,
    eval_every: int = ...,
    save_every: int = ...,
    export_check: str = ...,
    save_steps: int = ...,
    save_on: Literal["main", "all"] = ...,
    keep: int = ...,
    best_metric: Literal["AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl"] = ...,
    patience: int = ...,
    time: str = ...,
    profile: bool = ...,
    tensorboard: bool = ...,
    page: bool = ...,
    width: float | Sequence[int] = ...,
    dialect: Literal["darknet", "mindspore", "ultralytics"] = ...,
    activation: Literal["auto", "leaky", "relu", "silu"] = ...,
    anchors: Literal["auto", "default"] | Sequence[Sequence[float]] = ...,
    masks: Sequence[Sequence[int]] = ...,
    batchnorm_eps: Literal["auto"] | float = ...,
    pool_edge: Literal["auto", "repeat", "zero", "none"] = ...,
    objectness_prior: Literal["auto"] | float = ...,
    weights: _Path | None = ...,
    names: _Path | None = ...,
    backbone_weights: _Path | None = ...,
    freeze_stages: int = ...,
    epochs: int = ...,
    start_epoch: int = ...,
    batch_size: int = ...,
    accumulate: int = ...,
    nominal_batch: int = ...,
    optimizer: Literal["sgd", "adamw"] = ...,
    lr: float = ...,
    schedule: Literal[
        "cosine",
        "linear",
        "constant",
        "exponential",
        "cosine_annealing",
        "cosine_annealing_V2",
        "cosine_annealing_sample",
    ] = ...,
    lr_floor: float = ...,
    lr_epochs: Sequence[float] = ...,
    lr_gamma: float = ...,
    t_max: int = ...,
    warmup_epochs: float = ...,
    momentum: float = ...,
    nesterov: bool = ...,
    weight_decay: float = ...,
    clip_norm: float = ...,
    ema_decay: Literal["auto"] | float = ...,
    precision: Literal["auto", "fp32", "bf16", "fp16"] = ...,
    loss_scale: float = ...,
    freeze_bn: bool = ...,
    sync_bn: bool = ...,
    on_nonfinite: Literal["stop", "skip"] = ...,
    assignment: Literal["best_anchors", "neighbours", "task_aligned"] = ...,
    assign_iou: float = ...,
    assign_top: int = ...,
    box_loss: Literal["giou", "diou", "ciou"] = ...,
    box_weight: float = ...,
    objectness_weight: float = ...,
    class_weight: float = ...,
    stride32_weight: float = ...,
    ignore_iou: float = ...,
    label_smoothing: float = ...,
    objectness_target: Literal["overlap", "one"] = ...,
    small_box_bonus: bool = ...,
    ignore_own_head_only: bool = ...,
    loss_per: Literal["object", "image"] = ...,
    scale_min: float = ...,
    scale_max: float = ...,
    aspect_jitter: float = ...,
    flip: float = ...,
    hue: float = ...,
    saturation: float = ...,
    brightness: float = ...,
    mosaic: float = ...,
    mixup: float = ...,
    close_mosaic: int = ...,
    multi_scale: Sequence[int] = ...,
    resize_every: int = ...,
    resize_mode: Literal["letterbox", "stretch"] = ...,
    normalize: Literal["unit", "imagenet"] | Sequence[Sequence[float]] = ...,
    iou_threshold: float = ...,
    score_threshold: float = ...,
    max_detections: int = ...,
    multi_label: bool = ...,
    agnostic: bool = ...,
    eval_batch_size: int = ...,
    **flags: Any,
) -> TrainResult: ...
def verify(
    files: Sequence[_Path],
    *,
    names: _Path | None = ...,
    data: _Path,
    images: _Path | None = ...,
    follow_links: bool = ...,
    split: str = ...,
    runtimes: str = ...,
    output: _Path | None = ...,
    store: bool = ...,
    on_progress: Callable[[int, int], None] | None = ...,
) -> Verification: ...
