import math

import numpy as np
import pytest

from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import DEFAULT_ANCHORS, ModelRecord
from lookonce.weights.mask_probe import MaskHypothesis, compare_hypotheses, hypotheses_of, verdict


def described(mask: tuple[int, ...]) -> ModelRecord:
    return ModelRecord(
        dialect=DIALECTS["darknet"],
        class_names=("thing",),
        category_ids=(1,),
        anchors=DEFAULT_ANCHORS,
        masks=((3, 4, 5), mask),
        image_size=(96, 96),
    )


def heads(num_images: int, wh_32: tuple[float, float], wh_16: tuple[float, float]) -> list[np.ndarray]:
    """One object at (48, 48) in every picture: under masks 3,4,5 and 1,2,3 its boxes are wh_32 and wh_16 large.

    The stride-32 head says it with anchor 81x82 in cell 1, 1, whose middle it is; the stride-16 head with its last
    anchor, which is 81x82 too, in cell 2, 2, of which it lies 16 - 0.02 pixels to the right and down.
    """
    raws = [np.full((num_images, 18, 3, 3), -20.0, np.float32), np.full((num_images, 18, 6, 6), -20.0, np.float32)]
    for raw, channel, cell, (width, height), offset in ((raws[0], 0, 1, wh_32, 0.0), (raws[1], 12, 2, wh_16, 7.0)):
        raw[:, channel : channel + 2, cell, cell] = offset
        raw[:, channel + 2, cell, cell] = math.log(width / 81)
        raw[:, channel + 3, cell, cell] = math.log(height / 82)
        raw[:, channel + 4 : channel + 6, cell, cell] = 5
    return raws


HYPOTHESES = {"cfg": described((0, 1, 2)), "moved": described((1, 2, 3))}


def test_the_ratio_of_the_sides_is_the_ratio_of_the_anchors_where_the_mask_is_wrong() -> None:
    """Both heads say 60x60 under 1,2,3; under 0,1,2 the same numbers mean 37x58 in place of 81x82."""
    found = compare_hypotheses(heads(10, (60, 60), (60, 60)), HYPOTHESES)
    assert found["moved"].ratio == pytest.approx(1)
    assert found["cfg"].ratio == pytest.approx(math.sqrt(37 * 58 / (81 * 82)))
    assert found["moved"].num_pairs == 10
    assert verdict(found) == "moved"


def test_files_whose_own_mask_is_right_are_left_alone() -> None:
    """Under 1,2,3 the stride-16 head would say twice the size."""
    found = compare_hypotheses(heads(10, (60, 60), (60 * 81 / 37, 60 * 82 / 58)), HYPOTHESES)
    assert found["cfg"].ratio == pytest.approx(1)
    assert verdict(found) == "cfg"


def test_few_objects_or_two_readings_as_good_make_no_verdict() -> None:
    assert verdict(compare_hypotheses(heads(7, (60, 60), (60, 60)), HYPOTHESES)) is None
    assert verdict({"a": MaskHypothesis(ratio=0.9, num_pairs=20), "b": MaskHypothesis(ratio=1.2, num_pairs=20)}) is None
    nothing = compare_hypotheses([raw - 40 for raw in heads(10, (60, 60), (60, 60))], HYPOTHESES)
    assert nothing["cfg"].num_pairs == 0
    assert math.isnan(nothing["cfg"].ratio)
    assert verdict(nothing) is None


def test_other_places_and_other_classes_are_other_objects() -> None:
    raws = heads(10, (20, 20), (60, 60))
    raws[1] = np.roll(raws[1], 2, axis=3)  # two cells, 32 pixels to the right
    assert compare_hypotheses(raws, HYPOTHESES)["moved"].num_pairs == 0


def test_the_hypotheses_are_the_own_mask_and_the_one_an_anchor_further_if_there_is_such_an_anchor() -> None:
    assert {name: record.masks[1] for name, record in hypotheses_of(described((0, 1, 2))).items()} == {
        "mask=0,1,2": (0, 1, 2),
        "mask=1,2,3": (1, 2, 3),
    }
    assert list(hypotheses_of(described((3, 4, 5)))) == ["mask=3,4,5"]
