"""The page: what is written, what is refused, how it is served. Chromium opens it in tests/web."""

import base64
import gzip
import hashlib
import io
import json
import tarfile
import threading
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import onnx
import onnx.parser
import onnxruntime
import pytest
from raised import raises
from untrained import save_untrained

from lookonce.errors import LookonceError, SettingsError, WeightsError
from lookonce.exporters.metadata import embed
from lookonce.runtimes.exported import THRESHOLDS
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord, Preprocessing, Thresholds
from lookonce.web import runtime as runtime_module
from lookonce.web.server import serving
from lookonce.web.site import ASSETS
from lookonce.workflows.demo import write_page
from lookonce.workflows.page import as_text, page

ASSET_FOLDER = Path(runtime_module.__file__).parent
NETWORK = """
<ir_version: 10, opset_import: ["" : 18]>
net (uint8[B, 64, 64, 3] images) => (OUTPUTS)
<float score_threshold = {0.2}, float iou_threshold = {0.5}, int64 max_detections = {300},
 int64[1] one = {1}, int64[2] box = {1, 4}, int64[1] first = {0}>
{
    boxes_xyxy = Expand (iou_threshold, box)
    scores = Reshape (score_threshold, one)
    labels = Reshape (max_detections, one)
    image_index = Identity (first)
}
"""
OUTPUTS = "float[1, 4] boxes_xyxy, float[1] scores, int64[1] labels, int64[1] image_index"
RECORD = ModelRecord(
    dialect=DIALECTS["darknet"],
    class_names=("cup", "fork & <b>"),
    category_ids=(1, 2),
    image_size=(64, 64),
    thresholds=Thresholds(score=0.2),
    settings={"data": "/home/somebody"},
)


