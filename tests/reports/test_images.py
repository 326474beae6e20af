import base64
import re

import cv2
import numpy as np
import pytest

from lookonce.detections import Detections
from lookonce.prediction.draw import font_for
from lookonce.reports.images import ComparedImage, Tag, compared_figure, data_uri, ink_on, match, tags_over
from lookonce.reports.sheets import headed


def boxes(*rows: tuple[float, float, float, float, float, int]) -> Detections:
    """left, top, right, bottom, score, label."""
    table = np.array(rows, np.float64).reshape(-1, 6)
    return Detections(
        boxes_xyxy=table[:, :4].astype(np.float32),
        scores=table[:, 4].astype(np.float32),
        labels=table[:, 5].astype(np.int64),
    )


def test_the_best_score_takes_the_object_and_the_second_is_too_many() -> None:
    truth = boxes((0, 0, 10, 10, 1, 0))
    found = boxes((0, 0, 10, 8, 0.9, 0), (0, 0, 10, 9, 0.6, 0))
    hit_truth, hit_found = match(truth, found)
    assert hit_truth.tolist() == [True]
    assert hit_found.tolist() == [True, False]


def test_another_class_or_too_little_overlap_does_not_count() -> None:
    truth = boxes((0, 0, 10, 10, 1, 0), (20, 20, 30, 30, 1, 1))
    found = boxes((0, 0, 10, 10, 0.9, 1), (20, 20, 30, 24.9, 0.9, 1))  # IoU 0.49
    hit_truth, hit_found = match(truth, found)
    assert not hit_truth.any()
    assert not hit_found.any()


def test_nothing_matches_nothing() -> None:
    hit_truth, hit_found = match(Detections.none(), boxes((0, 0, 1, 1, 0.5, 0)))
    assert hit_truth.shape == (0,)
    assert hit_found.tolist() == [False]
    assert match(boxes((0, 0, 1, 1, 1, 0)), Detections.none())[0].tolist() == [False]


def test_a_pair_embeds_its_image_once_and_says_what_was_missed() -> None:
    image = ComparedImage(
        name="a&b.jpg",
        image=np.full((40, 60, 3), 128, np.uint8),
        truth=boxes((0, 0, 10, 10, 1, 0), (20, 20, 30, 30, 1, 1)),
        found=boxes((0, 0, 10, 10, 0.8, 0)),
    )
    html = compared_figure(image, (("cat", "#ffcc00"), ("dog", "#0000aa")), "p1")
    assert html.count("data:image/jpeg") == 1
    assert html.count('href="#p1"') == 1
    assert "2 labelled, 1 missed, false positives: 0" in html
    assert "a&amp;b.jpg" in html
    assert html.count("stroke-dasharray") == 1  # the dog
    assert "cat 0.80" in html


def test_large_images_are_embedded_smaller() -> None:
    uri = data_uri(np.zeros((500, 1280, 3), np.uint8))
    content = np.frombuffer(base64.b64decode(uri.split(",", 1)[1]), np.uint8)
    decoded = cv2.imdecode(content, cv2.IMREAD_COLOR)
    assert decoded is not None
    assert decoded.shape == (250, 640, 3)


def test_ink_is_dark_on_yellow_and_light_on_blue() -> None:
    assert ink_on("#ffd700") == "#101010"
    assert ink_on("#0000aa") == "#ffffff"


@pytest.mark.skipif(font_for("ü", 14) is None, reason="no font of this machine has the letter")
def test_a_heading_has_the_letters_of_the_files_name() -> None:
    image = np.zeros((4, 200, 3), np.uint8)
    assert (headed(image, "grün.jpg", "", 200) != headed(image, "gr\ufffen.jpg", "", 200)).any()


def test_a_long_name_ends_in_dots_before_its_score_and_a_chinese_letter_is_as_wide_as_high() -> None:
    box = (10.0, 40.0, 60.0, 90.0)
    long, chinese = (Tag(name=name, numbers=" 0.91", box_xyxy=box, color="#ffd700") for name in ("a" * 200, "猫" * 4))
    svg = tags_over([long], (100, 100))
    text, place = (
        re.findall(r">(a+\.\.\. 0\.91)<title>", svg)[0],
        re.findall(r'<rect x="(\d+)"[^>]*width="(\d+)"', svg)[0],
    )
    assert 10 < len(text) < 40
    assert sum(map(int, place)) <= 100
    assert f"<title>{'a' * 200} 0.91</title>" in svg
    font = 100 / 28
    assert f'textLength="{font * (4 + 5 * 0.58):.1f}"' in tags_over([chinese], (100, 100))
