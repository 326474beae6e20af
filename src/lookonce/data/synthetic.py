"""Synthetic data sets: small objects on a table, seen from above, in the model zoo document's COCO layout.

Every image is a pure function of (seed, split, index), so a larger data set of the same seed begins with the images of
a smaller one. Only the shape of an object shows its class: colour, texture, light, size, rotation and background have
the same distributions for all classes and for the clutter between the objects.
"""

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lookonce.data.outlines import KINDS, Shape, clutter
from lookonce.errors import DataError

Image = NDArray[np.uint8]
Floats = NDArray[np.float32]
Rng = np.random.Generator

CLASS_NAMES: tuple[str, ...] = tuple(KINDS)
_SUBPIXEL_BITS = 4  # cv2 draws at 1/16 pixel


@dataclass(frozen=True, kw_only=True)
class SceneOptions:
    """Content of a scene. Shares are fractions, 0..1."""

    sides: tuple[int, int] = (320, 448)  # minimum and maximum side of an image, in pixels
    usual: tuple[float, float] = (0.16, 0.6)  # minimum and maximum size of an object, times the image's shorter side
    tiny_share: float = 0.05  # objects below that minimum
    smallest: float = 9.0  # minimum size of those, in pixels
    max_things: int = 12  # maximum number of objects
    empty_share: float = 0.04  # images with clutter only
    min_visible: float = 0.35  # minimum visible fraction of an object that gets a box
    crowd_share: float = 0.0  # boxes with iscrowd 1


@dataclass(frozen=True, kw_only=True)
class Scene:
    """image (H, W, 3) uint8 RGB and N boxes, tight around the visible pixels of each object.

    boxes_xyxy (N, 4) float64 pixels; labels (N,) indices into CLASS_NAMES; areas (N,) visible pixels; crowd (N,).
    """

    image: Image
    boxes_xyxy: NDArray[np.float64]
    labels: NDArray[np.int64]
    areas: NDArray[np.float64]
    crowd: NDArray[np.bool_]


def make_scene(seed: int, split: str, index: int, options: SceneOptions | None = None) -> Scene:
    """Scene `index` of a split: depends on the arguments only."""
    options = options or SceneOptions()
    rng = np.random.default_rng([seed, zlib.crc32(split.encode()), index])
    table = _Table(rng, options)
    if rng.random() >= options.empty_share:
        table.lay_objects()
    table.lay_clutter(int(rng.integers(0, 3)))
    boxes_xyxy, labels, areas = table.visible_boxes()
    image = _photograph(table.canvas, rng)
    crowd = rng.random(len(labels)) < options.crowd_share
    return Scene(image=image, boxes_xyxy=boxes_xyxy, labels=labels, areas=areas, crowd=crowd)


def write_synthetic(
    folder: Path,
    *,
    train: int,
    val: int,
    test: int = 0,
    seed: int = 0,
    category_ids: Sequence[int] | None = None,
    options: SceneOptions | None = None,
    jpeg_quality: int = 90,
    workers: int = 1,
) -> Path:
    """Write annotations/instances_{split}2017.json and {split}2017/*.jpg into `folder`; returns `folder`.

    train, val, test: numbers of images; a split with 0 is left out. category_ids: one per class, in the order of
    CLASS_NAMES (default 1..C). folder: must be new or empty. workers: processes; with more than one, a script that
    calls this needs `if __name__ == "__main__":`.
    """
    ids = tuple(category_ids) if category_ids is not None else tuple(range(1, len(CLASS_NAMES) + 1))
    if len(set(ids)) != len(CLASS_NAMES):
        raise DataError(
            f"category_ids: {len(set(ids))} different ids; expected {len(CLASS_NAMES)}, one for each class",
            setting="category_ids",
            value=len(set(ids)),
        )
    if folder.exists() and any(folder.iterdir()):
        raise DataError(f"{folder}: is not empty; expected a new or empty folder; choose another", path=folder)
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    with _mapper(workers) as map_in_order:
        for split, count in {"train": train, "val": val, "test": test}.items():
            if count:
                job = _Job(
                    folder=folder,
                    split=split,
                    seed=seed,
                    category_ids=ids,
                    options=options or SceneOptions(),
                    jpeg_quality=jpeg_quality,
                )
                _write_split(job, map_in_order(job.write, range(count)))
    return folder


