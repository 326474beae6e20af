"""Protocol buffers, as far as exported files need them: length-delimited fields."""

FIXED_SIZES = {1: 8, 5: 4}  # wire type -> bytes


def fields(content: memoryview) -> list[tuple[int, memoryview]]:
    """Number and content of each length-delimited field of a protocol buffer."""
    found, at = [], 0
    while at < len(content):
        key, at = _varint(content, at)
        if key & 7 == 0:
            _, at = _varint(content, at)
        elif key & 7 == 2:
            size, at = _varint(content, at)
            if at + size > len(content):
                raise ValueError("a field longer than the file")
            found.append((key >> 3, content[at : at + size]))
            at += size
        elif key & 7 in FIXED_SIZES:
            at += FIXED_SIZES[key & 7]
        else:
            raise ValueError(f"a field of wire type {key & 7}")
    return found


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


def as_field(number: int, content: bytes) -> bytes:
    return _as_varint(number << 3 | 2) + _as_varint(len(content)) + content


def _as_varint(value: int) -> bytes:
    parts = []
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])
