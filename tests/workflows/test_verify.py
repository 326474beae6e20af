"""`lookonce verify`: files that answer as their weights pass, one that does not is found."""

import json
from pathlib import Path

import cv2
import onnx
import pytest
import torch
from raised import raises

from lookonce.cli.main import main
from lookonce.errors import DataError, SettingsError
from lookonce.exporters.base import textured_canvases
from lookonce.exporters.metadata import VERIFIED_KEY
from lookonce.model.yolov3_tiny import YoloV3Tiny, initialise, scaled_channels
from lookonce.runtimes.pytorch import PyTorchRuntime
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord
from lookonce.weights.checkpoint import save_checkpoint
from lookonce.workflows.export import export
from lookonce.workflows.verify import Verification, verify

SIZE = 64


def network(seed: int) -> tuple[YoloV3Tiny, ModelRecord]:
    """Not trained; it finds something in every texture."""
    channels = scaled_channels(1 / 8)
    model = YoloV3Tiny(2, channels=channels)
    initialise(model, torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for head in (model.head32, model.head16):
            head.weight *= 20
            head.bias.zero_()
    record = ModelRecord(
        dialect=DIALECTS["darknet"],
        channels=channels,
        class_names=("a", "b"),
        category_ids=(1, 2),
        image_size=(SIZE, SIZE),
    )
    return model, record


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run-1"
    model, record = network(0)
    save_checkpoint(folder / "checkpoints" / "best", state=model.state_dict(), record=record)
    export(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four textures, labelled with what the network finds best in them, so that it scores well and others do not."""
    folder = tmp_path_factory.mktemp("data")
    canvases = textured_canvases(4, (SIZE, SIZE))
    model, record = network(0)
    found = PyTorchRuntime(model, record).detect(canvases, score_threshold=0.1, iou_threshold=0.3, max_detections=3)
    images, annotations = [], []
    for number, (canvas, one) in enumerate(zip(canvases, found, strict=True), start=1):
        (folder / f"{number}.png").write_bytes(cv2.imencode(".png", canvas[:, :, ::-1])[1].tobytes())
        images.append({"id": number, "file_name": f"{number}.png", "width": SIZE, "height": SIZE})
        for box, label in zip(one.boxes_xyxy.clip(0, SIZE).tolist(), one.labels.tolist(), strict=True):
            left, top, right, bottom = box
            bbox = [left, top, right - left, bottom - top]
            area = bbox[2] * bbox[3]
            row = {"id": len(annotations) + 1, "image_id": number, "category_id": label + 1, "bbox": bbox}
            annotations.append({**row, "area": area, "iscrowd": 0})
    categories = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances_val.json").write_text(json.dumps(content))
    return folder / "instances_val.json"


def verified(files: list[Path], data: Path, tmp_path: Path, **options: object) -> Verification:
    return verify(files, data=data, images=data.parent, output=tmp_path / "table.json", **options)  # type: ignore[arg-type]


def test_a_run_alone_is_held_against_all_files_in_it(run, data, tmp_path):
    done = verified([run], data, tmp_path, store=False)
    reference, exported = done.rows
    assert done.exit_code == 0
    assert (reference.runtime, exported.runtime) == ("pytorch", "onnxruntime")
    assert reference.AP > 0.5
    assert pytest.approx(reference.AP, abs=1e-3) == exported.AP
    assert reference.raw is None
    assert 0 < exported.raw < 1e-4
    assert max(exported.box, exported.score) < 1e-3
    assert exported.missing == 0
    assert exported.size == (run / "run-1.onnx").stat().st_size


def test_the_table_is_written_and_kept_in_the_file(run, data, tmp_path):
    verified([run], data, tmp_path)
    told = json.loads((tmp_path / "table.json").read_text())
    assert told["passed"]
    assert (told["images"], told["split"]) == (4, "val")
    assert [Path(row["file"]).name for row in told["rows"]] == ["run-1", "run-1.onnx"]
    metadata = onnx.load(run / "run-1.onnx").metadata_props
    (kept,) = [json.loads(entry.value) for entry in metadata if entry.key == VERIFIED_KEY]
    assert kept == told


def test_no_store_leaves_the_files_as_they_are(run, data, tmp_path):
    before = (run / "run-1.onnx").read_bytes()
    verified([run], data, tmp_path, store=False)
    assert (run / "run-1.onnx").read_bytes() == before


def test_a_file_of_other_weights_is_found(run, data, tmp_path, capsys):
    model, record = network(1)
    save_checkpoint(tmp_path / "other" / "checkpoints" / "best", state=model.state_dict(), record=record)
    (other,) = export(tmp_path / "other", to="torchscript").files
    options = ["--data", str(data), "--images", str(data.parent), "--output", str(tmp_path / "table.json")]
    assert main(["verify", str(run), str(other.path), *options]) == 1
    told = capsys.readouterr().out
    assert "over tolerance: AP" in told
    assert "all agree" not in told
    assert all(len(line) <= 80 for line in told.splitlines() if str(tmp_path) not in line and str(data) not in line)


def test_a_file_of_another_size_is_held_against_the_checkpoint_at_that_size(run, data, tmp_path):
    (smaller,) = export(run, to="torchscript", image_size="32x64", output=tmp_path).files  # ONNX takes seconds more
    done = verified([run, smaller.path], data, tmp_path)
    assert [row.image_size for row in done.rows] == [(64, 64), (32, 64), (32, 64)]
    assert done.rows[2].box is not None
    assert [row.runtime for row in done.rows] == ["pytorch", "pytorch", "torchscript"]
    assert done.exit_code == 0
    with raises(SettingsError, "64", "32", path=run / "run-1.onnx"):
        verified([run / "run-1.onnx", smaller.path], data, tmp_path)


def test_all_runs_each_file_in_every_runtime_that_reads_it(run, data, tmp_path):
    pytest.importorskip("openvino", reason="lookonce[openvino] is not installed")
    done = verified([run], data, tmp_path, runtimes="all", store=False)
    assert {"pytorch", "onnxruntime", "openvino"} <= {row.runtime for row in done.rows}
    assert done.exit_code == 0
    named = verified([run], data, tmp_path, runtimes="openvino", store=False)
    assert [row.runtime for row in named.rows] == ["pytorch", "openvino"]


def test_what_cannot_be_verified_is_said(run, data, tmp_path):
    with raises(SettingsError, " openvino?", setting="runtime", value="opnvino"):
        verified([run], data, tmp_path, runtimes="opnvino")
    model, record = network(0)
    save_checkpoint(tmp_path / "bare" / "checkpoints" / "best", state=model.state_dict(), record=record)
    with raises(SettingsError, "lookonce export", path=tmp_path / "bare"):
        verified([tmp_path / "bare"], data, tmp_path)


def test_data_of_other_classes_are_an_error_before_any_detection(run, data, tmp_path, monkeypatch):
    content = json.loads(data.read_text())
    content["categories"] = [{"id": 7, "name": "c"}]
    content["annotations"] = [one | {"category_id": 7} for one in content["annotations"]]
    other = data.with_name("instances_other.json")
    other.write_text(json.dumps(content))
    monkeypatch.setattr("lookonce.workflows.verify.ask_all", lambda *_: pytest.fail("detects"))
    with raises(DataError, "class in common"):
        verified([run], other, tmp_path)
