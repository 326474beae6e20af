"""ONNX files that are not ours, or not whole. What they answer: tests/exporters/test_onnx.py."""

import subprocess
from contextlib import suppress

import cv2
import numpy as np
import onnx.parser
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from raised import raises

from lookonce.errors import WeightsError
from lookonce.runtimes.cpp import BUILT
from lookonce.runtimes.exported import RECORD_KEY
from lookonce.runtimes.onnx import OnnxRuntime
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord

RECORD = ModelRecord(
    dialect=DIALECTS["darknet"], class_names=("a",), category_ids=(1,), image_size=(32, 32), masks=((0,), (1,))
)
SCALES = {32: 1.0, 16: 1.0, 8: 1.0}
# What numbers, texts and JSON are made of, and what is often not expected in their place.
PIECES = (
    *'0123456789-.e"[]{},:',
    "",
    "null",
    "true",
    "1e999",
    "NaN",
    "-1",
    "2147483648",
    "18446744073709551616",
    "\0",
    "ü",
)
# Heads of one anchor and one class, 6 channels: a graph without weights that a person can see through.
RAW_GRAPH = """
<ir_version: 10, opset_import: ["" : 18]>
heads (uint8[N, 32, 32, 3] images) => (float[N, 6, 1, 1] raw_stride32, float[N, 6, 2, 2] raw_stride16)
<float[1] zero = {0.0}, int64[1] axis = {1}, int64[4] six = {1, 6, 1, 1}, int64[4] cells = {1, 6, 2, 2}>
{
    pixels = Cast <to = 1> (images)
    first = ReduceMean <keepdims = 1> (pixels)
    nothing = Mul (first, zero)
    raw_stride32 = Expand (nothing, six)
    raw_stride16 = Expand (nothing, cells)
}
"""


@pytest.fixture
def write(tmp_path):
    def write_file(text: str = RAW_GRAPH, record: str | None = RECORD.model_dump_json()):
        proto = onnx.parser.parse_model(text)
        if record is not None:
            proto.metadata_props.add(key=RECORD_KEY, value=record)
        path = tmp_path / "file.onnx"
        path.write_bytes(proto.SerializeToString())
        return path

    return write_file


def test_a_file_of_raw_heads_is_decoded_and_suppressed(write):
    runtime = OnnxRuntime(write(), threads=1)
    found = runtime.detect(np.zeros((2, 32, 32, 3), np.uint8), score_threshold=0.2, iou_threshold=0.5, max_detections=9)
    for one in found:  # logits of 0: score 0.5 * 0.5 for one box at stride 32 and the four cells at stride 16
        assert one.scores.tolist() == [0.25] * 5
        assert one.boxes_xyxy[0].tolist() == [11, 9, 21, 23]  # anchor 10 x 14 around (16, 16)


def test_two_threads_answer_as_one(write):
    path = write()
    canvases = np.zeros((5, 32, 32, 3), np.uint8)
    thresholds = {"score_threshold": 0.2, "iou_threshold": 0.5, "max_detections": 9}
    one, two = (OnnxRuntime(path, threads=threads).detect(canvases, **thresholds) for threads in (1, 2))
    assert [found.boxes_xyxy.tolist() for found in one] == [found.boxes_xyxy.tolist() for found in two]


def test_no_images_no_detections(write):
    runtime = OnnxRuntime(write(), threads=1)
    empty = np.zeros((0, 32, 32, 3), np.uint8)
    assert runtime.detect(empty, score_threshold=0.2, iou_threshold=0.5, max_detections=9) == []


def test_an_onnx_file_of_another_program_is_refused(write):
    with raises(WeightsError, "record", path="file.onnx"):
        OnnxRuntime(write(record=None))


def test_a_record_of_another_version_is_refused_by_field(write):
    with raises(WeightsError, "class_names", path="file.onnx"):
        OnnxRuntime(write(record=RECORD.model_dump_json(exclude={"class_names"})))


# Records whose values are in range, but contradict the graph: 32 x 32 pixels, one class, one anchor for each head.
CONTRADICTIONS: dict[str, dict[str, object]] = {
    "another size": {"image_size": (64, 32)},
    "too few names": {"class_names": (), "category_ids": ()},
    "too many names": {"class_names": ("a", "b"), "category_ids": (1, 2)},
    "more anchors": {"masks": ((0, 1), (2,))},
    "another stride": {"strides": (32, 8), "dialect": DIALECTS["darknet"].model_copy(update={"center_scales": SCALES})},
    "one head": {"strides": (32,), "masks": ((0,),)},
}


@pytest.mark.parametrize("changes", CONTRADICTIONS.values(), ids=list(CONTRADICTIONS))
def test_a_record_that_contradicts_the_graph_is_refused_by_python_and_cpp(write, changes, tmp_path):
    path = write(record=RECORD.model_copy(update=changes).model_dump_json())
    with raises(WeightsError, path="file.onnx"):
        OnnxRuntime(path)
    if BUILT.is_file():
        cv2.imwrite(str(tmp_path / "image.png"), np.zeros((32, 32, 3), np.uint8))
        command = [BUILT, path, tmp_path / "image.png", "--output", tmp_path / "found"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "file.onnx" in done.stderr


def test_a_graph_that_takes_no_images_is_refused(write):
    for text in (RAW_GRAPH.replace("images", "frames"), RAW_GRAPH.replace("32, 3] images", "32] images")):
        with raises(WeightsError, path="file.onnx"):
            OnnxRuntime(write(text))


@pytest.mark.parametrize("examples", [20, pytest.param(2_000, marks=pytest.mark.slow)])
def test_a_mutated_record_is_read_or_refused(write, examples):
    text = RECORD.model_dump_json()

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None)
    @given(st.integers(0, len(text)), st.sampled_from(PIECES), st.integers(0, 3))
    def check(at, put, removed):
        with suppress(WeightsError):
            OnnxRuntime(write(record=text[:at] + put + text[at + removed :]), threads=1)

    check()


def test_other_outputs_are_refused(write):
    text = RAW_GRAPH.replace("raw_stride16", "p4")
    with raises(WeightsError, "raw_stride32", "raw_stride16", path="file.onnx"):
        OnnxRuntime(write(text))


@pytest.mark.parametrize("kept", [0, 10, 400])
def test_a_truncated_file_is_refused(write, kept):
    path = write()
    path.write_bytes(path.read_bytes()[:kept])
    with raises(WeightsError, f"{kept} bytes", path=path):
        OnnxRuntime(path)


def test_a_missing_file_is_refused(tmp_path):
    with raises(WeightsError, path="none.onnx"):
        OnnxRuntime(tmp_path / "none.onnx")


def test_weights_in_another_file_are_not_followed(tmp_path):
    """A file from a stranger must not pull /etc/passwd in as its weights."""
    weight = onnx.TensorProto(data_type=onnx.TensorProto.FLOAT, dims=[1], name="w", data_location="EXTERNAL")
    weight.external_data.add(key="location", value="secret")
    proto = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 18]> g (float[1] x) => (float[1] y) { y = Add (x, w) }'
    )
    proto.graph.initializer.append(weight)
    (tmp_path / "secret").write_bytes(b"abcd")
    (tmp_path / "file.onnx").write_bytes(proto.SerializeToString())
    with raises(WeightsError, "external files", path="file.onnx"):
        OnnxRuntime(tmp_path / "file.onnx")
