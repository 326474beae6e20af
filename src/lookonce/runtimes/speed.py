"""Measures the network's latency on this machine before training, with the packages of the base install.

The measured network has random weights: ONNX Runtime's latency does not depend on them. This module writes its ONNX
file as protobuf fields, because the package `onnx` and PyTorch belong to the extra `train`.
Source of the field numbers: onnx/onnx.proto3.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession

from lookonce.cores import usable_threads
from lookonce.runtimes.onnx import open_session
from lookonce.runtimes.protobuf import as_field
from lookonce.settings.record import FULL_CHANNELS

_MEASURED_SIZES = (320, 480, 640)
_REPEATS = 4
_FLOAT, _INT64 = 1, 7  # TensorProto.DataType
_ATTRIBUTE_FLOAT, _ATTRIBUTE_INT, _ATTRIBUTE_STRING, _ATTRIBUTE_INTS = 1, 2, 3, 7
_LEAKY_SLOPE = 0.1


def milliseconds_by_size(sizes: Sequence[int], num_classes: int) -> dict[int, float]:
    """Image size -> latency in ms of one image: the full-width network alone, on all cores.

    Measured at _MEASURED_SIZES and interpolated by the number of pixels. The sizes alternate, so that load from another
    program affects all of them, and the minimum of _REPEATS rounds is used. Takes about a second.
    """
    session = open_session(network_bytes(num_classes), Path("the network's graph"), usable_threads())
    rounds = [[_milliseconds(session, size) for size in _MEASURED_SIZES] for _ in range(1 + _REPEATS)]
    best = np.min(rounds[1:], axis=0)  # the first allocates the memory for each size
    pixels = [size * size for size in _MEASURED_SIZES]
    return {size: float(np.interp(size * size, pixels, best)) for size in sizes}


def _milliseconds(session: InferenceSession, size: int) -> float:
    image = np.zeros((1, 3, size, size), np.float32)
    start = time.perf_counter()
    session.run(None, {"images": image})
    return 1000 * (time.perf_counter() - start)


def network_bytes(num_classes: int, channels: Sequence[int] = FULL_CHANNELS) -> bytes:
    """YOLOv3-Tiny with random weights as an ONNX file: images (1, 3, H, W) -> raw_stride32, raw_stride16."""
    graph = _Graph()
    x, inputs = "images", 3
    for index in range(7):
        if index == 5:
            stride_16 = x
        if 1 <= index <= 5:
            x = graph.add("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2])
        if index == 6:
            x = graph.add("MaxPool", [x], kernel_shape=[2, 2], strides=[1, 1], pads=[0, 0, 1, 1])
        x = graph.block(x, inputs, channels[index], 3)
        inputs = channels[index]
    outputs = 3 * (5 + num_classes)
    shared = graph.block(x, channels[6], channels[7], 1)
    head_32 = graph.convolution(graph.block(shared, channels[7], channels[8], 3), channels[8], outputs, 1)
    lateral = graph.block(shared, channels[7], channels[9], 1)
    graph.initializer("scales", np.array([1, 1, 2, 2], np.float32))
    places = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    larger = graph.add("Resize", [lateral, "", "scales"], mode="nearest", **places)
    joined = graph.add("Concat", [larger, stride_16], axis=1)
    neck = graph.block(joined, channels[9] + channels[4], channels[10], 3)
    head_16 = graph.convolution(neck, channels[10], outputs, 1)
    return graph.model([head_32, head_16])


class _Graph:
    """Builds an ONNX file; each part is serialized when it is added."""

    def __init__(self) -> None:
        self._nodes: list[bytes] = []
        self._initializers: list[bytes] = []
        self._generator = np.random.default_rng(0)

    def block(self, x: str, inputs: int, outputs: int, kernel: int) -> str:
        """A convolution with folded BatchNorm, and LeakyReLU."""
        return self.add("LeakyRelu", [self.convolution(x, inputs, outputs, kernel)], alpha=_LEAKY_SLOPE)

    def convolution(self, x: str, inputs: int, outputs: int, kernel: int) -> str:
        number = len(self._nodes)
        scale = np.float32(
            np.sqrt(2 / (inputs * kernel * kernel))
        )  # He initialization: activations keep a realistic range
        weights = self._generator.standard_normal((outputs, inputs, kernel, kernel), np.float32) * scale
        self.initializer(f"weights{number}", weights)
        self.initializer(f"bias{number}", np.zeros(outputs, np.float32))
        pads = [kernel // 2] * 4
        return self.add("Conv", [x, f"weights{number}", f"bias{number}"], kernel_shape=[kernel, kernel], pads=pads)

    def add(self, operator: str, inputs: Sequence[str], **attributes: float | str | Sequence[int]) -> str:
        """NodeProto: input 1, output 2, op_type 4, attribute 5. Returns the name of the output."""
        output = f"x{len(self._nodes)}"
        fields = [as_field(1, name.encode()) for name in inputs] + [as_field(2, output.encode())]
        fields += [as_field(4, operator.encode())] + [as_field(5, _attribute(*item)) for item in attributes.items()]
        self._nodes.append(b"".join(fields))
        return output

    def initializer(self, name: str, values: NDArray[np.float32]) -> None:
        """TensorProto: dims 1, data_type 2, name 8, raw_data 9."""
        dims = b"".join(as_field(1, length) for length in values.shape)
        raw = values.astype("<f4").tobytes()
        self._initializers.append(dims + as_field(2, _FLOAT) + as_field(8, name.encode()) + as_field(9, raw))

    def model(self, outputs: Sequence[str]) -> bytes:
        """ModelProto: ir_version 1, graph 7, opset_import 8.

        GraphProto: node 1, name 2, initializer 5, input 11, output 12.
        """
        graph = b"".join(as_field(1, node) for node in self._nodes) + as_field(2, b"network")
        graph += b"".join(as_field(5, values) for values in self._initializers)
        graph += as_field(11, _value_info("images", (1, 3, "height", "width")))
        for name in outputs:
            graph += as_field(12, _value_info(name, (1, f"outputs_{name}", f"rows_{name}", f"columns_{name}")))
        return as_field(1, 8) + as_field(7, graph) + as_field(8, as_field(2, 17))


def _attribute(name: str, value: float | str | Sequence[int]) -> bytes:
    """AttributeProto: name 1, f 2, i 3, s 4, ints 8, type 20."""
    start = as_field(1, name.encode())
    if isinstance(value, str):
        return start + as_field(4, value.encode()) + as_field(20, _ATTRIBUTE_STRING)
    if isinstance(value, float):
        return start + as_field(2, value) + as_field(20, _ATTRIBUTE_FLOAT)
    if isinstance(value, int):
        return start + as_field(3, value) + as_field(20, _ATTRIBUTE_INT)
    return start + b"".join(as_field(8, number) for number in value) + as_field(20, _ATTRIBUTE_INTS)


def _value_info(name: str, shape: Sequence[int | str]) -> bytes:
    """ValueInfoProto: name 1, type 2; tensor_type 1 with elem_type 1, shape 2; a dim 1 has a value 1 or a name 2."""
    dims = b"".join(as_field(1, as_field(1, d) if isinstance(d, int) else as_field(2, d.encode())) for d in shape)
    tensor = as_field(1, _FLOAT) + as_field(2, dims)
    return as_field(1, name.encode()) + as_field(2, as_field(1, tensor))
