"""Reading image files: upright 8-bit RGB arrays, the same on every machine; any other content is an error.

Pillow reads the header first (format, size, orientation), so that a decompression bomb or an unknown format is refused
before decoding. The fastest correct decoder follows:

    8-bit JPEG in grey or RGB                   libjpeg-turbo, which says whether rows are missing
    8-bit PNG, WebP in grey or RGB              OpenCV
    16 bits a channel (PNG, grey TIFF)          the full range 0..65535 is scaled to 0..255, nothing is clipped
    CMYK, palette, 1-bit, BMP, GIF, TIFF, PNM   Pillow
    AVIF, JPEG 2000                             Pillow
    alpha                                       composited on white, as in most viewers; opaque pixels are unchanged
    animated, several images (MPO)              the first frame
    EXIF orientation                            applied, once

A truncated JPEG, PNG or WebP file is an error, not an image with a grey half; a JPEG that lacks only its end marker is
whole. FIFOs and devices, which would block, are errors.
"""

import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from lookonce.data.decoders import (
    DAMAGE,
    END_OF_JPEG,
    damaged,
    decode_jpeg,
    decode_with_pillow,
    imdecode,
    pixel_chunks,
    suits_opencv,
    truncated,
)
from lookonce.data.library_warnings import silence_libtiff, warnings_named
from lookonce.data.shards import is_in_shard, read_file
from lookonce.data.stored import is_stored
from lookonce.errors import DataError, SettingsError
from lookonce.letterbox import ImageArray
from lookonce.storage import require_regular_file, stand_in

