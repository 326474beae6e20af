"""Processes that are started, stopped, killed and started again: whatever happens, a run ends with the same bits."""

import hashlib
import importlib
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ports import free_port
from raised import raises
from started import Start, all_gone, ends, said, wait_for, workers_of

from lookonce import launch, torchrun
from lookonce.cli.main import main
from lookonce.data.source import open_data
from lookonce.data.synthetic import SceneOptions, write_synthetic
from lookonce.data.write import write_data
from lookonce.errors import LookonceError, SettingsError
from lookonce.log import console
from lookonce.remote.objects import Location, ObjectStore
from lookonce.signals import signals_handled_by
from lookonce.workflows.build import Settings
from lookonce.workflows.train import train

SETTINGS = ("--batch-size=2", "--image-size=64", "--width=0.0625", "--log-interval=1", "--device=cpu")
TWELVE = ("--epochs=12", "--eval-every=4")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = SceneOptions(sides=(64, 96), smallest=16, max_things=3)
    return write_synthetic(tmp_path_factory.mktemp("scenes") / "table", train=11, val=5, options=options)


def arrays_of(run: Path) -> list[str]:
    """SHA-256 of the averaged weights, and of all that training goes on from."""
    names = ("model.safetensors", "training.safetensors")
    return [hashlib.sha256((run / "checkpoints" / "last" / name).read_bytes()).hexdigest() for name in names]


@pytest.mark.slow
def test_two_processes_learn_the_same_from_shards_in_object_storage(
    s3: Any, start: Start, data: Path, tmp_path: Path
) -> None:
    source, store = open_data(data), ObjectStore()
    write_data([source.split(split) for split in source.splits], tmp_path / "shards", to="shards")
    for path in (path for path in (tmp_path / "shards").rglob("*") if path.is_file()):
        store.upload(path, Location.parse("s3://bucket/shards") / path.relative_to(tmp_path / "shards").as_posix())
    for run, place in (("loose", data), ("remote", "s3://bucket/shards")):
        command = ("train", f"--data={place}", f"--runs={tmp_path}", f"--run={run}", "--devices=2", "--epochs=2")
        ends(start(*command, *SETTINGS), 0)
    assert sum("train-000000.tar" in request for request in s3.requests) >= 11
    assert arrays_of(tmp_path / "loose") == arrays_of(tmp_path / "remote")


def tasks_of(pid: int) -> list[Path]:
    return list(Path(f"/proc/{pid}/task").iterdir())


