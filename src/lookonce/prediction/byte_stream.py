"""Pictures one after another in a stream of bytes: `cat *.jpg`, a camera's MJPEG, the pages of a pipe."""

import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

from lookonce.data.images import MAX_PIXELS
from lookonce.errors import DataError

JPEG_START, PNG_START = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
CHUNK_BYTES = 1 << 16
# A stream without an end of picture is no stream of pictures; the largest picture that is read needs less.
MAX_IMAGE_BYTES = 4 * MAX_PIXELS
_ANY_START = re.compile(re.escape(JPEG_START) + b"|" + re.escape(PNG_START))
# In coded data 0x00 or a restart marker follows 0xFF (ITU T.81, B.1.1.2); before a marker 0xFF may be repeated.
_MARKER_IN_CODED_DATA = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = 0xD8, 0xD9, 0xDA
_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_MP_IMAGES = 0xB001  # CIPA DC-007: how many pictures a multi-picture JPEG holds


def images_in(file: BinaryIO, *, multipart: bool = False) -> Iterator[bytes]:
    """The bytes of each picture, as soon as its last byte has come.

    JPEG and PNG pictures may follow each other, with anything in between; of another kind there is one, the whole
    stream. A picture that is cut off comes as far as it goes, for its reader to refuse. Of a JPEG file that holds
    several views of one picture (MPO) the first counts, as it does for a file on disk. multipart: the stream begins
    with something else than a picture.
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
    """Bytes that have come and have not been used. Positions count from the first of them."""

    def __init__(self, file: BinaryIO) -> None:
        self.data = bytearray()
        # read1 returns what is there; read waits until so many bytes have come, which a camera's next picture brings.
        self._read = getattr(file, "read1", file.read)

    def has(self, count: int) -> bool:
        """Whether so many bytes come."""
        while len(self.data) < count:
            if not self._more():
                return False
        return True

    def _more(self) -> bool:
        chunk = self._read(CHUNK_BYTES)
        self.data += chunk
        if len(self.data) > MAX_IMAGE_BYTES:
            raise DataError(f"{len(self.data):,} bytes without the end of a picture; expected JPEG or PNG pictures")
        return bool(chunk)

    def rest(self) -> bytes:
        while self._more():
            pass
        return bytes(self.data)

    def find(self, pattern: re.Pattern[bytes], start: int) -> int:
        """Where it is found first, or the end of the stream."""
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
        """Past the end marker; where the next picture starts or the stream ends, if there is none."""
        at, segment = 2, 2
        while self.has(at + 4) or self.has(at + 2):
            marker = self.data[at + 1]
            if self.data[at] != 0xFF:  # a segment that was cut off has swallowed the beginning of what follows
                return self.find(_ANY_START, segment)
            if marker == _END_OF_IMAGE:
                return at + 2
            if marker == _START_OF_IMAGE:
                return at
            segment = at
            at += 1 if marker == 0xFF else 2 if marker in _WITHOUT_LENGTH else 2 + self._length(at + 2)
            if marker == _START_OF_SCAN:
                at = self.find(_MARKER_IN_CODED_DATA, at)
        return len(self.data)

    def _length(self, at: int) -> int:
        return int.from_bytes(self.data[at : at + 2], "big")

    def _png_end(self) -> int:
        at = len(PNG_START)
        while self.has(at + 8):
            length, kind = struct.unpack_from(">I4s", self.data, at)
            at += 12 + length
            if kind == b"IEND" and self.has(at):
                return int(at)
        return len(self.data)


def _further_views(jpeg: bytes) -> int:
    """How many more JPEG pictures belong to this one (CIPA DC-007: the MP index in an APP2 segment)."""
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
