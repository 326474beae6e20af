"""The graph of an exported .onnx file. That it answers as its network does: test_formats.py."""

import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from raised import raises

import lookonce
from lookonce.detections import Detections
from lookonce.errors import SettingsError
from lookonce.exporters.folding import fold_batchnorm
from lookonce.exporters.onnx import at_opset, build_onnx
from lookonce.exporters.plan import ExportPlan
from lookonce.model.normalise import to_network_input
from lookonce.runtimes import onnx as onnx_runtime
from lookonce.runtimes.exported import DETECTION_OUTPUTS
from lookonce.runtimes.onnx import OnnxRuntime, open_session, threshold_inputs


def assert_same(expected: list[Detections], got: list[Detections]) -> None:
    assert [len(one) for one in expected] == [len(one) for one in got]
    for one, other in zip(expected, got, strict=True):
        np.testing.assert_array_equal(other.labels, one.labels)
        np.testing.assert_allclose(other.scores, one.scores, atol=2e-6)
        np.testing.assert_allclose(other.boxes_xyxy, one.boxes_xyxy, rtol=1e-4, atol=5e-3)


def test_the_graph_takes_several_images_in_one_call(detections_file):
    content = detections_file.path.read_bytes() + threshold_inputs()
    session = open_session(content, detections_file.path, threads=1)
    boxes_xyxy, scores, labels, image_index = session.run(
        None, {"images": detections_file.canvases, "score_threshold": np.array(0.01, np.float32)}
    )
    expected = detections_file.network.detect(
        detections_file.canvases, score_threshold=0.01, iou_threshold=0.6, max_detections=300
    )
    everything = Detections(boxes_xyxy=boxes_xyxy, scores=scores, labels=labels)
    assert_same(expected, [everything.select(image_index == row) for row in range(3)])


def test_thresholds_default_to_those_of_the_record(detections_file):
    session = open_session(detections_file.path.read_bytes(), detections_file.path, threads=1)
    found = session.run(None, {"images": detections_file.canvases[:1]})
    known = detections_file.record.thresholds
    (expected,) = detections_file.network.detect(
        detections_file.canvases[:1],
        score_threshold=known.score,
        iou_threshold=known.iou,
        max_detections=known.max_detections,
    )
    assert len(found[0]) == len(expected) > 0


def test_folding_batch_normalisation_keeps_the_answers_and_the_network(detections_file):
    images = to_network_input(torch.from_numpy(detections_file.canvases), detections_file.record.preprocessing)
    folded = fold_batchnorm(detections_file.model)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in folded.modules())
    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in detections_file.model.modules())
    with torch.inference_mode():
        for raw, expected in zip(folded(images), detections_file.model(images), strict=True):
            np.testing.assert_allclose(raw, expected, atol=1e-4)


def test_the_pool_of_stride_1_repeats_the_edge(detections_file):
    nodes = onnx.load_model_from_string(detections_file.path.read_bytes()).graph.node
    (pad,) = [node for node in nodes if node.op_type == "Pad"]
    assert next(attribute.s for attribute in pad.attribute if attribute.name == "mode") == b"edge"


def test_inputs_and_outputs_are_named_and_shaped_as_documented(file_of):
    assert signature(file_of("onnx, detections")) == {
        "images": ["batch", 64, 96, 3],
        "boxes_xyxy": ["D", 4],
        "scores": ["D"],
        "labels": ["D"],
        "image_index": ["D"],
    }
    decoded = signature(file_of("onnx, decoded, two normalised pictures at once, any size"))
    assert list(decoded) == ["images", "boxes_xyxy", "scores"]
    assert [(shape[0], len(shape)) for shape in decoded.values()] == [(2, 4), (2, 3), (2, 3)]
    assert (decoded["images"][1], decoded["boxes_xyxy"][2], decoded["scores"][2]) == (3, 4, 3)
    assert list(signature(file_of("onnx, raw, any size"))) == ["images", "raw_stride32", "raw_stride16"]


def test_onnx_runtime_opens_the_file_without_a_warning(detections_file, capfd):
    session = onnxruntime.InferenceSession(detections_file.path.read_bytes())
    session.run(None, {"images": detections_file.canvases[:1]})
    assert capfd.readouterr() == ("", "")


