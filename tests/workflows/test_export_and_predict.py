"""A checkpoint is exported, and predicts the same from its file in an installation without PyTorch."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from raised import raises
from untrained import save_untrained

import lookonce
from lookonce.api import load
from lookonce.cli.main import main
from lookonce.errors import COMMAND, DataError, LookonceError, MissingExtra, SettingsError, WeightsError
from lookonce.exporters.base import textured_canvases
from lookonce.exporters.clients import CLIENTS
from lookonce.exporters.formats import FORMATS
from lookonce.exporters.onnx import build_onnx
from lookonce.prediction.media import ImageSource, image_ids
from lookonce.runtimes.kinds import NCNN_PARAM
from lookonce.runtimes.registry import load_runtime
from lookonce.workflows.evaluate import evaluate
from lookonce.workflows.export import as_text, export
from lookonce.workflows.export_reference import canvases_of
from lookonce.workflows.info import info
from lookonce.workflows.page import write_page
from lookonce.workflows.predict import predict

WITHOUT_TORCH = """
import sys
for name in ("torch", "onnx"):
    sys.modules[name] = None
from lookonce.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
# Modules that a prediction with an exported file does not import.
NOT_NEEDED = {"lookonce.workflows.predict_parts", "lookonce.workflows.predict_ray"}
# Several commands in one process, which starts slowly: their words as JSON.
ALL_WITHOUT_TORCH = WITHOUT_TORCH.replace(
    "sys.exit(main(sys.argv[1:]))", "import json\nsys.exit(max(map(main, json.loads(sys.argv[1]))))"
)


