"""The record travels inside an exported file."""

import onnx
from raised import raises

import lookonce
from lookonce.errors import WeightsError
from lookonce.exporters.metadata import describe, embed, read_record
from lookonce.exporters.plan import ExportPlan
from lookonce.runtimes.exported import RECORD_KEY
from lookonce.runtimes.onnx import OnnxRuntime
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord, Thresholds

RECORD = ModelRecord(
    dialect=DIALECTS["mindspore"],
    class_names=("Erythrozyt", "白血球", 'a "b"'),
    category_ids=(7, 1, 90),
    thresholds=Thresholds(score=0.3, per_class_score={"白血球": 0.5}),
    settings={"lr": 0.01},
    metrics={"AP": 0.5},
)


def test_the_record_comes_back_as_it_was():
    model = onnx.ModelProto()
    embed(model, RECORD)
    assert read_record(onnx.load_model_from_string(model.SerializeToString())) == RECORD


def test_a_second_record_replaces_the_first_and_nothing_else():
    model = onnx.ModelProto()
    model.metadata_props.add(key="author", value="someone")
    embed(model, RECORD)
    embed(model, RECORD.model_copy(update={"image_size": (64, 64)}))
    assert [entry.key for entry in model.metadata_props] == ["author", RECORD_KEY]
    assert read_record(model).image_size == (64, 64)


def test_a_file_says_who_wrote_it():
    described = describe(RECORD, ExportPlan(precision="fp16"), torch="2.11")
    assert described.versions == {"lookonce": lookonce.__version__, "torch": "2.11"}
    assert described.precision == "fp16"
    assert described.class_names == RECORD.class_names


def test_a_real_file_carries_it(detections_file):
    assert detections_file.exported.record.class_names == detections_file.record.class_names
    assert set(detections_file.exported.record.versions) == {"lookonce", "onnx"}


def test_a_graph_of_detections_with_another_record_is_refused(detections_file, tmp_path):
    record = detections_file.record
    names, ids = record.class_names[1:], record.category_ids[1:]
    wrong = {
        "classes": {"class_names": names, "category_ids": ids},
        "size": {"image_size": (record.image_size[0] * 2, record.image_size[1])},
        "heads": {"strides": (32,), "masks": (record.masks[0],)},
    }
    for name, update in wrong.items():
        model = onnx.load(detections_file.path)
        embed(model, record.model_copy(update=update))
        onnx.save(model, tmp_path / f"{name}.onnx")
        with raises(WeightsError, path=f"{name}.onnx"):
            OnnxRuntime(tmp_path / f"{name}.onnx")