Entries = tuple[dict[str, Any], list[dict[str, Any]]]  # COCO's entry of an image, and those of its boxes


@dataclass(frozen=True, kw_only=True)
class _Job:
    """Everything needed to make an image of a split, also in another process."""

    folder: Path
    split: str
    seed: int
    category_ids: tuple[int, ...]
    options: SceneOptions
    jpeg_quality: int

    @property
    def image_folder(self) -> Path:
        return self.folder / f"{self.split}2017"

    def write(self, index: int) -> Entries:
        scene = make_scene(self.seed, self.split, index, self.options)
        name = f"{index + 1:012d}.jpg"
        bgr = cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR)
        _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality])
        self.image_folder.mkdir(exist_ok=True)
        (self.image_folder / name).write_bytes(encoded.tobytes())
        return _coco_entries(scene, index + 1, name, self.category_ids)


@contextmanager
def _mapper(workers: int) -> Iterator[Callable[[Callable[[int], Entries], range], Iterable[Entries]]]:
    """An ordered `map`, in this process or in `workers` processes: drawing holds the GIL."""
    if workers <= 1:
        yield map
        return
    # Spawned, not forked: PyTorch and OpenCV start threads, and forking a process with threads is unsafe.
    with ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)
    ) as pool:
        yield partial(pool.map, chunksize=8)