def save(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    _, content = cv2.imencode(path.suffix, image)
    path.write_bytes(content.tobytes())
    return path


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose network was not trained: it finds something in every texture."""
    folder = tmp_path_factory.mktemp("runs") / "blätter-1"
    save_untrained(folder / "checkpoints" / "best", ("Blatt", "叶子"), (7, 3))
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures of different sizes, and one that is cut off."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, size_hw in (("a.png", (40, 70)), ("sub/ü b.jpg", (90, 50)), ("sub/c.bmp", (64, 64))):
        save(folder / name, textured_canvases(1, size_hw, seed=len(name))[0])
    whole = (folder / "sub" / "ü b.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture(scope="module")
def exported(run_folder: Path) -> Path:
    (file,) = export(run_folder).files
    assert file.parity.passed
    assert file.parity.num_detections > 0
    return file.path


@pytest.fixture(scope="module")
def predicted(exported: Path, pictures: Path, tmp_path_factory: pytest.TempPathFactory):
    return predict(str(pictures), weights=exported, output=tmp_path_factory.mktemp("predicted"))


def test_the_exported_file_lies_in_the_run_under_its_name(exported, run_folder):
    assert exported == run_folder / "blätter-1.onnx"
    assert not list(run_folder.glob(".*"))


def test_a_file_is_not_replaced_unasked(exported, run_folder, monkeypatch):
    monkeypatch.delattr("lookonce.workflows.export._open")  # refused before the weights are loaded
    with raises(WeightsError, "--overwrite", path=exported):
        export(run_folder)


def test_every_readable_image_is_drawn_under_its_name(predicted):
    drawn = {path.relative_to(predicted.output).as_posix() for path in predicted.output.rglob("*") if path.is_file()}
    assert drawn == {"a.png", "sub/ü b.jpg", "sub/c.bmp.jpg", "detections.json", "results.json"}
    image = cv2.imdecode(np.frombuffer((predicted.output / "a.png").read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (40, 70, 3)


def test_an_image_that_cannot_be_read_is_told_and_makes_the_exit_status_1(predicted, pictures):
    assert predicted.exit_code == 1
    assert list(predicted.failed) == [str(pictures / "cut.jpg")]
    (failed,) = json.loads((predicted.output / "detections.json").read_text(encoding="utf-8"))["failed"]
    assert "truncated JPEG" in failed["error"]


def test_detections_json_says_all_of_every_image(predicted, pictures):
    content = json.loads((predicted.output / "detections.json").read_text(encoding="utf-8"))
    assert content["class_names"] == ["Blatt", "叶子"]
    assert content["threshold"] == 0.2
    assert [Path(one["file"]).name for one in content["images"]] == ["a.png", "c.bmp", "ü b.jpg"]
    first, told = content["images"][0], predicted.images[0]
    assert (first["width"], first["height"]) == (70, 40) == told.size_wh
    assert len(first["detections"]) == len(told.detections) > 0
    best = first["detections"][0]
    assert best["score"] == told.detections.scores[0]
    assert best["class"] == content["class_names"][best["label"]]
    assert best["box_xyxy"] == told.detections.boxes_xyxy[0].tolist()
    for one in first["detections"]:
        left, top, right, bottom = one["box_xyxy"]
        assert 0 <= left < right <= 70
        assert 0 <= top < bottom <= 40


def test_results_json_is_cocos(predicted):
    rows = json.loads((predicted.output / "results.json").read_text(encoding="utf-8"))
    told = predicted.images[0]
    assert len(rows) == sum(len(one.detections) for one in predicted.images)
    assert rows[0]["image_id"] == 1
    assert rows[0]["category_id"] == (7, 3)[told.detections.labels[0]]
    left, top, right, bottom = told.detections.boxes_xyxy[0].tolist()
    assert rows[0]["bbox"] == [left, top, right - left, bottom - top]


def test_the_checkpoint_and_its_file_find_the_same(run_folder, predicted, pictures, tmp_path):
    from_checkpoint = predict(str(pictures), weights=run_folder, output=tmp_path, device="cpu")
    for one, other in zip(from_checkpoint.images, predicted.images, strict=True):
        np.testing.assert_array_equal(one.detections.labels, other.detections.labels)
        np.testing.assert_allclose(one.detections.boxes_xyxy, other.detections.boxes_xyxy, atol=0.01)
        np.testing.assert_allclose(one.detections.scores, other.detections.scores, atol=1e-5)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COCO annotations of the run's classes, a box an image: 1 image in train, 2 in val; and a .yaml of both."""
    folder = tmp_path_factory.mktemp("data")
    categories = [{"id": 7, "name": "Blatt"}, {"id": 3, "name": "叶子"}]
    for split, count in (("train", 1), ("val", 2)):
        images, annotations = [], []
        for number in range(count):
            canvas = textured_canvases(1, (64, 64), seed=number)[0]
            save(folder / split / f"{split}{number}.png", canvas)
            images.append({"id": number, "file_name": f"{split}{number}.png", "width": 64, "height": 64})
            box = {"bbox": [4, 4, 40, 40], "area": 1600, "iscrowd": 0}
            annotations.append({"id": number, "image_id": number, "category_id": 7, **box})
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / f"{split}.json").write_text(json.dumps(content), encoding="utf-8")
    entries = [f"{split}:\n  images: {split}\n  annotations: {split}.json\n" for split in ("train", "val")]
    (folder / "data.yaml").write_text("".join(["names: [叶子, Blatt]\n", *entries]), encoding="utf-8")
    return folder


