"""Picture files -> upright 8-bit RGB arrays, the same on every machine; anything else is an error that names the file.

The header is read first (Pillow: kind, size, orientation), so that a bomb or a stranger costs nothing; then OpenCV
decodes what it decodes fastest and rightly, Pillow the rest:

    8-bit JPEG, PNG, WebP in grey or RGB        OpenCV
    16 bits a channel (PNG, grey TIFF)          the full range 0..65535 goes to 0..255, nothing is clipped
    CMYK, palette, 1-bit, BMP, GIF, TIFF, PNM   Pillow
    alpha                                       laid on white, as most viewers show it; opaque pixels stay as they are
    animated                                    the first frame
    EXIF orientation                            applied, once

A JPEG, PNG or WebP file that ends early is an error, not a picture with a grey half.
"""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from lookonce.data.shards import is_in_shard, read_file, read_from_shard
from lookonce.errors import DataError

ImageArray = NDArray[np.uint8]

# Decoded this is half a gigabyte; Pillow's own limit for a decompression bomb is the same number.
MAX_PIXELS = 178_956_970
# Of each kind, the usual one first.
SUFFIXES: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jfif"),
    "PNG": (".png",),
    "WebP": (".webp",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "PNM": (".pnm", ".pbm", ".pgm", ".ppm"),
}
IMAGE_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
_ORIENTATION_TAG = 0x0112  # EXIF 2.32, table 4
_SWAPS_SIDES = frozenset({5, 6, 7, 8})  # then these, in this order:
_FLIPS_ROWS = frozenset({3, 4, 7, 8})
_FLIPS_COLUMNS = frozenset({2, 3, 6, 7})

# Opened class by class and not by `Image.open`: other readers (EPS runs a program) stay out of reach, and Pillow's own
# bomb warning, which is a process-wide setting, does not fire before our limit.
_OPENERS: tuple[tuple[str, tuple[bytes, ...], Callable[..., ImageFile.ImageFile]], ...] = (
    ("JPEG", (b"\xff\xd8\xff",), JpegImagePlugin.JpegImageFile),
    ("PNG", (b"\x89PNG\r\n\x1a\n",), PngImagePlugin.PngImageFile),
    ("WebP", (b"RIFF",), WebPImagePlugin.WebPImageFile),
    ("BMP", (b"BM",), BmpImagePlugin.BmpImageFile),
    ("GIF", (b"GIF87a", b"GIF89a"), GifImagePlugin.GifImageFile),
    ("TIFF", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), TiffImagePlugin.TiffImageFile),
    ("PNM", tuple(b"P%d" % kind for kind in range(1, 7)), PpmImagePlugin.PpmImageFile),
)
# What Pillow's readers have been seen to raise on damaged bytes.
_DAMAGE = (
    *(OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, AttributeError, OverflowError),
    *(struct.error, zlib.error, Image.DecompressionBombError),  # a GIF's frame has a size of its own
)


class TruncatedImage(DataError):
    """A picture file whose end is missing."""


@dataclass(frozen=True, kw_only=True)
class ImageHeader:
    """What the first bytes of a picture file say. `size_wh` is upright; `orientation` 1..8 is still to be applied."""

    kind: str
    size_wh: tuple[int, int]
    stored_wh: tuple[int, int]
    orientation: int


def read_image(source: Path | bytes, *, name: str | None = None) -> ImageArray:
    """A picture file, or its bytes -> (H, W, 3) uint8 RGB, upright, contiguous, writable.

    `name` is what errors call the picture. DataError: missing, empty, no picture, truncated, over MAX_PIXELS pixels.
    """
    name = name or (str(source) if isinstance(source, Path) else "picture")
    data = _read_bytes(source) if isinstance(source, Path) else source
    file = io.BytesIO(data)
    opened, header = _open(file, name)
    _refuse_truncated(data, header.kind, file.tell(), name)
    if _suits_opencv(opened, header.kind):
        image = _imdecode(data, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION, name)
    else:
        image = _decode_with_pillow(data, opened, name)
    image = _turn_upright(image, header.orientation)
    if image.shape[1::-1] != header.size_wh:
        raise DataError(
            f"{name}: decodes to {image.shape[1]}x{image.shape[0]}, but its header says {_wh(header)}", path=name
        )
    return image


