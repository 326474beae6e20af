"""`eval` and `predict` in several processes: every file is that of one process, byte for byte, or is not there."""

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import pytest
from ports import free_port
from raised import raises
from started import Start, all_gone, ends, said, wait_for, workers_of
from untrained import save_untrained

from lookonce import launch
from lookonce.data.synthetic import CLASS_NAMES, SceneOptions, write_synthetic
from lookonce.distributed import rank
from lookonce.errors import DataError, SettingsError
from lookonce.exporters.base import textured_canvases
from lookonce.settings.schema import Settings
from lookonce.workflows.evaluate import as_text, evaluate
from lookonce.workflows.export import export
from lookonce.workflows.predict import predict

InRanks = Callable[..., list[Any]]
NUM_IMAGES = 9


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pictures in split train, 21 in split val."""
    options = SceneOptions(sides=(64, 96), smallest=16, max_things=3)
    return write_synthetic(tmp_path_factory.mktemp("scenes") / "table", train=2, val=21, options=options)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint, best, and net.onnx made of it."""
    folder = tmp_path_factory.mktemp("weights")
    save_untrained(folder / "best", CLASS_NAMES[:2], (1, 2))
    export(folder / "best", output=folder / "net.onnx")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures in two folders, and two files that are none, of which one comes last."""
    path = tmp_path_factory.mktemp("pictures") / "straße 猫"
    (path / "b").mkdir(parents=True)
    for number, image in enumerate(textured_canvases(NUM_IMAGES, (60, 80), seed=3)):
        place = path / ("b" if number % 3 == 1 else ".") / f"{number}.png"
        place.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    (path / "4.jpg").write_bytes(b"no picture")
    (path / "b" / "z.jpg").write_bytes(b"no picture")
    return path


def files_of(output: Path) -> dict[str, bytes]:
    return {str(path.relative_to(output)): path.read_bytes() for path in output.rglob("*") if path.is_file()}


def scored(weights: Path, data: Path, output: Path, split: str = "val") -> float:
    found = evaluate(weights=weights, data=data, split=split, output=output, device="cpu", resamples=20, sheet_images=1)
    return found.metrics.AR100


CHECKPOINT = pytest.param("best", marks=pytest.mark.slow)  # test_ranks.py scores PyTorch in ranks too


@pytest.mark.parametrize("name", [CHECKPOINT, "net.onnx"])
def test_twenty_one_images_score_and_read_the_same_on_one_two_and_three_ranks(
    name: str, weights: Path, data: Path, tmp_path: Path, in_ranks: InRanks
) -> None:
    alone = scored(weights / name, data, tmp_path / "1")
    assert alone > 0
    for num_ranks in (2, 3):
        output = tmp_path / str(num_ranks)
        assert in_ranks(num_ranks, scored, weights / name, data, output, fresh=True) == [alone] * num_ranks
        assert files_of(output) == files_of(tmp_path / "1")


def test_ranks_without_an_image_do_no_harm(weights: Path, data: Path, tmp_path: Path, in_ranks: InRanks) -> None:
    scored(weights / "net.onnx", data, tmp_path / "1", "train")
    in_ranks(3, scored, weights / "net.onnx", data, tmp_path / "3", "train", fresh=True)
    assert files_of(tmp_path / "3") == files_of(tmp_path / "1")


def scored_of_own(weights: Path, data: Path, output: Path) -> float:
    return scored(weights, data, output, "val" if rank() else "train")


def test_ranks_with_other_annotations_are_told(weights: Path, data: Path, tmp_path: Path, in_ranks: InRanks) -> None:
    with raises(DataError, "rank 1"):
        in_ranks(2, scored_of_own, weights / "net.onnx", data, tmp_path / "out", fresh=True)
    assert not (tmp_path / "out").exists()


def predicted(weights: Path, source: Path, output: Path, limit: int | None = None) -> tuple[int, int, list[str]]:
    every = "pictures,json,jsonl,csv,yolo,crops"
    found = predict(str(source), weights=weights, output=output, save=every, limit=limit, device="cpu")
    return found.num_images, found.exit_code, list(found.failed)


@pytest.mark.parametrize(
    ("name", "limit"), [pytest.param("best", None, marks=pytest.mark.slow), ("net.onnx", None), ("net.onnx", 5)]
)
def test_predictions_are_drawn_by_all_and_written_down_once_in_order(
    name: str, limit: int | None, weights: Path, folder: Path, tmp_path: Path, in_ranks: InRanks
) -> None:
    alone = predicted(weights / name, folder, tmp_path / "1", limit)
    assert alone[:2] == (NUM_IMAGES if limit is None else limit - 1, 1)
    for num_ranks in (2, 3):
        output = tmp_path / str(num_ranks)
        assert in_ranks(num_ranks, predicted, weights / name, folder, output, limit, fresh=True) == [alone] * num_ranks
        assert files_of(output) == files_of(tmp_path / "1")


@pytest.mark.parametrize(
    ("options", "setting", "told"),
    [
        ({"source": "screen", "devices": 2}, "devices", "screen "),
        ({"source": "-", "devices": 2}, "devices", "- "),
        ({"devices": 2, "track": True}, "track", "devices"),
        ({"devices": 0}, "devices", "devices: 0; "),
        ({"nnodes": "2"}, None, "rdzv_endpoint"),
        ({"nnodes": "2:4", "rdzv_endpoint": "a:1"}, "nnodes", "2:4"),
    ],
)
def test_what_cannot_be_shared_out_is_refused_before(
    options: dict[str, Any], setting: str | None, told: str, weights: Path, folder: Path, tmp_path: Path
) -> None:
    with raises(SettingsError, told, setting=setting):
        predict(**{"source": str(folder), "weights": weights / "net.onnx", "output": tmp_path / "out", **options})
    assert not (tmp_path / "out").exists()


def test_a_results_file_is_scored_by_one(data: Path, tmp_path: Path) -> None:
    with raises(SettingsError, setting="devices"):
        evaluate(results=tmp_path / "results.json", data=data, devices=2)


def as_one_rank(settings: Settings, function: Callable[..., Any], flags: Any, *, on_progress: Any, **_: Any) -> Any:
    """What `launch` starts, in this process and alone."""
    assert settings.devices == 2
    return function(SimpleNamespace(task=SimpleNamespace(threads=1), report_progress=on_progress), **flags)


@pytest.mark.parametrize("starts", [pytest.param(launch.launch, marks=pytest.mark.slow), as_one_rank])
def test_the_command_starts_the_processes_and_returns_what_they_found(
    starts: Callable[..., Any],
    weights: Path,
    data: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The value, the printed lines and the progress are those of one process. That `launch` starts processes:
    test_launch.py."""
    monkeypatch.setattr(launch, "launch", starts)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    told: list[tuple[int, int]] = []
    options: Any = {"weights": weights / "best", "data": data, "device": "cpu", "resamples": 20, "sheet_images": 0}
    alone = evaluate(**options, output=tmp_path / "alone")
    found = evaluate(**options, output=tmp_path / "found", devices=2, on_progress=lambda *done: told.append(done))
    assert found.metrics == alone.metrics
    assert told[-1] == (21, 21)
    assert [line.replace("/found", "/alone") for line in as_text(found)] == list(as_text(alone))
    assert capfd.readouterr().out == ""


