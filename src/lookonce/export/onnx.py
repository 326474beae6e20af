"""Export to ONNX: preprocessing, network, decoding and non-maximum suppression in one graph.

PyTorch's exporter writes the network with its preprocessing and decoding; the selection of detections is added to that
graph as ONNX text (DETECTIONS_GRAPH), because its operators have no counterpart in PyTorch.
"""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import onnx.compose
import onnx.parser
import onnxscript
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from lookonce.config.record import ModelRecord
from lookonce.export.metadata import describe, embed, read_record
from lookonce.model.decode import decode_heads
from lookonce.runtimes.heads import to_network_input as to_array_input
from lookonce.runtimes.onnx import open_session, usable_threads
from lookonce.runtimes.pytorch import anchor_tensors, to_network_input
from lookonce.storage import write_file

Outputs = Literal["detections", "decoded", "raw"]

OPSET = 18  # what PyTorch 2.11 to 2.15 write without converting; every operator below exists in it
IR_VERSION = 10
DECODED_NAMES = ["boxes_xyxy", "scores"]
INNER_DECODED_NAMES = ["decoded_boxes_xyxy", "decoded_scores"]  # inside a graph that goes on to detections

# The same selection as model/nms.py. B pictures, N boxes, C classes; K = the best 2,000 pairs of box and class (all of
# them if fewer); D detections. TopK sorts, equal scores by index, so the order of pairs is the order of the answer.
DETECTIONS_GRAPH = """
<ir_version: 10, opset_import: ["" : 18]>
select_detections (
    float[B, N, 4] decoded_boxes_xyxy, float[B, N, C] decoded_scores,
    float score_threshold, float iou_threshold, int64 max_detections
) => (float[D, 4] boxes_xyxy, float[D] scores, int64[D] labels, int64[D] image_index)
<int64[1] at_0 = {0}, int64[1] at_1 = {1}, int64[1] at_last = {-1}, int64[1] one = {1}, int64 zero = {0},
 int64 step = {1}, int64[2] picture_and_pair = {0, 2}, int64[2] column = {-1, 1}, int64[1] most_pairs = {2000},
 float never = {-1.0}>
{
    num_pictures = Shape <start = 0, end = 1> (decoded_scores)
    num_classes = Shape <start = 2, end = 3> (decoded_scores)

    per_picture = Concat <axis = 0> (num_pictures, at_last)
    pair_scores = Reshape (decoded_scores, per_picture)
    num_pairs = Shape <start = 1, end = 2> (pair_scores)
    num_kept = Min (most_pairs, num_pairs)
    top_scores, top_pairs = TopK <axis = 1, largest = 1, sorted = 1> (pair_scores, num_kept)
    top_labels = Mod (top_pairs, num_classes)
    top_rows = Div (top_pairs, num_classes)
    top_rows_last = Unsqueeze (top_rows, at_last)
    top_boxes = GatherND <batch_dims = 1> (decoded_boxes_xyxy, top_rows_last)

    num_classes_scalar = Squeeze (num_classes, at_0)
    class_range = Range (zero, num_classes_scalar, step)
    class_column = Reshape (class_range, column)
    labels_row = Unsqueeze (top_labels, at_1)
    scores_row = Unsqueeze (top_scores, at_1)
    of_this_class = Equal (labels_row, class_column)
    class_scores = Where (of_this_class, scores_row, never)
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

    detection_columns = NonZero (is_detection)
    detection_places = Transpose <perm = [1, 0]> (detection_columns)
    boxes_xyxy = GatherND (top_boxes, detection_places)
    scores = GatherND (top_scores, detection_places)
    labels = GatherND (top_labels, detection_places)
    image_index = Gather <axis = 0> (detection_columns, zero)
}
"""


class Deployed(nn.Module):
    """The network with what surrounds it in an exported file."""

    def __init__(self, model: nn.Module, record: ModelRecord, *, outputs: Outputs, preprocess: bool) -> None:
        super().__init__()
        self.model = fold_batchnorm(model)
        self.record = record
        self.decoded_names = {"detections": INNER_DECODED_NAMES, "decoded": DECODED_NAMES, "raw": []}[outputs]
        self.preprocess = preprocess

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """images (B, H, W, 3) uint8 RGB, or (B, 3, H, W) float32 normalised -> raw heads [, boxes_xyxy, scores]."""
        pixels = to_network_input(images, self.record.preprocessing) if self.preprocess else images
        raws = self.model(pixels)
        if not self.decoded_names:
            return tuple(raws)
        anchors = anchor_tensors(self.record)
        boxes_xyxy, objectness, classes = decode_heads(raws, anchors, self.record.strides, self.record.dialect)
        return (*raws, boxes_xyxy, objectness[..., None] * classes)


