"""The model card record: everything that is needed to use a set of weights, carried inside every file of them."""

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from lookonce.config.dialects import Dialect

# Convolutions 0..6 of the backbone, 7 the 1x1 neck, 8 before the stride-32 head, 9 the lateral 1x1, 10 before the
# stride-16 head; the numbering and the counts are those of yolov3-tiny.cfg and of the model zoo. Slim variants leave 7
# and 8 out (0); yolov3-tiny_3l.cfg adds 11, the lateral 1x1 to stride 8, and 12 before the third head.
FULL_CHANNELS = (16, 32, 64, 128, 256, 512, 1024, 256, 512, 128, 256)
# yolov3-tiny.cfg: pixels at the size the network was trained at.
DEFAULT_ANCHORS = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))


class Preprocessing(BaseModel):
    """Picture (uint8 RGB) -> network input: resize, then (pixel / 255 - mean) / std per channel, NCHW float32."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    resize: Literal["letterbox", "stretch"] = "letterbox"
    pad_value: int = Field(default=114, ge=0, le=255)
    interpolation: Literal["linear", "area", "nearest", "cubic"] = "linear"
    color_order: Literal["RGB", "BGR"] = "RGB"
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)


class Thresholds(BaseModel):
    """What turns decoded boxes into detections: shown from `score` on, evaluated from `evaluation_score` on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    score: float = Field(default=0.25, ge=0, le=1)
    evaluation_score: float = Field(default=0.001, ge=0, lt=1)  # COCO's metric looks at the whole curve
    iou: float = Field(default=0.5, gt=0, le=1)
    max_detections: int = Field(default=300, ge=1)
    multi_label: bool = True  # False: a box is a candidate for its best class alone
    per_class_score: dict[str, float] = {}


class ModelRecord(BaseModel):
    """One detector, described. Serialised as JSON beside a checkpoint and inside every exported file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = 1
    dialect: Dialect
    channels: tuple[int, ...] = FULL_CHANNELS
    class_names: tuple[str, ...]
    names_known: bool = True  # False: numbered, or taken for COCO's, as another program's file had none
    category_ids: tuple[int, ...]  # the data set's own id of each class, for COCO results
    strides: tuple[int, ...] = (32, 16)  # of the heads, in the order of the network's outputs
    anchors: tuple[tuple[float, float], ...] = DEFAULT_ANCHORS  # (width, height) pixels of the network's input
    masks: tuple[tuple[int, ...], ...] = ((3, 4, 5), (0, 1, 2))  # rows of `anchors` for each head
    image_size: tuple[int, int] = (416, 416)  # height, width of the network's input, multiples of 32
    preprocessing: Preprocessing = Preprocessing()
    thresholds: Thresholds = Thresholds()
    precision: Literal["fp32", "fp16", "int8"] = "fp32"  # of the weights in the file
    settings: dict[str, Any] = {}  # as trained
    data_hash: str = ""  # SHA-256 over the training annotations
    versions: dict[str, str] = {}
    metrics: dict[str, float] = {}

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def rows_among(self, class_names: Sequence[str]) -> dict[int, int]:
        """Class of this network -> the class of that name among others, for those that are there.

        Where the names are not known, as many classes are the same ones in the same order, unless names that do fit
        stand in another order.
        """
        places = {name: place for place, name in enumerate(class_names)}
        rows = {row: places[name] for row, name in enumerate(self.class_names) if name in places}
        in_order = len(class_names) == self.num_classes and all(row == place for row, place in rows.items())
        return {row: row for row in range(self.num_classes)} if in_order and not self.names_known else rows

    def head_anchors(self, head: int) -> tuple[tuple[float, float], ...]:
        """(width, height) pixels of the anchors of head 0 (stride 32), 1 (stride 16) or 2 (stride 8)."""
        return tuple(self.anchors[row] for row in self.masks[head])
