"""The model record: classes, anchors, thresholds, preprocessing; stored in every checkpoint and exported file."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lookonce.settings.dialects import Dialect

# Output channels of convolutions 0..6 of the backbone, 7 the 1x1 neck, 8 before the stride-32 head, 9 the lateral 1x1,
# 10 before the stride-16 head, numbered as in yolov3-tiny.cfg and in the model zoo. Slim variants omit 7 and 8 (0);
# yolov3-tiny_3l.cfg adds 11, the lateral 1x1 to stride 8, and 12 before the third head.
FULL_CHANNELS = (16, 32, 64, 128, 256, 512, 1024, 256, 512, 128, 256)
# yolov3-tiny.cfg: (width, height) in pixels of the network input in training.
DEFAULT_ANCHORS = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))


def scaled_channels(width: float | Sequence[int]) -> tuple[int, ...]:
    """width * FULL_CHANNELS, each count a multiple of 4 and at least 4; or `width` itself if it is a list."""
    if isinstance(width, (int, float)):
        return tuple(max(4, 4 * round(count * width / 4)) for count in FULL_CHANNELS)
    return tuple(width)


class Preprocessing(BaseModel):
    """Image (uint8 RGB) -> network input: resize, then (pixel / 255 - mean) / std per channel, NCHW float32."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resize: Literal["letterbox", "stretch"] = "letterbox"
    pad_value: int = Field(default=114, ge=0, le=255)
    interpolation: Literal["linear", "area", "nearest", "cubic"] = "linear"
    color_order: Literal["RGB", "BGR"] = "RGB"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


class Thresholds(BaseModel):
    """Thresholds of NMS. score: confidence threshold of predict; evaluation_score: that of evaluation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    score: float = Field(default=0.25, ge=0, le=1)
    evaluation_score: float = Field(default=0.001, ge=0, lt=1)  # COCO's metric uses the whole curve
    iou: float = Field(default=0.5, gt=0, le=1)
    max_detections: int = Field(default=300, ge=1)
    multi_label: bool = True  # False: only the best class of a box is a candidate
    agnostic: bool = False  # True: class-agnostic NMS
    per_class_score: dict[str, float] = {}


class ModelRecord(BaseModel):
    """Description of one detector. Serialised as JSON beside a checkpoint and inside every exported file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = 1
    dialect: Dialect
    channels: tuple[int, ...] = FULL_CHANNELS
    class_names: tuple[str, ...]
    names_known: bool = True  # False: the source file had no names; they are numbers, or COCO's by count
    category_ids: tuple[int, ...]  # the data set's id of each class, for COCO results
    strides: tuple[int, ...] = (32, 16)  # of the heads, in the order of the network outputs
    anchors: tuple[tuple[float, float], ...] = DEFAULT_ANCHORS  # (width, height) in pixels of the network input
    masks: tuple[tuple[int, ...], ...] = ((3, 4, 5), (0, 1, 2))  # rows of `anchors` for each head
    image_size: tuple[int, int] = (416, 416)  # (height, width) of the network input, multiples of 32
    preprocessing: Preprocessing = Preprocessing()
    thresholds: Thresholds = Thresholds()
    precision: Literal["fp32", "fp16", "int8"] = "fp32"  # of the weights in the file
    settings: dict[str, Any] = {}  # of the training run
    data_hash: str = ""  # SHA-256 over the training annotations
    versions: dict[str, str] = {}
    metrics: dict[str, float] = {}

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def rows_among(self, class_names: Sequence[str]) -> dict[int, int]:
        """Class index of this network -> index of the same name in `class_names`, for the names in both.

        If the names are not known and the numbers of classes agree, classes are matched by index, unless a common name
        has another index.
        """
        places = {name: place for place, name in enumerate(class_names)}
        rows = {row: places[name] for row, name in enumerate(self.class_names) if name in places}
        in_order = len(class_names) == self.num_classes and all(row == place for row, place in rows.items())
        return {row: row for row in range(self.num_classes)} if in_order and not self.names_known else rows

    def head_anchors(self, head: int) -> tuple[tuple[float, float], ...]:
        """Anchors (width, height) in pixels of head 0 (stride 32), 1 (stride 16) or 2 (stride 8)."""
        return tuple(self.anchors[row] for row in self.masks[head])
