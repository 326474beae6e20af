"""Jobs from start to end, against an S3 server that refuses what OBS refuses."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from untrained import save_untrained

from lookonce.cli.main import main
from lookonce.cloud import job as module
from lookonce.cloud.job import JobResult, job, read_flags
from lookonce.data.loader import Loader
from lookonce.data.synthetic import CLASS_NAMES, SceneOptions, write_synthetic
from lookonce.errors import SettingsError
from lookonce.remote.objects import Location, ObjectStore
from lookonce.remote.stage_out import NOT_SYNCED
from lookonce.training.run_folder import RunFolder

OUT = "s3://bucket/out"
TINY = {"epochs": "2", "batch_size": "2", "image_size": "64", "width": "0.0625", "device": "cpu", "log_interval": "1"}


@pytest.fixture(scope="module")
def zipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """coco2017.zip: a folder with eight pictures to learn from and three to be scored on."""
    folder = tmp_path_factory.mktemp("zipped")
    write_synthetic(folder / "coco2017", train=8, val=3, options=SceneOptions(sides=(64, 96), smallest=16))
    return Path(shutil.make_archive(str(folder / "coco2017"), "zip", folder, "coco2017"))


@pytest.fixture
def bucket(s3: Any, zipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The server, with the data at s3://bucket/data; this process stands in an empty folder, an empty machine."""
    ObjectStore().upload(zipped, Location.parse("s3://bucket/data/coco2017.zip"))
    s3.requests.clear()
    new_machine(tmp_path, monkeypatch, "machine-1")
    yield s3
    assert not s3.refused


def new_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(module, "CACHE", folder / "no-such-disk")
    return folder


def names(place: str = OUT) -> set[str]:
    return {entry.name for entry in ObjectStore().entries(Location.parse(place))}


def train(**flags: Any) -> JobResult:
    return job(**{"data_url": "s3://bucket/data/", "train_url": OUT, **TINY, **flags})