@pytest.mark.slow  # starts two more processes, as `eval` above; test_predictions_are_drawn_by_all has their work
def test_predict_starts_the_processes_too(weights: Path, folder: Path, tmp_path: Path) -> None:
    drawn = predict(str(folder), weights=weights / "best", output=tmp_path / "drawn", device="cpu", devices=2)
    assert (drawn.num_images, drawn.exit_code, len(drawn.images)) == (NUM_IMAGES, 1, NUM_IMAGES)


@pytest.fixture
def endless(folder: Path, tmp_path: Path) -> Path:
    """A list with a picture so often that it takes minutes."""
    path = tmp_path / "list.txt"
    path.write_text(f"{folder / '0.png'}\n" * 30_000, encoding="utf-8")
    return path


def begun(start: Start, weights: Path, source: Path, output: Path, *more: str) -> Any:
    """`predict` by two processes, of which both have drawn a picture."""
    command = ("predict", str(source), f"--weights={weights / 'net.onnx'}", f"--output={output}", "--devices=2")
    process = start(*command, *more)
    give_up = time.monotonic() + 120
    while not all((output / f"{number:05}-0.png").is_file() for number in (33, 34)):  # both have met
        assert time.monotonic() < give_up, said(process)
        time.sleep(0.05)
    return process


