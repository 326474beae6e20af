"""The verb: its options, its start and end as a process, and models that are read again."""

import json
import os
import re
import signal
import socket
import sys
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest
from colours_served import image_of, read_reply, save_colours, served
from raised import raises

from lookonce.cli.main import main
from lookonce.errors import MissingExtra, SettingsError, WeightsError
from lookonce.serving import running
from lookonce.serving.options import ServeRequest
from lookonce.serving.serve import as_text, serve

IMAGE = image_of(250, 80, 10)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return save_colours(tmp_path / "colours.onnx")


@pytest.mark.parametrize(
    ("options", "setting"),
    [
        ({"max_batch": 0}, "max_batch"),
        ({"max_wait": -1.0}, "max_wait"),
        ({"max_queue": 0}, "max_queue"),
        ({"max_body": 0.0}, "max_body"),
        ({"max_pixels": float("nan")}, "max_pixels"),
        ({"timeout": float("inf")}, "timeout"),
        ({"max_requests": 0}, "max_requests"),
        ({"port": 70_000}, "port"),
        ({"model_names": "a,b"}, "model_names"),
        ({"model_names": "a/b"}, "model_names"),
        ({"host": "192.0.2.1", "insecure": True}, "host"),  # TEST-NET-1, RFC 5737: no machine has it
        ({"host": "a..b", "insecure": True}, "host"),
    ],
)
def test_an_option_out_of_range_is_named(options: dict[str, Any], setting: str, weights: Path) -> None:
    with raises(SettingsError, setting=setting):
        serve(weights=(weights,), **options)


def test_models_have_different_names(weights: Path, tmp_path: Path) -> None:
    with raises(SettingsError, "colours,colours", setting="model_names"):
        _ = ServeRequest((weights, tmp_path / "other" / "colours.onnx")).named_weights
    request = ServeRequest((weights, tmp_path / "b"), model_names="first, second")
    assert request.named_weights == {"first": weights, "second": tmp_path / "b"}
    both = (tmp_path / "run-1.onnx", tmp_path / "run-1.xml")
    assert ServeRequest(both).named_weights == {path.name: path for path in both}
    for none in ((), "model.onnx"):
        with raises(SettingsError, setting="weights", value=none):
            ServeRequest(none)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.com", ""])
def test_others_reach_no_server_without_a_token(host: str, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOOKONCE_TOKEN", raising=False)
    with raises(SettingsError, "LOOKONCE_TOKEN", "--insecure", setting="host", value=host):
        serve(weights=(weights,), host=host)


def test_a_taken_port_is_named(weights: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with raises(SettingsError, str(port), setting="port", value=port):
            serve(weights=(weights,), port=port)


def test_absent_weights_are_named_before_the_port_is_taken(tmp_path: Path) -> None:
    with raises(WeightsError, path="none.onnx"):
        serve(weights=(tmp_path / "none.onnx",), port=0)


def test_without_the_extra_its_installation_is_named(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("lookonce.serving.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with raises(MissingExtra, extra="serve"):
        serve(weights=(weights,))


@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_command_serves_until_a_signal_and_says_how_much(
    stop: signal.Signals, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, statuses = "", []
    before = signal.signal(stop, signal.SIG_DFL)  # under nohup SIGHUP is ignored, and then the server ignores it too

    def ask() -> None:
        nonlocal log
        try:
            while not (found := re.search(r"http://127\.0\.0\.1:(\d+)/", log)):
                time.sleep(0.005)
                log += capsys.readouterr().err
            connection = HTTPConnection("127.0.0.1", int(found[1]), timeout=20)
            connection.request("POST", "/detect", IMAGE)
            statuses.append(read_reply(connection.getresponse()).status)
        finally:
            os.kill(os.getpid(), stop)  # the connection is open and idle
        assert connection.sock.recv(1) == b""
        connection.close()

    client = threading.Thread(target=ask)
    client.start()
    try:
        assert main(["serve", str(weights), "--port", "0", "--json-log", "--json"]) == 0
    finally:
        client.join()
        signal.signal(stop, before)
    printed = capsys.readouterr()
    assert json.loads(printed.out) == {"models": ["colours"], "num_requests": 1}
    assert statuses == [200]
    assert '"path": "/detect"' in log + printed.err


def test_the_end_is_told(weights: Path) -> None:
    from lookonce.serving.serve import Served

    assert list(as_text(Served(models=["a"], num_requests=1))) == ["1 request answered"]


def test_reloaded_weights_answer_and_damaged_ones_leave_the_old(weights: Path) -> None:
    with served(weights) as server:
        model = server.context.models["colours"]
        save_colours(weights, ("rot", "gruen", "blau"))
        assert server.post("/detect", IMAGE).json["detections"][0]["class"] == "red"
        model.reload()
        reply = server.post("/detect", IMAGE).json
        assert (reply["version"], reply["detections"][0]["class"]) == (2, "rot")
        weights.write_bytes(b"damaged")
        with raises(WeightsError, path=weights):
            model.reload()
        reply = server.post("/detect", IMAGE).json
        assert (reply["version"], reply["detections"][0]["class"]) == (2, "rot")


def test_a_page_is_served_with_its_headers_and_only_its_files(weights: Path, tmp_path: Path) -> None:
    page = tmp_path / "site"
    page.mkdir()
    policy = "default-src 'none'"
    (page / "index.html").write_text(f'<meta http-equiv="Content-Security-Policy" content="{policy}">page')
    with served(weights, page=page) as server:
        reply = server.get("/")
        assert reply.body.decode().endswith("page")
        asked = (server.get("/detect"), server.get("/none"), server.post("/detec", b"x"), server.post("/", b"x"))
        assert [one.status for one in asked] == [405, 404, 404, 405]
        assert asked[0].json["error"] == "/detect: GET; expected POST"
        assert reply.headers["cross-origin-opener-policy"] == "same-origin"
        assert reply.headers["content-security-policy"].startswith(policy)
        for name, kind in (("a.mjs", "text/javascript"), ("a.wasm", "application/wasm")):
            (page / name).write_text("x")
            assert server.get(f"/{name}").headers["content-type"] == kind
        assert server.get("/../colours.onnx").status == 404
        assert server.get("/%2e%2e/colours.onnx").status == 404
        assert server.post("/detect", IMAGE).status == 200


def test_the_page_is_written_where_its_runtime_is_and_never_hinders(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    written: list[Path] = []

    def write(folder: Path, model: Path, title: str) -> None:
        if title == "damaged":
            raise WeightsError("runtime: damaged", path=model)
        written.append(model)
        (folder / "index.html").touch()

    def page_of(path: Path) -> bool:
        with running.written_page(path) as folder:
            return folder is not None and (folder / "index.html").exists()

    monkeypatch.setattr(running, "write_site", write)
    monkeypatch.setattr(running, "runtime_file", lambda: tmp_path / "absent.tgz")
    assert not page_of(weights)
    monkeypatch.setattr(running, "runtime_file", lambda: weights)
    assert page_of(weights)
    assert not page_of(tmp_path)  # a checkpoint: its export would take seconds
    assert not page_of(save_colours(tmp_path / "damaged.onnx"))
    assert "damaged" in caplog.text
    assert written == [weights]
