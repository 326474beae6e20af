"""A file of every format answers as the network that it was made from, in its own runtime."""

import ctypes
import os
import runpy
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from forked import in_a_fork
from raised import raises

import lookonce
from lookonce.data.images import read_image
from lookonce.detections import Detections
from lookonce.errors import SettingsError, WeightsError
from lookonce.exporters.base import size_of, textured_canvases
from lookonce.exporters.formats import FORMATS
from lookonce.exporters.metadata import VERIFIED_KEY, store_verification
from lookonce.exporters.plan import ExportPlan
from lookonce.runtimes.detector import Detector
from lookonce.runtimes.exported import INNER_NAMES, RECORD_KEY, raw_names
from lookonce.runtimes.onnx import NO_TELEMETRY, with_outputs
from lookonce.runtimes.registry import RUNTIMES, at_size, load_runtime
from lookonce.settings.image_size import size_in_words
from lookonce.settings.record import Preprocessing

IMAGENET = Preprocessing(color_order="BGR", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
ANY_SIZE = [
    "ncnn, raw, normalised, any size",
    "onnx, decoded, two normalised pictures at once, any size",
    "onnx, raw, any size",
    "openvino, decoded, two normalised pictures of any size at once",
    "torch-export, decoded, any size",
]


def assert_same(expected: list[Detections], got: list[Detections]) -> None:
    assert [len(one) for one in expected] == [len(one) for one in got]
    for one, other in zip(expected, got, strict=True):
        np.testing.assert_array_equal(other.labels, one.labels)
        np.testing.assert_allclose(other.scores, one.scores, atol=1e-5)
        np.testing.assert_allclose(other.boxes_xyxy, one.boxes_xyxy, rtol=1e-4, atol=5e-3)


@pytest.mark.parametrize("score_threshold", [0.001, 0.25])
def test_detections_are_those_of_the_network(pair, score_threshold):
    thresholds = {"score_threshold": score_threshold, "iou_threshold": 0.5, "max_detections": 100}
    expected = pair.network.detect(pair.canvases, **thresholds)
    assert sum(len(one) for one in expected) > 0
    assert_same(expected, pair.exported.detect(pair.canvases, **thresholds))


def test_any_file_can_suppress_across_classes(pair):
    thresholds = {"score_threshold": 0.05, "iou_threshold": 0.5, "max_detections": 300}
    expected = pair.network.detect(pair.canvases, **thresholds, agnostic=True)
    assert_same(expected, pair.exported.detect(pair.canvases, **thresholds, agnostic=True))
    per_class = pair.network.detect(pair.canvases, **thresholds, agnostic=False)
    assert sum(map(len, expected)) < sum(map(len, per_class))


@pytest.mark.parametrize("multi_label", [True, False])
def test_whether_a_box_may_have_several_classes_can_be_said_of_any_file(pair, multi_label):
    thresholds = {"score_threshold": 0.05, "iou_threshold": 0.5, "max_detections": 300}
    expected = pair.network.detect(pair.canvases, **thresholds, multi_label=multi_label, agnostic=False)
    assert_same(expected, pair.exported.detect(pair.canvases, **thresholds, multi_label=multi_label, agnostic=False))
    (one, *_) = expected
    assert (len(np.unique(one.boxes_xyxy, axis=0)) < len(one)) == multi_label


def test_raw_heads_are_those_of_the_network(pair):
    for expected, got in zip(
        pair.network.raw_heads(pair.canvases), pair.exported.raw_heads(pair.canvases), strict=True
    ):
        assert expected.abs().max() > 1
        np.testing.assert_allclose(got, expected.numpy(), atol=1e-4)


@pytest.mark.parametrize("name", ANY_SIZE)
def test_a_file_for_any_size_takes_another_size(file_of, name):
    pair, canvases = file_of(name), textured_canvases(2, (96, 160))
    thresholds = {"score_threshold": 0.1, "iou_threshold": 0.5, "max_detections": 50}
    assert_same(pair.network.detect(canvases, **thresholds), pair.exported.detect(canvases, **thresholds))
    assert at_size(pair.exported, "96x160", pair.path).record.image_size == (96, 160)


def test_a_file_of_one_size_has_no_other(file_of):
    pair = file_of("onnx, packed")
    assert at_size(pair.exported, size_in_words(pair.record.image_size), pair.path) is pair.exported
    with raises(SettingsError, setting="image_size", value=96):
        at_size(pair.exported, 96, pair.path)


def test_the_answer_for_an_image_does_not_depend_on_its_neighbours(pair):
    assert_independent_of_neighbours(pair.exported, pair.canvases)


@pytest.mark.parametrize("name", ["onnx, detections", "openvino, detections", "torchscript, decoded", "ncnn, raw"])
def test_nor_does_it_on_several_threads(file_of, name):
    pair = file_of(name)
    assert_independent_of_neighbours(type(pair.exported)(pair.path, threads=2), pair.canvases)


def assert_independent_of_neighbours(runtime, canvases):
    thresholds = {"score_threshold": 0.01, "iou_threshold": 0.5, "max_detections": 100}
    together = runtime.detect(canvases, **thresholds)
    for canvas, found in zip(canvases, together, strict=True):
        (alone,) = runtime.detect(canvas[None], **thresholds)
        np.testing.assert_array_equal(alone.boxes_xyxy, found.boxes_xyxy)
        np.testing.assert_array_equal(alone.scores, found.scores)


def test_no_detections_over_a_high_threshold(pair):
    found = pair.exported.detect(pair.canvases, score_threshold=1.0, iou_threshold=0.5, max_detections=9)
    assert [len(one) for one in found] == [0, 0, 0]
    assert found[0].boxes_xyxy.shape == (0, 4)
    assert (found[0].scores.dtype, found[0].labels.dtype) == (np.float32, np.int64)


def test_max_detections_keeps_the_best(pair):
    thresholds = {"score_threshold": 0.01, "iou_threshold": 0.5}
    many = pair.exported.detect(pair.canvases, **thresholds, max_detections=50)
    few = pair.exported.detect(pair.canvases, **thresholds, max_detections=4)
    for one, other in zip(many, few, strict=True):
        np.testing.assert_array_equal(other.scores, one.scores[:4])


def test_no_images_no_detections(pair):
    empty = pair.canvases[:0]
    assert pair.exported.detect(empty, score_threshold=0.1, iou_threshold=0.5, max_detections=9) == []


def test_the_file_carries_the_record_and_no_path_of_this_machine(pair):
    assert pair.exported.record.model_copy(update={"versions": {}}) == pair.record
    assert "lookonce" in pair.exported.record.versions
    here = str(Path(lookonce.__file__).parent).encode()
    assert not any(here in content for content in everything_in(pair.path))


def everything_in(path: Path) -> Iterator[bytes]:
    """The bytes of a file, of what lies beside or in it, and of the members of archives."""
    for file in path.rglob("*") if path.is_dir() else path.parent.iterdir():
        yield file.read_bytes()
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                yield from (archive.read(name) for name in archive.namelist())


def test_what_verify_found_is_kept_where_the_format_has_a_place(pair, tmp_path):
    text = '{"passed": true, "of": "<\\"é\\">"}'
    before = size_of(pair.path)
    kept = store_verification(pair.path, "not this") and store_verification(pair.path, text)
    assert kept == (pair.exported.name in {"onnxruntime", "openvino", "ncnn"})
    assert (size_of(pair.path) > before) == kept
    again = load_runtime(pair.path)
    assert again.record == pair.exported.record
    found = again.detect(pair.canvases, score_threshold=0.1, iou_threshold=0.5, max_detections=5)
    assert_same(pair.exported.detect(pair.canvases, score_threshold=0.1, iou_threshold=0.5, max_detections=5), found)


@pytest.mark.parametrize("name", ["onnx, detections", "openvino, detections", "torchscript, decoded"])
@pytest.mark.parametrize("kept", [0, 100, 0.6])
def test_a_file_that_is_not_whole_is_refused_by_name(file_of, name, kept, tmp_path):
    pair = file_of(name)
    content = pair.path.read_bytes()
    path = tmp_path / f"cut{pair.path.suffix}"
    path.write_bytes(content[: int(kept * len(content)) if kept < 1 else kept])
    with raises(WeightsError, path=path):
        load_runtime(path)


def test_openvino_without_its_weights_is_refused(file_of, tmp_path):
    path = tmp_path / "alone.xml"
    path.write_bytes(file_of("openvino, detections").path.read_bytes())
    with raises(WeightsError, ".bin", path=path):
        load_runtime(path)


@pytest.mark.parametrize("runtime", ["openvino", "opencv"])
@pytest.mark.parametrize(
    "name", ["onnx, detections", "onnx, decoded, two normalised pictures at once, any size", "onnx, raw, any size"]
)
def test_onnx_files_run_elsewhere_too(file_of, name, runtime):
    if find_spec({"opencv": "cv2"}.get(runtime, runtime)) is None:
        pytest.skip(f"lookonce[{runtime}] is not installed")
    pair = file_of(name)
    exported = load_runtime(pair.path, runtime=runtime)
    thresholds = {"score_threshold": 0.1, "iou_threshold": 0.5, "max_detections": 50}
    assert exported.name == runtime
    assert_same(pair.network.detect(pair.canvases, **thresholds), exported.detect(pair.canvases, **thresholds))
    for expected, got in zip(pair.network.raw_heads(pair.canvases), exported.raw_heads(pair.canvases), strict=True):
        np.testing.assert_allclose(got, expected.numpy(), atol=1e-4)


def test_openvino_leaves_this_threads_signal_stack_alone(file_of):
    class Stack(ctypes.Structure):
        _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))

    def signal_stack():
        now = Stack()
        ctypes.CDLL(None).sigaltstack(None, ctypes.byref(now))
        return now.start, now.size

    before = signal_stack()
    pair = file_of("openvino, detections")
    fresh = load_runtime(pair.path)
    fresh.detect(pair.canvases, score_threshold=0.1, iou_threshold=0.5, max_detections=50)
    assert signal_stack() == before


