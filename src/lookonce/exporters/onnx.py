"""Export to ONNX: preprocessing, network, decoding and non-maximum suppression in one graph.

onnx_graph.py writes the network with its preprocessing and decoding; the selection of detections is added to that graph
as ONNX text (DETECTIONS_GRAPH).
"""

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import onnx.version_converter
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import lookonce
from lookonce.errors import SettingsError
from lookonce.exporters.metadata import describe, embed, read_record
from lookonce.exporters.onnx_graph import IR_VERSION, OPSET, network_model
from lookonce.exporters.plan import LOWEST_OPSET, ExportPlan, highest_opset
from lookonce.exporters.quantised import LARGEST_WEIGHT_ONNX, quantise_onnx
from lookonce.exporters.rounding import fit_int8
from lookonce.runtimes.exported import THRESHOLDS, default_thresholds
from lookonce.settings.record import ModelRecord
from lookonce.storage import write_file

# The same selection as model/nms.py. B images, N boxes, C classes; K = the 2,000 highest-scoring pairs of box and class
# (or all, if fewer); D detections. TopK sorts pairs, equal scores by index, and detections keep this order.
DETECTIONS_GRAPH = """
<ir_version: 10, opset_import: ["" : 18]>
select_detections (
    float[B, N, 4] decoded_boxes_xyxy, float[B, N, C] decoded_scores,
    float score_threshold, float iou_threshold, int64 max_detections
) => (RESULT)
<int64[1] at_0 = {0}, int64[1] at_1 = {1}, int64[1] at_last = {-1}, int64[1] one = {1}, int64 zero = {0},
 int64 step = {1}, int64[2] picture_and_pair = {0, 2}, int64[2] column = {-1, 1}, int64[1] most_pairs = {2000},
 float never = {-1.0}CONSTANTS>
{
    num_images = Shape <start = 0, end = 1> (decoded_scores)
    num_classes = Shape <start = 2, end = 3> (decoded_scores)
    num_classes_scalar = Squeeze (num_classes, at_0)
    class_range = Range (zero, num_classes_scalar, step)
CANDIDATES
    per_image = Concat <axis = 0> (num_images, at_last)
    pair_scores = Reshape (candidate_scores, per_image)
    num_pairs = Shape <start = 1, end = 2> (pair_scores)
    num_kept = Min (most_pairs, num_pairs)
    top_scores, top_pairs = TopK <axis = 1, largest = 1, sorted = 1> (pair_scores, num_kept)
    top_labels = Mod (top_pairs, num_classes)
    top_rows = Div (top_pairs, num_classes)
    top_rows_last = Unsqueeze (top_rows, at_last)
    top_boxes = GatherND <batch_dims = 1> (decoded_boxes_xyxy, top_rows_last)

GROUPS
    survivors = NonMaxSuppression (top_boxes, class_scores, max_detections, iou_threshold, score_threshold)

    survivor_places = Gather <axis = 1> (survivors, picture_and_pair)
    num_survivors = Shape <start = 0, end = 1> (survivors)
    survivor_ones = Expand (one, num_survivors)
    nothing = Sub (top_labels, top_labels)
    survives = ScatterND (nothing, survivor_places, survivor_ones)
    running_count = CumSum (survives, step)
    among_the_best = LessOrEqual (running_count, max_detections)
    is_survivor = Cast <to = 9> (survives)
    is_detection = And (is_survivor, among_the_best)

ROWS
}
"""
# Results of the selection: parameters, nodes, constants of these alone. One row per detection of the batch:
LISTED = (
    "float[D, 4] boxes_xyxy, float[D] scores, int64[D] labels, int64[D] image_index",
    """
    detection_columns = NonZero (is_detection)
    detection_places = Transpose <perm = [1, 0]> (detection_columns)
    boxes_xyxy = GatherND (top_boxes, detection_places)
    scores = GatherND (top_scores, detection_places)
    labels = GatherND (top_labels, detection_places)
    image_index = Gather <axis = 0> (detection_columns, zero)
""",
    "",
)
# or D rows per image, D = min(max_detections, K), for servers that split outputs by the batch dimension:
PADDED = (
    "int64[B, E] num_detections, float[B, D, 4] boxes_xyxy, float[B, D] scores, int64[B, D] labels",
    """
    detection_scores = Where (is_detection, top_scores, never)
    most_rows = Unsqueeze (max_detections, at_0)
    num_rows = Min (most_rows, num_kept)
    row_scores, row_places = TopK <axis = 1, largest = 1, sorted = 1> (detection_scores, num_rows)
    row_is_detection = GreaterOrEqual (row_scores, nought)
    row_counts = Cast <to = 7> (row_is_detection)
    num_detections = ReduceSum <keepdims = 1> (row_counts, at_1)
    scores = Where (row_is_detection, row_scores, nought)
    row_places_last = Unsqueeze (row_places, at_last)
    row_labels = GatherND <batch_dims = 1> (top_labels, row_places_last)
    labels = Where (row_is_detection, row_labels, at_last)
    row_boxes = GatherND <batch_dims = 1> (top_boxes, row_places_last)
    row_is_detection_last = Unsqueeze (row_is_detection, at_last)
    boxes_xyxy = Where (row_is_detection_last, row_boxes, nought)
""",
    ", float nought = {0.0}",
)
# Decoded boxes and scores in one array, as programs for newer YOLO networks expect them.
PACKED_GRAPH = """
<ir_version: 10, opset_import: ["" : 18]>
pack (float[B, N, 4] decoded_boxes_xyxy, float[B, N, C] decoded_scores) => (float[B, D, N] predictions)
<float half = {0.5}, int64[2] two_each = {2, 2}>
{
    left_top, right_bottom = Split <axis = 2> (decoded_boxes_xyxy, two_each)
    corner_sums = Add (left_top, right_bottom)
    centers = Mul (corner_sums, half)
    sizes = Sub (right_bottom, left_top)
    rows = Concat <axis = 2> (centers, sizes, decoded_scores)
    predictions = Transpose <perm = [0, 2, 1]> (rows)
}
"""