def test_info_and_eval_of_a_file_need_no_pytorch(exported, run_folder, data, tmp_path):
    """The record and the arithmetic are in the file."""
    val = ["--data", str(data / "val.json"), "--images", str(data / "val")]
    commands = [
        ["info", str(exported)],
        ["info", str(exported), "--budget", "--output", str(tmp_path / "budget")],
        ["eval", "--weights", str(exported), *val, "--output", str(tmp_path / "eval"), "--resamples", "0"],
    ]
    done = subprocess.run(
        [sys.executable, "-c", ALL_WITHOUT_TORCH, json.dumps(commands)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "classes     2: Blatt, 叶子" in done.stdout
    of_run = info(run_folder)
    assert f"{of_run.parameters:,} floats" in done.stdout
    assert json.loads((tmp_path / "budget/budget.json").read_text())["macs"] == of_run.flops // 2
    expected = evaluate(weights=run_folder, data=data / "val.json", images=data / "val", output=tmp_path, resamples=0)
    found = json.loads((tmp_path / "eval/metrics.json").read_text())
    assert found["AR100"] == expected.metrics.AR100 > 0


@pytest.mark.parametrize(
    ("name", "settings"),
    [("data.yaml", {}), ("val.json", {"images": "val"}), ("data.yaml", {"val_split": "train"})],
)
def test_an_export_is_compared_on_the_validation_images_of_its_run(run_folder, data, name, settings):
    record = load_runtime(run_folder).record
    if "images" in settings:
        settings = {"images": str(data / settings["images"])}
    record = record.model_copy(update={"settings": {"data": str(data / name), **settings}})
    canvases, origin = canvases_of(record, None, 0)
    split = settings.get("val_split", "val")
    assert origin == f"images of {data / name}, split '{split}'"
    assert len(canvases) == {"val": 2, "train": 1}[split]
    gone = record.model_copy(update={"settings": {"data": str(data / "gone.yaml")}})
    assert canvases_of(gone, None, 0)[1] == "synthetic images"


def test_predicts_without_pytorch_and_soon(exported, pictures, predicted, tmp_path):
    command = [str(pictures), "--weights", str(exported), "--output", str(tmp_path)]
    code = f"""
import atexit, gc, sys
atexit.register(lambda: print("end:", *{NOT_NEEDED!r} & sys.modules.keys(), gc.get_freeze_count() > 1000))
{WITHOUT_TORCH}"""
    before = os.times()
    typed = [sys.executable, "-c", code, "predict", *command]
    done = subprocess.run(typed, capture_output=True, text=True, check=False)
    after = os.times()
    # 1.2 to 2 on a busy machine; PyTorch alone would take 4 (benchmarks/cold_start.py).
    assert after.children_user + after.children_system - before.children_user - before.children_system < 4
    assert done.returncode == 1, done.stderr  # one picture cannot be read
    assert "cut.jpg: " in done.stderr
    assert "3 images" in done.stdout
    assert "loading" not in done.stderr
    assert done.stdout.splitlines()[-1] == "end: True"
    assert (tmp_path / "results.json").read_bytes() == (predicted.output / "results.json").read_bytes()


def test_export_reports_before_pytorch_loads_what_is_wrong_with_its_files(run_folder, tmp_path, monkeypatch):
    def load_pytorch():
        raise AssertionError("PyTorch is loaded")

    monkeypatch.setattr("lookonce.workflows.export.loading_torch", load_pytorch)
    monkeypatch.setattr("lookonce.exporters.formats.find_spec", lambda module: None)  # no converter is installed
    page, weights = tmp_path / "page.weights", tmp_path / "mine.weights"
    page.write_text("<!DOCTYPE html><html></html>")
    weights.write_bytes(bytes(100))
    with raises(WeightsError, "HTML", path=page):
        export(page)
    with raises(WeightsError, path=tmp_path / "missing.txt"):
        export(weights, names=tmp_path / "missing.txt")
    with raises(SettingsError, "omit --names"):
        export(run_folder, names=tmp_path / "missing.txt")
    for to, precision, extra in (("ncnn", "fp32", "ncnn"), ("openvino", "int8", "int8")):
        with raises(MissingExtra, extra=extra):
            export(run_folder, to=to, precision=precision)
    with raises(WeightsError, "pip install"):
        export(run_folder, to="tflite")
    monkeypatch.setenv("LOOKONCE_OFFLINE", "1")
    monkeypatch.setenv("LOOKONCE_WEIGHTS", str(tmp_path))
    with raises(WeightsError, "forbids the download"):
        export(run_folder, for_="web")
    with raises(WeightsError, "forbids the download"):
        write_page(run_folder, tmp_path / "site", names=None, image_size=None, title="", overwrite=False)
    for name in ("web", "opencv4"):
        (tmp_path / "full").mkdir(exist_ok=True)
        (tmp_path / "full" / "a.txt").touch()
        with raises(LookonceError, path=tmp_path / "full"):
            export(run_folder, for_=name, output=tmp_path / "full")


def test_a_board_installs_ncnn_without_the_extra_that_brings_pytorch(tmp_path, monkeypatch):
    def opened(path):
        raise ModuleNotFoundError("ncnn", name="ncnn")

    monkeypatch.setattr("lookonce.runtimes.ncnn.NcnnRuntime", opened)
    folder = tmp_path / "model.ncnn"
    folder.mkdir()
    (folder / NCNN_PARAM).write_text("")
    monkeypatch.delenv(COMMAND, raising=False)
    with raises(MissingExtra, "pip install ncnn", extra="ncnn"):
        load_runtime(folder)
    monkeypatch.setenv(COMMAND, "./run")
    with raises(MissingExtra, "--extra ncnn"):
        load_runtime(folder)


def test_several_processes_without_pytorch_say_what_they_need(exported, pictures, tmp_path):
    command = [str(pictures), "--weights", str(exported), "--output", str(tmp_path / "out"), "--devices=2"]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, "predict", *command], capture_output=True, text=True, check=False
    )
    assert re.fullmatch(r'(.*: starting\n)?lookonce: devices: .*pip install "lookonce\[train\][^"]*"\n', done.stderr)
    assert done.returncode == 1


