"""What every test gets: one thread, no network, reproducible properties, and the real data where it exists."""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["s3_server"]  # of tests/support

PROJECT_ROOT = Path(__file__).resolve().parent.parent
LOOPBACK = {"127.0.0.1", "::1", "localhost"}

# Read when torch, onnxruntime or numpy start their thread pools, here and in the processes a test starts: small
# tensors are slower on several threads than on one, and sums come out in another order.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# The same examples on every run, so that a red test is red for everybody; nothing written beside the sources.
settings.register_profile("lookonce", deadline=None, max_examples=25, derandomize=True, database=None)
settings.load_profile("lookonce")


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """`shared("data/bccd")` -> that path among the real data; skips the test where it is absent.

    The data lies in $LOOKONCE_SHARED, or in `shared` beside the project's folder.
    """
    root = Path(os.environ.get("LOOKONCE_SHARED") or PROJECT_ROOT.parent / "shared")

    def locate(relative: str) -> Path:
        path = root / relative
        if not path.exists():
            pytest.skip(f"real data absent: {path} (set LOOKONCE_SHARED to the folder that holds {relative})")
        return path

    return locate


@pytest.fixture(autouse=True)
def one_torch_thread() -> None:
    """Holds torch to one thread in the tests that use it, without importing it for those that do not."""
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "set_num_threads"):
        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def no_network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuses connections that leave this machine, unless the test is marked `network`."""
    if request.node.get_closest_marker("network"):
        return
    connect = socket.socket.connect

    def connect_here_only(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and address[0] not in LOOPBACK:
            raise OSError(f"this test opened a connection to {address}; mark it `network` if it must")
        connect(self, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", connect_here_only)
