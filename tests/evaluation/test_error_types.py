"""Each kind of error alone, by hand; the costs against hotcoco's own TIDE."""

from collections.abc import Callable

import numpy as np
import pytest

from lookonce.data.dataset import Dataset
from lookonce.evaluation.analysis import image_errors
from lookonce.evaluation.coco import score
from lookonce.evaluation.error_types import KINDS, average_precision, confusion_matrix, split_errors
from lookonce.evaluation.matching import match
from lookonce.evaluation.results import Results

MakeDataset = Callable[..., Dataset]
MakeResults = Callable[..., Results]
SQUARE = [0, 0, 100, 100]
FAR = [500, 500, 600, 600]


@pytest.mark.parametrize(
    ("label", "box", "kind", "other_missed"),
    [
        (0, [0, 0, 100, 30], "localisation", False),  # IoU 0.3 with an object of its class
        (1, SQUARE, "class", False),
        (1, [0, 0, 100, 30], "both", True),
        (0, [300, 300, 400, 400], "background", True),
    ],
)
def test_a_wrong_detection_has_one_kind(
    label: int, box: list[float], kind: str, other_missed: bool, make_dataset: MakeDataset, make_results: MakeResults
) -> None:
    split = split_errors(make_dataset([[SQUARE]], [[0]]), make_results([(1, label, box, 0.9)]))
    assert KINDS[split.kinds[0]] == kind
    assert split.undetected.tolist() == [other_missed]
    assert split.counts()["undetected"] == int(other_missed)


