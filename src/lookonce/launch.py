"""The launcher of several processes (ranks): `--devices 8` starts one process per device and waits for all of them.

torchrun starts and restarts the processes (`torchrun.run_job`). A connection between the launcher and each process
carries what torchrun does not pass on: the task and the stop request to the process; its progress, and its result or
error, back. So a requested stop ends without an error (torchrun would exit with status 1), an error is reported once
and not retried, and a process exits when its launcher is killed, because its connection closes.
"""

import json
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from lookonce.collector import leave_without_collecting
from lookonce.cores import processes_here, usable_cores, wanted_threads
from lookonce.devices import count_devices
from lookonce.distributed import RankLost, started_by_torchrun
from lookonce.errors import LookonceError, SettingsError
from lookonce.log import get_logger, logging_to
from lookonce.settings.names import counted
from lookonce.settings.schema import Settings
from lookonce.signals import StopRequest, signals_handled_by
from lookonce.storage import os_errors_explained
from lookonce.torchrun import run_job, wait_for_first

# Environment variable of the started processes: the launcher's port and the authentication key, as JSON.
LINE = "LOOKONCE_LINE"
WORK = ("-c", "from lookonce.targets import imported; imported('lookonce.launch:work')()")
REPORT_SECONDS = 30  # a result may be large
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Task:
    """The call of each process: function(line, **flags); line is its LauncherConnection. threads: per process.

    after_failure: end of the error message when a process fails: what was saved, and the next step.
    """

    function: Callable[..., Any]
    flags: Mapping[str, Any]
    threads: int
    after_failure: str


def is_wanted(settings: Settings) -> bool:
    """Whether this process must start others. A process that torchrun or this launcher started must not."""
    if not started_by_torchrun():
        return settings.devices > 1 or settings.nnodes != "1"
    if settings.devices not in (1, processes_here()):
        started = f"torchrun started {counted(processes_here(), 'process')} on this machine"
        raise SettingsError.of("devices", settings.devices, f"{started}; omit devices under torchrun")
    return False


