"""INT8 quantisation: activation ranges are measured on a calibration set, weights are quantised per channel.

In the ONNX graph the first convolution and the heads stay in float32. With ONNX Runtime's plain rounding the two heads
cost four points of AP on a narrow network (.407 against .446; float32 has .452). The first convolution has three input
channels, for which int8 gains no time (52 ms against 53, float32 87). For OpenVINO NNCF quantises all of them.

Measured on the COCO network with 281 labelled images of val2017, which float32 scores with AP .2041: noise in the raw
logits of 12 of them, and AP:
                                                                     ONNX              OpenVINO
  before                                                             0.250  .1979      0.175  .1969
  weights from exporters/rounding.py; ranges of convolution outputs  0.115  .2010      -
  and the first convolution in float32                               0.101  .2064
  weights from exporters/rounding.py, asymmetric ranges (MIXED)                        0.097  .2068
NNCF's bias correction took two minutes and is left out, since rounding.py corrects the biases.

Weights have seven bits, -64..64, so that a file gives the same outputs on every CPU. An x86 CPU without VNNI adds pairs
of products in 16 bits (vpmaddubsw): 2 * 255 * 127 = 64,770 saturates at 32,767, while 2 * 255 * 64 = 32,640 never does.
Measured on an AMD EPYC with AVX2, ONNX Runtime 1.32, the COCO network: noise in the raw logits with min-max ranges, and
time as a fraction of float32's:
  u8 activations, 8-bit weights    0.45 (0.21 by exact arithmetic)    0.66
  s8 activations, 8-bit weights    identical to the last bit: ONNX Runtime converts them to u8 there
  u8 activations, 7-bit weights    0.27, which is exact               0.64
  8-bit weights, session.x64quantprecision = 1 (exact, 16-bit products)    0.21    0.88
The last is an option of the session and not of the file, so other programs would still give different outputs.
"""

import io
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stdout
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from lookonce.exporters.plan import ExportPlan
from lookonce.model.decode_numpy import to_network_input
from lookonce.runtimes.exported import default_thresholds, raw_names
from lookonce.runtimes.onnx import onnxruntime
from lookonce.settings.record import ModelRecord
from lookonce.storage import temporary_folder

# Operators in int8, so that data between convolutions stay int8 too; preprocessing, decoding and NMS stay float32.
QUANTISED_OPERATORS = ["Conv", "LeakyRelu", "Relu", "MaxPool", "Concat", "Resize", "Pad"]
LARGEST_WEIGHT_ONNX, LARGEST_WEIGHT_NNCF = 64, 63  # of 7 bits, as both quantisers scale them
ERRORS_ONLY, ONNXRUNTIME_WARNINGS = 3, 2


def quantise_onnx(
    proto: onnx.ModelProto, record: ModelRecord, plan: ExportPlan, output_ranges: dict[str, tuple[float, float]]
) -> onnx.ModelProto:
    """The graph with its network in int8 (QDQ format, which every runtime maps to its own kernels).

    output_ranges: module of a convolution -> range of its output, in place of that which ONNX Runtime finds.
    """
    from onnxruntime import quantization

    network = nodes_before(proto, raw_names(record))
    second = [place for place, node in enumerate(network) if node.op_type == "Conv"][1]
    in_int8 = [node for node in network[second:] if node.op_type in QUANTISED_OPERATORS]
    inputs = iter(calibration_inputs(record, plan))

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> dict[str, NDArray[Any]] | None:
            return next(inputs, None)

    onnxruntime.set_default_logger_severity(ERRORS_ONLY)
    try:
        with temporary_folder() as folder, _quiet_root_logger():
            path = folder / "quantised.onnx"
            quantization.quantize_static(
                proto,
                path,
                Reader(),
                quant_format=quantization.QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                # Ranges are means over the images, as in NNCF. With min-max ranges one odd image widens all of them:
                # noise 0.27 against 0.18 on the COCO network with 128 images, 0.129 against 0.120 on aix2022's with 26.
                extra_options={"CalibMovingAverage": True, "TensorQuantOverrides": _overrides(in_int8, output_ranges)},
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
                op_types_to_quantize=QUANTISED_OPERATORS,
                nodes_to_quantize=[node.name for node in in_int8 if not set(node.output) & set(raw_names(record))],
            )
            return onnx.load_model_from_string(path.read_bytes())
    finally:
        onnxruntime.set_default_logger_severity(ONNXRUNTIME_WARNINGS)


