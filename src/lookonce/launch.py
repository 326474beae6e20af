"""One command, several processes: `--devices 8` starts a process for each device, and stands for all of them.

Starting and restarting is torchrun's (`distributed.run_job`). What torchrun cannot tell goes over a line between the
launcher and each of its processes: what to do and the wish to stop one way, how far it is and how it ended the other.
So a stop is a stop (torchrun would end with status 1), an error is told once and not tried again, and no process works
on for a launcher that was killed: whose line is cut, leaves.
"""

import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from lookonce.config.schema import Settings
from lookonce.cores import usable_cores, wanted_threads
from lookonce.distributed import Job, RankLost, count_devices, processes_here, run_job, started_by_torchrun
from lookonce.errors import LookonceError, SettingsError
from lookonce.log import get_logger, logging_to
from lookonce.signals import StopRequest, signals_handled_by
from lookonce.storage import os_errors_explained

# In the environment of the processes that are started: where their launcher listens, and the word that lets one in.
LINE = "LOOKONCE_LINE"
WORK = ("-c", "from lookonce.launch import work; work()")
LAST_WORD_SECONDS = 30  # what a process has found may be large
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Task:
    """What each process does: function(line, **flags), where line leads to its launcher. threads: of each process.

    after_failure: what is left of the work then, and what to do; told behind who failed.
    """

    function: Callable[..., Any]
    flags: Mapping[str, Any]
    threads: int
    after_failure: str


def is_wanted(settings: Settings) -> bool:
    """Whether this process is to start others: not when it was started as one of several itself."""
    if not started_by_torchrun():
        return settings.devices > 1 or settings.nnodes != "1"
    if settings.devices not in (1, processes_here()):
        raise SettingsError(
            f"devices: {settings.devices} was given, but torchrun has started {processes_here()} processes here; leave "
            "it out",
            setting="devices",
            value=settings.devices,
        )
    return False


def launch(
    settings: Settings,
    function: Callable[..., Result],
    flags: Mapping[str, Any],
    *,
    after_failure: str,
    on_progress: Callable[[int, int], None] | None = None,
) -> Result:
    """Call function(line, **flags) in as many processes as the settings say; returns when all have ended.

    What it returned in the first process of this machine is returned here, and its `has_come` calls on_progress.
    Ctrl-C or SIGTERM: where work `has_begun`, all finish the step under way and save. A second one, or one before,
    ends them at once: KeyboardInterrupt. LookonceError: what one of them said, or which of them died.
    """
    if threading.current_thread() is not threading.main_thread():
        raise SettingsError(
            f"devices: {settings.devices} processes can be started from the main thread only; use 1",
            setting="devices",
            value=settings.devices,
        )
    require_devices(settings)
    job = Job(
        processes=settings.devices,
        nodes=settings.nnodes,
        node=settings.node_rank,
        endpoint=settings.rdzv_endpoint,
        max_restarts=settings.max_restarts,
        timeout_seconds=settings.rank_timeout,
    )
    threads = settings.cpus_per_rank or threads_per_process(settings.devices)
    task = Task(function=function, flags=flags, threads=threads, after_failure=after_failure)
    failed: Mapping[int, int] = {}
    with _WorkerGroup.of_job(task, settings.max_restarts, on_progress) as group, group.on_signals(), suppress(_Abort):
        if settings.rdzv_endpoint and settings.node_rank:
            wait_for_first(settings.rdzv_endpoint, settings.rank_timeout)
        failed = run_job(job, (sys.executable, *WORK))
    result: Result = group.outcome(failed)
    return result


def require_devices(settings: Settings) -> None:
    """SettingsError where the machine has fewer devices than processes are to be started."""
    kind, _, number = settings.device.partition(":")
    if number and settings.devices > 1:
        raise SettingsError(
            f"device: {settings.device} is one, devices asks for {settings.devices}; say device={kind}",
            setting="device",
            value=settings.device,
        )
    kind, present = count_devices(kind)
    if kind != "cpu" and settings.devices > present:
        raise SettingsError(
            f"devices: {settings.devices} asked for, this machine has {present} ({kind}); with device=cpu any number "
            "of processes can work together",
            setting="devices",
            value=settings.devices,
        )


