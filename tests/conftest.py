"""What every test gets: one thread, no network, reproducible properties, and the real data where it exists."""

import gc
import inspect
import multiprocessing
import os
import runpy
import socket
import sys
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from lookonce.cores import usable_processors

pytest_plugins = ["planted_faults", "published_coco", "s3_server", "started"]  # of tests/support

PROJECT_ROOT = Path(__file__).resolve().parent.parent
ONE_RANK = PROJECT_ROOT / "tests" / "one_rank.py"
PRELOADED = ["torch", "lookonce.workflows.train", "lookonce.evaluation.evaluate", "hotcoco"]
LONGEST = ("integration", "exporters", "workflows", "cloud", "faults")  # rooms, by their processor time
TOGETHER = {"exporters", "faults", "web"}  # rooms
OF_FRESH_RANKS = {"test_ranks.py", "test_rank_groups.py", "test_job.py"}
LOOPBACK = {"127.0.0.1", "::1", "localhost"}

# Read when torch, onnxruntime or numpy start their thread pools, here and in the processes a test starts: small
# tensors are slower on several threads than on one, and sums come out in another order.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Collecting makes a million objects and little garbage; from `pytest_collection_finish` on Python looks for it again.
gc.disable()

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


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """The whole suite runs in one process more than there are cores, for its tests wait a fifth of their time. Tests
    that are named run in this process, which starts at once."""
    return min(usable_processors() + 1, 8) if config.args == config.getini("testpaths") else 0


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Files are handed out to the processes whole. Those that share long fixtures stay together: some rooms, and the
    files whose ranks are forks of one process that has imported all."""
    from xdist.scheduler import LoadFileScheduling

    class ByFileOrRoom(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = Path(super()._split_scope(nodeid))
            if file.parent.name in TOGETHER:
                return file.parent.name
            return "ranks" if file.name in OF_FRESH_RANKS else str(file)

    return ByFileOrRoom(config, log) if config.getoption("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests whose ranks are forks of this process come first: once torch.export has run, autograd has threads, and then
    it refuses to work in a fork. Then the longest rooms, so that no process is left with them at the end.

    Files are handed out to the processes in the order of their first test here."""

    def order(item: pytest.Item) -> tuple[bool, int]:
        room = item.path.parent.name
        place = LONGEST.index(room) if room in LONGEST else len(LONGEST)
        return "in_ranks" not in getattr(item, "fixturenames", ()), place

    items.sort(key=order)


def pytest_collection_finish() -> None:
    gc.freeze()  # forks then share what is there now
    gc.enable()


@pytest.fixture
def in_ranks() -> Callable[..., list[Any]]:
    """in_ranks(2, function, *arguments) -> what each of two gloo ranks returned; the first error of one is raised.

    The ranks are forks of this process, since fresh ones take seconds to start. fresh=True forks a process that has
    done nothing yet: for what starts threads, as scoring does, which a fork would wait for in vain. Then the function
    must be one of a test file, and all it gets and returns must be picklable.
    """

    def run(num_ranks: int, function: Any, *arguments: Any, timeout_seconds: float = 60, fresh: bool = False) -> Any:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        context = multiprocessing.get_context("forkserver" if fresh else "fork")
        if fresh:
            context.set_forkserver_preload(PRELOADED)
            function = (inspect.getfile(function), function.__name__)
        pipes = [context.Pipe(duplex=False) for _ in range(num_ranks)]
        ranks = []
        for rank, (_, sender) in enumerate(pipes):
            values = (sender, rank, num_ranks, port, function, arguments)
            names = ("SENDER", "RANK", "NUM_RANKS", "PORT", "FUNCTION", "ARGUMENTS")
            options = {"init_globals": dict(zip(names, values, strict=True))}
            ranks.append(context.Process(target=runpy.run_path, args=(str(ONE_RANK),), kwargs=options))  # type: ignore[attr-defined]
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # that a fork has one thread only is what we want
                for process in ranks:
                    process.start()
            for _, sender in pipes:
                sender.close()
            ends = [_received(receiver, timeout_seconds) for receiver, _ in pipes]
        finally:
            for process in ranks:
                process.kill()
                process.join()
        for end in ends:
            if isinstance(end, BaseException):
                raise end
        return ends

    return run


def _received(receiver: Connection, timeout_seconds: float) -> Any:
    try:
        return receiver.recv() if receiver.poll(timeout_seconds) else TimeoutError("a rank did not answer")
    except EOFError:
        return RuntimeError("a rank ended without an answer")


# Hooks and no fixtures, for there are thousands of tests.


def pytest_runtest_setup(item: pytest.Item) -> None:
    """What each test gets, of modules that it may never import."""
    Network.is_allowed = item.get_closest_marker("network") is not None
    torch, sheets = sys.modules.get("torch"), sys.modules.get("lookonce.reports.sheets")
    if hasattr(torch, "set_num_threads"):
        torch.set_num_threads(1)
    if hasattr(sheets, "VALIDATION_IMAGES"):
        # A training shows its detections after each epoch; untrained networks have hundreds an image, and drawing those
        # of two images takes as long as an epoch of six.
        sheets.VALIDATION_IMAGES = 1


class Network:
    is_allowed = False


connect_anywhere = socket.socket.connect


def connect_here_only(connecting: socket.socket, address: object) -> None:
    """Refuses connections that leave this machine, unless the test is marked `network`."""
    if not Network.is_allowed and isinstance(address, tuple) and address[0] not in LOOPBACK:
        raise OSError(f"this test opened a connection to {address}; mark it `network` if it must")
    connect_anywhere(connecting, address)  # type: ignore[arg-type]


socket.socket.connect = connect_here_only  # type: ignore[method-assign,assignment]