# NMS runs over each row of class_scores (B, C, K). Agnostic: one row for all classes, (B, 1, K).
PER_CLASS = """
    class_column = Reshape (class_range, column)
    labels_row = Unsqueeze (top_labels, at_1)
    scores_row = Unsqueeze (top_scores, at_1)
    of_this_class = Equal (labels_row, class_column)
    class_scores = Where (of_this_class, scores_row, never)
"""
AGNOSTIC = """
    class_scores = Unsqueeze (top_scores, at_1)
"""
# Without multi_label: only the highest score of each box, the first of equal ones.
BEST_CLASS = """
    best_labels = ArgMax <axis = 2, keepdims = 1> (decoded_scores)
    is_best = Equal (best_labels, class_range)
    candidate_scores = Where (is_best, decoded_scores, never)
"""


def write_onnx(model: nn.Module, record: ModelRecord, plan: ExportPlan, path: Path) -> None:
    """Writes one self-contained .onnx file, atomically. exporters.base compares it with the network."""
    proto = _in_int8(model, record, plan) if plan.precision == "int8" else build_onnx(model, record, plan)
    if plan.precision == "fp16":
        halve_weights(proto)
    # The thresholds become constants: ONNX Runtime would warn of each input that has a default. OnnxRuntime adds the
    # inputs again.
    kept = [value for value in proto.graph.input if value.name not in THRESHOLDS]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)
    proto.producer_name, proto.producer_version, proto.graph.name = "lookonce", lookonce.__version__, "yolov3_tiny"
    proto.ir_version = IR_VERSION
    onnx.checker.check_model(proto)
    write_file(path, proto.SerializeToString())


def _in_int8(model: nn.Module, record: ModelRecord, plan: ExportPlan) -> onnx.ModelProto:
    assert plan.calibration is not None
    fitted = fit_int8(model, record, plan.calibration, largest=LARGEST_WEIGHT_ONNX, inner_only=True)
    proto = build_onnx(fitted.model, record, plan)
    described = read_record(proto)
    proto = quantise_onnx(proto, record, plan, fitted.output_ranges)
    del proto.metadata_props[:]
    embed(proto, described)
    return proto