def test_onnx_runtime_stores_no_events_to_send(file_of, tmp_path):
    """Its own library, 1.32, would create ~/.cache/Microsoft/DeveloperTools."""
    code = "import sys; from lookonce.runtimes.registry import load_runtime; load_runtime(sys.argv[1])"
    path = file_of("onnx, detections").path
    environment = {name: value for name, value in os.environ.items() if name != NO_TELEMETRY}
    subprocess.run([sys.executable, "-c", code, str(path)], env={**environment, "HOME": str(tmp_path)}, check=True)
    assert list(tmp_path.rglob("*")) == []


def test_openvino_sends_nothing_as_its_telemetry_cannot_be_imported(file_of):
    code = """
import socket, sys
def refuse(*args, **kwargs):
    raise RuntimeError("a socket")
socket.socket = socket.create_connection = refuse
from lookonce.runtimes.registry import load_runtime
load_runtime(sys.argv[1])
import openvino.tools.ovc
assert sys.modules["openvino_telemetry"] is None
"""
    path = file_of("openvino, detections").path
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_record_lies_where_the_documents_say(file_of):
    import openvino

    graph = openvino.Core().read_model(file_of("openvino, detections").path)
    assert graph.get_rt_info(RECORD_KEY).astype(str).startswith('{"format_version":1,')
    assert {name for port in graph.inputs for name in port.names} == {
        "images",
        "score_threshold",
        "iou_threshold",
        "max_detections",
    }
    assert VERIFIED_KEY != RECORD_KEY


