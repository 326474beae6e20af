import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from raised import raises

from lookonce.data.outlines import KINDS, clutter
from lookonce.data.synthetic import CLASS_NAMES, Scene, SceneOptions, make_scene, write_synthetic
from lookonce.errors import DataError

SMALL = SceneOptions(sides=(64, 96), smallest=8.0, max_things=4)


def scenes(count: int, options: SceneOptions = SMALL) -> list[Scene]:
    return [make_scene(0, "train", index, options) for index in range(count)]


def test_an_image_depends_on_seed_split_and_index_alone() -> None:
    first = make_scene(3, "train", 7, SMALL)
    again = make_scene(3, "train", 7, SMALL)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.boxes_xyxy, again.boxes_xyxy)
    for other in (make_scene(4, "train", 7), make_scene(3, "val", 7), make_scene(3, "train", 8)):
        assert other.image.shape != first.image.shape or not np.array_equal(other.image, first.image)


def test_boxes_are_whole_pixels_inside_the_image_and_hold_the_visible_area() -> None:
    for scene in scenes(30):
        height, width = scene.image.shape[:2]
        assert scene.image.dtype == np.uint8
        assert 64 <= min(height, width) <= max(height, width) <= 96
        wh = scene.boxes_xyxy[:, 2:] - scene.boxes_xyxy[:, :2]
        assert (wh >= 1).all()
        assert (scene.boxes_xyxy[:, :2] >= 0).all()
        assert (scene.boxes_xyxy[:, 2:] <= (width, height)).all()
        assert np.array_equal(scene.boxes_xyxy, np.round(scene.boxes_xyxy))
        assert (scene.areas <= wh.prod(axis=1)).all()
        assert (scene.areas >= 12).all()


def test_every_class_and_empty_images_occur() -> None:
    labels = np.concatenate([scene.labels for scene in scenes(60)])
    assert set(labels.tolist()) == set(range(len(CLASS_NAMES)))
    empty = SceneOptions(sides=(64, 64), empty_share=1.0)
    assert all(len(scene.labels) == 0 for scene in scenes(5, empty))


@pytest.mark.parametrize("kind", [*KINDS, "clutter"])
def test_a_shape_lies_within_its_unit_frame_and_leaves_a_silhouette(kind: str) -> None:
    for seed in range(10):
        rng = np.random.default_rng(seed)
        shape = KINDS[kind](rng) if kind in KINDS else clutter(rng)
        points = np.concatenate(shape.solids)
        assert np.abs(points).max() <= 1.3
        mask = np.zeros((200, 200), np.uint8)
        for value, outlines in ((255, shape.solids), (0, shape.holes)):
            for outline in outlines:
                cv2.fillPoly(mask, [np.round(outline * 70 + 100).astype(np.int32)], [value])
        assert np.count_nonzero(mask) > 300


def test_a_bigger_data_set_begins_with_the_smaller_one(tmp_path: Path) -> None:
    small = write_synthetic(tmp_path / "small", train=2, val=1, options=SMALL, workers=1)
    large = write_synthetic(tmp_path / "large", train=4, val=2, test=1, options=SMALL, workers=2)
    for image in sorted(small.glob("*2017/*.jpg")):
        assert image.read_bytes() == (large / image.relative_to(small)).read_bytes()
    few, many = (json.loads((root / "annotations/instances_train2017.json").read_text()) for root in (small, large))
    assert few["images"] == many["images"][:2]
    assert few["annotations"] == many["annotations"][: len(few["annotations"])]
    assert not (small / "test2017").exists()
    assert (large / "annotations/instances_test2017.json").exists()


def test_coco_entries_fit_the_images(tmp_path: Path) -> None:
    folder = write_synthetic(tmp_path, train=3, val=0, options=SceneOptions(sides=(64, 64), empty_share=0.0))
    document = json.loads((folder / "annotations/instances_train2017.json").read_text())
    assert [(entry["id"], entry["name"]) for entry in document["categories"]] == list(enumerate(CLASS_NAMES, start=1))
    assert document["annotations"]
    assert {entry["category_id"] for entry in document["annotations"]} <= set(range(1, len(CLASS_NAMES) + 1))
    assert [entry["id"] for entry in document["annotations"]] == list(range(1, len(document["annotations"]) + 1))
    for image in document["images"]:
        picture = cv2.imread(str(folder / "train2017" / image["file_name"]))
        assert picture is not None
        assert picture.shape == (image["height"], image["width"], 3)


def test_it_writes_into_no_folder_that_holds_something(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with raises(DataError, path=tmp_path):
        write_synthetic(tmp_path, train=1, val=0)
    with raises(DataError, path="mine.txt"):
        write_synthetic(tmp_path / "mine.txt", train=1, val=0)