def save_network(path: Path, *, outputs: str = OUTPUTS, record: ModelRecord = RECORD) -> Path:
    """An .onnx file with thresholds and a record, like an export's; its one detection is made of the thresholds."""
    proto = onnx.parser.parse_model(NETWORK.replace("OUTPUTS", outputs))
    embed(proto, record)
    path.write_bytes(proto.SerializeToString())
    return path


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return save_network(tmp_path / "net.onnx")


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small stand-in for the runtime in the folder of pulled weights, which the lock names; no downloads."""
    monkeypatch.setenv("LOOKONCE_WEIGHTS", str(tmp_path / "pulled"))
    monkeypatch.setenv("LOOKONCE_OFFLINE", "1")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name in runtime_module.FILES:
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    digest = base64.b64encode(hashlib.sha512(packed.getvalue()).digest()).decode()
    locked = {"resolved": "https://registry.npmjs.org/a/-/a-1.0.0.tgz", "integrity": f"sha512-{digest}"}
    monkeypatch.setattr(runtime_module, "locked", lambda: locked)
    file = tmp_path / "pulled" / "a-1.0.0.tgz"
    file.parent.mkdir()
    file.write_bytes(packed.getvalue())
    return file


def test_the_folder_holds_all_that_a_browser_needs(model: Path, package: Path, tmp_path: Path) -> None:
    written = page(model, output=tmp_path / "site", title="Cups")
    assert next(iter(as_text(written))).startswith(f"written: {tmp_path / 'site'}")
    record = json.loads((tmp_path / "site" / "record.json").read_text())
    assert (record["title"], record["class_names"]) == ("Cups", ["cup", "fork & <b>"])
    assert record["thresholds"]["score"] == 0.2
    assert len(record["colors"]) == 2
    assert "somebody" not in json.dumps(record)
    assert record["model_bytes"] == (tmp_path / "site" / "model.onnx").stat().st_size
    for name in runtime_module.FILES:
        assert (tmp_path / "site" / name).read_text() == name
    assert "MIT License" in (tmp_path / "site" / "LICENSE-onnxruntime.txt").read_text()
    assert "Cross-Origin-Opener-Policy: same-origin" in (tmp_path / "site" / "_headers").read_text()


def test_the_thresholds_of_the_model_are_inputs_without_defaults(model: Path, package: Path, tmp_path: Path) -> None:
    page(model, output=tmp_path / "site")
    content = (tmp_path / "site" / "model.onnx").read_bytes()
    proto = onnx.load_model_from_string(content)
    onnx.checker.check_model(proto)
    assert proto.ir_version <= 13  # what ONNX Runtime for browsers reads
    session = onnxruntime.InferenceSession(content)
    assert [one.name for one in session.get_inputs()] == ["images", *THRESHOLDS]
    assert session.get_overridable_initializers() == []


@pytest.mark.slow
def test_a_checkpoint_is_exported_at_the_wanted_size(package: Path, tmp_path: Path) -> None:
    save_untrained(tmp_path / "net", ("cup", "fork"), (1, 2))
    page(tmp_path / "net", output=tmp_path / "site", image_size="64x96")
    record = json.loads((tmp_path / "site" / "record.json").read_text())
    assert (record["title"], record["image_size"]) == ("net", [64, 96])


def test_a_page_is_replaced_only_if_wanted_and_other_folders_never(model: Path, package: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    page(model, output=site)
    with raises(LookonceError, "--overwrite", path=site):
        page(model, output=site)
    page(model, output=site, title="Again", overwrite=True)
    assert json.loads((site / "record.json").read_text())["title"] == "Again"
    with raises(LookonceError, path=tmp_path):
        page(model, output=tmp_path, overwrite=True)
    assert package.exists()


@pytest.mark.parametrize(
    ("options", "setting"), [({}, "weights"), ({"serve": True}, None), ({"image_size": 96}, "image_size")]
)
def test_what_cannot_be_done_is_refused_by_name(
    options: dict[str, Any], setting: str, model: Path, package: Path, tmp_path: Path
) -> None:
    given = [model] if setting == "image_size" else []
    with raises(LookonceError, setting=setting):
        page(*given, output=tmp_path / "site", **options)
    assert not (tmp_path / "site").exists()


def test_a_file_that_the_page_cannot_run_is_refused(package: Path, tmp_path: Path) -> None:
    decoded = save_network(tmp_path / "decoded.onnx", outputs="float[1, 4] boxes_xyxy, float[1] scores")
    with raises(WeightsError, path=decoded):
        page(decoded, output=tmp_path / "site")
    cubic = RECORD.model_copy(update={"preprocessing": Preprocessing(interpolation="cubic")})
    with raises(WeightsError, value="cubic"):
        page(save_network(tmp_path / "cubic.onnx", record=cubic), output=tmp_path / "site")
    (tmp_path / "net.xml").write_text("<?xml version='1.0'?><net></net>")
    with raises(WeightsError, path=tmp_path / "net.xml"):
        page(tmp_path / "net.xml", output=tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_offline_the_runtime_and_its_place_are_named_and_another_file_is_refused(
    model: Path, package: Path, tmp_path: Path
) -> None:
    package.write_bytes(b"other")
    with raises(WeightsError, "SHA-512", path=package):
        page(model, output=tmp_path / "site")
    package.unlink()
    with raises(WeightsError, "registry.npmjs.org", "LOOKONCE_OFFLINE", "SHA-512", path=package):
        page(model, output=tmp_path / "site")
    assert not (tmp_path / "site").exists()


def test_a_configured_registry_comes_first(package: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(runtime_module, "obtain", lambda name, file, sources, content: asked.append(sources))
    runtime_module.runtime_archive()
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "https://mirror.example")
    runtime_module.runtime_archive()
    original, mirror = "https://registry.npmjs.org/a/-/a-1.0.0.tgz", "https://mirror.example/a/-/a-1.0.0.tgz"
    assert asked == [(original,), (mirror, original)]


def test_the_server_gives_the_folder_with_the_headers_of_threads(model: Path, package: Path, tmp_path: Path) -> None:
    page(model, output=tmp_path / "site")
    (tmp_path / "secret.txt").write_text("secret")
    with serving(tmp_path / "site", 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        connection = HTTPConnection("127.0.0.1", server.server_port)
        answers = {}
        for path in ("/", "/ort.wasm.min.mjs", "/ort-wasm-simd-threaded.wasm", "/../secret.txt", "/none"):
            connection.request("GET", path)
            answer = connection.getresponse()
            answer.read()
            answers[path] = (answer.status, answer.getheader("Content-Type", "").partition(";")[0])
            if answer.status == 200:
                assert answer.getheader("Cross-Origin-Opener-Policy") == "same-origin"
                assert answer.getheader("Cross-Origin-Embedder-Policy") == "require-corp"
                assert "default-src 'none'" in answer.getheader("Content-Security-Policy", "")
        with (
            raises(SettingsError, setting="port", value=server.server_port),
            serving(tmp_path / "site", server.server_port),
        ):
            pass
        with raises(SettingsError, setting="port", value=server.server_port):  # before anything is written
            page(model, output=tmp_path / "other", serve=True, port=server.server_port)
        connection.close()
        server.shutdown()
        thread.join()
    assert not (tmp_path / "other").exists()
    assert answers == {
        "/": (200, "text/html"),
        "/ort.wasm.min.mjs": (200, "text/javascript"),
        "/ort-wasm-simd-threaded.wasm": (200, "application/wasm"),
        "/../secret.txt": (404, "text/html"),
        "/none": (404, "text/html"),
    }


@pytest.mark.network
def test_the_runtime_is_downloaded_for_real(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKONCE_WEIGHTS", str(tmp_path))
    runtime_module.write_runtime(tmp_path)
    first_load = (*runtime_module.FILES[:3], *ASSETS)
    files = [next(place / name for place in (tmp_path, ASSET_FOLDER) if (place / name).exists()) for name in first_load]
    sizes = [len(gzip.compress(file.read_bytes())) for file in files]
    assert 3_000_000 < sum(sizes) <= 5_000_000  # beside the model


def test_the_demo_writes_its_page_from_what_is_here_and_never_fails(
    model: Path, package: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_page(model, tmp_path / "site")
    assert (tmp_path / "site" / "index.html").exists()
    package.write_bytes(b"damaged")
    with caplog.at_level("WARNING", "lookonce"):
        write_page(model, tmp_path / "other")
    assert str(package) in caplog.text
    package.unlink()
    write_page(model, tmp_path / "other")  # downloads nothing
    assert not (tmp_path / "other").exists()
