import itertools
import time
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from lookonce.data.fingerprint import (
    _MIRROR,
    COPY,
    COPY_DEVIATIONS,
    MOST_BITS,
    SCENE,
    Fingerprint,
    Likeness,
    find_likenesses,
    fingerprint,
    near_copy_groups,
)
from lookonce.data.synthetic import make_scene
from lookonce.letterbox import ImageArray


def encoded_again(picture: ImageArray, quality: int) -> ImageArray:
    return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


CHANGES: dict[str, Callable[[ImageArray], ImageArray]] = {
    "half": lambda picture: cv2.resize(picture, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "a third": lambda picture: cv2.resize(picture, None, fx=0.33, fy=0.33, interpolation=cv2.INTER_LINEAR),
    "twice": lambda picture: cv2.resize(picture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC),
    "stretched": lambda picture: cv2.resize(picture, (416, 416)),
    "jpeg 20": lambda picture: encoded_again(picture, 20),
    "brighter": lambda picture: cv2.convertScaleAbs(picture, alpha=1.1, beta=5),
    "grey": lambda picture: cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB),
}


@pytest.fixture(scope="module")
def scenes() -> list[ImageArray]:
    return [make_scene(3, "train", index).image for index in range(16)]


def test_different_scenes_are_not_alike(scenes: list[ImageArray]) -> None:
    assert not list(find_likenesses([fingerprint(scene) for scene in scenes]))


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found(scenes: list[ImageArray], change: str) -> None:
    prints = [fingerprint(scene) for scene in scenes] + [fingerprint(CHANGES[change](scene)) for scene in scenes]
    found = sorted(find_likenesses(prints), key=lambda likeness: likeness.first)
    assert found == [Likeness(first=row, second=row + 16, mirrored=False, copy=True) for row in range(16)]


def test_a_mirrored_copy_is_found_and_called_so(scenes: list[ImageArray]) -> None:
    prints = [fingerprint(scenes[0]), fingerprint(np.ascontiguousarray(scenes[0][:, ::-1]))]
    assert list(find_likenesses(prints)) == [Likeness(first=0, second=1, mirrored=True, copy=True)]


def test_one_moved_thing_makes_the_same_scene_and_no_copy(scenes: list[ImageArray]) -> None:
    """As two frames of a fixed camera: all but a 64th of the picture is the same to the last bit."""
    later = scenes[0].copy()
    height, width = later.shape[0] // 8, later.shape[1] // 8
    later[:height, :width] = 255 - later[:height, :width]
    found = list(find_likenesses([fingerprint(scenes[0]), fingerprint(later)]))
    assert found == [Likeness(first=0, second=1, mirrored=False, copy=False)]


def test_of_three_copies_each_later_one_is_told_once_with_the_first(scenes: list[ImageArray]) -> None:
    prints = [fingerprint(scenes[0])] * 3
    assert [(likeness.first, likeness.second) for likeness in find_likenesses(prints)] == [(0, 1), (0, 2)]


def test_plain_images_have_no_fingerprint() -> None:
    """Every grey card looks like every other."""
    assert fingerprint(np.full((40, 60, 3), 90, np.uint8)) is None
    assert not list(find_likenesses([None, None]))


def test_copies_and_frames_of_one_scene_are_a_group_and_different_scenes_are_not(scenes: list[ImageArray]) -> None:
    copies = [change(scene) for change, scene in zip(CHANGES.values(), scenes, strict=False)]
    mirrored = np.ascontiguousarray(scenes[-1][:, ::-1])
    prints = [*map(fingerprint, [*scenes, *copies, mirrored]), None]
    expected = [*range(16), *range(len(copies)), 15, len(prints) - 1]
    assert near_copy_groups(prints).tolist() == expected
    assert near_copy_groups([None, None]).tolist() == [0, 1]
    assert near_copy_groups([]).tolist() == []


