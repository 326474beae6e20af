"""Makes the thresholds of an .onnx file inputs that must be given: ONNX Runtime for browsers knows no optional ones."""

from lookonce.protobuf import all_fields, as_field, fields
from lookonce.runtimes.exported import THRESHOLDS

# Field numbers of onnx.proto.
GRAPH, INITIALIZER, TENSOR_NAME = 7, 5, 8
NAMES = {name.encode() for name in THRESHOLDS}


def without_defaults(model: bytes) -> bytes:
    """The .onnx file, whose thresholds are optional inputs, without their default values."""
    return b"".join(
        _without_values(value) if number == GRAPH and isinstance(value, memoryview) else whole
        for number, value, whole in all_fields(memoryview(model))
    )


def _without_values(graph: memoryview) -> bytes:
    kept = (
        whole
        for number, value, whole in all_fields(graph)
        if number != INITIALIZER or not isinstance(value, memoryview) or NAMES.isdisjoint(_names(value))
    )
    return as_field(GRAPH, b"".join(kept))


def _names(tensor: memoryview) -> set[bytes]:
    return {bytes(value) for number, value in fields(tensor) if number == TENSOR_NAME}