def quantise_openvino(graph: Any, record: ModelRecord, plan: ExportPlan) -> Any:
    """The OpenVINO model with its network in int8."""
    # nncf makes PyTorch look for a CUDA compiler, and PyTorch warns if there is none.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    import nncf

    nncf.set_log_level(logging.ERROR)
    given = default_thresholds(record) if plan.outputs == "detections" else {}
    inputs = [{**one, **given} for one in calibration_inputs(record, plan)]
    ignored = nncf.IgnoredScope(names=operations_after(graph, raw_names(record)), validate=False)
    # nncf prints a progress bar, hence the redirect. It compiles, hence the thread: see runtimes/openvino.py.
    with redirect_stdout(io.StringIO()), ThreadPoolExecutor(1) as aside:
        return aside.submit(
            nncf.quantize,
            graph,
            nncf.Dataset(inputs),
            subset_size=len(inputs),
            ignored_scope=ignored,
            preset=nncf.QuantizationPreset.MIXED,
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                overflow_fix=nncf.OverflowFix.ENABLE, disable_bias_correction=True
            ),
        ).result()


def calibration_inputs(record: ModelRecord, plan: ExportPlan) -> Iterator[dict[str, NDArray[Any]]]:
    """The calibration images as inputs of the graph, in batches of its batch size; a last partial batch is dropped."""
    assert plan.calibration is not None
    at_once = plan.batch or 1
    for start in range(0, len(plan.calibration) - at_once + 1, at_once):
        canvases = plan.calibration[start : start + at_once]
        yield {"images": canvases if plan.preprocess else to_network_input(canvases, record.preprocessing)}


def nodes_before(proto: onnx.ModelProto, names: tuple[str, ...]) -> list[onnx.NodeProto]:
    """The nodes that compute these values, and all nodes before them, in the order of the graph."""
    wanted, found = set(names), []
    for node in reversed(proto.graph.node):  # a value comes before the nodes that use it
        if wanted.intersection(node.output):
            found.append(node)
            wanted.update(node.input)
    return found[::-1]


def _overrides(
    nodes: list[onnx.NodeProto], output_ranges: dict[str, tuple[float, float]]
) -> dict[str, list[dict[str, NDArray[np.float32]]]]:
    """Output of each convolution of an activation -> its range, as ONNX Runtime's quantiser takes it."""
    by_weight = {f"{module}.weight": np.array(bounds, np.float32) for module, bounds in output_ranges.items()}
    return {
        node.output[0]: [dict(zip(("rmin", "rmax"), by_weight[node.input[1]], strict=True))]
        for node in nodes
        if node.op_type == "Conv" and node.input[1] in by_weight
    }


def operations_after(graph: Any, names: tuple[str, ...]) -> list[str]:
    """Names of the operations that do not contribute to these values."""
    operations = graph.get_ordered_ops()
    before = {
        operation.get_friendly_name()
        for operation in operations
        if any(set(port.names) & set(names) for port in operation.outputs())
    }
    for operation in reversed(operations):
        if operation.get_friendly_name() in before:
            before.update(value.get_node().get_friendly_name() for value in operation.input_values())
    kept_as_they_are = {"Parameter", "Result", "Constant"}
    return [
        operation.get_friendly_name()
        for operation in operations
        if operation.get_friendly_name() not in before and operation.get_type_name() not in kept_as_they_are
    ]


@contextmanager
def _quiet_root_logger() -> Iterator[None]:
    """Silences the quantiser's advice to preprocess the graph: the batch normalisations are folded already. A handler
    that its messages have added would repeat each line of our log."""
    logger = logging.getLogger()
    level, handlers = logger.level, logger.handlers[:]
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.handlers[:] = handlers
