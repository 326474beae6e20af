"""One command, several processes: `--devices 8` starts a process for each device, and stands for all of them.

Starting and restarting is torchrun's (`distributed.run_job`). What torchrun cannot tell goes over a line between the
launcher and each of its processes: the settings and the wish to stop one way, how it ended the other. So a stop is a
stop (torchrun would end with status 1), an error is told once and not tried again, and no process trains on for a
launcher that was killed: whose line is cut, leaves.
"""

import json
import os
import secrets
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from lookonce.config.schema import Settings
from lookonce.distributed import Job, count_devices, processes_here, run_job, started_by_torchrun
from lookonce.errors import LookonceError, SettingsError
from lookonce.log import get_logger
from lookonce.storage import explained_write
from lookonce.training.stop import StopRequest, signals_handled_by

# In the environment of the processes that are started: where their launcher listens, and the word that lets one in.
LINE = "LOOKONCE_LINE"
WORK = ("-c", "from lookonce.workflows.train import work; work()")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a training of several processes ended."""

    run: Path
    stopped: bool


def is_wanted(settings: Settings) -> bool:
    """Whether this process is to start others: not when it was started as one of several itself."""
    if not started_by_torchrun():
        return settings.devices > 1 or settings.nnodes != "1"
    if settings.devices not in (1, processes_here()):
        raise SettingsError(
            f"devices: {settings.devices} was given, but torchrun has started {processes_here()} processes here; leave "
            "it out"
        )
    return False


def launch(settings: Settings, flags: Mapping[str, Any]) -> Outcome:
    """Train with `flags` in as many processes as the settings say; returns when all have ended.

    Ctrl-C or SIGTERM: all finish the step under way and save. A second one, or one before training has begun, ends
    them at once: KeyboardInterrupt. LookonceError: what one of them said, or which of them died.
    """
    if threading.current_thread() is not threading.main_thread():
        raise SettingsError(f"devices: {settings.devices} processes can be started from the main thread only; use 1")
    require_devices(settings)
    job = Job(
        processes=settings.devices,
        nodes=settings.nnodes,
        node=settings.node_rank,
        endpoint=settings.rdzv_endpoint,
        max_restarts=settings.max_restarts,
    )
    failed: Mapping[int, int] = {}
    with _Crew.listening(flags, settings) as crew, crew.on_signals(), suppress(_Leave):
        failed = run_job(job, (sys.executable, *WORK))
    return crew.outcome(failed)


def require_devices(settings: Settings) -> None:
    """SettingsError where the machine has fewer devices than processes are to be started."""
    kind, _, number = settings.device.partition(":")
    if number and settings.devices > 1:
        raise SettingsError(f"device: {settings.device} is one, devices asks for {settings.devices}; say device={kind}")
    kind, present = count_devices(kind)
    if kind != "cpu" and settings.devices > present:
        raise SettingsError(
            f"devices: {settings.devices} asked for, this machine has {present} ({kind}); with device=cpu any number "
            "of processes can train"
        )


def threads_per_process(num_processes: int) -> int:
    """CPU threads for the network's sums: what OMP_NUM_THREADS says, else the cores shared out evenly."""
    if os.environ.get("OMP_NUM_THREADS", "").isdecimal():
        return int(os.environ["OMP_NUM_THREADS"])
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(cores // num_processes, 1)


def speak_apart(name: str) -> None:
    """From now on all that this process writes, whoever in it does, goes to NAME1/log.txt if it is number 1 of its
    machine, and so on. Number 0 goes on where it speaks: there its launcher does, too."""
    number = os.environ.get("LOCAL_RANK", "0")
    if not name or number == "0":
        return
    path = Path(f"{name}{number}") / "log.txt"
    with explained_write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            for stream in (sys.stdout, sys.stderr):
                os.dup2(file.fileno(), stream.fileno())


class Line:
    """A process' end of the line to its launcher. stop: asked for when the launcher is."""

    def __init__(self, connection: socket.socket, hello: Mapping[str, Any]) -> None:
        self._connection = connection
        self._lines = connection.makefile(encoding="utf-8")
        self._send(**hello)
        first = json.loads(self._lines.readline() or "{}")
        if not first:
            os._exit(1)  # the launcher is gone
        self.flags: Mapping[str, Any] = first["flags"]
        self.threads: int = first["threads"]
        self.stop = StopRequest()
        threading.Thread(target=self._follow, name="lookonce-line", daemon=True).start()

    def has_begun(self) -> None:
        """Training has begun: from now on a wish to stop is granted, before it just ends everything."""
        self._send(begun=True)

    def has_ended(self, run: Path, *, stopped: bool) -> None:
        self._send(run=str(run), stopped=stopped)

    def has_failed(self, error: LookonceError) -> None:
        """Nobody tries again: the same input would fail in the same way."""
        self._send(error=str(error), is_setting=isinstance(error, SettingsError))

    def has_lost_another(self, error: LookonceError) -> None:
        """The launcher knows more, or tries again."""
        self._send(lost=str(error))

    def _send(self, **message: Any) -> None:
        with suppress(OSError):
            self._connection.sendall(json.dumps(message).encode() + b"\n")

    def _follow(self) -> None:
        for line in self._lines:
            if json.loads(line) != "stop":
                break
            self.stop.ask()
        os._exit(1)


def line_to_launcher() -> Line:
    """For a process that `launch` has started."""
    port, key = json.loads(os.environ[LINE])
    connection = socket.create_connection(("127.0.0.1", port))
    return Line(connection, {"key": key, "rank": int(os.environ["RANK"]), "pid": os.getpid()})


class _Leave(BaseException):
    """Raised in the main thread, where it waits for the processes."""


@dataclass
class _Member:
    """A process at the other end of a line. has_told: how it ended."""

    rank: int
    pid: int
    connection: socket.socket
    has_begun: bool = False
    has_told: bool = False

    def send(self, message: Any) -> None:
        with suppress(OSError):
            self.connection.sendall(json.dumps(message).encode() + b"\n")


@dataclass
class _Crew:
    """The processes of this machine, as their launcher knows them; each has a thread here that listens to it."""

    server: socket.socket
    key: str
    flags: Mapping[str, Any]
    threads: int
    max_restarts: int
    num_starts: int = 0
    members: dict[int, _Member] = field(default_factory=dict)  # by rank, of the newest start
    gone: list[str] = field(default_factory=list)  # who ended without a word since the newest start, in that order
    lost: list[str] = field(default_factory=list)  # who said so of another
    error: LookonceError | None = None
    told: Outcome | None = None
    stop_asked: bool = False
    is_interrupted: bool = False

    @classmethod
    @contextmanager
    def listening(cls, flags: Mapping[str, Any], settings: Settings) -> Iterator["_Crew"]:
        """For the length of the block, processes that are started find their way here; at its end none is left."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            crew = cls(
                server=server,
                key=secrets.token_hex(16),
                flags=flags,
                threads=settings.cpus_per_rank or threads_per_process(settings.devices),
                max_restarts=settings.max_restarts,
            )
            os.environ[LINE] = json.dumps([server.getsockname()[1], crew.key])
            threading.Thread(target=crew._accept, name="lookonce-crew", daemon=True).start()
            try:
                yield crew
            finally:
                del os.environ[LINE]
                crew.dismiss()

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """For the length of the block the first signal asks the processes to stop, and the second ends them."""

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            has_begun = any(member.has_begun for member in self.members.values())
            if self.error is None and has_begun and not self.stop_asked:
                self.stop_asked = True
                self._send_all("stop")
                return
            self.is_interrupted = self.error is None
            self.dismiss()
            raise _Leave

        with signals_handled_by(on_signal):
            yield

    def outcome(self, failed: Mapping[int, int]) -> Outcome:
        """How it all ended, as a value or an error. failed: rank -> exit status."""
        if self.error is not None:
            raise self.error
        if self.is_interrupted:
            raise KeyboardInterrupt
        if self.told is not None and (self.told.stopped or not failed):
            return self.told
        ends = "; ".join(f"rank {rank} ended with {_status(status)}" for rank, status in sorted(failed.items()))
        why = "".join(f" ({words})" for words in [*self.gone, *self.lost][:1])
        raise LookonceError(
            f"{ends or 'the processes ended'}{why}, after {max(self.num_starts - 1, 0)} of {self.max_restarts} "
            "restarts (max_restarts). What was saved is sound, and lookonce train --resume goes on from there"
        )

    def dismiss(self) -> None:
        """End all processes at once."""
        self._send_all("leave")

    def _send_all(self, message: str) -> None:
        for member in list(self.members.values()):
            member.send(message)

    def _accept(self) -> None:
        with suppress(OSError):  # the server is closed
            while True:
                connection, _ = self.server.accept()
                threading.Thread(target=self._follow, args=(connection,), daemon=True).start()

    def _follow(self, connection: socket.socket) -> None:
        """Listen to a process until its line is cut."""
        with connection, connection.makefile(encoding="utf-8") as lines:
            hello = _read(lines.readline())
            if hello.get("key") != self.key:
                return
            member = self._welcome(_Member(hello["rank"], hello["pid"], connection))
            with suppress(OSError):
                for line in lines:
                    self._hear(member, _read(line))
        if not member.has_told and self.members.get(member.rank) is member:
            self.gone.append(f"rank {member.rank}, process {member.pid}, ended without a word")

    def _welcome(self, member: _Member) -> _Member:
        if member.rank in self.members or not self.members:
            self._begin_start()
        self.members[member.rank] = member
        member.send({"flags": dict(self.flags), "threads": self.threads})
        if self.stop_asked:
            member.send("stop")
        return member

    def _begin_start(self) -> None:
        """All processes are started again, after a failure; or for the first time."""
        if self.num_starts:
            why = [*self.gone, *self.lost, "another machine came or went"][0]
            get_logger().warning(f"{why}: all ranks start again and go on from the newest checkpoint")
        self.num_starts += 1
        self.members.clear()
        self.gone.clear()
        self.lost.clear()

    def _hear(self, member: _Member, message: Mapping[str, Any]) -> None:
        member.has_begun |= "begun" in message
        member.has_told |= bool({"run", "error", "lost"} & message.keys())
        if "run" in message:
            self.told = Outcome(run=Path(message["run"]), stopped=message["stopped"])
        if "lost" in message:
            self.lost.append(message["lost"])
        if "error" in message and self.error is None:
            kind = SettingsError if message["is_setting"] else LookonceError
            self.error = kind(f"rank {member.rank}: {message['error']}")
            os.kill(os.getpid(), signal.SIGTERM)  # ends the wait in the main thread


def _read(line: str) -> dict[str, Any]:
    with suppress(ValueError):
        message = json.loads(line)
        if isinstance(message, dict):
            return message
    return {}


def _status(status: int) -> str:
    return f"exit status {status}" if status >= 0 else f"signal {-status} ({signal.Signals(-status).name})"
