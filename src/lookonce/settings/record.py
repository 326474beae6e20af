"""The model record: classes, anchors, preprocessing, thresholds; also the default of `predict --threshold`.

Stored in every checkpoint and exported file.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lookonce.settings.dialects import Dialect
from lookonce.settings.image_size import LARGEST_SIDE

MODEL_FILE = "model.safetensors"  # of a checkpoint folder, beside the record
# Output channels of convolutions 0..6 of the backbone, 7 the 1x1 neck, 8 before the stride-32 head, 9 the lateral 1x1,
# 10 before the stride-16 head, numbered as in yolov3-tiny.cfg and in the model zoo. Slim variants omit 7 and 8 (0);
# yolov3-tiny_3l.cfg adds 11, the lateral 1x1 to stride 8, and 12 before the third head.
FULL_CHANNELS = (16, 32, 64, 128, 256, 512, 1024, 256, 512, 128, 256)
# yolov3-tiny.cfg: (width, height) in pixels of the network input in training.
DEFAULT_ANCHORS = ((10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319))


# Ranges of a record's numbers, the same in cpp/src/record.cc (tests/record_cases.json): far above any detector, small
# enough that no product of them overflows.
MOST_CLASSES, MOST_ANCHORS, MOST_HEADS = 100_000, 1_000, 16
Side = Annotated[int, Field(ge=1, le=LARGEST_SIDE)]
Stride = Annotated[int, Field(ge=1, le=1_024)]
Channels = Annotated[int, Field(ge=0, le=65_536)]
Pixels = Annotated[float, Field(ge=1e-3, le=1e6)]
Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Mean = Annotated[float, Field(ge=-1e3, le=1e3)]
Std = Annotated[float, Field(ge=1e-6, le=1e6)]
Score = Annotated[float, Field(ge=0, le=1)]


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
    mean: tuple[Mean, Mean, Mean] = (0.0, 0.0, 0.0)
    std: tuple[Std, Std, Std] = (1.0, 1.0, 1.0)


class Thresholds(BaseModel):
    """Thresholds of NMS. score: confidence threshold of predict; evaluation_score: that of evaluation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    score: Score = 0.25
    evaluation_score: float = Field(default=0.001, ge=0, lt=1)  # COCO's metric uses the whole curve
    iou: float = Field(default=0.5, gt=0, le=1)
    max_detections: int = Field(default=300, ge=1, lt=2**31)
    multi_label: bool = True  # False: only the best class of a box is a candidate
    agnostic: bool = False  # True: class-agnostic NMS
    per_class_score: dict[str, Score] = {}

    def selection(self, multi_label: bool | None, agnostic: bool | None) -> dict[str, bool]:
        """The options of NMS that are not numbers; None stands for the value of the weights."""
        return {
            "multi_label": self.multi_label if multi_label is None else multi_label,
            "agnostic": self.agnostic if agnostic is None else agnostic,
        }


class ModelRecord(BaseModel):
    """Description of one detector. Serialised as JSON beside a checkpoint and inside every exported file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = Field(default=1, ge=1, le=1)
    dialect: Dialect
    channels: tuple[Channels, ...] = FULL_CHANNELS
    class_names: tuple[str, ...]
    names_known: bool = True  # False: the source file had no names; they are numbers, or COCO's by count
    category_ids: tuple[Int64, ...]  # the data set's id of each class, for COCO results
    strides: tuple[Stride, ...] = (32, 16)  # of the heads, in the order of the network outputs
    anchors: tuple[tuple[Pixels, Pixels], ...] = DEFAULT_ANCHORS  # (width, height) in pixels of the network input
    masks: tuple[tuple[int, ...], ...] = ((3, 4, 5), (0, 1, 2))  # rows of `anchors` for each head
    image_size: tuple[Side, Side] = (416, 416)  # (height, width) of the network input, multiples of 32
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


# What a stored record must say; the rest is younger than the first files, or only described.
_REQUIRED = {
    "": {"format_version", "channels", "strides", "anchors", "masks", "image_size", "preprocessing", "thresholds"},
    "preprocessing": set(Preprocessing.model_fields),
    "thresholds": {"score", "iou", "max_detections", "per_class_score"},
}


def parse_record(text: str | bytes, *, can_be_backbone: bool = False) -> ModelRecord:
    """A stored record: every value of its own type and in range, and all of them consistent with each other.

    ValueError with the place in the record, the value and what is expected. cpp/src/record.cc gives the same verdict.
    can_be_backbone: without classes it describes a backbone, which only a checkpoint holds.
    """
    try:
        record = ModelRecord.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise ValueError(problem_of(error)) from error
    require_consistent(record, can_be_backbone=can_be_backbone)
    return record


def problem_of(error: ValueError) -> str:
    """The words of an error; of pydantic's `anchors.0.0: 0.0001; Input should be ...`: the first place in the record,
    the value and what is expected."""
    if not isinstance(error, ValidationError):
        return str(error)
    problem = error.errors(include_url=False)[0]
    value = "" if problem["type"] in {"missing", "json_invalid"} else f"{repr(problem['input'])[:60]}; "
    where = ".".join(map(str, problem["loc"])) or "the record"
    return f"{where}: {value}{problem['msg']}"


def require_consistent(record: ModelRecord, *, can_be_backbone: bool = False) -> None:
    """ValueError if a part is missing that other programs cannot do without, or parts contradict each other."""
    for place, required in _REQUIRED.items():
        part = getattr(record, place) if place else record
        if missing := sorted(required - part.model_fields_set):
            raise ValueError(f"{place}{'.' if place else ''}{missing[0]}: is missing")
    counts = {
        "class_names": (record.num_classes, range(0 if can_be_backbone else 1, MOST_CLASSES + 1)),
        "category_ids": (len(record.category_ids), range(record.num_classes, record.num_classes + 1)),
        "strides": (len(record.strides), range(1, MOST_HEADS + 1)),
        "anchors": (len(record.anchors), range(1, MOST_ANCHORS + 1)),
        "masks": (len(record.masks), range(len(record.strides), len(record.strides) + 1)),
        **{f"masks.{head}": (len(mask), range(1, MOST_ANCHORS + 1)) for head, mask in enumerate(record.masks)},
    }
    for name, (count, wanted) in counts.items():
        if count not in wanted:
            limits = str(wanted[0]) if len(wanted) == 1 else f"{wanted[0]} to {wanted[-1]}"
            raise ValueError(f"{name}: {count} values; expected {limits}")
    scales = record.dialect.center_scales
    for head, (stride, mask) in enumerate(zip(record.strides, record.masks, strict=True)):
        if any(side % stride for side in record.image_size) or record.strides.count(stride) > 1:
            raise ValueError(f"strides.{head}: {stride}; expected another for each head, which divides image_size")
        if stride not in scales:
            raise ValueError(f"dialect.center_scales: {scales}; expected a value for stride {stride}")
        for row in mask:
            if row not in range(len(record.anchors)):
                raise ValueError(f"masks.{head}: {row}; expected a row of the {len(record.anchors)} anchors, from 0")
