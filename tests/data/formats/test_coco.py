import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from raised import raises

from lookonce.data.annotations import assemble
from lookonce.data.dataset import Dataset
from lookonce.data.findings import RaiseOnError, Report
from lookonce.data.formats.coco import load_coco_json, read_coco
from lookonce.errors import DataError

Save = Callable[..., Path]


def read(path: Path, report: Report | None = None) -> Dataset:
    return assemble(read_coco(path, path.parent, "train", report or RaiseOnError()), report or RaiseOnError())


def test_categories_with_holes_are_numbered_in_the_order_of_their_ids(tmp_path: Path, save_coco: Save) -> None:
    boxes = [(1, 90, (0, 0, 5, 5)), (1, 3, (1, 1, 5, 5))]
    dataset = read(save_coco(tmp_path / "a.json", boxes, categories=[(90, "toothbrush"), (3, "car"), (1, "person")]))
    assert dataset.class_names == ("person", "car", "toothbrush")
    assert dataset.category_ids == (1, 3, 90)
    np.testing.assert_array_equal(dataset.labels, [2, 1])


def test_boxes_crowds_areas_and_order(tmp_path: Path, save_coco: Save) -> None:
    boxes = [(2, 1, (10, 20, 30, 5)), (1, 1, (0.5, 0.25, 2, 4)), (2, 1, (1, 1, 1, 1))]
    path = save_coco(tmp_path / "a.json", boxes, images=[{}, {"file_name": "deep/er.png"}, {}])
    content = json.loads(path.read_text())
    content["annotations"][0] |= {"iscrowd": 1, "segmentation": {"counts": [5, 5], "size": [50, 100]}, "area": 77}
    del content["annotations"][1]["area"], content["annotations"][1]["iscrowd"]
    content["annotations"][2]["segmentation"] = [[1, 1, 2, 1, 2, 2], [1, 1, 3.5e0, 3, 1, 2]]
    path.write_text(json.dumps(content))
    dataset = read(path)
    np.testing.assert_array_equal(dataset.boxes_xyxy, [(0.5, 0.25, 2.5, 4.25), (10, 20, 40, 25), (1, 1, 2, 2)])
    np.testing.assert_array_equal(dataset.box_offsets, [0, 1, 3, 3])
    np.testing.assert_array_equal(dataset.crowd, [False, True, False])
    np.testing.assert_array_equal(dataset.areas, [8, 77, 9])
    assert dataset.image_paths[1] == tmp_path / "deep" / "er.png"


@pytest.mark.parametrize("indent", [None, 1])
def test_polygons_are_cut_out_and_nothing_else(tmp_path: Path, indent: int | None) -> None:
    """A text that looks like a polygon is inside quotes, and stays."""
    tricky = 'x"segmentation": [[1, 2]], "'
    annotation = {"segmentation": [[1, 2.5, 3], [4]], "note": tricky, "bbox": [1, 2, 3, 4], "id": 1}
    last = {"id": 2, "segmentation": [[1, 2]]}
    content = {"images": [], "annotations": [annotation, last], "categories": []}
    (tmp_path / "a.json").write_text(json.dumps(content, indent=indent))
    first = load_coco_json(tmp_path / "a.json")["annotations"][0]
    assert first.pop("segmentation", annotation["segmentation"]) == annotation["segmentation"]
    assert first == {"note": tricky, "bbox": [1, 2, 3, 4], "id": 1}


