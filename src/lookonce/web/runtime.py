"""ONNX Runtime for browsers, from npm: the version and checksum of package-lock.json, cached beside pulled weights."""

import base64
import json
import os
import tarfile
from importlib import resources
from pathlib import Path

from lookonce.errors import WeightsError
from lookonce.runtimes.onnx import onnxruntime
from lookonce.weights.published import Content
from lookonce.weights.pull import obtain, weights_folder

PACKAGE = "onnxruntime-web"
REGISTRY, REGISTRY_VARIABLES = "https://registry.npmjs.org/", ("NPM_CONFIG_REGISTRY", "npm_config_registry")
# The CPU build, 3.7 MB when compressed, and the one for WebGPU, which a browser loads only when its user asks for it.
FILES = (
    *("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"),
    *("ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify.mjs", "ort-wasm-simd-threaded.asyncify.wasm"),
)
# The npm package names its licence, MIT, but does not hold its text; Python's package of the same project does.
LICENCES = {"LICENSE-onnxruntime.txt": "LICENSE", "NOTICES-onnxruntime.txt": "ThirdPartyNotices.txt"}


def locked() -> dict[str, str]:
    """The package's entry in package-lock.json: its URL as `resolved`, its SHA-512 as `integrity`."""
    lock = json.loads((resources.files("lookonce.web") / "package-lock.json").read_text(encoding="utf-8"))
    entry: dict[str, str] = lock["packages"][f"node_modules/{PACKAGE}"]
    return entry


def runtime_file() -> Path:
    """Where the package is on this machine, or will be after `runtime_archive`."""
    return weights_folder() / locked()["resolved"].rpartition("/")[2]


def runtime_archive() -> Path:
    """The package as a .tgz on this machine; downloaded unless it is in the folder of pulled weights."""
    entry, file = locked(), runtime_file()
    url, digest = entry["resolved"], entry["integrity"].removeprefix("sha512-")
    configured = next((value for name in REGISTRY_VARIABLES if (value := os.environ.get(name))), REGISTRY)
    mirror = url.replace(REGISTRY, f"{configured.rstrip('/')}/")
    content = Content(sha512=base64.b64decode(digest).hex(), num_bytes=None)
    obtain(PACKAGE, file, tuple(dict.fromkeys((mirror, url))), content)
    return file


def write_runtime(folder: Path) -> None:
    """The files of the runtime and its licences -> `folder`."""
    archive = runtime_archive()
    try:
        with tarfile.open(archive) as packed:
            for name in FILES:
                member = packed.extractfile(f"package/dist/{name}")
                assert member is not None, name  # the content of the archive is known
                (folder / name).write_bytes(member.read())
    except (OSError, EOFError, tarfile.TarError) as error:
        raise WeightsError.at(archive, f"cannot be read ({error}); remove it and run again") from error
    installed = Path(onnxruntime.__file__).parent
    for name, source in LICENCES.items():
        (folder / name).write_bytes((installed / source).read_bytes())
