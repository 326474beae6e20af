"""A picture, a camera's stream and a video behind URLs of this machine; nothing is asked of any other."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import cv2
import numpy as np
import pytest
from raised import raises

from lookonce.data.images import read_image
from lookonce.errors import DataError
from lookonce.prediction import http
from lookonce.prediction.http import open_url
from lookonce.prediction.sources import find_media
from lookonce.remote.urls import is_url, without_password

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
JPEG = cv2.imencode(".jpg", IMAGE)[1].tobytes()


@contextmanager
def serving(answers: dict[str, tuple[str, bytes]], seen: list[str] | None = None) -> Iterator[str]:
    """Path -> (content type, content); the rest is 404. seen collects the Authorization headers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            if seen is not None:
                seen.append(self.headers.get("Authorization", ""))
            if self.path not in answers:
                self.send_error(404)
                return
            kind, content = answers[self.path]
            start = int(self.headers.get("Range", "bytes=0-")[6:].partition("-")[0])
            self.send_response(206 if start else 200)
            if start:  # MP4 keeps its index at the end
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
                content = content[start:]
            self.send_header("Content-Type", kind)
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(ConnectionError):  # FFmpeg hangs up when it has seen enough
                self.wfile.write(content)

        def log_message(self, *_args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://camera/a.jpg", True),
        ("RTSP://camera/1", True),
        ("file:///etc/passwd", False),
        ("concat:a|b", False),
        ("street/a.jpg", False),
        ("0", False),
    ],
)
def test_what_a_url_is(text, expected):
    assert is_url(text) == expected


def test_a_password_is_not_told():
    assert without_password("rtsp://me:secret@camera:554/1?a=b") == "rtsp://me:***@camera:554/1?a=b"
    assert without_password("http://camera/1") == "http://camera/1"


def test_an_image_is_read_as_the_file_would_be(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_bytes(JPEG)
    (on_disk,) = find_media(path).images()
    with serving({"/a.jpg": ("image/jpeg", JPEG)}) as address:
        (from_server,) = find_media(f"{address}/a.jpg").images()
        np.testing.assert_array_equal(from_server.read(), on_disk.read())
    assert from_server.name == f"{address}/a.jpg"


def test_a_camera_that_sends_one_jpeg_after_another_is_live():
    part = b"--edge\r\nContent-Type: image/jpeg\r\n\r\n" + JPEG + b"\r\n"
    with serving({"/live": ("multipart/x-mixed-replace; boundary=edge", part * 3)}) as address:
        media = find_media(f"{address}/live")
        assert media.live
        frames = list(media.images())
    assert 1 <= len(frames) <= 3
    assert frames[-1].read().shape == (20, 30, 3)
    assert frames[-1].clip.place.name.startswith("127.0.0.1")


def test_a_video_behind_a_url_has_all_its_frames(shared):
    pytest.importorskip("av", reason="the extra `video` is not installed")
    content = shared("data/media/intel/bottle-detection.mp4").read_bytes()
    with serving({"/b.mp4": ("video/mp4", content)}) as address:
        media = find_media(f"{address}/b.mp4")
        assert (media.live, media.total) == (False, 1189)
        assert next(media.images()).read().shape == (360, 640, 3)


def test_a_file_behind_a_url_is_no_stream_and_an_empty_one_is_named():
    """MPEG-TS has no header with a number of frames."""
    av = pytest.importorskip("av", reason="the extra `video` is not installed")
    file = BytesIO()
    with av.open(file, "w", format="mpegts") as container:
        stream = container.add_stream("mpeg2video", rate=25, width=64, height=32, pix_fmt="yuv420p")
        for number in range(12):
            frame = av.VideoFrame.from_ndarray(np.full((32, 64, 3), 20 * number, np.uint8))
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    files = {"/a.ts": ("video/mp2t", file.getvalue()), "/b.mkv": ("video/x-matroska", b"")}
    with serving(files) as address:
        media = find_media(f"{address}/a.ts")
        assert (media.live, len(list(media.images()))) == (False, 12)
        with raises(DataError, "is empty", path=f"{address}/b.mkv"):
            find_media(f"{address}/b.mkv")


def test_name_and_password_are_sent_to_the_server_and_not_told():
    seen: list[str] = []
    with serving({"/a.jpg": ("image/jpeg", JPEG)}, seen) as address:
        url = address.replace("http://", "http://me:p%40ss@") + "/a.jpg"
        (image,) = find_media(url).images()
    assert seen == ["Basic bWU6cEBzcw=="]  # me:p@ss
    assert "p%40ss" not in image.name


def test_no_answer_and_a_bad_answer_are_told():
    with serving({}) as address, raises(DataError, "404", path=f"{address}/nothing"):
        open_url(f"{address}/nothing")
    with raises(DataError, path=address):
        open_url(address)


def test_a_web_page_is_not_opened_as_a_video():
    pages = {"/": ("text/html", b"<!DOCTYPE html>\n<html></html>")}
    with serving(pages) as address, raises(DataError, "web page", path=f"{address}/"):
        open_url(f"{address}/")


def test_the_urls_of_a_list_are_fetched_and_one_that_is_wrong_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(http, "PAUSES_SECONDS", (0, None))
    with serving({"/a?signature=s3cret": ("application/octet-stream", JPEG)}) as address:
        (tmp_path / "list.txt").write_text(f"{address}/a?signature=s3cret\n{address}/b.jpg\nhttp://127.0.0.1:9/c.jpg\n")
        first, *others = find_media(tmp_path / "list.txt").images()
        assert first.name == f"{address}/a?signature=***"
        np.testing.assert_array_equal(first.read(), read_image(JPEG))
        for wrong, name in zip(others, ("b.jpg", "c.jpg"), strict=True):
            with raises(DataError, path=name):
                wrong.read()
        monkeypatch.setattr(http, "_answered", refusing_once(http._answered))
        np.testing.assert_array_equal(first.read(), read_image(JPEG))


def refusing_once(answered):
    """A server that is away at the first request."""
    requests = iter([DataError("not reachable")])

    def answer(url, name):
        for error in requests:
            raise error
        return answered(url, name)

    return answer
