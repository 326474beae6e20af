"""Makes the thresholds of an .onnx file inputs that must be given: ONNX Runtime for browsers knows no optional ones."""

from lookonce.runtimes.exported import THRESHOLDS
from lookonce.runtimes.protobuf import all_fields, as_field, fields

# Field numbers of onnx.proto.
GRAPH, INITIALIZER, TENSOR_NAME = 7, 5, 8
NAMES = {name.encode() for name in THRESHOLDS}


def without_defaults(model: bytes) -> bytes:
    """The .onnx file, whose thresholds are optional inputs, without their default values."""
    parts = all_fields(memoryview(model))
    return b"".join(
        _without_values(value) if number == GRAPH and value is not None else whole for number, value, whole in parts
    )


def _without_values(graph: memoryview) -> bytes:
    kept = []
    for number, value, whole in all_fields(graph):
        parts = fields(value) if number == INITIALIZER and value is not None else []
        if NAMES.isdisjoint(bytes(name) for field, name in parts if field == TENSOR_NAME):
            kept.append(whole)
    return as_field(GRAPH, b"".join(kept))
