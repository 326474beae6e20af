"""A real network over HTTP, from a checkpoint and an exported file; and what a thousand requests leave behind."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from colours_served import Served, image_of, memory_of, save_colours, served
from started import Start, said, wait_for
from untrained import save_untrained

import lookonce
from lookonce.cli.main import main

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A checkpoint and its exported file."""
    folder = tmp_path_factory.mktemp("weights")
    save_untrained(folder / "checkpoint", ("cup", "fork"), (1, 2))
    assert main(["export", str(folder / "checkpoint"), "--output", str(folder / "exported.onnx")]) == 0
    return [folder / "checkpoint", folder / "exported.onnx"]


@pytest.fixture(scope="module")
def images() -> list[bytes]:
    """Files of noise: the network finds something in each."""
    random = np.random.default_rng(0)
    return [
        cv2.imencode(suffix, random.integers(0, 255, (height, width, 3), np.uint8))[1].tobytes()
        for height, width in ((64, 64), (90, 120), (200, 50))
        for suffix in (".jpg", ".png", ".webp")
    ]


def test_detections_over_http_are_those_of_predict(weights: list[Path], images: list[bytes], tmp_path: Path) -> None:
    """And those that the command line writes into detections.json."""
    for number, image in enumerate(images):
        (tmp_path / f"{number}.jpg").write_bytes(image)
    with served(*weights) as server, ThreadPoolExecutor(4) as pool:
        for path in weights:
            output = tmp_path / path.stem
            assert main(["predict", str(tmp_path), "--weights", str(path), "--output", str(output), "--no-images"]) == 0
            written = json.loads((output / "detections.json").read_text())["images"]
            by_name = {entry["file"].rpartition("/")[2]: entry["detections"] for entry in written}
            replies = list(pool.map(lambda image, path=path: server.post(f"/detect?model={path.stem}", image), images))
            for number, reply in enumerate(replies):
                assert reply.json["detections"] == by_name[f"{number}.jpg"] != []
            options = {"threshold": 0.5, "iou_threshold": 0.2, "max_detections": 3, "classes": "fork"}
            query = "&".join(f"{name}={value}" for name, value in options.items())
            for image in images:
                (one,) = lookonce.load(path).predict(image, **options)
                found = server.post(f"/detect?model={path.stem}&{query}", image).json["detections"]
                assert found == json.loads(json.dumps(one.to_dict()["detections"]))


def test_a_thousand_requests_leave_memory_as_it_was(start: Start, tmp_path: Path) -> None:
    process: Any = start("serve", str(save_colours(tmp_path / "colours.onnx")), "--port", "0")
    wait_for(process.log, r"http://127\.0\.0\.1:\d+/", 60)
    port = int(said(process).partition("http://127.0.0.1:")[2].partition("/")[0])
    server = Served(port=port, context=None, server=None)  # type: ignore[arg-type]
    image = image_of(200, 100, 50, suffix=".jpg", side=1000)

    def ask(number: int) -> int:
        kind = number % 4
        if kind == 0:
            return server.post("/detect", image[:-200]).status
        if kind == 1:
            return server.post_form("/detect", image, format="jpeg").status
        return server.post("/detect", image).status

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(200)))  # until pools and caches are full
        before = memory_of(process.pid)
        statuses = list(pool.map(ask, range(1000)))
    assert {status: statuses.count(status) for status in {*statuses}} == {200: 750, 422: 250}
    assert memory_of(process.pid) - before < 30e6
