"""Makes tests/images: small files of every kind, and beside each, as .ppm, what lookonce's Python reader makes of it.

    ./run python cpp/tests/make_images.py

The files are also what the fuzz targets mutate.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookonce.data.images import read_image

FOLDER = Path(__file__).parent / "images"
WIDTH, HEIGHT = 21, 13  # odd, and no multiple of a JPEG block


def photograph() -> NDArray[np.uint8]:
    """Smooth colours with noise, so that every decoder's rounding shows."""
    rng = np.random.default_rng(7)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    waves = [128 + 90 * np.sin(rows / 3 + phase) + 30 * np.cos(columns / 2 - phase) for phase in (0, 2, 4)]
    return np.clip(np.stack(waves, -1) + rng.normal(0, 12, (HEIGHT, WIDTH, 3)), 0, 255).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def png(color_type: int, depth: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, depth, color_type, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in parts
    )


def filtered(samples: NDArray[np.generic]) -> bytes:
    """(H, W, ...) samples, big-endian, each row behind the filter type 0."""
    return b"".join(b"\0" + row.tobytes() for row in samples)


def jpegs(pixels: NDArray[np.uint8]) -> Iterator[tuple[str, bytes]]:
    image = Image.fromarray(pixels)
    yield "rgb.jpg", encoded(image, "JPEG", quality=90)
    for name, subsampling in (("444", 0), ("422", 1), ("420", 2)):
        yield f"subsampling-{name}.jpg", encoded(image, "JPEG", quality=60, subsampling=subsampling)
    for name, factor in (("440", "SAMPLING_FACTOR_440"), ("411", "SAMPLING_FACTOR_411")):
        options = [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, getattr(cv2, f"IMWRITE_JPEG_{factor}")]
        yield f"subsampling-{name}.jpg", cv2.imencode(".jpg", pixels, options)[1].tobytes()
    yield "progressive.jpg", encoded(image, "JPEG", progressive=True)
    yield "restart.jpg", cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_RST_INTERVAL, 1])[1].tobytes()
    yield "grey.jpg", encoded(image.convert("L"), "JPEG")
    yield "cmyk.jpg", encoded(image.convert("CMYK"), "JPEG", quality=95)
    yield "rgb-stored.jpg", encoded(image, "JPEG", keep_rgb=True)
    for orientation in range(1, 9):
        yield f"turned-{orientation}.jpg", encoded(image, "JPEG", exif=exif(orientation))
    yield "turned-nonsense.jpg", encoded(image, "JPEG", exif=exif(9))
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    yield "turned-xmp.jpg", encoded(image, "JPEG", xmp=xmp)
    yield "tail.jpg", encoded(image, "JPEG") + b"what a camera leaves behind"


def pngs(pixels: NDArray[np.uint8]) -> Iterator[tuple[str, bytes]]:
    image, grey = Image.fromarray(pixels), pixels[..., 0]
    alpha = np.dstack([pixels, np.arange(WIDTH * HEIGHT, dtype=np.uint8).reshape(HEIGHT, WIDTH)])
    deep = pixels.astype(np.uint16) * 251 + np.arange(WIDTH, dtype=np.uint16)[None, :, None]
    deep_alpha = np.dstack([deep, alpha[..., 3].astype(np.uint16) * 257])
    yield "rgb.png", encoded(image, "PNG")
    yield "turned-6.png", encoded(image, "PNG", exif=exif(6))
    yield "alpha.png", encoded(Image.fromarray(alpha), "PNG")
    yield "grey.png", encoded(image.convert("L"), "PNG")
    yield "grey-alpha.png", encoded(Image.fromarray(alpha).convert("LA"), "PNG")
    yield "palette.png", encoded(image.quantize(16), "PNG")
    yield "palette-alpha.png", encoded(image.quantize(16), "PNG", transparency=bytes(range(0, 256, 16)))
    yield "palette-clear.png", encoded(image.quantize(16), "PNG", transparency=3)
    yield "bits-1.png", encoded(image.convert("1"), "PNG")
    for bits in (2, 4):
        values = grey >> (8 - bits)
        packed = [np.packbits(np.unpackbits(row[:, None], axis=1)[:, 8 - bits :].ravel()).tobytes() for row in values]
        yield f"bits-{bits}.png", png(0, bits, b"".join(b"\0" + row for row in packed))
    yield "grey-clear.png", png(0, 8, filtered(grey), (b"tRNS", struct.pack(">H", int(grey[3, 3]))))
    clear = struct.pack(">HHH", *(int(level) for level in pixels[2, 5]))
    yield "rgb-clear.png", png(2, 8, filtered(pixels), (b"tRNS", clear))
    yield "gamma.png", png(2, 8, filtered(pixels), (b"gAMA", struct.pack(">I", 100_000)))
    yield "deep-grey.png", png(0, 16, filtered(deep[..., 0].astype(">u2")))
    yield "deep.png", png(2, 16, filtered(deep.astype(">u2")))
    yield "deep-grey-alpha.png", png(4, 16, filtered(deep_alpha[..., [0, 3]].astype(">u2")))
    yield "deep-alpha.png", png(6, 16, filtered(deep_alpha.astype(">u2")))


def webps(pixels: NDArray[np.uint8]) -> Iterator[tuple[str, bytes]]:
    image = Image.fromarray(pixels)
    alpha = image.copy()
    alpha.putalpha(Image.fromarray(pixels[..., 1]))
    yield "rgb.webp", encoded(image, "WEBP", quality=80)
    yield "lossless.webp", encoded(image, "WEBP", lossless=True)
    yield "alpha.webp", encoded(alpha, "WEBP", quality=80)
    yield "alpha-lossless.webp", encoded(alpha, "WEBP", lossless=True)
    yield "turned-8.webp", encoded(image, "WEBP", exif=exif(8))
    more = [Image.fromarray(255 - pixels)]
    yield "animated.webp", encoded(image, "WEBP", save_all=True, append_images=more, duration=100)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    pixels = photograph()
    for name, content in (*jpegs(pixels), *pngs(pixels), *webps(pixels)):
        path = FOLDER / name
        path.write_bytes(content)
        read = read_image(path)
        header = f"P6 {read.shape[1]} {read.shape[0]} 255\n".encode()
        path.with_name(f"{path.name}.ppm").write_bytes(header + read.tobytes())


if __name__ == "__main__":
    main()
