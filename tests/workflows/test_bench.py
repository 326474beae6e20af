"""`lookonce bench`: numbers that belong together, and what cannot be measured is told."""

import io
import json
from contextlib import redirect_stdout
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from raised import raises

from lookonce.cli.verbs import VERBS
from lookonce.errors import SettingsError
from lookonce.layout import Layout
from lookonce.model.yolov3_tiny import YoloV3Tiny, initialise, scaled_channels
from lookonce.runtimes.processor import int8_path
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord
from lookonce.weights.checkpoint import save_checkpoint
from lookonce.workflows.bench import Bench, bench, least_share
from lookonce.workflows.bench_process import Case, measure, peak_gflops
from lookonce.workflows.export import export


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights") / "tiny"
    channels = scaled_channels(1 / 8)
    record = ModelRecord(
        dialect=DIALECTS["darknet"], channels=channels, class_names=("a",), category_ids=(1,), image_size=(64, 64)
    )
    model = YoloV3Tiny(1, channels=channels)
    initialise(model, torch.Generator().manual_seed(0))
    save_checkpoint(folder, state=model.state_dict(), record=record)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("pictures")
    for name in ("a.png", "b.png"):
        (folder / name).write_bytes(cv2.imencode(".png", np.full((90, 70, 3), 99, np.uint8))[1].tobytes())
    return str(folder)


@pytest.fixture(scope="module")
def done(weights: Path, pictures: str, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """One file measured with two images in a call, and one that is damaged; their processes import no PyTorch."""
    output = tmp_path_factory.mktemp("bench")
    files = [output / "tiny.onnx", output / "damaged.onnx"]
    export(weights, output=files[0])
    files[1].write_bytes(b"no protocol buffer")
    printed = io.StringIO()
    with redirect_stdout(printed):
        found = bench(files, threads="1", batch="2", images=pictures, seconds=0.05, pipeline=False, output=output)
    assert printed.getvalue() == ""
    return found


def test_rates_latencies_and_operations_fit_together(done):
    row = done.rows[0]
    assert (row["runtime"], row["threads"], row["batch"], row["image_size"]) == ("onnxruntime", 1, 2, [64, 64])
    assert row["median_ms"] <= row["p95_ms"]
    assert row["images_per_second"] == pytest.approx(2 * 1000 / row["median_ms"])
    assert row["gflops"] == pytest.approx(row["gflop_per_image"] * row["images_per_second"])
    assert row["share_of_peak"] == pytest.approx(row["gflops"] / row["peak_gflops"])
    assert row["memory_mb"] > 50


def test_what_cannot_be_measured_is_told_and_the_rest_is_measured(done):
    assert "damaged.onnx: 18 bytes; truncated" in done.rows[1]["error"]
    assert done.exit_code == 1


def test_where_the_time_goes_is_told(weights, pictures):
    told = measure(Case(weights=str(weights), images=pictures, seconds=0.01, pipeline=True))
    assert list(told["processor_ms"]) == ["read", "letterbox", "network", "draw", "encode"]
    assert all(value > 0 for value in told["processor_ms"].values())
    assert told["images"] == 2
    assert told["pipeline_per_second"] > 0


def test_the_command_line_shows_a_table(done):
    assert list(VERBS["bench"].lines(done, Layout()))


def test_everything_is_in_the_file(done):
    content = json.loads((done.output / "bench.json").read_text(encoding="utf-8"))
    assert content["cases"] == list(done.rows)
    assert content["pipelines"] == []
    assert content["machine"]["cores"] >= 1
    assert content["machine"]["int8"] == int8_path()


def test_a_file_of_one_size_is_not_measured_at_another(weights, tmp_path):
    export(weights, output=tmp_path / "tiny.onnx")
    case = Case(weights=str(tmp_path / "tiny.onnx"), image_size=(96, 64))
    with raises(SettingsError, "64 pixels", setting="image_size", value=(96, 64)):
        measure(case)


@pytest.mark.parametrize("threads", ["0", "two", "1,,2", "-1"])
def test_numbers_are_numbers(weights, threads):
    with raises(SettingsError, setting="threads", value=threads):
        bench([weights], threads=threads)


def test_sizes_are_sides_or_height_x_width(weights, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", logger="lookonce")
    measured = "lookonce.workflows.bench._measure_all"
    monkeypatch.setattr(measured, lambda cases: [{"image_size": case.image_size} for case, _ in cases])
    rows = bench([weights], image_size="32,64x96", batch="1", pipeline=False, output=tmp_path).rows
    assert [row["image_size"] for row in rows] == [(32, 32), (64, 96)]
    assert "measuring 2 cases" in caplog.text  # before the first, which takes seconds


def test_an_interruption_leaves_no_empty_folder(weights, tmp_path, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lookonce.workflows.bench._measure_all", interrupted)
    with pytest.raises(KeyboardInterrupt):
        bench([weights])
    assert not list((tmp_path / "runs").iterdir())


def test_a_size_that_no_network_takes_is_refused(weights):
    with raises(SettingsError, setting="image_size", value="70"):
        bench([weights], image_size="64,70")


def test_a_processor_has_a_peak():
    assert 0.5 < peak_gflops(0.05) < 100_000


def test_a_busy_machine_is_noticed_where_all_threads_had_work():
    full, single = {"threads": 2, "batch": 8, "busy_cores": 1.0}, {"threads": 2, "batch": 1, "busy_cores": 0.4}
    assert least_share([full, single, {"error": "no"}]) == 0.5
    assert least_share([]) == 1
