"""A server in a thread, of a detector made by hand: it detects how red, green and blue an image is."""

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx.parser
import uvicorn
from numpy.typing import NDArray

from lookonce.exporters.metadata import embed
from lookonce.serving.app import Context
from lookonce.serving.options import ServeRequest
from lookonce.serving.running import config_of, opened
from lookonce.serving.serve import listening
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord, Thresholds

NAMES = ("red", "green", "Blue thing")
SIDE = 32
# Per image and colour a score, its mean over 255; the box of 8 pixels and up grows with it.
NETWORK = f"""
<ir_version: 10, opset_import: ["" : 18]>
net (uint8[B, {SIDE}, {SIDE}, 3] images)
    => (float[N, 4] boxes_xyxy, float[N] scores, int64[N] labels, int64[N] image_index)
<float score_threshold = {{0.2}}, float iou_threshold = {{0.5}}, int64 max_detections = {{300}},
 int64[2] sides = {{1, 2}}, float most = {{255.0}}, int64[1] flat = {{-1}}, int64 three = {{3}}, int64[1] one = {{1}},
 float[1, 4] corner = {{0.0, 0.0, 8.0, 8.0}}, float[1, 4] growth = {{0.0, 0.0, 16.0, 12.0}}>
{{
    pixels = Cast <to = 1> (images)
    means = ReduceMean <keepdims = 0> (pixels, sides)
    fractions = Div (means, most)
    all = Reshape (fractions, flat)
    count = Size (all)
    counts = Reshape (count, flat)
    sorted, order = TopK (all, counts)
    kept = Greater (sorted, score_threshold)
    places = Compress (order, kept)
    scores = Compress (sorted, kept)
    labels = Mod (places, three)
    image_index = Div (places, three)
    columns = Unsqueeze (scores, one)
    grown = Mul (columns, growth)
    boxes_xyxy = Add (corner, grown)
}}
"""


def save_colours(path: Path, names: tuple[str, ...] = NAMES) -> Path:
    """The detector as an exported .onnx file."""
    proto = onnx.parser.parse_model(NETWORK)
    embed(
        proto,
        ModelRecord(
            dialect=DIALECTS["darknet"],
            class_names=names,
            category_ids=(1, 2, 3),
            image_size=(SIDE, SIDE),
            thresholds=Thresholds(score=0.2),
        ),
    )
    path.write_bytes(proto.SerializeToString())
    return path


def image_of(red: int, green: int, blue: int, *, suffix: str = ".png", side: int = 48) -> bytes:
    """An image file of one colour, with a dark corner so that no codec makes it smaller than a packet."""
    pixels: NDArray[np.uint8] = np.full((side, side, 3), (blue, green, red), np.uint8)
    pixels[:8, :8] = 0
    return cv2.imencode(suffix, pixels)[1].tobytes()


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running server: `context` is what it shares with its doors."""

    port: int
    context: Context
    server: uvicorn.Server = field(repr=False)

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """One request in a connection of its own; `Content_Type` is written for Content-Type. JSON for a dict."""
        if isinstance(body, dict):
            body, headers = json.dumps(body).encode(), {"Content_Type": "application/json", **headers}
        connection = HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
            return read_reply(connection.getresponse())
        finally:
            connection.close()

    def post(self, path: str, body: Any = None, **headers: str) -> Reply:
        return self.send("POST", path, body, **headers)

    def get(self, path: str, **headers: str) -> Reply:
        return self.send("GET", path, **headers)

    def post_form(self, path: str, image: bytes, *, field: str = "image", **fields: str) -> Reply:
        content, kind = form_of(image, field=field, **fields)
        return self.post(path, content, Content_Type=kind)


def read_reply(response: HTTPResponse) -> Reply:
    headers = {name.lower(): value for name, value in response.getheaders()}
    return Reply(status=response.status, headers=headers, body=response.read())


def form_of(image: bytes, *, field: str, **fields: str) -> tuple[bytes, str]:
    """(body, content type) of a form with a file a.png and text fields."""
    parts = [
        f'--edge\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--edge\r\nContent-Disposition: form-data; name="{field}"; filename="a.png"\r\n'
    parts.append(f"{head}Content-Type: image/png\r\n\r\n".encode() + image + b"\r\n")
    return b"".join(parts) + b"--edge--\r\n", "multipart/form-data; boundary=edge"


@contextmanager
def served(*weights: Path, token: str = "", page: Path | None = None, **options: Any) -> Iterator[Served]:
    """A server of these files on a free port, until the end of the block. options: of `lookonce serve`."""
    request = ServeRequest(weights, **{"timeout": 20.0, **options})
    with listening("127.0.0.1", 0) as listener, opened(request, request.named_weights, token) as context:
        server = uvicorn.Server(config_of(request, context, page))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            while not server.started:
                assert thread.is_alive()
                time.sleep(0.005)
            yield Served(port=listener.getsockname()[1], context=context, server=server)
        finally:
            server.should_exit = True
            thread.join()


def memory_of(pid: int) -> int:
    """Bytes in memory of a process (Linux)."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
