"""Live sources: a camera, the screen, a network stream.

A slow consumer receives the newest frame; older frames are dropped.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ImageGrab

from lookonce.errors import DataError
from lookonce.log import get_logger
from lookonce.prediction.video import Frame, seconds_since

T = TypeVar("T")

SCREEN_SECONDS = 0.04  # minimum time between two screenshots
LONGEST_WAIT = 30.0  # seconds between two attempts to reconnect
MISSING_FRAMES = 30  # failed reads in a row, about a second, after which the camera counts as disconnected


def camera_frames(index: int) -> Generator[Frame]:
    """Opens the camera with this index at once; its frames, until it is disconnected."""
    logging = cv2.utils.logging
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)  # it warns for each interface that has no such camera
    try:
        capture = cv2.VideoCapture(index)
    finally:
        logging.setLogLevel(level)
    if not capture.isOpened():
        problem = "cannot be opened; check that it is connected, not in use, and that you may read it"
        raise DataError(f"camera {index}: {problem}", value=index)
    return _frames_of(capture)


def _frames_of(capture: cv2.VideoCapture) -> Generator[Frame]:
    try:
        started, failures = time.monotonic(), 0
        while failures < MISSING_FRAMES:
            there, image = capture.read()
            failures = 0 if there else failures + 1
            if there:
                yield _frame(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8), started)
    finally:
        capture.release()


def screen_frames() -> Generator[Frame]:
    """Screenshots of the whole screen, at most 25 per second."""
    started = time.monotonic()
    while True:
        begun = time.monotonic()
        yield _frame(screenshot(), started)
        time.sleep(max(0.0, begun + SCREEN_SECONDS - time.monotonic()))


def screenshot() -> NDArray[np.uint8]:
    """(H, W, 3) RGB of the screen; DataError without a display."""
    try:
        return np.asarray(ImageGrab.grab().convert("RGB"))
    except OSError as error:
        problem = f"cannot be read ({error}); expected a display (on Linux: X11, with DISPLAY set)"
        raise DataError(f"screen: {problem}", value="screen") from error


def reconnecting(
    connect: Callable[[], Iterable[Frame]],
    name: str,
    attempts: int,
    wait: Callable[[float], object] = time.sleep,
) -> Generator[Frame]:
    """The frames of a live source that is opened again after it ends or breaks.

    attempts: at most so many in a row without a frame, 1, 2, 4 ... up to LONGEST_WAIT seconds apart; after that, and
    with 0, the source ends as it did. The seconds of frames go on.
    """
    started, offset, failed = time.monotonic(), Fraction(0), 0
    while True:
        error: DataError | None = None
        try:
            for frame in connect():
                failed = 0
                yield replace(frame, seconds=frame.seconds + offset)
        except DataError as broken:
            error = broken
        if failed == attempts:
            if error is not None:
                raise error
            return
        _pause(f"{name}: the connection ended" if error is None else str(error), failed, attempts, wait)
        failed += 1
        offset = seconds_since(started)


def connected(connect: Callable[[], T], attempts: int, wait: Callable[[float], object] = time.sleep) -> T:
    """What the first connection to a live source gives; it is repeated by the rules of `reconnecting`."""
    failed = 0
    while True:
        try:
            return connect()
        except DataError as error:
            if failed == attempts:
                raise
            _pause(str(error), failed, attempts, wait)
        failed += 1


def _pause(why: str, failed: int, attempts: int, wait: Callable[[float], object]) -> None:
    seconds = min(2.0**failed, LONGEST_WAIT)
    get_logger().warning(f"{why}; attempt {failed + 1} of {attempts} to reconnect in {seconds:g} s")
    wait(seconds)


def _frame(image: NDArray[np.uint8], started: float) -> Frame:
    return Frame(seconds=seconds_since(started), pixels=lambda: image)


class LatestFrame:
    """Yields the latest frame of a live source; frames that arrive while the caller is busy are dropped."""

    def __init__(self, frames: Generator[Frame]) -> None:
        self._frames = frames
        self._changed = threading.Condition()
        self._newest: Frame | None = None
        self._error: BaseException | None = None
        self._ended = self._stopped = False

    def __iter__(self) -> Iterator[Frame]:
        threading.Thread(target=self._capture, name="lookonce-live", daemon=True).start()
        try:
            while (frame := self._take()) is not None:
                yield frame
        finally:
            self._stopped = True

    def _capture(self) -> None:
        try:
            with closing(self._frames):
                for frame in self._frames:
                    self._publish(frame)
                    if self._stopped:
                        break
        except BaseException as error:  # noqa: BLE001 (re-raised in the consumer thread)
            self._error = error
        finally:
            self._ended = True
            self._publish(None)

    def _publish(self, frame: Frame | None) -> None:
        with self._changed:
            self._newest = self._newest if frame is None else frame
            self._changed.notify()

    def _take(self) -> Frame | None:
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not None or self._ended)
            frame, self._newest = self._newest, None
        if frame is None and self._error is not None:
            raise self._error
        return frame
