"""Damage to files, for tests that feed it to readers."""

import struct

import numpy as np

HUGE = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FFFFFFFFFFFFFFF, 0xFFFFFFFFFFFFFFFF)


def mutated(content: bytes, generator: np.random.Generator) -> bytes:
    """Bits flipped, bytes replaced, pieces cut out, repeated or put elsewhere, or numbers at their limits written in;
    most of it near the start, where the structure lies."""
    changed = bytearray(content)
    for _ in range(generator.integers(1, 6)):
        near = max(int(len(changed) ** generator.random()), 1)
        at, length = int(generator.integers(near)), int(generator.integers(1, 64))
        match int(generator.integers(6)):
            case 0:
                changed[at] ^= 1 << int(generator.integers(8))
            case 1:
                changed[at : at + length] = generator.bytes(length)
            case 2:
                del changed[at : at + length]
            case 3:
                changed[at:at] = changed[at : at + length]
            case 4:
                value = struct.pack("<Q", int(generator.choice(np.array(HUGE, np.uint64))))
                width = int(generator.choice([1, 2, 4, 8]))
                changed[at : at + width] = value[:width]
            case _:
                del changed[at + 1 :]
        changed = changed or bytearray(b"\0")
    return bytes(changed)
