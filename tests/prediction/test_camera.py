"""Cameras and screens: the newest picture, never an old one."""

import sys
import threading
from fractions import Fraction
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image
from raised import raises

from lookonce.errors import DataError
from lookonce.prediction import camera
from lookonce.prediction.camera import LatestFrame, camera_frames, screen_frames
from lookonce.prediction.video import Frame


def frame(number: int) -> Frame:
    return Frame(seconds=Fraction(number), pixels=lambda: np.full((1, 1, 3), number, np.uint8))


def test_what_came_while_the_caller_was_busy_is_skipped_but_for_the_newest():
    may_go_on, all_told = threading.Event(), threading.Event()

    def source():
        yield frame(0)
        assert may_go_on.wait(5)
        for number in (1, 2, 3):
            yield frame(number)
        all_told.set()

    frames = iter(LatestFrame(source()))
    assert next(frames).seconds == 0
    may_go_on.set()
    assert all_told.wait(5)
    assert [one.seconds for one in frames] == [3]


def test_a_source_that_nobody_watches_any_more_is_closed():
    closed = threading.Event()

    def source():
        try:
            while True:
                yield frame(0)
        finally:
            closed.set()

    frames = iter(LatestFrame(source()))
    next(frames)
    frames.close()
    assert closed.wait(5)


def test_an_error_of_the_source_reaches_the_caller():
    def source():
        yield frame(0)
        raise DataError("camera 0: gone")

    with pytest.raises(DataError, match="gone"):
        list(LatestFrame(source()))


class Camera:
    """Three pictures, one failed read among them, then nothing; BGR as OpenCV gives them."""

    def __init__(self, index: int) -> None:
        self.reads = [True, False, True, True]
        self.index, self.released = index, False

    def isOpened(self) -> bool:  # noqa: N802 (OpenCV's name)
        return self.index == 0

    def read(self):
        there = self.reads.pop(0) if self.reads else False
        return there, np.array([[[1, 2, 3]]], np.uint8) if there else None

    def release(self) -> None:
        self.released = True


def test_a_camera_gives_rgb_until_it_is_unplugged(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    frames = list(camera_frames(0))
    assert [one.pixels().tolist() for one in frames] == [[[[3, 2, 1]]]] * 3
    seconds = [one.seconds for one in frames]
    assert seconds == sorted(seconds)


def test_a_camera_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    with raises(DataError, value=7):
        camera_frames(7)


def test_the_screen_is_grabbed_as_rgb(monkeypatch):
    screen = Image.new("RGBA", (4, 2), (10, 20, 30, 255))
    monkeypatch.setattr(camera, "ImageGrab", SimpleNamespace(grab=lambda: screen))
    image = next(screen_frames()).pixels()
    assert image.shape == (2, 4, 3)
    assert image[0, 0].tolist() == [10, 20, 30]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a screen")
def test_without_a_screen_the_error_says_what_is_needed(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with raises(DataError, "DISPLAY", value="screen"):
        next(screen_frames())
