"""Synthetic data sets: small objects on a table, seen from above, in the model zoo document's COCO layout.

Every image is a pure function of (seed, split, index), so a larger data set of the same seed begins with the images of
a smaller one. Only the shape of an object shows its class: colour, texture, light, size, rotation and background have
the same distributions for all classes and for the clutter between the objects.
"""

import json
import zlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.data.outlines import KINDS, Shape, clutter, rotation
from lookonce.data.tabletops import Floats, Rng, fixed_point, random_color, stripes, tabletop
from lookonce.errors import DataError
from lookonce.storage import is_free

Image = NDArray[np.uint8]
Points = NDArray[np.float64]

CLASS_NAMES: tuple[str, ...] = tuple(KINDS)
MIN_VISIBLE = 0.35  # an object gets a box if at least this part of it is visible
JPEG_QUALITY = 90


@dataclass(frozen=True, kw_only=True)
class SceneOptions:
    """Content of a scene. Shares are fractions, 0..1."""

    sides: tuple[int, int] = (320, 448)  # minimum and maximum side of an image, in pixels
    usual: tuple[float, float] = (0.16, 0.6)  # minimum and maximum size of an object, times the image's shorter side
    tiny_share: float = 0.05  # objects below that minimum
    smallest: float = 9.0  # minimum size of those, in pixels
    max_things: int = 12  # maximum number of objects
    empty_share: float = 0.04  # images with clutter only


@dataclass(frozen=True, kw_only=True)
class Scene:
    """image (H, W, 3) uint8 RGB and N boxes, tight around the visible pixels of each object.

    boxes_xyxy (N, 4) float64 pixels; labels (N,) indices into CLASS_NAMES; areas (N,) visible pixels.
    """

    image: Image
    boxes_xyxy: Points
    labels: NDArray[np.int64]
    areas: NDArray[np.float64]


def make_scene(seed: int, split: str, index: int, options: SceneOptions | None = None) -> Scene:
    """Scene `index` of a split: depends on the arguments only."""
    options = options or SceneOptions()
    rng = np.random.default_rng([seed, zlib.crc32(split.encode()), index])
    table = _Table(rng, options)
    if rng.random() >= options.empty_share:
        table.lay_objects()
    table.lay_clutter(int(rng.integers(0, 3)))
    return table.photograph()


def write_synthetic(
    folder: Path,
    *,
    train: int,
    val: int,
    test: int = 0,
    seed: int = 0,
    options: SceneOptions | None = None,
    workers: int = 1,
) -> Path:
    """Write annotations/instances_{split}2017.json and {split}2017/*.jpg into `folder`; returns `folder`.

    train, val, test: numbers of images; a split with 0 is left out. folder: must be new or empty. workers: processes,
    because drawing holds the GIL; with more than one, a script that calls this needs `if __name__ == "__main__":`.
    """
    if not is_free(folder):
        raise DataError.at(folder, "exists and is not empty; expected a new or empty folder; choose another")
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    categories = [{"id": number, "name": name} for number, name in enumerate(CLASS_NAMES, start=1)]
    with ExitStack() as stack:
        map_in_order: Any = map
        if workers > 1:
            # Spawned, not forked: PyTorch and OpenCV start threads, and forking a process with threads is unsafe.
            pool = ProcessPoolExecutor(
                workers, mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)
            )
            map_in_order = partial(stack.enter_context(pool).map, chunksize=8)
        for split, count in {"train": train, "val": val, "test": test}.items():
            if not count:
                continue
            (folder / f"{split}2017").mkdir()
            write = partial(_write_image, folder / f"{split}2017", seed, split, options)
            images, boxes = zip(*map_in_order(write, range(count)), strict=True)
            annotations = [{"id": number, **box} for number, box in enumerate(chain(*boxes), start=1)]
            document = {"images": images, "annotations": annotations, "categories": categories}
            path = folder / "annotations" / f"instances_{split}2017.json"
            path.write_text(json.dumps(document), encoding="utf-8")
    return folder