def _write_split(job: _Job, entries: Iterable[Entries]) -> None:
    """Write the annotations of a split; iterating over `entries` makes the images."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for image, boxes in entries:
        images.append(image)
        annotations += [{"id": len(annotations) + row, **box} for row, box in enumerate(boxes, start=1)]
    categories = [{"id": id_, "name": name} for id_, name in zip(job.category_ids, CLASS_NAMES, strict=True)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    path = job.folder / "annotations" / f"instances_{job.split}2017.json"
    path.write_text(json.dumps(document), encoding="utf-8")


def _coco_entries(scene: Scene, image_id: int, name: str, category_ids: Sequence[int]) -> Entries:
    height, width = scene.image.shape[:2]
    boxes = []
    for row, (left, top, right, bottom) in enumerate(scene.boxes_xyxy.tolist()):
        boxes.append(
            {
                "image_id": image_id,
                "category_id": category_ids[scene.labels[row]],
                "bbox": [left, top, right - left, bottom - top],
                "area": float(scene.areas[row]),
                "iscrowd": int(scene.crowd[row]),
            }
        )
    return {"id": image_id, "file_name": name, "width": width, "height": height}, boxes


# --- laying the table --------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Cutout:
    """One rendered object: alpha (h, w) 0..1, color (3, h, w) 0..255, shadow (h, w) 0..1; left, top on the canvas."""

    alpha: Floats
    color: Floats
    shadow: Floats
    left: int
    top: int


@dataclass
class _Table:
    """The scene while it is composed: canvas (3, H, W) float32 RGB and, for each pixel, the topmost object.

    Channels come first until the image is finished: numpy is several times faster along long rows than along three
    values.
    """

    rng: Rng
    options: SceneOptions
    canvas: Floats = field(init=False)
    instances: NDArray[np.int16] = field(init=False)  # (H, W): row of the topmost object, -1 for none
    light: NDArray[np.float64] = field(init=False)  # (2,) direction in which shadows fall
    labels: list[int] = field(default_factory=list)
    full_areas: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        low, high = self.options.sides
        long, short = sorted(self.rng.integers(low, high, 2, endpoint=True), reverse=True)
        height, width = (long, short) if self.rng.random() < 0.4 else (short, long)
        self.canvas = _background(int(height), int(width), self.rng)
        self.instances = np.full((int(height), int(width)), -1, np.int16)
        angle = self.rng.uniform(0, 2 * np.pi)
        self.light = np.array([np.cos(angle), np.sin(angle)])

    def lay_objects(self) -> None:
        """Place up to max_things objects, mostly the large ones first, with clutter among them."""
        count = int(self.rng.integers(min(3, self.options.max_things), self.options.max_things, endpoint=True))
        radii = np.array([self._radius() for _ in range(count)])
        order = np.argsort(-radii * self.rng.uniform(0.5, 2.0, count))
        for radius in radii[order]:
            if self.rng.random() < 0.25:
                self.lay_clutter(1)
            self._lay(int(self.rng.integers(len(CLASS_NAMES))), float(radius))

    def lay_clutter(self, count: int) -> None:
        """Place objects of no class; they may hide parts of other objects."""
        for _ in range(count):
            self._lay(None, self._radius() * 0.8)

    def visible_boxes(self) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
        """(N, 4) xyxy around the visible pixels, (N,) labels, (N,) visible pixels."""
        boxes, labels, areas = [], [], []
        for row, (label, full) in enumerate(zip(self.labels, self.full_areas, strict=True)):
            visible = self.instances == row
            area = np.count_nonzero(visible)
            if area < max(self.options.min_visible * full, 12):
                continue
            left, top, width, height = cv2.boundingRect(visible.view(np.uint8))
            boxes.append((left, top, left + width, top + height))
            labels.append(label)
            areas.append(area)
        return (
            np.array(boxes, np.float64).reshape(-1, 4),
            np.array(labels, np.int64),
            np.array(areas, np.float64),
        )

    def _radius(self) -> float:
        """Half of a size in pixels, log-uniform in one of two ranges (tiny or usual)."""
        options, shorter = self.options, min(self.instances.shape)
        low, high = options.usual[0] * shorter, options.usual[1] * shorter
        if self.rng.random() < options.tiny_share:
            low, high = min(options.smallest, low), low
        return float(0.5 * low * (high / low) ** self.rng.random())

    def _lay(self, label: int | None, radius: float) -> None:
        """Place one object where it hides no other object too much; leave it out if 6 positions fail."""
        shape = clutter(self.rng) if label is None else KINDS[CLASS_NAMES[label]](self.rng)
        shape = shape.map(_pose(self.rng) * radius)
        height, width = self.instances.shape
        paint = _Paint(self.rng)
        for _ in range(6):
            center = self.rng.uniform((0, 0), (width, height))
            cutout = _draw(shape, center, radius, self.light, paint)
            if self._paste(cutout, label):
                return

    def _paste(self, cutout: _Cutout, label: int | None) -> bool:
        height, width = cutout.alpha.shape
        top, left = max(cutout.top, 0), max(cutout.left, 0)
        bottom = min(cutout.top + height, self.instances.shape[0])
        right = min(cutout.left + width, self.instances.shape[1])
        if bottom <= top or right <= left:
            return False
        inside = np.s_[top - cutout.top : bottom - cutout.top, left - cutout.left : right - cutout.left]
        alpha = cutout.alpha[inside]
        covered = alpha > 0.5
        full = float(np.count_nonzero(cutout.alpha > 0.5))
        instances = self.instances[top:bottom, left:right]
        if label is not None and np.count_nonzero(covered) < 0.65 * full:
            return False
        if self._hides_too_much(instances[covered]):
            return False
        patch = self.canvas[:, top:bottom, left:right]
        patch *= 1 - cutout.shadow[inside] * (1 - alpha)
        patch += (cutout.color[:, *inside] - patch) * alpha
        instances[covered] = len(self.labels) if label is not None else -1
        if label is not None:
            self.labels.append(label)
            self.full_areas.append(full)
        return True

    def _hides_too_much(self, hidden: NDArray[np.int16]) -> bool:
        rows, counts = np.unique(hidden[hidden >= 0], return_counts=True)
        for row, count in zip(rows.tolist(), counts.tolist(), strict=True):
            left = np.count_nonzero(self.instances == row) - count
            if left < 0.7 * self.full_areas[row]:
                return True
        return False


def _pose(rng: Rng) -> NDArray[np.float64]:
    """(2, 2) random transform: mirroring, a slight tilt, rotation."""
    turn, tilt = rng.uniform(0, 2 * np.pi, 2)
    squash = np.diag([1.0, rng.uniform(0.72, 1.0)])
    mirror = np.diag([1.0, rng.choice([-1.0, 1.0])])
    return _rotation(tilt) @ squash @ _rotation(turn - tilt) @ mirror


def _rotation(angle: float) -> NDArray[np.float64]:
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


# --- drawing one object ------------------------------------------------------------------------------------------


class _Paint:
    """Random colours and surface of one object, drawn before its position."""

    def __init__(self, rng: Rng) -> None:
        self.base = _color(rng, saturation=(0.05, 0.9), value=(0.25, 0.98))
        self.second = _color(rng, saturation=(0.05, 0.8), value=(0.1, 0.95))
        self.relief = float(rng.uniform(0.25, 0.6))
        self.bevel = float(rng.uniform(0.12, 0.4))
        self.gloss = float(rng.choice([0.0, rng.uniform(0.1, 0.5)]))
        self.grain = float(rng.uniform(0.0, 0.1))
        self.stripes = float(rng.uniform(0.06, 0.22)) if rng.random() < 0.25 else 0.0
        self.stripe_angle = float(rng.uniform(0, np.pi))
        self.shadow = float(rng.uniform(0.35, 0.7))
        self.height = float(rng.uniform(0.06, 0.16))
        self.noise = rng.integers(0, 256, (24, 24), np.uint8)


def _draw(
    shape: Shape, center: NDArray[np.float64], radius: float, light: NDArray[np.float64], paint: _Paint
) -> _Cutout:
    """A lit, textured cutout with a soft shadow; center in canvas pixels, radius of the shape in pixels."""
    throw = max(1.0, radius * paint.height)
    margin = int(np.ceil(2.5 * throw)) + 2
    points = np.concatenate(shape.solids)
    low = np.floor(center + points.min(axis=0)).astype(int) - margin
    high = np.ceil(center + points.max(axis=0)).astype(int) + margin
    width, height = (high - low).tolist()
    shift = center - low
    mask = np.zeros((height, width), np.uint8)
    _fill(mask, shape.solids, shift, 255)
    _fill(mask, shape.holes, shift, 0)
    alpha = mask.astype(np.float32) / np.float32(255)
    color = _surface(mask, shape, shift, radius, light, paint)
    offset = np.array([[1, 0, light[0] * throw], [0, 1, light[1] * throw]])
    blur = 2 * int(throw) + 1
    moved = cv2.warpAffine(alpha, offset, (width, height))
    shadow = cv2.blur(cv2.blur(moved, (blur, blur)), (blur, blur)) * paint.shadow
    return _Cutout(alpha=alpha, color=color, shadow=shadow, left=int(low[0]), top=int(low[1]))


def _surface(
    mask: Image, shape: Shape, shift: NDArray[np.float64], radius: float, light: NDArray[np.float64], paint: _Paint
) -> Floats:
    """(3, h, w) float32 RGB 0..255: base colour, second colour in the wells, grain, stripes, shading of the relief."""
    height, width = mask.shape
    wells = np.zeros_like(mask)
    _fill(wells, shape.wells, shift, 255)
    color: Floats = paint.base[:, None, None]
    if shape.wells:
        color = color + (paint.second - paint.base)[:, None, None] * (wells.astype(np.float32) / np.float32(255))
    grain = cv2.resize(paint.noise, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32) / 127.5 - 1
    tone = 1 + paint.grain * grain
    if paint.stripes:
        tone += 0.5 * paint.stripes * _stripes(height, width, paint.stripe_angle, max(3.0, 0.28 * radius))
    shade, glint = _relief(mask, wells, shape, shift, radius, light, paint)
    tone *= shade
    return np.asarray(np.clip(color * tone + glint, 0, 255), np.float32)


def _relief(
    mask: Image,
    wells: Image,
    shape: Shape,
    shift: NDArray[np.float64],
    radius: float,
    light: NDArray[np.float64],
    paint: _Paint,
) -> tuple[Floats, Floats]:
    """Shading of the rounded edge, grooves and wells: (h, w) factor, (h, w) highlight to add."""
    bevel = max(1.5, paint.bevel * radius)
    solid = cv2.subtract(mask, wells) if shape.wells else mask
    distance = cv2.distanceTransform((solid > 127).view(np.uint8), cv2.DIST_L2, 3)
    rise = 1 - np.minimum(distance / bevel, 1)
    surface = bevel * np.sqrt(1 - rise * rise)
    if radius > 12:
        carved = np.zeros_like(mask)
        for line, thickness in shape.grooves:
            _stroke(carved, line, shift, thickness)
        surface -= carved.astype(np.float32) * (0.035 * radius / 255)
        surface = cv2.GaussianBlur(surface, (0, 0), max(0.6, 0.02 * radius))
    across, down = float(-light[0]), float(-light[1])  # plain floats keep the arrays float32
    slope = across * cv2.Sobel(surface, cv2.CV_32F, 1, 0, scale=0.125)
    slope += down * cv2.Sobel(surface, cv2.CV_32F, 0, 1, scale=0.125)
    # Shadows fall away from the light, so a surface that rises in the shadow's direction faces the light.
    facing = slope / np.sqrt(1 + slope * slope)
    shade = np.clip(0.95 - paint.relief * facing, 0.35, 1.5)
    glint = (255 * paint.gloss) * np.clip(-facing - 0.35, 0, 1)
    return shade, glint


def _stripes(height: int, width: int, angle: float, period: float) -> Floats:
    """(h, w) in -1..1, a wave along `angle`."""
    x = np.arange(width, dtype=np.float32) * np.float32(np.cos(angle) * 2 * np.pi / period)
    y = np.arange(height, dtype=np.float32) * np.float32(np.sin(angle) * 2 * np.pi / period)
    return np.asarray(np.sin(y[:, None] + x[None, :]))


def _fill(mask: Image, outlines: Sequence[NDArray[np.float64]], shift: NDArray[np.float64], value: int) -> None:
    for outline in outlines:
        cv2.fillPoly(mask, [_fixed_point(outline + shift)], [value], cv2.LINE_AA, _SUBPIXEL_BITS)


def _stroke(mask: Image, line: NDArray[np.float64], shift: NDArray[np.float64], thickness: float) -> None:
    points = [_fixed_point(line + shift)]
    cv2.polylines(mask, points, False, [255], max(1, round(thickness)), cv2.LINE_AA, _SUBPIXEL_BITS)


def _fixed_point(points: NDArray[np.float64]) -> NDArray[np.int32]:
    # cv2 places integer coordinates at pixel centres, boxes at pixel edges.
    return np.round((points - 0.5) * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def _color(rng: Rng, *, saturation: tuple[float, float], value: tuple[float, float]) -> Floats:
    """(3,) float32 RGB 0..255 with a uniformly drawn hue."""
    hue = rng.uniform(0, 6)
    ramp = np.clip(np.abs((hue + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    return np.asarray(255 * rng.uniform(*value) * (1 + rng.uniform(*saturation) * (ramp - 1)), np.float32)


# --- the table top -----------------------------------------------------------------------------------------------


def _background(height: int, width: int, rng: Rng) -> Floats:
    """(3, H, W) float32 RGB: plaster, wood, cloth, tiles or terrazzo, unevenly lit."""
    base = _table_color(rng)
    make = [_plaster, _wood, _cloth, _tiles, _terrazzo][rng.integers(5)]
    canvas = make(height, width, base, rng)
    across = np.linspace(-1, 1, width, dtype=np.float32) * np.float32(rng.uniform(-0.22, 0.22))
    down = np.linspace(-1, 1, height, dtype=np.float32) * np.float32(rng.uniform(-0.22, 0.22))
    canvas *= 1 + across[None, :] + down[:, None]
    return canvas


def _table_color(rng: Rng) -> Floats:
    """(3,) RGB 0..255: most tables are wood, stone or linen; one in four is painted."""
    if rng.random() < 0.25:
        return _color(rng, saturation=(0.1, 0.5), value=(0.3, 0.85))
    warm = np.array([1.0, rng.uniform(0.78, 0.98), rng.uniform(0.55, 0.98)])
    return np.asarray(255 * rng.uniform(0.25, 0.95) * warm, np.float32)


def _clouds(height: int, width: int, cells: Sequence[tuple[int, int]], rng: Rng) -> Floats:
    """(H, W) smooth noise in about -1..1: one layer for each (rows, columns) grid, amplitude 0.6 ** (index + 1)."""
    total = np.zeros((height, width), np.float32)
    for layer, (rows, columns) in enumerate(cells):
        grid = rng.random((max(rows, 2), max(columns, 2)), np.float32) * 2 - 1
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC) * np.float32(0.6 * 0.6**layer)
    return total


def _tinted(base: Floats, tone: Floats, accent: Floats, share: Floats | float) -> Floats:
    """base (3,), accent (3,), tone (H, W) factor, share of the accent (H, W) -> (3, H, W)."""
    mix = np.clip(np.asarray(share, np.float32), 0, 1)
    return np.asarray((base[:, None, None] + (accent - base)[:, None, None] * mix) * tone, np.float32)


def _plaster(height: int, width: int, base: Floats, rng: Rng) -> Floats:
    noise = _clouds(height, width, [(3, 3), (9, 9), (30, 30), (height // 3, width // 3)], rng)
    accent = _color(rng, saturation=(0.02, 0.4), value=(0.3, 0.9))
    return _tinted(base, 1 + 0.16 * noise, accent, 0.25 + 0.4 * _clouds(height, width, [(3, 4)], rng))


def _wood(height: int, width: int, base: Floats, rng: Rng) -> Floats:
    along = rng.random() < 0.5
    h, w = (height, width) if along else (width, height)
    warp = _clouds(h, w, [(4, 2), (10, 3)], rng)
    rings = np.sin(np.arange(h, dtype=np.float32)[:, None] * np.float32(rng.uniform(0.1, 0.35)) + 5 * warp)
    fibres = _clouds(h, w, [(h // 2, 6), (h // 4, 12)], rng)
    plank = rng.integers(50, 110)
    rows = np.arange(h) % plank
    tones = rng.uniform(0.82, 1.12, h // plank + 1).astype(np.float32)
    tone = (1 + 0.07 * rings + 0.13 * fibres) * tones[np.arange(h) // plank, None]
    tone[rows < 2] *= 0.6
    tone = tone if along else np.ascontiguousarray(tone.T)
    return np.asarray(base[:, None, None] * tone, np.float32)


def _cloth(height: int, width: int, base: Floats, rng: Rng) -> Floats:
    period = rng.uniform(3, 7)
    angle = rng.uniform(0, np.pi)
    weave = _stripes(height, width, angle, period) + _stripes(height, width, angle + np.pi / 2, period)
    folds = _clouds(height, width, [(4, 4), (7, 7)], rng)
    accent = _color(rng, saturation=(0.05, 0.6), value=(0.3, 0.9))
    check = np.zeros((height, width), np.float32)
    if rng.random() < 0.5:
        wide = rng.uniform(40, 90)
        check = 0.25 * ((_stripes(height, width, angle, wide) > 0.2).astype(np.float32))
        check += 0.25 * (_stripes(height, width, angle + np.pi / 2, wide) > 0.2)
    return _tinted(base, 1 + 0.05 * weave + 0.14 * folds, accent, check)


def _tiles(height: int, width: int, base: Floats, rng: Rng) -> Floats:
    side = int(rng.integers(48, 130))
    rows, columns = np.arange(height) + rng.integers(side), np.arange(width) + rng.integers(side)
    tones = rng.uniform(0.86, 1.1, (height // side + 2, width // side + 2)).astype(np.float32)
    tone = tones[rows // side][:, columns // side]
    tone *= 1 + 0.08 * _clouds(height, width, [(6, 6), (40, 40)], rng)
    grout = np.float32(rng.choice([0.7, 1.25]))
    tone[rows % side < 3] = grout
    tone[:, columns % side < 3] = grout
    return np.asarray(base[:, None, None] * tone, np.float32)


def _terrazzo(height: int, width: int, base: Floats, rng: Rng) -> Floats:
    canvas = base[:, None, None] * (1 + 0.05 * _clouds(height, width, [(4, 4), (60, 60)], rng))
    colors = [_color(rng, saturation=(0.02, 0.5), value=(0.3, 0.95)) for _ in range(3)]
    for _ in range(height * width // 900):
        center = rng.uniform((0, 0), (width, height))
        chip = rng.uniform(1.5, 7) * rng.uniform(0.5, 1, (5, 1)) * _CHIP
        points = [_fixed_point(chip + center)]
        for plane, value in zip(canvas, (0.5 * colors[rng.integers(3)] + 0.5 * base).tolist(), strict=True):
            cv2.fillPoly(plane, points, [value], cv2.LINE_8, _SUBPIXEL_BITS)
    return np.asarray(canvas, np.float32)


_CHIP = np.stack([np.cos(np.arange(5) * 2 * np.pi / 5), np.sin(np.arange(5) * 2 * np.pi / 5)], axis=1)


# --- the camera --------------------------------------------------------------------------------------------------


def _photograph(canvas: Floats, rng: Rng) -> Image:
    """(3, H, W) float32 -> (H, W, 3) uint8 with camera defects: colour cast, exposure, defocus, motion blur, noise."""
    height, width = canvas.shape[1:]
    canvas *= (rng.uniform(0.8, 1.15) * rng.uniform(0.93, 1.07, 3)).astype(np.float32)[:, None, None]
    fault = rng.random()
    if fault < 0.3:
        strength = rng.uniform(0.5, 1.3)
        canvas = np.stack([cv2.GaussianBlur(plane, (0, 0), strength) for plane in canvas])
    elif fault < 0.4:
        kernel = _motion_blur(rng)
        canvas = np.stack([cv2.filter2D(plane, -1, kernel) for plane in canvas])
    noise = rng.integers(0, 256, (2, height, width), np.uint8)
    # The sum of two uniform draws of 0..255 has a standard deviation of 104.
    canvas += (noise[0].astype(np.float32) + noise[1] - 255) * np.float32(rng.uniform(0, 7) / 104)
    return np.asarray(cv2.merge([cv2.convertScaleAbs(plane) for plane in np.maximum(canvas, 0)]), np.uint8)


def _motion_blur(rng: Rng) -> Floats:
    """(7, 7) kernel of a short straight motion blur."""
    kernel = np.zeros((7, 7), np.float32)
    reach = rng.uniform(1.0, 2.5) * _rotation(rng.uniform(0, np.pi))[0]
    ends = _fixed_point(np.array([3.5 - reach, 3.5 + reach]))
    cv2.line(kernel, ends[0].tolist(), ends[1].tolist(), [1.0], 1, cv2.LINE_AA, _SUBPIXEL_BITS)
    return np.asarray(kernel / kernel.sum(), np.float32)
