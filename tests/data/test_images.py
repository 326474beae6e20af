import contextlib
import io
import os
import re
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bombs import png
from PIL import Image
from raised import raises

from lookonce.data.decoders import TruncatedImage
from lookonce.data.images import (
    IMAGE_SUFFIXES,
    MAX_PIXELS,
    PIXELS_VARIABLE,
    SUFFIXES,
    image_header,
    image_size_wh,
    lacks_end_marker,
    read_image,
    reduced,
    require_size,
    turn_boxes_upright,
)
from lookonce.data.listing import OTHER_IMAGE_SUFFIXES
from lookonce.errors import DataError, SettingsError

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
# 2 rows of 3: every pixel another colour, so that any turn shows.
SMALL = np.array([[RED, GREEN, BLUE], [WHITE, (10, 20, 30), (200, 100, 0)]], dtype=np.uint8)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_rgb_comes_back_as_it_was(kind: str) -> None:
    image = read_image(encoded(Image.fromarray(SMALL), kind, **({"lossless": True} if kind == "WEBP" else {})))
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    assert image.flags.writeable
    np.testing.assert_array_equal(image, SMALL)


# What EXIF 2.32 says the stored rows and columns are -> the upright picture, written out with numpy alone.
UPRIGHT = {
    1: SMALL,
    2: SMALL[:, ::-1],
    3: SMALL[::-1, ::-1],
    4: SMALL[::-1],
    5: SMALL.transpose(1, 0, 2),
    6: np.rot90(SMALL, -1),
    7: SMALL[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(SMALL),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied_once(kind: str, orientation: int, tmp_path: Path) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(SMALL), kind, exif=exif(orientation), **options)
    (tmp_path / "turned").write_bytes(data)
    np.testing.assert_array_equal(read_image(data), UPRIGHT[orientation])
    height, width = UPRIGHT[orientation].shape[:2]
    header = image_header(tmp_path / "turned")
    assert header.size_wh == image_size_wh(tmp_path / "turned") == (width, height)
    assert header.stored_wh == (3, 2)


def test_a_jpeg_is_turned_by_its_exif_too() -> None:
    wide = np.kron(SMALL, np.ones((16, 16, 1), np.uint8))
    plain, turned = (read_image(encoded(Image.fromarray(wide), "JPEG", exif=exif(tag))) for tag in (1, 6))
    np.testing.assert_array_equal(turned, np.rot90(plain, -1))


@pytest.mark.parametrize("reduction", [2, 4, 8])
@pytest.mark.parametrize(
    ("kind", "mode", "orientation"),
    [("JPEG", "RGB", 1), ("JPEG", "L", 1), ("JPEG", "CMYK", 1), ("JPEG", "RGB", 6), ("PNG", "RGB", 3)],
)
def test_a_reduced_image_is_the_mean_of_squares(kind: str, mode: str, orientation: int, reduction: int) -> None:
    slope = np.add.outer(np.arange(50), np.arange(90))[..., None].repeat(3, 2)
    image = Image.fromarray(slope.astype(np.uint8)).convert(mode)
    content = encoded(image, kind, exif=exif(orientation), **({"quality": 95} if kind == "JPEG" else {}))
    full, small = read_image(content), read_image(content, reduction)
    expected = reduced(full, reduction)
    assert small.shape == (-(-full.shape[0] // reduction), -(-full.shape[1] // reduction), 3)
    assert np.abs(small.astype(int) - expected).max() <= 3
    square = slice(reduction, 2 * reduction)
    np.testing.assert_allclose(expected[1, 1], full[square, square].mean((0, 1)), atol=0.5)


def test_a_truncated_jpeg_is_an_error_when_it_is_read_reduced_too() -> None:
    content = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (90, 90, 3), np.uint8)), "JPEG")
    with pytest.raises(TruncatedImage):
        read_image(content[: len(content) // 2], 2)


def test_grey_becomes_three_equal_channels() -> None:
    grey = Image.fromarray(np.array([[0, 7], [128, 255]], np.uint8))
    for kind in ("PNG", "BMP", "TIFF", "PPM"):
        image = read_image(encoded(grey, kind))
        np.testing.assert_array_equal(image[..., 0], [[0, 7], [128, 255]])
        assert (image == image[..., :1]).all()


def test_16_bit_grey_keeps_its_full_range() -> None:
    """65535 / 257 is 255; 300 is 1.17 -> 1, where clipping would give 255."""
    deep = Image.fromarray(np.array([[0, 300], [32896, 65535]], np.uint16))
    for kind in ("PNG", "TIFF", "PPM"):
        np.testing.assert_array_equal(read_image(encoded(deep, kind))[..., 2], [[0, 1], [128, 255]])


def test_alpha_is_laid_on_white() -> None:
    """Opaque red stays; nothing becomes white; half-covered black is the grey between."""
    rgba = np.array([[(255, 0, 0, 255), (0, 0, 255, 0), (0, 0, 0, 128)]], np.uint8)
    image = read_image(encoded(Image.fromarray(rgba), "PNG"))
    np.testing.assert_array_equal(image[0], [RED, WHITE, (127, 127, 127)])


def test_palette_one_bit_and_cmyk() -> None:
    palette = Image.fromarray(SMALL).convert("P", palette=Image.Palette.ADAPTIVE)
    np.testing.assert_array_equal(read_image(encoded(palette, "PNG")), SMALL)
    one_bit = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    np.testing.assert_array_equal(read_image(encoded(one_bit, "PNG"))[0], [(0, 0, 0), WHITE])
    cmyk = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # no cyan, all magenta and yellow: red
    assert np.abs(read_image(encoded(cmyk, "JPEG", quality=95)).astype(int) - RED).max() < 6


def test_an_animation_gives_its_first_frame() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, BLUE)]
    for kind in ("GIF", "WEBP", "PNG"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)
        assert np.abs(read_image(data).astype(int) - RED).max() < 4, kind