def test_a_format_is_proven_by_a_runtime_or_says_why_not():
    for name, one in FORMATS.items():
        assert one.verdict != "validated" or one.runtime in RUNTIMES, name
        assert not one.runtime or one.runtime in RUNTIMES, name
        assert (one.verdict == "blocked") == (not one.writer), name
        assert one.text


@pytest.mark.parametrize(
    ("name", "module"), [("executorch", "executorch"), ("tflite", "litert_torch"), ("coreml", "coremltools")]
)
def test_a_converter_that_is_not_installed_is_named_with_its_command(file_of, tmp_path, name, module):
    if find_spec(module) is not None:
        pytest.skip(f"{module} is installed")
    pair = file_of("onnx, detections")
    plan = ExportPlan(outputs="raw", preprocess=False)
    with raises(WeightsError, f"'{module}'", "pip install"):
        FORMATS[name].write(pair.model, pair.record, plan, tmp_path / f"file{FORMATS[name].suffix}")


@pytest.mark.parametrize(("name", "module"), [("executorch", "executorch"), ("tflite", "litert_torch")])
def test_files_for_phones_answer_as_the_network(make_pair, name, module):
    pytest.importorskip(module, reason=f"{module} is no extra of lookonce and is not installed")
    pair = make_pair(to=name, preprocessing=IMAGENET)
    thresholds = {"score_threshold": 0.1, "iou_threshold": 0.5, "max_detections": 50}
    assert_same(pair.network.detect(pair.canvases, **thresholds), pair.exported.detect(pair.canvases, **thresholds))