def launch(
    settings: Settings,
    function: Callable[..., Result],
    flags: Mapping[str, Any],
    *,
    after_failure: str,
    on_progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Call function(line, **flags) in settings.devices processes; return when all have ended.

    The result is that of local rank 0; each `report_progress` of local rank 0 calls on_progress(done, total).
    On Ctrl-C or SIGTERM after `has_begun`, all processes finish the current step and save. A second signal, or one
    before `has_begun`, ends them at once and raises KeyboardInterrupt. LookonceError: the error that a process
    reported, or the rank that died.
    """
    if threading.current_thread() is not threading.main_thread():
        raise SettingsError.of(
            "devices", settings.devices, "several processes can be started from the main thread only; use devices=1"
        )
    require_devices(settings)
    threads = settings.cpus_per_rank or threads_per_process(settings.devices)
    task = Task(function=function, flags=flags, threads=threads, after_failure=after_failure)
    get_logger().info(f"starting {counted(settings.devices, 'process')}")
    failed: Mapping[int, int] = {}
    with _WorkerGroup.of_job(task, settings.max_restarts, on_progress) as group, group.on_signals(), suppress(_Abort):
        if settings.rdzv_endpoint and settings.node_rank:
            wait_for_first(settings.rdzv_endpoint, settings.rank_timeout)
        failed = run_job(settings, (sys.executable, *WORK))
    result: Result = group.outcome(failed)
    return result


def require_devices(settings: Settings) -> None:
    """SettingsError if the machine has fewer devices than `devices`."""
    kind, _, number = settings.device.partition(":")
    if number and settings.devices > 1:
        raise SettingsError.of("device", settings.device, f"devices is {settings.devices}; use device={kind}")
    kind, present = count_devices(kind)
    if kind != "cpu" and settings.devices > present:
        instead = "reduce devices, or use device=cpu, which allows any number of processes"
        raise SettingsError.of("devices", settings.devices, f"this machine has {present} ({kind}); {instead}")


def threads_per_process(num_processes: int) -> int:
    """Number of compute threads per process: OMP_NUM_THREADS if set, else usable_cores() divided by num_processes."""
    return wanted_threads() or max(usable_cores() // num_processes, 1)


def work() -> None:
    """Main function of a process that `launch` starts."""
    leave_without_collecting()
    line = LauncherConnection()
    try:
        with logging_to():
            result = line.task.function(line, **line.task.flags)
    except RankLost as error:
        line.send(lost=str(error))  # the launcher knows the cause, or restarts all ranks
        sys.exit(1)
    except LookonceError as error:  # the same input would fail again, so the launcher ends the job
        line.send(error=str(error), is_setting=isinstance(error, SettingsError), fields=error.fields)
        sys.exit(1)
    # Exit status 0 also after a requested stop: with another status, torchrun would restart all processes.
    line.send(result=result if line.is_first else None)


def redirect_output(name: str) -> None:
    """Redirect stdout and stderr of this process, native libraries included, to NAME<local rank>/log.txt.

    Local rank 0 keeps writing to the launcher's stdout and stderr. An empty name redirects nothing.
    """
    number = os.environ.get("LOCAL_RANK", "0")
    if not name or number == "0":
        return
    path = Path(f"{name}{number}") / "log.txt"
    with os_errors_explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            for stream in (sys.stdout, sys.stderr):
                os.dup2(file.fileno(), stream.fileno())


class LauncherConnection:
    """A process's end of the connection to its launcher. stop: set when the launcher receives a stop signal."""

    def __init__(self) -> None:
        port, key = json.loads(os.environ[LINE])
        self.is_first = os.environ["LOCAL_RANK"] == "0"
        try:
            self._connection = Client(("127.0.0.1", port), authkey=bytes.fromhex(key))
            self.send(rank=int(os.environ["RANK"]), pid=os.getpid())
            self.task: Task = self._connection.recv()
        except (OSError, EOFError):
            os._exit(1)  # the launcher has ended
        self.stop = StopRequest()
        threading.Thread(target=self._follow, name="lookonce-launcher", daemon=True).start()

    def has_begun(self) -> None:
        """From now on the first stop signal finishes the step and saves; before, it ends all processes at once."""
        self.send(begun=True)

    def report_progress(self, done: int, total: int) -> None:
        if self.is_first:
            self.send(progress=(done, total))

    def send(self, **message: Any) -> None:
        with suppress(OSError):
            self._connection.send(message)

    def _follow(self) -> None:
        with suppress(OSError, EOFError):
            while self._connection.recv() == "stop":
                self.stop.ask()
        os._exit(1)


class _Abort(BaseException):
    """Raised in the main thread to end its wait for the processes."""


@dataclass
class _Worker:
    """The launcher's record of a process. has_reported: whether it reported a result, an error or a lost rank."""

    rank: int
    pid: int
    connection: Connection
    has_begun: bool = False
    has_reported: bool = False

    def send(self, message: Any) -> None:
        with suppress(OSError):
            self.connection.send(message)


@dataclass
class _WorkerGroup:
    """The launcher's view of the processes on this machine; one thread per process receives its messages."""

    listener: Listener
    task: Task
    max_restarts: int
    on_progress: Callable[[int, int], None] | None
    num_starts: int = 0
    workers: dict[int, _Worker] = field(default_factory=dict)  # by rank, since the latest (re)start
    gone: list[str] = field(default_factory=list)  # processes that ended without a report since then, in that order
    lost: list[str] = field(default_factory=list)  # messages of ranks that lost another rank
    error: LookonceError | None = None
    result: Any = None
    stop_asked: bool = False
    is_interrupted: bool = False
    is_over: bool = False
    listening: list[threading.Thread] = field(default_factory=list)

    @classmethod
    @contextmanager
    def of_job(
        cls, task: Task, max_restarts: int, on_progress: Callable[[int, int], None] | None
    ) -> Iterator["_WorkerGroup"]:
        """Inside the block, started processes connect to the group; when it ends, all of them are ended."""
        key = secrets.token_hex(16)
        with Listener(("127.0.0.1", 0), backlog=1024, authkey=bytes.fromhex(key)) as listener:
            group = cls(listener=listener, task=task, max_restarts=max_restarts, on_progress=on_progress)
            os.environ[LINE] = json.dumps([listener.address[1], key])
            accepting = threading.Thread(target=group._accept, name="lookonce-accept", daemon=True)
            accepting.start()
            try:
                yield group
            finally:
                del os.environ[LINE]
                group.is_over = True
                with suppress(OSError):  # closing the listener would not wake the thread in accept()
                    socket.create_connection(listener.address).close()
                accepting.join(REPORT_SECONDS)
                group._send_all("leave")  # ends them
                for thread in group.listening:  # until the last message of each process
                    thread.join(REPORT_SECONDS)

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Inside the block the first signal asks the processes to stop, and the second one ends them."""

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            has_begun = any(worker.has_begun for worker in self.workers.values())
            if self.error is None and has_begun and not self.stop_asked:
                self.stop_asked = True
                self._send_all("stop")
                return
            self.is_interrupted = self.error is None
            self._send_all("leave")
            raise _Abort

        with signals_handled_by(on_signal):
            yield

    def outcome(self, failed: Mapping[int, int]) -> Any:
        """Return the result of the job, or raise its error. failed: rank -> exit status."""
        if self.error is not None:
            raise self.error
        if self.is_interrupted:
            raise KeyboardInterrupt
        if self.result is not None and (getattr(self.result, "stopped", False) or not failed):
            return self.result
        ends = "; ".join(f"rank {rank} ended with {_status(status)}" for rank, status in sorted(failed.items()))
        why = "".join(f" ({cause})" for cause in [*self.gone, *self.lost][:1])
        restarts = f", after {max(self.num_starts - 1, 0)} of at most {self.max_restarts} restarts (max_restarts)"
        raise LookonceError(
            f"{ends or 'the processes ended'}{why}{restarts if self.max_restarts else ''}. {self.task.after_failure}"
        )

    def _send_all(self, message: str) -> None:
        for worker in list(self.workers.values()):
            worker.send(message)

    def _accept(self) -> None:
        while not self.is_over:
            with suppress(AuthenticationError, EOFError, OSError):  # not started by this launcher, or ended already
                connection = self.listener.accept()
                self.listening.append(threading.Thread(target=self._follow, args=(connection,), daemon=True))
                self.listening[-1].start()

    def _follow(self, connection: Connection) -> None:
        """Receive the messages of a process until its connection closes."""
        worker = None
        with connection, suppress(OSError, EOFError):
            hello = connection.recv()
            worker = self._welcome(_Worker(hello["rank"], hello["pid"], connection))
            while True:
                self._receive(worker, connection.recv())
        if worker is not None and not worker.has_reported and self.workers.get(worker.rank) is worker:
            self.gone.append(f"rank {worker.rank}, process {worker.pid}, ended without a report")

    def _welcome(self, worker: _Worker) -> _Worker:
        if worker.rank in self.workers or not self.workers:  # the first of a start, or of a restart after a failure
            if self.num_starts:
                why = [*self.gone, *self.lost, "a node joined or left"][0]
                get_logger().warning(f"{why}; all ranks start again and resume from the newest checkpoint")
            self.num_starts += 1
            for records in (self.workers, self.gone, self.lost):
                records.clear()
        self.workers[worker.rank] = worker
        worker.send(self.task)
        if self.stop_asked:
            worker.send("stop")
        return worker

    def _receive(self, worker: _Worker, message: Mapping[str, Any]) -> None:
        worker.has_begun |= "begun" in message
        worker.has_reported |= bool({"result", "error", "lost"} & message.keys())
        if "progress" in message and self.on_progress is not None:
            self.on_progress(*message["progress"])
        if message.get("result") is not None:
            self.result = message["result"]
        if "lost" in message:
            self.lost.append(message["lost"])
        if "error" in message and self.error is None:
            kind = SettingsError if message["is_setting"] else LookonceError
            self.error = kind(f"rank {worker.rank}: {message['error']}", **message["fields"])
            os.kill(os.getpid(), signal.SIGTERM)  # ends the wait in the main thread


def _status(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"signal {-status} ({signal.Signals(-status).name})"
