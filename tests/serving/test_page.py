"""The examples of docs/serve.md, as written but for the port: curl's, Python's, and the JSON that they return."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from colours_served import Served, image_of, save_colours, served

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "serve.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
CURLS = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines() if line.startswith("curl ")]
PYTHON = [text for kind, text in BLOCKS if kind == "python"]
ANSWER = next(text for kind, text in BLOCKS if kind == "json")
PORT = ":8000/"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("serve")
    (folder / "photo.jpg").write_bytes(image_of(250, 200, 140, suffix=".jpg"))
    weights = save_colours(folder / "model.onnx", ("RBC", "WBC", "Platelets"))
    with served(weights, token="secret") as running:
        yield running


@pytest.fixture(scope="module")
def open_server(server: Served) -> Iterator[Served]:
    with served(server.context.models[""].source.path) as running:
        yield running


@pytest.fixture
def here(server: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(server.context.models[""].source.path.with_name("photo.jpg"), tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_examples() -> None:
    assert (len(CURLS), len(PYTHON)) == (7, 2)


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
@pytest.mark.parametrize("command", CURLS)
def test_every_curl_command_is_answered(command: str, here: Path, server: Served, open_server: Served) -> None:
    port = server.port if "secret" in command else open_server.port
    line = command.replace(PORT, f":{port}/").replace("curl ", "curl -sS --fail-with-body --noproxy '*' ")
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout, done.stderr)
    if "annotated" in command:
        assert (here / "annotated.jpg").read_bytes().startswith(b"\xff\xd8")
    elif "8000/detect" in command:
        answer, shown = json.loads(done.stdout), json.loads(ANSWER)
        assert answer.keys() == shown.keys()
        assert answer["detections"][0].keys() == shown["detections"][0].keys()


@pytest.mark.parametrize("text", PYTHON, ids=["detect", "kserve"])
def test_every_python_example_prints_detections(
    text: str, here: Path, open_server: Served, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(compile(text.replace(PORT, f":{open_server.port}/"), "serve.md", "exec"), {})
    printed = capsys.readouterr().out
    assert "RBC" in printed or "boxes_xyxy" in printed
