"""The table under a synthetic scene: plaster, wood, cloth, tiles or terrazzo; random colours and stripes."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Rng = np.random.Generator

SUBPIXEL_BITS = 4  # cv2 draws at 1/16 pixel


def tabletop(height: int, width: int, rng: Rng) -> Floats:
    """(3, H, W) float32 RGB, unevenly lit."""
    if rng.random() < 0.25:  # painted
        base = random_color(rng, saturation=(0.1, 0.5), value=(0.3, 0.85))
    else:  # wood, stone or linen
        warm = np.array([1.0, rng.uniform(0.78, 0.98), rng.uniform(0.55, 0.98)])
        base = np.asarray(255 * rng.uniform(0.25, 0.95) * warm, np.float32)
    make = [plaster, wood, cloth, tiles, terrazzo][rng.integers(5)]
    canvas = make(height, width, base, rng)
    across = np.linspace(-1, 1, width, dtype=np.float32) * np.float32(rng.uniform(-0.22, 0.22))
    down = np.linspace(-1, 1, height, dtype=np.float32) * np.float32(rng.uniform(-0.22, 0.22))
    canvas *= 1 + across[None, :] + down[:, None]
    return canvas


def plaster(height: int, width: int, base: Floats, rng: Rng) -> Floats:
    noise = clouds(height, width, [(3, 3), (9, 9), (30, 30), (height // 3, width // 3)], rng)
    accent = random_color(rng, saturation=(0.02, 0.4), value=(0.3, 0.9))
    return tinted(base, 1 + 0.16 * noise, accent, 0.25 + 0.4 * clouds(height, width, [(3, 4)], rng))


def wood(height: int, width: int, base: Floats, rng: Rng) -> Floats:
    along = rng.random() < 0.5
    h, w = (height, width) if along else (width, height)
    warp = clouds(h, w, [(4, 2), (10, 3)], rng)
    rings = np.sin(np.arange(h, dtype=np.float32)[:, None] * np.float32(rng.uniform(0.1, 0.35)) + 5 * warp)
    fibres = clouds(h, w, [(h // 2, 6), (h // 4, 12)], rng)
    plank = rng.integers(50, 110)
    tones = rng.uniform(0.82, 1.12, h // plank + 1).astype(np.float32)
    tone = (1 + 0.07 * rings + 0.13 * fibres) * tones[np.arange(h) // plank, None]
    tone[np.arange(h) % plank < 2] *= 0.6
    return np.asarray(base[:, None, None] * (tone if along else np.ascontiguousarray(tone.T)), np.float32)


def cloth(height: int, width: int, base: Floats, rng: Rng) -> Floats:
    period, angle = rng.uniform(3, 7), rng.uniform(0, np.pi)
    across = angle + np.pi / 2
    weave = stripes(height, width, angle, period) + stripes(height, width, across, period)
    folds = clouds(height, width, [(4, 4), (7, 7)], rng)
    accent = random_color(rng, saturation=(0.05, 0.6), value=(0.3, 0.9))
    check = np.zeros((height, width), np.float32)
    if rng.random() < 0.5:
        wide = rng.uniform(40, 90)
        for turned in (angle, across):
            check += 0.25 * (stripes(height, width, turned, wide) > 0.2)
    return tinted(base, 1 + 0.05 * weave + 0.14 * folds, accent, check)


def tiles(height: int, width: int, base: Floats, rng: Rng) -> Floats:
    side = int(rng.integers(48, 130))
    rows, columns = np.arange(height) + rng.integers(side), np.arange(width) + rng.integers(side)
    tones = rng.uniform(0.86, 1.1, (height // side + 2, width // side + 2)).astype(np.float32)
    tone = tones[rows // side][:, columns // side]
    tone *= 1 + 0.08 * clouds(height, width, [(6, 6), (40, 40)], rng)
    grout = np.float32(rng.choice([0.7, 1.25]))
    tone[rows % side < 3] = grout
    tone[:, columns % side < 3] = grout
    return np.asarray(base[:, None, None] * tone, np.float32)


def terrazzo(height: int, width: int, base: Floats, rng: Rng) -> Floats:
    canvas = base[:, None, None] * (1 + 0.05 * clouds(height, width, [(4, 4), (60, 60)], rng))
    colors = [random_color(rng, saturation=(0.02, 0.5), value=(0.3, 0.95)) for _ in range(3)]
    angles = np.arange(5) * 2 * np.pi / 5
    pentagon = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    for _ in range(height * width // 900):
        center = rng.uniform((0, 0), (width, height))
        points, bits = fixed_point(rng.uniform(1.5, 7) * rng.uniform(0.5, 1, (5, 1)) * pentagon + center)
        for plane, value in zip(canvas, (0.5 * colors[rng.integers(3)] + 0.5 * base).tolist(), strict=True):
            cv2.fillPoly(plane, [points], [value], cv2.LINE_8, bits)
    return np.asarray(canvas, np.float32)


def clouds(height: int, width: int, cells: Sequence[tuple[int, int]], rng: Rng) -> Floats:
    """(H, W) smooth noise in about -1..1: one layer for each (rows, columns) grid, amplitude 0.6 ** (index + 1)."""
    total = np.zeros((height, width), np.float32)
    for layer, (rows, columns) in enumerate(cells):
        grid = rng.random((max(rows, 2), max(columns, 2)), np.float32) * 2 - 1
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(0.6 * 0.6**layer)
    return total


def tinted(base: Floats, tone: Floats, accent: Floats, share: Floats) -> Floats:
    """base (3,), accent (3,), tone (H, W) factor, share of the accent (H, W) -> (3, H, W)."""
    mix = np.clip(share, 0, 1)
    return np.asarray((base[:, None, None] + (accent - base)[:, None, None] * mix) * tone, np.float32)


def stripes(height: int, width: int, angle: float, period: float) -> Floats:
    """(H, W) in -1..1, a wave along `angle`; period: pixels."""
    x = np.arange(width, dtype=np.float32) * np.float32(np.cos(angle) * 2 * np.pi / period)
    y = np.arange(height, dtype=np.float32) * np.float32(np.sin(angle) * 2 * np.pi / period)
    return np.asarray(np.sin(y[:, None] + x[None, :]))


def random_color(rng: Rng, *, saturation: tuple[float, float], value: tuple[float, float]) -> Floats:
    """(3,) float32 RGB 0..255 with a uniformly drawn hue."""
    hue = rng.uniform(0, 6)
    ramp = np.clip(np.abs((hue + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    return np.asarray(255 * rng.uniform(*value) * (1 + rng.uniform(*saturation) * (ramp - 1)), np.float32)


def fixed_point(points: NDArray[np.float64]) -> tuple[NDArray[np.int32], int]:
    """(N, 2) pixels -> what cv2 draws with sub-pixel precision, and the number of fractional bits."""
    # cv2 places integer coordinates at pixel centres, boxes at pixel edges.
    return np.round((points - 0.5) * (1 << SUBPIXEL_BITS)).astype(np.int32), SUBPIXEL_BITS
