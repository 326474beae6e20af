"""The page in Chromium: detections equal Python's; every way in; filters, keys, themes; no request to another host."""

import base64
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from chromium import Page, chromium_page, find_chromium

import lookonce
from lookonce.errors import WeightsError
from lookonce.web.server import serving
from lookonce.workflows.page import page as write

PROJECT_ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_chromium() is None or sys.platform == "win32",
        reason="no chromium to open the page in: apt-get install chromium",
    ),
]
TEXT = "document.querySelector({!r}).textContent"


@dataclass
class Site:
    browser: Page
    url: str

    def open(self, *, width: int = 1280, dark: bool = False) -> None:
        self.browser.errors.clear()
        self.browser.requests.clear()
        self.browser.open(self.url, width=width, dark=dark)
        self.browser.wait("document.querySelector('#progress')?.hidden")
        assert self.text("#error") == ""

    def text(self, selector: str) -> str:
        return str(self.browser.value(TEXT.format(selector)))

    def show(self, *files: Path) -> None:
        """Chooses files and waits for the detections of the first."""
        self.browser.choose("#files", *files)
        self.browser.wait(f"{TEXT.format('#status')}.startsWith({files[0].name + ':'!r})")

    def wait_for_all(self, count: int) -> None:
        """Until all chosen images have their detections."""
        end = time.monotonic() + 60
        while len(self.saved()["images"]) < count:
            assert time.monotonic() < end, self.text("#error")

    def saved(self) -> dict[str, Any]:
        """What `Download JSON` would save."""
        catch = (
            "new Promise(done => { const made = URL.createObjectURL;"
            "URL.createObjectURL = blob => (blob.text().then(done), made(blob));"
            "document.querySelector('#download').click(); URL.createObjectURL = made; })"
        )
        self.browser.wait("!document.querySelector('#download').disabled")
        found: dict[str, Any] = json.loads(self.browser.value(catch))
        return found