def test_a_checkpoint_without_pytorch_says_what_it_needs(run_folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("lookonce.")]:
        if name.startswith(("lookonce.distributed", "lookonce.weights", "lookonce.runtimes.pytorch")):
            monkeypatch.delitem(sys.modules, name)
    with raises(MissingExtra, extra="train"):
        load_runtime(run_folder)
    (tmp_path / "notes.txt").write_text("hello")
    with raises(MissingExtra, "not an exported", extra="train"):
        load_runtime(tmp_path / "notes.txt")


def test_predict_never_writes_over_earlier_predictions(exported, pictures, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = str(pictures / "a.png")
    outputs = [predict(source, weights=exported, images=False).output for _ in range(2)]
    assert [path.as_posix() for path in outputs] == ["runs/predict-1", "runs/predict-2"]
    assert sorted(path.name for path in outputs[0].iterdir()) == ["detections.json", "results.json"]


def test_predict_never_writes_over_the_images(exported, tmp_path):
    path = save(tmp_path / "a.png", np.zeros((32, 32, 3), np.uint8))
    content = path.read_bytes()
    with raises(SettingsError, "a.png", setting="output"):
        predict(str(path), weights=exported, output=tmp_path)
    assert path.read_bytes() == content


@pytest.mark.parametrize(("name", "value"), [("threshold", 25.0), ("iou_threshold", -0.1), ("max_detections", 0)])
def test_thresholds_out_of_range_are_refused(exported, pictures, name, value):
    with raises(SettingsError, setting=name, value=value):
        predict(str(pictures), weights=exported, **{name: value})


def test_a_higher_threshold_shows_fewer(exported, pictures, tmp_path):
    predicted = predict(str(pictures / "a.png"), weights=exported, output=tmp_path, threshold=1.0)
    assert predicted.exit_code == 0
    assert len(predicted.images[0].detections) == 0
    assert json.loads((tmp_path / "results.json").read_text()) == []


def test_images_named_by_number_keep_it_as_coco_image_id():
    def sources(*names):
        return [ImageSource(name=name, place=Path(name)) for name in names]

    assert image_ids(sources("000000000139.jpg", "sub/7.png")) == [139, 7]
    assert image_ids(sources("000000000139.jpg", "dog.png")) == [1, 2]
    assert image_ids(sources("7.jpg", "7.png")) == [1, 2]


def test_load_offers_arrays_files_and_export(run_folder, exported, pictures, tmp_path):
    for path in (run_folder, exported):
        detector = lookonce.load(path, device="cpu")
        assert detector.class_names == ("Blatt", "叶子")
        (found,) = detector.detect(textured_canvases(1, (50, 50)))
        assert found.boxes_xyxy.max() <= 50
        assert len(detector.detect(textured_canvases(1, (50, 50)), threshold=1.0)[0]) == 0
        assert len(detector.predict(pictures / "a.png", output=tmp_path).images) == 1


def test_export_of_an_exported_file_is_refused(exported):
    with raises(SettingsError, path=exported):
        load(exported).export()


@pytest.mark.parametrize(
    ("options", "setting", "told"),
    [
        ({"to": "onx"}, "to", " onnx?"),
        ({"to": "tensorrt"}, "to", "--for tensorrt"),
        ({"to": "torchscript", "outputs": "detections"}, "outputs", "decoded"),
        ({"to": "ncnn", "batch": 4}, "batch", "ncnn"),
        ({"to": "torchscript", "precision": "int8"}, "precision", "fp32"),
        ({"precision": "int8"}, "calibration", "--calibration DATA"),
        ({"outputs": "raw,decoded", "output": Path("one.onnx")}, "output", "one.onnx"),
        ({"to": ","}, "to", "empty"),
        ({"image_size": 100}, "image_size", "100"),
        ({"batch": -1}, "batch", "-1"),
        ({"opset": 99}, "opset", "or less"),
    ],
)
def test_export_settings_out_of_range_are_refused(run_folder, options, setting, told):
    with raises(SettingsError, told, setting=setting):
        export(run_folder, **options)


def test_several_formats_and_outputs_through_the_command_line(run_folder, pictures, tmp_path, capsys):
    several = ["--to", "onnx,torchscript", "--outputs", "raw,decoded"]
    options = ["--no-preprocess", "--batch", "2", "--image-size", "96", "--output", str(tmp_path)]
    assert main(["export", str(run_folder), *several, *options, "--images", str(pictures / "sub")]) == 0
    stems = ("blätter-1-96-decoded", "blätter-1-96-raw")
    names = {f"{stem}{suffix}" for stem in stems for suffix in (".onnx", ".torchscript")}
    assert {path.name for path in tmp_path.iterdir()} == names
    for name in names:
        assert load_runtime(tmp_path / name).record.image_size == (96, 96)
    told = capsys.readouterr().out
    assert "raw logits" in told
    assert "torch" not in told.replace("torchscript", "")  # what PyTorch's exporter would print


def test_images_to_compare_on_must_be_readable(run_folder, pictures):
    with raises(DataError, "JPEG", path="cut.jpg"):
        export(run_folder, images=str(pictures), image_size=32)


def test_check_keeps_nothing(run_folder, tmp_path):
    before = sorted(run_folder.iterdir())
    exports = export(run_folder, to="torchscript", check=True)
    (file,) = exports.files
    assert file.parity.passed
    assert sorted(run_folder.iterdir()) == before
    assert "blätter-1-decoded.torchscript" in "\n".join(as_text(exports))


def test_weights_in_16_bits_are_half_the_size(exported, run_folder, tmp_path):
    (file,) = export(run_folder, precision="fp16", output=tmp_path).files
    assert file.path.name == "blätter-1-fp16.onnx"
    assert load_runtime(file.path).record.precision == "fp16"
    assert file.size < 0.6 * exported.stat().st_size


def test_eight_bits_are_fitted_to_bare_images(exported, run_folder, pictures, tmp_path):
    exports = export(run_folder, precision="int8", calibration=str(pictures / "sub"), output=tmp_path)
    (file,) = exports.files
    assert ["noise" in one.quantity for one in file.parity.differences] == [True]
    assert 0 < file.parity.differences[0].largest < 0.25
    assert any(" 2 images " in line for line in as_text(exports))
    record = load_runtime(file.path).record
    assert record.precision == "int8"
    assert record.class_names == ("Blatt", "叶子")
    assert file.size < 0.45 * exported.stat().st_size  # of a network of a few thousand weights; 0.26 at full width


def test_with_labels_the_price_of_eight_bits_is_told_and_limited(run_folder, tmp_path, monkeypatch):
    """Of a file in 32 bits, which is written sooner; the test above writes one in eight."""
    monkeypatch.setattr("lookonce.exporters.onnx._in_int8", build_onnx)
    (tmp_path / "data").mkdir()
    images = [{"id": 1, "file_name": "1.png", "width": 64, "height": 64}]
    save(tmp_path / "data" / "1.png", textured_canvases(1, (64, 64))[0])
    boxes = [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [10, 10, 30, 30], "area": 900, "iscrowd": 0}]
    categories = [{"id": 7, "name": "Blatt"}, {"id": 3, "name": "叶子"}]
    content = {"images": images, "annotations": boxes, "categories": categories}
    (tmp_path / "data" / "labels.json").write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "data.yaml").write_text("train: {images: data, annotations: data/labels.json}\n")
    options = {"precision": "int8", "calibration": str(tmp_path / "data.yaml"), "output": tmp_path}
    (file,) = export(run_folder, **options).files
    assert file.parity.differences[-1].quantity.startswith("AP points lost, ")
    monkeypatch.setattr("lookonce.workflows.export_reference.POINTS_TOLERANCE", -1000.0)
    with raises(WeightsError, "AP points lost", "too much", path=file.path):
        export(run_folder, overwrite=True, **options)
    assert file.path.exists()


