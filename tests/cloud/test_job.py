"""Jobs from start to end, against an S3 server that refuses what OBS refuses."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ports import free_port
from raised import raises
from untrained import save_untrained

from lookonce.cli.main import main
from lookonce.cloud import job as module
from lookonce.cloud import staging
from lookonce.cloud.job import JobResult, job, of_evaluation, read_flags
from lookonce.data.loader import Loader
from lookonce.data.local_data import local_data
from lookonce.data.synthetic import CLASS_NAMES, SceneOptions, write_synthetic
from lookonce.errors import SettingsError, WeightsError
from lookonce.model.yolov3_tiny import YoloV3Tiny, scaled_channels
from lookonce.remote.objects import Location, ObjectStore, RemoteError
from lookonce.remote.stage_out import NOT_SYNCED
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.image_size import size_hw
from lookonce.settings.record import ModelRecord
from lookonce.storage import sha256_file
from lookonce.training.run_folder import RunFolder
from lookonce.weights.mindspore import to_mindspore

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
    monkeypatch.setattr(staging, "CACHE", folder / "no-such-disk")
    return folder


def names(place: str = OUT) -> set[str]:
    return {entry.name for entry in ObjectStore().entries(Location.parse(place))}


def train(**flags: Any) -> JobResult:
    return job(**{"data_url": "s3://bucket/data/", "train_url": OUT, **TINY, **flags})


def stop_before(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SIGTERM, as a platform sends it, before the first batch of an epoch (from 0)."""
    original = Loader._begin

    def begin(self: Loader, positions: range, size_hw: tuple[int, int], order: Any, *more: Any) -> Any:
        if (order.epoch, positions.start) == (epoch, 0):
            signal.raise_signal(signal.SIGTERM)
        return original(self, positions, size_hw, order, *more)

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
    log = (second.folder / "log.txt").read_text()
    assert re.search(r"epoch 2, batch 1 of 4.*run=job", log)
    assert re.search(r"2 epochs x 4 batches of 2.* epoch 2, batch 1\b", log)
    assert {"job/metrics.csv", "job/log.txt", "job/checkpoints/best/CURRENT", "job/checkpoints/last/CURRENT"} <= names()
    new_machine(tmp_path, monkeypatch, "machine-3")
    scored = job(
        task="eval", data_url="s3://bucket/data", train_url=OUT, checkpoint_url=f"{OUT}/job", testing_shape="64"
    )
    assert scored.exit_code == 0
    assert "AP50" in json.loads(ObjectStore().get_text(Location.parse(f"{OUT}/eval/metrics.json")))


def assert_all_has_arrived(folder: Path, place: str, tmp_path: Path) -> None:
    """What lies at a place, fetched by somebody else, is what lies here: no file more or less, the same bytes."""
    copy = tmp_path / "all that was sent"
    assert staging.fetch_run(Location.parse(place), copy, ObjectStore())
    here, there = (
        {
            path.relative_to(root): sha256_file(path)
            for path in root.rglob("*")
            if path.is_file() and not any(part.startswith(".") for part in path.relative_to(root).parts)
        }
        for root in (folder, copy)
    )
    assert here == there
    assert not (folder / NOT_SYNCED).exists()


def goes_away(bucket: Any, request: str, seconds: float | None = None) -> threading.Event:
    """Set once the first request with these words in it has found the server going away, for so long or for good."""
    gone = threading.Event()

    def look(words: str) -> None:
        if request in words:
            gone.set()
            bucket.on_request = lambda _: None
            bucket.down()
            if seconds is not None:
                threading.Timer(seconds, bucket.up).start()

    bucket.on_request = look
    return gone


