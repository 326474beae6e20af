"""The decoders of image files, each for what it decodes correctly and fastest: see `images`."""

import struct
import zlib

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps

from lookonce.data.library_warnings import warn_once, warnings_named
from lookonce.errors import DataError
from lookonce.letterbox import ImageArray

END_OF_JPEG = b"\xff\xd9"
_PIXEL_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
# Exceptions that Pillow's readers were observed to raise on damaged files.
DAMAGE = (
    *(OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, AttributeError, OverflowError),
    *(struct.error, zlib.error, Image.DecompressionBombError),  # a GIF's frame has a size of its own
    RuntimeError,  # libavif
)


class TruncatedImage(DataError):
    """An image file whose end is missing."""


def truncated(name: str, kind: str, num_bytes: int) -> TruncatedImage:
    return TruncatedImage.at(name, f"truncated {kind}: pixels are missing after its {num_bytes:,} bytes; copy it again")


def decode_jpeg(data: bytes, opened: ImageFile.ImageFile, name: str, reduction: int) -> ImageArray:
    """An 8-bit JPEG followed by an end marker -> (H, W, 3), reduced except after a warning. libjpeg-turbo counts rows
    that the file lacks as a warning, wherever its end marker is, and fills them with grey."""
    # simplejpeg takes the smallest of the sizes n / 8 that is not below this one.
    least = {"min_width": -(-opened.width // reduction), "min_height": -(-opened.height // reduction)}
    try:
        image: ImageArray = simplejpeg.decode_jpeg(data, "RGB", **(least if reduction > 1 else {}))
        return image
    except ValueError as error:
        warning = str(error)
    if "premature end" in warning.lower():
        raise truncated(name, "JPEG", len(data) - len(END_OF_JPEG))
    try:
        image = simplejpeg.decode_jpeg(data, "RGB", strict=False)
    except ValueError:  # damaged, or with chroma sampled as libjpeg-turbo's own interface does not know
        return decode_with_pillow(data, opened, name)
    warn_once(f"{name}: {warning}; its pixels are used as decoded")
    return image


def pixel_chunks(data: bytes, name: str) -> bytes:
    """A PNG file with only the chunks that decide its pixels, whose checksums are right.

    libpng prints warnings about the others, such as "iCCP: known incorrect sRGB profile", without the file's name.
    """
    kept, at = [data[:8]], 8
    while True:
        length = int.from_bytes(data[at : at + 4], "big")
        kind, end = data[at + 4 : at + 8], at + 12 + length
        if end > len(data):
            raise truncated(name, "PNG", len(data))
        if kind in _PIXEL_CHUNKS:
            if zlib.crc32(data[at + 4 : end - 4]) != int.from_bytes(data[end - 4 : end], "big"):
                raise DataError.at(name, f"damaged PNG: wrong checksum of {kind.decode()}; copy it again")
            kept.append(data[at:end])
        if kind == b"IEND":
            return b"".join(kept)
        at = end


def suits_opencv(opened: ImageFile.ImageFile, kind: str) -> bool:
    """Whether OpenCV's 8-bit colour decoder gives the correct pixels."""
    if kind == "PNG":
        bits = opened.tile[0].args if opened.tile else None
        return opened.mode in {"RGB", "L"} and bits in {"RGB", "L"} and "transparency" not in opened.info
    return kind == "WebP" and opened.mode == "RGB" and not getattr(opened, "is_animated", False)


def imdecode(data: bytes, flags: int, name: str) -> ImageArray:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise DataError.at(name, f"damaged image: {error.err}; copy it again") from error
    if image is None:
        raise DataError.at(name, "damaged image: its header is valid, but its pixels cannot be decoded; copy it again")
    return image  # type: ignore[return-value]


def decode_with_pillow(data: bytes, opened: ImageFile.ImageFile, name: str) -> ImageArray:
    is_deep = opened.tile and "16" in str(opened.tile[0].args)
    if opened.format == "PNG" and opened.mode.startswith(("I", "RGB", "LA")) and is_deep:
        return _decode_deep_png(data, name)
    return pixels_of(opened, name)


def pixels_of(opened: Image.Image, name: str, *, turns: bool = False) -> ImageArray:
    """A Pillow image of any mode -> (H, W, 3) uint8 RGB. turns: as its EXIF orientation says."""
    try:
        with warnings_named(name):
            opened.load()
            return _to_rgb(ImageOps.exif_transpose(opened) if turns else opened, opened.format, name)
    except DAMAGE as error:
        if isinstance(error, DataError):
            raise
        raise damaged(name, "image", error, str(error)) from error


def damaged(name: str, kind: str, error: Exception, explanation: str) -> DataError:
    """The error for a file that Pillow refuses; only Pillow's text distinguishes truncation from other damage."""
    if "truncated" in str(error).lower():
        return TruncatedImage.at(name, f"truncated {kind}: {explanation}")
    return DataError.at(name, f"damaged {kind}: {explanation}")


def _decode_deep_png(data: bytes, name: str) -> ImageArray:
    """16 bits a channel, of which Pillow keeps only the high byte in colour. (H, W), (H, W, 3) or (H, W, 4) -> RGB."""
    deep = imdecode(pixel_chunks(data, name), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION, name)
    image = to_eight_bit(deep)
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)  # type: ignore[return-value]
    if image.shape[2] == 3:
        return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)  # type: ignore[return-value]
    return on_white(Image.fromarray(cv2.cvtColor(image, cv2.COLOR_BGRA2RGBA)))


def to_eight_bit(deep: NDArray[np.integer]) -> ImageArray:
    """0..65535 -> 0..255, rounded to the nearest; 8-bit arrays unchanged."""
    if deep.dtype == np.uint8:
        return deep.astype(np.uint8, copy=False)
    return ((deep.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _to_rgb(image: Image.Image, kind: str | None, name: str) -> ImageArray:
    """A loaded Pillow image of any mode, from a file of that kind -> (H, W, 3) uint8."""
    if image.mode.startswith("I;16") or (image.mode == "I" and kind == "PPM"):
        grey = to_eight_bit(np.asarray(image).astype(np.uint16))
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode in {"I", "F"}:
        unknown = f"has 32-bit pixels (mode {image.mode}), whose range is unknown"
        raise DataError.at(name, f"{unknown}; expected 8 or 16 bits; save it again")
    if image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info:
        return on_white(image)
    return np.array(image.convert("RGB"))


def on_white(image: Image.Image) -> ImageArray:
    """A Pillow image with alpha -> (H, W, 3) uint8 RGB, composited on white."""
    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return np.array(Image.alpha_composite(white, rgba).convert("RGB"))
