"""Export to OpenVINO: the graph of the ONNX export as .xml, with its weights in a .bin beside it."""

from pathlib import Path

import onnx
from torch import nn

from lookonce.exporters.metadata import describe, read_record
from lookonce.exporters.onnx import build_onnx
from lookonce.exporters.plan import ExportPlan
from lookonce.exporters.quantised import LARGEST_WEIGHT_NNCF, quantise_openvino
from lookonce.exporters.rounding import fit_int8
from lookonce.runtimes.exported import RECORD_KEY, THRESHOLDS
from lookonce.runtimes.openvino import import_openvino
from lookonce.settings.record import ModelRecord


def write_openvino(model: nn.Module, record: ModelRecord, plan: ExportPlan, path: Path) -> None:
    """Writes PATH.xml and PATH.bin; the record is in the model's rt_info under RECORD_KEY.

    In a graph that outputs detections, the three thresholds are required inputs: OpenVINO has no default values.
    """
    openvino = import_openvino()
    if plan.precision == "int8":
        assert plan.calibration is not None
        model = fit_int8(model, record, plan.calibration, largest=LARGEST_WEIGHT_NNCF, inner_only=False).model
    proto = build_onnx(model, record, plan)
    written = describe(read_record(proto), plan, openvino=openvino.__version__)
    graph = openvino.Core().read_model(plain_graph(proto).SerializeToString())
    if plan.precision == "int8":
        graph = quantise_openvino(graph, record, plan)
    graph.set_rt_info(written.model_dump_json(), RECORD_KEY)
    openvino.save_model(graph, path, compress_to_fp16=plan.precision == "fp16")


def plain_graph(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The graph without metadata, its thresholds required: OpenVINO would turn inputs with defaults into constants."""
    changed = onnx.ModelProto()
    changed.CopyFrom(proto)
    del changed.metadata_props[:]  # which OpenVINO would store again as metadata of another framework
    kept = [initializer for initializer in changed.graph.initializer if initializer.name not in THRESHOLDS]
    del changed.graph.initializer[:]
    changed.graph.initializer.extend(kept)
    return changed
