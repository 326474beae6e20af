import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from raised import raises

from lookonce.errors import DataError, SettingsError
from lookonce.settings.schema import Settings
from lookonce.settings.text import parse_text
from lookonce.workflows.anchors import anchors, as_text


@pytest.fixture
def data(tmp_path: Path) -> Callable[[list[tuple[float, float]]], tuple[Path, Path]]:
    """A COCO file of 12 pictures of 416x416, each with boxes of these sizes give or take a tenth."""

    def make(sizes: list[tuple[float, float]], pictures: int = 12) -> tuple[Path, Path]:
        generator = np.random.default_rng(0)
        boxes = []
        for number in range(1, pictures + 1):
            Image.new("RGB", (416, 416)).save(tmp_path / f"{number}.png")
            for size in sizes:
                width, height = np.array(size) * generator.uniform(0.9, 1.1)
                boxes.append({"image_id": number, "category_id": 1, "bbox": [0, 0, width, height]})
        images = [
            {"id": number, "file_name": f"{number}.png", "width": 416, "height": 416}
            for number in range(1, pictures + 1)
        ]
        content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "a"}]}
        (tmp_path / "train.json").write_text(json.dumps(content))
        return tmp_path / "train.json", tmp_path

    return make


def test_far_better_anchors_are_taken(data: Callable[..., tuple[Path, Path]], tmp_path: Path) -> None:
    file, images = data([(200, 20), (20, 200)])
    advice = anchors(file, images=images, plot=tmp_path / "plots" / "sizes.svg")
    assert advice.gain_is_real
    assert advice.fitted.overlap > 0.9 > 0.5 > advice.now.overlap
    *_, line = as_text(advice)
    typed = line.removeprefix('--anchors "').removesuffix('"')
    assert Settings(anchors=parse_text("anchors", typed)).anchors == advice.fitted.anchors
    assert ET.parse(tmp_path / "plots" / "sizes.svg").getroot().tag.endswith("svg")
    assert f"written: {tmp_path / 'plots' / 'sizes.svg'}" in as_text(advice)


def test_anchors_that_fit_are_kept(data: Callable[..., tuple[Path, Path]]) -> None:
    """The default anchors, give or take a tenth: fitted ones are a little better, which is no reason to change."""
    file, images = data([(10, 14), (23, 27), (37, 58), (81, 82), (135, 169), (344, 319)])
    advice = anchors(file, images=images, restarts=5)
    assert not advice.gain_is_real
    assert advice.chosen == advice.now
    assert list(as_text(advice))[-1] == '--anchors "[[10,14],[23,27],[37,58],[81,82],[135,169],[344,319]]"'


def test_no_anchor_is_smaller_than_half_its_stride(data: Callable[..., tuple[Path, Path]]) -> None:
    file, images = data([(3, 3), (5, 4)])
    fitted = np.array(anchors(file, images=images, restarts=5).fitted.anchors)
    assert fitted[:3].min() == 8
    assert fitted[3:].min() == 16


def test_few_images_prove_nothing(data: Callable[..., tuple[Path, Path]]) -> None:
    file, images = data([(200, 20)], pictures=4)
    advice = anchors(file, images=images, restarts=2)
    assert advice.held_out == ()
    assert not advice.gain_is_real
    assert any("fewer than 10" in line for line in as_text(advice))


def test_an_input_that_is_not_square_changes_the_sizes(data: Callable[..., tuple[Path, Path]]) -> None:
    file, images = data([(100, 50)])
    square, wide = (anchors(file, images=images, restarts=2, image_size=size) for size in (416, "224x416"))
    assert (square.image_size, wide.image_size) == ((416, 416), (224, 416))
    np.testing.assert_allclose(wide.fitted.anchors, np.array(square.fitted.anchors) * 224 / 416, atol=8)


def test_settings_that_training_would_refuse_are_refused(data: Callable[..., tuple[Path, Path]]) -> None:
    file, images = data([(20, 20)])
    with raises(SettingsError, setting="image_size", value=400):
        anchors(file, images=images, image_size=400)
    with raises(SettingsError, "6 pairs", setting="current", value="[[1,2]]"):
        anchors(file, images=images, current="[[1,2]]")
    with raises(SettingsError, setting="current", value="auto"):
        anchors(file, images=images, current="auto")
    with raises(SettingsError, setting="restarts", value=0):
        anchors(file, images=images, restarts=0)


def test_nothing_to_fit_to_is_an_error(data: Callable[..., tuple[Path, Path]]) -> None:
    file, images = data([])
    with raises(DataError, "'train'", path=file):
        anchors(file, images=images)
