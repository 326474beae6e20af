"""Each check alone, on numbers that a person can follow."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from lookonce.data.dataset import Dataset
from lookonce.evaluation.diagnosis import (
    Check,
    Diagnosis,
    check_anchors,
    check_categories,
    check_class_names,
    check_learning,
    check_scores,
    check_training_images,
    found_as,
    other_mapping,
)
from lookonce.evaluation.results import Results
from lookonce.settings.dialects import DIALECTS
from lookonce.settings.record import ModelRecord

MakeDataset = Callable[..., Dataset]
MakeResults = Callable[..., Results]
SQUARE = [0, 0, 100, 100]
FAR = [500, 500, 600, 600]
RECORD = ModelRecord(dialect=DIALECTS["ultralytics"], class_names=("a", "b"), category_ids=(1, 2))


def test_an_object_is_found_as_the_best_box_on_it_says(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    dataset = make_dataset([[SQUARE, FAR]], [[0, 1]])
    results = make_results([(1, 1, SQUARE, 0.9), (1, 0, SQUARE, 0.8), (1, 0, FAR, 0.1), (1, 0, [0, 0, 9, 9], 1.0)])
    assert found_as(dataset, results).tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("counts", "mapping"),
    [
        ([[9, 1, 0], [0, 8, 1], [1, 0, 9]], None),  # as labelled
        ([[1, 9, 0], [0, 1, 9], [9, 0, 1]], [1, 2, 0]),  # each as the next
        ([[1, 9, 0], [9, 1, 0], [0, 0, 9]], [1, 0, 2]),  # two exchanged
        ([[9, 0, 0], [9, 0, 0], [9, 0, 0]], None),  # everything as the commonest
        ([[4, 5, 1], [1, 4, 5], [5, 1, 4]], None),  # undecided
        ([[1, 4, 0], [3, 2, 0], [1, 1, 3]], None),  # may be chance
        ([[0, 2, 0], [0, 0, 2], [2, 0, 0]], None),  # too few
    ],
)
def test_a_mapping_needs_most_objects_of_most_classes(counts: list[list[int]], mapping: list[int] | None) -> None:
    assert other_mapping(np.array(counts)) == mapping


def test_exchanged_classes_are_named(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    dataset = make_dataset([[SQUARE, FAR]] * 8, [[0, 1]] * 8)
    exchanged = make_results([(n, label, box, 0.9) for n in range(1, 9) for label, box in ((1, SQUARE), (0, FAR))])
    check = check_categories([(dataset, exchanged)])
    assert check.verdict == "cause"
    assert "'a' as 'b', 'b' as 'a'; 0 % of 16 " in check.evidence
    assert check_categories([(dataset, make_results([]))]).verdict == "unknown"
    assert check_categories([]).verdict == "unknown"


def test_the_head_needs_an_output_for_each_class(make_dataset: MakeDataset) -> None:
    assert check_class_names(RECORD, make_dataset([], [])).verdict == "fine"
    more = make_dataset([], [], class_names=("a", "b", "c"))
    assert check_class_names(RECORD, more).evidence.endswith(" 'c'")
    other = make_dataset([], [], class_names=("x", "y", "z"))
    assert check_class_names(RECORD, other).verdict == "cause"


def test_anchors_far_from_all_objects_are_the_cause_and_better_ones_are_named() -> None:
    sizes = np.random.default_rng(0).uniform(500, 600, (100, 2)) / 100  # 5 to 6 pixels
    record = RECORD.model_copy(update={"anchors": ((100, 100),) * 6})
    check = check_anchors(sizes, record)
    assert (check.verdict, "anchors='[[5,5]," in check.advice) == ("cause", True)
    assert check_anchors(sizes * 20, record).verdict == "fine"
    # Half of the objects are tiny: it costs, but it does not explain 0.
    assert check_anchors(np.concatenate([sizes, sizes * 20]), record).verdict == "suspect"
    assert check_anchors(np.zeros((0, 2)), record).verdict == "unknown"


def learning(losses: list[float] | None = None, /, **changes: Any) -> Check:
    settings: Mapping[str, Any] = {"lr": 0.01, "optimizer": "sgd", "warmup_epochs": 1, "batch_size": 16, **changes}
    rows = [{"loss": loss, "step": 100 * number} for number, loss in enumerate(losses or [], start=1)]
    return check_learning(rows, settings)


@pytest.mark.parametrize(
    ("losses", "changes", "verdict", "told"),
    [
        ([5.0, 3.0, 2.0], {}, "fine", ["loss 5 ", " 2 "]),
        ([5.0, 3.0, 2.0], {"lr": 1.0}, "cause", ["lr 1 with sgd", "0.0003 to 0.05", "too high"]),
        ([5.0, 3.0, 2.0], {"lr": 0.1, "batch_size": 256}, "fine", ["lr 0.1"]),  # a large batch carries a large rate
        ([5.0, 5.0, 5.0], {"lr": 1e-6}, "cause", ["too low"]),
        ([5.0, 3.0], {"warmup_epochs": 3}, "cause", ["2 of 3"]),
        ([5.0, 3.0, 2.0, 6.0, 5.0], {}, "cause", ["epoch 4"]),
        ([5.0, 3.0, 6.0, 2.0], {}, "fine", ["loss 5"]),  # it came back
        ([5.0], {"warmup_epochs": 0}, "suspect", ["100 steps"]),
        ([], {}, "fine", ["no epoch"]),
    ],
)
def test_the_learning_rate_is_judged_by_what_is_usual_and_by_the_loss(
    losses: list[float], changes: dict[str, Any], verdict: str, told: list[str]
) -> None:
    check = learning(losses, **changes)
    assert (check.verdict, [word for word in told if word not in check.evidence]) == (verdict, []), check.evidence


def test_a_high_rate_that_works_is_only_suspected() -> None:
    settings = {"lr": 1.0, "optimizer": "sgd"}
    assert check_learning([], settings, healthy=True).verdict == "suspect"
    assert check_learning([], {"lr": 0.01, "optimizer": "sgd"}, diverged=True).verdict == "cause"
    assert check_learning([], {}).verdict == "unknown"


@pytest.mark.parametrize(
    ("train", "val", "verdict"),
    [(0.6, 0.5, "fine"), (0.6, 0.005, "cause"), (0.0, 0.0, "suspect"), (-1, 0.0, "unknown"), (0.6, -1, "fine")],
)
def test_what_it_was_shown_it_should_find(train: float, val: float, verdict: str) -> None:
    assert check_training_images(train, val, 10).verdict == verdict


def test_a_network_that_is_sure_of_nothing_is_suspected(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    dataset = make_dataset([[SQUARE]], [[0]])
    assert check_scores([(dataset, make_results([(1, 0, SQUARE, 0.02)]))]).verdict == "suspect"
    sure = check_scores([(dataset, make_results([(1, 0, SQUARE, 0.9), (1, 0, FAR, 0.002)]))])
    assert sure.verdict == "fine"
    assert "1 from 0.001 to 0.01" in sure.evidence
    assert "1 from 0.5 to 1" in sure.evidence
    assert check_scores([]).verdict == "unknown"


def test_the_first_cause_is_the_one_that_is_named() -> None:
    checks = [
        Check(name=name, verdict=verdict, evidence="")  # type: ignore[arg-type]
        for name, verdict in (("one", "suspect"), ("two", "cause"), ("three", "cause"))
    ]
    diagnosis = Diagnosis(checks=checks, AP50=0.0)
    assert diagnosis.cause is checks[1]
    assert (diagnosis.exit_code, Diagnosis(checks=checks[:1], AP50=0.0).exit_code) == (1, 0)
