"""Where a picture ends and the next begins, in a stream of bytes."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image
from raised import raises

from lookonce.errors import DataError
from lookonce.prediction.byte_stream import images_in

NOISE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def encoded(suffix: str, image: np.ndarray = NOISE, *options: int) -> bytes:
    return cv2.imencode(suffix, image, list(options))[1].tobytes()


def with_thumbnail() -> bytes:
    """A JPEG with a whole other JPEG in its EXIF segment, as cameras write them."""
    exif = b"Exif\0\0" + encoded(".jpg", NOISE[:8, :8])
    whole = encoded(".jpg")
    return whole[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + whole[2:]


IMAGES = {
    "baseline": encoded(".jpg"),
    "progressive": encoded(".jpg", NOISE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "with restart markers": encoded(".jpg", NOISE, cv2.IMWRITE_JPEG_RST_INTERVAL, 2),
    "grey": encoded(".jpg", NOISE[..., 0]),
    "with a thumbnail": with_thumbnail(),
    "png": encoded(".png"),
}


class Trickle(io.RawIOBase):
    """Gives a few bytes at a time, as a slow connection does."""

    def __init__(self, content: bytes, size: int) -> None:
        self._content, self._size = content, size

    def read1(self, _size: int) -> bytes:
        some, self._content = self._content[: self._size], self._content[self._size :]
        return some


@pytest.mark.parametrize("kind", IMAGES)
def test_one_image_comes_as_it_is(kind):
    assert list(images_in(io.BytesIO(IMAGES[kind]))) == [IMAGES[kind]]


@pytest.mark.parametrize("size", [1, 7, 1000, 1 << 20])
def test_images_one_after_another_however_they_arrive(size):
    stream = b"".join(IMAGES.values())
    assert list(images_in(Trickle(stream, size))) == list(IMAGES.values())


def test_what_lies_between_images_is_skipped():
    one, two = IMAGES["baseline"], IMAGES["png"]
    stream = b"--edge\r\nContent-Type: image/jpeg\r\n\r\n" + one + b"\r\n--edge\r\n\r\n" + two + b"\r\n--edge--"
    assert list(images_in(io.BytesIO(stream), multipart=True)) == [one, two]


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
@pytest.mark.parametrize("kind", ["baseline", "progressive", "with restart markers"])
def test_an_image_that_is_cut_off_costs_none_of_those_behind_it(kind, share):
    whole = IMAGES[kind]
    cut = whole[: int(len(whole) * share)]
    found = list(images_in(io.BytesIO(IMAGES["grey"] + cut + IMAGES["baseline"] + IMAGES["png"])))
    assert found == [IMAGES["grey"], cut, IMAGES["baseline"], IMAGES["png"]]


def test_a_header_that_is_cut_off_costs_none_of_those_behind_it():
    cut = IMAGES["baseline"][:100]  # inside a table of 67 bytes
    found = list(images_in(io.BytesIO(cut + IMAGES["baseline"])))
    assert found == [cut, IMAGES["baseline"]]


def test_the_last_image_comes_as_far_as_it_goes():
    cut = IMAGES["png"][:-20]
    assert list(images_in(io.BytesIO(IMAGES["grey"] + cut))) == [IMAGES["grey"], cut]


def test_of_other_kinds_the_whole_stream_is_one_image():
    for content in (encoded(".bmp"), encoded(".webp"), b"no picture at all", b""):
        assert list(images_in(io.BytesIO(content))) == [content]


def test_of_several_views_in_one_file_the_first_counts_as_it_does_on_disk(tmp_path):
    path = tmp_path / "two-lenses.jpg"
    views = [Image.fromarray(NOISE), Image.fromarray(255 - NOISE)]
    views[0].save(path, format="MPO", save_all=True, append_images=views[1:])
    found = list(images_in(io.BytesIO(path.read_bytes() + IMAGES["grey"])))
    assert len(found) == 2
    assert found[0] == path.read_bytes()[: len(found[0])]
    assert found[1] == IMAGES["grey"]


def test_a_stream_without_end_is_refused_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setenv("LOOKONCE_MAX_PIXELS", str(1 << 16))
    with raises(DataError, "JPEG", "PNG"):
        list(images_in(io.BytesIO(bytes(1 << 20))))