def _write_image(
    folder: Path, seed: int, split: str, options: SceneOptions | None, index: int
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Write an image; COCO's entry of it, and those of its boxes."""
    scene = make_scene(seed, split, index, options)
    name = f"{index + 1:012d}.jpg"
    bgr = cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR)
    (folder / name).write_bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1].tobytes())
    boxes = [
        {
            "image_id": index + 1,
            "category_id": label + 1,
            "bbox": [left, top, right - left, bottom - top],
            "area": area,
            "iscrowd": 0,
        }
        for (left, top, right, bottom), label, area in zip(
            scene.boxes_xyxy.tolist(), scene.labels.tolist(), scene.areas.tolist(), strict=True
        )
    ]
    height, width = scene.image.shape[:2]
    return {"id": index + 1, "file_name": name, "width": width, "height": height}, boxes


class _Table:
    """The scene while it is composed: canvas (3, H, W) float32 RGB and, for each pixel, the topmost object.

    Channels come first until the image is finished: numpy is several times faster along long rows than along three
    values.
    """

    def __init__(self, rng: Rng, options: SceneOptions) -> None:
        self._rng, self._options = rng, options
        long, short = sorted(rng.integers(*options.sides, 2, endpoint=True).tolist(), reverse=True)
        height, width = (long, short) if rng.random() < 0.4 else (short, long)
        self._canvas = tabletop(height, width, rng)
        self._topmost = np.full((height, width), -1, np.int16)  # row of an object, -1 for none
        angle = rng.uniform(0, 2 * np.pi)
        self._light = np.array([np.cos(angle), np.sin(angle)])  # the direction in which shadows fall
        self._labels: list[int] = []
        self._full_areas: list[float] = []

    def lay_objects(self) -> None:
        """Place up to max_things objects, mostly the large ones first, with clutter among them."""
        most = self._options.max_things
        count = int(self._rng.integers(min(3, most), most, endpoint=True))
        radii = np.array([self._radius() for _ in range(count)])
        order = np.argsort(-radii * self._rng.uniform(0.5, 2.0, count))
        for radius in radii[order].tolist():
            if self._rng.random() < 0.25:
                self.lay_clutter(1)
            label = int(self._rng.integers(len(CLASS_NAMES)))
            self._lay(KINDS[CLASS_NAMES[label]](self._rng), label, radius)

    def lay_clutter(self, count: int) -> None:
        """Place objects of no class; they may hide parts of other objects."""
        for _ in range(count):
            radius = self._radius() * 0.8
            self._lay(clutter(self._rng), None, radius)

    def photograph(self) -> Scene:
        """The image, and a box around each object that can be seen well enough."""
        boxes, labels, areas = [], [], []
        for row, (label, full) in enumerate(zip(self._labels, self._full_areas, strict=True)):
            visible = self._topmost == row
            area = np.count_nonzero(visible)
            if area < max(MIN_VISIBLE * full, 12):
                continue
            left, top, width, height = cv2.boundingRect(visible.view(np.uint8))
            boxes.append((left, top, left + width, top + height))
            labels.append(label)
            areas.append(area)
        return Scene(
            image=_photograph(self._canvas, self._rng),
            boxes_xyxy=np.array(boxes, np.float64).reshape(-1, 4),
            labels=np.array(labels, np.int64),
            areas=np.array(areas, np.float64),
        )

    def _radius(self) -> float:
        """Half of a size in pixels, log-uniform in one of two ranges (tiny or usual)."""
        low, high = (share * min(self._topmost.shape) for share in self._options.usual)
        if self._rng.random() < self._options.tiny_share:
            low, high = min(self._options.smallest, low), low
        return float(0.5 * low * (high / low) ** self._rng.random())

    def _lay(self, shape: Shape, label: int | None, radius: float) -> None:
        """Place one object where it hides no other object too much; leave it out if 6 positions fail."""
        turn, tilt = self._rng.uniform(0, 2 * np.pi, 2)
        squash = np.diag([1.0, self._rng.uniform(0.72, 1.0)])
        mirror = np.diag([1.0, self._rng.choice([-1.0, 1.0])])
        pose = rotation(tilt) @ squash @ rotation(turn - tilt) @ mirror
        thing = _Thing(shape.map(pose * radius), radius, self._light, self._rng)
        for _ in range(6):
            center = self._rng.uniform((0, 0), self._topmost.shape[::-1])
            if self._paste(*thing.drawn_at(center), label):
                return

    def _paste(self, layers: Floats, left: int, top: int, label: int | None) -> bool:
        """Put an object onto the canvas; False if too little of it is inside, or if it hides too much of another."""
        height, width = self._topmost.shape
        inside = layers[:, max(-top, 0) : max(height - top, 0), max(-left, 0) : max(width - left, 0)]
        if not inside.size:
            return False
        alpha, shadow, color = inside[0], inside[1], inside[2:]
        rows, columns = (slice(max(at, 0), max(at, 0) + n) for at, n in zip((top, left), alpha.shape, strict=True))
        covered = alpha > 0.5
        full = float(np.count_nonzero(layers[0] > 0.5))
        if label is not None and np.count_nonzero(covered) < 0.65 * full:
            return False
        topmost = self._topmost[rows, columns]
        hidden = topmost[covered]
        for row, count in zip(*np.unique(hidden[hidden >= 0], return_counts=True), strict=True):
            if np.count_nonzero(self._topmost == row) - count < 0.7 * self._full_areas[row]:
                return False
        patch = self._canvas[:, rows, columns]
        patch *= 1 - shadow * (1 - alpha)
        patch += (color - patch) * alpha
        topmost[covered] = len(self._labels) if label is not None else -1
        if label is not None:
            self._labels.append(label)
            self._full_areas.append(full)
        return True


