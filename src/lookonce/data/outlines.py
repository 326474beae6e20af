"""Outlines of the objects in synthetic scenes: flat objects seen from above, in a unit frame.

Coordinates are (N, 2) float64 points, x right and y down, centred on the origin and within 1.0 of it; slender objects
extend to 1.25, so that all classes cover about the same number of pixels.
No colours: in a synthetic data set only the shape distinguishes the classes.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

SLENDER = np.eye(2) * 1.25


@dataclass(frozen=True, kw_only=True)
class Shape:
    """The silhouette is the union of `solids` minus the union of `holes`; `grooves` and `wells` are details inside."""

    solids: tuple[Points, ...]
    holes: tuple[Points, ...] = ()
    grooves: tuple[tuple[Points, float], ...] = ()  # (polyline, width): carved lines
    wells: tuple[Points, ...] = ()  # lower areas in a second colour

    def map(self, matrix: Points) -> "Shape":
        """Transform every point by the (2, 2) matrix, and scale groove widths by its mean scale."""
        scale = float(np.sqrt(abs(np.linalg.det(matrix))))
        return Shape(
            solids=tuple(points @ matrix.T for points in self.solids),
            holes=tuple(points @ matrix.T for points in self.holes),
            grooves=tuple((points @ matrix.T, width * scale) for points, width in self.grooves),
            wells=tuple(points @ matrix.T for points in self.wells),
        )


def circle(radius: float, center: tuple[float, float] = (0.0, 0.0), num_points: int = 48) -> Points:
    """(num_points, 2) on a circle."""
    return np.asarray(polar(np.full(num_points, radius)) + np.array(center))


def polar(radii: Points) -> Points:
    """(N,) radii at N equal steps around the centre -> (N, 2) closed outline."""
    angles = np.linspace(0, 2 * np.pi, len(radii), endpoint=False)
    return np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def rotation(angle: float) -> Points:
    """(2, 2)."""
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def rectangle(left: float, top: float, right: float, bottom: float) -> Points:
    """(4, 2) corners."""
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])


def button(rng: np.random.Generator) -> Shape:
    """A disc with two or four holes and a rim."""
    reach, hole = rng.uniform(0.24, 0.32), rng.uniform(0.11, 0.15)
    angles = np.arange(4) * np.pi / 2 if rng.random() < 0.7 else np.array([0.0, np.pi])
    holes = tuple(circle(hole, (reach * np.cos(angle), reach * np.sin(angle)), 16) for angle in angles)
    return Shape(solids=(circle(0.95),), holes=holes, grooves=((closed(circle(rng.uniform(0.66, 0.74))), 0.07),))


def key(rng: np.random.Generator) -> Shape:
    """A ring, a shaft and two to four teeth on one side."""
    ring = rng.uniform(0.42, 0.5)
    half = rng.uniform(0.11, 0.14)
    teeth = [
        rectangle(right - 0.11, 0, right, half + rng.uniform(0.2, 0.34))
        for right in 0.97 - 0.2 * np.arange(rng.integers(2, 5))
    ]
    center = (ring - 1.0, 0.0)
    shaft = rectangle(-1 + 1.8 * ring, -half, 1, half)
    groove = np.array([[-1 + 2.2 * ring, 0], [0.9, 0]])
    shape = Shape(
        solids=(circle(ring, center), shaft, *teeth), holes=(circle(ring * 0.52, center),), grooves=((groove, 0.04),)
    )
    return shape.map(SLENDER)


def leaf(rng: np.random.Generator) -> Shape:
    """A pointed blade with a short stalk, a midrib and side veins, bent a little."""
    along = np.linspace(0, 1, 24)
    half = rng.uniform(0.46, 0.62) * np.sin(np.pi * along ** rng.uniform(0.75, 1.0)) ** rng.uniform(0.9, 1.2)
    bend = rng.uniform(-0.18, 0.18)

    def place(x: Points, y: Points) -> Points:
        return np.stack([x, y + bend * (1 - x**2)], axis=1)

    x = -0.82 + 1.82 * along
    blade = np.concatenate([place(x, -half), place(x[::-1], half[::-1])])
    stalk_x = np.linspace(-1, -0.7, 6)
    stalk = np.concatenate([place(stalk_x, np.full(6, -0.05)), place(stalk_x[::-1], np.full(6, 0.05))])
    veins = [(place(np.linspace(-0.8, 0.95, 12), np.zeros(12)), 0.05)]
    for start in np.linspace(-0.55, 0.5, 5):
        reach = 0.72 * float(np.interp(start + 0.22, x, half))
        tips = (np.array([0.0, -reach]), np.array([0.0, reach]))
        veins += [(place(np.array([start, start + 0.28]), tip), 0.03) for tip in tips]
    return Shape(solids=(blade, stalk), grooves=tuple(veins)).map(SLENDER)


def mug(rng: np.random.Generator) -> Shape:
    """A mug from above: a rim around its content, and a short handle."""
    body = rng.uniform(0.74, 0.79)
    center = (body - 1.0, 0.0)
    edge = center[0] + body
    half, thick = rng.uniform(0.3, 0.36), rng.uniform(0.11, 0.14)
    inside = center[0] + 0.4
    handle = bow(inside, 1.0, half)
    # The opening starts outside the body, so it does not cut it.
    opening = bow(edge + 0.02, 1.0 - thick, half - thick)
    return Shape(
        solids=(circle(body, center), handle),
        holes=(opening,),
        wells=(circle(body * rng.uniform(0.8, 0.87), center),),
    )


def bow(left: float, right: float, half_height: float) -> Points:
    """(N, 2) half of an ellipse that bulges to the right, closed by its straight left side."""
    angles = np.linspace(-np.pi / 2, np.pi / 2, 16)
    return np.stack([left + (right - left) * np.cos(angles) ** 0.6, half_height * np.sin(angles)], axis=1)


def nut(rng: np.random.Generator) -> Shape:
    """A hexagon with a round hole and a chamfer."""
    hole = rng.uniform(0.44, 0.54)
    return Shape(
        solids=(circle(0.98, num_points=6),),
        holes=(circle(hole),),
        grooves=((closed(circle(0.5 * (hole + 0.85))), 0.05),),
    )


def star(rng: np.random.Generator) -> Shape:
    """A starfish: five arms, sharp or blunt."""
    inner = rng.uniform(0.4, 0.52)
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    crest = 1 - np.abs((angles * 5 / (2 * np.pi)) % 1 - 0.5) * 2  # 0 between arms, 1 at a tip
    radii = inner + (0.98 - inner) * crest ** rng.uniform(0.9, 1.5)
    tips = polar(np.full(5, 0.72))
    # Crest is 1 in the middle of each fifth.
    arms = tuple((np.array([[0.0, 0.0], tip]), 0.05) for tip in tips @ rotation(np.pi / 5).T)
    return Shape(solids=(polar(radii),), grooves=arms)


def closed(outline: Points) -> Points:
    """(N, 2) outline -> (N + 1, 2) closed polyline."""
    return np.concatenate([outline, outline[:1]])


KINDS: dict[str, Callable[[np.random.Generator], Shape]] = {
    "button": button,
    "key": key,
    "leaf": leaf,
    "mug": mug,
    "nut": nut,
    "star": star,
}


def clutter(rng: np.random.Generator) -> Shape:
    """An object of no class: a pebble, a card, a stick, a shard, a washer or a thread."""
    choice = rng.integers(6)
    if choice == 0:
        waves = 1 + 0.12 * np.cos(
            np.linspace(0, 2 * np.pi, 40, endpoint=False) * rng.integers(2, 4) + rng.uniform(0, 6)
        )
        return Shape(solids=(polar(0.82 * waves),))
    if choice == 1:
        half = rng.uniform(0.45, 0.8)
        return Shape(solids=(rectangle(-0.85, -half, 0.85, half),))
    if choice == 2:
        half = rng.uniform(0.05, 0.11)
        line = np.array([[-0.98, 0.0], [0.6, 0.0]])
        return Shape(
            solids=(rectangle(-1, -half, 0.75, half), np.array([[0.75, -half], [1, 0], [0.75, half]])),
            grooves=((line, 0.03),),
        )
    if choice == 3:
        return Shape(solids=(polar(rng.uniform(0.5, 1.0, int(rng.integers(3, 5)))),))
    if choice == 4:
        return Shape(solids=(circle(0.9),), grooves=((closed(circle(0.7)), 0.05),))
    x = np.linspace(-1, 1, 40)
    y = 0.35 * np.sin(x * rng.uniform(2, 5) + rng.uniform(0, 6))
    upper, lower = np.stack([x, y - 0.03], axis=1), np.stack([x, y + 0.03], axis=1)
    return Shape(solids=(np.concatenate([upper, lower[::-1]]),))
