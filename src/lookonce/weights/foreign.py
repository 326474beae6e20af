"""Options and result of the readers of other programs' weight files, and what these readers share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lookonce.errors import WeightsError
from lookonce.settings.image_size import ImageSize
from lookonce.settings.names import counted, few
from lookonce.settings.record import ModelRecord
from lookonce.storage import read_text_file

if TYPE_CHECKING:
    from torch import Tensor

Resize = Literal["auto", "letterbox", "stretch"]
Masks = Literal["auto", "cfg"] | tuple[int, ...]
MOST_CLASSES = 10_000
COCO_CLASSES = 80
# COCO's category ids of its 80 classes: 1 to 90 without the unused ones.
UNUSED_COCO_IDS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
COCO_IDS = tuple(number for number in range(1, 91) if number not in UNUSED_COCO_IDS)
COCO_NAMES = tuple(
    """person|bicycle|car|motorcycle|airplane|bus|train|truck|boat|traffic light|fire hydrant|stop sign|parking meter|
bench|bird|cat|dog|horse|sheep|cow|elephant|bear|zebra|giraffe|backpack|umbrella|handbag|tie|suitcase|frisbee|skis|
snowboard|sports ball|kite|baseball bat|baseball glove|skateboard|surfboard|tennis racket|bottle|wine glass|cup|fork|
knife|spoon|bowl|banana|apple|sandwich|orange|broccoli|carrot|hot dog|pizza|donut|cake|chair|couch|potted plant|bed|
dining table|toilet|tv|laptop|mouse|remote|keyboard|cell phone|microwave|oven|toaster|sink|refrigerator|book|clock|
vase|scissors|teddy bear|hair drier|toothbrush""".replace("\n", "").split("|")
)


# Darknet's coco.names uses PASCAL VOC's names for six classes.
VOC_WORDS = {
    "aeroplane": "airplane",
    "motorbike": "motorcycle",
    "sofa": "couch",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv",
}


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """Facts that a file of another program lacks, or has wrong.

    class_names: empty for the file's own. image_size: of the network input; None for the file's own.
    masks: anchors of the stride-16 head, see weights.darknet.
    """

    class_names: tuple[str, ...] = ()
    image_size: ImageSize | None = None
    resize: Resize = "auto"
    masks: Masks = "auto"


@dataclass(frozen=True, kw_only=True)
class ForeignWeights:
    """state: all arrays of the network, or of a backbone only (`is_backbone`). notes: for the user; assumed: facts
    that the file lacks; warnings: what may be wrong, or was corrected."""

    state: Mapping[str, Tensor]
    record: ModelRecord
    notes: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    is_backbone: bool = False


def read_names(path: Path) -> tuple[str, ...]:
    """Class names from a text file, one per line; empty lines are ignored."""
    try:
        lines = read_text_file(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError.at(
            path, f"cannot be read ({error}); expected UTF-8 text with one class name per line"
        ) from error
    names = tuple(line.strip() for line in lines if line.strip())
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise WeightsError.at(path, f"class name {twice!r} appears twice; expected distinct names")
    return names


def named_classes(num_classes: int, given: Sequence[str], source: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Class fields of the record, and what was assumed; WeightsError if their number is wrong."""
    if given and len(given) != num_classes:
        problem = f"{counted(num_classes, 'class')}, but {counted(len(given), 'class name')}"
        raise WeightsError.at(source, f"{problem}; expected one name for each class, in their order (--names FILE)")
    numbers = tuple(range(1, num_classes + 1))
    if num_classes == COCO_CLASSES and tuple(VOC_WORDS.get(name, name) for name in given) in {(), COCO_NAMES}:
        note = (
            ()
            if given
            else ("no class names given: the 80 classes are assumed to be COCO's; set others with --names FILE",)
        )
        return _classes(COCO_NAMES, COCO_IDS, known=bool(given)), note
    if given:
        return _classes(tuple(given), numbers, known=True), ()
    made_up = tuple(f"class {number}" for number in range(num_classes))
    note = (f"no class names given: using {made_up[0]!r} to {made_up[-1]!r}; set names with --names FILE",)
    return _classes(made_up, numbers, known=False), note


def _classes(names: tuple[str, ...], ids: tuple[int, ...], *, known: bool) -> dict[str, Any]:
    return {"class_names": names, "category_ids": ids, "names_known": known}


def require_all_used(left: Sequence[str], source: str) -> None:
    """WeightsError when arrays of a file are left over: the file belongs to another network."""
    if left:
        raise WeightsError.at(
            source, f"unknown arrays ({len(left)}): {few([*map(repr, left)], 10)}; expected weights of YOLOv3-Tiny"
        )


def num_classes_of(outputs: int, num_anchors: int, source: str) -> int:
    """Number of classes of a head with `outputs` channels: x, y, w, h, objectness and classes for each anchor."""
    classes, rest = divmod(outputs, num_anchors)
    if rest or not 1 <= classes - 5 <= MOST_CLASSES:
        raise WeightsError(
            f"{source}: a head has {outputs} outputs; expected {num_anchors} anchors * (5 + number of classes)"
        )
    return classes - 5