def fold_batchnorm(model: nn.Module) -> nn.Module:
    """A copy on the CPU in evaluation mode whose batch normalisations are folded into the convolutions before them."""
    folded = copy.deepcopy(model).cpu().eval().requires_grad_(False)
    for block in list(folded.modules()):
        children = list(block.named_children())
        for (conv_name, conv), (norm_name, norm) in pairwise(children):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(block, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(block, norm_name, nn.Identity())
    return folded


def export_onnx(
    model: nn.Module,
    record: ModelRecord,
    path: Path,
    *,
    image_size: tuple[int, int] | None = None,
    batch: int = 0,
    outputs: Outputs = "detections",
    preprocess: bool = True,
    dynamic_size: bool = False,
) -> ModelRecord:
    """Write one self-contained .onnx file, atomically, over any file of that name; returns the record inside it.

    image_size (height, width), multiples of 32, default the record's; batch 0 takes any number of pictures at once;
    dynamic_size takes any multiple of 32. The file has not been compared with the network: export.base does that.
    """
    record = describe(
        record, image_size=image_size, versions={"torch": torch.__version__, "onnxscript": onnxscript.__version__}
    )
    network = Deployed(model, record, outputs=outputs, preprocess=preprocess)
    proto = _trace(network, record, batch=batch, dynamic_size=dynamic_size)
    if outputs == "detections":
        proto = _append_selection(proto, record)
    elif outputs == "decoded":
        _keep_outputs(proto, DECODED_NAMES)
    embed(proto, record)
    onnx.checker.check_model(proto)
    write_file(path, proto.SerializeToString())
    return record


def raw_names(record: ModelRecord) -> list[str]:
    """Names of the heads' raw tensors, in the network's order; they are in every graph, whatever its outputs."""
    return [f"raw_stride{stride}" for stride in record.strides]


def _trace(network: Deployed, record: ModelRecord, *, batch: int, dynamic_size: bool) -> onnx.ModelProto:
    height, width = record.image_size
    # Two pictures stand for "any number": the exporter takes an example of one for a constant.
    num_pictures = batch or 2
    if network.preprocess:
        example = torch.zeros((num_pictures, height, width, 3), dtype=torch.uint8)
    else:
        example = torch.zeros((num_pictures, 3, height, width))
    first_side = 1 if network.preprocess else 2
    dynamic: dict[int, object] = {0: torch.export.Dim("batch")} if batch == 0 else {}
    if dynamic_size:
        dynamic |= {
            first_side: 32 * torch.export.Dim("rows32", min=2),
            first_side + 1: 32 * torch.export.Dim("columns32", min=2),
        }
    with _quiet_exporter():
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["images"],
            output_names=raw_names(record) + network.decoded_names,
            dynamic_shapes=({**dynamic},),
            verbose=False,
        )
    assert program is not None  # dynamo=True returns a program
    return _without_traces(program.model_proto)


def _without_traces(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Without the notes that the exporter leaves on every node: stack traces with the paths of this machine."""
    for part in (proto.graph, *proto.graph.node, *proto.graph.value_info, *proto.graph.output, *proto.graph.input):
        del part.metadata_props[:]
    return proto


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """The exporter notes PyTorch's own deprecations, and that torchvision, which we do not use, is absent."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _append_selection(proto: onnx.ModelProto, record: ModelRecord) -> onnx.ModelProto:
    """Decoded boxes and scores -> detections, with thresholds that may be given and need not be."""
    selection = onnx.parser.parse_model(DETECTIONS_GRAPH)
    proto.ir_version = selection.ir_version
    joined = onnx.compose.merge_models(
        proto, selection, io_map=[(name, name) for name in INNER_DECODED_NAMES], prefix2="", outputs=None
    )
    known = record.thresholds
    joined.graph.initializer.extend(
        [
            helper.make_tensor("score_threshold", TensorProto.FLOAT, (), [known.score]),
            helper.make_tensor("iou_threshold", TensorProto.FLOAT, (), [known.iou]),
            helper.make_tensor("max_detections", TensorProto.INT64, (), [known.max_detections]),
        ]
    )
    _keep_outputs(joined, ["boxes_xyxy", "scores", "labels", "image_index"])
    return joined


def _keep_outputs(proto: onnx.ModelProto, names: list[str]) -> None:
    """Leave only these outputs, in this order; the others stay as values inside the graph."""
    outputs = {output.name: output for output in proto.graph.output}
    del proto.graph.output[:]
    proto.graph.output.extend(outputs[name] for name in names)


def raw_heads(path: Path, canvases: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
    """What the heads inside an exported file say, whatever its outputs are: one (B, A * (5 + C), H, W) a head.

    canvases (B, H, W, 3) uint8 RGB; B is a multiple of the number of pictures that the file takes at once.
    """
    proto = onnx.load_model_from_string(path.read_bytes())
    record = read_record(proto)
    names = raw_names(record)
    del proto.graph.output[:]
    proto.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    session = open_session(proto.SerializeToString(), path, threads=usable_threads())
    image = session.get_inputs()[0]
    group = image.shape[0] if isinstance(image.shape[0], int) else len(canvases)
    prepared = canvases if image.type == "tensor(uint8)" else to_array_input(canvases, record.preprocessing)
    starts = range(0, len(canvases), group)
    answers = [session.run(names, {"images": prepared[start : start + group]}) for start in starts]
    return [np.concatenate(parts) for parts in zip(*answers, strict=True)]
