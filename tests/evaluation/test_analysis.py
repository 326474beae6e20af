"""What is told beside the metric: which pictures are worst, and JSON that says all of it."""

import json
from collections.abc import Callable

import pytest

from lookonce.data.dataset import Dataset
from lookonce.evaluation.analysis import analyse, analysis_as_json
from lookonce.evaluation.matching import match
from lookonce.evaluation.results import Results

MakeDataset = Callable[..., Dataset]
MakeResults = Callable[..., Results]
SQUARE = [0, 0, 100, 100]
FAR = [500, 500, 600, 600]


def test_the_worst_images_come_first_and_the_faultless_not_at_all(
    make_dataset: MakeDataset, make_results: MakeResults
) -> None:
    dataset = make_dataset(
        [[SQUARE], [SQUARE, FAR], [FAR], []], [[0], [0, 0], [0], []], class_names=("a",), image_ids=[40, 10, 30, 20]
    )
    # The best threshold of a is between 0.3 and 0.9; picture 30 has a wrong box over it and one under it.
    results = make_results(
        [(40, 0, SQUARE, 0.9), (30, 0, SQUARE, 0.95), (30, 0, FAR, 0.9), (30, 0, [200, 0, 300, 100], 0.1)]
    )
    images = analyse(dataset, results, match(dataset, results)).images
    assert images.missed.tolist() == [0, 2, 0, 0]
    assert images.wrong.tolist() == [0, 0, 1, 0]
    assert images.worst().tolist() == [1, 2]


def test_a_class_without_findings_is_shown_from_a_quarter(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    dataset = make_dataset([[SQUARE]], [[0]])
    results = make_results([(1, 1, FAR, 0.3), (1, 1, FAR, 0.2)])
    analysis = analyse(dataset, results, match(dataset, results))
    assert analysis.best_thresholds() == {}
    assert (analysis.images.missed.tolist(), analysis.images.wrong.tolist()) == ([1], [1])


def test_json_holds_numbers_only_and_names_the_images(random_case: Callable[[int], tuple[Dataset, Results]]) -> None:
    for seed in range(20):
        dataset, results = random_case(seed)
        content = analysis_as_json(analyse(dataset, results, match(dataset, results)), dataset)
        assert json.loads(json.dumps(content, allow_nan=False)) == content
        assert set(content["curves"]) == set(content["scores"]) == set(dataset.class_names)
        wrong = sum(sum(histogram["wrong"]) for histogram in content["scores"].values())
        # Detections on a crowd and those after the 100th of a picture and class are neither right nor wrong.
        assert wrong <= len(results)
        assert [image["missed"] + image["wrong"] for image in content["worst_images"]] == sorted(
            (image["missed"] + image["wrong"] for image in content["worst_images"]), reverse=True
        )


def test_nothing_at_all_can_be_analysed(make_dataset: MakeDataset, make_results: MakeResults) -> None:
    for dataset in (make_dataset([], []), make_dataset([[], []], [[], []])):
        analysis = analyse(dataset, make_results([]), match(dataset, make_results([])))
        assert analysis.errors.AP50 == -1
        assert analysis.images.worst().tolist() == []
        assert analysis.calibration.error == pytest.approx(0)