def wait_for_first(endpoint: str, timeout_seconds: float) -> None:
    """Until machine 0 listens at host:port. It may start minutes later, and a pod's name may mean nothing before."""
    host, _, port = endpoint.rpartition(":")
    if not host or not port.isdecimal():
        raise SettingsError(
            f"rdzv_endpoint={endpoint}: expected host:port, as first:29500", setting="rdzv_endpoint", value=endpoint
        )
    give_up, told = time.monotonic() + timeout_seconds, False
    while True:
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
            return
        except OSError as error:
            why = error
        if time.monotonic() > give_up:
            raise LookonceError(
                f"rdzv_endpoint: nobody has listened at {endpoint} for {timeout_seconds:g} s (rank_timeout; {why}); "
                "the machine with node_rank 0 does, once lookonce runs there",
                setting="rdzv_endpoint",
                value=endpoint,
            )
        if not told:
            get_logger().info(f"waits for the machine with node_rank 0 at {endpoint} ({why})")
            told = True
        time.sleep(0.5)


def threads_per_process(num_processes: int) -> int:
    """CPU threads for the network's sums: what OMP_NUM_THREADS says, else the cores shared out evenly."""
    return wanted_threads() or max(usable_cores() // num_processes, 1)


def work() -> None:
    """One of the processes that `launch` starts."""
    line = LauncherConnection()
    try:
        with logging_to():
            result = line.task.function(line, **line.task.flags)
    except RankLost as error:
        line.has_lost_another(error)
        sys.exit(1)
    except LookonceError as error:
        line.has_failed(error)
        sys.exit(1)
    # Status 0 also after a stop: with another, torchrun would start all of them again.
    line.has_ended(result)


def redirect_output(name: str) -> None:
    """From now on all that this process writes, whoever in it does, goes to NAME1/log.txt if it is number 1 of its
    machine, and so on. Number 0 goes on where it speaks: there its launcher does, too."""
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
    """A process' end of the line to its launcher. stop: asked for when the launcher is."""

    def __init__(self) -> None:
        port, key = json.loads(os.environ[LINE])
        self._is_first = os.environ["LOCAL_RANK"] == "0"
        try:
            self._connection = Client(("127.0.0.1", port), authkey=bytes.fromhex(key))
            self._send(rank=int(os.environ["RANK"]), pid=os.getpid())
            self.task: Task = self._connection.recv()
        except (OSError, EOFError):
            os._exit(1)  # the launcher is gone
        self.stop = StopRequest()
        threading.Thread(target=self._follow, name="lookonce-line", daemon=True).start()

    def has_begun(self) -> None:
        """From now on a wish to stop is granted, before it just ends everything."""
        self._send(begun=True)

    def has_come(self, done: int, total: int) -> None:
        """How much is done."""
        if self._is_first:
            self._send(come=(done, total))

    def has_ended(self, result: Any) -> None:
        self._send(result=result if self._is_first else None)

    def has_failed(self, error: LookonceError) -> None:
        """Nobody tries again: the same input would fail in the same way."""
        self._send(error=str(error), is_setting=isinstance(error, SettingsError), fields=error.fields)

    def has_lost_another(self, error: LookonceError) -> None:
        """The launcher knows more, or tries again."""
        self._send(lost=str(error))

    def _send(self, **message: Any) -> None:
        with suppress(OSError):
            self._connection.send(message)

    def _follow(self) -> None:
        with suppress(OSError, EOFError):
            while self._connection.recv() == "stop":
                self.stop.ask()
        os._exit(1)


class _Abort(BaseException):
    """Raised in the main thread, where it waits for the processes."""


@dataclass
class _Worker:
    """A process at the other end of a line. has_reported: how it ended."""

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
    """The processes of this machine, as their launcher knows them; each has a thread here that listens to it."""

    listener: Listener
    task: Task
    max_restarts: int
    on_progress: Callable[[int, int], None] | None
    num_starts: int = 0
    workers: dict[int, _Worker] = field(default_factory=dict)  # by rank, of the newest start
    gone: list[str] = field(default_factory=list)  # who ended without a word since the newest start, in that order
    lost: list[str] = field(default_factory=list)  # who said so of another
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
        """For the length of the block, processes that are started find their way here; at its end none is left."""
        key = secrets.token_hex(16)
        with Listener(("127.0.0.1", 0), backlog=1024, authkey=bytes.fromhex(key)) as listener:
            group = cls(listener=listener, task=task, max_restarts=max_restarts, on_progress=on_progress)
            os.environ[LINE] = json.dumps([listener.address[1], key])
            accepting = threading.Thread(target=group._accept, name="lookonce-crew", daemon=True)
            accepting.start()
            try:
                yield group
            finally:
                del os.environ[LINE]
                group.is_over = True
                with suppress(OSError):  # closing the listener would not wake the one that waits in accept
                    socket.create_connection(listener.address).close()
                accepting.join(LAST_WORD_SECONDS)
                group.dismiss()
                for thread in group.listening:  # to the last word of each
                    thread.join(LAST_WORD_SECONDS)

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """For the length of the block the first signal asks the processes to stop, and the second ends them."""

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            has_begun = any(worker.has_begun for worker in self.workers.values())
            if self.error is None and has_begun and not self.stop_asked:
                self.stop_asked = True
                self._send_all("stop")
                return
            self.is_interrupted = self.error is None
            self.dismiss()
            raise _Abort

        with signals_handled_by(on_signal):
            yield

    def outcome(self, failed: Mapping[int, int]) -> Any:
        """How it all ended, as a value or an error. failed: rank -> exit status."""
        if self.error is not None:
            raise self.error
        if self.is_interrupted:
            raise KeyboardInterrupt
        if self.result is not None and (getattr(self.result, "stopped", False) or not failed):
            return self.result
        ends = "; ".join(f"rank {rank} ended with {_status(status)}" for rank, status in sorted(failed.items()))
        why = "".join(f" ({words})" for words in [*self.gone, *self.lost][:1])
        raise LookonceError(f"{ends or 'the processes ended'}{why}{self._restarts()}. {self.task.after_failure}")

    def _restarts(self) -> str:
        if not self.max_restarts:
            return ""
        return f", after {max(self.num_starts - 1, 0)} of {self.max_restarts} restarts (max_restarts)"

    def dismiss(self) -> None:
        """End all processes at once."""
        self._send_all("leave")

    def _send_all(self, message: str) -> None:
        for worker in list(self.workers.values()):
            worker.send(message)

    def _accept(self) -> None:
        while not self.is_over:
            with suppress(AuthenticationError, EOFError, OSError):  # not one of ours, or gone already
                connection = self.listener.accept()
                self.listening.append(threading.Thread(target=self._follow, args=(connection,), daemon=True))
                self.listening[-1].start()

    def _follow(self, connection: Connection) -> None:
        """Listen to a process until its line is cut."""
        worker = None
        with connection, suppress(OSError, EOFError):
            hello = connection.recv()
            worker = self._welcome(_Worker(hello["rank"], hello["pid"], connection))
            while True:
                self._hear(worker, connection.recv())
        if worker is not None and not worker.has_reported and self.workers.get(worker.rank) is worker:
            self.gone.append(f"rank {worker.rank}, process {worker.pid}, ended without a word")

    def _welcome(self, worker: _Worker) -> _Worker:
        if worker.rank in self.workers or not self.workers:
            self._begin_start()
        self.workers[worker.rank] = worker
        worker.send(self.task)
        if self.stop_asked:
            worker.send("stop")
        return worker

    def _begin_start(self) -> None:
        """All processes are started again, after a failure; or for the first time."""
        if self.num_starts:
            why = [*self.gone, *self.lost, "another machine came or went"][0]
            get_logger().warning(f"{why}: all ranks start again and go on from the newest checkpoint")
        self.num_starts += 1
        self.workers.clear()
        self.gone.clear()
        self.lost.clear()

    def _hear(self, worker: _Worker, message: Mapping[str, Any]) -> None:
        worker.has_begun |= "begun" in message
        worker.has_reported |= bool({"result", "error", "lost"} & message.keys())
        if "come" in message and self.on_progress is not None:
            self.on_progress(*message["come"])
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