@pytest.mark.parametrize("name", ["onnx, detections", "openvino, detections", "ncnn, raw"])
def test_a_fork_uses_the_file_that_its_parent_opened(file_of, name):
    """With two threads, of which the fork has one."""
    pair = file_of(name)
    runtime = type(pair.exported)(pair.path, threads=2)
    thresholds = {"score_threshold": 0.1, "iou_threshold": 0.5, "max_detections": 50}
    expected = runtime.detect(pair.canvases, **thresholds)
    runtime.detect(pair.canvases[:1], **thresholds)
    assert_same(expected, in_a_fork(lambda: runtime.detect(pair.canvases, **thresholds)))


# ---- examples/clients: programs written from docs/export.md alone

CLIENTS = Path(__file__).parents[2] / "examples" / "clients"
IMAGE_SIZES_HW = [(333, 501), (97, 61), (128, 192), (64, 96), (1, 200)]  # odd ones, half, the input's own, a line
BOX_PIXELS, SCORE = 0.01, 1e-5
NAMES = {inner: outer for outer, inner in INNER_NAMES.items()}


@pytest.fixture(scope="module", params=IMAGE_SIZES_HW, ids=str)
def image_file(request, tmp_path_factory) -> Path:
    """A texture as .png; beside it as .ppm."""
    file = tmp_path_factory.mktemp("image") / "texture.png"
    image = textured_canvases(1, request.param, seed=1)[0]
    for suffix in (".png", ".ppm"):
        cv2.imwrite(str(file.with_suffix(suffix)), image[..., ::-1])
    return file


@pytest.fixture
def decoded_file(file_of, tmp_path) -> Path:
    """The default file cut at its decoded boxes, which then have the names that `--outputs decoded` gives them."""
    pair = file_of("onnx, detections")
    content = with_outputs(pair.path.read_bytes(), list(NAMES), raw_names(pair.record))
    proto = onnx.load_model_from_string(content)
    for node in proto.graph.node:
        node.output[:] = [NAMES.get(name, name) for name in node.output]
    for output in proto.graph.output:
        output.name = NAMES[output.name]
    (tmp_path / "decoded.onnx").write_bytes(proto.SerializeToString())
    return tmp_path / "decoded.onnx"


