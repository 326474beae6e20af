"""Video files and streams -> upright RGB frames, and frames -> a video file, by PyAV (the extra `video`)."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from lookonce.data.images import max_pixels
from lookonce.errors import DataError, needing_extra
from lookonce.letterbox import ImageArray
from lookonce.remote.urls import is_url
from lookonce.storage import os_errors_explained

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream


# Containers that PyAV reads; a GIF counts as an image (its first frame).
VIDEO_SUFFIXES = frozenset(
    {".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts"}
    | {".ogv", ".ts", ".webm", ".wmv"}
)
WAIT_SECONDS = 10.0  # timeout of a stream that does not respond
USUAL_RATE = Fraction(25)
# Preferred first: H.264 plays everywhere; a PyAV built without x264 has the others.
ENCODERS: dict[str, dict[str, str]] = {
    "libx264": {"crf": "22", "preset": "veryfast"},
    "libopenh264": {},
    "mpeg4": {"flags": "+qscale", "global_quality": str(3 * 118)},  # quantizer 3, in FFmpeg's units
}
# Start of a Matroska file (RFC 9559), and the ID of the element that holds its frames.
EBML, SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
# At 25, 30 and 30000/1001 frames per second a frame lasts whole ticks; MPEG-4 allows no finer clock than 1/65535.
WRITTEN_TIME_BASE = Fraction(1, 60_000)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """seconds: time since the start; pixels() decodes to (H, W, 3) uint8 RGB, upright, or raises DataError."""

    seconds: Fraction
    pixels: Callable[[], ImageArray]


def seconds_since(started: float) -> Fraction:
    """Time of a frame that has no timestamp of its own; started: value of time.monotonic()."""
    return Fraction(time.monotonic() - started).limit_denominator(90_000)


@dataclass(frozen=True, kw_only=True)
class VideoHeader:
    """num_frames: from the header, or estimated from duration and frame rate; None when unknown or endless."""

    num_frames: int | None
    frame_rate: Fraction


def require_video() -> Any:
    """PyAV. MissingExtra when it is not installed."""
    with needing_extra("reading and writing video", "video", "av"):
        import av
    return av


def read_header(address: str, name: str) -> VideoHeader:
    """Reads the header of a video. DataError when it is not a video; `name` stands for it in errors."""
    with _opened(address, name) as (container, stream):
        rate = stream.average_rate or stream.guessed_rate or USUAL_RATE
        num_frames = stream.frames
        if not num_frames and container.duration:
            num_frames = round(container.duration * rate / 1_000_000)
        return VideoHeader(num_frames=num_frames or None, frame_rate=Fraction(rate))


def read_frames(address: str, name: str) -> Generator[Frame]:
    """Yields all frames. For a damaged part, a truncated file or one without frames it yields a frame
    whose pixels() raises."""
    with _opened(address, name) as (container, stream):
        stream.thread_type = "AUTO"
        rate = Fraction(stream.average_rate or USUAL_RATE)
        start, seconds, yielded = None, Fraction(-1), False
        for frame in _decoded(container, stream, address, name):
            yielded = True
            if isinstance(frame, DataError):
                yield Frame(seconds=max(seconds, Fraction(0)), pixels=partial(refuse, frame))
                continue
            own = None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base
            start = own if start is None else start
            given = seconds if own is None or start is None else own - start
            # Some files repeat or omit timestamps; a written video needs increasing ones.
            seconds = given if given > seconds else max(seconds, Fraction(0)) + 1 / rate
            yield Frame(seconds=seconds, pixels=partial(_upright_rgb, frame))
        # The last frame in the file's index lies beyond its end: FFmpeg stops there without an error. PyAV 14 has none.
        entries: Sequence[Any] = getattr(stream, "index_entries", ())
        ends_early = len(entries) > 0 and entries[-1].pos + entries[-1].size > container.size > 0
        if Path(address).is_file() and (ends_early or _segment_ends_early(Path(address))):
            short = DataError.at(name, "truncated video: the file is shorter than its header says")
            yield Frame(seconds=max(seconds, Fraction(0)), pixels=partial(refuse, short))
        elif not yielded:
            empty = DataError.at(name, "contains no frames, only a header; record or copy it again")
            yield Frame(seconds=Fraction(0), pixels=partial(refuse, empty))


def _segment_ends_early(path: Path) -> bool:
    """Whether a Matroska or WebM file is shorter than its header says; False for a live recording (no size)."""
    with path.open("rb") as file:
        start = file.read(1024)
    if not start.startswith(EBML):
        return False
    header_size, after = _ebml_size(start, len(EBML))
    segment = after + (header_size or 0)
    if start[segment : segment + len(SEGMENT)] != SEGMENT:
        return False
    size, after = _ebml_size(start, segment + len(SEGMENT))
    return size is not None and after + size > path.stat().st_size


def _ebml_size(data: bytes, at: int) -> tuple[int | None, int]:
    """An EBML element size (RFC 8794, 4) and the position after it; None when it is "unknown" or invalid."""
    if at >= len(data) or not data[at]:
        return None, at
    num_bytes = 9 - data[at].bit_length()
    bits = 7 * num_bytes
    value = int.from_bytes(data[at : at + num_bytes], "big") & ((1 << bits) - 1)
    return (None if value == (1 << bits) - 1 else value), at + num_bytes


def _decoded(
    container: InputContainer, stream: VideoStream, address: str, name: str
) -> Iterator[VideoFrame | DataError]:
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
            yield from packet.decode()
        except (StopIteration, av.error.EOFError):
            return
        except av.error.InvalidDataError as error:
            yield DataError.at(name, f"damaged video: {error.strerror}")
        except av.error.FFmpegError as error:  # the stream broke off or timed out
            advice = "check the server and the network; --reconnect N opens a stream again"
            if not is_url(address):
                advice = "check the disk, or copy the file again"
            yield DataError.at(name, f"broke off: {error.strerror}; {advice}")
            return


@contextmanager
def _opened(address: str, name: str) -> Iterator[tuple[InputContainer, VideoStream]]:
    av = require_video()
    options = {"rtsp_transport": "tcp"} if address.startswith("rtsp") else {}
    try:
        container = av.open(address, options=options, timeout=WAIT_SECONDS)
    except (av.error.FFmpegError, OSError) as error:
        expected = "expected a stream that can be reached" if is_url(address) else "expected a video file"
        problem = f"cannot be opened as a video: {error.strerror or error}; {expected}; does ffplay or VLC open it?"
        raise DataError.at(name, problem) from error
    with container:
        if not container.streams.video:
            raise DataError.at(name, "contains no video stream")
        stream = container.streams.video[0]
        stream.codec_context.options = {"max_pixels": str(max_pixels())}
        yield container, stream


def refuse(error: DataError) -> ImageArray:
    """`pixels` of a frame or image that cannot be read."""
    raise error


def _upright_rgb(frame: VideoFrame) -> ImageArray:
    """RGB by FFmpeg's conversion, rotated by the file's display matrix (phones record sideways)."""
    image = frame.to_ndarray(format="rgb24")
    quarter_turns = round(frame.rotation / 90) % 4
    return np.ascontiguousarray(np.rot90(image, quarter_turns))


class VideoWriter:
    """Writes an .mp4 file of frames with timestamps; the file gets its name on close."""

    def __init__(self, path: Path, *, frame_rate: Fraction) -> None:
        self.path = path
        self._new = path.with_name(f".{path.name}.new")
        self._rate = frame_rate
        self._av = require_video()
        self._last_tick = -1
        with os_errors_explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._container = self._av.open(str(self._new), "w", format="mp4")
        self._stream: Any = None

    def add(self, image: ImageArray, seconds: Fraction) -> None:
        """image (H, W, 3) uint8 RGB, resized to the first one's size; seconds must increase."""
        # yuv420p stores one colour for 2 x 2 pixels, so the last row or column of an odd size is repeated.
        image = np.pad(image, ((0, image.shape[0] % 2), (0, image.shape[1] % 2), (0, 0)), mode="edge")
        if self._stream is None:
            name = next(name for name in ENCODERS if name in self._av.codecs_available)
            stream = self._container.add_stream(name, rate=self._rate.limit_denominator(1001), options=ENCODERS[name])
            stream.width, stream.height = image.shape[1], image.shape[0]
            stream.pix_fmt = "yuv420p"
            stream.codec_context.time_base = WRITTEN_TIME_BASE
            stream.codec_context.thread_count = 2  # the other cores run the network
            self._stream = stream
        size_wh = (self._stream.width, self._stream.height)
        if image.shape[1::-1] != size_wh:
            image = np.asarray(cv2.resize(image, size_wh, interpolation=cv2.INTER_AREA), np.uint8)
        frame = self._av.VideoFrame.from_ndarray(image, format="rgb24")
        self._last_tick = frame.pts = max(round(seconds / WRITTEN_TIME_BASE), self._last_tick + 1)
        frame.time_base = WRITTEN_TIME_BASE
        with os_errors_explained(self.path):
            self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Flush the encoder and rename the file; without frames no file is left."""
        with os_errors_explained(self.path):
            if self._stream is not None:
                self._container.mux(self._stream.encode(None))
            self._container.close()
            if self._stream is not None:
                self._new.replace(self.path)
            self._new.unlink(missing_ok=True)