def stop_before(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SIGTERM, as a platform sends it, before the first batch of an epoch (from 0)."""
    original = Loader._begin

    def begin(self: Loader, number: int, order: Any, *more: Any) -> Any:
        if (order.epoch, number) == (epoch, 0):
            signal.raise_signal(signal.SIGTERM)
        return original(self, number, order, *more)

    monkeypatch.setattr(Loader, "_begin", begin)


def test_a_job_trains_stops_goes_on_elsewhere_and_is_evaluated(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        stop_before(1, patched)
        assert train().exit_code == 75
    assert "job/settings.yaml" in names()
    new_machine(tmp_path, monkeypatch, "machine-2")
    second = train()
    assert second.exit_code == 0
    assert [row["epoch"] for row in RunFolder(second.folder).metrics()] == [0, 1]
    assert "2 epochs x 4 batches of 2, from epoch 2, batch 1 on" in (second.folder / "log.txt").read_text()
    assert {"job/metrics.csv", "job/log.txt", "job/checkpoints/best/CURRENT", "job/checkpoints/last/CURRENT"} <= names()
    new_machine(tmp_path, monkeypatch, "machine-3")
    scored = job(
        task="eval", data_url="s3://bucket/data", train_url=OUT, checkpoint_url=f"{OUT}/job", testing_shape="64"
    )
    assert scored.exit_code == 0
    assert "AP50" in json.loads(ObjectStore().get_text(Location.parse(f"{OUT}/eval/metrics.json")))


def test_an_outage_while_results_are_sent_loses_nothing(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_for_a_while() -> None:
        while not any("PUT" in request for request in bucket.requests):
            time.sleep(0.01)
        bucket.down()
        time.sleep(2)
        bucket.up()

    threading.Thread(target=out_for_a_while, daemon=True).start()
    result = train(epochs="1")
    assert result.exit_code == 0
    assert not (result.folder / NOT_SYNCED).exists()
    sent = module.fetch_run(Location.parse(f"{OUT}/job"), tmp_path / "sent", ObjectStore())
    assert sent
    for path in (path for path in (tmp_path / "sent").rglob("*") if path.is_file()):
        assert path.read_bytes() == (result.folder / path.relative_to(tmp_path / "sent")).read_bytes()
    assert (tmp_path / "sent" / "checkpoints" / "last" / "model.safetensors").is_file()


def test_results_that_cannot_be_sent_are_listed_and_the_same_command_sends_them(
    bucket: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lookonce.remote.objects.PATIENCE_SECONDS", 0.5)
    begin = module.bring_back

    def and_then_nobody_answers(*arguments: Any) -> bool:
        begun = begin(*arguments)
        bucket.down()
        return begun

    with monkeypatch.context() as patched:
        patched.setattr(module, "bring_back", and_then_nobody_answers)
        patched.setattr(module, "ObjectStore", lambda: ObjectStore(patience_seconds=0.2))
        result = train(epochs="1")
    assert result.exit_code == 74
    note = (result.folder / NOT_SYNCED).read_text()
    assert f"Not at {OUT}/job:" in note
    assert "checkpoints/last" in note
    assert (result.folder / "checkpoints" / "last" / "model.safetensors").is_file()
    bucket.up()
    again = train(epochs="1")
    assert (again.exit_code, again.folder) == (0, result.folder)
    assert "job/checkpoints/last/CURRENT" in names()
    assert not (result.folder / NOT_SYNCED).exists()


def test_what_is_typed_wins_over_the_file_and_the_file_over_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "base_config.yaml"
    file.write_text(
        "enable_modelarts: True\ndata_url: s3://b/file\ntrain_url: s3://b/file\nper_batch_size: 8\nmax_epoch: 3\n"
        "is_distributed: 0\n---\ndata_url: where\n"
    )
    environment = {"DATA_URL": "s3://b/environment", "checkpoint_url": "s3://b/environment"}
    options, settings = read_flags({"file": str(file), "data_url": "s3://b/typed", "batch-size": "4"}, environment)
    assert (options.data_url, options.train_url) == ("s3://b/typed", "s3://b/file")
    assert options.checkpoint_url == "s3://b/environment"
    assert settings == {"batch_size": "4", "max_epoch": 3}


def test_unknown_options_are_noted_and_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    flags = {"s3_config_id": "7", "epochs": "3", "ckpt_path": "outputs/", "rank": "3"}
    options, settings = read_flags(flags, {})
    assert settings == {"epochs": "3"}
    assert options.task == "train"
    assert "nobody here knows s3_config_id: left alone" in caplog.messages
    assert "ckpt_path=outputs/: left alone, output_path is where runs lie here" in caplog.messages


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"task": "tarin"}, "task: 'tarin', expected train or eval"),
        ({"task": "eval"}, "checkpoint_url: not given"),
        ({"epochs": "many"}, "epochs=many"),
    ],
)
def test_wrong_use_is_told_before_anything_is_fetched(flags: dict[str, str], message: str, bucket: Any) -> None:
    with pytest.raises(SettingsError, match=message):
        job(data_url="s3://bucket/data", **flags)
    assert not bucket.requests


def test_a_number_of_devices_that_somebody_gave_stays(bucket: Any) -> None:
    plan = module.make_plan({"MA_NUM_GPUS": "8"})
    assert module.settings_of_plan(plan, {"device": "cpu"}) == {"devices": 8}
    assert module.settings_of_plan(plan, {"device_target": "CPU", "group_size": "2"}) == {}


def typed(*words: str, data: str, folder: Path) -> int:
    settings = [f"--{name}={value}" for name, value in {**TINY, "epochs": "1"}.items()]
    return main([*words, "--data_url", data, f"--train_url={folder}", *settings, "unknown_to_us=1", "--verbose"])


def test_training_with_enable_modelarts_is_a_job(
    zipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    new_machine(tmp_path, monkeypatch, "machine")
    out = tmp_path / "out ü"
    assert typed("train", "enable_modelarts=True", data=str(zipped), folder=out) == 0
    assert (out / "job" / "checkpoints" / "best").is_dir()
    assert "nobody here knows unknown_to_us, verbose: left alone" in capsys.readouterr().err


def evaluated(data: Path, weights: Path, machines: list[Path]) -> int:
    """A job in each of two processes that the platform has started, with disks of their own."""
    os.chdir(machines[int(os.environ["RANK"])])
    urls = {"data_url": str(data), "checkpoint_url": str(weights), "train_url": "out"}
    return job(task="eval", **urls, device_target="CPU").exit_code


def test_an_evaluation_is_shared_out_and_the_first_process_writes(
    zipped: Path, tmp_path: Path, in_ranks: Callable[..., list[Any]]
) -> None:
    save_untrained(tmp_path / "best", CLASS_NAMES[:2], (1, 2))
    machines = [tmp_path / "machine-1", tmp_path / "machine-2"]
    for machine in machines:
        machine.mkdir()
    assert in_ranks(2, evaluated, zipped.parent / "coco2017", tmp_path / "best", machines, fresh=True) == [0, 0]
    metrics = json.loads((machines[0] / "out" / "eval" / "metrics.json").read_text())
    assert metrics["evaluated"]["pictures"] == 3
    assert not list(machines[1].iterdir())


@pytest.mark.slow
def test_two_containers_train_together(zipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    hosts = {
        "VC_WORKER_HOSTS": "127.0.0.1,127.0.0.1",
        "MA_NUM_HOSTS": "2",
        "MA_NUM_GPUS": "0",
        "MASTER_PORT": str(port),
    }
    for name, value in hosts.items():
        monkeypatch.setenv(name, value)
    settings = [f"{name}={value}" for name, value in TINY.items()]
    command = [sys.executable, "-m", "lookonce", "job", f"data_url={zipped}", "train_url=out", *settings]
    processes = []
    for node in ("0", "1"):
        (tmp_path / node).mkdir()
        monkeypatch.setenv("VC_TASK_INDEX", node)
        with (tmp_path / node / "console.txt").open("w") as console:
            processes.append(subprocess.Popen(command, cwd=tmp_path / node, stdout=console, stderr=console))
    try:
        codes = [process.wait(240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    told = [(tmp_path / node / "console.txt").read_text() for node in ("0", "1")]
    assert codes == [0, 0], told
    assert "node 1 of 2, meeting at 127.0.0.1" in told[1]
    run = tmp_path / "0" / "out" / "job"
    assert "2 batches of 4, shared out to 2 processes" in (run / "log.txt").read_text()
    assert [row["epoch"] for row in RunFolder(run).metrics()] == [0, 1]
    assert not (tmp_path / "1" / "out" / "job" / "checkpoints").exists()
