"""A headless Chromium that opens one page and tells everything it did: DevTools over a pair of pipes, nothing else.

Source: chromedevtools.github.io/devtools-protocol; with --remote-debugging-pipe messages are JSON, each ended by a zero
byte, on the file descriptors 3 (to the browser) and 4 (from it).
"""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
)
PATIENCE_SECONDS = 60
# Puts the two ends where the browser looks for them. Over 10 first, so that none stands in the other's way.
START = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for place, end in zip((3, 4), ends):
    os.dup2(end, place)
os.execv(sys.argv[3], sys.argv[3:])
"""


def find_chromium() -> str | None:
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


@dataclass
class Page:
    """An open tab. requests: every address that was asked for; errors: console errors and uncaught exceptions."""

    browser: "Browser"
    session: str
    requests: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self.browser.ask(method, self.session, **parameters)

    def open(self, place: Path | str, *, width: int, dark: bool = False) -> None:
        """Loads a file or a URL into a window of that many CSS pixels."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.ask("Emulation.setEmulatedMedia", features=[scheme])
        mobile = width < 600
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=844, deviceScaleFactor=1, mobile=mobile)
        self.browser.loaded = False
        self.ask("Page.navigate", url=place if isinstance(place, str) else place.resolve().as_uri())
        self.browser.wait(lambda: self.browser.loaded)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression comes to; a promise: what it resolves to."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise AssertionError(answer["exceptionDetails"])
        return answer["result"].get("value")

    def wait(self, expression: str) -> None:
        """Until a JavaScript expression is true."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not self.value(expression):
            assert time.monotonic() < end, f"{expression}: not true within {PATIENCE_SECONDS} s; {self.errors}"
            time.sleep(0.05)

    def choose(self, selector: str, *files: Path) -> None:
        """Chooses files in a file input, as its dialog would."""
        found = self.ask("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        paths = [str(file.resolve()) for file in files]
        self.ask("DOM.setFileInputFiles", files=paths, objectId=found["result"]["objectId"])

    def press(self, key: str) -> None:
        """Presses and releases a key in the focused element."""
        text = key if len(key) == 1 else ""
        self.ask("Input.dispatchKeyEvent", type="keyDown", key=key, text=text)
        self.ask("Input.dispatchKeyEvent", type="keyUp", key=key)

    def screenshot(self, file: Path, *, top: int = 0, height: int | None = None) -> None:
        """A PNG of the page from `top` on, of all of it without a height."""
        width, whole = self.value("[document.documentElement.clientWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": top, "width": width, "height": height or whole - top, "scale": 1}
        answer = self.ask("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        file.write_bytes(base64.b64decode(answer["data"]))


class Browser:
    def __init__(self, process: subprocess.Popen[bytes], to_browser: int, from_browser: int) -> None:
        self.process = process
        self.loaded = False
        self.page: Page | None = None
        self._to, self._from = to_browser, from_browser
        self._left = b""
        self._number = 0
        self._answers: dict[int, dict[str, Any]] = {}

    def send(self, method: str, session: str = "", /, **parameters: Any) -> int:
        """Sends a message without waiting; returns its number."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        return self._number

    def ask(self, method: str, session: str = "", /, **parameters: Any) -> dict[str, Any]:
        number = self.send(method, session, **parameters)
        self.wait(lambda: number in self._answers)
        answer = self._answers.pop(number)
        assert "error" not in answer, answer["error"]
        result: dict[str, Any] = answer["result"]
        return result

    def wait(self, condition: Any) -> None:
        """Reads messages until the condition holds."""
        end = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            readable, _, _ = select.select([self._from], [], [], max(end - time.monotonic(), 0))
            assert readable, f"Chromium has not answered for {PATIENCE_SECONDS} s"
            self._read()

    def watch(self, session: str) -> None:
        """Follows what a page or worker requests and logs; and the workers that it starts, before their first line."""
        for domain in ("Runtime", "Network", "Log"):
            self.send(f"{domain}.enable", session)
        self.send("Target.setAutoAttach", session, autoAttach=True, waitForDebuggerOnStart=True, flatten=True)
        self.send("Runtime.runIfWaitingForDebugger", session)

    def _read(self) -> None:
        content = os.read(self._from, 1 << 20)
        assert content, "Chromium has gone"
        *messages, self._left = (self._left + content).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self._note(message["method"], message.get("params", {}))

    def _note(self, event: str, told: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self.loaded = True
        elif event == "Target.attachedToTarget":
            self.watch(told["sessionId"])
        elif self.page is None:
            return
        elif event == "Network.requestWillBeSent":
            self.page.requests.append(told["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.page.errors.append(str(told["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.page.errors.append(str(told["args"]))
        elif event == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.page.errors.append(str(told["entry"]))


@contextmanager
def chromium_page(profile: Path, *flags: str) -> Iterator[Page]:
    """A tab of a fresh browser, whose profile lies in the given folder; the browser ends with the block."""
    program = find_chromium()
    assert program is not None
    browser_reads, to_browser = os.pipe()
    from_browser, browser_writes = os.pipe()
    ends = (str(browser_reads), str(browser_writes))
    arguments = [
        sys.executable,
        "-c",
        START,
        *ends,
        program,
        *FLAGS,
        *flags,
        f"--user-data-dir={profile}",
        "about:blank",
    ]
    process = subprocess.Popen(
        arguments, pass_fds=(browser_reads, browser_writes), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(browser_reads)
    os.close(browser_writes)
    try:
        yield _first_page(Browser(process, to_browser, from_browser))
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        process.kill()
        process.wait()
        os.close(to_browser)
        os.close(from_browser)


def _first_page(browser: Browser) -> Page:
    targets = browser.ask("Target.getTargets")["targetInfos"]
    target = next(info["targetId"] for info in targets if info["type"] == "page")
    session = browser.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    page = Page(browser, session)
    page.ask("Page.enable")
    browser.page = page
    browser.watch(session)
    return page
