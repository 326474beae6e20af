"""Images in memory: what each kind becomes, computed by hand, and what is refused."""

import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from raised import raises

from lookonce.errors import DataError
from lookonce.prediction.arrays import as_image, media_of

RGB = np.array([[[255, 0, 0], [0, 128, 0]]], np.uint8)  # (1, 2, 3): red, green


@pytest.mark.parametrize(
    "value",
    [
        RGB,
        RGB.astype(np.float32) / 255,
        RGB.astype(np.float64) / 255,
        RGB.astype(np.uint16) * 257,
        np.dstack([RGB, np.full((1, 2), 255, np.uint8)]),
        torch.from_numpy(RGB).permute(2, 0, 1),
        torch.from_numpy(RGB).permute(2, 0, 1) / 255,
        (torch.from_numpy(RGB).permute(2, 0, 1) / 255).bfloat16(),
        Image.fromarray(RGB),
        cv2.imencode(".png", RGB[..., ::-1])[1].tobytes(),
        io.BytesIO(cv2.imencode(".png", RGB[..., ::-1])[1].tobytes()),
    ],
    ids=[
        "uint8",
        "float32",
        "float64",
        "uint16",
        "opaque",
        "tensor",
        "float tensor",
        "bfloat16",
        "PIL",
        "bytes",
        "open file",
    ],
)
def test_one_image_of_every_kind(value: Any) -> None:
    image = as_image(value)
    assert image.dtype == np.uint8
    assert image.flags.c_contiguous
    np.testing.assert_array_equal(image, RGB)


def test_bgr_grey_and_alpha() -> None:
    np.testing.assert_array_equal(as_image(RGB[..., ::-1], bgr=True), RGB)
    grey = np.array([[0, 200]], np.uint8)
    for value in (grey, grey[..., None], torch.from_numpy(grey)[None], Image.fromarray(grey)):
        np.testing.assert_array_equal(as_image(value), np.repeat(grey[..., None], 3, axis=2))
    half = np.dstack([RGB, np.array([[0, 51]], np.uint8)])  # transparent, and a fifth: 0.2 * 128 + 0.8 * 255 = 229.6
    expected = [[[255, 255, 255], [204, 230, 204]]]
    np.testing.assert_array_equal(as_image(half), expected)
    np.testing.assert_array_equal(as_image(Image.fromarray(half)), expected)
    blue_first = half[..., [2, 1, 0, 3]]
    np.testing.assert_array_equal(as_image(blue_first, bgr=True), expected)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_a_pil_image_of_16_bits_is_read_as_its_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"deep{suffix}"
    cv2.imwrite(str(path), np.array([[0, 25_700, 65_535]], np.uint16))
    with Image.open(path) as opened:
        np.testing.assert_array_equal(as_image(opened), np.repeat([[[0], [100], [255]]], 3, axis=2))
    np.testing.assert_array_equal(as_image(path.read_bytes()), as_image(Image.open(path)))


def test_a_turned_pil_image_is_upright() -> None:
    turned = Image.fromarray(RGB)
    turned.getexif()[0x0112] = 6  # by 90 degrees clockwise
    np.testing.assert_array_equal(as_image(turned), np.rot90(RGB, -1))


@pytest.mark.parametrize("mode", ["I", "F"])
def test_a_pil_image_of_an_unknown_range_is_refused(mode: str) -> None:
    with raises(DataError, mode):
        as_image(Image.new(mode, (4, 4)))


def test_a_truncated_pil_image_is_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    whole = cv2.imencode(".jpg", noise)[1].tobytes()
    with raises(DataError, "image 1"):
        media_of([Image.open(io.BytesIO(whole[: len(whole) * 3 // 4]))])


@pytest.mark.parametrize(
    "value",
    [
        RGB.astype(np.float32),
        RGB.astype(np.float32) / 255 - 0.5,
        np.full((4, 4, 3), np.nan, np.float32),
        RGB.astype(np.int64),
        RGB.astype(np.uint16),
        io.StringIO("text"),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros(3, np.uint8),
        b"no image",
        17,
        None,
        {"a": RGB},
    ],
    ids=[
        "0..255",
        "negative",
        "nan",
        "int64",
        "8 of 16 bits",
        "open text",
        "planes",
        "channels",
        "empty",
        "flat",
        "text",
        "int",
        "None",
        "dict",
    ],
)
def test_what_is_no_image_is_refused(value: Any) -> None:
    with raises(DataError, "image 1"):
        media_of([value])


def test_lists_and_batches(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "same.png"), RGB[..., ::-1])
    media = media_of([tmp_path / "a/same.png", str(tmp_path / "b"), RGB])
    assert (media.total, media.is_finite) == (3, True)
    assert len({entry.place for entry in media.known}) == 3
    for source in media.images():
        np.testing.assert_array_equal(source.read(), RGB)
    assert media_of(np.stack([RGB, RGB])).total == 2
    assert media_of(torch.zeros(5, 3, 8, 8)).total == 5
    with raises(DataError, "list"):
        media_of([])
