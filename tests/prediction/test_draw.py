"""Drawings: the box is where it is, tags are inside, legible and off each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookonce.colors import class_color, text_color
from lookonce.detections import Detections
from lookonce.prediction.draw import _hidden, draw, place_tags

NAMES = ("cell", "Лейкоцит", "赤血球", "", "a very long name that is wider than the picture it is in")


def found(*rows: tuple[float, ...]) -> Detections:
    """Rows of left, top, right, bottom, score, label."""
    table = np.array(rows, np.float32).reshape(-1, 6)
    return Detections(boxes_xyxy=table[:, :4], scores=table[:, 4], labels=table[:, 5].astype(np.int64))


def grey(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), 128, np.uint8)


def test_nothing_found_leaves_the_image_as_it_is():
    image = grey(20, 30)
    drawn = draw(image, Detections.none(), NAMES)
    np.testing.assert_array_equal(drawn, image)
    assert drawn is not image


def test_the_image_given_is_not_drawn_on():
    image = grey(100, 100)
    draw(image, found((10, 10, 50, 50, 0.9, 0)), NAMES)
    assert (image == 128).all()


def test_the_outermost_pixels_of_a_box_have_its_colour_and_the_inside_is_free():
    drawn = draw(grey(200, 200), found((50, 60, 150, 160, 0.9, 0)), NAMES)
    for row, column in ((159, 50), (159, 149), (100, 50), (100, 149), (159, 100)):
        assert tuple(drawn[row, column]) == class_color(0)
    assert (drawn[80:150, 60:140] == 128).all()


def test_the_best_box_is_on_top():
    drawn = draw(grey(200, 200), found((50, 60, 150, 160, 0.9, 0), (50, 60, 150, 160, 0.4, 1)), NAMES)
    assert tuple(drawn[159, 100]) == class_color(0)


@given(
    size=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    corners=st.lists(st.tuples(*[st.floats(-50, 250)] * 4), max_size=6),
)
def test_any_box_on_any_image(size, corners):
    rows = [(min(a, c), min(b, d), max(a, c), max(b, d), 0.5, row % 5) for row, (a, b, c, d) in enumerate(corners)]
    assert draw(grey(*size), found(*rows), NAMES).shape == (*size, 3)


def test_a_tag_stands_on_its_box_from_the_left():
    assert place_tags([(30, 10)], [(50, 60, 150, 160)], (200, 200)) == [(50, 50, 80, 60)]


def test_a_tag_moves_into_the_image():
    places = place_tags([(30, 10), (30, 10)], [(190, 60, 200, 160), (0, 0, 200, 200)], (200, 200))
    for left, top, right, bottom in places:
        assert left >= 0
        assert top >= 0
        assert right <= 200
        assert bottom <= 200


def test_tags_of_boxes_in_one_place_do_not_hide_each_other():
    places = place_tags([(30, 10)] * 4, [(50, 60, 150, 160)] * 4, (200, 200))
    for row, place in enumerate(places):
        others = np.array(places[:row] + places[row + 1 :], float)
        assert _hidden(np.array([place], float), others)[0] == 0


def test_tags_never_cover_each_other_and_few_of_a_crowd_are_left_out():
    generator = np.random.default_rng(0)
    corners = generator.integers(0, 540, (60, 2))
    boxes = [(int(x), int(y), int(x) + 90, int(y) + 90) for x, y in corners]
    places = [place for place in place_tags([(60, 16)] * 60, boxes, (640, 640)) if place is not None]
    for row, place in enumerate(places[1:], start=1):
        assert _hidden(np.array([place], float), np.array(places[:row], float)).sum() == 0
    assert len(places) > 50


def test_a_tag_without_a_free_place_is_left_out():
    places = place_tags([(30, 10)] * 9, [(5, 5, 25, 12)] * 9, (40, 20))
    assert places[0] is not None
    assert places[-1] is None


def test_colours_of_classes_differ_and_stay():
    colors = [class_color(label) for label in range(80)]
    assert len(set(colors)) == 80
    assert class_color(0) == (30, 140, 255)


@pytest.mark.parametrize("label", range(80))
def test_words_stand_out_from_their_ground(label):
    def luminance(color):
        linear = [
            part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in np.array(color) / 255
        ]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    ground, words = class_color(label), text_color(class_color(label))
    low, high = sorted((luminance(ground), luminance(words)))
    assert (high + 0.05) / (low + 0.05) >= 4.5  # WCAG 2.2, level AA


def test_a_long_name_ends_in_dots_and_leaves_room_for_its_score_and_the_image():
    names = ("a name that would be far wider than the whole image if it were drawn in full",)
    image = np.zeros((100, 200, 3), np.uint8)
    boxes = np.array([[20, 40, 60, 80]], np.float32)
    one = Detections(boxes_xyxy=boxes, scores=np.array([0.5], np.float32), labels=np.array([0]))
    drawn = draw(image, one, names)
    columns = np.flatnonzero((drawn == class_color(0)).all(axis=2).any(axis=0))
    assert 100 < np.ptp(columns) < 160  # at most 0.6 of the width for the name; then the score
    assert (drawn != draw(image, one, names, show_scores=False)).any()
