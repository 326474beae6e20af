"""Types of settings: what a value must look like, and the words of the error if it does not."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from lookonce.errors import SettingsError
from lookonce.settings.image_size import multiple_of_32, read_size
from lookonce.settings.names import suggested_value
from lookonce.settings.record import FULL_CHANNELS

NUM_ANCHORS, NUM_HEADS = 6, 2
DEVICES = ("auto", "cpu", "cuda", "npu", "xpu", "mps")
SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


def named_path(path: Any) -> Any:
    """`./coco` or `coco/` -> the absolute path: Path("./coco") would be the same as the name `coco`. Else as given."""
    is_dressed = isinstance(path, str) and len(Path(path).parts) == 1 and str(Path(path)) != path
    return str(Path(path).absolute()) if is_dressed else path


def sides_of_squares(sizes: Any) -> Any:
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


def six_pairs(anchors: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    if len(anchors) != NUM_ANCHORS or min(min(pair) for pair in anchors) <= 0:
        raise ValueError(
            f"expected {NUM_ANCHORS} pairs of width and height above 0, smallest first, for example "
            "[[10,14], [23,27], [37,58], [81,82], [135,169], [344,319]]"
        )
    return anchors


def two_masks(masks: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    is_valid = len(masks) == NUM_HEADS and all(mask and set(mask) <= set(range(NUM_ANCHORS)) for mask in masks)
    if not is_valid or any(len(set(mask)) < len(mask) for mask in masks):
        raise ValueError(
            f"expected {NUM_HEADS} lists of different rows of anchors, 0..{NUM_ANCHORS - 1}, stride 32 first, for "
            "example [[3,4,5],[0,1,2]]"
        )
    return masks


def eleven_counts(channels: tuple[int, ...]) -> tuple[int, ...]:
    needed = [*channels[:7], *channels[9:]]  # layers 7 and 8 are optional: 0 omits them
    if len(channels) != len(FULL_CHANNELS) or min(needed) < 1 or min(channels) < 0:
        raise ValueError(
            f"expected a width multiplier, or {len(FULL_CHANNELS)} channel counts such as {list(FULL_CHANNELS)}"
        )
    return channels


def device_name(device: str) -> str:
    """In small letters, as PyTorch writes it."""
    name = device.lower()
    if re.fullmatch(r"auto|cpu|(cuda|npu|xpu|mps)(:\d+)?", name):
        return name
    kind, number = re.fullmatch(r"(.*?)[:.]?(\d*)", name, re.DOTALL).groups()  # type: ignore[union-attr]
    hint = suggested_value(kind or "cuda", DEVICES)
    numbered = hint.replace("?", f":{number}?") if number else hint
    raise ValueError(f"expected {', '.join(DEVICES)}, or one of several devices, such as cuda:1{numbered}")


def require_device(device: str) -> None:
    """SettingsError for what is no device of PyTorch on any machine."""
    try:
        device_name(device)
    except ValueError as error:
        raise SettingsError.of("device", device, str(error)) from None


def folder_name(name: str) -> str:
    if not re.fullmatch(r"[^/\\.\s\0][^/\\\0]*", name):
        raise ValueError(
            "expected a folder name without '/' and not starting with '.'; set the parent folder with runs"
        )
    return name


def checked_duration(text: Any) -> str:
    """Validated but not converted: settings.yaml keeps the text that was typed."""
    seconds_of(str(text))
    return str(text)


def seconds_of(duration: str) -> float:
    """Duration in seconds: "1h30m" -> 5400; "" -> 0."""
    part = r"\s*(\d+\.?\d*|\.\d+)\s*([dhms])\s*"
    if re.fullmatch(rf"\s*({part})*", duration.lower()) is None:
        raise ValueError("expected a duration with units, such as 30m, 8h, 1h30m or 90s")
    return sum(float(number) * SECONDS[unit] for number, unit in re.findall(part, duration.lower()))


def run_name(name: str) -> str:
    return folder_name(name) if name else name


def image_for_picture(word: Any) -> Any:
    """Older settings.yaml files spell "image" as "picture"."""
    return "image" if word == "picture" else word


def num_nodes(text: str) -> str:
    least, colon, most = text.partition(":")
    if not re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", text) or (colon and int(least) > int(most)):
        raise ValueError("expected a whole number of at least 1, or a range MIN:MAX such as 2:4")
    return text


ImageSize = Annotated[int, AfterValidator(multiple_of_32)]
ImageSizeHW = Annotated[int | tuple[int, int], BeforeValidator(read_size)]
ImageSizes = Annotated[tuple[ImageSize, ...], BeforeValidator(sides_of_squares)]
Anchors = Annotated[tuple[tuple[float, float], ...], AfterValidator(six_pairs)]
Masks = Annotated[tuple[tuple[int, ...], ...], AfterValidator(two_masks)]
Three = tuple[float, float, float]
Channels = Annotated[tuple[int, ...], AfterValidator(eleven_counts)]
Duration = Annotated[str, BeforeValidator(checked_duration)]
DeviceName = Annotated[str, AfterValidator(device_name)]
FolderName = Annotated[str, AfterValidator(folder_name)]
RunName = Annotated[str, AfterValidator(run_name)]
NumNodes = Annotated[str, BeforeValidator(str), AfterValidator(num_nodes)]
LossPer = Annotated[Literal["object", "image"], BeforeValidator(image_for_picture)]
Factor = Annotated[float, Field(gt=0, le=4)]
Epsilon = Annotated[float, Field(gt=0, lt=1)]
Prior = Annotated[float, Field(gt=0, lt=1)]
Decay = Annotated[float, Field(ge=0, lt=1)]
AtLeastOne = Annotated[int, Field(ge=1)]
WeightsPath = Annotated[Path | None, BeforeValidator(named_path)]
Workers = Annotated[int, Field(ge=0, le=256)]
