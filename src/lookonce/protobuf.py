"""The wire format of protocol buffers, as far as .onnx, .mindir and .ckpt files need it."""

from collections.abc import Iterator

FIXED_SIZES = {1: 8, 5: 4}  # wire type -> bytes


def fields(content: memoryview) -> list[tuple[int, memoryview]]:
    """Number and content of each length-delimited field of a protocol buffer."""
    return [(number, value) for number, value, _ in all_fields(content) if isinstance(value, memoryview)]


def all_fields(content: memoryview) -> Iterator[tuple[int, memoryview | int | None, memoryview]]:
    """Number, value and all bytes of each field: length-delimited content, a number, or None for fixed-size fields.

    ValueError or IndexError if the content is cut or no protocol buffer.
    """
    at = 0
    while at < len(content):
        start = at
        value: memoryview | int | None = None
        key, at = _varint(content, at)
        if key & 7 == 0:
            value, at = _varint(content, at)
        elif key & 7 == 2:
            size, at = _varint(content, at)
            if at + size > len(content):
                raise ValueError("a field longer than the file")
            value = content[at : at + size]
            at += size
        elif key & 7 in FIXED_SIZES:
            at += FIXED_SIZES[key & 7]
        else:
            raise ValueError(f"a field of wire type {key & 7}")
        yield key >> 3, value, content[start:at]


def _varint(content: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number longer than 64 bits")


def as_field(number: int, value: bytes | int) -> bytes:
    """One field: its number and wire type, then a length and bytes, or a varint."""
    if isinstance(value, bytes):
        return _as_varint(number << 3 | 2) + _as_varint(len(value)) + value
    return _as_varint(number << 3) + _as_varint(value)


def _as_varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