@pytest.fixture(scope="module")
def site(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A page of the network, served; skipped where the runtime has not been downloaded."""
    folder = tmp_path_factory.mktemp("site") / "site"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOKONCE_OFFLINE", "1")
        patch.setenv("LOOKONCE_WEIGHTS", os.environ.get("LOOKONCE_WEIGHTS") or str(PROJECT_ROOT / "weights"))
        try:
            write(model, output=folder)
        except WeightsError as error:
            pytest.skip(str(error))
    flags = (
        *("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"),
        *("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"),  # WebGPU computed by the CPU
    )
    with serving(folder, 0) as server, chromium_page(tmp_path_factory.mktemp("profile"), *flags) as browser:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Site(browser, f"http://127.0.0.1:{server.server_port}/")
        server.shutdown()
        thread.join()


def assert_equal(saved: dict[str, Any], model: Path, images: list[Path]) -> int:
    """Same labels, boxes within 0.01 pixel, scores within 0.00001; returns the number of detections."""
    expected = [image.to_dict() for image in lookonce.load(model).predict([str(path) for path in images]).images]
    assert len(saved["images"]) == len(expected)
    for ours, theirs in zip(saved["images"], expected, strict=True):
        assert ours["file"] == Path(theirs["file"]).name
        assert (ours["width"], ours["height"]) == (theirs["width"], theirs["height"])
        labels = [[row["class"] for row in one["detections"]] for one in (ours, theirs)]
        assert labels[0] == labels[1], ours["file"]
        for name, tolerance in (("box_xyxy", 0.01), ("score", 1e-5)):
            values = [[row[name] for row in one["detections"]] for one in (ours, theirs)]
            np.testing.assert_allclose(*values, atol=tolerance, rtol=0, err_msg=ours["file"])
    return sum(len(one["detections"]) for one in expected)


def test_detections_on_webgpu_equal_pythons(site: Site, model: Path, images: list[Path]) -> None:
    site.open()
    if not site.browser.value("!!navigator.gpu && navigator.gpu.requestAdapter().then(adapter => !!adapter)"):
        pytest.skip("this Chromium has no WebGPU adapter, not even SwiftShader")
    choose = "(list => { list.value = 'webgpu'; list.dispatchEvent(new Event('change')); })"
    site.browser.value(f"{choose}(document.querySelector('#provider'))")
    site.browser.wait(f"{TEXT.format('#timing')}.startsWith('webgpu')")
    site.show(*images)
    site.wait_for_all(len(images))
    assert assert_equal(site.saved(), model, images) > 50
    assert site.browser.errors == []


def test_detections_equal_pythons_and_nothing_comes_from_outside(site: Site, model: Path, images: list[Path]) -> None:
    site.open()
    site.show(*images)
    site.wait_for_all(len(images))
    assert assert_equal(site.saved(), model, images) > 50
    assert site.browser.errors == []
    assert {urlsplit(url).netloc for url in site.browser.requests if not url.startswith("data:")} == {
        urlsplit(site.url).netloc
    }
    assert any(url.endswith(".wasm") for url in site.browser.requests)  # the worker's requests are seen too
    assert site.browser.value("crossOriginIsolated")


def test_detections_in_photographs_equal_pythons(site: Site, model: Path, shared: Callable[[str], Path]) -> None:
    photographs = [shared(f"data/media/pictures/{name}") for name in ("person.jpg", "eagle.jpg", "chelsea.png")]
    site.open()
    site.show(*photographs)
    site.wait_for_all(len(photographs))
    assert assert_equal(site.saved(), model, photographs) > 10


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window_and_every_control_has_a_name(
    site: Site, images: list[Path], width: int, dark: bool
) -> None:
    site.open(width=width, dark=dark)
    site.show(images[0], images[1])
    assert site.browser.value("document.documentElement.scrollWidth") <= width
    ground = site.browser.value("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(14, 18, 23)" if dark else "rgb(245, 247, 250)")
    nodes = site.browser.ask("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "slider", "checkbox", "combobox", "image", "link", "progressbar"}
    controls = [node for node in nodes if not node["ignored"] and node["role"]["value"] in roles]
    assert len(controls) > 10
    assert [node for node in controls if not node["name"].get("value")] == []
    assert site.browser.errors == []


def test_the_filters_need_no_new_run(site: Site, images: list[Path]) -> None:
    site.open()
    site.show(images[0])
    before = len(site.saved()["images"][0]["detections"])
    site.browser.value(
        "let asked = 0; const post = Worker.prototype.postMessage; "
        "Worker.prototype.postMessage = function (...given) { ++asked; return post.apply(this, given); }"
    )
    slide = "(it => {{ it.value = {}; it.dispatchEvent(new Event('input')); }})(document.querySelector('#threshold'))"
    site.browser.value(slide.format(0.05))
    assert len(site.saved()["images"][0]["detections"]) > before
    site.browser.value(slide.format(0.9))
    assert all(row["score"] > 0.9 for row in site.saved()["images"][0]["detections"])
    site.browser.value("document.querySelector('#threshold-reset').click()")
    assert len(site.saved()["images"][0]["detections"]) == before
    site.browser.value("document.querySelector('#classes input').click()")
    assert {row["label"] for row in site.saved()["images"][0]["detections"]} == {1}
    site.browser.value("document.querySelector('#classes-none').click()")
    assert site.text("#count") == "0 detections"
    assert site.browser.value("asked") == 0


def test_images_come_by_drop_and_paste_and_a_file_of_another_kind_is_named(site: Site, images: list[Path]) -> None:
    site.open()
    content = base64.b64encode(images[2].read_bytes()).decode()
    give = (
        "(() => {{ const data = new DataTransfer(); const bytes = Uint8Array.from(atob({!r}), c => c.charCodeAt(0));"
        "data.items.add(new File([bytes], {!r}, {{ type: 'image/png' }}));"
        "dispatchEvent(new {}({!r}, {{ {}: data, bubbles: true, cancelable: true }})); }})()"
    )
    site.browser.value(give.format(content, "dropped.png", "DragEvent", "drop", "dataTransfer"))
    site.browser.wait(f"{TEXT.format('#status')}.startsWith('dropped.png:')")
    site.browser.value(give.format(content, "pasted.png", "ClipboardEvent", "paste", "clipboardData"))
    site.browser.wait(f"{TEXT.format('#status')}.startsWith('pasted.png:')")
    site.browser.value(give.format("bm9uZQ==", "none.png", "DragEvent", "drop", "dataTransfer"))
    site.browser.wait(f"{TEXT.format('#error')}.startsWith('none.png:')")
    assert site.text("#status") == site.text("#detections") == ""  # of the image before
    assert site.browser.value("document.querySelector('#download').disabled")
    site.show(images[3])  # the page goes on
    assert site.text("#error") == ""
    assert site.browser.errors == []


def test_keys_zoom_and_turn_pages(site: Site, images: list[Path]) -> None:
    site.open()
    site.show(*images[:3])
    site.browser.value("document.querySelector('#canvas').focus()")
    site.browser.press("ArrowRight")
    site.browser.wait(f"{TEXT.format('#status')}.startsWith({images[1].name!r})")
    site.browser.press("+")
    assert site.browser.value("document.querySelector('#canvas').classList.contains('zoomed')")
    site.browser.press("ArrowRight")  # moves the zoomed image
    assert site.text("#place").startswith("2 of 3")
    site.browser.press("0")
    assert not site.browser.value("document.querySelector('#canvas').classList.contains('zoomed')")
    site.browser.press("ArrowLeft")
    site.browser.wait(f"{TEXT.format('#status')}.startsWith({images[0].name!r})")


def test_the_camera_and_a_video_are_followed(site: Site, tmp_path: Path, shared: Callable[[str], Path]) -> None:
    site.open()
    site.browser.value("document.querySelector('#camera').click()")
    site.browser.wait(f"{TEXT.format('#timing')}.includes('frames/s')")
    site.browser.value("document.querySelector('#stop').click()")
    assert site.browser.value("document.querySelector('#video').srcObject === null")
    site.browser.choose("#files", shared("data/media/intel/bottle-detection.mp4"))
    site.browser.wait("!document.querySelector('#player').hidden")
    site.browser.wait("document.querySelector('#video').currentTime > 1")
    site.browser.value("document.querySelector('#play').click()")
    assert site.text("#play") == "Play"
    frames = site.saved()["images"]
    assert len(frames) >= 2
    assert frames[0]["seconds"] < frames[-1]["seconds"]
    assert site.browser.errors == []
