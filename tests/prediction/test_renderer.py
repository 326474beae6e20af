"""Crops, names of files, and clips that follow one another."""

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from raised import raises

from lookonce.detections import Detections
from lookonce.errors import SettingsError
from lookonce.prediction.media import Clip, ImageSource, Media
from lookonce.prediction.predictor import Prediction
from lookonce.prediction.renderer import Renderer, crops_of, folder_name, require_untouched
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord

NAMES = ("cat", "../dog: 犬", "...")
RECORD = ModelRecord(dialect=DIALECTS["darknet"], class_names=NAMES, category_ids=(1, 2, 3))
IMAGE = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)


def found(*boxes: tuple[float, float, float, float]) -> Detections:
    return Detections(
        boxes_xyxy=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.full(len(boxes), 0.5, np.float32),
        labels=np.arange(len(boxes)),
    )


def prediction(place: str, detections: Detections, clip: Clip | None = None, seconds: float = 0) -> Prediction:
    source = ImageSource(name=place, place=Path(place), clip=clip, seconds=Fraction(seconds))
    return Prediction(source=source, image=IMAGE, detections=detections)


def draw_all(folder: Path, predictions: list[Prediction], *, images: bool, crops: bool = False) -> list[str]:
    drawings = Renderer(folder, RECORD, images=images, crops=crops)
    assert list(drawings.drawn(iter(predictions))) == predictions
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_crop_is_every_pixel_that_the_box_touches():
    ((crop, label),) = crops_of(IMAGE, found((2.5, 3.0, 10.1, 20.0)))
    np.testing.assert_array_equal(crop, IMAGE[3:20, 2:11])
    assert label == 0


@pytest.mark.parametrize("box", [(29.9, 19.9, 30, 20), (0, 0, 0, 0), (30, 20, 30, 20)])
def test_a_crop_has_at_least_one_pixel(box):
    ((crop, _),) = crops_of(IMAGE, found(box))
    assert crop.shape == (1, 1, 3)


def test_crops_lie_in_a_folder_of_their_class_and_a_png_keeps_its_pixels(tmp_path):
    boxes = found((0, 0, 10, 10), (5, 5, 20, 15), (1, 1, 2, 2))
    written = draw_all(tmp_path, [prediction("sub/a.png", boxes)], images=False, crops=True)
    assert written == ["crops/cat/sub/a-1.png", "crops/class 2/sub/a-3.png", "crops/dog_犬/sub/a-2.png"]
    content = np.fromfile(tmp_path / "crops" / "cat" / "sub" / "a-1.png", np.uint8)
    np.testing.assert_array_equal(cv2.imdecode(content, cv2.IMREAD_COLOR_RGB), IMAGE[:10, :10])


def test_crops_of_images_that_differ_in_their_suffix_do_not_replace_each_other(tmp_path):
    places = ("a.jpg", "a.gif", "a.tif", "a.png")
    written = draw_all(tmp_path, [prediction(place, found((0, 0, 9, 9))) for place in places], images=False, crops=True)
    assert written == [f"crops/cat/{name}" for name in ("a-1.jpg", "a-1.png", "a.gif-1.jpg", "a.tif-1.jpg")]


@pytest.mark.parametrize(
    ("name", "expected"), [("cat", "cat"), ("../a/b", "a_b"), ("a b", "a_b"), ("..", "class 0"), ("猫", "猫")]
)
def test_a_class_name_becomes_a_folder_that_lies_where_it_should(name, expected):
    assert folder_name((name,), 0) == expected


def test_each_clip_becomes_a_video_and_images_stay_images(tmp_path):
    av = pytest.importorskip("av", reason="the extra `video` is not installed")
    one, other = (Clip(name=name, place=Path(name), frames=list) for name in ("one.avi", "sub/other.mkv"))
    predictions = [
        *(prediction("x", found(), one, seconds) for seconds in (0, 1, 2)),
        prediction("still.tif", found()),
        *(prediction("y", found(), other, seconds) for seconds in (0, 1)),
    ]
    assert draw_all(tmp_path, predictions, images=True) == ["one.mp4", "still.tif.jpg", "sub/other.mp4"]
    for name, count in (("one.mp4", 3), ("sub/other.mp4", 2)):
        with av.open(str(tmp_path / name)) as container:
            assert sum(1 for _ in container.decode(video=0)) == count


def test_a_clip_is_not_replaced_by_its_drawing(tmp_path):
    path = tmp_path / "a.mp4"
    clip = Clip(name="a.mp4", place=Path("a.mp4"), path=path, frames=list)
    with raises(SettingsError, "a.mp4", setting="output"):
        require_untouched(Media(entries=[clip], total=1), tmp_path)
