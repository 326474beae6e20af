"""Makes the thresholds of an .onnx file inputs that must be given: ONNX Runtime for browsers knows no optional ones."""

from collections.abc import Iterator

from lookonce.runtimes.exported import THRESHOLDS

# Field numbers of onnx.proto.
GRAPH, INITIALIZER, TENSOR_NAME = 7, 5, 8
NAMES = {name.encode() for name in THRESHOLDS}


def without_defaults(model: bytes) -> bytes:
    """The .onnx file, whose thresholds are optional inputs, without their default values."""
    return b"".join(_without_values(value) if number == GRAPH else whole for number, value, whole in _fields(model))


def _without_values(graph: bytes) -> bytes:
    kept = b"".join(
        whole for number, value, whole in _fields(graph) if number != INITIALIZER or NAMES.isdisjoint(_names(value))
    )
    return bytes([8 * GRAPH + 2]) + _varint(len(kept)) + kept


def _names(tensor: bytes) -> set[bytes]:
    return {value for number, value, _ in _fields(tensor) if number == TENSOR_NAME}


def _fields(message: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, content (empty for numbers) and all bytes of each field of a protocol buffers message."""
    at = 0
    while at < len(message):
        start = at
        key, at = _read_varint(message, at)
        value = b""
        match key & 7:  # 0: varint, 1: eight bytes, 2: length and content, 5: four bytes
            case 0:
                _, at = _read_varint(message, at)
            case 1:
                at += 8
            case 2:
                length, at = _read_varint(message, at)
                value = message[at : at + length]
                at += length
            case _:
                at += 4
        yield key >> 3, value, message[start:at]


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    """A number in groups of 7 bits, lowest first, and the position after it."""
    number = shift = 0
    while True:
        byte = message[at]
        at += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number, at


def _varint(number: int) -> bytes:
    groups = []
    while number > 127:
        groups.append(128 | number & 127)
        number >>= 7
    return bytes([*groups, number])