def test_the_graph_is_signed_and_its_nodes_are_named_for_what_they_do(detections_file):
    proto = onnx.load_model_from_string(detections_file.path.read_bytes())
    assert (proto.producer_name, proto.producer_version) == ("lookonce", lookonce.__version__)
    assert proto.ir_version <= 10
    names = [node.name for node in proto.graph.node]
    assert len(set(names)) == len(names)
    parts = {name.rpartition(".")[0] for name in names}
    convolutions = {f"backbone.conv{index}" for index in range(7)}
    heads = {"neck7", "neck8", "head32", "lateral9", "neck10", "head16"}
    assert parts == {"preprocess", "backbone", *convolutions, "neck", *heads, "decode", "select_detections"}
    assert {"backbone.conv0.Conv", "neck.Resize", "select_detections.survivors"} <= set(names)


def test_thresholds_of_a_file_from_before_they_were_constants_can_still_be_set(detections_file, tmp_path):
    (tmp_path / "old.onnx").write_bytes(detections_file.path.read_bytes() + threshold_inputs())
    thresholds = {"score_threshold": 0.01, "iou_threshold": 0.6, "max_detections": 300}
    old = OnnxRuntime(tmp_path / "old.onnx").detect(detections_file.canvases, **thresholds)
    assert_same(detections_file.exported.detect(detections_file.canvases, **thresholds), old)


def test_nothing_of_the_machine_that_exported_is_in_the_file(detections_file):
    assert b"lookonce/model" not in detections_file.path.read_bytes()


def signature(pair) -> dict[str, list[int | str]]:
    graph = onnx.load_model_from_string(pair.path.read_bytes()).graph
    return {
        value.name: [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.output)
    }


@pytest.mark.parametrize(
    ("name", "opset"),
    [("onnx, detections", 20), ("onnx, detections", 15), ("onnx, packed", 13), ("onnx, raw, any size", 13)],
)
def test_another_opset_computes_the_same(file_of, name, opset):
    pair = file_of(name)
    proto = at_opset(onnx.load(pair.path), opset)
    assert proto.opset_import[0].version == opset
    assert proto.ir_version <= 10  # ONNX Runtime 1.9, of opset 15, reads 8
    feed = {"images": pair.canvases[:1]}
    found, expected = (
        open_session(content, pair.path, threads=1).run(None, feed)
        for content in (proto.SerializeToString(), pair.path.read_bytes())
    )
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "opset", "lowest"), [("onnx, detections", 14, 15), ("onnx, packed", 1, 13), ("onnx, packed", 99, 13)]
)
def test_an_opset_that_lacks_an_operator_is_told_with_those_that_do_not(file_of, name, opset, lowest):
    with raises(SettingsError, f"{lowest} to", setting="opset", value=opset):
        at_opset(onnx.load(file_of(name).path), opset)


@pytest.mark.parametrize(("outputs", "opset"), [("raw", 13), ("decoded", 15), ("packed", 13), ("detections", 15)])
def test_a_file_is_written_with_another_opset(detections_file, outputs, opset):
    plan = ExportPlan(outputs=outputs, opset=opset)
    proto = build_onnx(detections_file.model, detections_file.record, plan)
    assert proto.opset_import[0].version == opset


def test_the_bytes_of_an_opened_file_have_its_own_outputs_only(file_of) -> None:
    """The page runs them in the browser, where each output is copied for each frame."""
    content = OnnxRuntime(file_of("onnx, detections").path).content
    assert [output.name for output in onnx.load_model_from_string(content).graph.output] == list(DETECTION_OUTPUTS)


@pytest.mark.parametrize("name", ["onnx, detections", "onnx, packed", "onnx, raw, any size"])
def test_one_run_of_each_image_gives_the_heads_and_the_detections(name: str, file_of) -> None:
    pair = file_of(name)
    thresholds = {"score_threshold": 0.01, "iou_threshold": 0.6, "max_detections": 300}
    runtime = OnnxRuntime(pair.path)
    expected = runtime.raw_heads(pair.canvases), runtime.detect(pair.canvases, **thresholds)
    heads, found = OnnxRuntime(pair.path).heads_and_detections(pair.canvases, **thresholds)
    for one, other in zip(expected[0], heads, strict=True):
        np.testing.assert_array_equal(other, one)
    assert_same(expected[1], found)


def test_the_raw_heads_need_neither_the_onnx_package_nor_another_session(detections_file, monkeypatch) -> None:
    runtime = OnnxRuntime(detections_file.path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setattr(onnx_runtime, "open_session", None)
    expected = detections_file.network.raw_heads(detections_file.canvases)
    for one, other in zip(expected, runtime.raw_heads(detections_file.canvases), strict=True):
        np.testing.assert_allclose(other, one, atol=1e-4)