PIXELS_VARIABLE = "LOOKONCE_MAX_PIXELS"
MAX_PIXELS = 100_000_000  # 300 MB decoded
MOST_MAX_PIXELS = 178_956_970  # Pillow raises DecompressionBombError from there on, whatever we allow
# The suffixes of each format, the usual one first.
SUFFIXES: dict[str, tuple[str, ...]] = {
    "JPEG": (".jpg", ".jpeg", ".jfif", ".jpe", ".mpo"),  # an .mpo of a camera is a JPEG with further ones behind it
    "PNG": (".png",),
    "WebP": (".webp",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "PNM": (".pnm", ".pbm", ".pgm", ".ppm"),
    "AVIF": (".avif", ".avifs"),
    "JPEG 2000": (".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc"),
}
IMAGE_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
_ORIENTATION_TAG = 0x0112  # EXIF 2.32, table 4
_SWAPS_SIDES = frozenset({5, 6, 7, 8})  # then these, in this order:
_FLIPS_ROWS = frozenset({3, 4, 7, 8})
_FLIPS_COLUMNS = frozenset({2, 3, 6, 7})

_JPEG = b"\xff\xd8\xff"
_START_OF_SCAN = b"\xff\xda"

# Opened by class and not by `Image.open`: other readers are unreachable (EPS runs a program), and Pillow's own
# decompression-bomb warning, a process-wide setting, does not fire below our limit.
_OPENERS: tuple[tuple[str, re.Pattern[bytes], Callable[..., ImageFile.ImageFile]], ...] = (
    ("JPEG", re.compile(re.escape(_JPEG)), JpegImagePlugin.JpegImageFile),
    ("PNG", re.compile(rb"\x89PNG\r\n\x1a\n"), PngImagePlugin.PngImageFile),
    ("WebP", re.compile(rb"(?s)RIFF....WEBP"), WebPImagePlugin.WebPImageFile),
    ("BMP", re.compile(rb"BM"), BmpImagePlugin.BmpImageFile),
    ("GIF", re.compile(rb"GIF8[79]a"), GifImagePlugin.GifImageFile),
    ("TIFF", re.compile(rb"II[*+]\0|MM\0[*+]"), TiffImagePlugin.TiffImageFile),
    ("PNM", re.compile(rb"P[1-6]"), PpmImagePlugin.PpmImageFile),
    # The brand, or one of the compatible brands of a HEIF file; HEIC, the same with another codec, is not read.
    ("AVIF", re.compile(rb"(?s)....ftyp(?:....){0,15}(?:avif|avis)"), AvifImagePlugin.AvifImageFile),
    ("JPEG 2000", re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"), Jpeg2KImagePlugin.Jpeg2KImageFile),
)
# What is often met in place of an image that is read: its kind, and how the file begins.
_NOT_READ: tuple[tuple[str, re.Pattern[bytes]], ...] = (
    ("a HEIC image", re.compile(rb"(?s)....ftyp(?:hei[cmsx]|hev[cmx]|mif1|msf1)")),
    ("a JPEG XL image", re.compile(rb"\xff\x0a|\0\0\0\x0cJXL ")),
    ("an SVG image", re.compile(rb"(?s)\s*(?:<\?xml.*)?<svg")),
    ("a Photoshop image", re.compile(rb"8BPS")),
    ("a PDF document", re.compile(rb"%PDF-")),
)
# Videos that are read, but only by the suffix of a video.
_VIDEO = re.compile(rb"(?s)....ftyp(?:isom|iso[2-9]|mp4|avc1|M4V|qt  |3gp)|\x1aE\xdf\xa3|RIFF....AVI ")


@dataclass(frozen=True, kw_only=True)
class ImageHeader:
    """Header of an image file. `size_wh` is upright; `stored_wh` is before the EXIF `orientation` (1..8) is applied."""

    kind: str
    size_wh: tuple[int, int]
    stored_wh: tuple[int, int]
    orientation: int


def max_pixels() -> int:
    """The most pixels of an image that is read: MAX_PIXELS, or the environment's LOOKONCE_MAX_PIXELS."""
    text = os.environ.get(PIXELS_VARIABLE, "")
    if not text:
        return MAX_PIXELS
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 9 and 1 <= int(text) <= MOST_MAX_PIXELS):
        expected = f"expected a number of pixels from 1 to {MOST_MAX_PIXELS}; set it anew, or unset it for {MAX_PIXELS}"
        raise SettingsError.of(PIXELS_VARIABLE, text, expected)
    return int(text)


def read_image(source: Path | bytes, reduction: int = 1, *, name: str | None = None) -> ImageArray:
    """An image file, or its bytes -> (H, W, 3) uint8 RGB, upright, contiguous, writable.

    reduction: 1, 2, 4 or 8; the sides are divided by it and rounded up (`reduced`), which for a JPEG saves a sixth to a
    third of the time: of 1920x1080 pixels 7.9 instead of 9.5 ms by 2, of 4032x3024 40 instead of 63 ms by 4.
    name: for error messages. DataError: missing, empty, not an image, damaged, truncated, over max_pixels().
    """
    name = name or (str(source) if isinstance(source, Path) else "image")
    silence_libtiff()
    try:
        data = read_file(source) if isinstance(source, Path) else source
    except OSError as error:
        raise _unreadable(Path(name), error) from error
    if data.startswith(_JPEG):
        data += END_OF_JPEG  # whether rows are missing does not depend on it
    opened, header = _open(io.BytesIO(data), name)
    if header.kind == "WebP" and len(data) < 8 + int.from_bytes(data[4:8], "little"):
        raise truncated(name, header.kind, len(data))  # OpenCV would fill the rest
    if header.kind == "JPEG":
        # The decoder's squares begin at the edges of the stored image, which turning may make the far ones.
        starts_alike = header.orientation == 1 or not any(side % reduction for side in opened.size)
        image = decode_jpeg(data, opened, name, reduction if starts_alike else 1)
        if opened.mode not in {"RGB", "L"}:
            image = decode_with_pillow(data, opened, name)
    elif suits_opencv(opened, header.kind):
        pixels = pixel_chunks(data, name) if header.kind == "PNG" else data
        image = imdecode(pixels, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION, name)
    else:
        image = decode_with_pillow(data, opened, name)
    image = _turn_upright(image, header.orientation)
    if reduction > 1 and image.shape[1::-1] == header.size_wh:
        image = reduced(image, reduction)
    if image.shape[1::-1] != tuple(-(-side // reduction) for side in header.size_wh):
        expected = f"expected {'x'.join(map(str, header.size_wh))} as in its header; save the image again"
        raise DataError.at(name, f"decodes to {image.shape[1]}x{image.shape[0]}; {expected}")
    return image


def reduced(image: ImageArray, reduction: int) -> ImageArray:
    """(H, W, 3) -> means of squares of reduction x reduction pixels, ceil(H / reduction) x ceil(W / reduction).

    Squares at the right and the bottom edge are filled with copies of the edge, as JPEG files are."""
    height, width = image.shape[:2]
    rows, columns = -(-height // reduction), -(-width // reduction)
    filled = cv2.copyMakeBorder(
        image, 0, rows * reduction - height, 0, columns * reduction - width, cv2.BORDER_REPLICATE
    )
    return np.asarray(cv2.resize(filled, (columns, rows), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def require_size(image: ImageArray, path: Path, size_wh: tuple[int, int]) -> None:
    """DataError unless a decoded image has its annotated upright size; otherwise its boxes would be misplaced."""
    height, width = image.shape[:2]
    if (width, height) != size_wh:
        rotated = " (was it annotated before its EXIF rotation?)" if (height, width) == size_wh else ""
        raise DataError.at(
            path,
            f"is {width}x{height} pixels; expected {size_wh[0]}x{size_wh[1]} as annotated{rotated}; to list all such "
            "images, run: lookonce check",
        )


def image_size_wh(path: Path) -> tuple[int, int]:
    """Width and height of the upright image, from the header only. DataError as in `read_image`."""
    return image_header(path).size_wh


def image_header(source: Path | bytes, *, name: str | None = None) -> ImageHeader:
    """Format, size and orientation of an image file, or its bytes, without decoding it. name: for error messages."""
    if isinstance(source, bytes):
        return _open(io.BytesIO(source), name or "image")[1]
    path = source
    try:
        is_no_file = is_in_shard(path) or is_stored(path)
        if not is_no_file:
            require_regular_file(path)
        with io.BytesIO(read_file(path)) if is_no_file else path.open("rb") as file:
            return _open(file, str(path))[1]
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> DataError:
    if isinstance(error, FileNotFoundError):
        return DataError.at(path, "no such image file")
    return DataError.at(path, f"cannot be read: {error.strerror or error}")


def _open(file: io.BytesIO | io.BufferedReader, name: str) -> tuple[ImageFile.ImageFile, ImageHeader]:
    start = file.read(256)
    file.seek(0)
    if words := stand_in(start):
        raise DataError.at(name, words)
    for kind, magic, opener in _OPENERS:
        if magic.match(start):
            if kind == "WebP":  # Pillow takes memory for the canvas as it opens the file
                _require_readable_size(_webp_canvas_wh(start), name)
            return _open_as(kind, opener, file, name)
    kinds = ", ".join(kind for kind, _, _ in _OPENERS)
    for kind, magic in _NOT_READ:
        if magic.match(start):
            raise DataError.at(name, f"is {kind}, which is not read; save it as JPEG or PNG; expected one of {kinds}")
    if _VIDEO.match(start):
        problem = (
            "is a video; expected an image; `lookonce predict` reads a video with a suffix of videos, such as .mp4"
        )
        raise DataError.at(name, problem)
    raise DataError.at(name, f"is not an image (it starts with {start[:8]!r}); expected one of {kinds}")


def _open_as(
    kind: str, opener: Callable[..., ImageFile.ImageFile], file: io.BytesIO | io.BufferedReader, name: str
) -> tuple[ImageFile.ImageFile, ImageHeader]:
    try:
        with warnings_named(name):
            opened = opener(file)
            # The base class's method: the PNG class decodes the whole image to search for EXIF after the pixels. Pillow
            # rotates TIFF while it loads, and reports the upright size.
            value = 1 if kind == "TIFF" else Image.Image.getexif(opened).get(_ORIENTATION_TAG, 1)
        orientation = value if isinstance(value, int) and 1 <= value <= 8 else 1  # absent or invalid: upright
    except DAMAGE as error:
        raise damaged(name, kind, error, f"its header cannot be read ({error}); copy it again") from error
    _require_readable_size(opened.size, name)
    if isinstance(opened, TiffImagePlugin.TiffImageFile):  # each tile is decoded whole
        tags = opened.tag_v2
        tile_wh = (tags.get(TiffImagePlugin.TILEWIDTH, 0), tags.get(TiffImagePlugin.TILELENGTH, 0))
        _require_readable_size((int(tile_wh[0]), int(tile_wh[1])), name)
    width, height = opened.size
    size_wh = (height, width) if orientation in _SWAPS_SIDES else (width, height)
    stored = getattr(opened, "_tile_size", opened.size) if kind == "TIFF" else opened.size
    return opened, ImageHeader(kind=kind, size_wh=size_wh, stored_wh=stored, orientation=orientation)


def _require_readable_size(size_wh: tuple[int, int], name: str) -> None:
    width, height = size_wh
    if width * height > (limit := max_pixels()):
        most = f"expected at most {limit:,}; resize it, or set {PIXELS_VARIABLE}"
        raise DataError.at(name, f"{width}x{height} is {width * height:,} pixels; {most}")


def _webp_canvas_wh(start: bytes) -> tuple[int, int]:
    """Size from a WebP file's first 30 bytes (RFC 9649, 2.5 to 2.7); (0, 0) if they do not hold it."""
    kind, bits = start[12:16], int.from_bytes(start[21:25], "little")
    if len(start) < 30 or kind not in {b"VP8X", b"VP8L", b"VP8 "}:
        return 0, 0
    if kind == b"VP8X":
        return 1 + int.from_bytes(start[24:27], "little"), 1 + int.from_bytes(start[27:30], "little")
    if kind == b"VP8L":
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return int.from_bytes(start[26:28], "little") & 0x3FFF, int.from_bytes(start[28:30], "little") & 0x3FFF


def lacks_end_marker(data: bytes) -> bool:
    """Whether a JPEG file with all its pixels lacks the two bytes that end it, as some cameras write it."""
    # In the coded data 0xFF is followed by 0x00; the header may hold a thumbnail with an end of its own.
    return data.startswith(_JPEG) and data.rfind(END_OF_JPEG) < data.rfind(_START_OF_SCAN)


def _turn_upright(image: ImageArray, orientation: int) -> ImageArray:
    """Apply EXIF orientation 1..8; the result is contiguous."""
    if orientation == 1:
        return np.ascontiguousarray(image)
    if orientation in _SWAPS_SIDES:
        image = image.transpose(1, 0, 2)
    rows, columns = orientation in _FLIPS_ROWS, orientation in _FLIPS_COLUMNS
    return np.ascontiguousarray(image[:: -1 if rows else 1, :: -1 if columns else 1])


def turn_boxes_upright(
    boxes_xyxy: NDArray[np.float64], stored_wh: tuple[int, int], orientation: int
) -> NDArray[np.float64]:
    """(N, 4) pixels of the stored image -> (N, 4) pixels of the upright image, as in `_turn_upright`."""
    x, y = boxes_xyxy[:, [0, 2]], boxes_xyxy[:, [1, 3]]  # (N, 2) each
    width, height = stored_wh
    if orientation in _SWAPS_SIDES:
        x, y, width, height = y, x, height, width
    if orientation in _FLIPS_COLUMNS:
        x = width - x[:, ::-1]
    if orientation in _FLIPS_ROWS:
        y = height - y[:, ::-1]
    return np.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], axis=1)