@pytest.mark.slow  # 12 s; that OpenVINO's file in eight bits computes right: exporters/test_quantised.py
def test_openvino_in_eight_bits(run_folder, pictures, tmp_path):
    pytest.importorskip("nncf", reason="lookonce[int8] is not installed")
    options = {"to": "openvino", "precision": "int8", "calibration": str(pictures / "sub"), "output": tmp_path}
    (file,) = export(run_folder, **options).files
    assert file.parity.differences[0].largest < 0.25
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blätter-1-int8.bin", "blätter-1-int8.xml"]
    with raises(WeightsError, path=file.path):
        export(run_folder, **options)


def test_a_refused_format_does_not_cost_the_others(run_folder, tmp_path, monkeypatch):
    def refuse(model, record, plan, path):
        raise WeightsError(f"{path.name}: refused", path=path)

    monkeypatch.setattr("lookonce.exporters.torch_programs.write_torchscript", refuse)
    exports = export(run_folder, to="torchscript,onnx", output=tmp_path)
    assert [one.path.suffix for one in exports.files] == [".onnx"]
    assert [path.suffix for path in tmp_path.iterdir()] == [".onnx"]
    assert exports.exit_code == 1
    assert "refused" in str(exports.refused[0])
    assert str(exports.files[0].path) in list(as_text(exports))[-1]
    with raises(WeightsError, "refused"):
        export(run_folder, to="torchscript", output=tmp_path)


