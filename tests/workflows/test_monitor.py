"""`lookonce monitor`: what its server answers, and the page in a browser."""

import json
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

import cv2
import numpy as np
import pytest
from chromium import chromium_page, find_chromium
from raised import raises

from lookonce.errors import DataError, SettingsError
from lookonce.log import get_logger
from lookonce.training.run_folder import RunFolder
from lookonce.web.server import serving_answers
from lookonce.workflows.monitor import LiveRuns, monitor, shown_in_browser

ROWS = [
    {"epoch": epoch, "loss": 3.0 - epoch, "lr": 0.01, "AP": 0.1 + epoch / 10, "AP50": 0.25 + epoch / 8}
    for epoch in range(2)
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = RunFolder(tmp_path / "run-1")
    folder.plots.mkdir(parents=True)
    folder.settings.write_text("epochs: 3\n")
    folder.write_metrics(ROWS[:1])
    folder.log.write_text("".join(f"line {number}\n" for number in range(100)) + "<script>alert(1)</script>\n")
    _, jpeg = cv2.imencode(".jpg", np.zeros((40, 60, 3), np.uint8))
    folder.first_batch.write_bytes(jpeg.tobytes())
    return folder.path


@contextmanager
def port_of(*runs: Path) -> Iterator[int]:
    with serving_answers(LiveRuns({run.name: run for run in runs}).answer, 0) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def ask(port: int, address: str, host: str = "127.0.0.1:1") -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", address, headers={"Host": host})
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_a_state_holds_what_is_new_and_nothing_if_nothing_is(run: Path) -> None:
    with port_of(run) as port:
        first = json.loads(ask(port, "/state")[1])
        again = json.loads(ask(port, f"/state?{first['digest']}")[1])
        RunFolder(run).write_metrics(ROWS)
        then = json.loads(ask(port, f"/state?{first['digest']}")[1])
    assert "1/3" in first["parts"]["tiles"]
    assert again == {"digest": first["digest"], "parts": {}, "error": ""}
    assert "2/3" in then["parts"]["tiles"]
    assert "0.375" in then["parts"]["tiles"]
    assert "line 99" in first["parts"]["log"]
    assert "line 60" not in first["parts"]["log"]
    assert "<script>" not in first["parts"]["log"]


def test_only_images_of_the_runs_are_answered_and_only_under_the_names_of_this_machine(run: Path) -> None:
    RunFolder(run).validation_sheet.write_bytes(RunFolder(run).first_batch.read_bytes())
    with port_of(run) as port:
        (image,) = re.findall(r'src="([^"]+)"', json.loads(ask(port, "/state")[1])["parts"]["images"])
        assert image.startswith("/image/0/validation.jpg?")
        assert ask(port, image) == (200, RunFolder(run).validation_sheet.read_bytes())
        for address in ("/image/0/../settings.yaml", "/image/1/validation.jpg", "/settings.yaml", "/image/0/"):
            assert ask(port, address)[0] == 404
        assert ask(port, "/", host="localhost:1")[0] == 200
        assert ask(port, "/", host="example.org:1")[0] == 404


def test_a_run_that_was_moved_leaves_the_page_with_a_reason(run: Path) -> None:
    with port_of(run) as port:
        shutil.move(run, run.with_name("moved"))
        state = json.loads(ask(port, "/state?known")[1])
    assert (state["digest"], state["parts"]) == ("known", {})
    assert str(run) in state["error"]


def test_output_writes_one_file_with_the_images_in_it(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "run-2"
    shutil.copytree(run, other)
    page = monitor(run, other, output=tmp_path / "pages" / "now.html")
    assert page is not None
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/jpeg") == 2
    assert "fetch(" not in text
    assert "connect-src" not in text


def test_a_folder_that_is_no_run_and_one_that_is_given_twice_are_refused(run: Path, tmp_path: Path) -> None:
    with raises(DataError, path=tmp_path):
        monitor(tmp_path)
    with raises(SettingsError, setting="more"):
        monitor(run, run)


def test_a_training_serves_its_page_until_it_ends(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    get_logger().addHandler(caplog.handler)
    caplog.set_level("INFO", logger=get_logger().name)
    with shown_in_browser(run):
        port = int(re.findall(r":(\d+)/", caplog.text)[-1])
        assert ask(port, "/")[0] == 200
    get_logger().removeHandler(caplog.handler)
    with pytest.raises(ConnectionError):
        ask(port, "/")


@pytest.mark.slow
@pytest.mark.skipif(
    find_chromium() is None or sys.platform == "win32", reason="no chromium to open pages in: apt-get install chromium"
)
def test_a_browser_shows_a_new_epoch_by_itself_asks_nobody_else_and_has_no_errors(run: Path, tmp_path: Path) -> None:
    with port_of(run) as port, chromium_page(tmp_path / "profile") as page:
        for width, dark in ((390, True), (1280, False)):
            page.open(f"http://127.0.0.1:{port}/", width=width, dark=dark)
            page.wait("document.querySelector('img').naturalWidth === 60")
            assert page.value("document.documentElement.scrollWidth") <= width
        RunFolder(run).write_metrics(ROWS)
        page.wait("document.getElementById('part-tiles').textContent.includes('2/3')")
        assert page.errors == []
        own = f"http://127.0.0.1:{port}/"
        assert [url for url in page.requests if not url.startswith((own, "data:"))] == []