def require_size(image: ImageArray, path: Path, size_wh: tuple[int, int]) -> None:
    """DataError unless a decoded picture has the upright size that its annotation gives; boxes would lie elsewhere."""
    height, width = image.shape[:2]
    if (width, height) != size_wh:
        turned = "; was it annotated before its EXIF rotation?" if (height, width) == size_wh else ""
        raise DataError(
            f"{path}: is {width}x{height} pixels, but its annotation says {size_wh[0]}x{size_wh[1]}{turned}; "
            "lookonce check finds all such pictures",
            path=path,
        )


def image_size_wh(path: Path) -> tuple[int, int]:
    """Width and height of the upright picture, from the header alone. DataError as `read_image`."""
    return image_header(path).size_wh


def image_header(path: Path) -> ImageHeader:
    """Kind, size and orientation of a picture file, without decoding it."""
    try:
        with io.BytesIO(read_from_shard(path)) if is_in_shard(path) else path.open("rb") as file:
            return _open(file, str(path))[1]
    except OSError as error:
        raise _unreadable(path, error) from error


def _read_bytes(path: Path) -> bytes:
    try:
        return read_file(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError(f"{path}: no such picture file", path=path)
    return DataError(f"{path}: cannot be read: {error.strerror or error}", path=path)


def _open(file: io.BytesIO | io.BufferedReader, name: str) -> tuple[ImageFile.ImageFile, ImageHeader]:
    """Pillow's opened file and our header."""
    start = file.read(16)
    file.seek(0)
    if not start:
        raise DataError(f"{name}: is empty (0 bytes); expected a picture", path=name)
    for kind, magics, opener in _OPENERS:
        if start.startswith(magics) and (kind != "WebP" or start[8:12] == b"WEBP"):
            return _open_as(kind, opener, file, name)
    kinds = ", ".join(kind for kind, _, _ in _OPENERS)
    raise DataError(f"{name}: is not a picture (it starts with {start[:8]!r}); expected one of {kinds}", path=name)


def _open_as(
    kind: str, opener: Callable[..., ImageFile.ImageFile], file: io.BytesIO | io.BufferedReader, name: str
) -> tuple[ImageFile.ImageFile, ImageHeader]:
    try:
        opened = opener(file)
        orientation = _orientation(opened, kind)
    except _DAMAGE as error:
        raise _damaged(name, kind, error, f"its header cannot be read ({error}); copy it again") from error
    width, height = opened.size
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{name}: {width}x{height} is {width * height:,} pixels; at most {MAX_PIXELS:,} are read", path=name
        )
    size_wh = (height, width) if orientation in _SWAPS_SIDES else (width, height)
    stored = getattr(opened, "_tile_size", opened.size) if kind == "TIFF" else opened.size
    return opened, ImageHeader(kind=kind, size_wh=size_wh, stored_wh=stored, orientation=orientation)