def test_the_list_shows_every_format_as_the_documents_do(capsys):
    assert main(["export", "--list"]) == 0
    told = capsys.readouterr().out
    page = (Path(__file__).parents[2] / "docs" / "export.md").read_text(encoding="utf-8")
    for name, one in FORMATS.items():
        assert any(line.startswith(f"{name} ") and one.verdict in line for line in told.splitlines())
        row = next(line for line in page.splitlines() if line.startswith(f"| {name} |"))
        assert f"| {one.verdict} |" in row
        outputs = "".join(f"-{first}" for first in one.outputs[:1] if first != "detections")  # as in the name
        assert not one.suffix or f"| NAME{outputs}{one.suffix} |" in row
    assert not any(line.lstrip().startswith(":") for line in told.splitlines())  # air has no suffix
    header, *rows = told.split("\n\n")[0].splitlines()
    column = header.index("precision")  # which the longest list of outputs does not reach
    assert {row[column - 2 : column] for row in rows if "fp32" in row} == {"  "}
    assert all(len(line) <= 80 for line in told.splitlines())
    assert main(["export", "--list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert (listed["formats"].keys(), listed["clients"].keys()) == (FORMATS.keys(), CLIENTS.keys())


def test_an_unknown_or_unfit_runtime_is_said(exported, run_folder):
    with raises(SettingsError, " onnxruntime", setting="runtime", value="onxruntime"):
        load_runtime(exported, runtime="onxruntime")
    with raises(SettingsError, " onnx)", "onnxruntime", "openvino", "opencv", setting="runtime", value="ncnn"):
        load_runtime(exported, runtime="ncnn")