def holds_no_results(output: Path) -> bool:
    return all(path.suffix == ".png" for path in output.iterdir())


@pytest.mark.slow
def test_ctrl_c_ends_all_at_once_and_nothing_is_written_down(
    start: Start, weights: Path, endless: Path, tmp_path: Path
) -> None:
    process = begun(start, weights, endless, tmp_path / "out")
    workers = workers_of(process)
    process.send_signal(signal.SIGINT)
    ends(process, 130, seconds=20)
    assert all_gone(workers)
    assert len(workers) == 2
    assert said(process).endswith("lookonce: interrupted\n")
    assert holds_no_results(tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_rank_that_dies_is_named_and_nothing_is_written_down(
    start: Start, weights: Path, endless: Path, tmp_path: Path, victim: int
) -> None:
    process = begun(start, weights, endless, tmp_path / "out")
    workers = workers_of(process)
    os.kill(workers[victim], signal.SIGKILL)
    ends(process, 1, seconds=60)
    assert re.search(rf"rank {victim}, process {workers[victim]}, ended ", said(process)), said(process)
    assert "Results " in said(process)
    assert all_gone(workers)
    assert holds_no_results(tmp_path / "out")


@pytest.mark.slow
def test_a_rank_that_hangs_is_named_in_time(start: Start, weights: Path, endless: Path, tmp_path: Path) -> None:
    process = begun(start, weights, endless, tmp_path / "out", "--rank-timeout=4")
    hanging = workers_of(process)[1]
    os.kill(hanging, signal.SIGSTOP)
    wait_for(process.log, rf"rank 0: rank 1 \(process {hanging} on \S+\) did not enter collective", seconds=30)
    ends(process, 1, seconds=60)
    assert all_gone([hanging])
    assert holds_no_results(tmp_path / "out")


@pytest.mark.slow
def test_no_process_is_left_when_the_command_is_killed(
    start: Start, weights: Path, endless: Path, tmp_path: Path
) -> None:
    process = begun(start, weights, endless, tmp_path / "out")
    workers = workers_of(process)
    process.kill()
    assert process.wait() == -9
    assert all_gone(workers)
    assert holds_no_results(tmp_path / "out")


@pytest.mark.slow
def test_a_foreign_torchrun_evaluates(start: Start, weights: Path, data: Path, tmp_path: Path) -> None:
    scored(weights / "best", data, tmp_path / "1")
    command = ("eval", f"--weights={weights / 'best'}", f"--data={data}", f"--output={tmp_path / '2'}")
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "lookonce")
    process = start(*command, "--device=cpu", "--resamples=20", program=torchrun)
    ends(process, 0)
    assert said(process).count("Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all") == 1
    theirs, ours = files_of(tmp_path / "2"), files_of(tmp_path / "1")
    assert theirs == ours


@pytest.mark.slow
def test_two_hosts_evaluate_and_the_first_one_writes(start: Start, weights: Path, data: Path, tmp_path: Path) -> None:
    """The second is started before: torchrun alone would give it rank 0, by the number of its process."""
    scored(weights / "best", data, tmp_path / "1")
    endpoint = f"127.0.0.1:{free_port()}"
    command = ("eval", f"--weights={weights / 'best'}", f"--data={data}", "--nnodes=2", "--device=cpu")
    hosts = []
    for node in (1, 0):
        place = (f"--rdzv-endpoint={endpoint}", f"--node-rank={node}", f"--output={tmp_path / f'host-{node}'}")
        hosts.append(start(*command, *place, "--resamples=20"))
    for host in hosts:
        ends(host, 0)
    assert not (tmp_path / "host-1").exists()
    written = files_of(tmp_path / "host-0")
    assert written == files_of(tmp_path / "1")
    assert json.loads(written["metrics.json"])["evaluated"]["images"] == 21
