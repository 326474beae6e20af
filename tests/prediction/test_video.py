"""Videos: every frame with its time, upright, to the end; and written ones that can be read again."""

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from raised import raises

from lookonce.errors import DataError, MissingExtra
from lookonce.prediction.video import ENCODERS, VideoWriter, read_frames, read_header

av = pytest.importorskip("av", reason="the extra `video` is not installed")


def picture(number: int, size_hw: tuple[int, int] = (32, 48)) -> np.ndarray:
    """A different one for each number, with detail down to the pixel."""
    return np.random.default_rng(number).integers(0, 256, (*size_hw, 3), np.uint8)


def write_lossless(path: Path, images: list[np.ndarray], times: list[int] | None = None) -> Path:
    """FFV1 in Matroska; times in milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "bgr0"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time, image in zip(times or range(0, 40 * len(images), 40), images, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_mp4(path: Path, images: list[np.ndarray], seconds: list[Fraction] | None = None) -> Path:
    writer = VideoWriter(path, frame_rate=Fraction(25))
    for image, time in zip(images, seconds or [Fraction(n, 25) for n in range(len(images))], strict=True):
        writer.add(image, time)
    writer.close()
    return path


def test_frames_of_a_lossless_video_are_the_images_it_was_made_of(tmp_path):
    images = [picture(number) for number in range(5)]
    path = str(write_lossless(tmp_path / "straße 猫.mkv", images))
    frames = list(read_frames(path, path))
    assert [frame.seconds for frame in frames] == [Fraction(number, 25) for number in range(5)]
    for frame, image in zip(frames, images, strict=True):
        np.testing.assert_array_equal(frame.pixels(), image)


def test_uneven_times_are_kept(tmp_path):
    path = str(write_lossless(tmp_path / "a.mkv", [picture(n) for n in range(4)], times=[100, 140, 400, 1000]))
    assert [float(frame.seconds) for frame in read_frames(path, path)] == [0, 0.04, 0.3, 0.9]


def test_a_header_says_how_many_frames_at_what_rate(tmp_path):
    path = str(write_mp4(tmp_path / "a.mp4", [picture(n) for n in range(7)]))
    header = read_header(path, path)
    assert (header.num_frames, header.frame_rate) == (7, 25)


@pytest.mark.parametrize("encoder", [name for name in ENCODERS if name in av.codecs_available])
def test_a_written_video_can_be_decoded_again_with_its_times(tmp_path, monkeypatch, encoder):
    """Smooth pictures, which lossy compression keeps to a few levels; odd sides grow by one."""
    monkeypatch.setattr("lookonce.prediction.video.ENCODERS", {encoder: ENCODERS[encoder]})
    columns, rows = np.meshgrid(np.arange(51), np.arange(37))
    images = [np.stack([4 * columns, 6 * rows, np.full_like(rows, 40 * n)], axis=2).astype(np.uint8) for n in range(5)]
    times = [Fraction(0), Fraction(1, 30), Fraction(1, 3), Fraction(1, 2), Fraction(2)]
    path = str(write_mp4(tmp_path / "new" / "a.mp4", images, times))
    frames = list(read_frames(path, path))
    assert [frame.seconds for frame in frames] == times
    for frame, image in zip(frames, images, strict=True):
        shown = frame.pixels()
        assert shown.shape == (38, 52, 3)
        assert np.abs(shown[:37, :51].astype(int) - image).mean() < 6
    assert [one.name for one in (tmp_path / "new").iterdir()] == ["a.mp4"]


def test_a_video_has_its_name_when_it_is_complete_and_none_without_frames(tmp_path):
    writer = VideoWriter(tmp_path / "a.mp4", frame_rate=Fraction(25))
    writer.add(picture(0), Fraction(0))
    assert not (tmp_path / "a.mp4").exists()
    writer.close()
    assert (tmp_path / "a.mp4").exists()
    VideoWriter(tmp_path / "b.mp4", frame_rate=Fraction(25)).close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


def test_a_frame_of_another_size_is_fitted_into_the_first_ones(tmp_path):
    path = str(write_mp4(tmp_path / "a.mp4", [picture(0), picture(1, (64, 64))]))
    assert [frame.pixels().shape for frame in read_frames(path, path)] == [(32, 48, 3)] * 2


def test_times_that_stand_still_are_told_apart(tmp_path):
    path = str(write_mp4(tmp_path / "a.mp4", [picture(n) for n in range(3)], [Fraction(0)] * 3))
    seconds = [frame.seconds for frame in read_frames(path, path)]
    assert all(before < after for before, after in pairwise(seconds))


@pytest.mark.parametrize(("turned", "quarter_turns"), [((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)])
def test_a_video_filmed_sideways_is_turned_upright(tmp_path, turned, quarter_turns):
    """ISO 14496-12: the track header's matrix maps stored to shown pixels; (0 1 -1 0) turns clockwise."""
    path = write_mp4(tmp_path / "a.mp4", [np.full((32, 64, 3), 128, np.uint8)])
    still = next(read_frames(str(path), "a")).pixels()
    image = np.full((32, 64, 3), 60, np.uint8)
    image[:16, :32] = 220  # the upper left quarter
    write_mp4(path, [image])
    content = bytearray(path.read_bytes())
    matrix_at = content.index(b"tkhd") + 4 + 4 + 20 + 16
    a, b, c, d = (number << 16 for number in turned)
    for offset, value in zip((0, 4, 12, 16), (a, b, c, d), strict=True):
        content[matrix_at + offset : matrix_at + offset + 4] = (value & 0xFFFFFFFF).to_bytes(4, "big")
    path.write_bytes(content)
    shown = next(read_frames(str(path), "a")).pixels()
    assert shown.shape == np.rot90(still, quarter_turns).shape
    assert np.abs(shown.astype(int) - np.rot90(image, quarter_turns)).mean() < 10


