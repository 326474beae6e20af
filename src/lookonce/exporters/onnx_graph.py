"""The network as an ONNX graph, from the table of its steps, with preprocessing before it and decoding after it."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from lookonce.exporters.folding import fold_batchnorm
from lookonce.exporters.plan import ExportPlan
from lookonce.model.layers import INPUT, Step, steps_of_record
from lookonce.runtimes.exported import DECODED_OUTPUTS, INNER_NAMES, raw_names
from lookonce.settings.dialects import Dialect
from lookonce.settings.record import ModelRecord, Preprocessing

OPSET = 18  # the oldest one that has every operator here and in exporters/onnx.py
IR_VERSION = 10  # ONNX Runtime 1.18 and later read it


class Graph:
    """Nodes in the order of execution, named after part and operator: backbone.conv0.Conv, decode.Mul, decode.Mul_2."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[TensorProto] = []
        self._counts: Counter[str] = Counter()

    def add(
        self, name: str, *inputs: str | NDArray[Any] | np.generic, outputs: Sequence[str] = (), **attributes: Any
    ) -> str:
        """Adds the node PART.OPERATOR; returns its first output, by default of the same name.

        inputs: names of values, or arrays, which become constants.
        """
        self._counts[name] += 1
        unique = name if self._counts[name] == 1 else f"{name}_{self._counts[name]}"
        names = list[str]()
        for place, given in enumerate(inputs):
            names.append(given if isinstance(given, str) else f"{unique}.{place}")
            if not isinstance(given, str):
                self.constants.append(numpy_helper.from_array(np.asarray(given), names[-1]))
        made = list(outputs) or [unique]
        self.nodes.append(helper.make_node(name.rpartition(".")[2], names, made, name=unique, **attributes))
        return made[0]


def network_model(model: nn.Module, record: ModelRecord, plan: ExportPlan) -> onnx.ModelProto:
    """Outputs: the raw heads, or decoded boxes and scores, under their inner names if the plan goes on from there."""
    graph = Graph()
    folded = {name: value.numpy() for name, value in fold_batchnorm(model).state_dict().items()}
    graph.constants += [numpy_helper.from_array(value, name) for name, value in folded.items()]
    height, width = ("height", "width") if plan.dynamic_size else record.image_size
    batch = plan.batch or "batch"
    if plan.preprocess:
        images = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, (batch, height, width, 3))
    else:
        images = helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, (batch, 3, height, width))
    _add_network(graph, _add_preprocessing(graph, record.preprocessing) if plan.preprocess else INPUT, record)
    outputs = raw_names(record)
    if plan.outputs != "raw":
        outputs = DECODED_OUTPUTS if plan.outputs == "decoded" else tuple(INNER_NAMES.values())
        # As model/decode.py.
        heads = [_add_head(graph, head, record, dynamic_size=plan.dynamic_size) for head in range(len(record.strides))]
        for name, parts in zip(outputs, zip(*heads, strict=True), strict=True):
            graph.add("decode.Concat", *parts, outputs=[name], axis=1)
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            "yolov3_tiny",
            [images],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )


def _add_preprocessing(graph: Graph, preprocessing: Preprocessing) -> str:
    """model/normalise.py: (B, H, W, 3) uint8 RGB -> (B, 3, H, W) float32."""
    planes = graph.add("preprocess.Transpose", INPUT, perm=[0, 3, 1, 2])
    pixels = graph.add("preprocess.Div", graph.add("preprocess.Cast", planes, to=TensorProto.FLOAT), np.float32(255))
    if preprocessing.color_order == "BGR":
        pixels = graph.add("preprocess.Gather", pixels, np.array([2, 1, 0]), axis=1)
    mean, std = (np.array(three, np.float32).reshape(3, 1, 1) for three in (preprocessing.mean, preprocessing.std))
    if mean.any() or (std != 1).any():
        pixels = graph.add("preprocess.Div", graph.add("preprocess.Sub", pixels, mean), std)
    return pixels


