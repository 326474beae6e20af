"""Images that Python programs have in memory: arrays, tensors, PIL images and encoded bytes -> (H, W, 3) uint8 RGB."""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookonce.data.decoders import on_white, pixels_of, to_eight_bit
from lookonce.data.images import read_image
from lookonce.errors import DataError
from lookonce.prediction.media import ImageSource, Media
from lookonce.prediction.sources import find_media, unique_places

EXPECTED = (
    "expected a path, a URL, a folder, bytes, an open file, a PIL image, an array (H, W), (H, W, 3) or (H, W, 4), a "
    "tensor (3, H, W), or a list of these"
)


def media_of(source: Any, *, bgr: bool = False, follow_links: bool = False) -> Media:
    """The images of a SOURCE of Python: what `find_media` takes, images in memory, or a list of both.

    bgr: the arrays have OpenCV's order of channels. follow_links: as in `find_media`. DataError names what was given
    and what is expected.
    """
    if isinstance(source, str | os.PathLike):
        return find_media(os.fspath(source), follow_links=follow_links)
    entries = list(_entries(source, bgr, follow_links))
    if not entries:
        raise DataError(f"no images in an empty {type(source).__name__}; {EXPECTED}")
    places = unique_places([entry.place for entry in entries])
    entries = [replace(entry, place=place) for entry, place in zip(entries, places, strict=True)]
    return Media(entries=entries, total=len(entries))


def each_image(source: Any) -> Sequence[Any]:
    """The images of a list, a tuple, a generator or a batch (four axes); anything else is one image."""
    is_batch = isinstance(source, list | tuple | deque) or int(getattr(source, "ndim", 0)) == 4
    if is_batch or (isinstance(source, Iterator) and not hasattr(source, "read")):
        return list(source)
    return [source]


def _entries(source: Any, bgr: bool, follow_links: bool) -> Iterator[ImageSource]:
    for number, one in enumerate(each_image(source), start=1):
        if isinstance(one, str | os.PathLike):
            media = find_media(os.fspath(one), follow_links=follow_links)
            if not media.is_finite:
                raise DataError(f"{one}: is a video, a stream or a manifest; expected images; predict it by itself")
            yield from media.images()
        else:
            name = f"image {number}"
            image = as_image(one, bgr=bgr, name=name)
            yield ImageSource(name=name, place=Path(f"image-{number}.png"), pixels=partial(np.asarray, image))


def as_image(value: Any, *, bgr: bool = False, name: str = "image") -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of one image in memory. Alpha is composited on white, as in image files.

    array: (H, W) or (H, W, 1) grey, (H, W, 3) RGB, (H, W, 4) RGBA; uint8 0..255, uint16 0..65535, bool, or float 0..1.
    tensor: (1, H, W), (3, H, W) or (4, H, W), with the same values. bytes, or a file opened for reading bytes: an
    encoded image. bgr: the array's order of channels is OpenCV's. DataError: another type, shape or range, and NaN.
    """
    if hasattr(value, "read"):
        value = value.read()
    if isinstance(value, bytes | bytearray | memoryview):
        return read_image(bytes(value), name=name)
    if isinstance(value, Image.Image):
        return pixels_of(value, name, turns=True)
    pixels = _as_bytes(_channels_last(value, name), name)
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    if bgr:
        pixels = pixels[..., [2, 1, 0, 3][: pixels.shape[2]]]
    return np.ascontiguousarray(pixels) if pixels.shape[2] == 3 else on_white(Image.fromarray(pixels))


def _channels_last(value: Any, name: str) -> NDArray[Any]:
    """An array or tensor of one image as (H, W, C), C 1, 3 or 4."""
    is_tensor = hasattr(value, "detach")  # torch's, without importing torch
    pixels: Any = value
    if is_tensor:
        on_cpu = value.detach().cpu()
        pixels = (on_cpu.float() if on_cpu.is_floating_point() else on_cpu).numpy()  # NumPy has no bfloat16
    if not isinstance(pixels, np.ndarray):
        raise DataError(f"{name}: {type(value).__name__}; {EXPECTED}")
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    elif is_tensor and pixels.ndim == 3:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim != 3 or pixels.shape[2] not in {1, 3, 4} or 0 in pixels.shape:
        kind, turned = ("a tensor", "permute(2, 0, 1)") if is_tensor else ("an array", "transpose(1, 2, 0)")
        channels = value.shape[-1 if is_tensor else 0]
        other_order = f"; give it as .{turned}" if value.ndim == 3 and channels in {1, 3, 4} else f"; {EXPECTED}"
        raise DataError(f"{name}: {kind} of shape {tuple(value.shape)}{other_order}", value=tuple(value.shape))
    return cast("NDArray[Any]", pixels)


def _as_bytes(value: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if value.dtype == np.uint16 and 0 < value.max() <= 255:  # black, if they were 16-bit values
        problem = f"uint16 values from 0 to {value.max()}; expected 0..65535, or convert them to uint8 0..255"
        raise DataError(f"{name}: {problem}", value=int(value.max()))
    if value.dtype in (np.uint8, np.uint16):
        return to_eight_bit(value)
    if value.dtype == np.bool_:
        return value.astype(np.uint8) * np.uint8(255)
    if not np.issubdtype(value.dtype, np.floating):
        problem = f"{name}: {value.dtype} values; expected uint8 0..255, uint16, or float 0..1"
        raise DataError(problem, value=value.dtype)
    low, high = float(value.min()), float(value.max())
    if not 0 <= low <= high <= 1:  # also false for NaN
        problem = f"{value.dtype} values from {low:g} to {high:g}; expected 0..1, or convert them to uint8 0..255"
        raise DataError(f"{name}: {problem}", value=high)
    return np.asarray(np.rint(value * 255), np.uint8)