class _Thing:
    """An object of random colours and surface. shape, radius: pixels; light (2,): where shadows fall."""

    def __init__(self, shape: Shape, radius: float, light: Points, rng: Rng) -> None:
        self._shape, self._radius, self._light = shape, radius, light
        self._base = random_color(rng, saturation=(0.05, 0.9), value=(0.25, 0.98))
        self._second = random_color(rng, saturation=(0.05, 0.8), value=(0.1, 0.95))
        self._relief = float(rng.uniform(0.25, 0.6))
        self._bevel = float(rng.uniform(0.12, 0.4))
        self._gloss = float(rng.choice([0.0, rng.uniform(0.1, 0.5)]))
        self._grain = float(rng.uniform(0.0, 0.1))
        self._stripes = float(rng.uniform(0.06, 0.22)) if rng.random() < 0.25 else 0.0
        self._stripe_angle = float(rng.uniform(0, np.pi))
        self._shadow = float(rng.uniform(0.35, 0.7))
        self._height = float(rng.uniform(0.06, 0.16))
        self._noise = rng.integers(0, 256, (24, 24), np.uint8)

    def drawn_at(self, center: Points) -> tuple[Floats, int, int]:
        """(5, h, w): alpha 0..1, soft shadow 0..1, lit and textured RGB 0..255; left and top on the canvas."""
        throw = max(1.0, self._radius * self._height)
        margin = int(np.ceil(2.5 * throw)) + 2
        points = np.concatenate(self._shape.solids)
        left, top = (np.floor(center + points.min(axis=0)).astype(int) - margin).tolist()
        right, bottom = (np.ceil(center + points.max(axis=0)).astype(int) + margin).tolist()
        shift = center - (left, top)
        mask = np.zeros((bottom - top, right - left), np.uint8)
        _fill(mask, self._shape.solids, shift, 255)
        _fill(mask, self._shape.holes, shift, 0)
        alpha = mask.astype(np.float32) / np.float32(255)
        offset = np.array([[1, 0, self._light[0] * throw], [0, 1, self._light[1] * throw]])
        blur = (2 * int(throw) + 1, 2 * int(throw) + 1)
        shadow = cv2.blur(cv2.blur(cv2.warpAffine(alpha, offset, mask.shape[::-1]), blur), blur) * self._shadow
        return np.stack([alpha, shadow, *self._surface(mask, shift)]), left, top

    def _surface(self, mask: Image, shift: Points) -> Floats:
        """(3, h, w) float32 RGB 0..255: base colour, second colour in the wells, grain, stripes, shading."""
        height, width = mask.shape
        wells = np.zeros_like(mask)
        _fill(wells, self._shape.wells, shift, 255)
        color: Floats = self._base[:, None, None]
        if self._shape.wells:
            color = color + (self._second - self._base)[:, None, None] * (wells.astype(np.float32) / np.float32(255))
        grain = cv2.resize(self._noise, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32) / 127.5 - 1
        tone = 1 + self._grain * grain
        if self._stripes:
            period = max(3.0, 0.28 * self._radius)
            tone += 0.5 * self._stripes * stripes(height, width, self._stripe_angle, period)
        facing = self._facing(np.asarray(cv2.subtract(mask, wells)), shift)
        tone *= np.clip(0.95 - self._relief * facing, 0.35, 1.5)
        glint = (255 * self._gloss) * np.clip(-facing - 0.35, 0, 1)
        return np.asarray(np.clip(color * tone + glint, 0, 255), np.float32)

    def _facing(self, solid: Image, shift: Points) -> Floats:
        """(h, w) in -1..1: how far the rounded edge, grooves and wells turn away from the light."""
        bevel = max(1.5, self._bevel * self._radius)
        distance = cv2.distanceTransform((solid > 127).view(np.uint8), cv2.DIST_L2, 3)
        rise = 1 - np.minimum(distance / bevel, 1)
        surface = bevel * np.sqrt(1 - rise * rise)
        if self._radius > 12:
            carved = np.zeros_like(solid)
            for line, thickness in self._shape.grooves:
                points, bits = fixed_point(line + shift)
                cv2.polylines(carved, [points], False, [255], max(1, round(thickness)), cv2.LINE_AA, bits)
            surface -= carved.astype(np.float32) * (0.035 * self._radius / 255)
            surface = cv2.GaussianBlur(surface, (0, 0), max(0.6, 0.02 * self._radius))
        across, down = (-self._light).tolist()  # plain floats keep the arrays float32
        slope = across * cv2.Sobel(surface, cv2.CV_32F, 1, 0, scale=0.125)
        slope += down * cv2.Sobel(surface, cv2.CV_32F, 0, 1, scale=0.125)
        # Shadows fall away from the light, so a surface that rises in the shadow's direction faces the light.
        return np.asarray(slope / np.sqrt(1 + slope * slope))