def frame(generator: np.random.Generator, background: np.ndarray, change: float) -> Fingerprint:
    """A 32x32 frame of a fixed camera: noise, and a patch that differs by `change` grey levels."""
    picture = background + generator.normal(0, 1, (32, 32))
    row, column = generator.integers(0, 28, 2)
    picture[row : row + 4, column : column + 4] += change
    if generator.random() < 0.2:
        picture = picture[:, ::-1]
    grey = np.clip(np.rint(picture), 0, 255).astype(np.uint8)
    found = fingerprint(np.ascontiguousarray(np.repeat(grey[..., None], 3, axis=2)))
    assert found is not None
    return found


def background(generator: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(generator.normal(128, 400, (32, 32)), (0, 0), 3)


def one_by_one(prints: list[Fingerprint]) -> list[Likeness]:
    """The same in plain Python."""
    mirror = int(_MIRROR)
    copies: list[Likeness] = []
    scenes: dict[int, Likeness] = {}
    for first, one in enumerate(prints):
        for second in range(first + 1, len(prints)):
            if {first, second} & {copy.second for copy in copies}:
                continue
            differing = int(one.bits) ^ int(prints[second].bits)
            direct = differing.bit_count() <= MOST_BITS
            if not direct and (differing ^ mirror).bit_count() > MOST_BITS:
                continue
            a, b = (picture.astype(float) for picture in (one.thumbnail, prints[second].thumbnail))
            b = b if direct else b[:, ::-1]
            a, b = (a - a.mean()) / a.std(), (b - b.mean()) / b.std()
            if (a * b).mean() >= COPY and np.abs(a - b).max() <= COPY_DEVIATIONS:
                copies.append(Likeness(first=first, second=second, mirrored=not direct, copy=True))
                scenes.pop(second, None)
            elif (a * b).mean() >= SCENE:
                scenes.setdefault(second, Likeness(first=first, second=second, mirrored=not direct, copy=False))
    return [*copies, *scenes.values()]


@pytest.mark.parametrize("seed", range(3))
def test_frames_of_several_cameras_are_compared_as_one_by_one(seed: int) -> None:
    generator = np.random.default_rng(seed)
    cameras = [background(generator) for _ in range(3)]
    prints = [frame(generator, cameras[index % 3], [5, 60][index % 2]) for index in range(40)]
    found = list(find_likenesses(prints))
    assert found == one_by_one(prints)
    assert {likeness.copy for likeness in found} == {True, False}


@pytest.mark.parametrize("seed", range(3))
def test_groups_are_all_that_is_linked_by_pairs_of_one_scene(seed: int) -> None:
    """Also where the first and the last of a chain are no longer alike."""
    generator = np.random.default_rng(seed)
    start, end = background(generator), background(generator)
    drift = [frame(generator, start + (end - start) * part, 0) for part in np.linspace(0, 1, 25)]
    prints = [drift[row] for row in generator.permutation(25)] + [frame(generator, background(generator), 0)]
    groups = list(range(len(prints)))
    for first, second in itertools.combinations(range(len(prints)), 2):
        if one_by_one([prints[first], prints[second]]):
            low, high = sorted((groups[first], groups[second]))
            groups = [low if group == high else group for group in groups]
    assert near_copy_groups(prints).tolist() == groups
    assert len(set(groups[:-1])) < 25


@pytest.mark.parametrize(("count", "change"), [(5000, 5), (1000, 60)])
def test_thousands_of_frames_of_one_camera_are_compared_in_seconds(count: int, change: float) -> None:
    """Each pair of 1,000 frames that are no copies took 30 us: 15 s."""
    generator = np.random.default_rng(0)
    camera = background(generator)
    frames = [frame(generator, camera, change) for _ in range(100)]
    prints = [frames[index % 100] if change < 10 else frame(generator, camera, change) for index in range(count)]
    started = time.process_time()
    found = list(find_likenesses(prints))
    assert len(found) > 0.9 * count
    assert time.process_time() - started < 5