def halve_weights(proto: onnx.ModelProto) -> None:
    """Stores the convolution weights as float16; the network still computes in float32.

    A runtime casts the weights back once, when it loads the file; CPUs do not compute faster in float16.
    """
    for place, tensor in enumerate(proto.graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or len(tensor.dims) != 4:
            continue
        name = tensor.name
        halved = numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), f"{name}_float16")
        proto.graph.initializer[place].CopyFrom(halved)
        cast = helper.make_node("Cast", [halved.name], [name], name=f"{name}_float32", to=TensorProto.FLOAT)
        proto.graph.node.insert(0, cast)


def build_onnx(model: nn.Module, record: ModelRecord, plan: ExportPlan) -> onnx.ModelProto:
    """The graph with its record, in float32; one that outputs detections has its thresholds as optional inputs."""
    proto = network_model(model, record, plan)
    if plan.outputs in ("detections", "padded"):
        selection, padded = record.thresholds.selection(None, None), plan.outputs == "padded"
        _append(proto, selection_graph(**selection, padded=padded))
        for name, value in default_thresholds(record).items():
            tensor = numpy_helper.from_array(value, name)
            proto.graph.initializer.append(tensor)
            proto.graph.input.append(helper.make_tensor_value_info(name, tensor.data_type, ()))
    elif plan.outputs == "packed":
        _append(proto, PACKED_GRAPH)
    if plan.opset not in (0, OPSET):
        proto = at_opset(onnx.shape_inference.infer_shapes(proto), plan.opset)  # its check wants the outputs' shapes
    embed(proto, describe(record, plan, onnx=onnx.__version__))
    return onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True)


def at_opset(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The graph with the operators of another opset. SettingsError if it has operators that the opset lacks."""
    try:
        if opset > OPSET:
            return onnx.version_converter.convert_version(proto, opset)
        return _declared(proto, opset)
    except Exception as error:  # ONNX's converter raises errors without a base class of its own
        lowest = next(known for known in range(LOWEST_OPSET, OPSET + 1) if _is_valid(proto, known))
        expected = f"expected {lowest} to {highest_opset()} for these outputs"
        raise SettingsError.of("opset", opset, expected) from error


def _declared(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """The graph under an earlier opset, and the earliest IR version with it, which older runtimes need. Our operators
    mean the same in each that has them; ONNX's converter has no way back for Pad and Split. ValidationError if not."""
    declared = onnx.ModelProto()
    declared.CopyFrom(proto)
    declared.opset_import[0].version = opset
    declared.ir_version = helper.find_min_ir_version_for(declared.opset_import)
    onnx.checker.check_model(declared, full_check=True)
    return declared


def _is_valid(proto: onnx.ModelProto, opset: int) -> bool:
    try:
        _declared(proto, opset)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError):
        return False
    return True


def selection_graph(*, multi_label: bool, agnostic: bool = False, padded: bool = False) -> str:
    """Decoded boxes and scores -> detections, as ONNX text."""
    result, rows, constants = PADDED if padded else LISTED
    graph = DETECTIONS_GRAPH.replace("GROUPS", AGNOSTIC if agnostic else PER_CLASS)
    graph = graph.replace("RESULT", result).replace("ROWS", rows).replace("CONSTANTS", constants)
    if multi_label:
        return graph.replace("CANDIDATES", "").replace("candidate_scores", "decoded_scores")
    return graph.replace("CANDIDATES", BEST_CLASS)


def _append(proto: onnx.ModelProto, text: str) -> None:
    """Appends a graph, as ONNX text, that takes decoded boxes and scores; its outputs take their place."""
    appended = onnx.parser.parse_model(text).graph
    for node in appended.node:
        node.name = f"{appended.name}.{node.output[0]}"
    proto.graph.node.extend(appended.node)
    proto.graph.initializer.extend(appended.initializer)
    proto.graph.value_info.extend(proto.graph.output)
    del proto.graph.output[:]
    proto.graph.output.extend(appended.output)


def suffix_outputs(path: Path, suffix: str) -> None:
    """Puts `suffix` after the names of the outputs of an .onnx file, for a client that looks for names of its own."""
    proto = onnx.load_model_from_string(path.read_bytes())
    for output in proto.graph.output:
        proto.graph.node.append(helper.make_node("Identity", [output.name], [f"{output.name}{suffix}"]))
        output.name = f"{output.name}{suffix}"
    onnx.checker.check_model(proto)
    write_file(path, proto.SerializeToString())
