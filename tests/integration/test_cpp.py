"""The C++ program (`./run cpp` builds it) gives the pixels, the raw outputs and the detections that Python gives."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from lookonce.data.images import IMAGE_SUFFIXES, read_image
from lookonce.errors import DataError
from lookonce.exit_codes import ExitCode
from lookonce.exporters.base import textured_canvases
from lookonce.letterbox import fit
from lookonce.model.yolov3_tiny import YoloV3Tiny, initialise, scaled_channels
from lookonce.prediction.video import read_frames
from lookonce.runtimes.pytorch import PyTorchRuntime
from lookonce.runtimes.registry import load_runtime
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord, Preprocessing, Thresholds
from lookonce.weights.checkpoint import save_checkpoint
from lookonce.workflows.export import export
from lookonce.workflows.predict import predict_with
from lookonce.workflows.predict_request import PredictRequest

ROOT = Path(__file__).resolve().parents[2]
BUILT = ROOT / "cpp" / "build" / "release"
ODD_IMAGES = ROOT / "cpp" / "tests" / "images"

pytestmark = pytest.mark.skipif(
    not (BUILT / "lookonce-infer").exists(), reason="the C++ program is not built: ./run cpp builds it"
)


def infer(*arguments: object, fails: bool | ExitCode = False) -> str:
    """What the program prints. fails: with any code but 0, or with this one."""
    done = subprocess.run(
        [BUILT / "lookonce-infer", *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == fails if isinstance(fails, ExitCode) else (done.returncode != 0) == fails, done.stderr
    return done.stdout + done.stderr


def prepare(record: ModelRecord, pictures: Sequence[Path], folder: Path) -> list[NDArray[np.uint8] | str]:
    """What the C++ library puts into the network for each picture, or why it refuses it."""
    write_canvases(record, pictures, folder)
    return [
        read_canvas(folder / f"{index}.bin", record)
        if (folder / f"{index}.bin").exists()
        else (folder / f"{index}.txt").read_text()
        for index in range(len(pictures))
    ]


def write_canvases(record: ModelRecord, sources: Sequence[Path], folder: Path) -> None:
    folder.mkdir()
    (folder / "record.json").write_text(record.model_dump_json())
    subprocess.run([BUILT / "lookonce-prepare", folder / "record.json", folder, *sources], check=True, timeout=120)


def read_canvas(path: Path, record: ModelRecord) -> NDArray[np.uint8]:
    return np.fromfile(path, np.uint8).reshape(*record.image_size, 3)


def record_with(size_hw: tuple[int, int] = (96, 128), **preprocessing: Any) -> ModelRecord:
    return ModelRecord(
        dialect=DIALECTS["darknet"],
        channels=scaled_channels(1 / 8),
        class_names=("Blatt", "叶子"),
        category_ids=(7, 3),
        image_size=size_hw,
        preprocessing=Preprocessing(**preprocessing),
        thresholds=Thresholds(score=0.2),
    )


def save(path: Path, image: NDArray[np.uint8]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return path


def odd_images() -> list[Path]:
    return sorted(path for path in ODD_IMAGES.iterdir() if path.suffix in IMAGE_SUFFIXES - {".ppm"})


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sizes that shrink, grow, halve exactly and keep their size."""
    folder = tmp_path_factory.mktemp("pictures") / "ü 图"
    sizes = ((300, 257), (40, 33), (128, 192), (64, 96), (1, 700), (513, 2))
    for index, size_hw in enumerate(sizes):
        image = textured_canvases(1, size_hw, seed=index)[0]
        save(folder / f"p{index}{('.jpg', '.png', '.webp')[index % 3]}", image)
    return folder


@pytest.mark.parametrize(
    "preprocessing",
    [
        {},
        {"resize": "stretch"},
        {"interpolation": "area", "pad_value": 0},
        {"interpolation": "nearest", "resize": "stretch"},
    ],
    ids=lambda preprocessing: "-".join(map(str, preprocessing.values())) or "letterbox",
)
def test_the_networks_input_is_the_same_bytes_for_every_odd_image(
    pictures: Path, tmp_path: Path, preprocessing: dict[str, Any]
) -> None:
    record = record_with((64, 96), **preprocessing)
    paths = [*odd_images(), *sorted(pictures.iterdir())]
    assert len(paths) > 50
    different = [
        path.name
        for path, canvas in zip(paths, prepare(record, paths, tmp_path / "canvases"), strict=True)
        if isinstance(canvas, str)
        or not np.array_equal(canvas, fit(read_image(path), record.image_size, record.preprocessing)[0])
    ]
    assert different == []


