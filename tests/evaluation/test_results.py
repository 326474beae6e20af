"""COCO results files: read, written, refused by row."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from raised import raises

from lookonce.data.dataset import Dataset
from lookonce.detections import Detections
from lookonce.errors import DataError
from lookonce.evaluation.coco import score
from lookonce.evaluation.results import Results, read_coco_results, write_coco_results

MakeDataset = Callable[..., Dataset]


@pytest.fixture
def dataset(make_dataset: MakeDataset) -> Dataset:
    boxes = [[[0, 0, 50, 50], [10, 10, 90, 90]], [], [[5, 5, 300, 200]]]
    return make_dataset(boxes, [[0, 1], [], [1]], category_ids=(90, 7), image_ids=[2**62, 3, 2**53 + 1])


def shaken(dataset: Dataset, seed: int) -> Results:
    """100 float32 detections a picture around its boxes."""
    rng = np.random.default_rng(seed)
    detections = []
    for index in range(len(dataset)):
        boxes = dataset.boxes_xyxy[dataset.rows(index)]
        near = np.repeat(boxes, 100 // max(1, len(boxes)), axis=0) + rng.normal(0, 3, (100 if len(boxes) else 0, 4))
        detections.append(
            Detections(
                boxes_xyxy=np.sort(near.astype(np.float32).reshape(-1, 2, 2), axis=1).reshape(-1, 4),
                scores=rng.random(len(near), dtype=np.float32),
                labels=rng.integers(0, 2, len(near)),
            )
        )
    return Results.from_detections(dataset.image_ids.tolist(), detections)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_file_and_memory_are_the_same_to_the_last_digit(dataset: Dataset, tmp_path: Path, seed: int) -> None:
    results = shaken(dataset, seed)
    path = tmp_path / "results.json"
    write_coco_results(path, results, dataset)
    again = read_coco_results(path, dataset)
    for name in ("image_ids", "labels", "boxes_xywh", "scores"):
        np.testing.assert_array_equal(getattr(again, name), getattr(results, name))
    assert score(dataset, again) == score(dataset, results)


def test_the_file_is_cocos(dataset: Dataset, tmp_path: Path) -> None:
    found = Detections(
        boxes_xyxy=np.asarray([[1, 2, 3.5, 4.1]], np.float32),
        scores=np.asarray([0.5], np.float32),
        labels=np.asarray([1], np.int64),
    )
    write_coco_results(tmp_path / "r.json", Results.from_detections([3], [found]), dataset)
    assert json.loads((tmp_path / "r.json").read_text()) == [
        {"image_id": 3, "category_id": 7, "bbox": [1, 2, 2.5, 2.1], "score": 0.5}
    ]


def test_no_detections_make_an_empty_list(dataset: Dataset, tmp_path: Path) -> None:
    write_coco_results(tmp_path / "r.json", Results.from_detections([], []), dataset)
    assert json.loads((tmp_path / "r.json").read_text()) == []
    assert len(read_coco_results(tmp_path / "r.json", dataset)) == 0


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ('{"image_id":3,"category_id":8,"bbox":[0,0,5,5],"score":1}', ["category_id", "8", "90 'a', 7 'b'"]),
        ('{"image_id":4,"category_id":7,"bbox":[0,0,5,5],"score":1}', ["image_id is 4"]),
        ('{"image_id":3.5,"category_id":7,"bbox":[0,0,5,5],"score":1}', ["expected {"]),
        ('{"image_id":"nowhere","category_id":7,"bbox":[0,0,5,5],"score":1}', ["expected {"]),
        ('{"image_id":3,"category_id":7,"bbox":[0,0,NaN,5],"score":1}', ["bbox", "nan", "finite"]),
        ('{"image_id":3,"category_id":7,"bbox":[0,0,-1,5],"score":1}', ["bbox", "-1.0", "width"]),
        ('{"image_id":3,"category_id":7,"bbox":[0,0,5,5],"score":NaN}', ["score", "nan"]),
        ('{"image_id":3,"category_id":7,"bbox":[0,0,5],"score":1}', ["expected {"]),
        ('{"image_id":3,"category_id":7,"bbox":[0,0,5,5]}', ["expected {"]),
        ('{"image_id":3,"category_id":[7],"bbox":[0,0,5,5],"score":1}', ["expected {"]),
        ('{"image_id":3,"category_id":7,"bbox":[0,0,5,"x"],"score":1}', ["expected {"]),
        ('{"image_id":3,"category_id":7,"bbox":[0,0,5,5],"score":"0.5"}', ["expected {"]),
        ('{"image_id":99999999999999999999,"category_id":7,"bbox":[0,0,5,5],"score":1}', ["expected {"]),
        ("5", ["expected {"]),
    ],
)
def test_a_bad_row_is_refused_with_file_and_number(dataset: Dataset, tmp_path: Path, row: str, told: list[str]) -> None:
    path = tmp_path / "foreign.json"
    path.write_text('[{"image_id":3,"category_id":7,"bbox":[0,0,5,5],"score":1},' + row + "]")
    with raises(DataError, "row 1", *told, path="foreign.json"):
        read_coco_results(path, dataset)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"annotations": []}', "dict"),
        ("[1,", "JSON"),
    ],
)
def test_another_kind_of_file_is_refused(dataset: Dataset, tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with raises(DataError, told, path="r.json"):
        read_coco_results(tmp_path / "r.json", dataset)


def test_a_missing_file_is_named(dataset: Dataset, tmp_path: Path) -> None:
    with raises(DataError, path="none.json"):
        read_coco_results(tmp_path / "none.json", dataset)


@pytest.mark.parametrize("spelled", [str(2**53 + 1), "{stem}", "{name}"])
def test_image_ids_may_be_text_such_as_file_stems(dataset: Dataset, tmp_path: Path, spelled: str) -> None:
    path = dataset.image_paths[2]
    row = {"image_id": spelled.format(stem=path.stem, name=path.name), "category_id": 7, "bbox": [0, 0, 5, 5]}
    (tmp_path / "r.json").write_text(json.dumps([row | {"score": 1}]))
    assert read_coco_results(tmp_path / "r.json", dataset).image_ids.tolist() == [2**53 + 1]


@pytest.mark.parametrize("own_ids", [(2**63, 2**80, 5), ("a", "b", "c")])
def test_own_ids_that_are_no_int64_are_written_and_read(
    dataset: Dataset, tmp_path: Path, own_ids: tuple[int | str, ...]
) -> None:
    dataset = replace(dataset, own_ids=own_ids, image_ids=np.array([1, 2, 3]))
    results = shaken(dataset, 0)
    path = tmp_path / "r.json"
    write_coco_results(path, results, dataset)
    assert {row["image_id"] for row in json.loads(path.read_text())} == {own_ids[0], own_ids[2]}
    np.testing.assert_array_equal(read_coco_results(path, dataset).image_ids, results.image_ids)