def test_a_damaged_part_is_told_and_the_rest_is_read(tmp_path):
    path = write_lossless(tmp_path / "a.mkv", [picture(n) for n in range(6)])
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(content)
    errors: list[DataError | None] = []
    for frame in read_frames(str(path), "a.mkv"):
        try:
            frame.pixels()
        except DataError as error:
            errors.append(error)
        else:
            errors.append(None)
    assert errors.count(None) >= 2
    assert all(error.path == "a.mkv" and "damaged" in str(error) for error in errors if error)


@pytest.mark.parametrize(("name", "options"), [("a.mp4", {"movflags": "faststart"}), ("a.mkv", {})])
def test_a_file_that_ends_early_is_told(tmp_path, name, options):
    path = tmp_path / name
    with av.open(str(path), "w", container_options=options) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for number in range(6):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        container.mux(stream.encode(None))
    whole = path.read_bytes()
    assert [frame.pixels().shape for frame in read_frames(str(path), name)] == [(32, 48, 3)] * 6
    path.write_bytes(whole[: len(whole) * 2 // 3])
    *_, last = read_frames(str(path), name)
    with raises(DataError, "shorter", path=name):
        last.pixels()


def test_a_recording_that_does_not_say_its_length_ends_where_it_ends(tmp_path):
    """Matroska without a seek back to the header, as a camera writes it to a pipe."""
    path = tmp_path / "live.mkv"
    with av.open(str(path), "w", container_options={"live": "1"}) as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 48, "yuv420p"
        for number in range(6):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="rgb24")))
        container.mux(stream.encode(None))
    assert [frame.pixels().shape for frame in read_frames(str(path), "live.mkv")] == [(32, 48, 3)] * 6


@pytest.mark.parametrize("content", [b"", b"no video", picture(0).tobytes()])
def test_what_is_no_video_is_refused_by_name(tmp_path, content):
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    with raises(DataError, path=path):
        read_header(str(path), str(path))


def write_header_only(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        container.start_encoding()
    return path


def test_a_header_without_frames_is_told(tmp_path):
    path = write_header_only(tmp_path / "a.avi")
    (only,) = read_frames(str(path), "a.avi")
    with raises(DataError, "no frames", path="a.avi"):
        only.pixels()


def test_frames_over_the_limit_are_refused(tmp_path, monkeypatch):
    path = write_lossless(tmp_path / "clip.mkv", [picture(0)])
    monkeypatch.setenv("LOOKONCE_MAX_PIXELS", str(32 * 48 - 1))
    with raises(DataError):
        next(read_frames(str(path), "clip.mkv")).pixels()


def test_a_file_without_images_is_refused(tmp_path):
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with raises(DataError, path="a.mp4"):
        read_header(str(path), "a.mp4")


def test_without_pyav_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    with raises(MissingExtra, extra="video"):
        read_header("a.mp4", "a.mp4")


@pytest.mark.parametrize(("name", "num_frames"), [("car-detection.mp4", 377), ("bottle-detection.mp4", 1189)])
def test_real_videos_decode_to_the_end(shared, name, num_frames):
    path = str(shared(f"data/media/intel/{name}"))
    assert read_header(path, path).num_frames == num_frames
    seconds = [frame.seconds for frame in read_frames(path, path)]
    assert len(seconds) == num_frames
    assert all(before < after for before, after in pairwise(seconds))
