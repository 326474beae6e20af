"""The size of the network input, as it is typed: `416`, or `416x224`, height x width."""

import re
from typing import Any

from lookonce.errors import SettingsError

STRIDE = 32
ImageSize = int | str | tuple[int, int]  # as it is given: a side, text, or (height, width)
LARGEST_SIDE = 16_384  # of a record, in every reader


def read_size(size: Any) -> Any:
    """A side in pixels if the input is square, else (height, width). ValueError unless multiples of 32.

    Text is `416`, `416x224` or `416,224`; a list or tuple is height and width.
    """
    sides = re.split(r"\s*[x,]\s*", size.strip().lower()) if isinstance(size, str) else size
    if not isinstance(sides, list | tuple):
        sides = [sides]
    try:
        numbers = [int(str(side)) for side in sides]
    except ValueError:
        raise ValueError(EXPECTED) from None
    if len(numbers) not in (1, 2):
        raise ValueError(EXPECTED)
    numbers = list(map(multiple_of_32, numbers))
    return numbers[0] if len(set(numbers)) == 1 else tuple(numbers)


EXPECTED = "expected a multiple of 32, such as 416, or height x width, such as 416x224"


def multiple_of_32(size: int) -> int:
    if size < STRIDE or size % STRIDE:
        below = max(size // STRIDE, 1) * STRIDE
        raise ValueError(f"expected a multiple of 32, the largest stride of the network: {below} or {below + STRIDE}")
    if size > LARGEST_SIDE:
        raise ValueError(f"expected at most {LARGEST_SIDE}")
    return size


def hw_of(size: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width of a size that has been read."""
    return (size, size) if isinstance(size, int) else size


def size_hw(image_size: ImageSize) -> tuple[int, int]:
    """Height and width of the option image_size of a verb; SettingsError unless multiples of 32."""
    try:
        return hw_of(read_size(image_size))
    except ValueError as error:
        raise SettingsError.of("image_size", image_size, f"{error}") from None


def sides_in_words(size_hw: tuple[int, int]) -> str:
    """`416x416`, or `416x224 (height x width)`: as it is typed, not as the sizes of images are written."""
    height, width = size_hw
    return f"{height}x{width}" + ("" if height == width else " (height x width)")


def size_in_words(size_hw: tuple[int, int]) -> str:
    """`416`, or `416x224` (height x width)."""
    height, width = size_hw
    return str(height) if height == width else f"{height}x{width}"