def _fill(mask: Image, outlines: Sequence[Points], shift: Points, value: int) -> None:
    for outline in outlines:
        points, bits = fixed_point(outline + shift)
        cv2.fillPoly(mask, [points], [value], cv2.LINE_AA, bits)


def _photograph(canvas: Floats, rng: Rng) -> Image:
    """(3, H, W) float32 -> (H, W, 3) uint8 with camera defects: colour cast, exposure, defocus, motion blur, noise."""
    canvas *= (rng.uniform(0.8, 1.15) * rng.uniform(0.93, 1.07, 3)).astype(np.float32)[:, None, None]
    fault = rng.random()
    if fault < 0.3:
        strength = rng.uniform(0.5, 1.3)
        canvas = np.stack([cv2.GaussianBlur(plane, (0, 0), strength) for plane in canvas])
    elif fault < 0.4:
        kernel = np.zeros((7, 7), np.float32)
        reach = rng.uniform(1.0, 2.5) * rotation(rng.uniform(0, np.pi))[0]
        ends, bits = fixed_point(np.array([3.5 - reach, 3.5 + reach]))
        cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), [1.0], 1, cv2.LINE_AA, bits)
        canvas = np.stack([cv2.filter2D(plane, -1, kernel / kernel.sum()) for plane in canvas])
    noise = rng.integers(0, 256, (2, *canvas.shape[1:]), np.uint8)
    # The sum of two uniform draws of 0..255 has a standard deviation of 104.
    canvas += (noise[0].astype(np.float32) + noise[1] - 255) * np.float32(rng.uniform(0, 7) / 104)
    return np.asarray(cv2.merge([cv2.convertScaleAbs(plane) for plane in np.maximum(canvas, 0)]), np.uint8)