@pytest.mark.parametrize(
    ("seconds", "width", "request_under_way"),
    [
        (2, "0.0625", "training.safetensors"),
        pytest.param(20, "0.5", "partNumber=2", marks=pytest.mark.slow),  # in the middle of a file of several parts
    ],
)
def test_an_outage_in_the_middle_of_an_upload_loses_nothing(
    seconds: float,
    width: str,
    request_under_way: str,
    bucket: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(staging, "staging_out", partial(staging.staging_out, every_seconds=0.2))  # while it trains
    started = time.monotonic()
    gone = goes_away(bucket, request_under_way, seconds)
    result = train(width=width)
    assert result.exit_code == 0
    assert time.monotonic() - started > seconds
    assert gone.is_set()
    assert_all_has_arrived(result.folder, f"{OUT}/job", tmp_path)


def test_results_that_cannot_be_sent_are_listed_and_the_same_command_sends_them(
    bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(staging, "open_store", lambda: ObjectStore(patience_seconds=0.2))
        goes_away(bucket, "training.safetensors")
        result = train()
    assert result.exit_code == 74
    assert [row["epoch"] for row in RunFolder(result.folder).metrics()] == [0, 1]  # trained to its end all the same
    note = (result.folder / NOT_SYNCED).read_text()
    assert f"Not at {OUT}/job:" in note
    assert "checkpoints/last: s3://bucket/out/job/checkpoints/last" in note
    bucket.up()
    assert "job/checkpoints/last/CURRENT" not in names()
    again = train()
    assert (again.exit_code, again.folder) == (0, result.folder)
    assert_all_has_arrived(result.folder, f"{OUT}/job", tmp_path)


def test_a_job_whose_storage_answers_badly_all_the_time_gives_what_local_files_give(
    bucket: Any, zipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lookonce.remote.objects.FIRST_PAUSE_SECONDS", 0.02)
    bucket.faults = [None, 500, "slow", "lost", None, 503, "cut", None, None, (429, "SlowDown")] * 1000
    result = train()
    assert result.exit_code == 0
    (fetched,) = Path("cache", "data").rglob("coco2017.zip")
    assert sha256_file(fetched) == sha256_file(zipped)
    scored = job(task="eval", data_url="s3://bucket/data", train_url=OUT, checkpoint_url=f"{OUT}/job")
    assert scored.exit_code == 0
    went_wrong = 10_000 - len(bucket.faults)
    bucket.faults = []
    assert went_wrong > 50
    assert_all_has_arrived(result.folder, f"{OUT}/job", tmp_path)
    assert_all_has_arrived(scored.folder, f"{OUT}/eval", tmp_path / "eval")
    local = train(data_url=str(zipped.with_suffix("")), train_url="out")
    weights = Path("checkpoints", "last", "model.safetensors")
    assert sha256_file(local.folder / weights) == sha256_file(result.folder / weights)


def test_a_ckpt_of_mindspore_at_checkpoint_url_is_evaluated(bucket: Any) -> None:
    """As the document says: checkpoint_url is a folder, pretrained a name of which the folder does not count."""
    record = ModelRecord(
        dialect=DIALECTS["mindspore"],
        channels=scaled_channels(1 / 16),
        class_names=tuple("abcdef"),
        category_ids=tuple(range(1, 7)),
        image_size=(64, 64),
    )
    state = YoloV3Tiny(6, channels=record.channels).state_dict()
    Path("0-300_.ckpt").write_bytes(to_mindspore(record, state, "x")[".ckpt"])
    for name in ("0-299_.ckpt", "0-300_.ckpt"):
        ObjectStore().upload(Path("0-300_.ckpt"), Location.parse("s3://bucket/zoo") / name)
    told = {"data_url": "s3://bucket/data", "train_url": OUT, "checkpoint_url": "s3://bucket/zoo/"}
    scored = job(task="eval", **told, pretrained="/cache/checkpoint_path/0-300_.ckpt", testing_shape="64")
    assert scored.exit_code == 0
    assert "AP50" in json.loads(ObjectStore().get_text(Location.parse(f"{OUT}/eval/metrics.json")))


def test_what_is_typed_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "base_config.yaml"
    file.write_text(
        "enable_modelarts: True\ndata_url: s3://b/file\ntrain_url: s3://b/file\ncheckpoint_url: s3://b/file\n"
        "per_batch_size: 8\nmax_epoch: 3\nis_distributed: 0\nmodelarts_dataset_unzip_name: coco2017\n---\ndata_url: x\n"
    )
    environment = {"DATA_URL": "s3://b/environment", "checkpoint_url": "s3://b/environment"}
    options, told = read_flags({"file": str(file), "data_url": "s3://b/typed", "batch-size": "4"}, environment)
    assert (options.data_url, options.train_url) == ("s3://b/typed", "s3://b/file")
    assert options.checkpoint_url == "s3://b/environment"
    assert options.modelarts_dataset_unzip_name == ""  # at the original's default: no choice
    assert told.from_document
    settings = module.settings_of_job(told, module.make_plan({}))
    assert (settings["batch_size"], settings["epochs"], settings["recipe"]) == (4, 3, "modelzoo")


def test_unknown_options_are_noted_and_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    flags = {"s3_config_id": "7", "data_ulr": "s3://b", "epochs": "3", "ckpt_path": "outputs/", "rank": "3"}
    options, told = read_flags(flags, {})
    assert told.flags == {"epochs": "3"}
    assert options.task == "train"
    assert any(message.startswith("s3_config_id: ") for message in caplog.messages)
    assert any(message.startswith("data_ulr: ") and "data_url?" in message for message in caplog.messages)
    assert any(message.startswith("ckpt_path: outputs/; ") and "output_path" in message for message in caplog.messages)


@pytest.mark.parametrize(
    ("flags", "setting"),
    [
        ({"task": "tarin"}, "task"),
        ({"task": "eval"}, "checkpoint_url"),
        ({"epochs": "many"}, "epochs"),
    ],
)
def test_wrong_use_is_told_before_anything_is_fetched(flags: dict[str, str], setting: str, bucket: Any) -> None:
    with raises(SettingsError, setting=setting):
        job(data_url="s3://bucket/data", **flags)
    assert not bucket.requests


# What the platform tells -> typed, in the file -> devices that train.
EIGHT = {"MA_NUM_GPUS": "8"}


@pytest.mark.parametrize(
    ("environment", "typed", "in_file", "devices"),
    [
        (EIGHT, "", "", 8),
        (EIGHT, "group_size=2", "", 2),
        (EIGHT, "", "group_size: 1", 8),  # the original's default is no choice
        (EIGHT, "", "group_size: 4", 8),
        ({}, "", "group_size: 4", 4),
        ({}, "devices=2", "group_size: 4", 2),
    ],
)
def test_devices_are_those_typed_before_the_platform_s_before_the_file_s(
    environment: dict[str, str],
    typed: str,
    in_file: str,
    devices: int,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = tmp_path / "default_config.yaml"
    file.write_text(f"{in_file}\n")
    flags = {"device_target": "CPU", "file": str(file)} | dict([typed.split("=")] if typed else [])
    _, told = read_flags(flags, {})
    assert module.settings_of_job(told, module.make_plan(environment))["devices"] == devices
    is_overruled = in_file == "group_size: 4" and environment == EIGHT
    assert any("devices=8" in note and "devices=4" in note for note in caplog.messages) == is_overruled


@pytest.mark.parametrize("data_dir", ["", "/cache/data/coco2017/"])
def test_a_zip_in_data_path_needs_no_data_url(data_dir: str, zipped: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    shutil.copy(zipped, tmp_path / "data")
    options = staging.JobOptions(data_path=str(tmp_path / "data"), data_dir=data_dir)
    assert (staging.stage_data(options)[0] / "annotations").is_dir()


def test_a_local_data_url_stays_as_it_is(zipped: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    shutil.copy(zipped, mine)
    options = staging.JobOptions(data_url=str(mine), data_path=str(tmp_path / "work"))
    staged, named = staging.stage_data(options)
    assert named == str(staged)
    assert staged.is_relative_to(tmp_path / "work")
    assert [path.name for path in mine.iterdir()] == ["coco2017.zip"]
    with pytest.raises(SettingsError, match=r"other.*coco2017\.zip"):
        staging.stage_data(
            staging.JobOptions(data_url=str(mine), modelarts_dataset_unzip_name="other", data_path=str(tmp_path / "w"))
        )


def test_a_run_names_the_address_of_its_data_and_does_not_download_them_again(bucket: Any, tmp_path: Path) -> None:
    options = staging.JobOptions(data_url="s3://bucket/data/coco2017.zip", data_path=str(tmp_path / "work"))
    staged, named = staging.stage_data(options)
    assert staged.is_relative_to(tmp_path / "work")
    assert named == options.data_url
    assert local_data(named) == staged


def test_runs_of_one_name_at_two_places_have_folders_of_their_own(tmp_path: Path) -> None:
    """A machine that has made a run for one train_url neither resumes it for another one nor uploads it there."""
    here = [
        staging.output_folder(staging.JobOptions(train_url=url, output_path=str(tmp_path)))
        for url in ("s3://bucket/a", "obs://bucket/a/", "s3://bucket/b", "s3://other/a")
    ]
    assert here[0] == here[1]
    assert len(set(here)) == 3
    assert {folder.parent for folder in here} == {tmp_path}


def test_a_train_url_that_is_not_there_is_told_before_data_is_fetched(bucket: Any) -> None:
    with pytest.raises(RemoteError, match="NoSuchBucket"):
        train(train_url="s3://no-such-bucket/out")
    assert not any("coco2017.zip" in request for request in bucket.requests)


def test_weights_that_are_not_there_are_named_with_what_is(tmp_path: Path) -> None:
    for name in ("0-299_.ckpt", "0-300_.ckpt"):
        (tmp_path / name).touch()
    options = staging.JobOptions(checkpoint_url=str(tmp_path), pretrained="/cache/checkpoint_path/0-301_.ckpt")
    with pytest.raises(WeightsError, match=r"0-301_\.ckpt.*0-299_\.ckpt, 0-300_\.ckpt"):
        staging.staged_weights(options)
    assert staging.staged_weights(replace(options, pretrained="0-300_.ckpt")) == tmp_path / "0-300_.ckpt"


@pytest.mark.parametrize(("node_rank", "sends"), [("0", True), ("1", False)])
def test_of_several_machines_whose_number_is_typed_the_first_alone_sends_results(
    node_rank: str, sends: bool, zipped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_machine(tmp_path, monkeypatch, "machine")
    asked = []

    def results_to(*_: Any, sends: bool) -> Any:
        asked.append(sends)
        return nullcontext()

    monkeypatch.setattr(module, "results_to", results_to)
    monkeypatch.setattr("lookonce.workflows.train.train", lambda **flags: SimpleNamespace(exit_code=0, is_main=True))
    train(
        data_url=str(zipped),
        train_url=str(tmp_path / "out"),
        nnodes="2",
        node_rank=node_rank,
        rdzv_endpoint="first:29500",
    )
    assert asked == [sends]


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
    said = capsys.readouterr().err
    assert "unknown_to_us: " in said
    assert "verbose: " in said


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
    assert metrics["evaluated"]["images"] == 3
    assert not list(machines[1].iterdir())


def on_two_machines(
    folder: Path,
    command: list[str],
    typed: Callable[[int], list[str]] = lambda _node: [],
    told: Callable[[int], dict[str, str]] = lambda _node: {},
) -> list[str]:
    """What two jobs said that worked together, each in a folder of its own: 0 and 1. Of each node: words, variables."""
    processes = []
    for node in (0, 1):
        (folder / str(node)).mkdir()
        words = [sys.executable, "-m", "lookonce", "job", *command, *typed(node)]
        with (folder / str(node) / "console.txt").open("w") as console:
            processes.append(
                subprocess.Popen(
                    words, cwd=folder / str(node), stdout=console, stderr=console, env=os.environ | told(node)
                )
            )
    try:
        codes = [process.wait(240) for process in processes]
    finally:
        for process in processes:
            process.kill()
    said = [(folder / str(node) / "console.txt").read_text() for node in (0, 1)]
    assert codes == [0, 0], said
    return said


@pytest.mark.slow
def test_two_machines_whose_numbers_are_typed_evaluate_together(zipped: Path, tmp_path: Path) -> None:
    save_untrained(tmp_path / "best", CLASS_NAMES[:2], (1, 2))
    command = ["task=eval", f"data_url={zipped}", f"checkpoint_url={tmp_path / 'best'}", "train_url=out", "device=cpu"]
    command += ["nnodes=2", f"rdzv_endpoint=127.0.0.1:{free_port()}"]
    said = on_two_machines(tmp_path, command, typed=lambda node: [f"node_rank={node}"])
    assert "left alone" not in said[0]
    metrics = json.loads((tmp_path / "0" / "out" / "eval" / "metrics.json").read_text())
    assert metrics["evaluated"]["images"] == 3
    assert not (tmp_path / "1" / "out").exists()


@pytest.mark.slow
def test_two_containers_train_together(zipped: Path, tmp_path: Path) -> None:
    hosts = {
        "VC_WORKER_HOSTS": "127.0.0.1,127.0.0.1",
        "MA_NUM_HOSTS": "2",
        "MA_NUM_GPUS": "0",
        "MASTER_PORT": str(free_port()),
    }
    settings = [f"{name}={value}" for name, value in TINY.items()]
    command = [f"data_url={zipped}", "train_url=out", *settings]
    said = on_two_machines(tmp_path, command, told=lambda node: {**hosts, "VC_TASK_INDEX": str(node)})
    assert re.search(r"node 1 of 2\b.* 127\.0\.0\.1", said[1])
    run = tmp_path / "0" / "out" / "job"
    assert re.search(r"2 batches of 4.* 2 processes", (run / "log.txt").read_text())
    assert [row["epoch"] for row in RunFolder(run).metrics()] == [0, 1]
    assert not (tmp_path / "1" / "out" / "job" / "checkpoints").exists()


def test_options_of_a_file_reach_the_evaluation_as_they_are_typed() -> None:
    of_file = {"image_size": [320, 416], "max_detections": None, "agnostic": True, "score_threshold": 0.01}
    passed = of_evaluation(of_file)
    assert passed == {"image_size": "320, 416", "agnostic": True, "score_threshold": 0.01}
    assert size_hw(passed["image_size"]) == (320, 416)
    with raises(SettingsError, setting="batch_size"):
        of_evaluation({"batch_size": [8]})