def test_two_processes_stop_on_request(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Status 75 as from one process, though torchrun ends with 1; nothing left behind, and the log of one. That the
    same command goes on is for test_ranks.py, and for the slow tests below."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    command = ("train", f"--data={data}", f"--runs={tmp_path}", "--run=night", "--devices=2", "--epochs=3", *SETTINGS)
    this = SimpleNamespace(pid=os.getpid())
    others = set(workers_of(this))
    threads: dict[int, set[frozenset[int]]] = {}

    def stop_it() -> None:
        wait_for(tmp_path / "night" / "log.txt", r"epoch\[1\], iter\[3\]")
        for worker in sorted({*workers_of(this)} - others):
            threads[worker] = {frozenset(os.sched_getaffinity(int(task.name))) for task in tasks_of(worker)}
        os.kill(os.getpid(), signal.SIGTERM)

    stopping = threading.Thread(target=stop_it)
    console.cache_clear()  # it holds on to the error stream that it first saw
    with signals_handled_by(lambda *_: None):  # a signal that comes too late does not end the tests
        stopping.start()
        assert main([*command, f"--cpus-per-rank={len(cores) // 2}"]) == 75
        stopping.join()
    console.cache_clear()
    own_cores = [{frozenset({core})} for core in cores] if len(cores) > 1 else [{frozenset(cores)}] * 2
    assert list(threads.values()) == own_cores
    assert all_gone(list(threads))
    told = capfd.readouterr().err
    assert "starting 2 processes" in told  # they are silent while they import PyTorch
    assert re.search(r"epoch \d+, batch \d+", told)
    log = (tmp_path / "night" / "log.txt").read_text()
    assert re.search(r"batches of 4.* 2 processes", log)
    assert log.count("stopped on request") == 1


def test_an_error_is_raised_once_with_the_rank_and_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of a task that does nothing else: what training imports takes seconds in each process."""
    (tmp_path / "failing.py").write_text(
        "from pathlib import Path\nfrom lookonce.errors import SettingsError\n"
        "def fail(line, setting):\n"
        "    with Path(__file__).with_name('calls').open('a') as calls:\n        calls.write('1')\n"
        "    raise SettingsError(f'{setting}: trian', setting=setting, value='trian')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    fail = importlib.import_module("failing").fail
    settings = Settings(devices=2, device="cpu", max_restarts=1)
    with raises(SettingsError, "trian", setting="split", value="trian") as caught:
        launch.launch(settings, fail, {"setting": "split"}, after_failure="")
    assert re.match(r"rank [01]: ", str(caught.value))
    assert capfd.readouterr().err == ""
    assert len((tmp_path / "calls").read_text()) <= 2


@pytest.mark.parametrize(
    ("flags", "setting", "told"),
    [
        ({"devices": 2, "device": "cuda:1"}, "device", "device=cuda"),
        ({"devices": 2, "device": "npu"}, "devices", "0 (npu)"),
        ({"nnodes": "2"}, None, "rdzv_endpoint"),
        ({"nnodes": "3:2", "rdzv_endpoint": "a:1"}, "nnodes", "2:4"),
        ({"run": "a/b"}, "run", "run: a/b"),
        ({"run": "a", "resume": True}, "run", "resume"),
    ],
)
def test_what_cannot_be_started_is_refused_before(
    flags: dict[str, Any], setting: str | None, told: str, data: Path
) -> None:
    with raises(SettingsError, told, setting=setting):
        train(data=str(data), **flags)


def test_threads_are_the_cores_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(launch, "usable_cores", lambda: 16)
    assert [launch.threads_per_process(count) for count in (1, 3, 8, 32)] == [16, 5, 2, 1]
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert launch.threads_per_process(8) == 4


def test_only_a_process_that_was_not_started_by_torchrun_starts_others(monkeypatch: pytest.MonkeyPatch) -> None:
    assert launch.is_wanted(Settings(devices=2))
    assert launch.is_wanted(Settings(nnodes="1:2", rdzv_endpoint="a:1"))
    assert not launch.is_wanted(Settings())
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert not launch.is_wanted(Settings(devices=2))


@pytest.fixture(scope="module")
def straight(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], list[str]]:
    """straight(2) -> the arrays of an undisturbed run of twelve epochs in two processes."""
    done: dict[int, list[str]] = {}

    def arrays(devices: int) -> list[str]:
        if devices not in done:
            runs = tmp_path_factory.mktemp(f"straight-{devices}")
            command = ["train", f"--data={data}", f"--runs={runs}", f"--devices={devices}", *TWELVE, *SETTINGS]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            subprocess.run(
                [sys.executable, "-m", "lookonce", *command], env=environment, check=True, capture_output=True
            )
            done[devices] = arrays_of(runs / "table-1")
        return done[devices]

    return arrays


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "workers"), [(1, 0), (1, 1), (1, 3), (2, 1), (3, 1)])
def test_twelve_epochs_are_five_and_a_kill_and_the_rest(
    start: Start, data: Path, tmp_path: Path, straight: Callable[[int], list[str]], devices: int, workers: int
) -> None:
    """kill -9 in the middle of the sixth epoch; another number of workers after it."""
    process = start(
        *("train", f"--data={data}", f"--runs={tmp_path}", f"--devices={devices}", f"--workers={workers}"),
        *(*TWELVE, *SETTINGS),
    )
    wait_for(tmp_path / "table-1" / "log.txt", r"epoch\[5\], iter")
    ranks = workers_of(process)
    process.kill()
    assert process.wait() == -9
    assert all_gone(ranks)
    ends(start("train", "--resume", f"--runs={tmp_path}", "--workers=2"), 0)
    assert arrays_of(tmp_path / "table-1") == straight(devices)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_kills_at_random_moments_change_no_bit(
    start: Start, data: Path, tmp_path: Path, straight: Callable[[int], list[str]], devices: int
) -> None:
    """Saved after every batch, so that many a kill comes in the middle of saving."""
    chance = random.Random(devices)
    command = ("train", f"--data={data}", f"--runs={tmp_path}", "--run=night", f"--devices={devices}")
    kills = 0
    for _ in range(60):
        process = start(*command, "--save-steps=1", *TWELVE, *SETTINGS)
        wait_for(tmp_path / "night" / "log.txt", rf"(?s)(run {{7}}\S+night\n.*){{{kills + 1}}}")
        time.sleep(chance.uniform(0, 0.5))
        process.kill()
        kills += 1
        if process.wait() == 0 or kills == 12:
            break
    assert kills > 5
    ends(start(*command, *TWELVE, *SETTINGS), 0)
    assert arrays_of(tmp_path / "night") == straight(devices)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_after_the_kill_of_one_process_all_start_again_from_the_checkpoint(
    start: Start, data: Path, tmp_path: Path, straight: Callable[[int], list[str]], victim: int
) -> None:
    process = start("train", f"--data={data}", f"--runs={tmp_path}", "--devices=2", *TWELVE, *SETTINGS)
    wait_for(tmp_path / "table-1" / "log.txt", r"epoch\[4\], iter")
    os.kill(workers_of(process)[victim], signal.SIGKILL)
    ends(process, 0)
    assert re.search(rf"rank {victim}, process \d+, ended .*again", said(process))
    assert [path.name for path in tmp_path.glob("table-*")] == ["table-1"]
    assert arrays_of(tmp_path / "table-1") == straight(2)


@pytest.mark.slow
def test_without_restarts_the_dead_rank_is_named(start: Start, data: Path, tmp_path: Path) -> None:
    process = start(
        "train", f"--data={data}", f"--runs={tmp_path}", "--devices=2", "--max-restarts=0", *TWELVE, *SETTINGS
    )
    wait_for(tmp_path / "table-1" / "log.txt", r"epoch\[1\], iter")
    os.kill(workers_of(process)[1], signal.SIGKILL)
    ends(process, 1)
    assert re.search(r"rank 1 .*SIGKILL.* saved ", said(process)), said(process)


@pytest.mark.slow
def test_a_process_that_hangs_is_named_in_time(start: Start, data: Path, tmp_path: Path) -> None:
    process = start(
        *("train", f"--data={data}", f"--runs={tmp_path}", "--devices=2", "--max-restarts=0", "--rank-timeout=4"),
        *(*TWELVE, *SETTINGS),
    )
    wait_for(tmp_path / "table-1" / "log.txt", r"epoch\[1\], iter")
    hanging = workers_of(process)[1]
    os.kill(hanging, signal.SIGSTOP)
    wait_for(process.log, rf"rank 0: rank 1 \(process {hanging} on \S+\) did not come to meeting", seconds=20)  # type: ignore[attr-defined]
    ends(process, 1)
    assert all_gone([hanging])


@pytest.mark.slow
def test_a_second_signal_ends_all_at_once(start: Start, data: Path, tmp_path: Path) -> None:
    process = start("train", f"--data={data}", f"--runs={tmp_path}", "--devices=2", *TWELVE, *SETTINGS)
    wait_for(tmp_path / "table-1" / "log.txt", r"epoch\[1\], iter")
    ranks = workers_of(process)
    os.kill(ranks[1], signal.SIGSTOP)  # so that the first is not followed
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    os.kill(ranks[1], signal.SIGCONT)
    ends(process, 130, seconds=10)
    assert all_gone(ranks)


@pytest.mark.slow
def test_a_foreign_torchrun_trains_restarts_and_stops(
    start: Start, data: Path, tmp_path: Path, straight: Callable[[int], list[str]]
) -> None:
    """It ends with 1 after a stop, whatever its processes say; --run goes on."""
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=2")
    command = ("-m", "lookonce", "train", f"--data={data}", f"--runs={tmp_path}", "run=night", *TWELVE, *SETTINGS)
    process = start(*command, program=torchrun)
    log = tmp_path / "night" / "log.txt"
    wait_for(log, r"epoch\[2\], iter")
    os.kill(workers_of(process)[1], signal.SIGKILL)
    wait_for(log, r"2 processes, resumed at epoch")
    wait_for(log, r"epoch\[6\], iter")
    process.send_signal(signal.SIGTERM)
    ends(process, 1, seconds=40)
    assert "stopped on request" in log.read_text()
    ends(start(*command, program=torchrun), 0)
    assert arrays_of(tmp_path / "night") == straight(2)


@pytest.mark.slow
def test_two_hosts_lose_a_process_and_end_with_the_same_bits(
    start: Start, data: Path, tmp_path: Path, straight: Callable[[int], list[str]]
) -> None:
    """Two agents that meet on loopback, one process each; one process is killed, and each agent starts its own anew."""
    endpoint = f"127.0.0.1:{free_port()}"
    command = ("train", f"--data={data}", f"--runs={tmp_path}", "--nnodes=2", f"--rdzv-endpoint={endpoint}")
    hosts = [start(*command, f"--node-rank={node}", *TWELVE, *SETTINGS) for node in (0, 1)]
    wait_for(tmp_path / "table-1" / "log.txt", r"epoch\[4\], iter")
    os.kill(workers_of(hosts[1])[0], signal.SIGKILL)
    for host in hosts:
        ends(host, 0)
    assert [path.name for path in tmp_path.glob("table-*")] == ["table-1"]
    assert (tmp_path / "table-1" / "log.txt").read_text().count(" 2 processes, resumed at epoch") == 1
    assert arrays_of(tmp_path / "table-1") == straight(2)


@pytest.fixture
def two_networks() -> Iterator[tuple[str, str]]:
    """Two network namespaces with a cable between them: 10.77.0.1 and 10.77.0.2. Needs root and iproute2."""
    names = (f"lookonce-a{os.getpid()}", f"lookonce-b{os.getpid()}")
    if shutil.which("ip") is None:
        pytest.skip("no network namespaces here: they need the program ip (iproute2)")

    def ip(*words: str) -> None:
        subprocess.run(["ip", *words], check=True, capture_output=True)

    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", "va", "netns", names[0], "type", "veth", "peer", "name", "vb", "netns", names[1])
        for number, (name, cable) in enumerate(zip(names, ("va", "vb"), strict=True), start=1):
            ip("-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", cable)
            ip("-n", name, "link", "set", "lo", "up")
            ip("-n", name, "link", "set", cable, "up")
        yield names
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here, they need root: {error.stderr.decode().strip()}")
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@pytest.mark.slow
def test_two_networks_lose_a_process_and_end_with_the_same_bits(
    data: Path, tmp_path: Path, two_networks: tuple[str, str], straight: Callable[[int], list[str]]
) -> None:
    """As above, each host with an address of its own; both have the same name, so names cannot help."""
    command = ("train", f"--data={data}", f"--runs={tmp_path}", "--nnodes=2", "--rdzv-endpoint=10.77.0.1:29400")
    hosts = []
    for node, (network, cable) in enumerate(zip(two_networks, ("va", "vb"), strict=True)):
        program = ["ip", "netns", "exec", network, sys.executable, "-m", "lookonce"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": cable}
        hosts.append(
            subprocess.Popen(
                [*program, *command, f"--node-rank={node}", *TWELVE, *SETTINGS],
                env=environment,
                stderr=subprocess.DEVNULL,
            )
        )
    try:
        wait_for(tmp_path / "table-1" / "log.txt", r"epoch\[4\], iter")
        os.kill(workers_of(hosts[1])[0], signal.SIGKILL)
        assert [host.wait(300) for host in hosts] == [0, 0]
    finally:
        for host in hosts:
            host.kill()
    assert arrays_of(tmp_path / "table-1") == straight(2)


@pytest.mark.slow
def test_a_stop_of_one_host_stops_both(start: Start, data: Path, tmp_path: Path) -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    command = ("train", f"--data={data}", f"--runs={tmp_path}", "--nnodes=2", f"--rdzv-endpoint={endpoint}")
    hosts = [start(*command, f"--node-rank={node}", *TWELVE, *SETTINGS) for node in (0, 1)]
    wait_for(tmp_path / "table-1" / "log.txt", r"epoch\[1\], iter")
    hosts[1].send_signal(signal.SIGTERM)
    for host in hosts:
        ends(host, 75, seconds=60)


def test_machine_1_waits_for_machine_0_and_says_so(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name may not be known yet, its port not open; and it may never come."""
    caplog.set_level("INFO", "lookonce")
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    names = iter(["no.such.host.invalid", "127.0.0.1"])
    connect = socket.create_connection
    monkeypatch.setattr(socket, "create_connection", lambda place, **more: connect((next(names), place[1]), **more))
    with server:
        torchrun.wait_for_first(f"first:{port}", 60)
    assert any("node_rank 0" in message and f"first:{port}" in message for message in caplog.messages)
    monkeypatch.setattr(socket, "create_connection", connect)
    with raises(LookonceError, "rank_timeout", "refused", setting="rdzv_endpoint", value=f"127.0.0.1:{port}"):
        torchrun.wait_for_first(f"127.0.0.1:{port}", 0)
    with raises(SettingsError, setting="rdzv_endpoint", value="first"):
        torchrun.wait_for_first("first", 0)


def test_machines_that_do_not_come_are_told_of_in_one_line(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    endpoint = f"127.0.0.1:{free_port()}"
    with raises(LookonceError, "node 0 of 2", "127.", "rank_timeout"):
        train(data=str(data), nnodes="2", rdzv_endpoint=endpoint, rank_timeout=1, device="cpu")
    assert "Traceback" not in capfd.readouterr().err
