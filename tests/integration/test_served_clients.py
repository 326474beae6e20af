"""Clients of other servers ask this one with their own code, in their own environment (`./run clients -c 1`)."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from colours_served import Served, image_of, save_colours, served

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-clients" / "bin" / "python"
IMAGE = image_of(250, 80, 140)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="no clients: `./run clients -c 1` makes their environment"),
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(save_colours(tmp_path / "colours.onnx", ("red", "green", "blue"))) as running:
        yield running


def ask(client: str, server: Served, tmp_path: Path) -> Any:
    (tmp_path / "a.png").write_bytes(IMAGE)
    program = ROOT / "tests" / "support" / "served_clients.py"
    command = [PYTHON, program, client, str(server.port), tmp_path / "a.png"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_tritonclient(server: Served, tmp_path: Path) -> None:
    wanted = server.post("/detect", IMAGE).json["detections"]
    found = ask("tritonclient", server, tmp_path)
    for way in ("pixels True", "pixels False"):
        assert found[way]["scores"] == pytest.approx([one["score"] for one in wanted], abs=1e-7)
        assert found[way]["labels"] == [one["label"] for one in wanted]
        assert found[way]["boxes_xyxy"] == [pytest.approx(one["box_xyxy"]) for one in wanted]
    assert found["files"]["labels"] == [one["label"] for one in wanted] * 2
    assert found["files"]["image_index"] == [0] * len(wanted) + [1] * len(wanted)
    assert len(found["chosen"]["scores"]) == len(found["chosen"]["boxes_xyxy"]) == 2


def test_deepstack_sdk(server: Served, tmp_path: Path) -> None:
    wanted = server.post("/detect?threshold=0.3", IMAGE).json["detections"]
    for found in ask("deepstack", server, tmp_path):
        assert [(one["label"], one["confidence"]) for one in found] == [(one["class"], one["score"]) for one in wanted]
        assert [one["x_max"] for one in found] == [round(one["box_xyxy"][2]) for one in wanted]


def test_label_studio_sdk_accepts_the_predictions(server: Served, tmp_path: Path) -> None:
    prediction = ask("label_studio", server, tmp_path)
    names = [region["value"]["rectanglelabels"][0] for region in prediction["result"]]
    assert names == [one["class"] for one in server.post("/detect", IMAGE).json["detections"]]


def test_inference_sdk(tmp_path: Path) -> None:
    """Its JPEG changes scores by up to 0.01; the token is in the header that it calls api_key_transport."""
    with served(save_colours(tmp_path / "colours.onnx", ("red", "green", "blue")), token="secret") as server:
        wanted = server.post("/detect?threshold=0.3", IMAGE, Authorization="Bearer secret").json["detections"]
        for found in ask("inference_sdk", server, tmp_path):
            assert found["image"] == {"width": 48, "height": 48}
            assert [one["class"] for one in found["predictions"]] == [one["class"] for one in wanted]
            for one, other in zip(found["predictions"], wanted, strict=True):
                assert one["confidence"] == pytest.approx(other["score"], abs=0.02)
                left, _, right, _ = other["box_xyxy"]
                assert (one["x"], one["width"]) == pytest.approx(((left + right) / 2, right - left), abs=0.5)


def test_schemathesis_finds_no_answer_that_openapi_does_not_describe(server: Served, tmp_path: Path) -> None:
    """No answer with an unknown status, type or body, and no server error. Which base64 text is an image, and which
    tensors fit together, no schema can say: so right data may be refused."""
    (tmp_path / "schemathesis.toml").write_text('[parameters]\n"path.name" = "colours"\n"path.model" = "colours"\n')
    url = f"http://127.0.0.1:{server.port}/openapi.json"
    options = ["--max-examples", "20", "--generation-deterministic", "--exclude-checks", "positive_data_acceptance"]
    command = [PYTHON.with_name("schemathesis"), "run", url, "--no-color", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert server.post("/detect", IMAGE).status == 200
