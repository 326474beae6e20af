"""What the readers of all other programs' files are told, and what they give back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from lookonce.config.record import ModelRecord
from lookonce.errors import SettingsError, WeightsError

Resize = Literal["auto", "letterbox", "stretch"]
Masks = Literal["auto", "cfg"] | tuple[int, ...]
LARGEST_STRIDE = 32
MOST_CLASSES = 10_000
COCO_CLASSES = 80
# COCO's own ids of its 80 classes: 1 to 90 without those that it never used.
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


# coco.names of Darknet calls six of them as PASCAL VOC does.
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
    """What a file of another program does not say, or says wrongly.

    class_names: empty where none are given. image_size: side of the input in pixels, None for the file's own.
    masks: which anchors the stride-16 head uses, see weights.darknet.
    """

    class_names: tuple[str, ...] = ()
    image_size: int | None = None
    resize: Resize = "auto"
    masks: Masks = "auto"


@dataclass(frozen=True, kw_only=True)
class ForeignWeights:
    """state: every array of the network, or those of a backbone alone (`is_backbone`). notes: for the user to read;
    assumed: what the file does not say; warnings: what may be wrong, or was put right."""

    state: Mapping[str, Tensor]
    record: ModelRecord
    notes: tuple[str, ...] = ()
    assumed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    is_backbone: bool = False


def read_names(path: Path) -> tuple[str, ...]:
    """One name a line, empty lines left out."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(
            f"{path}: cannot be read as a list of class names, one a line ({error})", path=path
        ) from error
    names = tuple(line.strip() for line in lines if line.strip())
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise WeightsError(f"{path}: {twice!r} is there twice; every class needs a name of its own", path=path)
    return names


def named_classes(num_classes: int, given: Sequence[str], source: str) -> tuple[dict[str, Any], tuple[str, ...]]:
    """What the record says of the classes, and what was assumed; names given must be as many as the classes."""
    if given and len(given) != num_classes:
        raise WeightsError(
            f"{source}: has {num_classes} classes, {len(given)} names were given; is it another list?", path=source
        )
    numbers = tuple(range(1, num_classes + 1))
    if num_classes == COCO_CLASSES and tuple(VOC_WORDS.get(name, name) for name in given) in {(), COCO_NAMES}:
        note = () if given else ("no names given: 80 classes are taken for COCO's; --names FILE names others",)
        return _classes(COCO_NAMES, COCO_IDS, known=bool(given)), note
    if given:
        return _classes(tuple(given), numbers, known=True), ()
    made_up = tuple(f"class {number}" for number in range(num_classes))
    note = (f"no names given: classes are called {made_up[0]} to {made_up[-1]}; --names FILE names them",)
    return _classes(made_up, numbers, known=False), note


def _classes(names: tuple[str, ...], ids: tuple[int, ...], *, known: bool) -> dict[str, Any]:
    return {"class_names": names, "category_ids": ids, "names_known": known}


def square_size(size: int) -> tuple[int, int]:
    """Height and width of a square input; SettingsError unless the network can halve it five times."""
    if size < LARGEST_STRIDE or size % LARGEST_STRIDE:
        raise SettingsError(
            f"image_size is {size}, expected a multiple of {LARGEST_STRIDE}, for example 416",
            setting="image_size",
            value=size,
        )
    return size, size


def require_all_used(left: Sequence[str], source: str) -> None:
    """Every array of a file has its place in the network, or the file is of another one."""
    if left:
        shown = ", ".join(repr(name) for name in left[:10]) + (f" and {len(left) - 10} more" if len(left) > 10 else "")
        raise WeightsError(
            f"{source}: {len(left)} arrays have no place in YOLOv3-Tiny: {shown}; is it another network?",
            path=source,
        )


def num_classes_of(outputs: int, num_anchors: int, source: str) -> int:
    """Of a head with so many outputs: for each anchor x, y, w, h, objectness and the classes."""
    classes, rest = divmod(outputs, num_anchors)
    if rest or not 1 <= classes - 5 <= MOST_CLASSES:
        raise WeightsError(
            f"{source}: a head has {outputs} outputs, expected {num_anchors} anchors times (5 + number of classes)"
        )
    return classes - 5