def test_the_weaker_of_two_on_one_object_is_a_duplicate(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    # a: SQUARE found twice before FAR. Precision 1, 1/2, 2/3: AP50 = (51 * 1 + 50 * 2/3) / 101; without it 1.
    dataset = make_dataset([[SQUARE, FAR]], [[0, 0]], class_names=("a",))
    results = make_results([(1, 0, SQUARE, 0.8), (1, 0, SQUARE, 0.9), (1, 0, FAR, 0.7)])
    split = split_errors(dataset, results)
    assert split.kinds.tolist() == [KINDS.index("duplicate"), -1, -1]
    assert split.objects.tolist() == [0, -1, -1]
    before = split.AP50
    assert before == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert split.gains["duplicate"] == pytest.approx(1 - before)
    assert [split.gains[kind] for kind in KINDS if kind != "duplicate"] == [0] * 5


def test_repairing_the_class_moves_the_detection_there(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    # Class a: one of two found (51/101). Class b: its object found, but first a wrong one (1/2).
    dataset = make_dataset([[SQUARE, FAR, [200, 200, 300, 300]]], [[0, 0, 1]])
    results = make_results([(1, 0, SQUARE, 0.9), (1, 1, FAR, 0.8), (1, 1, [200, 200, 300, 300], 0.7)])
    split = split_errors(dataset, results)
    before = split.AP50
    assert before == pytest.approx((51 / 101 + 1 / 2) / 2)
    assert split.gains["class"] == pytest.approx(1 - before)
    assert split.gains["undetected"] == 0


def test_missed_objects_cost_what_they_would_not_if_they_were_not_there(
    make_dataset: MakeDataset, make_results: MakeResults
) -> None:
    dataset = make_dataset([[SQUARE, FAR]], [[0, 0]], class_names=("a",))
    split = split_errors(dataset, make_results([(1, 0, SQUARE, 0.9)]))
    assert split.undetected.tolist() == [False, True]
    assert split.gains["undetected"] == pytest.approx(1 - 51 / 101)


def test_only_the_best_chance_of_an_object_becomes_right(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    dataset = make_dataset([[SQUARE]], [[0]], class_names=("a",))
    results = make_results([(1, 0, [0, 0, 100, 30], 0.9), (1, 0, [0, 0, 100, 40], 0.8)])
    split = split_errors(dataset, results)
    assert (split.AP50, split.gains["localisation"]) == (0, 1)


def test_what_lies_on_a_crowd_is_no_error(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    dataset = make_dataset([[SQUARE, FAR]], [[0, 0]], crowd=[[True, False]], class_names=("a",))
    split = split_errors(dataset, make_results([(1, 0, SQUARE, 0.9), (1, 0, FAR, 0.5)]))
    assert split.kinds.tolist() == [-1, -1]
    assert split.AP50 == 1


def test_no_detections_and_no_objects(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    nothing = split_errors(make_dataset([[]], [[]]), make_results([]))
    assert (nothing.AP50, nothing.counts()["undetected"]) == (-1, 0)
    unlabelled = split_errors(make_dataset([[]], [[]]), make_results([(1, 0, SQUARE, 0.5)]))
    assert unlabelled.counts()["background"] == 1
    unseen = split_errors(make_dataset([[SQUARE]], [[0]]), make_results([]))
    assert (unseen.AP50, unseen.gains["undetected"]) == (0, 1)


@pytest.mark.parametrize("seed", range(5))
def test_kinds_and_ap_agree_with_hotcoco(seed: int, make_dataset: MakeDataset, make_results: MakeResults) -> None:
    import hotcoco

    rng = np.random.default_rng(seed)
    corners = rng.uniform(0, 500, (30, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(20, 200, (30, 2))], axis=1)
    labels = rng.integers(0, 2, 30)
    rows = [
        (1 + int(n) // 6, int(rng.integers(0, 2)), (boxes[n] + rng.uniform(-50, 50, 4) * rng.random()).tolist(), s)
        for n, s in zip(rng.integers(0, 30, 80), rng.permutation(80) / 80, strict=True)
    ]
    rows = [row for row in rows if row[2][2] > row[2][0] and row[2][3] > row[2][1]]
    dataset = make_dataset(boxes.reshape(5, 6, 4).tolist(), labels.reshape(5, 6).tolist())
    results = make_results(rows)
    split = split_errors(dataset, results)
    assert abs(split.AP50 - score(dataset, results).AP50) < 1e-12
    truth = hotcoco.COCO.from_arrays(
        [{"id": n} for n in range(1, 6)],
        [{"id": n, "name": str(n)} for n in (1, 2)],
        np.repeat(np.arange(1, 6), 6),
        labels + 1,
        np.concatenate([corners, boxes[:, 2:] - corners], axis=1),
    )
    found = np.column_stack([results.image_ids, results.boxes_xywh, results.scores, results.labels + 1])
    evaluation = hotcoco.COCOeval(truth, truth.load_res(found), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    theirs = evaluation.tide_errors()
    names = {"class": "Cls", "localisation": "Loc", "both": "Both", "duplicate": "Dupe", "background": "Bkg"}
    ours = split.counts()
    assert {kind: ours[kind] for kind in names} == {kind: theirs["counts"][name] for kind, name in names.items()}  # type: ignore[index]


def test_average_precision_of_one_class() -> None:
    assert average_precision(np.asarray([True, False, True]), 2) == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert average_precision(np.zeros(0, np.bool_), 2) == 0


def test_confusion_counts_each_object_and_each_shown_detection(
    make_dataset: MakeDataset, make_results: MakeResults
) -> None:
    dataset = make_dataset([[SQUARE, FAR], [[0, 0, 50, 50]]], [[0, 1], [0]])
    rows = [
        (1, 0, SQUARE, 0.9),  # right
        (1, 0, FAR, 0.8),  # b has its own detection: background
        (1, 1, FAR, 0.7),  # right
        (2, 1, [200, 200, 300, 300], 0.6),  # background
        (2, 0, [0, 0, 50, 50], 0.1),  # below the threshold: the object is missed
    ]
    assert confusion_matrix(dataset, make_results(rows)).tolist() == [[1, 0, 1], [0, 1, 0], [1, 1, 0]]


def test_an_object_counts_for_its_own_class_first(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    # The better box on the cat says dog: the cat is detected all the same, and the dog has no object.
    dataset = make_dataset([[SQUARE]], [[0]])
    results = make_results([(1, 1, SQUARE, 0.9), (1, 0, [0, 0, 100, 80], 0.6)])
    matrix = confusion_matrix(dataset, results)
    assert matrix.tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 0]]
    matches = match(dataset, results)
    missed = image_errors(dataset, matches, [0.25, 0.25]).missed.sum()
    assert missed == (matrix.sum(1) - matrix.diagonal())[:-1].sum() == 0


def test_confusion_leaves_out_what_lies_in_a_crowd(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    dataset = make_dataset([[[0, 0, 400, 400]], []], [[0], []], crowd=[[True], []])
    assert confusion_matrix(dataset, make_results([(1, 1, SQUARE, 0.9)])).sum() == 0