def _add_network(graph: Graph, pixels: str, record: ModelRecord) -> None:
    """The steps of model/layers.py; the heads have their raw names."""
    steps = steps_of_record(record)
    readers = Counter(name for step in steps for name in step.inputs)
    pools = [step for step in steps if step.kind == "max pool"]
    halved = {step.inputs[0] for step in pools if step.stride == 2 and readers[step.inputs[0]] == 1}
    values, heads = {INPUT: pixels}, iter(raw_names(record))
    for step in steps:
        inputs = [values[name] for name in step.inputs]
        if step.kind == "conv" and step.activation:
            value = _add_block(graph, inputs[0], step, then_pool=step.name in halved)
        elif step.kind == "conv":
            value = _add_convolution(graph, inputs[0], step, step.module, outputs=[next(heads)])
        elif step.kind == "upsample":
            scales = np.array([1, 1, 2, 2], np.float32)
            how = {"mode": "nearest", "coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
            value = graph.add("neck.Resize", *inputs, "", scales, **how)
        elif step.kind == "concat":
            value = graph.add("neck.Concat", *inputs, axis=1)
        else:
            value = inputs[0] if step.inputs[0] in halved else _add_pool(graph, inputs[0], step.stride, record.dialect)
        values[step.name] = value


def _add_block(graph: Graph, value: str, step: Step, *, then_pool: bool) -> str:
    """ConvBlock of model/backbone.py, with its order of max pool and activation."""
    value = _add_convolution(graph, value, step, f"{step.module}.conv")
    if then_pool and step.activation != "silu":
        value = _add_max_pool(graph, step.module, value, stride=2)
    if step.activation == "silu":
        value = graph.add(f"{step.module}.Mul", value, graph.add(f"{step.module}.Sigmoid", value))
        return _add_max_pool(graph, step.module, value, stride=2) if then_pool else value
    if step.activation == "relu":
        return graph.add(f"{step.module}.Relu", value)
    return graph.add(f"{step.module}.LeakyRelu", value, alpha=0.1)


def _add_convolution(graph: Graph, value: str, step: Step, layer: str, outputs: Sequence[str] = ()) -> str:
    """layer: of the PyTorch network, whose weights are constants already."""
    sides, pads = [step.kernel] * 2, [step.kernel // 2] * 4
    weights = (f"{layer}.weight", f"{layer}.bias")
    name = f"{step.module}.Conv"
    return graph.add(name, value, *weights, outputs=outputs, kernel_shape=sides, pads=pads, strides=[1, 1])


def _add_pool(graph: Graph, value: str, stride: int, dialect: Dialect) -> str:
    """A max pool that others than one convolution read; of stride 1, the padding of its right and lower edge first."""
    if stride == 1:
        mode = "edge" if dialect.pool_edge == "repeat" else "constant"
        value = graph.add("backbone.Pad", value, np.array([0, 0, 0, 0, 0, 0, 1, 1]), mode=mode)
    return _add_max_pool(graph, "backbone", value, stride=stride)


def _add_max_pool(graph: Graph, part: str, value: str, *, stride: int) -> str:
    return graph.add(f"{part}.MaxPool", value, kernel_shape=[2, 2], strides=[stride] * 2)


def _add_head(graph: Graph, head: int, record: ModelRecord, *, dynamic_size: bool) -> tuple[str, str]:
    """Raw map of a head -> boxes_xyxy (B, n, 4) and scores (B, n, C)."""
    raw, stride, size_rule = raw_names(record)[head], record.strides[head], record.dialect.size_rule
    scale = np.float32(record.dialect.center_scales[stride])
    parts = [f"{part}_stride{stride}" for part in ("center", "size", "objectness", "classes")]
    channels = np.array([2, 2, 1, record.num_classes])
    by_cell = graph.add("decode.Transpose", raw, perm=[0, 2, 3, 1])
    logits = graph.add("decode.Reshape", by_cell, np.array([0, -1, channels.sum()]))
    graph.add("decode.Split", logits, channels, outputs=parts, axis=2)
    center, size, objectness, classes = parts
    cells, anchors_wh = _add_cells_and_anchors(graph, head, record, dynamic_size=dynamic_size)
    in_cell = graph.add("decode.Sigmoid", center)
    if scale != 1:
        in_cell = graph.add("decode.Sub", graph.add("decode.Mul", in_cell, scale), (scale - 1) / 2)
    centers = graph.add("decode.Mul", graph.add("decode.Add", in_cell, cells), np.float32(stride))
    if size_rule == "square":
        root = graph.add("decode.Mul", graph.add("decode.Sigmoid", size), np.float32(2))
        factor = graph.add("decode.Mul", root, root)
    else:
        factor = graph.add("decode.Exp", graph.add("decode.Clip", size, "", np.float32(10)))
    half = graph.add("decode.Div", graph.add("decode.Mul", factor, anchors_wh), np.float32(2))
    corners = graph.add("decode.Sub", centers, half), graph.add("decode.Add", centers, half)
    probabilities = graph.add("decode.Sigmoid", objectness), graph.add("decode.Sigmoid", classes)
    return graph.add("decode.Concat", *corners, axis=2), graph.add("decode.Mul", *probabilities)


def _add_cells_and_anchors(
    graph: Graph, head: int, record: ModelRecord, *, dynamic_size: bool
) -> tuple[str | NDArray[np.float32], str | NDArray[np.float32]]:
    """Column and row, and anchor in pixels, of each box of a head, each (n, 2); constants, if the size is fixed."""
    anchors_wh = np.array(record.head_anchors(head), np.float32)
    if not dynamic_size:
        rows, columns = (side // record.strides[head] for side in record.image_size)
        places = np.argwhere(np.ones((rows, columns, len(anchors_wh))))  # row, column, anchor
        return places[:, 1::-1].astype(np.float32), anchors_wh[places[:, 2]]
    size = graph.add("decode.Shape", raw_names(record)[head], start=2, end=4)
    shape = graph.add("decode.Concat", size, np.array([len(anchors_wh)]), axis=0)
    ones = graph.add("decode.ConstantOfShape", shape, value=numpy_helper.from_array(np.ones(1, np.float32)))
    places_of = graph.add("decode.NonZero", ones)  # (3, n)
    cells = graph.add("decode.Transpose", graph.add("decode.Gather", places_of, np.array([1, 0]), axis=0), perm=[1, 0])
    rows_of = graph.add("decode.Gather", places_of, np.int64(2), axis=0)
    return graph.add("decode.Cast", cells, to=TensorProto.FLOAT), graph.add("decode.Gather", anchors_wh, rows_of)
