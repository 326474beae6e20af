"""Splits a byte stream into images: `cat *.jpg`, a camera's MJPEG, a pipe."""

import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

from lookonce.data.images import max_pixels
from lookonce.errors import DataError

JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
CHUNK_BYTES = 1 << 16
_ANY_START = re.compile(re.escape(JPEG_START) + b"|" + re.escape(PNG_START))
# In coded data 0x00 or a restart marker follows 0xFF (ITU T.81, B.1.1.2); before a marker 0xFF may be repeated.
_MARKER_IN_CODED_DATA = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = 0xD8, 0xD9, 0xDA
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_MP_IMAGES = 0xB001  # CIPA DC-007: number of images in a multi-picture JPEG


def max_image_bytes() -> int:
    """Limit on the bytes buffered without an end-of-image marker; the largest image that is read needs less."""
    return 4 * max_pixels()


def images_in(file: BinaryIO, *, multipart: bool = False) -> Iterator[bytes]:
    """Yields the bytes of each image as soon as its last byte has arrived.

    JPEG and PNG images may follow each other, with any bytes between them. A stream of another format is one image.
    A truncated image is yielded as it is; decoding it raises the error. Of a JPEG file with several views (MPO) only
    the first is yielded, as for a file on disk. multipart: the stream does not begin with an image.
    """
    stream = _Stream(file)
    stream.has(len(PNG_START))
    if not multipart and not _ANY_START.match(stream.data):
        yield stream.rest()
        return
    more_views = 0
    while stream.skip_to_image():
        image = stream.take_image()
        if more_views == 0:
            yield image
        more_views = more_views - 1 if more_views else _further_views(image)


class _Stream:
    """Buffer of bytes that were read and not yet consumed. Positions count from its first byte."""

    def __init__(self, file: BinaryIO) -> None:
        self.data = bytearray()
        self._max_bytes = max_image_bytes()
        # read1 returns the bytes that are available; read blocks for the full count, until a camera's next image.
        self._read = getattr(file, "read1", file.read)

    def has(self, count: int) -> bool:
        """Reads until the buffer holds `count` bytes; False when the stream ends before."""
        while len(self.data) < count:
            if not self._more():
                return False
        return True

    def _more(self) -> bool:
        chunk = self._read(CHUNK_BYTES)
        self.data += chunk
        if len(self.data) > self._max_bytes:
            raise DataError(f"no end of image within {len(self.data):,} bytes; expected JPEG or PNG images")
        return bool(chunk)

    def rest(self) -> bytes:
        while self._more():
            pass
        return bytes(self.data)

    def find(self, pattern: re.Pattern[bytes], start: int) -> int:
        """Position of the first match at or after `start`, or the end of the stream."""
        while True:
            found = pattern.search(self.data, start)
            if found:
                return found.start()
            start = max(start, len(self.data) - len(PNG_START))
            if not self._more():
                return len(self.data)

    def skip_to_image(self) -> bool:
        del self.data[: self.find(_ANY_START, 0)]
        return bool(self.data)

    def take_image(self) -> bytes:
        end = self._jpeg_end() if self.data.startswith(JPEG_START) else self._png_end()
        image = bytes(self.data[:end])
        del self.data[:end]
        return image

    def _jpeg_end(self) -> int:
        """Position after the end marker; without one, the start of the next image or the end of the stream."""
        at, segment = 2, 2
        while self.has(at + 4) or self.has(at + 2):
            marker = self.data[at + 1]
            if self.data[at] != 0xFF:  # a truncated segment covers the start of the next image
                return self.find(_ANY_START, segment)
            if marker == _END_OF_IMAGE:
                return at + 2
            if marker == _START_OF_IMAGE:
                return at
            segment = at
            length = int.from_bytes(self.data[at + 2 : at + 4], "big")
            at += 1 if marker == 0xFF else 2 if marker in _WITHOUT_LENGTH else 2 + length
            if marker == _START_OF_SCAN:
                at = self.find(_MARKER_IN_CODED_DATA, at)
        return len(self.data)

    def _png_end(self) -> int:
        at = len(PNG_START)
        while self.has(at + 8):
            length, kind = struct.unpack_from(">I4s", self.data, at)
            at += 12 + length
            if kind == b"IEND" and self.has(at):
                return int(at)
        return len(self.data)


def _further_views(jpeg: bytes) -> int:
    """Number of further JPEG images that belong to this one (CIPA DC-007: the MP index in an APP2 segment)."""
    tag_at = jpeg.find(b"MPF\0", 0, 2 * CHUNK_BYTES)
    if tag_at < 0:
        return 0
    index = jpeg[tag_at + 4 :]
    order = "<" if index.startswith(b"II") else ">"
    try:
        (ifd,) = struct.unpack_from(f"{order}I", index, 4)
        (num_entries,) = struct.unpack_from(f"{order}H", index, ifd)
        entries = [struct.unpack_from(f"{order}HHII", index, ifd + 2 + 12 * row) for row in range(num_entries)]
    except struct.error:
        return 0
    return next((max(int(value) - 1, 0) for tag, _, _, value in entries if tag == _MP_IMAGES), 0)
