"""The options of `lookonce serve` and their help."""

import ipaddress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from lookonce.errors import SettingsError, require_setting
from lookonce.request import Listed
from lookonce.settings.names import split_list

DEFAULT_PORT = 8000


@dataclass(frozen=True, kw_only=True)
class ServeRequest:
    """Serve detections over HTTP: POST an image to /detect.

    The clients of DeepStack and CodeProject.AI, of KServe and Triton, and Label Studio may use the server too. It
    listens on this machine only, unless --host says otherwise; the token is the value of LOOKONCE_TOKEN.

    Parameters
    ----------
    weights
        Exported files (these need no PyTorch), checkpoint folders or run folders (their best); each is a model.
    model_names
        Names of the models, separated by commas. Default: the names of the files and folders,
        with their suffixes where only these differ.
    names
        Text file of class names, one per line, for a .ckpt or .weights without names.
    device
        Device, as in `lookonce predict`.
    runtime
        Runtime: auto for the file's own, or one that reads it: onnxruntime, openvino, opencv ...
    host
        Address to listen on: 127.0.0.1 for this machine, 0.0.0.0 for all networks.
    port
        Port to listen on; 0: a free one.
    insecure
        Allow an address that others can reach without a token.
    allow_urls
        Hosts whose images may be named by URL, separated by commas; * for all. Default: none.
    max_batch
        Maximum number of images per batch, 1 or more.
    max_wait
        Maximum wait of an image for others of its batch in milliseconds, 0 or more.
    max_queue
        Maximum number of images that wait for a model, 1 or more; further ones get status 429.
    max_body
        Maximum size of a request in MB, above 0.
    max_pixels
        Maximum size of an image in millions of pixels, above 0.
    max_requests
        Maximum number of requests at once, 1 or more; further ones get status 503.
    timeout
        Maximum duration of a request in seconds, above 0; also of those that are answered before the server ends.
    zmq
        Also answer Frigate's zmq detector with the first model, at this address: tcp://127.0.0.1:5555, ipc:///tmp/zmq.
        It has no token. Default: none.
    page
        Show a page at /: that of `lookonce page`, if its runtime has been downloaded; else a form.
    json_log
        Write the log as JSON, one object per line.
    """

    weights: tuple[Path, ...] = field(kw_only=False)
    model_names: Listed = ""
    names: Path | None = None
    device: str = "auto"
    runtime: str = "auto"
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    insecure: bool = False
    allow_urls: Listed = ""
    max_batch: int = 8
    max_wait: float = 2.0
    max_queue: int = 64
    max_body: float = 20.0
    max_pixels: float = 50.0
    max_requests: int = 64
    timeout: float = 30.0
    zmq: str = ""
    page: bool = True
    json_log: bool = False

    def __post_init__(self) -> None:
        is_list = isinstance(self.weights, list | tuple) and len(self.weights) > 0
        require_setting("weights", self.weights, lambda _: is_list, "a list of exported files or checkpoints")
        for name in ("max_batch", "max_queue", "max_requests"):
            require_setting(name, getattr(self, name), lambda number: number >= 1, "1 or more")
        for name in ("max_body", "max_pixels", "timeout"):
            require_setting(name, getattr(self, name), lambda number: 0 < number < float("inf"), "a number above 0")
        require_setting("max_wait", self.max_wait, lambda number: 0 <= number < float("inf"), "0 or more")
        require_setting("port", self.port, lambda number: 0 <= number <= 65535, "0 to 65535")

    @property
    def named_weights(self) -> dict[str, Path]:
        """Name -> place; SettingsError for names that are not one per model."""
        paths = [Path(path).resolve() for path in self.weights]
        stems, files = [path.stem for path in paths], [path.name for path in paths]
        names = split_list(self.model_names) or (files if len({*stems}) < len({*files}) else stems)
        if len({*names}) != len(self.weights) or len(names) != len(self.weights) or any("/" in name for name in names):
            expected = f"expected {len(self.weights)} different names without /"
            raise SettingsError(f"model_names: {','.join(names)}; {expected}", setting="model_names")
        return dict(zip(names, self.weights, strict=True))


def require_zmq_for_few(endpoint: str, *, insecure: bool) -> None:
    """SettingsError for an address of ZeroMQ that is none, or that others can reach, without `insecure`."""
    parts = urlsplit(endpoint)
    if parts.scheme not in ("ipc", "tcp"):
        raise SettingsError.of("zmq", endpoint, "expected tcp:// or ipc://")
    if parts.scheme == "tcp" and not is_loopback(parts.hostname or "") and not insecure:
        problem = "reachable for others, and has no token; name tcp://127.0.0.1:PORT, or add --insecure"
        raise SettingsError.of("zmq", endpoint, problem)


def is_loopback(host: str) -> bool:
    """Whether only programs of this machine reach the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