def test_real_photographs_come_out_the_same(shared: Any, tmp_path: Path) -> None:
    paths = sorted(
        path
        for path in shared("data/media/pictures").iterdir()
        if path.suffix in {".jpg", ".png"} and "trunc" not in path.name
    )
    paths += sorted(shared("data/bccd/JPEGImages").iterdir())[:10]
    record = record_with((416, 416))
    for path, canvas in zip(paths, prepare(record, paths, tmp_path / "canvases"), strict=True):
        np.testing.assert_array_equal(canvas, fit(read_image(path), record.image_size, record.preprocessing)[0])


def test_what_python_refuses_is_refused_with_its_name(tmp_path: Path) -> None:
    paths = []
    for source in (ODD_IMAGES / name for name in ("rgb.jpg", "cmyk.jpg", "deep.png", "alpha.webp")):
        whole = source.read_bytes()
        for part in (0, 1, 9, len(whole) // 2, len(whole) - 3):
            paths.append(tmp_path / f"{part}-{source.name}")
            paths[-1].write_bytes(whole[:part])
    for path, refusal in zip(paths, prepare(record_with(), paths, tmp_path / "canvases"), strict=True):
        assert isinstance(refusal, str)
        assert refusal.startswith(str(path))
        with pytest.raises(DataError):
            read_image(path)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that was not trained: it finds something in every texture."""
    folder = tmp_path_factory.mktemp("weights") / "blätter"
    model = YoloV3Tiny(2, channels=scaled_channels(1 / 8))
    initialise(model, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for head in (model.head32, model.head16):
            head.weight *= 20  # scores far enough apart that no rounding changes their order
            head.bias.zero_()
    save_checkpoint(folder, state=model.state_dict(), record=record_with())
    return folder


@pytest.fixture(scope="module")
def exported(weights: Path) -> dict[str, Path]:
    """One network in all the shapes that the program reads."""
    files = export(weights, to="onnx,openvino", output=weights.parent).files
    by_suffix = {path.suffix: path for path in (one.path for one in files)}
    floats = weights.parent / "floats.onnx"
    export(weights, to="onnx", outputs="raw", preprocess=False, batch=2, output=floats)
    return {"onnx": by_suffix[".onnx"], "openvino": by_suffix[".xml"], "floats": floats}


@pytest.mark.parametrize("kind", ["onnx", "openvino", "floats", "ncnn", "ncnn-floats"])
def test_results_agree_with_pythons(
    exported: dict[str, Path], weights: Path, pictures: Path, tmp_path: Path, kind: str
) -> None:
    model = ncnn_folder(weights, tmp_path, floats="floats" in kind) if "ncnn" in kind else exported[kind]
    infer(model, pictures, "--output", tmp_path / "cpp", "--no-images", "--threshold", 0.05)
    runtime = load_runtime(exported["onnx"])
    options: Any = {"weights": exported["onnx"], "output": tmp_path / "py", "images": False, "threshold": 0.05}
    predict_with(runtime, PredictRequest(str(pictures), **options))
    ours, theirs = (json.loads((tmp_path / name / "results.json").read_text()) for name in ("cpp", "py"))
    assert len(theirs) > 100
    for one, other in zip(ours, theirs, strict=True):
        assert (one["image_id"], one["category_id"]) == (other["image_id"], other["category_id"])
        np.testing.assert_allclose(one["bbox"], other["bbox"], atol=0.05)
        assert one["score"] == pytest.approx(other["score"], abs=1e-4)


def ncnn_folder(weights: Path, folder: Path, *, floats: bool) -> Path:
    if "ncnn" not in infer("--help").splitlines()[-1]:
        pytest.skip("the C++ program was built without ncnn (docs/cpp.md)")
    pytest.importorskip("pnnx", reason="the extra `ncnn` is not installed")
    exported = folder / "small.ncnn"
    export(weights, to="ncnn", preprocess=not floats, output=exported)
    return exported


def test_raw_outputs_are_the_networks_in_the_documents_order(
    exported: dict[str, Path], pictures: Path, weights: Path, tmp_path: Path
) -> None:
    infer(exported["onnx"], pictures / "p1.png", "--output", tmp_path, "--raw", "--timing", "--warmup", 1)
    runtime = load_runtime(weights)
    assert isinstance(runtime, PyTorchRuntime)
    canvas = fit(read_image(pictures / "p1.png"), (96, 128), Preprocessing())[0]
    for head, (raw, grid) in enumerate(zip(runtime.raw_heads(canvas[None]), ((3, 4), (6, 8)), strict=True)):
        written = np.fromfile(tmp_path / "result_Files" / f"p1_{head}.bin", np.float32).reshape(1, *grid, 3, 7)
        expected = raw.numpy().reshape(1, 3, 7, *grid).transpose(0, 3, 4, 1, 2)
        np.testing.assert_allclose(written, expected, atol=2e-3)  # logits up to hundreds
    line = (tmp_path / "time_Result" / "test_perform_static.txt").read_text()
    assert line.startswith("NN inference cost average time: ")
    assert line.endswith(" ms of infer_count 1\n")


def test_a_bad_image_is_told_and_the_others_are_done(exported: dict[str, Path], pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"no picture")
    (folder / "b.png").write_bytes((pictures / "p1.png").read_bytes())
    told = infer(exported["onnx"], folder, "--output", tmp_path / "out", "--batch", 2, fails=True)
    assert "a.jpg: " in told
    lines = [json.loads(line) for line in (tmp_path / "out" / "detections.jsonl").read_text().splitlines()]
    assert "error" in lines[0]
    assert lines[1]["width"] == 33
    assert read_image(tmp_path / "out" / "b.png").shape == (40, 33, 3)


def test_formats_that_python_alone_reads_are_reported(exported: dict[str, Path], tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.avif")
    Image.new("RGB", (8, 8)).save(tmp_path / "b.jp2")
    told = infer(exported["onnx"], tmp_path, "--output", tmp_path / "out", fails=ExitCode.FAILED)
    assert [name for name in ("a.avif: BMP", "b.jp2: BMP") if name not in told] == []
    assert "annotated" not in told


@pytest.mark.parametrize("source", ["0", "screen", "http://127.0.0.1/a.jpg"])
def test_a_camera_or_a_url_is_sent_to_predict(exported, source):
    assert "lookonce predict" in infer(exported["onnx"], source, fails=ExitCode.FAILED)


@pytest.mark.parametrize(
    ("option", "instead"),
    [("--image-size", "lookonce export"), ("--conf", "--threshold"), ("--track", "lookonce predict")],
)
def test_an_option_of_other_programs_names_what_to_do(exported, pictures, option, instead):
    assert instead in infer(exported["onnx"], pictures, option, "1", fails=ExitCode.WRONG_USE)


def test_images_that_neither_program_reads_are_reported(exported, tmp_path):
    (tmp_path / "a.HEIC").touch()
    assert "HEIC" in infer(exported["onnx"], tmp_path, fails=ExitCode.FAILED)
    cv2.imwrite(str(tmp_path / "b.png"), np.zeros((8, 8, 3), np.uint8))
    assert "HEIC" in infer(exported["onnx"], tmp_path, "--output", tmp_path / "out")


def test_where_nothing_is_read_no_rate_is_printed(exported, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"no image")
    assert "images/s" not in infer(exported["onnx"], tmp_path, "--output", tmp_path / "out", fails=ExitCode.FAILED)


def test_a_runtime_that_the_program_lacks_is_a_wrong_option(exported: dict[str, Path], pictures: Path) -> None:
    told = infer(exported["onnx"], pictures, "--runtime", "tflite", fails=ExitCode.WRONG_USE)
    assert "openvino" in told


def test_images_are_not_replaced_by_their_drawings(exported: dict[str, Path], pictures: Path) -> None:
    assert " replace " in infer(exported["onnx"], pictures, "--output", pictures, fails=True)


def test_a_model_that_is_none_is_refused(exported: dict[str, Path], pictures: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(exported["onnx"].read_bytes()[:-100])
    assert "ONNX" in infer(broken, pictures, "--output", tmp_path, fails=True)
    assert "x.pt: not a file" in infer(tmp_path / "x.pt", pictures, "--output", tmp_path, fails=True)


def test_a_device_that_openvino_lacks_is_named_with_those_it_has(
    exported: dict[str, Path], pictures: Path, tmp_path: Path
) -> None:
    told = infer(exported["onnx"], pictures, "--device", "cuda", "--output", tmp_path / "out", fails=ExitCode.WRONG_USE)
    assert ("device: cuda" in told, "CPU" in told, "Exception" in told) == (True, True, False)


def test_any_number_of_threads_and_any_batch_give_the_same_order(
    exported: dict[str, Path], pictures: Path, tmp_path: Path
) -> None:
    written = []
    for threads, batch in ((1, 1), (3, 1), (2, 4)):
        output = tmp_path / f"{threads}-{batch}"
        infer(exported["onnx"], pictures, "--output", output, "--threads", threads, "--batch", batch, "--no-images")
        written.append((output / "detections.jsonl").read_text())
    assert written[0] == written[1]
    names = [[json.loads(line)["file"] for line in text.splitlines()] for text in written]
    assert names[0] == names[2]


def test_memory_does_not_grow_with_the_number_of_images(exported: dict[str, Path], tmp_path: Path) -> None:
    # Of a small process between: a child's peak is at first that of the process that starts it, here all of PyTorch's.
    measure = """import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"""
    save(tmp_path / "one.jpg", textured_canvases(1, (384, 512), seed=0)[0])
    peaks = []
    for num_images in (10, 100):  # 100 decoded ones are 59 MB
        (tmp_path / "list.txt").write_text("one.jpg\n" * num_images)
        command = [BUILT / "lookonce-infer", exported["onnx"], tmp_path / "list.txt", "--output", tmp_path / "out"]
        done = subprocess.run(
            [sys.executable, "-c", measure, *command, "--threads", "2"], capture_output=True, text=True, check=True
        )
        peaks.append(int(done.stdout))
    assert len((tmp_path / "out" / "detections.jsonl").read_text().splitlines()) == 100
    assert peaks[1] < peaks[0] * 1.1


@pytest.mark.parametrize("agnostic", [True, False])
@pytest.mark.parametrize("multi_label", [True, False])
def test_as_a_runtime_it_answers_as_the_others_do(exported: dict[str, Path], multi_label: bool, agnostic: bool) -> None:
    canvases = textured_canvases(2, (96, 128))
    thresholds = {"score_threshold": 0.1, "iou_threshold": 0.5, "max_detections": 50, "multi_label": multi_label}
    thresholds["agnostic"] = agnostic
    ours, theirs = (load_runtime(exported["onnx"], runtime=name) for name in ("cpp", "onnxruntime"))
    pairs = list(zip(ours.detect(canvases, **thresholds), theirs.detect(canvases, **thresholds), strict=True))
    assert sum(len(other) for _, other in pairs) > 10
    for one, other in pairs:
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
        limits = np.array([128, 96, 128, 96], np.float32)  # the program cuts boxes off at the picture's edge
        np.testing.assert_allclose(one.boxes_xyxy, np.clip(other.boxes_xyxy, 0, limits), atol=0.05)


TIMES = (0, 40, 100, 300, 301, 900)  # milliseconds


def film(path: Path, codec: str = "ffv1", *, turned: int = 0, **options: Any) -> Path:
    """A video of textures at uneven times, in the colours of HD television; to be shown turned by degrees."""
    av = pytest.importorskip("av", reason="the extra `video` is not installed")
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", **options) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 112, 80, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.colorspace = 1  # BT.709
        if turned:
            stream.set_display_rotation(turned)
        for time, image in zip(TIMES, textured_canvases(len(TIMES), (80, 112)), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def lines_of(folder: Path) -> list[dict[str, Any]]:
    """detections.jsonl as far as images could be read."""
    lines = [json.loads(line) for line in (folder / "detections.jsonl").read_text().splitlines()]
    return [line for line in lines if "error" not in line]


@pytest.fixture(scope="module")
def reads_video(tmp_path_factory: pytest.TempPathFactory, exported: dict[str, Path]) -> None:
    folder = tmp_path_factory.mktemp("no-video")
    (folder / "a.mkv").touch()
    if "built without video" in infer(exported["onnx"], folder / "a.mkv", "--output", folder, fails=True):
        pytest.skip("the C++ program was built without video: FFmpeg's headers were not found (docs/cpp.md)")


@pytest.mark.parametrize("turned", [0, 90, 180, -90])
@pytest.mark.usefixtures("reads_video")
def test_frames_of_a_video_are_the_same_bytes_upright(tmp_path: Path, turned: int) -> None:
    path = film(tmp_path / "straße 猫.mkv", turned=turned)
    frames = [frame.pixels() for frame in read_frames(str(path), "film")]
    assert [frame.shape[:2] for frame in frames] == [(112, 80) if turned % 180 else (80, 112)] * len(TIMES)
    record = record_with((128, 128))
    write_canvases(record, [path], tmp_path / "canvases")
    for number, frame in enumerate(frames):
        canvas = read_canvas(tmp_path / "canvases" / f"0-{number}.bin", record)
        np.testing.assert_array_equal(canvas, fit(frame, record.image_size, record.preprocessing)[0])


@pytest.mark.usefixtures("reads_video")
def test_a_video_gives_pythons_lines_and_its_film(exported: dict[str, Path], pictures: Path, tmp_path: Path) -> None:
    """Behind a video that is none, whose place in the order of ids counts, and before a picture."""
    folder = tmp_path / "mixed"
    film(folder / "b.mkv")
    (folder / "a.mp4").write_bytes(b"no video")
    (folder / "c.png").write_bytes((pictures / "p1.png").read_bytes())
    told = infer(exported["onnx"], folder, "--output", tmp_path / "cpp", fails=True)
    assert "a.mp4: " in told
    runtime = load_runtime(exported["onnx"])
    predict_with(runtime, PredictRequest(str(folder), weights=exported["onnx"], output=tmp_path / "py", save="jsonl"))
    ours, theirs = lines_of(tmp_path / "cpp"), lines_of(tmp_path / "py")
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(
            [found["box_xyxy"] for found in one.pop("detections")],
            [found["box_xyxy"] for found in other.pop("detections")],
            atol=0.05,
        )
        assert one == other
    seconds = [time / 1000 for time in TIMES]
    assert [line.get("seconds") for line in ours] == [*seconds, None]
    drawn = list(read_frames(str(tmp_path / "cpp" / "b.mp4"), "b"))
    assert [float(frame.seconds) for frame in drawn] == seconds
    assert drawn[0].pixels().shape == (80, 112, 3)
    assert {path.name for path in (tmp_path / "cpp").iterdir() if "json" not in path.name} == {"b.mp4", "c.png"}


@pytest.mark.usefixtures("reads_video")
def test_an_empty_video_is_named(exported: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "a.mkv").touch()
    assert "is empty" in infer(exported["onnx"], tmp_path / "a.mkv", "--output", tmp_path / "out", fails=True)


@pytest.mark.usefixtures("reads_video")
@pytest.mark.parametrize(("name", "options"), [("short.mp4", {"movflags": "faststart"}), ("short.mkv", {})])
def test_of_a_video_that_breaks_off_the_frames_before_are_kept(
    exported: dict[str, Path], tmp_path: Path, name: str, options: dict[str, str]
) -> None:
    path = film(tmp_path / name, "mpeg4", container_options=options)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    told = infer(exported["onnx"], path, "--output", tmp_path / "out", fails=True)
    assert re.search(rf"{name}: .*shorter", told)
    kept = len(lines_of(tmp_path / "out"))
    assert 1 <= kept < len(TIMES)
    assert len(list(read_frames(str(tmp_path / "out" / "short.mp4"), "short"))) == kept