def test_photographs_equal_pillows(shared: Callable[[str], Path]) -> None:
    for name in ("dog.jpg", "horses.jpg", "chelsea.png"):
        path = shared(f"data/media/pictures/{name}")
        np.testing.assert_array_equal(read_image(path), np.asarray(Image.open(path).convert("RGB")))


def test_an_image_in_a_folder_with_any_name(tmp_path: Path) -> None:
    path = tmp_path / "Bäume 树 %20" / "ä #1.png"
    path.parent.mkdir()
    path.write_bytes(encoded(Image.fromarray(SMALL), "PNG"))
    np.testing.assert_array_equal(read_image(path), SMALL)


def test_the_truncated_photograph_is_named(shared: Callable[[str], Path]) -> None:
    with raises(DataError, "JPEG", path="truncated.jpg"):
        read_image(shared("data/media/pictures/truncated.jpg"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_file_cut_short_is_an_error_and_no_half_image(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    with pytest.raises(DataError, match=r"cut\.x: .*(truncated|damaged)"):
        read_image(data[: int(len(data) * share)], name="cut.x")


def test_an_embedded_thumbnails_end_does_not_hide_a_missing_one() -> None:
    thumbnail = encoded(Image.new("RGB", (8, 8)), "JPEG")
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    data = encoded(Image.fromarray(noise), "JPEG")
    marked = data[:2] + b"\xff\xe5" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + data[2:]
    assert read_image(marked).shape == (64, 64, 3)
    with pytest.raises(DataError, match="truncated"):
        read_image(marked[:-200])


def test_an_image_over_the_limit_is_refused_with_both_numbers() -> None:
    side = int(MAX_PIXELS**0.5) + 1
    with raises(DataError, f"{side}x{side} ", f"{MAX_PIXELS:,}"):
        read_image(png(side, side))


def test_the_environment_sets_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    image = encoded(Image.fromarray(SMALL), "PNG")
    for wrong in ("0", "-1", "many", "1e6", "\u0663", "178956971", "99999999999999999999"):
        monkeypatch.setenv(PIXELS_VARIABLE, wrong)
        with raises(SettingsError, setting=PIXELS_VARIABLE, value=wrong):
            read_image(image)
    monkeypatch.setenv(PIXELS_VARIABLE, "5")
    with raises(DataError, "3x2"):
        read_image(image)
    monkeypatch.setenv(PIXELS_VARIABLE, "6")
    assert read_image(image).shape == (2, 3, 3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "0 bytes"),
        (b"<html>not found</html>", "HTML page"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "b'%!PS-Ado'"),
        (b"\xff\xd8\xff\xe0nonsense", "JPEG"),
        (b"\x89PNG\r\n\x1a\n" + bytes(40), "PNG"),
        (b"RIFF\x10\0\0\0WEBPVP8 junk", "WebP"),
        (b"II*\0" + bytes(60), "TIFF"),
    ],
)
def test_no_image_is_an_error_with_its_name(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "thing.jpg"
    path.write_bytes(content)
    for read in (read_image, image_size_wh):
        with raises(DataError, said, path=path):
            read(path)


def test_missing_files_and_folders_are_told_apart(tmp_path: Path) -> None:
    with raises(DataError, path="none.jpg"):
        read_image(tmp_path / "none.jpg")
    with raises(DataError, path=tmp_path):
        read_image(tmp_path)


def test_float_pixels_are_refused() -> None:
    with raises(DataError, "32-bit"):
        read_image(encoded(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"))


def test_another_size_than_annotated_is_an_error() -> None:
    require_size(SMALL, Path("a.jpg"), (3, 2))
    with raises(DataError, "3x2", "2x3", "EXIF", path="a.jpg"):
        require_size(SMALL, Path("a.jpg"), (2, 3))
    with raises(DataError, "6x4", path="a.jpg"):
        require_size(SMALL, Path("a.jpg"), (6, 4))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM", "AVIF", "JPEG2000", "MPO"])
def test_changed_bytes_are_an_image_or_an_error_but_never_a_crash(kind: str) -> None:
    generator = np.random.default_rng(0)
    data = encoded(Image.fromarray(np.kron(SMALL, np.ones((8, 8, 1), np.uint8))), kind)
    for _ in range(60):
        changed = np.frombuffer(data, np.uint8).copy()
        changed[generator.integers(0, len(data), 4)] = generator.integers(0, 256, 4)
        with contextlib.suppress(DataError):
            assert read_image(changed.tobytes()).shape[2] == 3


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_as_the_image_does(tmp_path: Path, orientation: int) -> None:
    """A white patch at (2, 1)..(5, 3) of a black 8x6 picture stays where its box goes."""
    stored = np.zeros((6, 8, 3), np.uint8)
    stored[1:3, 2:5] = 255
    tags = Image.Exif()
    tags[0x0112] = orientation
    Image.fromarray(stored).save(tmp_path / "a.png", exif=tags)
    upright = read_image(tmp_path / "a.png")
    left, top, right, bottom = (
        turn_boxes_upright(np.array([[2.0, 1, 5, 3]]), (8, 6), orientation)[0].astype(int).tolist()
    )
    assert upright[top:bottom, left:right].min() == 255
    assert upright.sum() == 6 * 3 * 255 == upright[top:bottom, left:right].sum()


def noise_as(kind: str, **options: object) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    return encoded(Image.fromarray(noise).convert(str(options.pop("mode", "RGB"))), kind, **options)


JPEG_KINDS = [{}, {"progressive": True}, {"mode": "L"}, {"mode": "CMYK"}, {"subsampling": 0}]


@pytest.mark.parametrize("options", JPEG_KINDS)
@pytest.mark.parametrize("end", [b"", b"\xff\xd9", b"\xff\xd9\0\0\0"])
def test_a_jpeg_is_whole_where_no_row_is_missing_whatever_ends_it(
    capfd: pytest.CaptureFixture[str], options: dict[str, object], end: bytes
) -> None:
    whole = noise_as("JPEG", **options)
    assert whole.endswith(b"\xff\xd9")
    np.testing.assert_array_equal(read_image(whole[:-2] + end), read_image(whole))
    assert lacks_end_marker(whole[:-2] + end) is (end == b"")
    for share in (0.5, 0.9, 0.99):
        with pytest.raises(TruncatedImage):
            read_image(whole[: int(len(whole) * share)] + end)
    assert capfd.readouterr() == ("", "")


def test_libraries_print_nothing_and_a_warning_names_the_file(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """libpng prints "iCCP: too short" and the like, libjpeg "extraneous bytes", both without the file's name."""
    png = noise_as("PNG", icc_profile=b"x" * 99)
    np.testing.assert_array_equal(read_image(png), read_image(noise_as("PNG")))
    broken = bytearray(png)
    broken[-200] ^= 255
    with raises(DataError, "IDAT", path="b.png"):
        read_image(bytes(broken), name="b.png")
    damaged = bytearray(noise_as("JPEG"))
    damaged[-1500] ^= 0x40
    for _ in range(2):
        read_image(bytes(damaged), name="d.jpg")
    assert capfd.readouterr() == ("", "")
    [record] = caplog.records
    assert record.getMessage().startswith("d.jpg: ")


def test_a_fifo_or_device_is_an_error_and_never_blocks(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    for path in (tmp_path / "a.jpg", Path("/dev/zero")):
        for read in (read_image, image_header):
            with raises(DataError, path=str(path)):
                read(path)


@pytest.mark.parametrize(
    ("kind", "suffix", "options"),
    [
        ("JPEG2000", ".jp2", {}),
        ("JPEG2000", ".j2k", {"no_jp2": True}),
        ("AVIF", ".avif", {"quality": 100, "subsampling": "4:4:4"}),
    ],
)
def test_avif_and_jpeg_2000_are_read_and_turned_upright(
    tmp_path: Path, kind: str, suffix: str, options: dict[str, object]
) -> None:
    large = Image.fromarray(SMALL).resize((60, 40), Image.Resampling.NEAREST)
    orientation = 6 if kind == "AVIF" else 1
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encoded(large, kind, **options, **({"exif": exif(6)} if orientation == 6 else {})))
    expected = np.asarray(large) if orientation == 1 else np.rot90(np.asarray(large), -1)
    assert suffix in SUFFIXES[image_header(path).kind]
    assert image_size_wh(path) == expected.shape[1::-1]
    np.testing.assert_allclose(read_image(path), expected, atol=0 if kind == "JPEG2000" else 12)
    path.write_bytes(path.read_bytes()[:-40])
    with raises(DataError, path=str(path)):
        read_image(path)


def test_an_mpo_is_its_first_image(tmp_path: Path) -> None:
    path = tmp_path / "a.mpo"
    plain = [Image.new("RGB", (64, 32), color) for color in (RED, BLUE)]
    path.write_bytes(encoded(plain[0], "MPO", save_all=True, append_images=plain[1:], quality=100))
    assert ".mpo" in SUFFIXES[image_header(path).kind]
    np.testing.assert_allclose(read_image(path), np.full((32, 64, 3), RED), atol=3)
    assert not lacks_end_marker(path.read_bytes())


def test_what_a_library_warns_of_has_the_name_of_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    jpeg = encoded(Image.new("RGB", (64, 32), RED), "JPEG", exif=exif(6))
    tiff = encoded(Image.fromarray(SMALL).resize((64, 32)), "TIFF", compression="tiff_lzw")
    damaged = {"jpeg.jpg": jpeg.replace(b"MM\0*\0\0\0\x08\0\x01", b"MM\0*\0\0\0\x08\0\x09"), "lzw.tif": tiff[:-60]}
    damaged["codes.tif"] = tiff[:40] + bytes([255]) * 60 + tiff[100:]
    assert damaged["jpeg.jpg"] != jpeg
    others: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda message, *_, **__: others.append(str(message))
        for name, content in damaged.items():
            (tmp_path / name).write_bytes(content)
            with contextlib.suppress(DataError):
                read_image(tmp_path / name)
        warnings.warn("mine", stacklevel=1)
    named = {record.getMessage().partition(": ")[0] for record in caplog.records}
    assert named == {str(tmp_path / name) for name in ("jpeg.jpg", "lzw.tif")}
    assert (others, capfd.readouterr().err) == (["mine"], "")


@pytest.mark.parametrize(
    ("start", "told"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a HEIC image"),
        (b"\xff\x0a\0", "a JPEG XL"),
        (b'<?xml version="1.0"?>\n<svg width="1"/>', "an SVG image"),
        (b"8BPS\0\1", "a Photoshop image"),
        (b"%PDF-1.4\n", "a PDF document"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", "a video"),
        (b"\x1aE\xdf\xa3", "a video"),
    ],
)
def test_a_file_of_another_kind_is_called_by_its_kind(start: bytes, told: str) -> None:
    with raises(DataError, told, path="image"):
        read_image(start)


def test_the_cpp_program_lists_the_same_suffixes() -> None:
    """What it does not read it reports; a file that it does not list would be left out in silence."""
    source = Path(__file__).parents[2] / "cpp" / "program" / "sources.cc"
    for name, suffixes in (("kImageSuffixes", IMAGE_SUFFIXES), ("kOtherSuffixes", OTHER_IMAGE_SUFFIXES)):
        (table,) = re.findall(name + r"\{(.*?)\};", source.read_text(encoding="utf-8"), re.DOTALL)
        assert set(re.findall(r'"([^"]+)"', table)) == suffixes
