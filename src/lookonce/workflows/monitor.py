"""`lookonce monitor`: a page in the browser that follows runs while they train; `train --page` shows its own run."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Thread

from lookonce.errors import LookonceError
from lookonce.log import get_logger
from lookonce.reports.live_page import embedded, live_page, parts_of
from lookonce.shown import file_size
from lookonce.storage import read_regular_file, write_file
from lookonce.web.server import LOOPBACK, serve_until_interrupted, serving_answers
from lookonce.workflows.report import run_names

MONITOR_PORT = 8010
IMAGE = "/image/"


def monitor(run: Path, *more: Path, output: Path | None = None, port: int = MONITOR_PORT) -> Path | None:
    """Follow runs in the browser while they train: curves, images of the newest evaluation, and the log.

    The page is served at 127.0.0.1, to this machine only, until Ctrl-C, and asks for changes every two seconds. Several
    runs are drawn one over the other. It asks no other server.

    Parameters
    ----------
    run
        Folder of a training run, such as runs/train-1.
    more
        Further runs to show with the first.
    output
        Write the page as it is now to this HTML file, and serve nothing.
    port
        Port of the page; 0: a free one.
    """
    folders = dict(zip(run_names([run, *more]), (run, *more), strict=True))
    if output is not None:
        write_file(output, live_page(" and ".join(folders), parts_of(folders, embedded), is_live=False))
        return output
    parts_of(folders, embedded)  # raises now if a folder is no run
    with serving_answers(LiveRuns(folders).answer, port) as server:
        serve_until_interrupted(server)
    return None


def as_text(output: Path | None) -> Iterator[str]:
    if output is not None:
        yield f"written: {output} ({file_size(output.stat().st_size)})"


@contextmanager
def shown_in_browser(run: Path) -> Iterator[None]:
    """Serve the page of one run from a thread until the block ends; its address is logged."""
    with serving_answers(LiveRuns({run.name: run}).answer, 0) as server:
        get_logger().info(f"page      http://{LOOPBACK}:{server.server_port}/ until training ends")
        thread = Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@dataclass(frozen=True)
class LiveRuns:
    """Runs by the name to show."""

    folders: Mapping[str, Path]

    def answer(self, address: str) -> tuple[str, bytes] | None:
        """The page, its newest state, or an image of a run; see `web.server.Handler`."""
        path, _, query = address.partition("?")
        if path == "/":
            page = live_page(" and ".join(self.folders), self._parts(), is_live=True)
            return "text/html; charset=utf-8", page.encode()
        if path == "/state":
            return "application/json", json.dumps(self._state(query)).encode()
        if path == "/favicon.ico":  # browsers ask for it, and would log an error
            return "image/x-icon", b""
        if path.startswith(IMAGE):
            return self._image(path.removeprefix(IMAGE))
        return None

    def _parts(self) -> dict[str, str]:
        return parts_of(self.folders, self._address_of)

    def _state(self, known: str) -> dict[str, object]:
        """digest: of all parts; parts: their HTML, none if `known` is their digest; error: why there are none."""
        try:
            parts = self._parts()
        except (LookonceError, OSError) as error:  # a run was moved, or is just written by a program without replacing
            return {"digest": known, "parts": {}, "error": str(error)}
        digest = sha256(json.dumps(parts).encode()).hexdigest()
        return {"digest": digest, "parts": {} if digest == known else parts, "error": ""}

    def _address_of(self, image: Path) -> str:
        """Of an image of a run: the run's number, the file's name and its time, so that a new one is loaded."""
        number = list(self.folders.values()).index(image.parents[1])
        return f"{IMAGE}{number}/{image.name}?{image.stat().st_mtime_ns}"

    def _image(self, name: str) -> tuple[str, bytes] | None:
        """Only the images that the page shows."""
        for place, folder in enumerate(self.folders.values()):
            for image in (folder / "plots").glob("*.jpg"):
                if f"{place}/{image.name}" == name:
                    return "image/jpeg", read_regular_file(image)
        return None
