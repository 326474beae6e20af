"""Image bombs: files of a few hundred bytes whose headers give them a size of choice, and hardly any pixels."""

import io
import struct
import zlib

from PIL import Image

SMALL_KINDS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000")


def png(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(64))), (b"IEND", b"")]
    parts = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def jpeg(width: int, height: int) -> bytes:
    small = small_image("JPEG")
    frame = small.index(b"\xff\xc0") + 5
    return small[:frame] + struct.pack(">HH", height, width) + small[frame + 4 :]


def bmp(width: int, height: int) -> bytes:
    small = small_image("BMP")
    return small[:18] + struct.pack("<II", width, height) + small[26:]


def pnm(width: int, height: int) -> bytes:
    return b"P6 %d %d 255\n" % (width, height) + bytes(64)


def gif(width: int, height: int) -> bytes:
    """The size of its canvas and of its first frame."""
    small = small_image("GIF")
    frame = small.index(b",") + 5
    size = struct.pack("<HH", width, height)
    return small[:6] + size + small[10:frame] + size + small[frame + 4 :]


def gif_frame(width: int, height: int) -> bytes:
    """A small canvas with a frame of that size."""
    small = small_image("GIF")
    frame = small.index(b",") + 5
    return small[:frame] + struct.pack("<HH", width, height) + small[frame + 4 :]


def webp(width: int, height: int) -> bytes:
    """The extended format's canvas, whose sides have 24 bits, with a frame that is small."""
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    still = small_image("WEBP")[12:]
    frame = bytes(6) + (15).to_bytes(3, "little") * 2 + bytes(4) + still
    chunks = b"".join(
        name + struct.pack("<I", len(body)) + body
        for name, body in [(b"VP8X", b"\x02\0\0\0" + canvas), (b"ANIM", bytes(6)), (b"ANMF", frame)]
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def webp_lossless(width: int, height: int) -> bytes:
    """Sides of at most 16,384."""
    small = bytearray(small_image("WEBP", lossless=True))
    at = small.index(b"VP8L") + 9
    (bits,) = struct.unpack_from("<I", small, at)
    struct.pack_into("<I", small, at, bits >> 28 << 28 | height - 1 << 14 | width - 1)
    return bytes(small)


def tiff(width: int, height: int) -> bytes:
    return _with_tags(small_image("TIFF"), {256: width, 257: height})


def tiff_tile(width: int, height: int) -> bytes:
    """An image of 16 x 16 in one tile of that size, deflated."""
    pixels = zlib.compress(bytes(64))
    tags = {256: 16, 257: 16, 258: 8, 259: 8, 262: 1, 277: 1, 322: width, 323: height, 324: 8, 325: len(pixels)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(pixels)) + pixels + directory


def jpeg_2000(width: int, height: int) -> bytes:
    small = small_image("JPEG2000", no_jp2=True)
    size = struct.pack(">IIII", width, height, 0, 0) + struct.pack(">II", width, height)
    return small[:8] + size + small[32:]


def avif(width: int, height: int) -> bytes:
    small = small_image("AVIF")
    extents = small.index(b"ispe") + 8
    return small[:extents] + struct.pack(">II", width, height) + small[extents + 8 :]


def small_image(kind: str, **options: object) -> bytes:
    """16 x 16 pixels of one colour, in a format that Pillow writes."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (10, 200, 90)).save(file, kind, **options)
    return file.getvalue()


def _with_tags(content: bytes, tags: dict[int, int]) -> bytes:
    """A little-endian TIFF file whose tags have other values, as 32-bit numbers."""
    changed = bytearray(content)
    (at,) = struct.unpack_from("<I", content, 4)
    for entry in range(at + 2, at + 2 + 12 * struct.unpack_from("<H", content, at)[0], 12):
        tag = struct.unpack_from("<H", content, entry)[0]
        if tag in tags:
            struct.pack_into("<HHII", changed, entry, tag, 4, 1, tags[tag])
    return bytes(changed)


# Name -> (what writes it, width, height): over every limit, as far as the format's own numbers go.
BOMBS = {
    "bomb.png": (png, 2**31 - 1, 2**31 - 1),
    "row.png": (png, 2**31 - 1, 1),
    "bomb.jpg": (jpeg, 65_500, 65_500),
    "bomb.bmp": (bmp, 2**31 - 1, 2**31 - 1),
    "unsigned.bmp": (bmp, 2**32 - 1, 2**31 - 1),
    "bomb.ppm": (pnm, 2**31 - 1, 2**31 - 1),
    "bomb.gif": (gif, 65_535, 65_535),
    "frame.gif": (gif_frame, 65_535, 65_535),
    "bomb.webp": (webp, 60_000, 60_000),
    "narrow.webp": (webp, 2**24, 100),
    "lossless.webp": (webp_lossless, 16_384, 16_384),
    "under-twice.webp": (webp_lossless, 12_000, 12_000),
    "bomb.tif": (tiff, 2**31 - 1, 2**31 - 1),
    "tile.tif": (tiff_tile, 2**15, 2**15),
    "bomb.j2k": (jpeg_2000, 2**31 - 1, 2**31 - 1),
    "bomb.avif": (avif, 2**31 - 1, 2**31 - 1),
}


def written() -> dict[str, bytes]:
    """File name -> content of each bomb."""
    return {name: write(width, height) for name, (write, width, height) in BOMBS.items()}