def _orientation(opened: ImageFile.ImageFile, kind: str) -> int:
    """EXIF orientation 1..8 that the decoders leave to us; 1 (upright) where it is absent or nonsense."""
    if kind == "TIFF":  # Pillow turns TIFF while it loads, and reports the upright size
        return 1
    # The base class's method, because that of PNG decodes the whole picture to look for EXIF behind the pixels.
    value = Image.Image.getexif(opened).get(_ORIENTATION_TAG, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _refuse_truncated(data: bytes, kind: str, header_bytes: int, name: str) -> None:
    """Files whose end is missing. OpenCV would fill the rest with grey and only print a warning.

    0xFF is always followed by 0x00 inside JPEG's coded data, so the end marker cannot occur there by chance; the one of
    an embedded thumbnail lies within the header.
    """
    if kind == "JPEG":
        complete = data.find(b"\xff\xd9", header_bytes) >= 0
    elif kind == "PNG":
        complete = 0 <= data.rfind(b"IEND") <= len(data) - 8  # its check sum follows
    elif kind == "WebP":
        complete = len(data) >= 8 + int.from_bytes(data[4:8], "little")
    else:
        return  # Pillow says so itself
    if not complete:
        raise TruncatedImage(
            f"{name}: truncated {kind}: the file ends after {len(data):,} bytes; copy it again", path=name
        )


def _suits_opencv(opened: ImageFile.ImageFile, kind: str) -> bool:
    """Whether OpenCV's 8-bit colour decoder gives the same pixels as a careful reader would."""
    if kind == "PNG":
        bits = opened.tile[0].args if opened.tile else None
        return opened.mode in {"RGB", "L"} and bits in {"RGB", "L"} and "transparency" not in opened.info
    if kind == "WebP":
        return opened.mode == "RGB" and not getattr(opened, "is_animated", False)
    return kind == "JPEG" and opened.mode in {"RGB", "L"}


def _imdecode(data: bytes, flags: int, name: str) -> ImageArray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise DataError(f"{name}: damaged picture: {error.err}", path=name) from error
    if image is None:
        raise DataError(f"{name}: damaged picture: its header is right, its pixels cannot be decoded", path=name)
    return image  # type: ignore[return-value]


def _decode_with_pillow(data: bytes, opened: ImageFile.ImageFile, name: str) -> ImageArray:
    if opened.format == "PNG" and opened.mode.startswith(("I", "RGB", "LA")) and _sixteen_bit(opened):
        return _decode_deep_png(data, name)
    try:
        opened.load()
        return _to_rgb(opened, name)
    except _DAMAGE as error:
        if isinstance(error, DataError):
            raise
        raise _damaged(name, "picture", error, str(error)) from error


def _damaged(name: str, kind: str, error: Exception, explanation: str) -> DataError:
    """What Pillow's complaint about a file means; only its words tell a file that ends early from another damage."""
    if "truncated" in str(error).lower():
        return TruncatedImage(f"{name}: truncated {kind}: {explanation}", path=name)
    return DataError(f"{name}: damaged {kind}: {explanation}", path=name)


def _sixteen_bit(opened: ImageFile.ImageFile) -> bool:
    return bool(opened.tile) and "16" in str(opened.tile[0].args)


def _decode_deep_png(data: bytes, name: str) -> ImageArray:
    """16 bits a channel, which Pillow cuts to the high byte in colour. (H, W), (H, W, 3) or (H, W, 4) -> RGB."""
    deep = _imdecode(data, cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION, name)
    image = _to_eight_bit(deep)
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)  # type: ignore[return-value]
    if image.shape[2] == 3:
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]
    return _on_white(Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)))


def _to_eight_bit(deep: NDArray[np.integer]) -> ImageArray:
    """0..65535 -> 0..255, to the nearest; 8-bit arrays as they are."""
    if deep.dtype == np.uint8:
        return deep.astype(np.uint8, copy=False)
    return ((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _to_rgb(image: Image.Image, name: str) -> ImageArray:
    """A loaded Pillow picture of any mode -> (H, W, 3) uint8."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        grey = _to_eight_bit(np.asarray(image).astype(np.uint16))
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in {"I", "F"}:
        raise DataError(
            f"{name}: 32-bit pixels (mode {image.mode}) have no known white; save it with 8 or 16 bits", path=name
        )
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        return _on_white(image)
    return np.array(image.convert("RGB"))


def _on_white(image: Image.Image) -> ImageArray:
    picture = image.convert("RGBA")
    white = Image.new("RGBA", picture.size, (255, 255, 255, 255))
    return np.array(Image.alpha_composite(white, picture).convert("RGB"))


def _turn_upright(image: ImageArray, orientation: int) -> ImageArray:
    """EXIF orientation 1..8 undone; always contiguous."""
    if orientation == 1:
        return np.ascontiguousarray(image)
    if orientation in _SWAPS_SIDES:
        image = image.transpose(1, 0, 2)
    rows, columns = orientation in _FLIPS_ROWS, orientation in _FLIPS_COLUMNS
    return np.ascontiguousarray(image[:: -1 if rows else 1, :: -1 if columns else 1])


def turn_boxes_upright(
    boxes_xyxy: NDArray[np.float64], stored_wh: tuple[int, int], orientation: int
) -> NDArray[np.float64]:
    """(N, 4) pixels of the picture as stored -> pixels of the upright one, as `_turn_upright` turns it."""
    x, y = boxes_xyxy[:, [0, 2]], boxes_xyxy[:, [1, 3]]  # (N, 2) each
    width, height = stored_wh
    if orientation in _SWAPS_SIDES:
        x, y, width, height = y, x, height, width
    if orientation in _FLIPS_COLUMNS:
        x = width - x[:, ::-1]
    if orientation in _FLIPS_ROWS:
        y = height - y[:, ::-1]
    return np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1)


def _wh(header: ImageHeader) -> str:
    return f"{header.size_wh[0]}x{header.size_wh[1]}"