def assert_printed(pair, image_file: Path, printed: str) -> None:
    """One line a detection: score, left, top, right, bottom, name."""
    (expected,) = Detector(pair.network).detect([read_image(image_file)])
    rows = [line.split(" ", 5) for line in printed.splitlines()]
    assert [row[5] for row in rows] == [pair.record.class_names[label] for label in expected.labels]
    values = np.array([[float(value) for value in row[:5]] for row in rows])
    np.testing.assert_allclose(values[:, 0], expected.scores, atol=SCORE)
    np.testing.assert_allclose(values[:, 1:], expected.boxes_xyxy, atol=BOX_PIXELS)
    assert len(rows) > 5


@pytest.mark.parametrize("client", ["with_onnxruntime", "with_opencv", "with_openvino", "with_ncnn"])
def test_a_client_in_python_without_arguments_says_its_usage(client, monkeypatch):
    monkeypatch.syspath_prepend(str(CLIENTS))
    monkeypatch.setattr(sys, "argv", [client])
    with pytest.raises(SystemExit, match=f"python {client}.py "):
        runpy.run_path(str(CLIENTS / f"{client}.py"), run_name="__main__")


@pytest.mark.parametrize(
    ("client", "file"),
    [
        ("with_onnxruntime", "onnx, detections"),
        ("with_opencv", "onnx, detections"),
        ("with_openvino", "openvino, detections"),
        ("with_ncnn", "ncnn, raw"),
    ],
)
def test_a_client_in_python_finds_what_lookonce_finds(file_of, request, image_file, client, file, monkeypatch, capsys):
    pair = file_of(file)
    model = request.getfixturevalue("decoded_file") if client == "with_opencv" else pair.path
    monkeypatch.syspath_prepend(str(CLIENTS))
    monkeypatch.setattr(sys, "argv", [client, str(model), str(image_file)])
    runpy.run_path(str(CLIENTS / f"{client}.py"), run_name="__main__")
    assert_printed(pair, image_file, capsys.readouterr().out)


@pytest.mark.slow
def test_a_client_in_javascript_finds_what_lookonce_finds(file_of, image_file):
    if not (CLIENTS / "node_modules").is_dir():
        pytest.skip("no onnxruntime-node: `npm install --ignore-scripts` in examples/clients")
    pair = file_of("onnx, detections")
    command = ["node", CLIENTS / "with_onnxruntime.mjs", pair.path, image_file.with_suffix(".ppm")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert_printed(pair, image_file, done.stdout)


@pytest.fixture(scope="module")
def client_in_cpp(tmp_path_factory) -> Path:
    """Built with the headers in $ONNXRUNTIME_INCLUDE_DIR and the library of the wheel."""
    headers = os.environ.get("ONNXRUNTIME_INCLUDE_DIR")
    if not headers or shutil.which("c++") is None:
        pytest.skip("no compiler, or no headers of ONNX Runtime: set ONNXRUNTIME_INCLUDE_DIR")
    folder = tmp_path_factory.mktemp("cpp")
    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    (folder / "libonnxruntime.so.1").symlink_to(library)
    (folder / "libonnxruntime.so").symlink_to(library)
    command = ["c++", "-std=c++17", "-O1", f"-I{headers}", CLIENTS / "with_onnxruntime.cc", f"-L{folder}"]
    subprocess.run([*command, "-lonnxruntime", f"-Wl,-rpath,{folder}", "-o", folder / "client"], check=True)
    return folder / "client"


@pytest.mark.slow
def test_a_client_in_cpp_finds_what_lookonce_finds(file_of, image_file, client_in_cpp):
    pair = file_of("onnx, detections")
    command = [client_in_cpp, pair.path, image_file.with_suffix(".ppm")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert_printed(pair, image_file, done.stdout)


@pytest.mark.slow
def test_the_client_of_opencv_runs_in_opencv_4(file_of, decoded_file, image_file):
    python = CLIENTS.parents[1] / ".venv-opencv4" / "bin" / "python"
    if not python.exists():
        pytest.skip("no OpenCV 4 here: `./run opencv4 -c 1` makes its environment")
    command = [python, CLIENTS / "with_opencv.py", decoded_file, image_file]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert_printed(file_of("onnx, detections"), image_file, done.stdout)
