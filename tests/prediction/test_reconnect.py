"""Live sources that break: reconnection, and what is said about an image that has not arrived whole."""

from collections.abc import Generator
from fractions import Fraction

import numpy as np
import pytest
from ports import free_port
from raised import raises

from lookonce.errors import DataError, SettingsError
from lookonce.prediction.camera import connected, reconnecting
from lookonce.prediction.media import read_streamed
from lookonce.prediction.renderer import encode
from lookonce.prediction.sources import find_media
from lookonce.prediction.video import Frame
from lookonce.prediction.window import Window


def frames(*seconds: int, breaks: bool = True) -> Generator[Frame]:
    for second in seconds:
        yield Frame(seconds=Fraction(second), pixels=lambda: np.zeros((1, 1, 3), np.uint8))
    if breaks:
        raise DataError("gone")


def test_a_stream_is_opened_again_with_longer_and_longer_waits_until_the_attempts_are_spent() -> None:
    connections = iter([frames(0, 1), frames(), frames(0, breaks=False), frames(), frames(), frames(), frames()])
    waits: list[float] = []
    seen = []
    with raises(DataError, "gone"):
        seen += list(reconnecting(lambda: next(connections), "camera 0", 3, waits.append))
    assert waits == [1, 2, 1, 2, 4]


def test_the_first_connection_is_repeated_by_the_same_rules() -> None:
    answers: list[str | DataError] = [DataError("refused"), DataError("refused"), "stream"]
    waits: list[float] = []

    def connect() -> str:
        answer = answers.pop(0)
        if isinstance(answer, DataError):
            raise answer
        return answer

    assert connected(connect, 2, waits.append) == "stream"
    assert waits == [1, 2]
    answers += [DataError("refused"), DataError("refused")]
    with raises(DataError, "refused"):
        connected(connect, 1, waits.append)
    assert waits == [1, 2, 1]


def test_a_stream_that_is_not_there_yet_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(connected, "__defaults__", (waits.append,))
    with pytest.raises(DataError):
        find_media(f"http://127.0.0.1:{free_port()}/stream", reconnect=2)
    assert waits == [1, 2]


def test_without_attempts_a_stream_ends_as_it_did() -> None:
    assert len(list(reconnecting(lambda: frames(0, breaks=False), "a", 0))) == 1
    with raises(DataError, "gone"):
        list(reconnecting(frames, "a", 0))


def test_the_time_of_frames_goes_on() -> None:
    connections = iter([frames(0, 1, breaks=False), frames(0, breaks=False), frames()])
    found = reconnecting(lambda: next(connections), "a", 1, lambda _: None)
    times = [next(found).seconds for _ in range(3)]
    assert times[2] > 0


def test_an_image_that_has_not_arrived_whole_broke_off() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    content = encode(noise, ".jpg")
    assert read_streamed(content, "stream").shape == (64, 64, 3)
    with pytest.raises(DataError) as caught:
        read_streamed(content[: len(content) // 2], "stream")
    assert "broke off" in str(caught.value)
    assert "copy it again" not in str(caught.value)


def test_a_window_without_a_display_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    with raises(SettingsError, setting="show"):
        Window("a")
