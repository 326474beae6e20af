"""Options of every verb with a detector, and their help: --iou-threshold, --max-detections, --device, --runtime ..."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lookonce.errors import require_fraction, require_setting
from lookonce.on_ranks import RanksRequest
from lookonce.request import Listed
from lookonce.settings.image_size import size_hw


@dataclass(frozen=True, kw_only=True)
class DetectorRequest(RanksRequest):
    """Options of a detector.

    Parameters
    ----------
    names
        Text file of class names, one per line, for a .ckpt or .weights without names.
    iou_threshold
        IoU threshold of non-maximum suppression (NMS), 0 to 1. Default: the value stored with the weights.
    max_detections
        Maximum detections per image, 1 or more. Default: the value stored with the weights.
    multi_label
        true: a box may have several classes; false: only its best. Default: the value stored with the weights.
    image_size
        Size of the network's input in pixels: 416, or height x width such as 416x224; multiples of 32. For
        checkpoints, and files exported with --dynamic-size. Default: the size it was trained at, or exported for.
    agnostic
        Class-agnostic NMS: a box is removed by a better one of any class. Default: the value stored with the weights.
    device
        Device. Checkpoint: auto, cpu, cuda, cuda:1, npu, xpu, mps. ONNX Runtime: cpu, or cuda, tensorrt, openvino,
        coreml, directml, npu if installed. OpenVINO: cpu, gpu, gpu.1, npu. Other exported files: cpu. auto for
        exported files: cpu.
    runtime
        Runtime: auto for the file's own, or one that reads it: onnxruntime, openvino, opencv ...
    """

    names: Path | None = None
    iou_threshold: float | None = None
    max_detections: int | None = None
    multi_label: bool | None = None
    agnostic: bool | None = None
    image_size: int | Listed | None = None
    device: str = "auto"
    runtime: str = "auto"

    @property
    def selection(self) -> dict[str, Any]:
        """The options of NMS, as `Detector` takes them; None for the value stored with the weights."""
        names = ("iou_threshold", "max_detections", "multi_label", "agnostic")
        return {name: getattr(self, name) for name in names}

    @property
    def opening(self) -> dict[str, Any]:
        """The options of `load_runtime`."""
        return {name: getattr(self, name) for name in ("names", "device", "runtime", "image_size")}

    def __post_init__(self) -> None:
        require_fraction("iou_threshold", self.iou_threshold)
        require_setting("max_detections", self.max_detections, lambda number: number >= 1, "at least 1")
        if self.image_size is not None:
            size_hw(self.image_size)
