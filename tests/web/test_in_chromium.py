"""The page in Chromium: detections equal Python's; every way in; filters, keys, themes; nothing is fetched from outside."""

import base64
import json
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import Page, chromium_page, find_chromium

import lookonce
from lookonce.web.runtime import runtime_archive
from lookonce.web.server import serving
from lookonce.workflows.page import page as write

PROJECT_ROOT = Path(__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        find_chromium() is None or sys.platform == "win32", reason="no chromium to open the page in: apt-get install chromium"
    ),
]
TEXT = "document.querySelector({!r}).textContent"


@dataclass
class Site:
    browser: Page
    url: str
    folder: Path

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

    def saved(self) -> dict[str, Any]:
        """What `Download JSON` would save."""
        catch = "new Promise(done => { const made = URL.createObjectURL; URL.createObjectURL = blob => (blob.text().then(done), made(blob)); document.querySelector('#download').click(); URL.createObjectURL = made; })"
        found: dict[str, Any] = json.loads(self.browser.value(catch))
        return found


@pytest.fixture(scope="module")
def site(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A page of the network, served; skipped where the runtime has not been downloaded."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOOKONCE_OFFLINE", "1")
        if not (PROJECT_ROOT / "weights").exists() and "LOOKONCE_WEIGHTS" not in __import__("os").environ:
            pass
        patch.setenv("LOOKONCE_WEIGHTS", __import__("os").environ.get("LOOKONCE_WEIGHTS") or str(PROJECT_ROOT / "weights"))
        try:
            runtime_archive()
        except lookonce.errors.WeightsError as error:
            pytest.skip(f"{error}")
        write(model, output=folder / "site")
    flags = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with serving(folder / "site", 0) as server, chromium_page(tmp_path_factory.mktemp("profile"), *flags) as browser:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Site(browser, f"http://127.0.0.1:{server.server_port}/", folder / "site")
        server.shutdown()
        thread.join()