def test_sizes_come_from_the_images_where_the_file_has_none(tmp_path: Path, save_coco: Save, save_image: Save) -> None:
    save_image(tmp_path / "1.png", 30, 20)
    path = save_coco(tmp_path / "a.json", changes={"images": [{"id": 1, "file_name": "1.png"}]})
    np.testing.assert_array_equal(read(path).image_sizes_wh, [(30, 20)])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{'images': []}", ["column 2:", "JSON"]),
        ('{"annotations": [{"segmentation": [[1,2]], "id" 1}]}', ["column 49:", "JSON"]),
        ("[]", ["list"]),
        ('{"images": [], "info": 1}', ["no 'annotations'", "'images', 'info'"]),
        ('{"images": 3, "annotations": [], "categories": []}', ["'images' is 3"]),
        ('{"images": [], "annotations": [], "categories": []}', ["'categories' is empty"]),
        (
            '{"images": [], "annotations": [], "categories": [{"id": "1", "name": "a"}]}',
            ['categories[0].id is "1"'],
        ),
        ('{"images": [], "annotations": [], "categories": [7]}', ["categories[0] is 7"]),
        ("\udcff", ["UTF-8"]),
    ],
)
def test_what_is_no_coco_file_is_told_apart(tmp_path: Path, text: str, told: list[str]) -> None:
    (tmp_path / "a.json").write_bytes(text.encode(errors="surrogateescape"))
    with raises(DataError, *told, path="a.json"):
        read(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("where", "change", "said"),
    [
        ("images", {"id": "7"}, 'images[0].id is "7"'),
        ("images", {"id": None}, "images[0].id is null"),
        ("images", {"file_name": ""}, 'images[0].file_name is ""'),
        ("images", {"width": 0}, "images[0].width is 0"),
        ("images", {"file_name": "../1.png"}, "file_name '../1.png'"),
        ("images", {"file_name": "/etc/1.png"}, "file_name '/etc/1.png'"),
        ("images", {"file_name": "C:\\1.png"}, r"file_name 'C:\\1.png'"),
        ("annotations", {"bbox": [1, 2, 3]}, "annotations[0].bbox is [1, 2, 3]"),
        ("annotations", {"bbox": [1, 2, 3, "4"]}, 'annotations[0].bbox is [1, 2, 3, "4"]'),
        ("annotations", {"bbox": "1 2 3 4"}, 'annotations[0].bbox is "1 2 3 4"'),
        ("annotations", {"iscrowd": 2}, "annotations[0].iscrowd is 2"),
        ("annotations", {"area": "big"}, 'annotations[0].area is "big"'),
        ("annotations", {"category_id": 80}, "category_id 80"),
        ("annotations", {"category_id": 1.5}, "annotations[0].category_id is 1.5"),
        ("annotations", {"bbox": [1, 2, float("nan"), 4]}, "annotation 1 of 1.png: box (1, 2, nan, 6)"),
    ],
)
def test_a_wrong_value_is_named_and_a_collector_goes_on(
    tmp_path: Path, save_coco: Save, where: str, change: dict[str, object], said: str
) -> None:
    path = save_coco(tmp_path / "a.json", [(1, 1, (1, 1, 2, 2)), (2, 1, (1, 1, 2, 2))], images=[{}, {}])
    content = json.loads(path.read_text())
    content[where][0] |= change
    path.write_text(json.dumps(content))
    with raises(DataError, said):
        read(path)
    findings = []
    dataset = read(path, findings.append)
    assert "error" in {finding.severity for finding in findings}
    assert len(dataset.labels) == 1


def test_missing_keys_are_named(tmp_path: Path, save_coco: Save) -> None:
    path = save_coco(tmp_path / "a.json", changes={"annotations": [{"image_id": 1, "category_id": 1}]})
    with raises(DataError, "annotations[0]", "'bbox'", path="a.json"):
        read(path)


def test_an_image_id_that_comes_twice_is_an_error(tmp_path: Path, save_coco: Save) -> None:
    path = save_coco(tmp_path / "a.json", images=[{"id": 5}, {"id": 5}])
    with raises(DataError, "5", "1.png", "2.png", path="a.json"):
        read(path)


@pytest.mark.parametrize(("categories", "twice"), [([(1, "a"), (1, "b")], 1), ([(1, "a"), (2, "a")], "a")])
def test_a_category_that_comes_twice_is_an_error(
    tmp_path: Path, save_coco: Save, categories: list[tuple[int, str]], twice: object
) -> None:
    with raises(DataError, path="a.json", value=twice):
        read(save_coco(tmp_path / "a.json", categories=categories))


def test_boxes_of_images_that_are_not_listed_are_left_out_with_a_warning(tmp_path: Path, save_coco: Save) -> None:
    findings = []
    dataset = read(save_coco(tmp_path / "a.json", [(9, 1, (1, 1, 2, 2))]), findings.append)
    assert len(dataset.labels) == 0
    assert [(finding.name, finding.severity) for finding in findings] == [("annotation-without-picture", "warning")]
